//! Compares Converge with Ansible: after one has applied `data/forty`, the other one has nothing to do. `data/forty`
//! declares the same host for both.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::path::{Path, PathBuf};
use std::process::Command;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Testbed, or_skip, python_tool};

/// The package with the collections, in the version that the cache of the test hosts keeps.
const ANSIBLE: &str = "ansible==12.3.0";

/// A fresh host, its project, and Ansible's programs.
struct Ground {
    testbed: Testbed,
    project: Project,
    programs: PathBuf,
}

impl Ground {
    fn new() -> Option<Self> {
        let programs = or_skip(python_tool(ANSIBLE))?;
        let testbed = or_skip(Testbed::up(&["h1"]))?;
        let project = Project::new("", Some(&testbed)).unwrap();
        project.copy(&data()).unwrap();
        Some(Self { testbed, project, programs })
    }

    fn converge(&self, arguments: &[&str]) -> Ended {
        self.project.converge(&[arguments, &["--limit", "h1"]].concat()).unwrap()
    }

    /// Runs the playbook on the host.
    fn ansible(&self, arguments: &[&str]) -> Ended {
        let mut ansible = Command::new(self.programs.join("ansible-playbook"));
        ansible.arg(data().join("playbook.yml")).args(["--inventory", "h1,"]).args(arguments);
        let config = self.testbed.ssh_config_path();
        ansible.arg(format!("--ssh-common-args=-F {}", config.display()));
        let home = self.project.path("home");
        ansible.env_clear().env("HOME", &home).env("PATH", "/usr/bin:/bin").env("LC_ALL", "C.UTF-8");
        ansible.env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3").env("ANSIBLE_PIPELINING", "true");
        ansible.env("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=10s");
        ansible.current_dir(home).output().map(Ended::from).unwrap()
    }
}

fn data() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("data/forty")
}

#[test]
fn ansible_has_nothing_to_do_after_converge() {
    let Some(ground) = Ground::new() else { return };
    let apply = ground.converge(&["apply", "--yes"]);
    assert_eq!(apply.code, 0, "{apply}");
    let check = ground.ansible(&["--check", "--diff"]);
    assert_eq!(check.code, 0, "{check}");
    assert!(check.stdout.contains(" changed=0 "), "{check}");
}

#[test]
fn converge_has_nothing_to_do_after_ansible() {
    let Some(ground) = Ground::new() else { return };
    let play = ground.ansible(&[]);
    assert_eq!(play.code, 0, "{play}");
    let plan = ground.converge(&["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{plan}");
}
