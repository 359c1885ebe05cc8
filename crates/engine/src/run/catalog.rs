//! Prepares the desired state of a host for the fleet: the language's catalog and its content, or the mistakes in the
//! form of events.

use std::collections::HashMap;
use std::io::{self, Cursor};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use converge_fleet::{CompileError, ContentStore, Opened, Prepared};
use converge_lang::diagnostic::{Files, Severity};
use converge_lang::{
    Choices, Compiled, ContentSource, Contents, Diagnostic, Diagnostics, FactsOf, Inventory, Selection,
};
use converge_model::{Digest, Facts, HostName, Problem};

use super::Run;
use super::facts::{Reading, RunFacts};
use super::once::OnceSteps;
use crate::sources::ProjectSources;

/// The inputs of all catalogs.
pub(super) struct Catalogs {
    /// The name by which hosts know the project.
    pub(super) owner: String,
    pub(super) inventory: Arc<Inventory>,
    pub(super) sources: Arc<ProjectSources>,
    pub(super) selection: Selection,
    pub(super) facts: Arc<RunFacts>,
    pub(super) once: OnceSteps,
    /// The names that the selection could choose on the hosts whose catalogs were compiled.
    choices: Mutex<HashMap<HostName, Choices>>,
}

/// Whether a catalog waits for facts that this run has not received yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Patience {
    /// It waits: the error is [`TooEarly`], instead of using old facts.
    Waits,
    /// It uses the facts that are known.
    TakesWhatThereIs,
}

/// A catalog reads facts of these hosts, which have not answered yet. The caller should try again later.
#[derive(Debug, thiserror::Error)]
#[error("it reads facts of a host that has not answered yet")]
pub(super) struct TooEarly(pub(super) Vec<HostName>);

/// A catalog cannot be compiled with the facts of its host.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.first().map_or("the inventory", |problem| problem.message.as_str()))]
pub(super) struct Mistakes(pub(super) Vec<Problem>);

impl Catalogs {
    /// The catalogs of `run`.
    pub(super) fn new(run: &Run) -> Self {
        let facts = Arc::new(RunFacts::new(&run.hosts, run.seen.clone()));
        Self {
            owner: run.owner.clone(),
            inventory: run.inventory.clone(),
            sources: run.sources.clone(),
            selection: run.selection.clone(),
            once: OnceSteps::new(&run.inventory, facts.clone(), run.done_once.clone()),
            facts,
            choices: Mutex::default(),
        }
    }

    /// Returns the selected names that none of `hosts` has. Empty unless the catalogs of all hosts were compiled.
    pub(super) fn missing(&self, hosts: &[HostName]) -> Vec<Problem> {
        let known = lock(&self.choices);
        let mut choices = Choices::default();
        for host in hosts.iter().filter(|host| self.inventory.asks_for_anything(host)) {
            let Some(of_host) = known.get(host) else { return Vec::new() };
            choices.add(of_host.clone());
        }
        let missing = choices.missing(&self.selection);
        missing.iter().map(|report| problem(report, self.inventory.files())).collect()
    }

    /// Compiles the catalog of `host`, which has sent `facts`.
    pub(super) fn compile(
        &self,
        host: &HostName,
        facts: &Facts,
        patience: Patience,
    ) -> Result<Prepared, CompileError> {
        self.facts.learn(host, facts);
        let reading = Arc::new(Reading::new(self.facts.clone()));
        let shared: Arc<dyn FactsOf> = reading.clone();
        let (compiled, diagnostics) = self.inventory.compile(host, &shared, &self.selection);
        let awaited = reading.awaited();
        if patience == Patience::Waits && !awaited.is_empty() {
            return Err(TooEarly(awaited).into());
        }
        let mut compiled = compiled.ok_or_else(|| self.mistakes(&diagnostics))?;
        lock(&self.choices).insert(host.clone(), std::mem::take(&mut compiled.choices));
        let mut prepared = self.prepared(compiled);
        self.once.prepare(host, &mut prepared.catalog);
        Ok(prepared)
    }

    /// Prepares a compiled catalog for the fleet.
    pub(super) fn prepared(&self, mut compiled: Compiled) -> Prepared {
        compiled.catalog.project.clone_from(&self.owner);
        let content = Content { contents: compiled.contents, sources: self.sources.clone() };
        Prepared { catalog: compiled.catalog, content: Arc::new(content) }
    }

    /// Converts the diagnostics into the form of events.
    pub(super) fn mistakes(&self, diagnostics: &Diagnostics) -> Mistakes {
        Mistakes(problems(diagnostics, self.inventory.files()))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Each entry is written in one piece, so the table is valid even if a thread panicked.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Returns the errors among `diagnostics` in the form of a plan.
fn problems(diagnostics: &Diagnostics, files: &Files) -> Vec<Problem> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    errors.map(|diagnostic| problem(diagnostic, files)).collect()
}

fn problem(diagnostic: &Diagnostic, files: &Files) -> Problem {
    let location = diagnostic.labels.first().and_then(|(span, _)| files.location(*span));
    let message = match location {
        Some((file, line, column)) => format!("{} ({file}:{line}:{column})", diagnostic.message),
        None => diagnostic.message.clone(),
    };
    Problem { address: None, message, help: diagnostic.help.clone() }
}

/// The content of one catalog.
struct Content {
    contents: Contents,
    sources: Arc<ProjectSources>,
}

impl ContentStore for Content {
    fn open(&self, digest: Digest) -> io::Result<Option<Opened>> {
        match self.contents.get(&digest) {
            None => Ok(None),
            Some(ContentSource::Bytes(bytes)) => {
                Ok(Some(Opened { length: bytes.len() as u64, bytes: Box::new(Cursor::new(bytes.clone())) }))
            }
            Some(ContentSource::File(path)) => {
                let (file, length) = self.sources.open(path).map_err(io::Error::other)?;
                Ok(Some(Opened { length, bytes: Box::new(file) }))
            }
        }
    }
}
