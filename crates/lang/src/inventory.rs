//! The inventory: what a project's files say of all hosts, before a host has been reached.

use std::sync::Arc;

use converge_model::catalog::DriftMode;
use converge_model::{HostName, KindInfo};
use serde::Serialize;

use crate::compile::{Compiled, FactsOf, Selection};
use crate::connection::{Connection, DriftPolicy};
use crate::diagnostic::{Diagnostics, Files};
use crate::explain::Explanation;
use crate::module::ModuleInfo;
use crate::rollout::Rollout;
use crate::sources::{Builtin, Sources};

/// What a project is read with.
#[derive(Clone)]
pub struct Loader {
    /// Where its files are.
    pub sources: Arc<dyn Sources>,
    /// The kinds of resources.
    pub kinds: Vec<&'static dyn KindInfo>,
    /// The modules that come with Converge.
    pub builtins: Vec<Builtin>,
}

impl Loader {
    /// Reads the inventory at `entry`: a file, a folder whose `converge.kdl` names one, or a folder of `.kdl` files.
    /// `sets` are the `--set` options, name (dotted for a key of a map) and value.
    ///
    /// The diagnostics hold every mistake that can be seen without looking at what a host is made of; there is an
    /// inventory unless one of them is an error.
    pub fn load(&self, entry: &str, sets: &[(String, String)]) -> Loaded {
        let _ = (entry, sets);
        Loaded { inventory: None, diagnostics: Diagnostics::default(), files: Arc::default() }
    }

    /// All modules, by name: the built-in ones and those below the project's `modules/`.
    pub fn modules(&self) -> (Vec<ModuleInfo>, Diagnostics) {
        (Vec::new(), Diagnostics::default())
    }
}

/// What came of reading a project.
pub struct Loaded {
    /// The inventory; none where a mistake is in the way.
    pub inventory: Option<Inventory>,
    /// Every mistake, and every note.
    pub diagnostics: Diagnostics,
    /// The files that the diagnostics (also those of the inventory's own methods) point into.
    pub files: Arc<Files>,
}

/// What the files of a project say.
pub struct Inventory {
    loader: Loader,
    files: Arc<Files>,
}

impl Inventory {
    /// The files that its diagnostics point into.
    pub fn files(&self) -> &Arc<Files> {
        &self.files
    }

    /// The name of the project: `project` in `converge.kdl`, else the path of the inventory.
    pub fn project(&self) -> &str {
        ""
    }

    /// Every host, in the order in which they are defined.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &HostName> {
        [].into_iter()
    }

    /// Every group with its hosts, those of groups inside it included.
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&HostName>)> {
        [].into_iter()
    }

    /// The hosts that `patterns` (as after `--limit`: commas separate, `!` excludes) match, in the order of the
    /// inventory. No match is an error.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<HostName>, Diagnostics> {
        let _ = patterns;
        Ok(Vec::new())
    }

    /// How to reach a host.
    pub fn connection(&self, host: &HostName) -> Connection {
        let _ = host;
        Connection::default()
    }

    /// What the daemon does about a host.
    pub fn drift(&self, host: &HostName) -> DriftPolicy {
        let _ = host;
        DriftPolicy { mode: DriftMode::Report, ..DriftPolicy::default() }
    }

    /// The hosts that must be done before `host` may start (`after=` on `on`).
    pub fn waits_for(&self, host: &HostName) -> Vec<HostName> {
        let _ = host;
        Vec::new()
    }

    /// The rollouts, in the order written. No host is in two.
    pub fn rollouts(&self) -> &[Rollout] {
        &[]
    }

    /// Every definition of a variable of a host and which one won. An unknown name is an error with the nearest one.
    pub fn explain(&self, host: &HostName, variable: &str) -> Result<Explanation, Diagnostics> {
        let _ = (host, variable);
        Err(Diagnostics::default())
    }

    /// The inventory as data, for `converge inventory`.
    pub fn describe(&self) -> Description {
        Description { project: String::new(), hosts: Vec::new(), groups: Vec::new(), rollouts: Vec::new() }
    }

    /// Everything that can be known without a host: every mistake in all files, and the notes.
    pub fn check(&self) -> Diagnostics {
        Diagnostics::default()
    }

    /// The catalog of `host`. The diagnostics are those of this host alone; there is a catalog unless one is an error.
    ///
    /// Where `facts` has none of the host itself, what depends on them is left out; where it has none of another host
    /// that the catalog reads, that is an error which names it.
    pub fn compile(
        &self,
        host: &HostName,
        facts: &Arc<dyn FactsOf>,
        selection: &Selection,
    ) -> (Option<Compiled>, Diagnostics) {
        let _ = (host, facts, selection, &self.loader);
        (None, Diagnostics::default())
    }

    /// The files that were read so far, with their digests: what a saved plan holds of its inputs.
    pub fn inputs(&self) -> Vec<(String, converge_model::Digest)> {
        Vec::new()
    }
}

/// An inventory as data. Its JSON form is what `converge inventory --json` prints.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The project.
    pub project: String,
    /// The hosts.
    pub hosts: Vec<HostDescription>,
    /// The groups.
    pub groups: Vec<GroupDescription>,
    /// The rollouts.
    pub rollouts: Vec<Rollout>,
}

/// A host as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostDescription {
    /// Its name.
    pub name: HostName,
    /// The groups that it is in, from the innermost outwards.
    pub groups: Vec<String>,
    /// How to reach it.
    pub connection: Connection,
    /// What the daemon does about it.
    pub drift: DriftPolicy,
    /// The hosts that must be done before it.
    pub after: Vec<HostName>,
    /// Where it is defined: file and line.
    pub place: String,
}

/// A group as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Its hosts, those of inner groups included.
    pub hosts: Vec<HostName>,
    /// The groups directly inside it.
    pub groups: Vec<String>,
}
