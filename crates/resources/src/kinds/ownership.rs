//! The claims of each kind, its label in an address, and the text that it writes. The catalog refuses two resources
//! with the same claim. For a file with a secret a diff shows only lines that resources write.

use converge_model::{Claim, Content, Extent, Params, Scalar, Value};

use crate::kinds::authorized_key;
use crate::kinds::testing::{Trial, params};
use crate::registry;

const KEY: &str =
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@example.com";

fn with<const N: usize>(more: [(&str, &str); N]) -> Params {
    params(more.map(|(name, value)| (name, value.into())))
}

fn repository(name: &str) -> Params {
    with([
        ("name", name),
        ("uris", "https://deb.example.com"),
        ("suites", "bookworm"),
        ("components", "main"),
    ])
}

/// A claim as a line: its key, and the claimed extent of a path.
fn told(claim: &Claim) -> String {
    match claim {
        Claim::Path { extent: Extent::Part(_), .. } | Claim::Named { .. } => claim.key(),
        Claim::Path { extent, .. } => format!("{} {extent:?}", claim.key()),
    }
}

#[test]
fn resource_owns_what_it_writes_and_nothing_else() {
    let trial = Trial::new();
    let check = |kind: &str, params: Params, expected: &[&str]| {
        let claims: Vec<_> = trial.claims(kind, &params).iter().map(told).collect();
        assert_eq!(claims, expected, "{kind} {params:?}");
    };
    let mut keyed = repository("shop");
    keyed.set("key", trial.content("key"));
    let (source, keys) = ("path:/etc/apt/sources.list.d/shop.sources", "path:/etc/apt/keyrings/shop");
    let (armored, binary) = (format!("{keys}.asc"), format!("{keys}.gpg"));
    let all = |source_is: &str, armored_is: &str| {
        [format!("{source} {source_is}"), format!("{armored} {armored_is}"), format!("{binary} Absence")]
    };
    let repositories = [
        (keyed, all("Whole", "Whole")),
        (repository("shop"), all("Whole", "Absence")),
        (with([("name", "shop"), ("state", "absent")]), all("Absence", "Absence")),
    ];
    for (params, expected) in &repositories {
        check("apt-repository", params.clone(), &expected.each_ref().map(String::as_str));
    }
    let path = "/home/ada/.ssh/authorized_keys";
    let part = Claim::path(path, authorized_key::part_of(KEY).unwrap()).key();
    let mut key = with([("user", "ada"), ("key", KEY)]);
    check("authorized-key", key.clone(), &[&part]);
    key.set("exclusive", true.into());
    check("authorized-key", key, &[&format!("path:{path} Whole")]);
    let archive = params([("to", "/opt/app".into()), ("source", trial.content("x"))]);
    check("archive", archive, &["path:/opt/app Whole"]);
    check("autoremove", with([("name", "packages")]), &["package:(unneeded)"]);
    let block = with([("path", "/etc/x"), ("name", "n"), ("content", "a")]);
    check("block", block, &["path:/etc/x#block:# BEGIN CONVERGE n"]);
    check("cron", with([("name", "job"), ("command", "true")]), &["path:/etc/cron.d/job Whole"]);
    check("cron", with([("name", "job"), ("state", "absent")]), &["path:/etc/cron.d/job Absence"]);
    check("directory", with([("path", "/srv")]), &["path:/srv Whole"]);
    check("directory", with([("path", "/srv"), ("state", "absent")]), &["path:/srv Absence"]);
    let checksum = format!("sha256:{}", "0".repeat(64));
    let download = with([("path", "/opt/x"), ("url", "https://example.org/x"), ("checksum", &checksum)]);
    check("download", download, &["path:/opt/x Whole"]);
    let file = params([("path", "/etc/x".into()), ("content", trial.content("a"))]);
    check("file", file, &["path:/etc/x Whole"]);
    check("file", with([("path", "/etc/x")]), &["path:/etc/x Metadata"]);
    check("file", with([("path", "/etc/x"), ("state", "absent")]), &["path:/etc/x Absence"]);
    let (policy, rules) = ("firewall:policy", "path:/etc/converge/firewall.nft");
    let firewall = |name: &str, value: &str| with([("name", "converge"), (name, value)]);
    check(
        "firewall-policy",
        firewall("rules", "chain a {}"),
        &[policy, &format!("{rules} Whole"), "path:/etc/converge#firewall.nft"],
    );
    check("firewall-policy", firewall("state", "absent"), &[policy, &format!("{rules} Absence")]);
    check("git", with([("path", "/opt/app"), ("url", "https://example.org/x")]), &["path:/opt/app Whole"]);
    check("group", with([("name", "ops")]), &["group:ops"]);
    check(
        "hostname",
        with([("name", "web1")]),
        &["path:/etc/hostname Whole", "path:/proc/sys/kernel/hostname Whole"],
    );
    let ini = with([("path", "/etc/x"), ("section", "s"), ("option", "k"), ("value", "1")]);
    check("ini", ini, &["path:/etc/x#ini:[s] k"]);
}

#[test]
fn resources_of_one_file_are_told_apart_in_their_addresses() {
    let check = |kind: &str, params: Params, expected: Option<&str>| {
        let suffix = registry::kind(kind).unwrap().check(&params).unwrap().suffix;
        assert_eq!(suffix.as_deref(), expected, "{kind} {params:?}");
    };
    let path = ("path", "/etc/x");
    check("block", with([path, ("content", "a")]), Some("block"));
    check("block", with([path, ("content", "a"), ("name", "cluster")]), Some("cluster"));
    check("ini", with([path, ("section", ""), ("option", "k"), ("value", "1")]), Some("k"));
    check("ini", with([path, ("section", "s"), ("option", "k"), ("value", "1")]), Some("[s] k"));
    check("ini", with([path, ("section", "s"), ("state", "absent")]), Some("[s]"));
    check("authorized-key", with([("user", "ada"), ("key", KEY)]), Some("ada@example.com h2l9GKJl"));
    check("file", with([path]), None);
}

#[test]
fn text_of_a_resource_is_what_it_writes() {
    let check = |kind: &str, params: Params, path: &str| {
        let trial = Trial::new();
        trial.write("/usr/sbin/cron", "");
        for folder in ["/etc/apt/sources.list.d", "/etc/cron.d"] {
            std::fs::create_dir_all(trial.at(folder)).unwrap();
        }
        trial.apply(kind, &params).unwrap();
        assert_eq!(trial.text(kind, &params), Some(trial.read(path)), "{kind}");
    };
    check("apt-repository", repository("shop"), "/etc/apt/sources.list.d/shop.sources");
    check("cron", with([("name", "job"), ("command", "true")]), "/etc/cron.d/job");
    let x = ("path", "/etc/x");
    check("block", with([x, ("content", "a\nb")]), "/etc/x");
    check("ini", with([x, ("section", "s"), ("option", "k"), ("value", "1")]), "/etc/x");
    let trial = Trial::new();
    let Scalar::Secret(secret) = trial.secret("hunter2") else { unreachable!() };
    let file = |content: Value| params([("path", "/etc/x".into()), ("content", content)]);
    let secret = file(Value::Content(Content::Secret(secret)));
    assert_eq!(trial.text("file", &secret).as_deref(), Some(&b"hunter2"[..]));
    // The controller shows content that is no secret. A resource that should be absent writes no text.
    assert_eq!(trial.text("file", &file(trial.content("a"))), None);
    assert_eq!(trial.text("cron", &with([("name", "job"), ("state", "absent")])), None);
    assert_eq!(trial.text("block", &with([x, ("state", "absent")])), None);
}
