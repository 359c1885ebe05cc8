//! The conversation with an agent: its messages, its cost, and the error for each broken rule.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use converge_fleet::{Fleet, Host, HostError, Options, Prepared, Reach, SessionError};
use converge_model::{Digest, EventKind, HostState, Secret};

use crate::support::{
    Store, asked, catalog, compiled, local, options, project, scratch, script, skipped, store, target, tiny,
};

/// Returns the error of a look with a project name that makes the agent misbehave.
async fn look_error(project_name: &str) -> HostError {
    let scratch = scratch();
    local(scratch.path(), tiny()).look(&asked().ask, project(project_name)).await.unwrap_err()
}

fn token() -> Digest {
    Digest::of(b"token")
}

#[tokio::test]
async fn a_look_brings_content_and_secrets_of_its_own_host_only() {
    let scratch = scratch();
    let (digests, store) = store(&[b"motd".to_vec(), vec![7; 300_000], Vec::new()]);
    let mut catalog_ = catalog("shop", &digests);
    catalog_.secrets.add(Secret::new("hunter22"));
    let host = local(scratch.path(), tiny());
    let (facts, plan) = host.look(&asked().ask, compiled(catalog_, store.clone())).await.unwrap();
    assert_eq!(facts.kernel.name, "Linux");
    let told: Vec<_> = plan.problems.iter().map(|problem| problem.message.clone()).collect();
    let secret = Digest::of(b"hunter22").to_string();
    assert_eq!(told, ["4 bytes", "300000 bytes", "0 bytes", &secret]);

    let (_, plan) = host.look(&asked().ask, compiled(catalog("greedy", &digests), store)).await.unwrap();
    assert!(plan.problems[0].message.contains("cannot provide"), "{:?}", plan.problems);
}

#[tokio::test]
async fn a_look_costs_the_same_exchanges_whatever_the_size_of_the_catalog() {
    let scratch = scratch();
    local(scratch.path(), tiny()).facts().await.unwrap();
    let cost = async |catalog, store| {
        let host = local(scratch.path(), tiny());
        host.look(&asked().ask, compiled(catalog, store)).await.unwrap();
        host.traffic()
    };
    let empty = cost(catalog("shop", &[]), Arc::default()).await;
    // Two exchanges: the command and the hello, the job and the plan.
    assert_eq!((empty.exchanges, empty.uploads), (2, 0));
    assert!(empty.up + empty.down < 6 * 1024, "{empty:?}");

    let (digests, store) = store(&(0..500u32).map(|n| n.to_le_bytes().to_vec()).collect::<Vec<_>>());
    // One more exchange for all of the content.
    assert_eq!(cost(catalog("shop", &digests), store).await.exchanges, 3);
}

#[tokio::test]
async fn a_plan_may_be_larger_than_a_frame_but_not_without_end() {
    let scratch = scratch();
    let host = local(scratch.path(), tiny());
    let (_, plan) = host.look(&asked().ask, project("large 3000000")).await.unwrap();
    assert_eq!(plan.problems[0].message.len(), 3_000_000);
    let error = host.look(&asked().ask, project("large 17000000")).await.unwrap_err();
    assert!(error.to_string().contains("more than 16777216"), "{error}");
    assert!(error.help().is_some());
}

#[tokio::test]
async fn content_that_is_not_what_its_digest_says_is_damaged() {
    let scratch = scratch();
    let digest = Digest::of(b"good");
    let store: Store = [(digest, Arc::from(b"evil".as_slice()))].into();
    let compile = compiled(catalog("shop", &[digest]), Arc::new(store));
    let (_, plan) = local(scratch.path(), tiny()).look(&asked().ask, compile).await.unwrap();
    assert!(plan.problems[0].message.contains("damaged"), "{:?}", plan.problems);
}

#[tokio::test]
async fn an_act_streams_large_content_and_reports() {
    let scratch = scratch();
    let bytes = vec![1; 9 * 1024 * 1024 + 1];
    let path = scratch.path().join("large");
    std::fs::write(&path, &bytes).unwrap();
    let store: HashMap<Digest, std::path::PathBuf> = [(Digest::of(&bytes), path)].into();
    let catalog = catalog("shop", &[Digest::of(&bytes), Digest::of(b"missing")]);
    let mut asked = asked();
    let compile = move |_: &_| Ok(Prepared { catalog, content: Arc::new(store) });
    let report = local(scratch.path(), tiny()).act(&asked.ask, token(), compile).await.unwrap();
    assert_eq!(report.state, HostState::Changed);
    let missing = format!("the controller cannot provide content {}", Digest::of(b"missing"));
    assert_eq!(asked.phases(), ["connecting", "uploading", "applying", "9437185 bytes", &missing]);
}

#[tokio::test]
async fn each_way_of_breaking_off_has_its_name() {
    let error = look_error("half-a-frame").await;
    assert!(matches!(error, HostError::Session(SessionError::Cut(_))), "{error}");
    assert_eq!(error.state(), HostState::Unreachable);
    for broken in ["four-gigabytes", "rubbish"] {
        let error = look_error(broken).await;
        assert!(matches!(error, HostError::Session(SessionError::Protocol(_))), "{broken}: {error}");
    }
    assert_eq!(look_error("refuse").await.state(), HostState::Stale);
}

#[tokio::test]
async fn an_act_without_its_last_word_is_interrupted_whatever_the_exit_code() {
    for broken in ["cut", "vanish", "another-host"] {
        let scratch = scratch();
        let error =
            local(scratch.path(), tiny()).act(&asked().ask, token(), project(broken)).await.unwrap_err();
        assert_eq!(error.state(), HostState::Interrupted, "{broken}: {error}");
    }
}

#[tokio::test]
async fn an_agent_that_falls_silent_is_given_up() {
    let scratch = scratch();
    let mut options = options(scratch.path());
    options.patience.silence = Duration::from_millis(500);
    let host = Fleet::new(tiny(), options).unwrap().host(target(Reach::Local));
    let mut asked = asked();
    let error = host.act(&asked.ask, token(), project("freeze")).await.unwrap_err();
    assert!(matches!(error, HostError::Interrupted(SessionError::Silent(_))), "{error}");
    let frozen = asked.phases().pop().unwrap();
    assert!(std::process::Command::new("kill").args(["-KILL", &frozen]).status().unwrap().success());
}

#[tokio::test]
async fn a_look_has_a_deadline() {
    let scratch = scratch();
    let mut options = options(scratch.path());
    options.patience.look = Duration::from_millis(300);
    let host = Fleet::new(tiny(), options).unwrap().host(target(Reach::Local));
    let error = host.look(&asked().ask, project("silence")).await.unwrap_err();
    assert!(matches!(error, HostError::Session(SessionError::Slow(_))), "{error}");
}

#[tokio::test]
async fn an_agent_is_kept_company_while_its_catalog_is_compiled() {
    let scratch = scratch();
    // The tiny agent ends after a second of silence.
    let slow = |facts: &_| {
        std::thread::sleep(Duration::from_millis(1500));
        project("shop")(facts)
    };
    local(scratch.path(), tiny()).look(&asked().ask, slow).await.unwrap();
}

/// Starts an act that waits to be stopped.
async fn waiting(
    host: Host,
    root: &std::path::Path,
) -> (tokio::task::JoinHandle<Result<HostState, HostError>>, crate::support::Asked) {
    let mut asked = asked();
    let ask = asked.ask.clone();
    assert!(host.target().root.as_deref() == Some(root));
    let act =
        tokio::spawn(
            async move { host.act(&ask, token(), project("wait")).await.map(|report| report.state) },
        );
    at_its_step(&mut asked).await;
    (act, asked)
}

fn rooted(scratch: &std::path::Path, options: Options) -> Host {
    let mut target = target(Reach::Local);
    target.root = Some(scratch.to_owned());
    Fleet::new(tiny(), options).unwrap().host(target)
}

/// Waits until the agent has written in its folder that it stopped.
async fn stopped(root: &std::path::Path) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !root.join("stopped").exists() {
        assert!(Instant::now() < deadline, "the agent did not stop");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[tokio::test]
async fn the_word_to_stop_reaches_the_agent_and_its_report_comes() {
    let scratch = scratch();
    let host = rooted(scratch.path(), options(scratch.path()));
    let (act, asked) = waiting(host, scratch.path()).await;
    asked.stop.send(true).unwrap();
    assert_eq!(act.await.unwrap().unwrap(), HostState::Changed);
}

#[tokio::test]
async fn an_agent_whose_controller_is_gone_stops() {
    let scratch = scratch();
    let (act, _asked) = waiting(rooted(scratch.path(), options(scratch.path())), scratch.path()).await;
    act.abort();
    stopped(scratch.path()).await;
}

#[tokio::test]
async fn an_agent_whose_controller_is_silent_stops() {
    let scratch = scratch();
    let mut options = options(scratch.path());
    options.patience.ping = Duration::from_secs(3600);
    let (act, _asked) = waiting(rooted(scratch.path(), options), scratch.path()).await;
    stopped(scratch.path()).await;
    assert_eq!(act.await.unwrap().unwrap(), HostState::Changed);
}

#[tokio::test]
async fn a_catalog_that_does_not_compile_is_the_callers_error() {
    let scratch = scratch();
    let host = local(scratch.path(), tiny());
    let error = host.look(&asked().ask, |_| Err("no such variable".into())).await.unwrap_err();
    assert_eq!(error.to_string(), "failed to compile the catalog: no such variable");
    assert_eq!(error.state(), HostState::Unplannable);
}

#[tokio::test]
async fn facts_without_end_are_refused() {
    let scratch = scratch();
    // A hello of 512 KiB.
    let host = local(
        scratch.path(),
        script("printf '\\0converge-agent\\001\\0\\0\\010\\0'; head -c 524288 /dev/zero"),
    );
    let error = host.facts().await.unwrap_err();
    assert!(matches!(error, HostError::Session(SessionError::Protocol(_))), "{error}");
}

#[tokio::test]
async fn a_look_cannot_write() {
    if !rustix::process::geteuid().is_root() {
        return skipped("only root's looks are fenced");
    }
    let scratch = scratch();
    // Other tests may mount other places meanwhile.
    let fenced =
        |line: &&str| ["/", "/tmp", "/var/tmp", "/var/log"].contains(&line.split(' ').nth(1).unwrap());
    let mounts = || {
        let table = std::fs::read_to_string("/proc/self/mounts").unwrap();
        table.lines().filter(fenced).map(str::to_owned).collect::<Vec<_>>()
    };
    let before = mounts();
    // This path is outside the scratch folders: the fence discards writes inside them.
    let target = std::path::Path::new("/var/lib/written-by-a-look-of-converge");
    let project_name = format!("write {}", target.display());
    let error = local(scratch.path(), tiny()).look(&asked().ask, project(&project_name)).await.unwrap_err();
    let left = std::fs::remove_file(target);
    assert_eq!(error.to_string(), std::io::ErrorKind::ReadOnlyFilesystem.to_string());
    assert!(left.is_err(), "something was written");
    // The fence discards this write.
    let inside = scratch.path().join("x");
    let project_name = format!("write {}", inside.display());
    local(scratch.path(), tiny()).look(&asked().ask, project(&project_name)).await.unwrap_err();
    assert!(!inside.exists());
    assert_eq!(mounts(), before);
}

/// Waits until the agent reports that its step runs.
async fn at_its_step(asked: &mut crate::support::Asked) {
    while let Some(event) = asked.events.recv().await {
        if event == (EventKind::HostState { phase: "waiting".into() }) {
            return;
        }
    }
}

#[tokio::test]
async fn an_act_has_a_deadline_that_pings_do_not_push_away() {
    let scratch = scratch();
    let mut options = options(scratch.path());
    options.patience.look = Duration::from_millis(300);
    let host = Fleet::new(tiny(), options).unwrap().host(target(Reach::Local));
    let error = host.act(&asked().ask, token(), project("wait")).await.unwrap_err();
    assert!(matches!(error, HostError::Interrupted(SessionError::Overdue { .. })), "{error}");
    assert_eq!(error.state(), HostState::Interrupted);
}

#[tokio::test]
async fn an_act_ends_soon_after_the_word_to_stop_although_the_host_pings_on() {
    let scratch = scratch();
    let mut options = options(scratch.path());
    options.patience.stop = Duration::from_millis(300);
    let host = Fleet::new(tiny(), options).unwrap().host(target(Reach::Local));
    let mut asked = asked();
    let ask = asked.ask.clone();
    let act = tokio::spawn(async move { host.act(&ask, token(), project("deaf")).await });
    at_its_step(&mut asked).await;
    asked.stop.send_replace(true);
    let error = act.await.unwrap().unwrap_err();
    assert!(matches!(error, HostError::Interrupted(SessionError::Overdue { .. })), "{error}");
}
