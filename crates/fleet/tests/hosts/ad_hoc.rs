//! Commands without a catalog: which output is passed on, and how commands end.

use std::time::{Duration, Instant};

use converge_fleet::{Fleet, HostError, Options, Patience, Reach, SessionError};
use converge_model::{AdHoc, EventKind, Exit, Facts, HostState, Masker, Secret, SecretTable};

use crate::support::{asked, local, options, scratch, target, tiny};

fn command(words: &[&str]) -> AdHoc {
    AdHoc { words: words.iter().map(|word| (*word).to_owned()).collect(), script: None, timeout: None }
}

fn nothing(_: &Facts) -> Masker {
    Masker::default()
}

#[tokio::test]
async fn output_is_passed_on_without_the_secrets_of_the_host() {
    let scratch = scratch();
    let mut asked = asked();
    let learn = |_: &Facts| {
        let mut table = SecretTable::default();
        table.add(Secret::new("hunter22"));
        Masker::new(&table)
    };
    let ran = local(scratch.path(), tiny()).exec(&asked.ask, command(&["a", "is hunter22"]), learn).await;
    assert_eq!(ran.unwrap().unwrap().exit, Exit::Code(0));
    drop(asked.ask);
    let mut lines = Vec::new();
    while let Some(event) = asked.events.recv().await {
        if let EventKind::CommandOutput { line, .. } = event {
            lines.push(line);
        }
    }
    assert_eq!(lines, ["a", "is ********"]);
}

#[tokio::test]
async fn a_command_ends_once_the_run_is_stopped_and_is_not_begun_after_that() {
    let scratch = scratch();
    let mut asked = asked();
    let host = local(scratch.path(), tiny());
    let stop = asked.stop.clone();
    let stopping = async {
        while let Some(event) = asked.events.recv().await {
            if matches!(event, EventKind::CommandOutput { .. }) {
                stop.send_replace(true);
                return;
            }
        }
    };
    let (ran, ()) = tokio::join!(host.exec(&asked.ask, command(&["wait"]), nothing), stopping);
    assert_eq!(ran.unwrap().unwrap().exit, Exit::Stopped);
    assert_eq!(host.exec(&asked.ask, command(&["a"]), nothing).await.unwrap(), None);
}

#[tokio::test]
async fn a_host_that_speaks_of_another_job_is_not_believed() {
    let scratch = scratch();
    let asked = asked();
    let error = local(scratch.path(), tiny()).exec(&asked.ask, command(&["act"]), nothing).await.unwrap_err();
    assert!(matches!(error, HostError::Interrupted(SessionError::Protocol(_))), "{error}");
    assert_eq!(error.state(), HostState::Interrupted);
}

#[tokio::test]
async fn an_agent_that_does_not_end_its_command_in_time_is_abandoned() {
    let scratch = scratch();
    let asked = asked();
    let options = options(scratch.path());
    let patience = Patience { stop: Duration::from_secs(1), ..options.patience };
    let fleet = Fleet::new(tiny(), Options { patience, ..options }).unwrap();
    let (host, started) = (fleet.host(target(Reach::Local)), Instant::now());
    let stop = asked.stop.clone();
    let later = async move {
        tokio::time::sleep(Duration::from_secs(1)).await;
        stop.send_replace(true);
    };
    let (ran, ()) = tokio::join!(host.exec(&asked.ask, command(&["deaf"]), nothing), later);
    assert!(matches!(ran, Err(HostError::Interrupted(SessionError::Overdue { .. }))), "{ran:?}");
    assert!(started.elapsed() < Duration::from_secs(20));
}

#[tokio::test]
async fn a_host_that_answers_says_who_logged_in() {
    let scratch = scratch();
    let answer = local(scratch.path(), tiny()).ping(&asked().ask).await.unwrap();
    assert_eq!((answer.login.as_deref(), answer.busy), (Some("ada"), None));
    assert!(!answer.user.is_empty());
}
