//! The text of runs, from test events.

use converge_model::catalog::DriftMode;
use converge_model::event::VERSION;
use converge_model::plan::{Cause, Drift};
use converge_model::{
    Address, Blocked, Certainty, Change, Digest, Event, EventKind, HostName, HostPlan, HostReport, HostState,
    Problem, PropertyChange, Restoration, RunId, Shown, Stands, Step, StepOutcome, StepResult, TextDiff,
    Verb,
};

use super::{Detail, Human};

fn address(text: &str) -> Address {
    let (kind, name) = text.split_once('[').unwrap();
    let (module, kind) = kind.split_once('.').map_or((None, kind), |(module, kind)| (Some(module), kind));
    Address::new(module, kind, name.trim_end_matches(']'))
}

fn step(at: &str, change: Change) -> Step {
    let address = address(at);
    let (kind, because, drift) = (String::new(), Vec::new(), Drift::default());
    Step { resource: 0, address, kind, change, because, owed: false, drift, guarded: false, warning: None }
}

fn plan(in_sync: u32, steps: Vec<Step>) -> HostPlan {
    HostPlan {
        token: Digest::of(b""),
        steps,
        in_sync,
        known_once: Vec::new(),
        problems: Vec::new(),
        blocked: Vec::new(),
        ledger_complete: true,
        busy: None,
        interrupted: None,
        damaged: 0,
        reverted: None,
    }
}

fn report(host: &str, state: HostState, problems: &[(&str, Option<&str>)]) -> EventKind {
    let problem = |(message, help): &(&str, Option<&str>)| Problem {
        address: None,
        message: (*message).to_owned(),
        help: help.map(str::to_owned),
    };
    EventKind::HostFinished {
        report: HostReport {
            host: HostName::new(host).unwrap(),
            state,
            results: Vec::new(),
            in_sync: 5,
            problems: problems.iter().map(problem).collect(),
        },
    }
}

fn result(at: &str, verb: Verb, outcome: StepOutcome, took: u64) -> EventKind {
    let result = StepResult {
        resource: 0,
        address: address(at),
        change: Change::new(verb),
        outcome,
        unforeseen: Vec::new(),
        may_fail: false,
        took,
    };
    EventKind::StepFinished { result }
}

fn started(verb: &str, hosts: u32) -> (&'static str, EventKind) {
    ("", EventKind::RunStarted { verb: verb.to_owned(), hosts, by: String::new(), at: 0 })
}

fn finished(states: &[(HostState, u32)]) -> (&'static str, EventKind) {
    ("", EventKind::RunFinished { states: states.to_vec(), changed: 0, exit: 0, took: 400 })
}

fn view_with(detail: Detail, events: Vec<(&str, EventKind)>) -> String {
    let mut human = Human::new(detail);
    let mut out = String::new();
    for (host, kind) in events {
        let run = RunId::new("20260101T000000-00000000").unwrap();
        let host = HostName::new(host).ok();
        out.push_str(&human.event(&Event { version: VERSION, run, host, sequence: 0, kind }));
    }
    anstream::adapter::strip_str(&out).to_string()
}

fn view(events: Vec<(&str, EventKind)>) -> String {
    view_with(Detail::Usual, events)
}

fn planned(plan: &HostPlan) -> EventKind {
    planned_at(plan, 0)
}

fn planned_at(plan: &HostPlan, skew: i64) -> EventKind {
    EventKind::Planned { plan: plan.clone(), machine: String::new(), skew }
}

#[test]
fn a_host_of_which_nothing_is_asked_counts_as_nothing() {
    let bare = HostReport {
        host: HostName::new("b").unwrap(),
        state: HostState::InSync,
        results: Vec::new(),
        in_sync: 0,
        problems: Vec::new(),
    };
    let end = |report| ("b", EventKind::HostFinished { report });
    let with = view(vec![started("plan", 2), ("a", planned(&plan(1, vec![]))), end(bare), finished(&[])]);
    let without = view(vec![started("plan", 1), ("a", planned(&plan(1, vec![]))), finished(&[])]);
    assert_eq!(with, without);
}

#[test]
fn a_clock_that_is_wrong_is_told_with_the_plan() {
    let shown =
        |skew| view(vec![started("plan", 1), ("a", planned_at(&plan(1, vec![]), skew)), finished(&[])]);
    assert!(
        shown(95).contains("note: the host's clock is 95 s ahead of the clock of this machine"),
        "{}",
        shown(95)
    );
    assert!(shown(-10_000).contains("2 h behind"), "{}", shown(-10_000));
    for close in [0, 60, -60] {
        assert!(!shown(close).contains("clock"), "{}", shown(close));
    }
}

fn diff(unified: &str) -> Change {
    let diff = TextDiff { unified: unified.to_owned(), cut: false };
    let property = PropertyChange { diff: Some(diff), ..PropertyChange::new("content", "a", "b") };
    Change::new(Verb::Update).property(property)
}

fn site() -> HostPlan {
    let config = step(
        "nginx.file[/etc/nginx/sites-available/shop]",
        diff("@@ -1,1 +1,1 @@\n-    listen 80;\n+    listen 8080;\n"),
    );
    let reload = Change::new(Verb::Act).property(PropertyChange::new("action", Shown::Absent, "reload"));
    let because = vec![config.address.clone()];
    let service = Step { because, ..step("nginx.service[nginx]", reload) };
    plan(30, vec![config, service])
}

fn package() -> HostPlan {
    let version = PropertyChange::new("version", Shown::Absent, "15+248");
    plan(18, vec![step("package[postgresql]", Change::new(Verb::Create).property(version))])
}

#[test]
fn what_drifted_stands_apart_from_what_is_newly_asked_for() {
    let by = |cause: Cause, mode: DriftMode, step: Step| Step { drift: Drift { cause, mode }, ..step };
    let mode = PropertyChange::new("mode", "0600", "0644");
    let mut both = step("file[/etc/app]", diff("@@ -1,1 +1,1 @@\n-old\n+new\n"));
    both.change.properties.push(mode.clone());
    let causes = vec![both.address.clone()];
    let restart = Change::new(Verb::Act).property(PropertyChange::new("action", Shown::Absent, "restart"));
    let alone = |at: &str| step(at, Change::new(Verb::Update).property(mode.clone()));
    let steps = vec![
        by(Cause::Both { corrective: vec![1] }, DriftMode::Report, both),
        by(
            Cause::Intentional,
            DriftMode::Report,
            Step { because: causes, ..step("service[app]", restart.clone()) },
        ),
        by(Cause::Corrective, DriftMode::Ignore, alone("file[/etc/motd]")),
        by(
            Cause::Corrective,
            DriftMode::Report,
            Step { because: vec![address("file[/etc/motd]")], ..step("service[motd]", restart) },
        ),
        by(Cause::Always, DriftMode::Report, step("command[tick]", Change::new(Verb::Act))),
    ];
    let seen = |detail: Detail| {
        let found = vec![
            started("drift", 2),
            ("web1", planned(&plan(7, steps.clone()))),
            ("web2", planned(&plan(9, Vec::new()))),
            finished(&[(HostState::Pending, 1), (HostState::InSync, 1)]),
        ];
        view_with(detail, found)
    };
    insta::assert_snapshot!(seen(Detail::Usual), @r"
    web1
      changed on the host since the last apply
      ~ changed by hand: file[/etc/app]  mode: 0644 -> 0600
      in the inventory, not yet applied
      ~ file[/etc/app]
          -old
          +new
      > service[app]  restart   because file[/etc/app] changes

    Drift: 1 host drifted (1 resource); 1 resource waits for an apply; 16 resources in sync.   0.4 s
    ");
    assert!(seen(Detail::Full).contains(
        "\n  left alone: drift=\"ignore\"\n  ~ file[/etc/motd]  mode: 0600 -> 0644\n  > service[motd]"
    ));
}

#[test]
fn hosts_with_the_same_plan_are_one_group_in_the_order_of_the_inventory() {
    let waiting = || EventKind::HostState { phase: "waiting".to_owned() };
    let text = view(vec![
        started("plan", 3),
        ("web1", waiting()),
        ("web2", waiting()),
        ("db1", waiting()),
        ("db1", planned(&package())),
        ("web2", planned(&site())),
        ("web1", planned(&site())),
        finished(&[(HostState::Pending, 3)]),
    ]);
    insta::assert_snapshot!(text, @r"
    web1, web2 (2 hosts)
      ~ nginx.file[/etc/nginx/sites-available/shop]
          -    listen 80;
          +    listen 8080;
      > nginx.service[nginx]  reload   because nginx.file[/etc/nginx/sites-available/shop] changes
    db1
      + package[postgresql]  (absent) -> 15+248

    Plan: 3 hosts will change (1 create, 1 update, 1 action); 78 resources in sync.   0.4 s
    ");
}

#[test]
fn every_doubt_of_a_plan_is_said() {
    let unknown =
        PropertyChange::new("version", "1.18", Shown::Unknown("the lists are refreshed first".to_owned()));
    let lists = step("package[curl]", Change::new(Verb::Update).property(unknown));
    let conditional = Certainty::Conditional { on: vec![0], why: "it may bring the folder".to_owned() };
    let created = Change {
        certainty: conditional,
        ..Change::new(Verb::Create)
            .property(PropertyChange::new("mode", Shown::Absent, "0644"))
            .property(PropertyChange::new("owner", Shown::Absent, "root"))
            .property(PropertyChange::new("content", Shown::Absent, Shown::Masked))
    };
    let mode = Change::new(Verb::Update).property(PropertyChange::new("mode", "0644", "0600"));
    let removed = Change::new(Verb::Remove)
        .property(PropertyChange::new("size", "12 bytes", Shown::Absent))
        .irreversible("it is not kept");
    let owed = Change::new(Verb::Act).property(PropertyChange::new("action", Shown::Absent, "restart"));
    let steps = vec![
        lists,
        step("file[/etc/x]", created),
        step("file[/etc/mode]", mode),
        step("file[/etc/gone]", removed),
        Step { owed: true, ..step("service[x]", owed) },
        step("link[/etc/alt]", Change::new(Verb::Replace)),
    ];
    let run = "20251231T000000-11111111".to_owned();
    let open = HostPlan { interrupted: Some(run), damaged: 1, ..plan(1, steps) };
    let text = view(vec![started("plan", 1), ("a", planned(&open)), finished(&[])]);
    insta::assert_snapshot!(text, @r"
    a
      note: run 20251231T000000-11111111 was interrupted; the next apply cleans up after it
      note: 1 line of the host's journal cannot be read; a handler that was owed there is lost
      ~ package[curl]  version: 1.18 -> ? unknown until apply: the lists are refreshed first
      + file[/etc/x]
          mode: 0644
          owner: root
          content: (secret)
          conditional on package[curl]: it may bring the folder
      ~ file[/etc/mode]  mode: 0644 -> 0600
      - file[/etc/gone]  12 bytes -> (absent)
          not revertible: it is not kept
      > service[x]  restart
          owed from an earlier run
      ± link[/etc/alt]

    Plan: 1 host will change (1 create, 2 updates, 1 removal, 1 replacement, 1 action); 1 resource in sync.   0.4 s
    ");
}

#[test]
fn hosts_that_cannot_be_planned_or_reached_say_why() {
    let mut impossible = plan(2, vec![]);
    impossible.problems.push(Problem {
        address: Some(address("file[/srv/a/b]")),
        message: "the folder /srv/a does not exist".to_owned(),
        help: Some("declare directory[/srv/a] before it".to_owned()),
    });
    let text = view(vec![
        started("plan", 4),
        ("a", planned(&impossible)),
        ("a", report("a", HostState::Unplannable, &[("the same again", None)])),
        ("b", report("b", HostState::Unreachable, &[("connection refused", Some("is sshd running?"))])),
        ("c", report("c", HostState::Unreachable, &[("connection refused", Some("is sshd running?"))])),
        ("d", planned(&plan(7, vec![]))),
        finished(&[]),
    ]);
    insta::assert_snapshot!(text, @r"
    a
      ! file[/srv/a/b]  the folder /srv/a does not exist
          help: declare directory[/srv/a] before it
    b, c (2 hosts)
      ! unreachable: connection refused
          help: is sshd running?

    ! a cannot be planned (the same again)
    ! b, c unreachable (connection refused)
    Plan: 3 of 4 hosts could not be planned; 9 resources in sync; 2 unreachable; 1 cannot be planned.   0.4 s
    ");
}

#[test]
fn an_apply_tells_each_result_as_it_comes_and_sums_up() {
    let failed = StepOutcome::Failed {
        why: "exit status 1".to_owned(),
        output: "nginx: [emerg] unknown directive\n\x1b[31mred\n".to_owned(),
        restored: Restoration::Done,
        stands: Stands::Unknown,
    };
    let skipped = StepOutcome::Skipped { why: "nginx.file[/x] failed".to_owned() };
    let text = view(vec![
        started("apply", 2),
        ("web1", planned(&site())),
        ("db1", planned(&package())),
        ("db1", result("package[postgresql]", Verb::Create, StepOutcome::Done, 12_300)),
        ("db1", report("db1", HostState::Changed, &[])),
        ("web1", result("nginx.file[/x]", Verb::Update, failed, 20)),
        ("web1", result("nginx.service[nginx]", Verb::Act, skipped, 0)),
        ("web1", result("file[/y]", Verb::Update, StepOutcome::AlreadySo, 0)),
        ("web1", result("file[/z]", Verb::Update, StepOutcome::Unforeseen, 0)),
        ("web1", result("service[z]", Verb::Act, StepOutcome::Owed, 0)),
        (
            "web1",
            report("web1", HostState::Failed, &[("file[/w] is pending again: command[w] undid it", None)]),
        ),
        finished(&[(HostState::Changed, 1), (HostState::Failed, 1)]),
    ]);
    insta::assert_snapshot!(text, @r"
    web1
      ~ nginx.file[/etc/nginx/sites-available/shop]
          -    listen 80;
          +    listen 8080;
      > nginx.service[nginx]  reload   because nginx.file[/etc/nginx/sites-available/shop] changes
    db1
      + package[postgresql]  (absent) -> 15+248

    Plan: 2 hosts will change (1 create, 1 update, 1 action); 48 resources in sync.
    db1   + package[postgresql]   12 s
    web1  ! nginx.file[/x]  failed: exit status 1
          | nginx: [emerg] unknown directive
          | \u{1b}[31mred
          the replaced data was restored
    web1  . nginx.service[nginx]  skipped: nginx.file[/x] failed
    web1  = file[/y]  already so
    web1  ~ file[/z]  unforeseen: an earlier step of this run had changed it
    web1  > service[z]  still owed; the next run pays it
    web1  failed
      ! file[/w] is pending again: command[w] undid it
    Apply: web1 failed (file[/w] is pending again: command[w] undid it); 1 step skipped; 1 host changed (1 created, 1 updated); 10 resources in sync; 1 failed.   0.4 s
    ");
}

#[test]
fn what_a_step_did_beyond_its_plan_stands_below_it() {
    let step = |beyond: Vec<PropertyChange>| {
        let mut step = result("package[web]", Verb::Create, StepOutcome::Done, 0);
        if let EventKind::StepFinished { result } = &mut step {
            result.unforeseen = beyond;
        }
        view(vec![("web1", step)])
    };
    let came = PropertyChange::new("libssl3", "3.0.15", "3.0.16");
    let went = PropertyChange::new("old\x1b[2J", "1", Shown::Absent);
    insta::assert_snapshot!(step(vec![came.clone(), went]), @r"
    web1  + package[web]
          unforeseen: libssl3: 3.0.15 -> 3.0.16
          unforeseen: old\u{1b}[2J: 1 -> (absent)
    ");
    let many = step(vec![came; 23]);
    assert_eq!(many.matches("libssl3").count(), 20);
    assert!(many.ends_with("unforeseen: 3 more\n"), "{many}");
}

/// The report of a host that created a file, failed at the next step and skipped a third one.
fn failed_report() -> HostReport {
    let result = |at: &str, verb: Verb, outcome: StepOutcome| match result(at, verb, outcome, 0) {
        EventKind::StepFinished { result } => result,
        _ => panic!("a result"),
    };
    let failed = StepOutcome::Failed {
        why: "the shell line ended with 7".to_owned(),
        output: String::new(),
        restored: Restoration::Nothing,
        stands: Stands::Unknown,
    };
    let skipped = StepOutcome::Skipped { why: "command[boom] before it failed".to_owned() };
    HostReport {
        host: HostName::new("web1").unwrap(),
        state: HostState::Failed,
        results: vec![
            result("file[/made]", Verb::Create, StepOutcome::Done),
            result("command[boom]", Verb::Act, failed),
            result("file[/never]", Verb::Create, skipped),
        ],
        in_sync: 0,
        problems: Vec::new(),
    }
}

#[test]
fn a_host_that_failed_after_a_change_has_changed_and_the_last_line_says_why() {
    let report = failed_report();
    let steps = report.results.iter().map(|result| EventKind::StepFinished { result: result.clone() });
    let mut events = vec![started("apply", 1), ("web1", planned(&site()))];
    events.extend(steps.map(|kind| ("web1", kind)));
    events.push(("web1", EventKind::HostFinished { report }));
    events.push(finished(&[(HostState::Failed, 1)]));
    let text = view(events);
    let (_, end) = text.split_once("sync.\n").unwrap();
    insta::assert_snapshot!(end, @r"
    web1  + file[/made]
    web1  ! command[boom]  failed: the shell line ended with 7
    web1  . file[/never]  skipped: command[boom] before it failed
    web1  failed after 1 change
    Apply: web1 failed at command[boom] (the shell line ended with 7) after 1 change; 1 step skipped; 1 host changed (1 created); 1 failed.   0.4 s
    ");
}

#[test]
fn nothing_to_change_is_said_only_of_hosts_that_were_looked_at() {
    for verb in ["plan", "apply", "drift"] {
        let text = view(vec![
            started(verb, 1),
            ("a", report("a", HostState::Unreachable, &[("connection refused", None)])),
            finished(&[(HostState::Unreachable, 1)]),
        ]);
        assert!(!text.contains("nothing to change") && !text.contains("no host drifted"), "{text}");
        assert!(text.contains("a unreachable (connection refused)"), "{text}");
    }
}

#[test]
fn a_resource_that_cannot_be_planned_is_told_first_and_what_waits_for_it_last() {
    let blocked = |at: &str, because: Option<&str>, why: &str| Blocked {
        resource: 0,
        address: address(at),
        because: because.map(address),
        why: why.to_owned(),
        help: None,
        may_fail: false,
    };
    let mut short = package();
    short.blocked = vec![
        blocked("file[/opt/x]", None, "the folder /opt does not exist"),
        blocked("file[/opt/y]", Some("file[/opt/x]"), "file[/opt/x] before it cannot be planned"),
    ];
    let problem = [("the folder /opt does not exist", None)];
    let text = view(vec![
        started("plan", 1),
        ("a", planned(&short)),
        ("a", report("a", HostState::Unplannable, &problem)),
        finished(&[(HostState::Unplannable, 1)]),
    ]);
    insta::assert_snapshot!(text, @r"
    a
      ! file[/opt/x]  cannot be planned: the folder /opt does not exist
      + package[postgresql]  (absent) -> 15+248
      . file[/opt/y]  skipped: file[/opt/x] before it cannot be planned

    ! a cannot be planned (the folder /opt does not exist)
    Plan: 1 resource cannot be planned, 1 skipped because of that; 1 host will change (1 create); 18 resources in sync.   0.4 s
    ");
}

#[test]
fn an_apply_with_nothing_to_do_is_one_line() {
    let text = view(vec![
        started("apply", 1),
        ("a", planned(&plan(5, vec![]))),
        ("a", report("a", HostState::InSync, &[])),
        finished(&[(HostState::InSync, 1)]),
    ]);
    insta::assert_snapshot!(text, @"Apply: nothing to change; 5 resources in sync.   0.4 s");
}

#[test]
fn what_a_host_says_cannot_steer_the_terminal() {
    let evil = Change::new(Verb::Update).property(PropertyChange::new("x\x1b[0m", "a\nweb2", "\u{202e}b"));
    let text = view(vec![
        started("plan", 1),
        (
            "a",
            planned(&plan(0, vec![step("file[/a\nb1\n  + c]", evil), step("file[/d]", diff("+\x1b[2J\n"))])),
        ),
        finished(&[]),
    ]);
    insta::assert_snapshot!(text, @r"
    a
      ~ file[/a\nb1\n  + c]  x\u{1b}[0m: a\nweb2 -> \u{202e}b
      ~ file[/d]
          +\u{1b}[2J

    Plan: 1 host will change (2 updates).   0.4 s
    ");
}

#[test]
fn a_long_difference_is_cut_unless_all_is_asked_for() {
    let lines: String = (0..100).map(|n| format!("+{n}\n")).collect();
    let events = || {
        vec![
            started("plan", 1),
            ("a", planned(&plan(0, vec![step("file[/a]", diff(&lines))]))),
            finished(&[]),
        ]
    };
    assert!(view(events()).contains("      +59\n      … 40 more lines (-v shows them)\n"));
    assert!(view_with(Detail::Full, events()).contains("      +99\n"));
}

/// A new file with `lines` lines.
fn new_file(at: &str, lines: usize) -> Step {
    let unified = (0..lines).map(|n| format!("+line {n}\n")).collect();
    let diff = Some(TextDiff { unified, cut: false });
    let content = PropertyChange { diff, ..PropertyChange::new("content", Shown::Absent, "text") };
    step(at, Change::new(Verb::Create).property(content))
}

#[test]
fn twelve_hosts_that_differ_in_their_names_alone_have_one_plan() {
    let of = |host: &str| {
        let mut named = diff(&format!("@@ -1 +1 @@\n-old\n+{host}.example.org\n"));
        named.properties[0].property = "content".to_owned();
        plan(1, vec![new_file("file[/etc/a]", 1), step("file[/etc/mailname]", named)])
    };
    let hosts: Vec<_> = (1..=12).map(|n| format!("web{n}")).collect();
    let mut events = vec![started("plan", 12)];
    events.extend(hosts.iter().map(|host| (host.as_str(), planned(&of(host)))));
    events.push(finished(&[]));
    insta::assert_snapshot!(view(events), @r#"
web[1..12] (12 hosts)
  + file[/etc/a]
      +line 0
  ~ file[/etc/mailname]
      -old
      +HOST.example.org
  HOST stands for the name of each host

Plan: 12 hosts will change (1 create, 1 update); 12 resources in sync.   0.4 s
"#);
}

#[test]
fn hosts_share_the_steps_that_are_the_same_on_them() {
    let step = |at: &str, value: &str| {
        step(at, Change::new(Verb::Update).property(PropertyChange::new("value", "0", value)))
    };
    let web =
        |value: &str| plan(0, vec![step("sysctl[a]", "1"), step("sysctl[b]", value), step("sysctl[c]", "1")]);
    let events = vec![
        started("plan", 3),
        ("web1", planned(&web("1"))),
        ("web2", planned(&web("2"))),
        ("web3", planned(&web("2"))),
        finished(&[]),
    ];
    insta::assert_snapshot!(view(events), @r#"
web[1..3] (3 hosts)
  ~ sysctl[a]  value: 0 -> 1
  ~ sysctl[c]  value: 0 -> 1
web1
  ~ sysctl[b]  value: 0 -> 1
web2, web3 (2 hosts)
  ~ sysctl[b]  value: 0 -> 2

Plan: 3 hosts will change (3 updates).   0.4 s
"#);
}

#[test]
fn an_outline_is_a_step_a_line_and_says_once_what_is_common() {
    let package = |name: &str| {
        let change = Change::new(Verb::Create).irreversible("packages are not restored");
        let change = change.property(PropertyChange::new("version", Shown::Absent, "1.22.1-9"));
        step(
            &format!("package[{name}]"),
            change.property(PropertyChange::new("also installs", Shown::Absent, "a 1, b 2, c 3")),
        )
    };
    let mut waits = new_file("file[/etc/nginx/conf.d/site.conf]", 46);
    waits.change.certainty = Certainty::Conditional { on: vec![0, 1], why: "the folder may come".to_owned() };
    let module = (0..6).map(|n| Step {
        address: Address::new(Some("app-release[shop]"), "file", &format!("/srv/{n}")),
        ..new_file("file[/srv]", 3)
    });
    let mut key = step("authorized-key[ada]", diff("-old\n+new\n"));
    key.guarded = true;
    key.warning = Some("a key of ada goes".to_owned());
    let gone = step(
        "user[bob]",
        Change::new(Verb::Remove).property(PropertyChange::new("uid", "1001", Shown::Absent)),
    );
    let long = step(
        "file[/srv/hello/releases/hello-1-4347b444/share/a-long-name/settings.conf]",
        Change::new(Verb::Update).property(PropertyChange::new("mode", "0644", "0600")),
    );
    let steps = [package("nginx"), package("curl"), waits].into_iter().chain(module).chain([key, gone, long]);
    let events = vec![started("plan", 1), ("a", planned(&plan(3, steps.collect()))), finished(&[])];
    let shown = view_with(Detail::Outline(80), events);
    // Longer sentences are wrapped later, when they are printed.
    let mut steps = shown.lines().filter(|line| line.starts_with("  "));
    assert!(steps.all(|line| line.chars().count() <= 80 || !line.contains('[')), "{shown}");
    insta::assert_snapshot!(shown, @r#"
a
  + package[nginx]  version 1.22.1-9, also installs 3 packages
  + package[curl]  version 1.22.1-9, also installs 3 packages
  + file[/etc/nginx/conf.d/site.conf]  content 46 lines
  + app-release[shop]: 6 steps (6 creates)
  ~ authorized-key[ada] (guarded)
      -old
      +new
      warning: a key of ada goes
  - user[bob]  uid 1001
  ~ file[/srv/hello/releas…ng-name/settings.conf]  mode: 0644 -> 0600
  the guarded step could lock you out: the host undoes it unless a new login works
  1 step waits for package[nginx] and 1 more
  2 steps cannot be reverted: packages are not restored
  -v shows everything

Plan: 1 host will change (9 creates, 2 updates, 1 removal); 3 resources in sync.   0.4 s
"#);
}

#[test]
fn a_summary_is_numbers() {
    let steps =
        || vec![new_file("file[/a]", 3), new_file("file[/b]", 3), step("user[x]", Change::new(Verb::Remove))];
    let events = vec![
        started("plan", 2),
        ("a", planned(&plan(1, steps()))),
        ("b", planned(&plan(1, steps()))),
        finished(&[]),
    ];
    insta::assert_snapshot!(view_with(Detail::Summary, events), @r#"
    a, b (2 hosts)
      2 creates, 1 removal

    Plan: 2 hosts will change (2 creates, 1 removal); 2 resources in sync.   0.4 s
    "#);
}

#[test]
fn the_end_of_a_failed_run_says_why_what_is_left_and_what_to_type() {
    let steps = || {
        vec![
            new_file("file[/a]", 1),
            step("command[boom]", Change::new(Verb::Create)),
            new_file("file[/b]", 1),
        ]
    };
    let failed = || StepOutcome::Failed {
        why: "it ended with 7".to_owned(),
        output: String::new(),
        restored: Restoration::Nothing,
        stands: Stands::Unknown,
    };
    let skipped = || StepOutcome::Skipped { why: "command[boom] before it failed".to_owned() };
    let mut events =
        vec![started("apply", 2), ("a", planned(&plan(0, steps()))), ("b", planned(&plan(0, steps())))];
    for host in ["a", "b"] {
        let results = [
            result("file[/a]", Verb::Create, StepOutcome::Done, 1),
            result("command[boom]", Verb::Create, failed(), 1),
            result("file[/b]", Verb::Create, skipped(), 1),
            result("service[x]", Verb::Act, StepOutcome::Owed, 1),
        ];
        let EventKind::HostFinished { mut report } = report(host, HostState::Failed, &[]) else { continue };
        for kind in results {
            let EventKind::StepFinished { result } = &kind else { continue };
            report.results.push(result.clone());
            events.push((host, kind));
        }
        events.push((host, EventKind::HostFinished { report }));
    }
    events.push(finished(&[(HostState::Failed, 2)]));
    let shown = view_with(Detail::Outline(80), events);
    let (_, end) = shown.rsplit_once("\nb  failed").unwrap();
    insta::assert_snapshot!(end, @r#"
 after 1 change
Apply: a, b failed at command[boom] (it ended with 7) after 1 change; 2 steps skipped; 2 hosts changed (2 created); 10 resources in sync; 2 failed.   0.4 s
  Completed changes stay.
  The next run still has to notify service[x].
  `converge history last -v` shows the whole run.
  `converge apply --failed-from last` goes on with the hosts that did not succeed.
"#);
}

#[test]
fn drift_says_what_happened_and_not_what_an_apply_would_do() {
    let drifted =
        |step: Step| Step { drift: Drift { cause: Cause::Corrective, mode: DriftMode::Report }, ..step };
    let version = PropertyChange::new("version", Shown::Absent, Shown::Unknown("it is chosen".to_owned()));
    let more = "@@ -1,3 +1,2 @@\n a\n-by hand\n-more\n+welcome\n";
    let steps = vec![
        drifted(step("package[tree]", Change::new(Verb::Create).property(version))),
        drifted(step("file[/etc/motd]", diff(more))),
        drifted(step(
            "user[bob]",
            Change::new(Verb::Remove).property(PropertyChange::new("uid", "1001", Shown::Absent)),
        )),
    ];
    let events = vec![started("drift", 1), ("a", planned(&plan(0, steps))), finished(&[])];
    insta::assert_snapshot!(view(events), @r#"
a
  changed on the host since the last apply
  - removed by hand: package[tree]
  ~ changed by hand: file[/etc/motd]
       a
      -welcome
      +by hand
      +more
  + added by hand: user[bob]  (absent) -> 1001

Drift: 1 host drifted (3 resources).   0.4 s
"#);
}
