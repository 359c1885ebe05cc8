//! Checks the rules of `docs/architecture.md`: forbidden dependencies, and words that may be in one place only.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::world::repository;

/// Returns the dependencies of each package for its build, without its tests and build scripts.
fn dependencies() -> BTreeMap<String, BTreeSet<String>> {
    let output = Command::new(env!("CARGO"))
        .args([
            "tree",
            "--workspace",
            "--edges",
            "normal",
            "--prefix",
            "depth",
            "--format",
            " {p}",
            "--no-dedupe",
            "--locked",
            "--offline",
        ])
        .current_dir(repository())
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut above: Vec<String> = Vec::new();
    let mut needs: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for line in String::from_utf8(output.stdout).unwrap().lines().filter(|line| !line.is_empty()) {
        let mut words = line.split_whitespace();
        let (depth, name) = (words.next().unwrap().parse().unwrap(), words.next().unwrap().to_owned());
        above.truncate(depth);
        for user in &above {
            needs.entry(user.clone()).or_default().insert(name.clone());
        }
        needs.entry(name.clone()).or_default();
        above.push(name);
    }
    needs
}

#[test]
fn who_never_reaches_whom() {
    let needs = dependencies();
    let check = |user: &str, never: &[&str]| {
        let reached = needs.get(user).unwrap_or_else(|| panic!("there is no {user}"));
        let found: Vec<_> = never.iter().filter(|name| reached.contains(**name)).collect();
        assert!(found.is_empty(), "{user} reaches {found:?}");
    };
    check(
        "converge-agent",
        &[
            "kdl",
            "clap",
            "tokio",
            "minijinja",
            "openssh",
            "miette",
            "indicatif",
            "converge-lang",
            "converge-fleet",
            "converge-engine",
        ],
    );
    check(
        "converge-resources",
        &["kdl", "clap", "tokio", "minijinja", "openssh", "converge-lang", "converge-agent"],
    );
    check(
        "converge-lang",
        &["clap", "tokio", "openssh", "rustix", "converge-resources", "converge-fleet", "converge-agent"],
    );
    check(
        "converge-fleet",
        &["kdl", "clap", "minijinja", "indicatif", "converge-lang", "converge-resources", "converge-agent"],
    );
    check(
        "converge-history",
        &[
            "kdl",
            "clap",
            "minijinja",
            "openssh",
            "converge-lang",
            "converge-fleet",
            "converge-engine",
            "converge-resources",
            "converge-agent",
        ],
    );
    check("converge-server", &["clap", "indicatif", "anstream", "converge-resources", "converge-agent"]);
    check("converge-engine", &["clap", "indicatif", "anstream", "converge-resources", "converge-agent"]);
    let of_ours = |name: &&String| name.starts_with("converge-");
    assert_eq!(needs["converge-model"].iter().find(of_ours), None, "the model stands alone");
    let users: Vec<_> = needs.iter().filter(|(_, reached)| reached.contains("converge-cli")).collect();
    assert!(users.is_empty(), "nothing depends on the command line: {users:?}");
    let with_clap: Vec<_> =
        needs.keys().filter(of_ours).filter(|name| needs[*name].contains("clap")).collect();
    assert_eq!(with_clap, ["converge-cli"], "only the command line knows clap");
}

/// Returns the sources of a crate: each path, and the text without comments.
fn sources(of: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    walk(&repository().join("crates").join(of).join("src"), &mut found);
    assert!(!found.is_empty(), "{of} has no sources");
    found
}

fn walk(folder: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            walk(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.lines().filter(|line| !line.trim_start().starts_with("//"));
            found.push((path, code.collect::<Vec<_>>().join("\n")));
        }
    }
}

fn nowhere(crates: &[&str], words: &[&str], but: &[&str]) {
    for (path, code) in crates.iter().flat_map(|of| sources(of)) {
        let excused = but.iter().any(|file| path.ends_with(file));
        // Tests may break this rule.
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let found: Vec<_> = words.iter().filter(|word| code.contains(**word)).collect();
        assert!(excused || found.is_empty(), "{} holds {found:?}", path.display());
    }
}

#[test]
fn the_language_does_no_io() {
    nowhere(
        &["lang", "model"],
        &[
            "std::fs",
            "TcpStream",
            "UdpSocket",
            "ToSocketAddrs",
            "std::env",
            "std::process",
            "fs::read",
            "File::open",
        ],
        &[],
    );
}

/// Returns the code of a crate without its tests: each path and text.
fn code(of: &str) -> impl Iterator<Item = (PathBuf, String)> {
    let is_code = |path: &Path| {
        let for_tests =
            ["tests", "tests.rs", "testing.rs", "laws.rs", "ownership.rs", "secrets_in_files.rs", "second"];
        !path.components().any(|part| for_tests.iter().any(|name| part.as_os_str() == *name))
    };
    let without_tests = |code: String| code.split("#[cfg(test)]").next().unwrap_or_default().to_owned();
    let all = sources(of).into_iter().filter(move |(path, _)| is_code(path));
    all.map(move |(path, code)| (path, without_tests(code)))
}

/// Only the kind itself may contain what is special about it.
#[test]
fn the_agent_names_no_kind() {
    let kinds: Vec<_> =
        converge_resources::registry().map(|kind| format!("{:?}", kind.schema().name)).collect();
    for (path, code) in code("agent") {
        let found: Vec<_> = kinds.iter().filter(|kind| code.contains(kind.as_str())).collect();
        assert!(found.is_empty(), "{} holds {found:?}", path.display());
    }
}

/// The name of a package manager or packet filter is only in its back end, and in the kind for it alone.
#[test]
fn kinds_name_no_back_end() {
    let words = ["apt", "dpkg", "nft"];
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    for (path, code) in
        code("resources").filter(|(path, _)| path.components().any(|part| part.as_os_str() == "kinds"))
    {
        let named = code.split(|c| !is_part(c)).filter(|word| words.contains(word)).collect::<BTreeSet<_>>();
        let is_own = path.components().any(|part| part.as_os_str() == "apt_repository");
        assert!(is_own || named.is_empty(), "{} names {named:?}", path.display());
    }
}

/// The daemon's decisions depend only on the times and results that are passed in.
#[test]
fn what_the_daemon_decides_is_pure() {
    let impure =
        ["std::fs", "tokio", "std::env", "std::process", "Instant::now", "SystemTime::now", "Timestamp::now"];
    for (path, code) in sources("server") {
        let is_pure = path.ends_with("src/keeper.rs") || path.ends_with("src/schedule.rs");
        let code = code.split("#[cfg(test)]").next().unwrap_or_default();
        let found: Vec<_> = impure.iter().filter(|word| is_pure && code.contains(**word)).collect();
        assert!(found.is_empty(), "{} holds {found:?}", path.display());
    }
}

#[test]
fn the_process_ends_in_one_place() {
    let libraries = ["model", "lang", "resources", "fleet", "engine", "history", "server", "cli"];
    nowhere(
        &libraries,
        &["process::exit", "std::process::abort"],
        &["cli/src/interrupt.rs", "cli/src/memory_limit.rs"],
    );
    nowhere(&libraries, &["ExitCode"], &["cli/src/main.rs"]);
    let main = fs::read_to_string(repository().join("crates/cli/src/main.rs")).unwrap();
    let body = main.split("fn main()").nth(1).unwrap();
    assert!(body.lines().count() < 15, "main is parse, run, render, exit code");
}
