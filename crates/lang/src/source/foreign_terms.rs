//! Words of other tools, to give help to their users. The tables only map words; the schemas define what is allowed
//! here.

/// Returns the help for a kind or module of another tool.
pub(crate) fn kind(name: &str) -> Option<String> {
    help(KINDS, name)
}

/// Returns the help for a block of another tool's playbook, written at top level beside `host` and `on`.
pub(crate) fn block(name: &str) -> Option<String> {
    help(BLOCKS, name).or_else(|| kind(name).filter(|_| matches!(name, "tasks" | "roles" | "handlers")))
}

/// Returns the help for a parameter of another tool.
pub(crate) fn parameter(name: &str) -> Option<String> {
    help(PARAMETERS, name)
}

/// Returns the help for a parameter of another tool, if this kind has its own way to write it.
pub(crate) fn parameter_of(kind: &str, name: &str) -> Option<String> {
    match (kind, name) {
        ("service", "state" | "ensure" | "status") => Some(
            "write `running=#true` or `running=#false`; `notify=\"service[…]\"` restarts or reloads the service"
                .to_owned(),
        ),
        ("service", "enable" | "boot") => Some("write `enabled=#true`".to_owned()),
        _ => parameter(name),
    }
}

/// Returns the help for a value of another tool, if the allowed values include its equivalent.
pub(crate) fn value(value: &str, allowed: &[String]) -> Option<String> {
    let meant = match value {
        "directory" => return Some("a folder is `directory \"/…\"`".to_owned()),
        "link" | "hard" => return Some("a link is `link \"/…\" to=\"/…\"`".to_owned()),
        "installed" | "latest" | "started" | "enabled" | "exists" | "true" | "yes" | "file" | "touch" => {
            "present"
        }
        "removed" | "uninstalled" | "deleted" | "purged" | "stopped" | "false" | "no" => "absent",
        _ => return None,
    };
    let is_allowed = allowed.iter().any(|known| known == meant);
    is_allowed
        .then(|| format!("write `{meant}`{}", if meant == "present" { ", or leave it out" } else { "" }))
}

/// Returns how to write several resources of a kind together.
pub(crate) fn several(kind: &str) -> Option<&'static str> {
    (kind == "package")
        .then_some("write one `package` for each, or `packages { install \"nginx\" \"curl\" }`")
}

/// Returns how to write a connection setting that was written at a host.
pub(crate) fn connection(key: &str) -> Option<&'static str> {
    let setting = match key.strip_prefix("ansible_").unwrap_or(key) {
        "user" | "ssh_user" | "remote_user" => "user=\"admin\"",
        "port" | "ssh_port" => "port=22",
        "key" | "ssh_private_key_file" | "identity" => "key=\"~/.ssh/id_ed25519\"",
        "jump" | "proxy" | "bastion" => "jump=\"bastion\"",
        "become" | "sudo" => "become=\"sudo\"",
        "connection" | "transport" => "transport=\"local\"",
        "root" => "root=\"/srv/root\"",
        _ => return None,
    };
    Some(setting)
}

/// Returns the help for a name in an expression of another tool.
pub(crate) fn name(name: &str) -> Option<String> {
    help(NAMES, name).or_else(|| {
        let fact = name.strip_prefix("ansible_")?;
        Some(format!("data of the host is in `facts`, perhaps `facts.{fact}`; `converge facts` prints it"))
    })
}

/// Returns the help for a lookup of another tool: `lookup('env', 'HOME')`.
pub(crate) fn lookup(plugin: &str, what: &str) -> Option<String> {
    let annotation = match plugin {
        "env" | "file" | "template" => plugin,
        "password" | "passwordstore" | "hashi_vault" => "secret",
        _ => return None,
    };
    Some(format!("write `({annotation})\"{what}\"` alone, as the value of a variable or of a parameter"))
}

/// Returns the help for a filter of another tool.
pub(crate) fn filter(name: &str) -> Option<String> {
    help(FILTERS, name)
}

/// Returns the help for a test of another tool.
pub(crate) fn test(name: &str) -> Option<String> {
    help(TESTS, name)
}

/// Returns the help for a method of another language.
pub(crate) fn method(name: &str) -> Option<String> {
    help(METHODS, name)
}

type Words = &'static [(&'static [&'static str], &'static str)];

fn help(table: Words, name: &str) -> Option<String> {
    let name = name.rsplit('.').next().unwrap_or(name).replace('-', "_").to_lowercase();
    table.iter().find(|(names, _)| names.contains(&name.as_str())).map(|(_, help)| (*help).to_owned())
}

const KINDS: Words = &[
    (
        &["apt", "yum", "dnf", "pacman", "apk", "zypper", "pkg", "installed", "latest", "packages"],
        "write `package \"nginx\"`; for several packages and for repositories, use the module `packages`",
    ),
    (&["template"], "a template is the content of a file: `file \"/etc/x\" { content (template)\"x.j2\" }`"),
    (&["copy", "put", "managed"], "a file is copied as content: `file \"/etc/x\" { content (file)\"x\" }`"),
    (&["lineinfile", "replace"], "one line of a file is `line \"/etc/x\" \"a = 1\" match=\"^a\"`"),
    (&["blockinfile"], "lines between markers are `block \"/etc/x\" { content \"…\" }`"),
    (&["ini_file"], "an option of a file of sections is `ini`"),
    (
        &["shell", "raw", "script", "exec", "cmd", "run"],
        "a shell line is `command \"…\" shell=#true creates=\"/…\"`",
    ),
    (
        &["systemd", "systemd_service", "running", "dead", "enabled"],
        "a service is `service \"nginx\" running=#true enabled=#true`; its unit file is `systemd-unit`",
    ),
    (&["unarchive"], "an unpacked archive is `archive`"),
    (&["get_url", "uri", "wget", "curl"], "a file from the network is `download`"),
    (&["pip", "virtualenv_command"], "Python packages go into a `venv`"),
    (
        &["ufw", "iptables", "nftables", "firewalld"],
        "the packet filter is the module `firewall`: `firewall { allow \"ssh\" }`",
    ),
    (&["authorized_key", "ssh_key"], "an ssh key is `authorized-key`, or `ssh-key` of the module `users`"),
    (&["apt_key", "apt_repository", "yum_repository"], "a repository is `apt-repository`, with its key"),
    (&["sudoers"], "a rule of sudo is `sudo-rule`"),
    (
        &["set_fact", "include_vars"],
        "write variables in `vars { … }`, at the top level, in a group or in a host",
    ),
    (
        &["debug", "assert", "fail"],
        "`converge explain HOST VARIABLE` shows a value; `assert` stands in a module's `params`",
    ),
    (&["else", "elif"], "there is no `else`: write a second `when` with the opposite condition"),
    (
        &["reboot"],
        "no resource reboots a host, because a run could not report the result; reboot by hand or by a timer",
    ),
    (
        &["wait_for", "pause", "sleep"],
        "a `service` waits until it answers: `probe=`; hosts wait for others with `after=` on their `on`",
    ),
    (
        &["swap", "swapfile"],
        "write `command \"…\" unless=\"swapon --show=NAME | grep -q /swapfile\"`, and its line of /etc/fstab as `line`",
    ),
    (
        &["locale", "locale_gen"],
        "write `line \"/etc/locale.gen\" …` with `notify` to a `command \"locale-gen\" only-notified=#true`",
    ),
    (
        &["docker_container", "docker", "container", "docker_compose", "podman"],
        "run a container by a `systemd-unit`; a `service` keeps it running",
    ),
    (
        &["postgresql_db", "postgresql_user", "mysql_db", "mysql_user", "database"],
        "use a `command` for the database: `command \"createdb shop\" user=\"postgres\" unless=\"psql -lqt | grep -qw shop\"`",
    ),
    (&["crontab"], "a job is `cron \"name\" { … }`; the environment of a job is its `env`"),
    (&["include"], "write `include` at the top level, beside `host` and `on`; in a body, use a module"),
    (
        &["stat", "find", "setup", "gather_facts"],
        "data of the host is in `facts`; `converge facts` prints it",
    ),
    (
        &["include_tasks", "import_tasks", "include_role", "import_role", "role", "roles", "tasks"],
        "call a module by its name; read files with `include` at the top level",
    ),
    (
        &["handlers", "handler"],
        "a handler needs no declaration: `notify=\"service[nginx]\"` restarts a service; for others, write a `command` with `only-notified=#true`",
    ),
];

const BLOCKS: Words = &[
    (
        &["vars_files", "vars_prompt", "pillar", "hiera"],
        "write `vars { … }`, or write them in a file: `include \"vars.kdl\"`",
    ),
    (
        &["node", "play", "class"],
        "write `on \"web1\" { … }` for the resources of a host; call a module by its name",
    ),
    (&["children"], "a group holds groups: `group \"eu\" { group \"web\" { host \"web1\" } }`"),
];

const PARAMETERS: Words = &[
    (&["ensure"], "write `state=\"present\"` or `state=\"absent\"`"),
    (&["require"], "write `after=\"kind[name]\"`"),
    (
        &["subscribe", "watch", "listen", "require_in", "watch_in", "before"],
        "write `notify=\"kind[name]\"` at the resource that changes, or `after=\"kind[name]\"` at the resource that must come later",
    ),
    (&["no_log"], "write `sensitive=#true`"),
    (&["environment"], "write `env { NAME \"value\" }`"),
    (
        &["refreshonly", "onchanges"],
        "write `only-notified=#true` at a `command`, and `notify` at the resource that changes",
    ),
    (&["chdir"], "write `cwd=\"/…\"`"),
    (
        &["loop", "with_items", "with_dict", "with_list"],
        "write a loop around the resource: `for \"x\" in=\"list\" { … }`",
    ),
    (
        &["register"],
        "a resource has no output: write the condition of a `command` as `creates`, `unless` or `only-if`",
    ),
    (
        &["ignore_errors", "failed_when"],
        "with `may-fail=#true`, the other resources continue after a failure",
    ),
    (&["changed_when"], "a `command` says with `creates`, `unless` or `only-if` whether it is needed"),
    (
        &["become", "become_user", "sudo"],
        "write `connection become=\"sudo\"` at the top, in a group or in a host",
    ),
    (
        &["delegate_to", "run_once"],
        "`once=#true` runs a command once for all hosts; `at=` is for the bodies of a rollout",
    ),
    (&["ansible_host"], "write `address=\"…\"`"),
    (
        &["ansible_user", "ansible_port", "ansible_ssh_private_key_file"],
        "write it in the host: `connection user=\"…\" port=22 key=\"…\"`",
    ),
    (&["update_cache"], "`refresh older-than=\"1h\"` of the module `packages` fetches the lists"),
    (&["dest"], "the path comes first: `file \"/etc/x\"`"),
    (&["src"], "write `content (file)\"x\"` for a file, `content (template)\"x.j2\"` for a template"),
    (&["until"], "write `retries=3`"),
];

const NAMES: Words = &[
    (&["item"], "a loop gives a name to its item: `for \"item\" in=\"list\" { … }`"),
    (&["inventory_hostname", "inventory_hostname_short"], "the host's name is `host.name`"),
    (
        &["ansible_hostname", "ansible_fqdn", "ansible_nodename"],
        "`host.name` is the name in the inventory, `facts.hostname` the name that the host has set",
    ),
    (&["ansible_host"], "the host's address is `host.address`"),
    (&["ansible_facts", "grains"], "data of the host is in `facts`; `converge facts` prints it"),
    (&["ansible_os_family"], "write `facts.os.family`"),
    (&["ansible_distribution"], "write `facts.os.id`"),
    (&["ansible_default_ipv4", "ansible_all_ipv4_addresses"], "write `facts.addresses`, a list"),
    (&["hostvars"], "variables of another host are `hosts.NAME.vars`"),
    (&["group_names"], "the host's groups are `host.groups`"),
    (&["lookup"], "write an annotation: `(file)\"x\"`, `(env)\"X\"`, `(secret)\"x\"`"),
];

const FILTERS: Words = &[
    (
        &["regex_replace", "regex_search", "regex_findall", "regex_escape"],
        "there are no regular expressions: `replace(\"a\", \"b\")` and `split(\",\")` take strings",
    ),
    (&["to_json", "to_nice_json", "to_yaml", "to_nice_yaml"], "use `tojson`: JSON is also valid YAML"),
    (
        &["from_json", "from_yaml", "from_yaml_all"],
        "write the data in `vars { … }`; data of the host is in `facts`",
    ),
    (
        &["b64encode", "b64decode", "hash", "md5", "sha1", "checksum"],
        "there is no such filter: `(digest)\"FILE\"` is the digest of a file of the project, `crypt` hashes a password",
    ),
    (&["password_hash"], "write `crypt`, or `crypt(\"NAME\")` with the name of the user"),
    (&["basename"], "write `(x | split(\"/\")) | last`"),
    (&["dirname"], "write `(x | split(\"/\"))[:-1] | join(\"/\")`"),
    (&["combine"], "Converge merges maps of two levels of `vars`; `dict(a, key=value)` adds keys"),
    (&["ternary"], "write `a if condition else b`"),
    (&["mandatory"], "remove it: an undefined variable is always an error"),
    (&["flatten"], "`chain` joins lists: `a | chain(b) | list`"),
    (&["union", "intersect", "difference"], "write `a | chain(b) | unique`, or `reject(\"in\", b)`"),
    (&["dict2items"], "write `items`, or `for \"key\" \"value\" in=\"map\" { … }`"),
    (&["shuffle", "random"], "every run must give the same result: write a fixed value"),
    (&["ipaddr", "ipv4", "ipv6", "ipwrap"], "write a fixed address, or a variable"),
    (&["comment", "wordwrap", "center", "truncate"], "write the result as a string"),
    (&["strip"], "write `trim`"),
];

const TESTS: Words = &[
    (
        &["version", "version_compare"],
        "compare numbers: `facts.os.version | int >= 12`; `(facts.os.version | split(\".\"))[0]` is the first part",
    ),
    (
        &["match", "search", "regex"],
        "write `is startingwith(\"a\")`, `is endingwith(\"z\")`, or `\"a\" in x`",
    ),
    (&["contains"], "write `\"a\" in x`"),
    (&["list"], "write `is sequence`"),
    (&["dict"], "write `is mapping`"),
    (&["bool"], "write `is boolean`"),
    (&["null", "empty"], "write `is none`, or `x | length == 0`"),
    (
        &["changed", "failed", "succeeded", "skipped", "success"],
        "a resource has no output: connect resources with `notify` and `after`",
    ),
    (&["exists", "file", "directory", "link"], "a `command` asks the host: `only-if=\"test -e /x\"`"),
];

const METHODS: Words = &[
    (&["startswith"], "write `x is startingwith(\"a\")`"),
    (&["endswith"], "write `x is endingwith(\"z\")`"),
    (&["strip", "lstrip", "rstrip"], "write `x | trim`"),
    (
        &["lower", "upper", "title", "capitalize", "replace", "split", "join", "items", "format"],
        "it is a filter: `x | upper`, `x | replace(\"a\", \"b\")`, `list | join(\", \")`",
    ),
    (&["splitlines"], "write `x | lines`"),
    (&["keys"], "write `x | list`"),
    (&["values"], "write `x | items | map(attribute=1)`"),
    (&["get"], "write `x.key | default(\"…\")`"),
    (&["append", "extend"], "write `list + [\"x\"]`"),
    (&["update"], "write `dict(x, key=value)`"),
    (&["find", "index", "count"], "write `\"a\" in x`"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn habits_are_answered_and_nothing_else_is() {
        let check = |found: Option<String>, part: &str| {
            assert!(found.clone().is_some_and(|found| found.contains(part)), "{found:?}");
        };
        check(kind("apt"), "package");
        check(kind("ansible.builtin.apt"), "package");
        check(kind("get-url"), "download");
        check(kind("pkg.installed"), "package");
        check(kind("file.managed"), "file");
        check(kind("service.running"), "service");
        check(parameter("require"), "after");
        check(lookup("env", "HOME"), "(env)\"HOME\"");
        assert_eq!(lookup("dig", "a"), None);
        for word in [
            "else",
            "reboot",
            "wait-for",
            "swap",
            "locale",
            "docker-container",
            "postgresql-db",
            "crontab",
            "include",
        ] {
            assert!(kind(word).is_some(), "{word}");
        }
        check(parameter_of("service", "state"), "running=#true");
        check(value("installed", &["present".to_owned(), "absent".to_owned()]), "present");
        check(filter("regex_replace"), "replace");
        check(name("lookup"), "(env)");
        check(method("startswith"), "startingwith");
        check(parameter("with_items"), "for");
        check(name("inventory_hostname"), "host.name");
        check(name("ansible_memtotal_mb"), "facts");
        assert_eq!((kind("nginxx"), parameter("mod"), name("domain")), (None, None, None));
    }
}
