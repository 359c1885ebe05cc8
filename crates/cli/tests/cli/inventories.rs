//! `inventories/`: each project is copied, prepared and checked with the commands of its README.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::process::Command;

use crate::world::{Said, World, repository};

/// Returns the first commands of a section, which need no host.
fn commands(section: &str) -> String {
    let text = fs::read_to_string(repository().join("inventories/README.md")).unwrap();
    let (_, section) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let (_, fence) = section.split_once("```sh\n").unwrap();
    fence.split_once("```").unwrap().0.to_owned()
}

/// Runs shell lines in the repository, as a user whose home is in the world.
fn run(world: &World, lines: &str) -> Said {
    let tool = Path::new(env!("CARGO_BIN_EXE_converge")).parent().unwrap().display();
    let mut shell = Command::new("/bin/sh");
    shell.args(["-euc", lines]).current_dir(repository()).env_clear();
    shell.envs(world.command(&[]).get_envs().filter_map(|(name, value)| Some((name, value?))));
    shell.env("PATH", format!("{tool}:{}", std::env::var("PATH").unwrap()));
    world.said(shell.output().unwrap())
}

#[test]
fn each_project_loads_without_a_word_once_it_is_made_ready_as_its_readme_says() {
    let check = |section: &str, verdicts: &[&str]| {
        let said = run(&World::new(), &commands(section));
        assert_eq!(said.exit, 0, "{section}: {}", said.err);
        let all = said.out + &said.err;
        assert!(!all.contains("warning") && !all.contains("note"), "{section}: {all}");
        let checked: Vec<_> = all.lines().filter(|line| line.contains("mistakes")).collect();
        assert_eq!(checked, verdicts, "{section}");
    };
    check("single-server", &["guestbook: 1 host, no mistakes"]);
    check("web-and-database", &["guestbook: 5 hosts, no mistakes"]);
    let both = ["guestbook: 1 host, no mistakes", "guestbook: 5 hosts, no mistakes"];
    check("staging-and-production", &both);
}

#[test]
fn the_readme_leaves_out_no_project() {
    let folders = fs::read_dir(repository().join("inventories")).unwrap().map(Result::unwrap);
    let projects = folders.filter(|entry| entry.path().join("converge.kdl").exists());
    let projects: BTreeSet<_> = projects.map(|entry| entry.file_name().into_string().unwrap()).collect();
    assert_eq!(projects.len(), 3, "{projects:?}");
    for project in projects {
        assert!(commands(&project).starts_with(&format!("cp -r inventories/{project} ")), "{project}");
    }
}

#[test]
fn staging_and_production_keep_their_secrets_apart() {
    let world = World::new();
    let said = run(&world, &commands("staging-and-production"));
    assert_eq!(said.exit, 0, "{}", said.err);
    let get = |file: &str| {
        let line =
            format!("cd ~/staging-and-production; converge secrets get database/password secrets/{file}");
        run(&world, &line).out.trim().to_owned()
    };
    let (staging, production) = (get("staging.age"), get("production.age"));
    assert_eq!((staging.len(), production.len()), (48, 48));
    assert_ne!(staging, production);
    let explained = |variable: &str, host: &str, inventory: &str| {
        run(&world, &format!("cd ~/staging-and-production; converge explain {host} {variable} {inventory}"))
            .out
    };
    assert!(
        explained("domain", "staging1", "").contains("staging.example.com"),
        "without a name it is staging"
    );
    let production = explained("domain", "web1", "inventories/production.kdl");
    assert!(production.contains("guestbook.example.com"), "{production}");
}
