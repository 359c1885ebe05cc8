//! The output of commands that are not runs: answers about the inventory, the history, the controller and the
//! program.

use std::collections::BTreeMap;
use std::path::Path;

use converge_history::RunSummary;
use converge_model::HostState;
use jiff::Timestamp;
use serde::Serialize;

use super::{Diagnostic, Facts, Host, Inventory, Variable, time};

/// One line of such a command.
#[derive(Serialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub(crate) enum Document<'a> {
    Diagnostic(Diagnostic<'a>),
    /// The end of `check`.
    Checked {
        project: Option<&'a str>,
        hosts: Option<usize>,
        errors: usize,
        warnings: usize,
    },
    /// A run in the list of `history`.
    Run(Run<'a>),
    Inventory(Inventory<'a>),
    /// All of `explain HOST`.
    Host {
        #[serde(flatten)]
        host: &'a Host<'a>,
        variables: Vec<Variable<'a>>,
    },
    /// `explain HOST VARIABLE`.
    Variable(Variable<'a>),
    Facts {
        host: &'a str,
        clock_ahead_seconds: i64,
        facts: Box<Facts<'a>>,
    },
    /// A file of `fmt`.
    Formatted {
        path: &'a str,
        changed: bool,
    },
    /// A finding of `doctor`.
    Doctor {
        check: &'a str,
        ok: bool,
        message: &'a str,
    },
    /// A kind or a module in the list of `docs`.
    DocsEntry {
        name: &'a str,
        is: &'static str,
        summary: &'a str,
    },
    /// `docs NAME`.
    DocsPage {
        name: &'a str,
        markdown: &'a str,
    },
    ModuleCase {
        module: &'a str,
        case: &'a str,
        outcome: &'static str,
        report: Option<&'a str>,
    },
    /// A file that a command wrote.
    Written {
        file: &'a Path,
        /// The text that was added at its end. None if the file is new.
        added: Option<&'a str>,
    },
    SecretName {
        name: &'a str,
    },
    /// `secrets get`: the only line with a secret, because the user asked for it.
    Secret {
        name: &'a str,
        value: &'a str,
    },
    Key {
        recipient: &'a str,
        file: &'a Path,
    },
    Completions {
        shell: &'a str,
        script: &'a str,
    },
    Program {
        release: &'a str,
        agents: Vec<Carried<'a>>,
    },
}

/// A run from the history.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Run<'a> {
    run: &'a str,
    verb: &'a str,
    by: &'a str,
    at: Option<Timestamp>,
    hosts: u32,
    states: BTreeMap<HostState, u32>,
    changed_hosts: u32,
    changes: u32,
    took_ms: Option<u64>,
    exit_code: Option<u8>,
}

/// An agent that the program carries.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Carried<'a> {
    pub(crate) system: &'a str,
    pub(crate) machines: &'a [&'a str],
    pub(crate) digest: String,
}

impl<'a> From<&'a RunSummary> for Run<'a> {
    fn from(run: &'a RunSummary) -> Self {
        Self {
            run: run.run.as_str(),
            verb: &run.verb,
            by: &run.by,
            at: time(run.began),
            hosts: run.hosts,
            states: run.states.iter().copied().collect(),
            changed_hosts: run.changed_hosts,
            changes: run.changes,
            took_ms: run.took,
            exit_code: run.exit,
        }
    }
}
