//! `exec` and `ping` on hosts whose roots are folders: the commands that run, the shown output, and the kept records.

use std::fs;
use std::process::{Child, Stdio};
use std::time::{Duration, Instant};

use crate::world::{Said, World, timeless};

const CANARY: &str = "canary-hunter2";

/// Two hosts that are folders of this machine, and one that cannot be reached.
fn hosts() -> World {
    let world = World::new();
    world.write("converge.kdl", "project \"shop\"\ninventory \"inventory.kdl\"\n");
    world.write(
        "inventory.kdl",
        "group \"web\" {\n\
             host \"web1\" { connection \"local\" root=\"one\" }\n\
             host \"web2\" { connection \"local\" root=\"two\" }\n\
         }\n\
         host \"gone\" address=\"127.0.0.1\" { connection \"ssh\" port=1 }\n",
    );
    world
}

fn exec(world: &World, words: &[&str], exit: i32) -> Said {
    let said = world.run(&[&["exec"], words].concat());
    assert_eq!(said.exit, exit, "{words:?}: {}{}", said.out, said.err);
    said
}

#[test]
fn hosts_that_say_the_same_stand_together_and_failures_come_last() {
    let world = hosts();
    let same = exec(&world, &["web", "--", "echo same; echo also >&2"], 0);
    insta::assert_snapshot!(timeless(&same.out), @r"
    web1, web2: exit 0
      same
      also
    Exec: 2 hosts done.   [time]
    ");
    let line = "case $CONVERGE_ROOT in *one) echo first; exit 7;; esac; echo second";
    let apart = exec(&world, &["web,gone", "--", line], 3);
    let shown = timeless(&apart.out);
    assert!(
        shown.starts_with("web2: exit 0\n  second\nweb1: exit 7\n  first\ngone: unreachable\n  ! "),
        "{shown}"
    );
    assert!(shown.ends_with("Exec: 1 host done; 1 failed; 1 unreachable.   [time]\n"), "{shown}");
    exec(&world, &["gone,web2", "--", "true"], 4);
}

#[test]
fn several_words_are_a_program_and_its_arguments_and_one_is_a_line_of_the_shell() {
    let world = hosts();
    let said = |words: &[&str]| {
        let said = exec(&world, &[&["web1", "--"], words].concat(), 0);
        said.out.lines().nth(1).unwrap_or_default().trim().to_owned()
    };
    assert_eq!(said(&["echo", "a b", "$HOME", ";"]), "a b $HOME ;");
    assert_eq!(said(&["echo a b | wc -w"]), "2");
    let odd = exec(&world, &["web1", "--", "echo", "a", "|", "wc"], 0);
    assert!(odd.err.contains("no shell reads `|`: echo gets it as an argument"), "{}", odd.err);
    let missing = exec(&world, &["web1", "--", "no-such-program", "x"], 3);
    assert!(missing.out.starts_with("web1: failed to start no-such-program"), "{}", missing.out);
    let slow = exec(&world, &["web1", "--timeout", "1s", "--", "sleep", "60"], 3);
    assert!(slow.out.starts_with("web1: timed out, and was ended\n"), "{}", slow.out);
    let killed = exec(&world, &["web1", "--", "kill -9 $$"], 3);
    assert!(killed.out.starts_with("web1: ended by signal 9\n"), "{}", killed.out);
}

#[test]
fn what_is_missing_or_unknown_leads_to_the_line_to_type() {
    let world = hosts();
    let check = |words: &[&str], wanted: &str| {
        let said = world.run(words);
        assert!(said.exit == 1 && said.err.contains(wanted), "{words:?}: {}", said.err);
    };
    check(&["exec", "wbe", "--", "true"], "web");
    check(&["exec", "web", "uptime"], "write `converge exec web -- uptime`");
    check(&["exec", "web", "ls", "-l"], "write `converge exec web -- ls -l`");
    check(&["exec", "web"], "write `converge exec web -- uptime`");
    check(&["all", "-m", "shell", "-a", "ls | wc"], "write `converge exec '*' -- 'ls | wc'`");
    check(&["web", "-m", "ping"], "write `converge ping web`");
    check(&["exec", "web", "--script", "gone.sh"], "gone.sh");
}

#[test]
fn a_script_runs_with_its_interpreter_and_its_arguments() {
    let world = hosts();
    world.write("fix.sh", "echo \"$1-$2\"\n");
    let said = exec(&world, &["web1", "--script", "fix.sh", "--", "a", "b c"], 0);
    assert!(said.out.starts_with("web1: exit 0\n  a-b c\n"), "{}", said.out);
    world.write("fix.pl", "#!/usr/bin/env perl\nprint \"perl $ARGV[0]\\n\"; exit 4;\n");
    let said = exec(&world, &["web1", "--script", "fix.pl", "--", "x"], 3);
    assert!(said.out.starts_with("web1: exit 4\n  perl x\n"), "{}", said.out);
}

#[test]
fn output_goes_into_files_of_a_folder_that_was_empty() {
    let world = hosts();
    let line = "echo out; echo err >&2; exit 5";
    exec(&world, &["web1,gone", "--output", "kept/out", "--", line], 3);
    let files = [("web1.stdout", "out\n"), ("web1.stderr", "err\n"), ("web1.exit", "5\n")];
    files.iter().for_each(|(name, text)| assert_eq!(world.read(&format!("kept/out/{name}")), *text));
    assert!(world.read("kept/out/gone.exit").starts_with("unreachable: "));
    let again = exec(&world, &["web1", "--output", "kept/out", "--", "true"], 1);
    assert!(again.err.contains("kept/out is not empty"), "{}", again.err);
    assert_eq!(world.read("kept/out/web1.exit"), "5\n");
    exec(&world, &["web1", "--output", "large", "--", "seq 100000"], 0);
    assert_eq!(world.read("large/web1.stdout").lines().count(), 100_000);
}

#[test]
fn output_of_a_host_steers_nothing_and_has_an_end() {
    let world = hosts();
    let said = exec(&world, &["web1", "--", r"printf 'a\033[2Jb\rc\n\377\n'; seq 100005 | tail -3"], 0);
    assert!(said.out.starts_with("web1: exit 0\n  a\\u{1b}[2Jb\\rc\n  \u{fffd}\n"), "{}", said.out);
    let json = exec(&world, &["web1", "--json", "--", r"printf '\033[2J\n'"], 0);
    let line = json.out.lines().find(|line| line.contains("command-output")).unwrap();
    assert!(line.contains(r#""type":"command-output","stream":"stdout","line":"\u001b[2J"}"#), "{line}");
    let many = exec(&world, &["web1", "--", "seq 100005"], 0);
    assert!(many.out.contains("… 5 more lines (not sent by the host)"), "{}", many.err);
}

#[test]
fn a_run_is_shown_again_as_it_looked_with_its_command() {
    let world = hosts();
    let live = exec(&world, &["web", "--", "echo $CONVERGE_ROOT | tail -c 4; exit 3"], 3);
    let again = world.run(&["history", "last"]);
    let (head, told) = again.out.split_once('\n').unwrap();
    assert!(head.contains("exec of ada@"), "{head}");
    assert_eq!(told, format!("$ echo $CONVERGE_ROOT | tail -c 4; exit 3\n{}", live.out));
    let live = exec(&world, &["web", "--json", "--", "seq 3"], 0);
    let kept = |text: &str| -> Vec<String> {
        let passing = |line: &&str| line.contains("\"host-phase\"") && !line.contains("\"waiting\"");
        text.lines().filter(|line| !passing(line)).map(str::to_owned).collect()
    };
    assert_eq!(kept(&world.run(&["history", "last", "--json"]).out), kept(&live.out));
    assert_eq!(world.run(&["ping", "web"]).exit, 0);
    let verbs = |verb: &str| world.run(&["history", "--verb", verb]).out.lines().skip(1).count();
    assert_eq!((verbs("exec"), verbs("ping")), (2, 1));
    // An `exec` or `ping` meanwhile is no run with a plan, so `last` does not find it.
    let none = world.run(&["plan", "--failed-from", "last"]);
    assert!(none.exit == 1 && none.err.contains("no run was recorded yet"), "{}", none.err);
}

#[test]
fn ping_says_who_is_there_and_who_is_not() {
    let world = hosts();
    let said = world.run(&["ping"]);
    assert_eq!(said.exit, 4, "{}{}", said.out, said.err);
    assert!(said.out.contains("web1  ok  ") && said.out.contains("gone  unreachable\n  ! "), "{}", said.out);
    assert!(
        timeless(&said.out).ends_with("Ping: 2 hosts answered; 1 unreachable.   [time]\n"),
        "{}",
        said.out
    );
    assert_eq!(world.run(&["ping", "inventory.kdl", "--limit", "web"]).exit, 0);
    assert_eq!(world.run(&["ping", "web", "inventory.kdl"]).exit, 0);
    assert!(world.run(&["ping", "wbe"]).err.contains("web"));
}

/// Waits until a file of the world exists.
fn wait_for(world: &World, path: &str) {
    let started = Instant::now();
    while !world.project().join(path).exists() {
        assert!(started.elapsed() < Duration::from_secs(60), "{path} does not exist");
        std::thread::sleep(Duration::from_millis(50));
    }
}

fn start(world: &World, words: &[&str]) -> Child {
    let mut command = world.command(words);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap()
}

#[test]
fn exec_takes_no_lock_and_says_who_holds_it() {
    let world = hosts();
    let step = "command \"touch $CONVERGE_ROOT/begun; while ! test -e $CONVERGE_ROOT/go; do sleep 0.1; done\" \
                shell=#true always=#true";
    let inventory = world.read("inventory.kdl");
    world.write("inventory.kdl", &format!("{inventory}on \"web1\" {{\n    {step}\n}}\n"));
    let holder = start(&world, &["apply", "--yes", "--limit", "web1"]);
    wait_for(&world, "one/begun");
    let said = exec(&world, &["web", "--", "echo beside"], 0);
    assert!(said.out.contains("web1: run "), "{}", said.out);
    assert!(said.out.contains(" has been at work there for "), "{}", said.out);
    let ping = world.run(&["ping", "web1"]);
    assert!(
        ping.out.contains("web1  ok  ") && ping.out.contains(" has been at work there for "),
        "{}",
        ping.out
    );
    fs::write(world.project().join("one/go"), "").unwrap();
    assert_eq!(world.said(holder.wait_with_output().unwrap()).exit, 0);
}

#[test]
fn serial_hosts_come_one_after_the_other() {
    let world = hosts();
    let together = "mkdir ../busy || exit 9; sleep 0.5; rmdir ../busy";
    let line = format!("cd $CONVERGE_ROOT; {together}");
    exec(&world, &["web", "--serial", "1", "--", &line], 0);
    exec(&world, &["web", "--", &line], 3);
}

#[test]
fn secrets_of_the_project_are_masked_even_where_a_catalog_cannot_be_compiled() {
    let world = World::new();
    world.write("converge.kdl", "project \"shop\"\ninventory \"inventory.kdl\"\n");
    let inventory = |body: &str| {
        format!(
            "connection \"local\" root=\"sandbox\"\nsecrets \"s.age\"\nhost \"here\"\non \"here\" {{\n{body}\n}}\n"
        )
    };
    world.write("inventory.kdl", &inventory(""));
    assert_eq!(world.run(&["secrets", "keygen"]).exit, 0);
    let set = world.command(&["secrets", "set", "db"]).stdin(Stdio::piped()).spawn().map(|mut child| {
        std::io::Write::write_all(child.stdin.as_mut().unwrap(), CANARY.as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    });
    assert!(set.unwrap().status.success());
    let content = "file \"/x\" { content \"{{ made }}\" }\n";
    let made = "vars { password (secret)\"db\"\n made \"{{ password | upper }}\" }\n";
    world.write("inventory.kdl", &(made.to_owned() + &inventory(content)));
    let line = format!("echo {CANARY}; echo {}", CANARY.to_uppercase());
    let said = exec(&world, &["here", "--output", "out", "--", &line], 0);
    assert!(said.out.starts_with("here: exit 0\n  ********\n  ********\n"), "{}", said.out);
    assert_eq!(world.read("out/here.stdout"), "********\n********\n");
    let again = world.run(&["history", "last"]);
    assert!(again.out.contains("$ echo ********; echo "), "{}", again.out);
    assert!(!again.out.contains(CANARY), "{}", again.out);

    world
        .write("inventory.kdl", &(made.to_owned() + &inventory("file \"/x\" { content \"{{ nowhere }}\" }")));
    let missing = exec(&world, &["here", "--", CANARY, "x"], 3);
    assert!(missing.out.starts_with("here: failed to start ********"), "{}", missing.out);
    let said = exec(&world, &["here", "--", &line], 0);
    assert!(said.out.contains("  ********\n"), "{}", said.out);
    assert!(said.out.contains("output masks only the values in files of secrets"), "{}", said.out);

    fs::remove_dir_all(world.project().join("../home/.config")).unwrap();
    let said = exec(&world, &["here", "--", "echo x"], 0);
    assert!(said.err.contains("s.age cannot be decrypted here: output does not mask"), "{}", said.err);
}

#[test]
fn an_interruption_ends_the_command_with_all_that_it_started() {
    let world = hosts();
    let line = "sleep 600 & echo $! >$CONVERGE_ROOT/pid; touch $CONVERGE_ROOT/begun; wait";
    let running = start(&world, &["exec", "web1", "--", line]);
    wait_for(&world, "one/begun");
    let pid = rustix::process::Pid::from_raw(running.id() as i32).unwrap();
    rustix::process::kill_process(pid, rustix::process::Signal::INT).unwrap();
    let said = world.said(running.wait_with_output().unwrap());
    assert_eq!(said.exit, 130, "{}{}", said.out, said.err);
    assert!(said.out.contains("web1: stopped\n"), "{}", said.out);
    assert!(said.err.contains("stopping: the hosts end their commands"), "{}", said.err);
    let below = world.read("one/pid");
    let state = fs::read_to_string(format!("/proc/{}/stat", below.trim())).unwrap_or_default();
    assert!(state.is_empty() || state.contains(") Z "), "still running: {state}");
}

#[test]
fn a_secret_is_masked_before_its_word_is_quoted() {
    let world = hosts();
    let text = world.read("inventory.kdl");
    world.write("inventory.kdl", &format!("secrets \"s.age\"\n{text}"));
    assert_eq!(world.run(&["secrets", "keygen"]).exit, 0);
    world.write("typed", "it's-a-secret");
    let typed = fs::File::open(world.project().join("typed")).unwrap();
    let set = world.command(&["secrets", "set", "token", "s.age"]).stdin(typed).output().unwrap();
    assert!(set.status.success());
    let said = world.run(&["exec", "web1", "--json", "--", "echo", "it's-a-secret", "x"]);
    let command = said.out.lines().find(|line| line.contains("\"type\":\"command\"")).unwrap();
    assert!(command.contains("\"line\":\"echo ******** x\""), "{command}");
}

#[test]
fn a_mistake_in_a_connection_keeps_a_command_from_running_elsewhere() {
    let world = World::new();
    world.write("inventory.kdl", "host \"box\" { connection \"local\" rot=\"sandbox\" }\n");
    for arguments in
        [&["exec", "box", "inventory.kdl", "--", "touch /tmp/elsewhere"][..], &["ping", "inventory.kdl"]]
    {
        let said = world.run(arguments);
        assert!(said.exit == 1 && said.err.contains("rot"), "{arguments:?}: {}", said.err);
    }
    world.write(
        "inventory.kdl",
        "host \"box\" { connection \"local\" root=\"sandbox\" }\non \"box\" { filx \"/x\" }\n",
    );
    let said = world.run(&["exec", "box", "inventory.kdl", "--", "true"]);
    assert!(said.exit == 0 && said.err.contains("output masks only the values"), "{}", said.err);
}
