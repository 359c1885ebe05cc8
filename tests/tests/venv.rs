//! Virtual environments on a real host, with pip and the index of Python: a plan names exactly the distributions that
//! an apply then changes.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::collections::BTreeMap;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// A host and the project that says what is installed on it.
struct Ground {
    testbed: Testbed,
    project: Project,
}

/// Distributions with their versions.
type Installed = BTreeMap<String, String>;

impl Ground {
    fn new() -> Option<Self> {
        let testbed = or_skip(Testbed::up(&["h1"]))?;
        let project = Project::new("", Some(&testbed)).unwrap();
        Some(Self { testbed, project })
    }

    /// Lets the inventory be an environment with this in it.
    fn venv(&self, body: &str) {
        let inventory = format!(
            "connection user=\"admin\" become=\"sudo\"\nhost \"h1\"\non \"h1\" {{\n    venv \"/opt/venv\" {{\n{body}\n    }}\n}}\n"
        );
        self.project.write("project/inventory.kdl", inventory).unwrap();
    }

    fn host(&self) -> &Host {
        self.testbed.host("h1").unwrap()
    }

    fn converge(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = self.project.converge(arguments).unwrap();
        assert_eq!(ended.code, code, "{ended}");
        ended
    }

    /// What pip says is there, pip itself and setuptools left out.
    fn installed(&self) -> Installed {
        let list = "test ! -x /opt/venv/bin/python || /opt/venv/bin/python -m pip list --format=freeze --disable-pip-version-check";
        let text = self.host().exec_root(list).unwrap().ok().unwrap();
        let pairs = text.lines().filter_map(|line| line.split_once("=="));
        let pairs = pairs.filter(|(name, _)| !["pip", "setuptools"].contains(name));
        pairs.map(|(name, version)| (name.to_owned(), version.to_owned())).collect()
    }

    /// Plans, applies, and holds what the plan said against what pip sees before and after.
    fn apply(&self) {
        let before = self.installed();
        let plan = self.converge(&["plan"], 0);
        assert_eq!(self.installed(), before, "law 1");
        self.converge(&["apply", "--yes"], 0);
        assert_eq!(announced(&plan.stdout), changes(&before, &self.installed()), "law 2: {plan}");
        self.converge(&["plan", "--detailed-exitcode"], 0);
    }
}

/// The distributions of a plan: `name: 1.0 -> 2.0`, with nothing for what is not there.
fn announced(plan: &str) -> BTreeMap<String, (String, String)> {
    let own = plan.lines().skip_while(|line| !line.contains(".virtualenv["));
    let lines = own.skip(1).take_while(|line| line.starts_with("      "));
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    let pairs = pairs.filter(|(name, _)| {
        !["python", "conditional on", "not revertible"].iter().any(|other| name.starts_with(other))
    });
    let text = |text: &str| text.replace("(absent)", "");
    pairs
        .map(|(name, change)| match change.split_once(" -> ") {
            Some((before, after)) => (name.to_owned(), (text(before), text(after))),
            None => (name.to_owned(), (String::new(), text(change))),
        })
        .collect()
}

fn changes(before: &Installed, after: &Installed) -> BTreeMap<String, (String, String)> {
    let version = |of: &Installed, name: &String| of.get(name).cloned().unwrap_or_default();
    let names = before.keys().chain(after.keys());
    let pairs = names.map(|name| (name.clone(), (version(before, name), version(after, name))));
    pairs.filter(|(_, (one, other))| one != other).collect()
}

#[test]
fn a_plan_names_exactly_what_an_apply_changes() {
    let Some(ground) = Ground::new() else { return };
    ground.venv("exact #true\ninstall \"iniconfig==2.0.0\" \"packaging==23.0\"");
    ground.apply();
    ground.venv("exact #true\ninstall \"iniconfig==2.0.0\" \"packaging==24.0\" \"pluggy==1.5.0\"");
    ground.apply();
    ground.venv("exact #true\ninstall \"packaging==24.0\"");
    ground.apply();
    assert_eq!(ground.installed(), BTreeMap::from([("packaging".to_owned(), "24.0".to_owned())]));
}

#[test]
fn a_change_that_fails_leaves_the_environment_as_it_was() {
    let Some(ground) = Ground::new() else { return };
    ground.venv("exact #true\ninstall \"iniconfig==2.0.0\"");
    ground.apply();
    let before = ground
        .host()
        .exec_root("cd /opt/venv && find . -type f -exec sha256sum {} + | sort")
        .unwrap()
        .ok()
        .unwrap();
    let wrong = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    ground.venv(&format!("exact #true\ncontent \"iniconfig==1.1.1 --hash={wrong}\\n\""));
    let failed = ground.converge(&["apply", "--yes"], 3);
    assert!(failed.stdout.contains("THESE PACKAGES DO NOT MATCH THE HASHES"), "what pip said: {failed}");
    let after = ground
        .host()
        .exec_root("cd /opt/venv && find . -type f -exec sha256sum {} + | sort")
        .unwrap()
        .ok()
        .unwrap();
    assert_eq!(before, after);
    ground.venv("exact #true\ninstall \"iniconfig==2.0.0\"");
    ground.converge(&["plan", "--detailed-exitcode"], 0);
}

#[test]
fn what_is_not_pinned_is_unknown_once_and_then_at_rest() {
    let Some(ground) = Ground::new() else { return };
    ground.venv("install \"pytest==8.2.0\"");
    let plan = ground.converge(&["plan"], 0);
    assert!(plan.stdout.contains("pytest may need others, which no source names"), "{plan}");
    ground.converge(&["apply", "--yes"], 0);
    assert!(ground.installed().contains_key("pluggy"), "it needs others");
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    ground.host().exec_root("/opt/venv/bin/python -m pip uninstall -y pluggy").unwrap().ok().unwrap();
    let plan = ground.converge(&["plan", "--detailed-exitcode"], 2);
    assert!(plan.stdout.contains("pluggy"), "{plan}");
    ground.converge(&["apply", "--yes"], 0);
    assert!(ground.installed().contains_key("pluggy"));
}
