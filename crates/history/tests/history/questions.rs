//! The questions that a history answers.

use converge_history::{Filter, FindError, History};
use converge_model::{HostState, Restoration, Stands, StepOutcome};

use crate::record;
use crate::runs::{Told, changed, edit, host, id, in_sync, plan, result};

async fn history() -> (tempfile::TempDir, History) {
    let temp = tempfile::tempdir().unwrap();
    let mut drifted = Told::begin(5, "drift", &["web1", "web2"]);
    drifted.plan("web1", &plan(1, &[("/etc/motd", edit("/etc/motd", "a", "b"))]));
    drifted.end("web1", HostState::Pending, 1, &[]);
    drifted.end("web2", HostState::Unreachable, 0, &[]);
    let runs = [
        in_sync(1, "web1"),
        changed(2, "watch", "web1", "/etc/motd"),
        changed(3, "watch", "web1", "/etc/motd"),
        changed(4, "watch", "db1", "/etc/[x]"),
        drifted.finish(&[(HostState::Pending, 1), (HostState::Unreachable, 1)], 4),
    ];
    record(temp.path(), &runs.concat());
    let history = History::open(temp.path()).await.unwrap();
    (temp, history)
}

#[tokio::test]
async fn runs_are_found_by_what_is_known_of_them() {
    let (_temp, mut history) = history().await;
    let mut check = async |filter: Filter, runs: &[u64]| {
        let found = history.runs(&filter).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|run| run.run).collect();
        assert_eq!(found, runs.iter().map(|n| id(*n)).collect::<Vec<_>>(), "{filter:?}");
    };
    let text = |text: &str| Some(text.to_owned());
    check(Filter::default(), &[5, 4, 3, 2, 1]).await;
    check(Filter { limit: Some(2), ..Filter::default() }, &[5, 4]).await;
    check(Filter { verb: text("watch"), ..Filter::default() }, &[4, 3, 2]).await;
    check(Filter { host: text("db1"), ..Filter::default() }, &[4]).await;
    check(Filter { host: text("web?"), ..Filter::default() }, &[5, 3, 2, 1]).await;
    check(Filter { host: text("[w]*"), ..Filter::default() }, &[]).await;
    check(Filter { resource: text("file[/etc/motd]"), ..Filter::default() }, &[5, 3, 2]).await;
    check(Filter { resource: text("file[/etc/[x\\]]"), ..Filter::default() }, &[4]).await;
    check(Filter { resource: text("file"), ..Filter::default() }, &[5, 4, 3, 2]).await;
    check(Filter { resource: text("*motd*"), ..Filter::default() }, &[5, 3, 2]).await;
    check(Filter { resource: text("fil"), ..Filter::default() }, &[]).await;
    check(Filter { since: Some(3000), until: Some(5000), ..Filter::default() }, &[4, 3]).await;
    let unreachable = Some(HostState::Unreachable);
    check(Filter { state: unreachable, ..Filter::default() }, &[5]).await;
    check(Filter { state: unreachable, host: text("web2"), ..Filter::default() }, &[5]).await;
    check(Filter { state: unreachable, host: text("web1"), ..Filter::default() }, &[]).await;
    let motd = text("file[/etc/motd]");
    check(Filter { state: unreachable, resource: motd, ..Filter::default() }, &[]).await;
}

#[tokio::test]
async fn a_summary_says_what_a_run_came_to() {
    let (_temp, mut history) = history().await;
    let run = history.find("last").await.unwrap();
    assert_eq!((run.run, run.verb.as_str(), run.by.as_str()), (id(5), "drift", "ada@laptop"));
    assert_eq!((run.began, run.hosts, run.took, run.exit), (5000, 2, Some(4321), Some(4)));
    assert_eq!(run.states, [(HostState::Pending, 1), (HostState::Unreachable, 1)]);
    assert_eq!(history.find(id(3).as_str()).await.unwrap().changes, 1);
}

#[tokio::test]
async fn a_run_is_named_by_any_beginning_that_is_no_other_run_s() {
    let (_temp, mut history) = history().await;
    assert_eq!(history.find("20261121T000003").await.unwrap().run, id(3));
    let ambiguous = history.find("20261121T00000").await.unwrap_err();
    assert!(matches!(&ambiguous, FindError::Ambiguous { runs, .. } if runs.len() == 5), "{ambiguous}");
    for unknown in ["x", "%", "20261121T000003-00000003x", ""] {
        let found = history.find(unknown).await;
        assert!(matches!(found, Err(FindError::Unknown(_) | FindError::Ambiguous { .. })), "{unknown}");
    }
    let temp = tempfile::tempdir().unwrap();
    let mut empty = History::open(temp.path()).await.unwrap();
    assert!(matches!(empty.find("last").await, Err(FindError::Empty)));
    assert!(empty.runs(&Filter::default()).await.unwrap().is_empty());
}

#[tokio::test]
async fn the_last_of_each_host_is_that_of_its_last_run() {
    let (_temp, mut history) = history().await;
    let mut check = async |verb: Option<&str>, expected: &[(&str, u64, HostState)]| {
        let found = history.last_of_hosts(verb).await.unwrap();
        let found: Vec<_> = found.into_iter().map(|last| (last.host, last.run, last.state)).collect();
        let expected = expected.iter().map(|(name, run, state)| (host(name), id(*run), Some(*state)));
        assert_eq!(found, expected.collect::<Vec<_>>());
    };
    use HostState::{Changed, InSync, Pending, Unreachable};
    check(None, &[("db1", 4, Changed), ("web1", 5, Pending), ("web2", 5, Unreachable)]).await;
    check(Some("apply"), &[("web1", 1, InSync)]).await;
}

#[tokio::test]
async fn corrections_are_counted_by_resource() {
    let (temp, mut history) = history().await;
    let mut counted = async |verb: &str, since: u64, of: Option<&str>| {
        let of = of.map(host);
        let found = history.corrections(verb, since, of.as_ref()).await.unwrap();
        let found = found.into_iter().map(|c| (c.host.to_string(), c.address.to_string(), c.count, c.last));
        found.collect::<Vec<_>>()
    };
    let motd = |count, last| ("web1".to_owned(), "file[/etc/motd]".to_owned(), count, last);
    let x = ("db1".to_owned(), "file[/etc/[x\\]]".to_owned(), 1, 4000);
    assert_eq!(counted("watch", 0, None).await, [x.clone(), motd(2, 3000)]);
    assert_eq!(counted("watch", 3000, Some("web1")).await, [motd(1, 3000)]);
    assert_eq!(counted("apply", 0, None).await, []);
    drop(history);

    // A step that failed afterwards is no correction.
    let change = edit("/etc/motd", "a", "b");
    let failed = StepOutcome::Failed {
        why: "x".into(),
        output: String::new(),
        restored: Restoration::Done,
        stands: Stands::Unknown,
    };
    let (done, failed) =
        (result(0, "/etc/motd", &change, StepOutcome::Done), result(0, "/etc/motd", &change, failed));
    let mut run = Told::begin(6, "watch", &["web1"]);
    for result in [done, failed.clone()] {
        run.tell("web1", converge_model::EventKind::StepFinished { result });
    }
    run.end("web1", HostState::Failed, 0, &[failed]);
    record(temp.path(), &run.finish(&[(HostState::Failed, 1)], 3));
    let mut history = History::open(temp.path()).await.unwrap();
    assert_eq!(history.corrections("watch", 3000, Some(&host("web1"))).await.unwrap()[0].count, 1);
}
