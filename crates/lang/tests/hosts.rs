//! Hosts, groups and patterns; connections of hosts, their order, and their rollouts.

mod common;

use common::{check, loader, one};
use converge_lang::diagnostic::Style;
use converge_lang::{Builtin, Inventory, MemorySources};
use insta::assert_snapshot;

#[expect(clippy::unwrap_used, reason = "a test")]
fn load(text: &str) -> Inventory {
    let loaded = loader(one(text), &[]).load("inventory.kdl", &[]);
    let report = loaded.diagnostics.render(&loaded.files, Style::PLAIN);
    assert!(loaded.inventory.is_some(), "{report}");
    loaded.inventory.unwrap()
}

/// Returns one line for each host: name, address, groups, connection.
fn hosts(text: &str) -> String {
    let line = |host: &converge_lang::inventory::HostDescription| {
        let c = &host.connection;
        let mut line = format!("{} {:?} {}", host.name, host.groups, c.address.as_deref().unwrap_or("-"));
        for (name, value) in [("user", &c.user), ("key", &c.key), ("jump", &c.jump)] {
            line.extend(value.as_ref().map(|value| format!(" {name}={value}")));
        }
        line + &c.port.map_or(String::new(), |port| format!(" port={port}"))
            + &format!(" {:?} {:?}", c.transport, c.escalation)
    };
    load(text).describe().hosts.iter().map(|host| line(host) + "\n").collect()
}

#[test]
fn two_names_with_one_address_are_warned_of() {
    let asked = "on \"*\" { }\n";
    let warned = |hosts: &str| check(&format!("{hosts}\n{asked}")).contains("have the same address");
    assert!(warned("host \"web1\"\nhost \"other\" address=\"web1\""));
    assert!(warned("host \"a\" address=\"10.0.0.1\"\nhost \"b\" address=\"10.0.0.1\""));
    let told = |names: &[&str]| {
        let hosts = names.iter().map(|name| format!("host \"{name}\" address=\"10.0.0.1\"\n"));
        let reports = check(&format!("{}{asked}", hosts.collect::<String>()));
        reports
            .lines()
            .filter(|line| line.contains("have the same address"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let three = told(&["a", "b", "c"]);
    assert!(
        three.len() == 1 && three[0].contains("`a`, `b` and `c` have the same address: 10.0.0.1"),
        "{three:?}"
    );
    let many = told(&["a", "b", "c", "d", "e", "f"]);
    assert!(many.len() == 1 && many[0].contains("`d` and 2 more hosts have the same address"), "{many:?}");
    for apart in [
        "host \"a\" address=\"10.0.0.1\"\nhost \"b\" address=\"10.0.0.2\"",
        "host \"a\" address=\"10.0.0.1\"\nhost \"b\" address=\"10.0.0.1\" { connection port=2222 }",
        "host \"a\" address=\"10.0.0.1\"\nhost \"b\" address=\"10.0.0.1\" { connection jump=\"c\" }",
        "connection \"local\" root=\"x\"\nhost \"a\" \"b\"",
    ] {
        assert!(!warned(apart), "{apart}");
    }
}

#[test]
fn ranges_define_hosts_with_addresses() {
    assert_snapshot!(hosts("host \"web-[eu,us]-[01..02]\" address=\"10.0.0.[11..14]\"\nhost \"db\" \"lb[1..3..2]\""), @r#"
web-eu-01 [] 10.0.0.11 Ssh None
web-eu-02 [] 10.0.0.12 Ssh None
web-us-01 [] 10.0.0.13 Ssh None
web-us-02 [] 10.0.0.14 Ssh None
db [] - Ssh None
lb1 [] - Ssh None
lb3 [] - Ssh None
"#);
    assert_snapshot!(check("host \"web[1..3]\" address=\"10.0.0.[1..2]\""), @r#"
lang::range

  x 3 names, but 2 addresses
   ,-[inventory.kdl:1:34]
 1 | host "web[1..3]" address="10.0.0.[1..2]"
   :                                  ^^^|^^
   :                                     `-- here
   `----
"#);
    assert_snapshot!(check("host \"web[1..2]\" address=\"10.0.0.1\""), @r#"
lang::range

  x 2 hosts have the same address
   ,-[inventory.kdl:1:6]
 1 | host "web[1..2]" address="10.0.0.1"
   :      ^^^^^|^^^^^         ^^^^^|^^^^
   :           |                   `-- one
   :           `-- several
   `----
  help: give the address a range too: `address="10.0.0.[11..30]"`
"#);
    assert_snapshot!(check("host \"web[1..99999]\""), @r#"
lang::range

  x over 10000 names
   ,-[inventory.kdl:1:11]
 1 | host "web[1..99999]"
   :           ^^^^|^^^
   :               `-- here
   `----
"#);
}

#[test]
fn members_are_inside_and_groups_nest() {
    assert_snapshot!(hosts(
        r#"
        host "lb1" "lb2"
        group "eu" { host "a"; group "web-eu" { host "b" } }
        group "web" { members "web-eu" "lb*" }
        group "web" { host "c" }
        "#
    ), @r#"
lb1 ["web"] - Ssh None
lb2 ["web"] - Ssh None
a ["eu"] - Ssh None
b ["web-eu", "eu", "web"] - Ssh None
c ["web"] - Ssh None
"#);
}

#[test]
fn connections_merge_property_by_property() {
    assert_snapshot!(hosts(
        r#"
        vars { bastion "bastion.example.com" }
        connection user="admin" become="sudo" port=2222
        group "eu" { connection jump="{{ bastion }}"; host "a"; host "b" { connection user="root" become="none" key="~/.ssh/x" } }
        host "c" address="{{ bastion }}"
        host "here" { connection "local" root="sandbox" }
        "#
    ), @r#"
a ["eu"] - user=admin jump=bastion.example.com port=2222 Ssh Sudo
b ["eu"] - user=root key=~/.ssh/x jump=bastion.example.com port=2222 Ssh None
c [] bastion.example.com user=admin port=2222 Ssh Sudo
here [] - user=admin port=2222 Local { root: Some("sandbox") } Sudo
"#);
    assert_snapshot!(check("host \"a\" { connection user=\"-oProxyCommand=x\" port=0 become=\"su do\" }"), @r#"
lang::type

  x `su do` is not allowed here
   ,-[inventory.kdl:1:61]
 1 | host "a" { connection user="-oProxyCommand=x" port=0 become="su do" }
   :                                                             ^^^|^^^
   :                                                                `-- here
   `----
  help: did you mean `sudo`? expected one of `none`, `sudo`, `doas`, `su`
lang::connection

  x this cannot be an argument of ssh
   ,-[inventory.kdl:1:28]
 1 | host "a" { connection user="-oProxyCommand=x" port=0 become="su do" }
   :                            ^^^^^^^^^|^^^^^^^^
   :                                     `-- must not be empty, contain blanks or begin with `-`
   `----
lang::type

  x 0 is not a port
   ,-[inventory.kdl:1:52]
 1 | host "a" { connection user="-oProxyCommand=x" port=0 become="su do" }
   :                                                    |
   :                                                    `-- here
   `----
  help: a port is a number from 1 to 65535
"#);
    assert_snapshot!(check("host \"a\" { connection user=\"{{ facts.user.name }}\" }"), @r#"
lang::facts

  x this cannot depend on facts
   ,-[inventory.kdl:1:28]
 1 | host "a" { connection user="{{ facts.user.name }}" }
   :                            ^^^^^^^^^^^|^^^^^^^^^^^
   :                                       `-- here
   `----
  help: the controller reads files and connects before it knows the facts of the host
"#);
    assert_snapshot!(check("host \"a\" { connection usr=\"x\" root=\"/\" }"), @r#"
lang::unknown

  x `connection` has no setting `usr`
   ,-[inventory.kdl:1:23]
 1 | host "a" { connection usr="x" root="/" }
   :                       ^|^
   :                        `-- unknown
   `----
  help: did you mean `user`?
lang::path

  x the path leads out of the project
   ,-[inventory.kdl:1:36]
 1 | host "a" { connection usr="x" root="/" }
   :                                    ^|^
   :                                     `-- outside
   `----
"#);
}

#[test]
fn patterns_choose_hosts() {
    let inventory = load(
        "group \"web\" { host \"web[1..4]\" }\ngroup \"eu\" { members \"web1\" \"web2\" }\nhost \"db1\"",
    );
    let check = |patterns: &[&str], expected: &[&str]| {
        let patterns: Vec<String> = patterns.iter().map(|pattern| (*pattern).to_owned()).collect();
        let found = inventory.select(&patterns).unwrap_or_default();
        let found: Vec<&str> = found.iter().map(converge_model::HostName::as_str).collect();
        assert_eq!(found, expected, "{patterns:?}");
    };
    check(&["web & eu"], &["web1", "web2"]);
    check(&["db1,web3"], &["web3", "db1"]);
    check(&["web", "!eu"], &["web3", "web4"]);
    check(&["!web"], &["db1"]);
    check(&["web[2..3]"], &["web2", "web3"]);
    check(&["*"], &["web1", "web2", "web3", "web4", "db1"]);
    check(&["eu & db1"], &[]);
    let error = |pattern: &str| {
        inventory
            .select(&[pattern.to_owned()])
            .map_or_else(|e| e.render(inventory.files(), Style::PLAIN), |_| String::new())
    };
    assert_snapshot!(error("wbe"), @r#"
lang::pattern

  x no host and no group is called `wbe`
  help: did you mean `web`?
"#);
    assert_snapshot!(error("eu & db1"), @r#"
lang::empty-match

  x `eu & db1` matches 0 hosts
  help: `converge inventory` lists hosts and groups
"#);
}

#[test]
fn hosts_wait_for_hosts() {
    let inventory = load(
        "group \"web\" { host \"web[1..2]\" }\ngroup \"db\" { host \"db[1..2]\" }\non \"web\" after=\"db\" { package \"x\" }\non \"*\" { after \"db1\"; package \"y\" }",
    );
    let waits = |name: &str| {
        let host = inventory.hosts().find(|host| host.as_str() == name).unwrap();
        inventory.waits_for(host).iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(waits("web1"), ["db1", "db2"]);
    assert_eq!(waits("db2"), ["db1"]);
    assert_eq!(waits("db1"), Vec::<String>::new());
}

#[test]
fn a_host_is_in_one_rollout() {
    assert_snapshot!(check("host \"a\"\nhost \"b\"\non \"*\" { rollout canary=1 }\non \"a\" { rollout batch=2 }"), @r#"
lang::rollout

  x `a` is in two rollouts
   ,-[inventory.kdl:3:10]
 2 | host "b"
 3 | on "*" { rollout canary=1 }
   :          ^^^|^^^
   :             `-- the other
 4 | on "a" { rollout batch=2 }
   :          ^^^|^^^
   :             `-- one
   `----
  help: a host can be in only one rollout; exclude it from one pattern
"#);
    assert_snapshot!(check("host \"a\"\non \"a\" { rollout canray=1 batch=\"half\" }"), @r#"
lang::unknown

  x `rollout` has no setting `canray`
   ,-[inventory.kdl:2:18]
 1 | host "a"
 2 | on "a" { rollout canray=1 batch="half" }
   :                  ^^^|^^
   :                     `-- unknown
   `----
  help: did you mean `canary`?
lang::type

  x expected a number of hosts, or a share such as `"10%"`, found `"half"`
   ,-[inventory.kdl:2:33]
 1 | host "a"
 2 | on "a" { rollout canray=1 batch="half" }
   :                                 ^^^|^^
   :                                    `-- here
   `----
"#);
    let rollouts = load(
        "host \"a[1..4]\"\non \"a*\" { rollout canary=\"a2\" { batch \"50%\"; max-failures 1; before { command \"drain\" } } }",
    );
    assert_snapshot!(format!("{:?}", rollouts.rollouts()), @r#"
[Rollout { name: "on \"a*\"", hosts: [HostName("a1"), HostName("a2"), HostName("a3"), HostName("a4")], canary: Some(Hosts([HostName("a2")])), batch: Some(Percent(50)), max_failures: Some(Count(1)), wait: 0, gates: [Before], retries: 0, every: 2000, place: "inventory.kdl:2" }]
"#);
}

#[test]
fn drift_policies_merge() {
    let inventory = load(
        "drift every=\"30m\" splay=\"5m\" max-share=\"20%\" { window \"sat 22:00-05:00\" \"02:00-03:00\" }\n\
         group \"eu\" { drift mode=\"correct\" cron=\"0 3 * * *\" zone=\"Europe/Berlin\" window=\"mon 01:00-02:00\"; host \"a\" }\n\
         host \"b\" { drift every=\"1h\" fight-after=3 fight-within=\"1d\" }",
    );
    for host in inventory.describe().hosts {
        assert_eq!(inventory.drift(&host.name), host.drift);
    }
    let shown: Vec<String> =
        inventory.describe().hosts.iter().map(|host| serde_json::to_string(&host.drift).unwrap()).collect();
    assert_snapshot!(shown.join("\n"), @r#"
{"every":1800.0,"splay":300.0,"mode":"correct","cron":"0 3 * * *","zone":"Europe/Berlin","window":["mon 01:00-02:00"],"max_share":{"percent":20}}
{"every":3600.0,"splay":300.0,"mode":"report","window":["sat 22:00-05:00","02:00-03:00"],"max_share":{"percent":20},"fight_after":3,"fight_within":86400.0}
"#);
}

#[test]
fn mistakes_in_drift_policies_are_shown() {
    let shown =
        check("drift cron=\"every day\" max-share=\"half\" fight-after=0 window=\"at night\"\nhost \"a\"");
    let found: Vec<&str> = shown.lines().filter(|line| line.starts_with("  x ")).collect();
    assert_snapshot!(found.join("\n"), @r"
  x `every day` is not a cron schedule
  x `at` is not a day of the week
  x `half` is not a share of the hosts
  x 0 is too small
");
}

#[test]
fn a_folder_is_read_in_the_order_of_its_names() {
    let sources = MemorySources::new()
        .file("inventory/b.kdl", "host \"b\"\non \"*\" { package \"second\" }")
        .file("inventory/a.kdl", "host \"a\"\non \"*\" { package \"first\" }\ninclude \"c.kdl\"")
        .file("inventory/c.kdl", "on \"*\" { package \"included\" }")
        .file("inventory/deeper/x.kdl", "host \"x\"");
    assert_snapshot!(common::run(&loader(sources, &[]), "inventory", &[]), @r#"
a
  package[first] name=["first"] state="present"  (on "*")
  package[included] name=["included"] state="present"  (on "*")
  package[second] name=["second"] state="present"  (on "*")
b
  package[first] name=["first"] state="present"  (on "*")
  package[included] name=["included"] state="present"  (on "*")
  package[second] name=["second"] state="present"  (on "*")
"#);
}

#[test]
fn a_project_names_its_inventory() {
    let sources = MemorySources::new()
        .file("converge.kdl", "project \"shop\"\ninventory \"env/a.kdl\"")
        .file("env/a.kdl", "host \"a\"");
    let inventory = loader(sources, &[]).load("", &[]).inventory.unwrap();
    assert_eq!(inventory.project(), "shop");
    let paths: Vec<String> = inventory.inputs().into_iter().map(|(path, _)| path).collect();
    assert_eq!(paths, ["converge.kdl", "env/a.kdl"]);
}

#[test]
fn what_does_not_belong_at_top_level() {
    assert_snapshot!(check("file \"/x\"\nhosts \"a\"\nhost\nhost \"a\" { groups \"x\" }\ngroup \"g\" { hosts \"a\" }"), @r#"
lang::unknown

  x there is no node `file` here
   ,-[inventory.kdl:1:1]
 1 | file "/x"
   : ^^|^
   :   `-- unknown
 2 | hosts "a"
   `----
  help: there are vars, connection, host, group, on, include, secrets, drift; a resource must be
        in an `on`: `on "*" { file … }`
lang::unknown

  x there is no node `hosts` here
   ,-[inventory.kdl:2:1]
 1 | file "/x"
 2 | hosts "a"
   : ^^|^^
   :   `-- unknown
 3 | host
   `----
  help: did you mean `host`?
lang::form

  x `host` needs a name: `host "web1"`
   ,-[inventory.kdl:3:1]
 2 | hosts "a"
 3 | host
   : ^^|^
   :   `-- here
 4 | host "a" { groups "x" }
   `----
lang::unknown

  x there is no node `groups` here
   ,-[inventory.kdl:4:12]
 3 | host
 4 | host "a" { groups "x" }
   :            ^^^|^^
   :               `-- unknown
 5 | group "g" { hosts "a" }
   `----
  help: there are vars, connection, drift, address; write resources in an `on`
lang::unknown

  x there is no node `hosts`
   ,-[inventory.kdl:5:13]
 4 | host "a" { groups "x" }
 5 | group "g" { hosts "a" }
   :             ^^|^^
   :               `-- in a group
   `----
  help: write `members "web1" "lb*"` for hosts and groups that are defined elsewhere
"#);
}

#[test]
fn a_host_is_asked_for_something_by_what_is_in_a_block() {
    let inventory = load("host \"a\" \"b\" \"c\"\non \"a\" { package \"x\" }\non \"b\" { rollout canary=1 }");
    let asked: Vec<bool> = inventory.hosts().map(|host| inventory.asks_for_anything(host)).collect();
    assert_eq!(asked, [true, false, false]);
}

#[test]
fn inputs_are_the_files_of_the_project_that_were_read() {
    const BUILTIN: &[Builtin] = &[Builtin { name: "m", files: &[("module.kdl", b"module \"m\"")] }];
    let sources = one("vars { x 1 }\nsecrets \"s.age\"\nhost \"a\"\non \"a\" { m; file \"/x\" { content (template)\"t.j2\" } }")
        .file("templates/t.j2", "t")
        .file("s.age", "as it is encrypted")
        .secret_file("s.age", "");
    let inventory =
        loader(sources, BUILTIN).load("inventory.kdl", &[("x".into(), "2".into())]).inventory.unwrap();
    let mut paths: Vec<String> = inventory.inputs().into_iter().map(|(path, _)| path).collect();
    paths.sort();
    assert_eq!(paths, ["inventory.kdl", "s.age", "templates/t.j2"]);
}

#[test]
fn a_folder_without_an_inventory_in_its_mark_is_read_as_a_folder() {
    let sources = MemorySources::new()
        .file("converge.kdl", "project \"shop\"")
        .file("site.kdl", "host \"a\"")
        .file("files/x.kdl", "nothing of an inventory");
    let loader = loader(sources, &[]);
    let inventory = loader.load("", &[]).inventory.unwrap();
    assert_eq!(inventory.hosts().map(|host| host.as_str()).collect::<Vec<_>>(), ["a"]);
    let named = loader.load("converge.kdl", &[]);
    let report = named.diagnostics.render(&named.files, Style::PLAIN);
    assert!(report.contains("`converge.kdl` does not name an inventory"), "{report}");
}

#[test]
fn settings_have_one_value_each() {
    for node in [
        "connection { user \"x\" port=1 }",
        "connection { user \"x\" { port 1 } }",
        "drift { window \"01:00-02:00\" \"03:00-04:00\" every=\"1h\" }",
        "drift { window \"01:00-02:00\" \"03:00-04:00\" { every \"1h\" } }",
    ] {
        let said = check(&format!("{node}\nhost \"a\""));
        assert!(said.contains("needs one value"), "{node}: {said}");
    }
}
