//! An agent for the tests of the protocol. It holds the real conversation; its worker does what the project name of
//! its catalog says.

use std::io::{Read, Write};
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use converge_agent::channel::{Channel, stdio::Patience};
use converge_agent::serve::{Order, Worker, serve};
use converge_model::wire::{FromAgent, LOOK_LIMIT, Refusal, Verdict};
use converge_model::{
    AdHoc, Content, Digest, EventKind, Exit, HostPlan, HostReport, HostState, Problem, Ran, RunId, Stream,
    Value,
};

struct Tiny;

impl Worker for Tiny {
    /// Reports everything that it learned of the content in its catalog as problems.
    fn look(&self, order: Order, channel: &dyn Channel) -> Result<HostPlan, Refusal> {
        match order.catalog.project.as_str() {
            "refuse" => return Err(Refusal::Stale("as asked".to_owned())),
            "silence" => wait(channel),
            "half-a-frame" => die(&[200, 0, 0, 0, 1, 2, 3]),
            "four-gigabytes" => die(&u32::MAX.to_le_bytes()),
            "rubbish" => die(&[4, 0, 0, 0, 0xff, 0xff, 0xff, 0xff]),
            project => {
                if let Some(path) = project.strip_prefix("write ") {
                    converge_agent::fence::raise();
                    return Err(written(path));
                }
            }
        }
        let digests = contents(&order);
        let asked =
            if order.catalog.project == "greedy" { vec![Digest::of(b"somebody else's")] } else { digests };
        let _ = channel.need(&asked);
        let told = |digest: &Digest| match channel.text(*digest) {
            Ok(bytes) => format!("{} bytes", bytes.len()),
            Err(error) => error.to_string(),
        };
        let problem = |message| Problem { address: None, message, help: None };
        let large = order.catalog.project.strip_prefix("large ").and_then(|size| size.parse().ok());
        let secrets = order.catalog.secrets.secrets().map(|secret| Digest::of(secret.expose()).to_string());
        Ok(HostPlan {
            token: Digest::of(b"token"),
            steps: Vec::new(),
            in_sync: order.catalog.resources.len() as u32,
            known_once: Vec::new(),
            blocked: Vec::new(),
            problems: asked
                .iter()
                .map(told)
                .chain(secrets)
                .chain(large.map(|size| "x".repeat(size)))
                .map(problem)
                .collect(),
            ledger_complete: true,
            busy: None,
            interrupted: None,
            damaged: 0,
            reverted: None,
        })
    }

    /// Streams all content, then reports `steps` events, or waits to be stopped.
    fn act(&self, order: Order, token: Digest, channel: &dyn Channel) -> Result<HostReport, Refusal> {
        let event = |line: String| channel.event(EventKind::HostState { phase: line });
        if token != Digest::of(b"token") {
            return Err(Refusal::Stale("another token".to_owned()));
        }
        for digest in contents(&order) {
            event(streamed(digest, channel));
        }
        match order.catalog.project.as_str() {
            "wait" => {
                event("waiting".to_owned());
                wait(channel);
                if let Some(mark) = &order.root {
                    let _ = std::fs::write(mark.join("stopped"), "");
                }
            }
            "deaf" => {
                event("waiting".to_owned());
                std::thread::sleep(Duration::from_secs(5));
            }
            "freeze" => {
                event(std::process::id().to_string());
                let _ =
                    rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::STOP);
            }
            "cut" => die(&[200, 0, 0, 0, 1]),
            "vanish" => std::process::exit(0),
            _ => {}
        }
        let mut host = order.catalog.host.clone();
        if order.catalog.project == "another-host" {
            host = converge_model::HostName::new("elsewhere").unwrap_or(host);
        }
        Ok(HostReport {
            host,
            state: HostState::Changed,
            results: Vec::new(),
            in_sync: 0,
            problems: Vec::new(),
        })
    }

    fn confirm(&self, _: &RunId) -> Result<Verdict, Refusal> {
        Ok(Verdict::Nothing)
    }

    /// Prints each word on a line. `wait` waits until it is stopped, `deaf` sleeps without listening, `act` sends an
    /// event of another job.
    fn exec(&self, asked: &AdHoc, _: Option<&Path>, channel: &dyn Channel) -> Result<Ran, Refusal> {
        for word in &asked.words {
            channel.event(EventKind::CommandOutput { stream: Stream::Stdout, line: word.clone() });
            match word.as_str() {
                "wait" => wait(channel),
                "deaf" => std::thread::sleep(Duration::from_secs(3600)),
                "act" => channel.event(EventKind::Confirmed),
                _ => {}
            }
        }
        let exit = if channel.stopping() { Exit::Stopped } else { Exit::Code(0) };
        Ok(Ran { exit, lines: asked.words.len() as u64, took: 1 })
    }

    fn ping(&self, _: Option<&Path>) -> Result<FromAgent, Refusal> {
        Ok(FromAgent::Answer { login: Some("ada".to_owned()), busy: None })
    }
}

fn contents(order: &Order) -> Vec<Digest> {
    let values = order.catalog.resources.iter().flat_map(|resource| resource.params.0.iter());
    let plain = |(_, value): &(String, Value)| match value {
        Value::Content(Content::Plain { digest, .. }) => Some(*digest),
        _ => None,
    };
    values.filter_map(plain).collect()
}

/// Reads content to its end, without keeping it.
fn streamed(digest: Digest, channel: &dyn Channel) -> String {
    let mut stream = match channel.content(digest) {
        Ok(stream) => stream,
        Err(error) => return error.to_string(),
    };
    match std::io::copy(&mut stream.by_ref().take(LOOK_LIMIT * 1024), &mut std::io::sink()) {
        Ok(bytes) => format!("{bytes} bytes"),
        Err(error) => error.to_string(),
    }
}

fn wait(channel: &dyn Channel) {
    while !channel.stopping() {
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Tries to write to a file and returns the result as a refusal.
fn written(path: &str) -> Refusal {
    let message = match std::fs::write(path, "x") {
        Ok(()) => "written".to_owned(),
        Err(error) => error.kind().to_string(),
    };
    Refusal::Broken { message, help: None }
}

/// Writes bytes that break the protocol, then aborts.
fn die(bytes: &[u8]) -> ! {
    let mut output = std::io::stdout();
    let _ = output.write_all(bytes).and_then(|()| output.flush());
    std::process::abort()
}

fn main() -> ExitCode {
    serve(&Tiny, Patience { silence: Duration::from_secs(1), ping: Duration::from_millis(100) })
}
