//! Virtual environments on a real host, with pip and with uv. A plan names exactly the distributions that an apply
//! changes, compared with the installer's own list before and after. After a failure the environment is unchanged.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::collections::BTreeMap;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// Builds the wheels and serves the index for these tests.
const GROUND: &str = include_str!("../data/venv/ground.py");

/// The index, with its login.
const INDEX: &str = "http://ci:p%40ss-w%25rd@127.0.0.1:8901/simple";

/// A host and its project.
struct Ground {
    testbed: Testbed,
    project: Project,
}

/// Distributions, each with its version.
type Installed = BTreeMap<String, String>;

impl Ground {
    /// Creates a host with small wheels in `/srv/wheels`, a project in `/srv/project`, and an index of both with a
    /// password.
    fn new() -> Option<Self> {
        let testbed = or_skip(Testbed::up(&["h1"]))?;
        let project = Project::new("", Some(&testbed)).unwrap();
        let ground = Self { testbed, project };
        ground.write("/srv/ground.py", GROUND);
        ground.root("python3 /srv/ground.py make");
        ground.root("systemd-run --quiet --unit=index --service-type=notify python3 /srv/ground.py serve");
        ground.secret("pypi/url", INDEX);
        ground.secret("pypi/wrong", &INDEX.replace("ss-w", "ss-v"));
        Some(ground)
    }

    fn secret(&self, name: &str, value: &str) {
        self.project.converge(&["secrets", "keygen"]).unwrap();
        let mut set = self.project.program("/bin/sh");
        let tool = converge_tests::converge_binary();
        let line = format!("printf %s \"$VALUE\" | {} secrets set {name} secrets.age", tool.display());
        let ended: Ended = set.env("VALUE", value).args(["-c", &line]).output().unwrap().into();
        assert_eq!(ended.code, 0, "{ended}");
    }

    /// Sets the inventory to an environment with this body.
    fn venv(&self, body: &str) {
        let inventory = format!(
            "connection user=\"admin\" become=\"sudo\"\nsecrets \"secrets.age\"\nhost \"h1\"\non \"h1\" {{\n    venv \"/opt/venv\" {{\n{body}\n    }}\n}}\n"
        );
        self.project.write("project/inventory.kdl", inventory).unwrap();
    }

    fn host(&self) -> &Host {
        self.testbed.host("h1").unwrap()
    }

    fn root(&self, line: &str) -> String {
        self.host().exec_root(line).unwrap().ok().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        self.root(&format!("cat >{path} <<'END-OF-FILE'\n{text}\nEND-OF-FILE"));
    }

    fn converge(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = self.project.converge(arguments).unwrap();
        assert_eq!(ended.code, code, "{ended}");
        ended
    }

    /// Returns the installer's list, without pip itself and setuptools.
    fn installed(&self) -> Installed {
        let list = "cd /; p=/opt/venv/bin/python; test ! -x $p || \
            $p -m pip --disable-pip-version-check list --format=freeze 2>/dev/null || uv --quiet pip list --python $p --format=freeze";
        let text = self.root(list);
        let pairs = text.lines().filter_map(|line| line.split_once("=="));
        let pairs = pairs.filter(|(name, _)| !["pip", "setuptools"].contains(name));
        pairs.map(|(name, version)| (normal(name), version.to_owned())).collect()
    }

    /// Applies, and compares the plan with the installer's lists before and after. Returns the output of `apply`.
    fn apply(&self) -> Ended {
        let before = self.installed();
        let told = self.converge(&["apply", "--yes"], 0);
        assert_eq!(announced(&told.stdout), changes(&before, &self.installed()), "law 2: {told}");
        self.converge(&["plan", "--detailed-exitcode"], 0);
        told
    }

    /// Like [`Self::apply`], then checks that exactly `expected` is installed.
    fn comes_to(&self, body: &str, expected: &[(&str, &str)]) -> Ended {
        self.venv(body);
        let plan = self.apply();
        let expected: Installed =
            expected.iter().map(|(name, version)| ((*name).to_owned(), (*version).to_owned())).collect();
        assert_eq!(self.installed(), expected, "{body}");
        plan
    }

    /// Checks that an apply fails with this message and changes no file of the environment.
    fn fails(&self, body: &str, code: i32, said: &str) {
        let files = "cd /opt/venv && find . -name __pycache__ -prune -o -type f -exec sha256sum {} + -o -printf '%p %l %m %u\\n' | sort";
        let before = self.root(files);
        self.venv(body);
        let failed = self.converge(&["apply", "--yes"], code);
        let told = format!("{}{}", failed.stdout, failed.stderr);
        assert!(told.contains(said), "{body}: not told {said:?}: {failed}");
        assert_eq!(self.root(files), before, "{body}: {failed}");
    }
}

fn normal(name: &str) -> String {
    name.to_ascii_lowercase().replace(['_', '.'], "-")
}

/// Returns the distributions in a plan: `name: 1.0 -> 2.0`. A side is empty if the distribution does not exist.
fn announced(plan: &str) -> BTreeMap<String, (String, String)> {
    let mut own = plan.lines().skip_while(|line| !line.contains(".virtualenv["));
    // A single change is on the line of its resource.
    let first = own.next().and_then(|line| line.split_once("]  ")).map(|(_, change)| change);
    let lines = first.into_iter().chain(own.take_while(|line| line.starts_with("      ")));
    let pairs = lines.filter_map(|line| line.trim().split_once(": "));
    let pairs = pairs.filter(|(name, _)| {
        !["python", "conditional on", "not revertible", "state", "project"]
            .iter()
            .any(|other| name.starts_with(other))
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
fn a_plan_names_exactly_what_pip_changes() {
    let Some(ground) = Ground::new() else { return };
    ground.comes_to(
        "exact #true\ninstall \"iniconfig==2.0.0\" \"packaging==23.0\"",
        &[("iniconfig", "2.0.0"), ("packaging", "23.0")],
    );
    ground.comes_to(
        "exact #true\ninstall \"iniconfig==2.0.0\" \"packaging==24.0\" \"pluggy==1.5.0\"",
        &[("iniconfig", "2.0.0"), ("packaging", "24.0"), ("pluggy", "1.5.0")],
    );
    // From here on the host has no route out. Distributions come from a folder or from its own index.
    ground.root("ip route del default");
    let house = "wheelhouse \"/srv/wheels\"\n";
    ground.comes_to(&format!("exact #true\n{house}install \"leaf==1.0\""), &[("leaf", "1.0")]);
    spellings(&ground, house);
    dependencies(&ground, house);
    projects(&ground, house);
    index(&ground, "");
    mishaps(&ground, house);
}

/// Different spellings of one name, markers, files that refer to others, constraints, and archives named directly.
fn spellings(ground: &Ground, house: &str) {
    let wheel = "/srv/wheels/foo_bar_baz-2.0-py3-none-any.whl";
    ground.write(
        "/srv/base.txt",
        "FOO.bar-Baz == 1.0 ; python_version >= '3.8' # why\nleaf==9 ; sys_platform == 'win32'",
    );
    ground.write("/srv/requirements.txt", "-r base.txt\n-c limits.txt\n--no-binary=none\nLeaf");
    ground.write("/srv/limits.txt", "leaf==2.0\nneedy==7");
    let exact = |body: &str| format!("exact #true\n{house}{body}");
    ground.comes_to(
        &exact("requirements \"/srv/requirements.txt\""),
        &[("foo-bar-baz", "1.0"), ("leaf", "2.0")],
    );
    ground.comes_to(
        &exact("install \"leaf\" \"foo_bar.baz[none]==3.0\"\nconstraints \"/srv/limits.txt\""),
        &[("foo-bar-baz", "3.0"), ("leaf", "2.0")],
    );
    ground.venv(&exact("install \"LEAF == 2\" \"Foo__Bar.baz===3.0\""));
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    ground.comes_to(&exact(&format!("install \"Foo-Bar-baz @ file://{wheel}\"")), &[("foo-bar-baz", "2.0")]);
    ground
        .comes_to(&exact(&format!("install \"{}\"", wheel.replace("2.0", "3.0"))), &[("foo-bar-baz", "3.0")]);
    ground.venv(&exact("install \"my-project @ file:///srv/project\""));
    let plan = ground.converge(&["plan"], 0);
    assert!(plan.stdout.contains("only the installer knows the version of my-project"), "{plan}");
    ground.converge(&["apply", "--yes"], 0);
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    // The name is known, because the package was installed from there. Its backend does not support editable
    // installations.
    ground.fails(&exact("install \"-e /srv/project\""), 3, "cannot be installed in editable mode");
    ground.fails(&exact("install \"leaf==1.0\" \"Leaf==2.0\""), 3, "asks for leaf 1.0 and 2.0");
    ground.fails(
        &exact("install \"leaf==1.0\"\nconstraints \"/srv/limits.txt\""),
        3,
        "asks for leaf 1.0, but the constraints for 2.0",
    );
}

/// Dependencies that no source names are unknown at first. Then they are in sync until one of them is removed.
fn dependencies(ground: &Ground, house: &str) {
    ground.comes_to(&format!("exact #true\n{house}install \"leaf==1.0\""), &[("leaf", "1.0")]);
    ground.venv(&format!("{house}install \"needy[more]==1.0\""));
    let plan = ground.converge(&["plan"], 0);
    assert!(plan.stdout.contains("needy may need packages that no source names"), "{plan}");
    ground.converge(&["apply", "--yes"], 0);
    assert!(ground.installed().contains_key("foo-bar-baz"), "it needs others");
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    ground.root("/opt/venv/bin/python -m pip uninstall -y foo-bar-baz");
    let plan = ground.converge(&["plan", "--detailed-exitcode"], 2);
    assert!(plan.stdout.contains("foo-bar-baz"), "{plan}");
    ground.converge(&["apply", "--yes"], 0);
    assert!(ground.installed().contains_key("foo-bar-baz"));
}

/// A project: alone with its dependencies, with its lock, an extra and a group, and again after its code changed.
fn projects(ground: &Ground, house: &str) {
    ground.root("rm -rf /opt/venv");
    ground.venv(&format!("{house}project \"/srv/project\"\nextras \"more\""));
    ground.converge(&["apply", "--yes"], 0);
    let names: Vec<_> = ground.installed().into_keys().collect();
    assert_eq!(names, ["foo-bar-baz", "leaf", "my-project", "needy"]);
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    let locked = format!("exact #true\n{house}lock \"/srv/project/uv.lock\"\nproject \"/srv/project\"\n");
    let least = [("foo-bar-baz", "2.0"), ("my-project", "0.1"), ("needy", "1.0")];
    let most = [("foo-bar-baz", "2.0"), ("leaf", "1.0"), ("my-project", "0.1"), ("needy", "1.0")];
    ground.comes_to(&locked, &least);
    ground.comes_to(&format!("{locked}groups \"prod\""), &most);
    ground.comes_to(&format!("{locked}extras \"more\""), &most);
    ground.comes_to(&locked, &least);
    code(ground, "second", &locked);
    ground.fails(&format!("{locked}extras \"none\""), 3, "must have optional-dependencies \"none\"");
}

fn code(ground: &Ground, says: &str, locked: &str) {
    ground.write("/srv/project/code.py", &format!("SAYS = '{says}'"));
    ground.venv(locked);
    let plan = ground.apply();
    assert!(plan.stdout.contains("project: as it was installed -> as it is now"), "{plan}");
    let said = ground.root("cd / && /opt/venv/bin/python -c 'import my_project; print(my_project.SAYS)'");
    assert_eq!(said.trim(), says);
}

/// Uses the index with its password and without it.
fn index(ground: &Ground, tool: &str) {
    let private = |more: &str| format!("exact #true\n{tool}{more}");
    ground.comes_to(
        &private("index (secret)\"pypi/url\"\ninstall \"leaf==2.0\" \"needy==1.0\""),
        &[("leaf", "2.0"), ("needy", "1.0")],
    );
    // pip does not report that access was refused.
    let said = if tool.is_empty() { "(from versions: none)" } else { "401" };
    ground.fails(&private("index (secret)\"pypi/wrong\"\ninstall \"needy==1.0\" \"leaf==1.0\""), 3, said);
    let journal =
        ground.root("journalctl --quiet --output=export | grep --count --text 'p.*ss-w.*rd@' || true");
    assert_eq!(journal.trim(), "0");
}

/// Failures are reported, and the environment is unchanged.
fn mishaps(ground: &Ground, house: &str) {
    let exact = |body: &str| format!("exact #true\n{house}{body}");
    let wrong = "0".repeat(64);
    ground.fails(
        &exact(&format!("content \"leaf==1.0 --hash=sha256:{wrong}\\n\"")),
        3,
        "THESE PACKAGES DO NOT MATCH THE HASHES",
    );
    ground.fails(&exact("install \"leaf==9.9\""), 3, "No matching distribution found for leaf==9.9");
    ground.fails(&exact("requirements \"/srv/none.txt\""), 3, "the file /srv/none.txt does not exist");
    ground.root("cp -a /srv/project /srv/broken && echo '[project' >>/srv/broken/pyproject.toml");
    ground.fails(&exact("project \"/srv/broken\""), 3, "TOMLDecodeError");
    full_disk(ground, &exact("install \"large==1.0\""));
    // After the failures, an apply works as planned.
    ground.comes_to(&exact("install \"leaf==2.0\" \"needy==1.0\""), &[("leaf", "2.0"), ("needy", "1.0")]);
}

/// The disk of the environment becomes full in the middle of a distribution.
fn full_disk(ground: &Ground, body: &str) {
    ground.root(
        "mv /opt/venv /srv/aside && mkdir /opt/venv && mount -t tmpfs -o size=40m none /opt/venv && \
         cp -a /srv/aside/. /opt/venv && \
         head -c \"$(($(df --output=avail -B1 /opt/venv | tail -1) - 4000000))\" /dev/zero >/opt/venv/filler",
    );
    ground.fails(body, 3, "No space left on device");
    ground.root("umount /opt/venv && rmdir /opt/venv && mv /srv/aside /opt/venv");
}

#[test]
fn an_environment_is_made_anew_when_its_interpreter_goes_and_uv_makes_it_as_well() {
    let Some(ground) = Ground::new() else { return };
    let house = "wheelhouse \"/srv/wheels\"\n";
    let leaf = [("leaf", "1.0")];
    ground.root("mkdir -p /opt/other/bin && cp /usr/bin/python3.11 /opt/other/bin/");
    let other = format!("exact #true\npython \"/opt/other/bin/python3.11\"\n{house}install \"leaf==1.0\"");
    let own = format!("exact #true\n{house}install \"leaf==1.0\"");
    ground.comes_to(&other, &leaf);
    ground.venv(&own);
    let plan = ground.converge(&["plan"], 0);
    assert!(plan.stdout.contains("python: /opt/other/bin/python3.11 (3.11.2) -> /usr/bin/python3"), "{plan}");
    ground.root("rm /opt/other/bin/python3.11");
    ground.venv(&other);
    let refused = ground.converge(&["plan"], 3);
    assert!(refused.stdout.contains("the program /opt/other/bin/python3.11 does not exist"), "{refused}");
    ground.venv(&own);
    let plan = ground.converge(&["apply", "--yes"], 0);
    assert!(plan.stdout.contains("python: missing (3.11.2) -> /usr/bin/python3"), "{plan}");
    by_half(&ground, &own);
    with_uv(&ground, house);
}

/// If a part of an environment is removed by hand, an apply repairs it. A missing pip alone is no drift.
fn by_half(ground: &Ground, body: &str) {
    for half in [
        "pyvenv.cfg",
        "bin",
        "lib/python3.11/site-packages/leaf-1.0.dist-info/METADATA",
        "lib/python3.11/site-packages/pip*",
    ] {
        ground.root(&format!("rm -r /opt/venv/{half}"));
        ground.venv(body);
        let pip = half.ends_with('*');
        ground.converge(&["plan", "--detailed-exitcode"], if pip { 0 } else { 2 });
        if !pip {
            ground.converge(&["apply", "--yes"], 0);
            ground.converge(&["plan", "--detailed-exitcode"], 0);
            assert_eq!(
                ground.installed(),
                Installed::from([("leaf".to_owned(), "1.0".to_owned())]),
                "{half}"
            );
        }
    }
    // pip is installed again with the next change that needs it.
    ground.venv(&body.replace("1.0", "2.0"));
    ground.converge(&["apply", "--yes"], 0);
    assert_eq!(ground.installed(), Installed::from([("leaf".to_owned(), "2.0".to_owned())]));
}

/// Uses uv in its own environment, and to fill others.
fn with_uv(ground: &Ground, house: &str) {
    let uv = "tool \"uv\"\n";
    ground.venv(&format!("exact #true\n{uv}{house}install \"leaf==1.0\""));
    let refused = ground.converge(&["plan"], 3);
    assert!(refused.stdout.contains("the program uv does not exist"), "{refused}");
    ground.root("python3 -m venv /opt/uv && /opt/uv/bin/pip --quiet install uv==0.9.9 && ln -s /opt/uv/bin/uv /usr/local/bin/uv");
    ground.root("ip route del default");
    ground.comes_to(&format!("exact #true\n{uv}{house}install \"leaf==1.0\""), &[("leaf", "1.0")]);
    ground.root("rm -rf /opt/venv");
    ground.comes_to(
        &format!("exact #true\n{uv}{house}install \"FOO.bar_baz==1.0\" \"leaf==1.0\""),
        &[("foo-bar-baz", "1.0"), ("leaf", "1.0")],
    );
    index(ground, uv);
    let locked = format!(
        "exact #true\n{uv}index (secret)\"pypi/url\"\nlock \"/srv/project/uv.lock\"\nproject \"/srv/project\"\nextras \"more\"\n"
    );
    let most = [("foo-bar-baz", "2.0"), ("leaf", "1.0"), ("my-project", "0.1"), ("needy", "1.0")];
    ground.comes_to(&locked, &most);
    code(ground, "third", &locked);
    // An environment without pip, and without uv from now on.
    ground.root("rm /usr/local/bin/uv");
    ground.venv(&format!("exact #true\n{house}install \"leaf==2.0\""));
    ground.converge(&["apply", "--yes"], 0);
    ground.converge(&["plan", "--detailed-exitcode"], 0);
    assert_eq!(ground.installed(), Installed::from([("leaf".to_owned(), "2.0".to_owned())]));
}
