//! `converge facts`.

use std::sync::Arc;

use clap::Args;
use converge_engine::{FleetHosts, Hosts};
use converge_fleet::HostError;
use converge_model::{Facts, HostName, exit};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::task::JoinSet;

use crate::arguments::FleetArguments;
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;
use crate::view::human::skewed;
use crate::view::json::{self, Diagnostic, Document};
use crate::view::paint::{FAILED, STRONG, paint};
use crate::view::text::harmless;
use crate::visit::fleet;

/// Show the facts of hosts
///
/// Each fact is shown under the name that an inventory uses.
#[derive(Debug, Args)]
pub(crate) struct FactsArgs {
    #[command(flatten)]
    fleet: FleetArguments,
}

impl FactsArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::new(&self.fleet.project, &mut screen)?;
        let names = opened.hosts(&self.fleet.hosts, &mut screen)?;
        let fleet = fleet(&self.fleet.reach)?;
        let hosts = Arc::new(FleetHosts::new(&fleet, &opened.inventory, &opened.project.root, &names));
        let mut answers = Runtime::new()?.block_on(ask(hosts, &names));
        answers.sort_by_key(|(host, ..)| names.iter().position(|name| name == host));
        let mut exit = exit::OK;
        for (host, answer, skew) in answers {
            match answer {
                Ok(facts) => show(&mut screen, &host, &facts, skew),
                Err(error) => {
                    exit = exit::UNREACHABLE;
                    complain(&mut screen, &host, &error);
                }
            }
        }
        Ok(exit)
    }
}

/// Returns the facts of each host, and the seconds by which its clock is ahead.
async fn ask(hosts: Arc<FleetHosts>, names: &[HostName]) -> Vec<(HostName, Result<Facts, HostError>, i64)> {
    let mut asked = JoinSet::new();
    for host in names {
        let (hosts, host) = (hosts.clone(), host.clone());
        asked.spawn(async move {
            let facts = hosts.facts(&host).await;
            let skew = hosts.skew(&host);
            (host, facts, skew)
        });
    }
    let answers = asked.join_all().await;
    if let Some(hosts) = Arc::into_inner(hosts) {
        hosts.close().await;
    }
    answers
}

fn show(screen: &mut Screen, host: &HostName, facts: &Facts, skew: i64) {
    if screen.is_json() {
        let facts = Box::new(json::Facts::from(facts));
        return screen.print_json(&Document::Facts { host: host.as_str(), clock_ahead_seconds: skew, facts });
    }
    if let Some(words) = skewed(skew) {
        screen.warn(&format!("{host}: {words}"), None);
    }
    let mut out = format!("{}\n", paint(STRONG, host));
    if let Ok(value) = serde_json::to_value(facts) {
        lines(&mut out, "facts", &value);
    }
    screen.print(&out);
}

/// Writes one line for each value, with the name for inventories.
fn lines(out: &mut String, name: &str, value: &Value) {
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| lines(out, &format!("{name}.{key}"), value)),
        Value::Array(items) if items.iter().any(|item| item.is_object() || item.is_array()) => {
            let each = items.iter().enumerate();
            each.for_each(|(place, item)| lines(out, &format!("{name}[{place}]"), item));
        }
        Value::Array(items) => {
            let items: Vec<_> = items.iter().map(plain).collect();
            out.push_str(&format!("  {}  {}\n", harmless(name), items.join(", ")));
        }
        value => out.push_str(&format!("  {}  {}\n", harmless(name), plain(value))),
    }
}

fn plain(value: &Value) -> String {
    match value {
        Value::String(text) if text.is_empty() => "\"\"".to_owned(),
        Value::String(text) => harmless(text),
        value => value.to_string(),
    }
}

fn complain(screen: &mut Screen, host: &HostName, error: &HostError) {
    if !screen.is_json() {
        return screen.say(&complaint(host, error));
    }
    let (message, help) = (error.to_string(), error.help());
    let failure = Diagnostic::failure("cli::host", &message, help.as_deref(), exit::UNREACHABLE);
    screen.print_json(&Document::Diagnostic(failure.of_host(host.as_str())));
}

fn complaint(host: &HostName, error: &HostError) -> String {
    let help = error.help().map(|help| format!("  help: {}\n", harmless(&help))).unwrap_or_default();
    format!("{host}: {}: {}\n{help}", paint(FAILED, error.state().word()), harmless(&error.to_string()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn facts_have_the_names_that_an_inventory_reads() {
        let facts = Facts {
            hostname: "a\x1b[2J".to_owned(),
            addresses: vec!["10.0.0.1".to_owned(), "::1".to_owned()],
            disks: vec![converge_model::facts::Disk { name: "sda".to_owned(), ..Default::default() }],
            ..Facts::default()
        };
        let mut out = String::new();
        lines(&mut out, "facts", &serde_json::to_value(facts).unwrap());
        assert!(out.starts_with("  facts.hostname  a\\u{1b}[2J\n  facts.os.id  \"\"\n"), "{out}");
        assert!(out.contains("  facts.disks[0].name  sda\n"), "{out}");
        assert!(out.contains("  facts.addresses  10.0.0.1, ::1\n"), "{out}");
    }
}
