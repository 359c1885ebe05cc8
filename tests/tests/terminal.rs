//! The first hour at a terminal of 80 columns and 24 lines, as a user types it: a project, a plan, an apply, a
//! failure, Ctrl-C, drift. The test checks the screen.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use converge_tests::project::Project;
use converge_tests::terminal::Terminal;
use converge_tests::testbed::{Host, Testbed, or_skip};

/// The resources of the application, in a project that `converge init` wrote.
const APPLICATION: &str = r#"
connection user="admin" become="sudo"
host "web1"
on "web1" {
    group "shop"
    user "shop" group="shop" home="/srv/shop" shell="/usr/sbin/nologin"
    directory "/srv/shop" owner="shop" group="shop" mode="0750"
    directory "/srv/shop/settings"
    directory "/srv/shop/settings/of-the-part"
    for "name" in="['catalog', 'basket', 'orders', 'customers', 'invoices', 'newsletter', 'search', 'sessions']" {
        file "/srv/shop/settings/of-the-part/{{ name }}.conf" owner="shop" {
            content "part {{ name }}\nlisten unix:/srv/shop/run/{{ name }}.sock\nworkers 4\n"
        }
    }
    file "/etc/motd" { content "Welcome to {{ host.name }}.\n" }
}
"#;

/// Adds a step that fails in the middle, and a dozen steps after it.
const BROKEN: &str = r#"
on "web1" {
    command "sh -c 'echo connecting to the database; echo \"no such role: shop\" >&2; exit 3'" id="migrate the database of the shop" creates="/srv/shop/migrated"
    for "number" in="range(12)" {
        file "/srv/shop/after-the-migration-{{ number }}.conf" { content "x" }
    }
}
"#;

/// Adds a step that runs until the test lets it continue.
const SLOW: &str = r#"
on "web1" {
    command "until test -e /run/go; do sleep 0.05; done; touch /srv/shop/warm" id="warm the cache" shell=#true creates="/srv/shop/warm"
    file "/srv/shop/after.conf" { content "x" }
}
"#;

#[test]
fn the_first_hour_at_80_columns_and_24_lines() {
    let Some(testbed) = or_skip(Testbed::up(&["web1"])) else { return };
    let web1 = testbed.host("web1").unwrap();
    let person = Project::new("", Some(&testbed)).unwrap();
    let terminal = Terminal::open(&person, (80, 24), &[]).unwrap();
    a_project_is_begun(&terminal);
    person.write("project/shop/inventory.kdl", APPLICATION).unwrap();
    a_plan_fits_the_screen(&terminal);
    only_yes_applies(&terminal);
    person.write("project/shop/inventory.kdl", format!("{APPLICATION}{BROKEN}")).unwrap();
    the_cause_of_a_failure_is_on_the_last_screen(&terminal);
    person.write("project/shop/inventory.kdl", format!("{APPLICATION}{SLOW}")).unwrap();
    ctrl_c_says_what_it_waits_for(&terminal, web1);
    drift_is_told_in_words(&terminal, web1);
    assert_eq!(terminal.broken().unwrap(), Vec::<String>::new(), "the terminal had to break lines");
    on_other_terminals(&person);
}

fn a_project_is_begun(terminal: &Terminal) {
    terminal.enter("clear; converge init shop").unwrap();
    for (question, answer) in
        [("Host, as", "web1"), ("Address", ""), ("User", "admin"), ("Become root", "sudo")]
    {
        terminal.until(question).unwrap();
        terminal.enter(answer).unwrap();
    }
    let screen = terminal.until("now: converge apply shop").unwrap();
    assert!(screen.contains("Plan: 1 host will change (2 creates)"), "{screen}");
    terminal.run("cd shop").unwrap();
}

fn a_plan_fits_the_screen(terminal: &Terminal) {
    let (screen, code) = terminal.run("converge plan").unwrap();
    assert_eq!(code, "0", "{screen}");
    for words in [
        "+ directory[/srv/shop/settings]",
        "+Welcome to web1.",
        "Plan: 1 host will change (12 creates, 2 updates)",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
}

fn only_yes_applies(terminal: &Terminal) {
    // This is typed before the question appears, so it must not answer it.
    terminal.start("converge apply").unwrap();
    terminal.enter("yes").unwrap();
    terminal.until("Apply this?").unwrap();
    terminal.enter("y").unwrap();
    terminal.until("Only the word `yes` applies it.").unwrap();
    terminal.enter("no").unwrap();
    let (screen, code) = terminal.ended().unwrap();
    assert!(screen.contains("Apply: not applied.") && code == "1", "{code}: {screen}");

    terminal.start("converge apply").unwrap();
    terminal.until("Apply this?").unwrap();
    terminal.press("C-c").unwrap();
    let (screen, code) = terminal.ended().unwrap();
    assert!(screen.contains("Apply: not applied.") && code == "130", "{code}: {screen}");
    assert!(!screen.contains("stopping"), "nothing is in hand: {screen}");

    terminal.start("converge apply").unwrap();
    terminal.until("Apply this?").unwrap();
    terminal.enter("yes").unwrap();
    let (screen, code) = terminal.ended().unwrap();
    assert!(screen.contains("Apply: 1 host changed") && code == "0", "{code}: {screen}");
}

fn the_cause_of_a_failure_is_on_the_last_screen(terminal: &Terminal) {
    let (screen, code) = terminal.run("converge apply --yes").unwrap();
    assert_eq!(code, "3", "{screen}");
    for words in [
        "migrate the database of the shop",
        "no such role: shop",
        "12 steps skipped",
        "converge history last",
    ] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
}

fn ctrl_c_says_what_it_waits_for(terminal: &Terminal, web1: &Host) {
    terminal.start("converge apply --yes").unwrap();
    terminal.until("1/2 command[warm the cache]").unwrap();
    terminal.press("C-c").unwrap();
    let screen = terminal.until("Ctrl-C again abandons them").unwrap();
    assert!(
        screen.contains("stopping after the running steps (command[warm the cache] on web1)"),
        "{screen}"
    );
    web1.exec_root("touch /run/go").unwrap().ok().unwrap();
    let (screen, code) = terminal.ended().unwrap();
    assert!(code == "130" && screen.contains("1 step skipped"), "{code}: {screen}");
}

fn drift_is_told_in_words(terminal: &Terminal, web1: &Host) {
    web1.exec_root("rm /etc/motd; echo by hand >> /srv/shop/settings/of-the-part/basket.conf")
        .unwrap()
        .ok()
        .unwrap();
    let (screen, code) = terminal.run("converge drift").unwrap();
    assert_eq!(code, "0", "{screen}");
    for words in ["removed by hand: file[/etc/motd]", "changed by hand: file[/srv/shop/", "not yet applied"] {
        assert!(screen.contains(words), "{words}: {screen}");
    }
}

/// Shows the plan of the remaining steps on other terminals.
fn on_other_terminals(person: &Project) {
    let wide = Terminal::open(person, (200, 50), &[]).unwrap();
    wide.run("cd shop").unwrap();
    let (screen, _) = wide.run("converge plan").unwrap();
    assert!(screen.contains("file[/srv/shop/settings/of-the-part/basket.conf]"), "{screen}");
    assert!(wide.drawn().unwrap().contains("\u{1b}[38;5;"), "colours");
    assert_eq!(wide.broken().unwrap(), Vec::<String>::new());

    let (piped, _) = wide.run("converge plan | cat -v").unwrap();
    assert!(piped.contains("file[/etc/motd]") && !piped.contains("^["), "{piped}");

    let plain = Terminal::open(person, (80, 24), &[("NO_COLOR", "1")]).unwrap();
    plain.run("cd shop").unwrap();
    let (screen, _) = plain.run("converge plan").unwrap();
    assert!(screen.contains("file[/etc/motd]"), "{screen}");
    let drawn = plain.drawn().unwrap();
    assert!(!drawn.contains("\u{1b}[3"), "{drawn:?}");
}
