//! Secrets, from the first key to a plan that uses them. All files are in the world of the test.

use std::fs;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::ExitStatusExt;
use std::process::{Command, Stdio};

use crate::world::{Said, World};

const CANARY: &str = "canary-hunter2";

const INVENTORY: &str = r#"
connection "local" root="sandbox"
secrets "secrets/production.age"
host "here"
vars {
    password (secret)"shop/db-password"
    url "pg://shop:{{ password }}@db"
}
on "here" {
    file "/etc/plain" { content (secret)"shop/db-password" }
    file "/etc/url" { content "{{ url }}" }
    file "/etc/other" { content "no secret" }
    command "cat" id="echo" always=#true { stdin "url {{ url }}" }
}
"#;

impl World {
    /// Runs a command with `input` on its standard input and `variables` in its environment.
    fn run_with(&self, arguments: &[&str], input: &str, variables: &[(&str, &str)]) -> Said {
        let mut command = self.command(arguments);
        let piped = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = piped.envs(variables.iter().copied()).spawn().unwrap();
        // A command that fails early may not read its input.
        let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
        self.said(child.wait_with_output().unwrap())
    }
}

fn fine(said: Said) -> String {
    assert_eq!(said.exit, 0, "{}{}", said.out, said.err);
    said.out
}

/// A project with a key and one secret.
fn project() -> World {
    let world = World::new();
    world.write("converge.kdl", "project \"shop\"\ninventory \"inventory.kdl\"\n");
    world.write("inventory.kdl", INVENTORY);
    fs::create_dir_all(world.project().join("sandbox/etc")).unwrap();
    fine(world.run(&["secrets", "keygen"]));
    fine(world.run_with(&["secrets", "set", "shop/db-password"], &format!("{CANARY}\n"), &[]));
    world
}

#[test]
fn two_commands_lead_from_nothing_to_a_secret() {
    let world = World::new();
    world.write("converge.kdl", "project \"shop\"\ninventory \"inventory.kdl\"\n");
    world.write("inventory.kdl", "secrets \"secrets/production.age\"\nhost \"a\"\n");
    let early = world.run_with(&["secrets", "set", "shop/db-password"], CANARY, &[]);
    insta::assert_snapshot!(early.err, @r"
    error: failed to open secrets/production.age: there is no key to open it with
      help: `converge secrets keygen` makes one; --identity and CONVERGE_IDENTITY name the file of another
    ");
    let made = world.run(&["secrets", "keygen"]);
    assert!(
        made.out.starts_with("age1") && made.err.contains("/home/.config/converge/identities"),
        "{made:?}"
    );
    let set = world.run_with(&["secrets", "set", "shop/db-password"], &format!("{CANARY}\n"), &[]);
    insta::assert_snapshot!(set.err, @r"
    created secrets/recipients with your own key; add the keys of all users who may open these secrets
    secrets/production.age: shop/db-password is set, for 1 recipient
    ");
    assert!(world.read("secrets/recipients").ends_with(&made.out));
    assert!(!world.read("secrets/production.age").contains(CANARY));
    assert_eq!(fine(world.run(&["secrets", "get", "shop/db-password"])), format!("{CANARY}\n"));
    fine(world.run_with(&["secrets", "set", "tls/key", "secrets/production.age"], "one\ntwo\n", &[]));
    assert_eq!(fine(world.run(&["secrets", "get", "tls/key"])), "one\ntwo\n");
    assert_eq!(fine(world.run(&["secrets", "list"])), "shop/db-password\ntls/key\n");
    assert_eq!(
        fine(world.run(&["secrets", "list", "--json"])),
        "{\"version\":2,\"type\":\"secret-name\",\"name\":\"shop/db-password\"}\n\
         {\"version\":2,\"type\":\"secret-name\",\"name\":\"tls/key\"}\n"
    );
}

#[test]
fn a_secret_reaches_its_targets_and_no_output() {
    let world = project();
    for arguments in [
        &["check"][..],
        &["inventory", "--json"],
        &["explain", "here", "url"],
        &["plan", "-v"],
        &["plan", "--json"],
        &["apply", "--yes", "-v"],
        &["apply", "--yes", "--json"],
    ] {
        let said = world.run(arguments);
        assert_eq!(said.exit, 0, "{arguments:?}: {}{}", said.out, said.err);
        assert!(!said.out.contains("canary") && !said.err.contains("canary"), "{arguments:?}: {said:?}");
    }
    assert_eq!(world.read("sandbox/etc/plain"), format!("{CANARY}\n"));
    assert_eq!(world.read("sandbox/etc/url"), format!("pg://shop:{CANARY}@db\n"));
    // Check both sides of a difference. The old value is only in the file on the host.
    fine(world.run_with(&["secrets", "set", "shop/db-password"], "second-canary", &[]));
    let plan = world.run(&["plan", "-v"]);
    assert!(plan.out.contains("file[/etc/plain]") && !plan.out.contains("canary"), "{}", plan.out);
    // The secret is removed from the inventory, so Converge cannot search for its value any more.
    fine(world.run(&["apply", "--yes"]));
    let gone = INVENTORY.replace("{ content (secret)\"shop/db-password\" }", "{ content \"plain\" }");
    world.write("inventory.kdl", &gone.replace("url \"pg://shop:{{ password }}@db\"", "url \"none\""));
    let plan = world.run(&["plan", "-v"]);
    assert!(plan.out.contains("file[/etc/url]") && !plan.out.contains("canary"), "{}", plan.out);
    let found = world.traces().into_iter().filter(|path| {
        let path = world.project().parent().unwrap().join(path);
        path.is_file() && String::from_utf8_lossy(&fs::read(&path).unwrap()).contains("canary")
    });
    assert_eq!(found.collect::<Vec<_>>(), ["project/sandbox/etc/plain", "project/sandbox/etc/url"]);
}

#[test]
fn without_the_key_nothing_is_touched_and_the_file_is_named() {
    let world = project();
    let identity = "../home/.config/converge/identities";
    fs::rename(world.project().join(identity), world.project().join("key")).unwrap();
    insta::assert_snapshot!(world.run(&["check"]).err, @r#"
      ! `secrets/production.age` cannot be decrypted here: there is no key to open
      | it with
       ,-[inventory.kdl:3:9]
     2 | connection "local" root="sandbox"
     3 | secrets "secrets/production.age"
       :         ^^^^^^^^^^^^|^^^^^^^^^^^
       :                     `-- Converge does not check its values
     4 | host "here"
       `----
      help: `converge secrets keygen` makes one; --identity and CONVERGE_IDENTITY
            name the file of another
    "#);
    let apply = world.run(&["apply", "--yes"]);
    assert_ne!(apply.exit, 0);
    assert!((apply.out + &apply.err).contains("cannot be decrypted"));
    assert!(!world.project().join("sandbox/etc/other").exists());
    fine(world.run(&["plan", "--identity", "key"]));
    fine(world.run_with(&["plan"], "", &[("CONVERGE_IDENTITY", "key")]));
    fs::set_permissions(world.project().join("key"), fs::Permissions::from_mode(0o644)).unwrap();
    let exposed = world.run(&["secrets", "get", "shop/db-password", "--identity", "key"]);
    assert_eq!(exposed.exit, 1);
    assert!(
        exposed.err.contains("users other than its owner") && exposed.err.contains("chmod 600 key"),
        "{}",
        exposed.err
    );
}

#[test]
fn an_editor_sees_the_text_and_leaves_nothing_behind() {
    let world = project();
    let edit = |script: &str| {
        world.write(
            "editor",
            &format!(
                "#!/bin/sh\nprintf '%s' \"$1\" > seen\nstat -c %a \"$1\" \"${{1%/*}}\" > modes\n{script}\n"
            ),
        );
        fs::set_permissions(world.project().join("editor"), fs::Permissions::from_mode(0o755)).unwrap();
        let said = world.run_with(&["secrets", "edit"], "", &[("EDITOR", "./editor")]);
        assert!(!fs::exists(world.read("seen")).unwrap(), "the folder is gone");
        assert!(!said.err.contains("canary"), "{}", said.err);
        said
    };
    assert_eq!(edit("grep -q canary \"$1\"").err, "nothing was changed\n");
    assert_eq!(world.read("modes"), "600\n700\n");
    assert!(world.read("seen").ends_with("/production.kdl"));
    let before = world.read("secrets/production.age");
    insta::assert_snapshot!(edit("echo \"a canary'\" >> \"$1\"").err, @r"
    its line 4 is not KDL 2.0
    error: the edited text is not valid, so nothing was changed
    ");
    insta::assert_snapshot!(edit("echo 'a \"b\"' >> \"$1\"; exit 3").err, @"error: the editor ended with exit status: 3, so nothing was changed");
    assert_eq!(world.read("secrets/production.age"), before);
    insta::assert_snapshot!(edit("echo 'a \"canary\"' > \"$1.new\"; mv \"$1.new\" \"$1\"").err, @"secrets/production.age: written, for 1 recipient");
    assert_eq!(fine(world.run(&["secrets", "list"])), "a\n");
}

#[test]
fn a_list_that_changed_counts_from_the_next_rekey() {
    let world = project();
    let other = fine(world.run(&["secrets", "keygen", "--output", "other"]));
    let get = || world.run(&["secrets", "get", "shop/db-password", "--identity", "other"]);
    fs::rename(world.project().join("../home/.config/converge/identities"), world.project().join("mine"))
        .unwrap();
    let refused = get();
    assert_eq!(refused.exit, 1);
    assert!(
        refused.err.contains("none of your keys opens it") && refused.err.contains("rekey"),
        "{}",
        refused.err
    );
    let list = world.read("secrets/recipients");
    world.write("secrets/recipients", &format!("{list}{other}"));
    let rekey = world.run(&["secrets", "rekey", "--identity", "mine"]);
    assert_eq!(rekey.err, "secrets/production.age: encrypted again, for 2 recipients\n");
    assert_eq!(fine(get()), format!("{CANARY}\n"));
}

#[test]
fn what_cannot_be_done_is_said() {
    let world = project();
    let check = |arguments: &[&str], input: &str, words: &str| {
        let said = world.run_with(arguments, input, &[]);
        assert_eq!(said.exit, 1, "{arguments:?}");
        assert!(said.err.contains(words), "{arguments:?}: {}", said.err);
    };
    check(&["secrets", "get", "shop/db"], "", "there is no secret shop/db in secrets/production.age");
    check(&["secrets", "get", "x", "gone.age"], "", "failed to read gone.age: No such file");
    check(&["secrets", "rekey", "gone.age"], "", "there is no gone.age");
    check(&["secrets", "set", "shop/db"], "\n", "the value is empty");
    check(&["secrets", "set", "shop"], "x", "`shop` holds other secrets");
    let made = world.run(&["secrets", "keygen"]);
    assert_eq!(made.exit, 0);
    assert!(made.err.starts_with("you have a key in ") && made.out.starts_with("age1"), "{made:?}");
    let identities = world.project().join("../home/.config/converge/identities");
    let identities = identities.to_str().unwrap();
    check(&["secrets", "keygen", "--output", identities], "", "a key exists already");
    world.write("inventory.kdl", "secrets \"a.age\" \"b.age\"\nhost \"a\"\n");
    check(&["secrets", "list"], "", "names several files of secrets: a.age, b.age");
    world.write("inventory.kdl", "host \"a\"\n");
    check(&["secrets", "list"], "", "names no file of secrets");
}

#[test]
fn check_warns_once_of_a_mode_that_lets_everybody_read_a_secret() {
    let world = project();
    let more = "\nhost \"there\"\non \"*\" { file \"/etc/open\" mode=\"0644\" { content (secret)\"shop/db-password\" } }\n";
    world.write("inventory.kdl", &format!("{INVENTORY}{more}"));
    let checked = world.run(&["check"]);
    assert_eq!(checked.exit, 0, "{}", checked.err);
    assert_eq!(checked.err.matches("mode 0644 lets every user of the host read a secret").count(), 1);
    assert!(checked.err.contains("write `mode=\"0600\"`"), "{}", checked.err);
}

#[test]
fn a_process_that_is_aborted_leaves_no_core_with_its_secrets() {
    let world = project();
    let inventory = |words: &str| {
        let command =
            format!("on \"here\" {{ command \"{words}\" id=\"abort\" shell=#true always=#true }}\n");
        world.write("inventory.kdl", &format!("{INVENTORY}{command}"));
    };
    let apply = || {
        let converge = world.command(&["apply", "--yes"]);
        let mut shell = Command::new("sh");
        shell.args(["-c", "ulimit -c unlimited; exec \"$0\" \"$@\""]);
        shell.arg(converge.get_program()).args(converge.get_args()).current_dir(world.project()).env_clear();
        shell.envs(converge.get_envs().filter_map(|(name, value)| Some((name, value?)))).output().unwrap()
    };
    inventory("ulimit -c > limit; kill -ABRT $PPID");
    let agent = apply();
    assert_eq!(world.read("sandbox/limit"), "unlimited\n", "what the agent starts keeps its own");
    assert!(agent.status.code().is_some_and(|code| code != 0), "the agent died: {agent:?}");
    inventory("read -r a b c controller d < /proc/$PPID/stat; kill -ABRT $controller");
    let controller = apply();
    assert_eq!(controller.status.signal(), Some(6), "{controller:?}");
    assert!(!controller.status.core_dumped());
    let is_core = |path: &&String| path.rsplit('/').next().is_some_and(|name| name.starts_with("core"));
    assert_eq!(world.traces().iter().find(is_core), None);
}
