//! Tests of acts whose services must answer a probe: a change that breaks the answer is restored.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::path::PathBuf;

use converge_model::{HostReport, HostState, Notify, NotifyHow, Resource, Restoration, StepOutcome, Value};

use crate::testing::{Bench, resource};

/// An application on its own socket. Its answer comes from the release that is linked at that moment.
fn application(root: PathBuf) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let (Ok(mut stream), Ok(answer)) = (stream, std::fs::read(root.join("srv/current/answer")))
            else {
                continue;
            };
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(&answer);
        }
    });
    address
}

/// A host with two releases, of which only `good` answers correctly.
fn host() -> (Bench, String) {
    let bench = Bench::new();
    bench.world.unit("app.service");
    for (release, answer) in [("good", "200 OK\r\n\r\n"), ("bad", "500 Oops\r\n\r\nno database\n")] {
        bench.world.write(format!("/srv/{release}/answer").as_ref(), &format!("HTTP/1.1 {answer}"));
    }
    let address = application(bench.root().to_owned());
    (bench, address)
}

/// The link to a release, which notifies the service that must answer.
fn release(name: &str, address: &str) -> Vec<Resource> {
    let mut link = resource("link", "/srv/current");
    link.params.set("to", Value::from(name));
    link.notify = vec![Notify { target: 1, how: NotifyHow::AsTargetSays }];
    let mut service = resource("service", "app");
    let params = [
        ("running", Value::from(true)),
        ("settle", Value::from(0)),
        ("probe", Value::from(address)),
        ("probe-path", Value::from("/health")),
        ("probe-timeout", Value::from(500)),
    ];
    params.into_iter().for_each(|(name, value)| service.params.set(name, value));
    vec![link, service]
}

fn failure(report: &HostReport, address: &str) -> (String, String, bool) {
    let failed =
        report.results.iter().filter(|result| result.address.as_str() == address).find_map(|result| {
            let StepOutcome::Failed { why, output, restored, .. } = &result.outcome else { return None };
            Some((why.clone(), output.clone(), *restored == Restoration::Done))
        });
    failed.unwrap_or_else(|| panic!("{report:?}"))
}

fn current(bench: &Bench) -> String {
    std::fs::read_link(bench.root().join("srv/current")).unwrap().display().to_string()
}

#[test]
fn a_release_that_does_not_answer_makes_way_for_the_last_good_one() {
    let (bench, address) = host();
    assert_eq!(bench.apply(&release("good", &address)).state, HostState::Changed);
    let report = bench.apply(&release("bad", &address));
    assert_eq!(report.state, HostState::Failed);
    assert_eq!(current(&bench), "good");
    let (why, output, restored) = failure(&report, "service[app]");
    assert_eq!(
        why,
        format!(
            "it does not answer its probe (GET /health at {address}): 500 Oops: no database; link[/srv/current] was \
             restored, and it runs as before"
        )
    );
    assert_eq!(output, "app.service: a line of its journal\n");
    assert!(restored);
    let (why, _, restored) = failure(&report, "link[/srv/current]");
    assert_eq!(why, "service[app] failed with it; link[/srv/current] was restored");
    assert!(restored);
    assert_eq!(bench.world.deeds(), ["start app.service", "restart app.service", "restart app.service"]);
    assert!(bench.look(&release("good", &address)).is_empty(), "nothing is owed");
}

#[test]
fn a_first_release_that_does_not_answer_is_a_failed_start() {
    let (bench, address) = host();
    let report = bench.apply(&release("bad", &address));
    assert_eq!(report.state, HostState::Failed);
    let (why, output, restored) = failure(&report, "service[app]");
    assert!(restored && why.ends_with("500 Oops: no database"), "{why}");
    assert_eq!(output, "app.service: a line of its journal\n");
    assert_eq!(bench.world.deeds(), ["start app.service", "stop app.service"]);
}

#[test]
fn what_stops_answering_by_another_change_fails_the_run_and_a_look_asks_nothing() {
    let (bench, address) = host();
    let mut catalog = release("good", &address);
    bench.apply(&catalog);
    bench.world.write("/srv/good/answer".as_ref(), "HTTP/1.1 503 Gone\r\n\r\n");
    assert!(bench.look(&catalog).is_empty());
    catalog.push(bench.file("/etc/motd", "x\n"));
    let report = bench.apply(&catalog);
    assert_eq!(report.state, HostState::Failed);
    let told: Vec<_> = report.problems.iter().map(|problem| problem.message.clone()).collect();
    assert_eq!(told, [format!("it does not answer its probe (GET /health at {address}): 503 Gone")]);
}
