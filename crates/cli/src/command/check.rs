//! `converge check`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use converge_lang::diagnostic::{Code, Files, Severity};
use converge_lang::{Diagnostic, Diagnostics, Inventory};
use converge_model::exit;
use converge_server::Schedule;
use serde::Serialize;

use crate::arguments::ProjectArguments;
use crate::failure::Failure;
use crate::project;
use crate::view::Screen;
use crate::view::text::{count, harmless};

/// Find every mistake that can be found without a host
///
/// Reads all files, fills in all templates, checks the types of all parameters.
/// If a value depends on facts, check looks at its form, and plan at the value.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct CheckArgs {
    #[command(flatten)]
    project: ProjectArguments,
}

impl CheckArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let (project, analysis) = project::analyse(&self.project)?;
        let mut diagnostics = analysis.diagnostics().clone();
        let Some(inventory) = analysis.inventory() else {
            return show(&diagnostics, analysis.files(), &mut screen);
        };
        diagnostics.extend(schedules(inventory));
        show(&diagnostics, analysis.files(), &mut screen)?;
        if !screen.is_json() {
            let hosts = count(inventory.hosts().len(), "host");
            let name = project::name(&project, inventory);
            screen.print(&format!("{}: {hosts}, no mistakes\n", harmless(&name)));
        }
        Ok(exit::OK)
    }
}

/// Checks a project as the command does.
pub(super) fn check(project: ProjectArguments, screen: Screen) -> Result<u8, Failure> {
    CheckArgs { project }.run(screen)
}

/// Shows what was found; a failure where there is a mistake among it.
fn show(diagnostics: &Diagnostics, files: &Files, screen: &mut Screen) -> Result<u8, Failure> {
    if screen.is_json() {
        diagnostics.sorted().iter().for_each(|diagnostic| screen.print_json(&line(diagnostic, files)));
    } else {
        screen.diagnostics(diagnostics, files);
    }
    if diagnostics.has_errors() { Err(Failure::Drawn) } else { Ok(exit::OK) }
}

/// The policies that make no schedule on this machine: each is told once.
fn schedules(inventory: &Inventory) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let mut told = BTreeSet::new();
    for host in inventory.hosts() {
        // What the inventory leaves open is given to the daemon.
        let made = Schedule::new(host, &inventory.drift(host), Duration::from_secs(60));
        if let Some(error) = made.err().filter(|error| told.insert(error.to_string())) {
            let report = Diagnostic::warning(Code::Schedule, format!("{error}, by the policy of {host}"));
            diagnostics.push(report.help("`converge watch` does not begin with it"));
        }
    }
    diagnostics
}

/// A diagnostic for scripts.
#[derive(Serialize)]
struct Line<'a> {
    code: &'a str,
    severity: &'static str,
    message: &'a str,
    file: Option<&'a str>,
    line: Option<usize>,
    column: Option<usize>,
    help: Option<&'a str>,
}

fn line<'a>(diagnostic: &'a Diagnostic, files: &'a Files) -> Line<'a> {
    let location = diagnostic.labels.first().and_then(|(span, _)| files.location(*span));
    Line {
        code: diagnostic.code.as_str(),
        severity: match diagnostic.severity {
            Severity::Note => "note",
            Severity::Warning => "warning",
            Severity::Error => "error",
        },
        message: &diagnostic.message,
        file: location.map(|(file, ..)| file),
        line: location.map(|(_, line, _)| line),
        column: location.map(|(.., column)| column),
        help: diagnostic.help.as_deref(),
    }
}
