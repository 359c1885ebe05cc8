//! `converge check`.

use std::collections::BTreeSet;
use std::time::Duration;

use clap::Args;
use converge_lang::diagnostic::{Code, Severity};
use converge_lang::{Diagnostic, Diagnostics, Inventory};
use converge_model::exit;
use converge_server::Schedule;

use crate::arguments::ProjectArguments;
use crate::failure::Failure;
use crate::project;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::{count, harmless};

/// Find every mistake that can be found without a host
///
/// Reads all files, fills in all templates, checks the types of all parameters.
/// If a value depends on facts, check tests its syntax and its names, and plan
/// tests the value itself.
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
        let inventory = analysis.inventory();
        diagnostics.extend(inventory.map(schedules).unwrap_or_default());
        screen.diagnostics(&diagnostics, analysis.files());
        let name = inventory.map(|inventory| project::name(&project, inventory));
        let hosts = inventory.map(|inventory| inventory.hosts().len());
        let of = |severity| diagnostics.iter().filter(|found| found.severity == severity).count();
        if screen.is_json() {
            let (errors, warnings) = (of(Severity::Error), of(Severity::Warning));
            let project = name.as_deref();
            screen.print_json(&Document::Checked { project, hosts, errors, warnings });
        } else if let (Some(name), Some(hosts), false) = (name, hosts, diagnostics.has_errors()) {
            screen.print(&format!("{}: {}, no mistakes\n", harmless(&name), count(hosts, "host")));
        }
        if diagnostics.has_errors() { Err(Failure::Drawn) } else { Ok(exit::OK) }
    }
}

/// Checks a project, like the command.
pub(super) fn check(project: ProjectArguments, screen: Screen) -> Result<u8, Failure> {
    CheckArgs { project }.run(screen)
}

/// Reports the policies that have no valid schedule on this machine. Each error is reported once.
fn schedules(inventory: &Inventory) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    let mut told = BTreeSet::new();
    for host in inventory.hosts() {
        // The daemon has a default interval for hosts without one.
        let made = Schedule::new(host, &inventory.drift(host), Duration::from_secs(60));
        if let Some(error) = made.err().filter(|error| told.insert(error.to_string())) {
            let report = Diagnostic::warning(Code::Schedule, format!("the drift policy of {host}: {error}"));
            diagnostics.push(report.help("`converge watch` does not start with this policy"));
        }
    }
    diagnostics
}
