//! Connections: kept and new, refused and dropped, and the message for each.

use std::time::Duration;

use converge_fleet::{ConnectError, Fleet, Host, HostError, Options, Reach, SshSettings};
use converge_model::HostState;

use crate::sshd::{Sshd, generate};
use crate::support::{asked, project, script, target, tiny};

/// Returns why the host cannot be connected to.
async fn refusal(host: &Host) -> ConnectError {
    match host.facts().await {
        Err(error @ HostError::Connect(_)) => {
            assert_eq!(error.state(), HostState::Unreachable);
            match error {
                HostError::Connect(error) => error,
                _ => unreachable!(),
            }
        }
        other => panic!("{other:?}"),
    }
}

/// Returns how many connections the server has logged.
fn connections(sshd: &Sshd) -> usize {
    sshd.logged("Connection from ")
}

#[tokio::test]
async fn a_connection_serves_the_next_run_too() {
    let Some(sshd) = Sshd::start("") else { return };
    for run in 0..3 {
        let host = sshd.host(tiny());
        assert_eq!(host.facts().await.unwrap().kernel.name, "Linux");
        let traffic = host.traffic();
        let first = u64::from(run == 0);
        assert_eq!((traffic.connections, traffic.uploads), (first, first));
        host.close().await;
    }
    assert_eq!(connections(&sshd), 1);
}

#[tokio::test]
async fn two_runs_that_start_together_make_one_connection() {
    let Some(sshd) = Sshd::start("") else { return };
    let (one, other) = (sshd.host(tiny()), sshd.host(tiny()));
    let (one_facts, other_facts) = tokio::join!(one.facts(), other.facts());
    assert_eq!(one_facts.unwrap(), other_facts.unwrap());
    assert_eq!(one.traffic().connections + other.traffic().connections, 1);
    assert_eq!(connections(&sshd), 1);
}

#[tokio::test]
async fn other_settings_are_another_connection() {
    let Some(sshd) = Sshd::start("") else { return };
    sshd.host(tiny()).facts().await.unwrap();
    let settings = SshSettings { port: Some(sshd.port), ..sshd.settings() };
    sshd.host_with(tiny(), sshd.options(), settings).facts().await.unwrap();
    assert_eq!(connections(&sshd), 2);
}

#[tokio::test]
async fn nothing_stays_of_a_connection_that_is_not_to_be_kept() {
    let Some(sshd) = Sshd::start("") else { return };
    let options = Options { keep_connections: Duration::ZERO, ..sshd.options() };
    let host = sshd.host_with(tiny(), options, sshd.settings());
    host.facts().await.unwrap();
    host.facts().await.unwrap();
    assert_eq!(host.traffic().connections, 1);
    host.close().await;
    let sockets = || {
        let entries = std::fs::read_dir(sshd.path("control")).unwrap().map(|entry| entry.unwrap().path());
        entries.filter(|path| path.extension().is_none()).count()
    };
    assert_eq!(sockets(), 0);
}

#[tokio::test]
async fn a_fresh_connection_rests_on_no_kept_one() {
    let Some(sshd) = Sshd::start("") else { return };
    let host = sshd.host(tiny());
    host.facts().await.unwrap();
    let fresh = host.afresh();
    fresh.facts().await.unwrap();
    assert_eq!((fresh.traffic().connections, connections(&sshd)), (1, 2));
    fresh.close().await;
    host.facts().await.unwrap();
    assert_eq!(host.traffic().connections, 1);
}

#[tokio::test]
async fn a_connection_that_died_meanwhile_is_made_again() {
    let Some(sshd) = Sshd::start("") else { return };
    let host = sshd.host(tiny());
    host.facts().await.unwrap();
    // Simulates a master that was killed: its socket is left, and no process listens on it.
    for entry in std::fs::read_dir(sshd.path("control")).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.extension().is_none() {
            std::fs::remove_file(&entry).unwrap();
            drop(std::os::unix::net::UnixListener::bind(&entry).unwrap());
        }
    }
    host.facts().await.unwrap();
    assert_eq!(host.traffic().connections, 2);
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_with_its_fingerprint() {
    let Some(sshd) = Sshd::start("") else { return };
    std::fs::write(sshd.path("known_hosts"), "").unwrap();
    let error = refusal(&sshd.host(tiny())).await;
    assert!(
        matches!(&error, ConnectError::HostKeyUnknown { offered, unchecked: false } if offered.contains("SHA256:")),
        "{error}"
    );
    assert_eq!(
        std::fs::read_to_string(sshd.path("known_hosts")).unwrap(),
        "",
        "nothing is accepted silently"
    );
}

/// Adds lines to the user's ssh_config.
fn configure(sshd: &Sshd, lines: &str) {
    let config = std::fs::read_to_string(sshd.path("ssh_config")).unwrap();
    std::fs::write(sshd.path("ssh_config"), format!("{config}{lines}\n")).unwrap();
}

#[tokio::test]
async fn an_unknown_host_key_is_accepted_where_ssh_config_says_so() {
    let Some(sshd) = Sshd::start("") else { return };
    std::fs::write(sshd.path("known_hosts"), "").unwrap();
    configure(&sshd, "StrictHostKeyChecking accept-new");
    sshd.host(tiny()).facts().await.unwrap();
    let known = std::fs::read_to_string(sshd.path("known_hosts")).unwrap();
    let key = std::fs::read_to_string(sshd.path("host_key.pub")).unwrap();
    assert!(known.contains(key.split_whitespace().nth(1).unwrap()), "{known}");

    generate(&sshd.path("other"));
    sshd.trust(&sshd.path("other.pub"));
    let fresh = sshd.host(tiny()).afresh();
    assert!(matches!(refusal(&fresh).await, ConnectError::HostKeyChanged { .. }), "a changed key is refused");
}

#[tokio::test]
async fn an_unknown_host_key_is_refused_although_ssh_config_checks_none() {
    let Some(sshd) = Sshd::start("") else { return };
    for (line, is_said) in [("StrictHostKeyChecking no", true), ("StrictHostKeyChecking ask", false)] {
        std::fs::write(sshd.path("known_hosts"), "").unwrap();
        let config = std::fs::read_to_string(sshd.path("ssh_config")).unwrap();
        configure(&sshd, line);
        let error = refusal(&sshd.host(tiny())).await;
        assert!(
            matches!(error, ConnectError::HostKeyUnknown { unchecked, .. } if unchecked == is_said),
            "{error}"
        );
        assert_eq!(error.help().unwrap().contains("is not honoured"), is_said);
        assert_eq!(std::fs::read_to_string(sshd.path("known_hosts")).unwrap(), "");
        std::fs::write(sshd.path("ssh_config"), config).unwrap();
    }
}

#[tokio::test]
async fn a_changed_host_key_is_refused_with_both_fingerprints() {
    let Some(sshd) = Sshd::start("") else { return };
    generate(&sshd.path("other"));
    sshd.trust(&sshd.path("other.pub"));
    let error = refusal(&sshd.host(tiny())).await;
    let ConnectError::HostKeyChanged { offered, known } = &error else { panic!("{error}") };
    assert!(offered.contains("SHA256:") && known.starts_with("SHA256:"), "{error}");
    assert!(!offered.contains(known.split(' ').next().unwrap()), "{error}");
}

#[tokio::test]
async fn a_refused_login_is_not_repeated_and_an_identity_is_given_up() {
    let Some(sshd) = Sshd::start("") else { return };
    std::fs::write(sshd.path("authorized_keys"), "").unwrap();
    let fleet = Fleet::new(tiny(), Options { keep_connections: Duration::ZERO, ..sshd.options() }).unwrap();
    for host in 1..=4 {
        let error = refusal(&fleet.host(target(Reach::Ssh(sshd.settings())))).await;
        match &error {
            ConnectError::AuthRefused { offered, .. } if host <= 3 => {
                assert!(offered[0].contains("SHA256:"), "{offered:?}");
            }
            ConnectError::GivenUp if host == 4 => {}
            other => panic!("{host}: {other}"),
        }
    }
    assert_eq!(connections(&sshd), 3);
}

#[tokio::test]
async fn a_host_that_is_not_there_is_unreachable() {
    let Some(sshd) = Sshd::start("") else { return };
    // No process listens on port 1 of loopback.
    let settings = SshSettings { port: Some(1), ..sshd.settings() };
    let error = refusal(&sshd.host_with(tiny(), sshd.options(), settings)).await;
    assert!(matches!(&error, ConnectError::Unreachable { why } if why.contains("refused")), "{error}");
}

#[tokio::test]
async fn settings_that_ssh_would_misread_never_reach_it() {
    let Some(sshd) = Sshd::start("") else { return };
    let settings = SshSettings { address: "-oProxyCommand=touch".into(), ..sshd.settings() };
    let error = refusal(&sshd.host_with(tiny(), sshd.options(), settings)).await;
    assert!(matches!(error, ConnectError::Setting(_)), "{error}");
}

#[tokio::test]
async fn one_session_at_a_time_is_enough() {
    let Some(sshd) = Sshd::start("MaxSessions 1") else { return };
    let (host, asked) = (sshd.host(tiny()), asked());
    host.facts().await.unwrap();
    let (_, plan) = host.look(&asked.ask, project("shop")).await.unwrap();
    host.act(&asked.ask, plan.token, project("shop")).await.unwrap();
    assert_eq!(host.traffic().connections, 1);
}

#[tokio::test]
async fn dropped_logins_are_tried_again() {
    let Some(sshd) = Sshd::start("MaxStartups 1:100:1") else { return };
    let fleet = Fleet::new(tiny(), Options { keep_connections: Duration::ZERO, ..sshd.options() }).unwrap();
    sshd.host(tiny()).facts().await.unwrap();
    let hosts: Vec<_> = (0..6).map(|_| fleet.host(target(Reach::Ssh(sshd.settings())))).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for host in hosts {
        tasks.spawn(async move { host.facts().await.map(|_| ()) });
    }
    let results = tasks.join_all().await;
    assert!(sshd.logged("MaxStartups") > 0 || sshd.logged("drop connection") > 0, "nothing was dropped");
    let failed: Vec<_> = results.into_iter().filter_map(Result::err).collect();
    assert!(failed.is_empty(), "{failed:?}");
}

#[tokio::test]
async fn a_host_behind_another_is_reached_through_it() {
    let (Some(jump), Some(sshd)) = (Sshd::start(""), Sshd::start("")) else { return };
    let known =
        [jump.path("known_hosts"), sshd.path("known_hosts")].map(|f| std::fs::read_to_string(f).unwrap());
    std::fs::write(sshd.path("known_hosts"), known.concat()).unwrap();
    std::fs::copy(sshd.path("id.pub"), jump.path("authorized_keys")).unwrap();
    let settings = || SshSettings { jump: Some(format!("127.0.0.1:{}", jump.port)), ..sshd.settings() };
    sshd.host_with(tiny(), sshd.options(), settings()).facts().await.unwrap();
    assert_eq!((connections(&jump), connections(&sshd)), (1, 1));

    std::fs::write(jump.path("authorized_keys"), "").unwrap();
    let options = Options { keep_connections: Duration::ZERO, ..sshd.options() };
    let error = refusal(&sshd.host_with(tiny(), options, settings())).await;
    assert!(error.to_string().contains("by the jump host"), "{error}");
}

#[tokio::test]
async fn a_host_that_hangs_harms_no_other() {
    let Some(sshd) = Sshd::start("") else { return };
    let mut options = sshd.options();
    options.patience.start = Duration::from_millis(300);
    let hanging = sshd.host_with(script("sleep 3"), options.clone(), sshd.settings());
    let (hung, fine) = tokio::join!(hanging.facts(), async {
        let host = sshd.host(tiny());
        host.facts().await
    });
    assert!(matches!(hung, Err(HostError::Bootstrap(_))), "{hung:?}");
    fine.unwrap();
}
