//! `inventories/single-server` on a real host, with the commands of its README: the server is built from nothing, and
//! then nothing is left to do.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::path::{Path, PathBuf};

use converge_tests::converge_binary;
use converge_tests::load::Site;
use converge_tests::project::{Ended, Project};
use converge_tests::terminal::Terminal;
use converge_tests::testbed::{Host, Testbed, or_skip};

const DOMAIN: &str = "guestbook.example.com";

#[test]
fn a_single_server_is_what_its_inventory_says() {
    let Some(testbed) = or_skip(Testbed::up(&["server"])) else { return };
    let admin = Project::new("", Some(&testbed)).unwrap();
    let (ready, deploy) = commands("single-server");
    run(&admin, &ready);
    the_first_plan_is_read_at_once(&admin);
    run(&admin, &deploy.replace("converge apply", "converge apply --yes"));

    let server = testbed.host("server").unwrap();
    is_signed_and_read(server);
    is_closed_but_for_its_doors(server);
    let again = run(&admin, "cd ~/single-server && converge plan --detailed-exitcode");
    assert!(again.stdout.contains("nothing to change"), "{again}");
    assert_eq!(server.failed_units().unwrap(), Vec::<String>::new());
}

/// The whole plan for an empty host, at a terminal of 80 columns.
fn the_first_plan_is_read_at_once(admin: &Project) {
    let terminal = Terminal::open(admin, (80, 60), &[]).unwrap();
    terminal.run("cd ~/single-server").unwrap();
    let (screen, code) = terminal.run("converge plan").unwrap();
    assert_eq!(code, "0", "{screen}");
    // The surprising parts: accounts that may log in, changes that could lock out, and values that are not known
    // before.
    for words in [
        "users.user[ada]",
        "10-keys-only.conf] (guarded)",
        "could lock you out",
        "steps wait for",
        "Plan: 1 host will change",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
    let lines = terminal.drawn().unwrap().lines().count();
    assert!(lines <= 60, "{lines} lines: {screen}");
    assert_eq!(terminal.broken().unwrap(), Vec::<String>::new());
}

fn is_signed_and_read(server: &Host) {
    let plain = Site::new(server.address(), DOMAIN).get("/").unwrap();
    assert_eq!(plain.status, 301, "{}", plain.text);
    assert!(plain.text.contains(&format!("https://{DOMAIN}/")), "{}", plain.text);
    let page = format!("curl -ksSf --resolve {DOMAIN}:443:{} https://{DOMAIN}/", server.address());
    on(server, &format!("{page} -d name=Ada -d words=Hello"));
    let read = on(server, &page);
    assert!(read.contains("Ada: Hello"), "{read}");
}

fn is_closed_but_for_its_doors(server: &Host) {
    assert!(on(server, "nft list table inet converge").contains("policy drop"));
    assert!(on(server, "fail2ban-client status").contains("sshd"));
    assert!(on(server, "sshd -T").contains("passwordauthentication no"));
    assert!(on(server, "grep -c ada@example.com /home/ada/.ssh/authorized_keys").contains('1'));
    let listens = on(server, "ss -Hltn 'sport = 5432'");
    assert!(!listens.contains("0.0.0.0:5432"), "{listens}");
}

fn on(server: &Host, line: &str) -> String {
    server.exec_root(line).unwrap().ok().unwrap()
}

/// Returns the commands in a section of the README: those that prepare the project, and those that use it.
fn commands(section: &str) -> (String, String) {
    let text = std::fs::read_to_string(repository().join("inventories/README.md")).unwrap();
    let (_, text) = text.split_once(&format!("\n## {section}\n")).unwrap();
    let mut fences = text.split("```sh\n").skip(1).map(|fence| fence.split_once("```").unwrap().0.to_owned());
    let ready = fences.next().unwrap();
    (ready, "cd ~/single-server\n".to_owned() + &fences.next().unwrap())
}

/// Runs shell lines in the repository, with the project's home.
fn run(admin: &Project, lines: &str) -> Ended {
    let tool = converge_binary();
    let path = format!("{}:/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin", tool.parent().unwrap().display());
    let mut shell = admin.program("/bin/sh");
    shell.args(["-euc", lines]).current_dir(repository()).env("PATH", path).env("USER", "ada");
    let ended: Ended = shell.output().unwrap().into();
    assert_eq!(ended.code, 0, "{lines}: {ended}");
    ended
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}
