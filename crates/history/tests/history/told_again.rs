//! A run from the history has the events of the original run.

use converge_history::{FILE, History};
use converge_model::{
    EventKind, HostState, Problem, PropertyChange, Restoration, Shown, Stands, StepOutcome,
};

use crate::runs::{Told, changed, edit, host, id, in_sync, kept, plan, result};
use crate::{record, told};

#[tokio::test]
async fn every_event_comes_back_in_the_order_in_which_it_came() {
    let (first, second) = (edit("/a", "x", "y"), edit("/b", "1", "2"));
    let mut run = Told::begin(1, "apply", &["web2", "web1", "db1"]);
    run.plan("web1", &plan(3, &[("/a", first.clone()), ("/b", second.clone())]));
    run.plan("web2", &plan(4, &[("/a", first.clone())]));
    run.end("db1", HostState::Unreachable, 0, &[]);
    let mut done = result(0, "/a", &first, StepOutcome::Done);
    done.unforeseen = vec![PropertyChange::new("libnew", Shown::Absent, "2")];
    let address = done.address.clone();
    run.tell("web1", EventKind::Armed { seconds: 60 });
    run.tell("web1", EventKind::Owed { address: address.clone() });
    run.tell("web1", EventKind::StepFinished { result: done.clone() });
    run.tell("web2", EventKind::StepFinished { result: done.clone() });
    run.end("web2", HostState::Changed, 4, std::slice::from_ref(&done));
    run.tell("web1", EventKind::Confirmed);
    // The step failed afterwards: it has a second result event, and the report has it once.
    let failed = StepOutcome::Failed {
        why: "dead".into(),
        output: "log".into(),
        restored: Restoration::Done,
        stands: Stands::Unknown,
    };
    let revised = result(0, "/a", &first, failed);
    run.tell("web1", EventKind::StepFinished { result: revised.clone() });
    let skipped = result(1, "/b", &second, StepOutcome::Skipped { why: "file[/a] failed".into() });
    run.tell("web1", EventKind::Paid { address });
    // The report has a result that had no event.
    run.end("web1", HostState::Failed, 3, &[revised, skipped]);
    let events = run.finish(&[(HostState::Failed, 1), (HostState::Changed, 1)], 3);
    let temp = tempfile::tempdir().unwrap();
    record(temp.path(), &events);
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events));

    let mut history = History::open(temp.path()).await.unwrap();
    let hosts = history.hosts_of(&id(1)).await.unwrap();
    let of = |name: &str| hosts.iter().find(|found| found.host == host(name)).unwrap();
    assert_eq!((of("web1").changes, of("web2").changes), (0, 1), "what failed after all changed nothing");
    assert_eq!(of("db1").state, Some(HostState::Unreachable));
    assert_eq!((of("db1").machine.as_str(), of("web1").machine.as_str()), ("", "machine of web1"));
}

#[tokio::test]
async fn the_output_of_a_step_comes_before_its_end() {
    let temp = tempfile::tempdir().unwrap();
    let events = changed(1, "apply", "a", "/x");
    record(temp.path(), &events);
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events));
}

#[tokio::test]
async fn of_a_long_output_the_end_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let mut run = Told::begin(1, "apply", &["a"]);
    let done = result(0, "/x", &edit("/x", "a", "b"), StepOutcome::Done);
    for n in 0..10_000 {
        run.tell("a", EventKind::Output { address: done.address.clone(), line: format!("line {n}") });
    }
    run.tell("a", EventKind::StepFinished { result: done });
    record(temp.path(), &run.finish(&[], 0));
    let lines: Vec<String> = told(temp.path(), &id(1))
        .await
        .into_iter()
        .filter_map(|event| match event.kind {
            EventKind::Output { line, .. } => Some(line),
            _ => None,
        })
        .collect();
    let bytes: usize = lines.iter().map(|line| line.len() + 1).sum();
    assert!((60_000..=65_536).contains(&bytes), "{bytes}");
    assert_eq!(lines.last().map(String::as_str), Some("line 9999"));
}

#[tokio::test]
async fn what_is_wrong_with_a_host_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    let mut run = Told::begin(1, "drift", &["a"]);
    let mut impossible = plan(1, &[]);
    impossible.problems.push(Problem { address: None, message: "no".into(), help: Some("yes".into()) });
    run.plan("a", &impossible);
    run.end("a", HostState::Unplannable, 1, &[]);
    let events = run.finish(&[(HostState::Unplannable, 1)], 3);
    record(temp.path(), &events);
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events));
}

#[tokio::test]
async fn an_event_that_comes_twice_is_there_once() {
    let temp = tempfile::tempdir().unwrap();
    let events = changed(1, "apply", "a", "/x");
    record(temp.path(), &events);
    record(temp.path(), &events);
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events));
    let mut history = History::open(temp.path()).await.unwrap();
    assert_eq!(history.runs(&converge_history::Filter::default()).await.unwrap().len(), 1);
}

#[tokio::test]
async fn what_is_in_sync_and_what_hosts_have_in_common_takes_no_room() {
    let temp = tempfile::tempdir().unwrap();
    let names: Vec<String> = (0..2000).map(|n| format!("h{n}")).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let change = edit("/x", &"before\n".repeat(2000), &"after\n".repeat(2000));
    let mut run = Told::begin(1, "apply", &names);
    for name in &names {
        run.plan(name, &plan(1000, &[("/x", change.clone())]));
        run.end(name, HostState::Pending, 1000, &[]);
    }
    record(temp.path(), &run.finish(&[(HostState::Pending, 2000)], 0));
    let size = std::fs::metadata(temp.path().join(FILE)).unwrap().len();
    assert!(
        size < 1024 * 1024,
        "{size} bytes for {} hosts with {} bytes of differences",
        names.len(),
        26_000
    );
}

#[tokio::test]
async fn a_host_is_known_by_its_machine() {
    let temp = tempfile::tempdir().unwrap();
    let machine_of = |n: u64, machine: &str| {
        let mut run = Told::begin(n, "apply", &["a"]);
        let (plan, machine) = (plan(1, &[]), machine.to_owned());
        run.tell(
            "a",
            EventKind::Owed { address: result(0, "/x", &edit("/x", "", ""), StepOutcome::Owed).address },
        );
        if !machine.is_empty() {
            run.tell("a", EventKind::Planned { plan, machine, skew: 0 });
        }
        run.end("a", HostState::InSync, 1, &[]);
        run.finish(&[], 0)
    };
    for (n, machine) in [(1, ""), (2, "first"), (3, ""), (4, "second"), (5, "first")] {
        let events = machine_of(n, machine);
        record(temp.path(), &events);
        assert_eq!(told(temp.path(), &id(n)).await, kept(&events), "{n}");
    }
    let mut history = History::open(temp.path()).await.unwrap();
    let mut machines = Vec::new();
    for n in 1..=5 {
        machines.push(history.hosts_of(&id(n)).await.unwrap().remove(0).machine);
    }
    assert_eq!(machines, ["first", "first", "first", "second", "first"]);
}

#[tokio::test]
async fn a_run_that_was_cut_off_is_told_as_far_as_it_went() {
    let temp = tempfile::tempdir().unwrap();
    let events = changed(1, "apply", "a", "/x");
    record(temp.path(), &events[..events.len() - 2]);
    record(temp.path(), &in_sync(2, "a"));
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events[..events.len() - 2]));
    let mut history = History::open(temp.path()).await.unwrap();
    let found = history.find("20261121T000001").await.unwrap();
    assert_eq!((found.exit, found.took, found.changes), (None, None, 1));
}
