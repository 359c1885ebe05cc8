//! Helpers for the tests: agents, fleets in temporary folders, catalogs.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use converge_fleet::{
    Agent, Ask, BUILT, CompileError, Fleet, Host, Options, Patience, Prepared, Reach, Target,
};
use converge_model::catalog::{Body, Catalog, Resource};
use converge_model::wire::Guard;
use converge_model::{
    Address, Become, Content, Digest, EventKind, Facts, HostName, Params, RunId, SecretTable, Value,
};
use tokio::sync::{mpsc, watch};

/// The agent of the tests, built from `examples/tiny-agent.rs`.
pub(crate) fn tiny() -> Agent {
    let test = std::env::current_exe().unwrap();
    let path = test.parent().unwrap().parent().unwrap().join("examples/tiny-agent");
    Agent::new(
        BUILT,
        std::fs::read(&path).unwrap_or_else(|e| panic!("{}: {e}: is it built?", path.display())),
    )
}

/// A shell script in place of an agent.
pub(crate) fn script(text: &str) -> Agent {
    Agent::new(BUILT, format!("#!/bin/sh\n{text}\n").into_bytes())
}

/// A temporary folder whose path is short enough for a control socket.
pub(crate) fn scratch() -> tempfile::TempDir {
    tempfile::Builder::new().prefix("cf").tempdir_in("/tmp").unwrap()
}

pub(crate) fn options(scratch: &Path) -> Options {
    Options {
        control_folder: Some(scratch.join("control")),
        agent_folders: vec![scratch.join("agent").display().to_string()],
        patience: Patience {
            connect: Duration::from_secs(20),
            start: Duration::from_secs(20),
            silence: Duration::from_secs(10),
            ping: Duration::from_millis(200),
            ..Patience::default()
        },
        ..Options::default()
    }
}

pub(crate) fn target(reach: Reach) -> Target {
    Target { name: HostName::new("web1").unwrap(), reach, escalation: Become::None, root: None }
}

/// This machine, with an agent.
pub(crate) fn local(scratch: &Path, agent: Agent) -> Host {
    Fleet::new(agent, options(scratch)).unwrap().host(target(Reach::Local))
}

/// An ask, its events, and the sender of the stop order.
pub(crate) struct Asked {
    pub(crate) ask: Ask,
    pub(crate) events: mpsc::Receiver<EventKind>,
    pub(crate) stop: watch::Sender<bool>,
}

pub(crate) fn asked() -> Asked {
    let (sender, events) = mpsc::channel(1024);
    let (stop, stopped) = watch::channel(false);
    let run = RunId::new("20260101T000000-00000000").unwrap();
    Asked {
        ask: Ask { run, by: "ada@laptop".into(), events: sender, stop: stopped, guard: Guard::default() },
        events,
        stop,
    }
}

impl Asked {
    /// Returns the words of the phases and states that were reported so far.
    pub(crate) fn phases(&mut self) -> Vec<String> {
        let mut phases = Vec::new();
        while let Ok(event) = self.events.try_recv() {
            if let EventKind::HostState { phase } = event {
                phases.push(phase);
            }
        }
        phases
    }
}

/// A catalog for `web1` with a resource for each content; its project tells the tiny agent what to do.
pub(crate) fn catalog(project: &str, contents: &[Digest]) -> Catalog {
    let resource = |(index, digest): (usize, &Digest)| Resource {
        address: Address::new(None, "file", &format!("/{index}")),
        aliases: Vec::new(),
        kind: "file".into(),
        params: Params(vec![(
            "content".into(),
            Value::Content(Content::Plain { digest: *digest, length: 0 }),
        )]),
        claims: Vec::new(),
        bodies: vec![0],
        after: Vec::new(),
        notify: Vec::new(),
        options: converge_model::Options::default(),
    };
    Catalog {
        host: HostName::new("web1").unwrap(),
        project: project.into(),
        resources: contents.iter().enumerate().map(resource).collect(),
        bodies: vec![Body { name: "on \"web\"".into() }],
        settled: Vec::new(),
        secrets: SecretTable::default(),
    }
}

/// Content in memory.
pub(crate) type Store = HashMap<Digest, Arc<[u8]>>;

/// Content in memory, with its digests.
pub(crate) fn store(contents: &[Vec<u8>]) -> (Vec<Digest>, Arc<Store>) {
    let digests: Vec<_> = contents.iter().map(|bytes| Digest::of(bytes)).collect();
    let store =
        digests.iter().copied().zip(contents.iter().map(|bytes| Arc::from(bytes.as_slice()))).collect();
    (digests, Arc::new(store))
}

/// A compile function that returns `catalog` for any facts.
pub(crate) fn compiled(
    catalog: Catalog,
    content: Arc<Store>,
) -> impl FnOnce(&Facts) -> Result<Prepared, CompileError> + Send + 'static {
    move |_| Ok(Prepared { catalog, content })
}

/// A project without content.
pub(crate) fn project(name: &str) -> impl FnOnce(&Facts) -> Result<Prepared, CompileError> + Send + 'static {
    compiled(catalog(name, &[]), Arc::default())
}

/// Returns a path in quotes for a shell.
pub(crate) fn quoted(path: &Path) -> String {
    format!("'{}'", path.display())
}

/// The root of the workspace.
pub(crate) fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// Reports that a test did not run, and why. Fails instead if `CI` is set, because there all tests must run.
pub(crate) fn skipped(why: &str) {
    assert!(std::env::var_os("CI").is_none(), "cannot run: {why}");
    println!("skipped: {why}");
}
