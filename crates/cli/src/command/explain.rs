//! `converge explain`.

use std::fmt::Write as _;

use clap::Args;
use converge_lang::inventory::HostDescription;
use converge_lang::{Definition, Explanation, Inventory};
use converge_model::{HostName, exit};

use crate::arguments::ProjectArguments;
use crate::command::inventory::reached;
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::json::{self, Document};
use crate::view::paint::{FAINT, STRONG, paint};
use crate::view::text::{cut, harmless};
use crate::view::{self, Screen};

/// Show where the value of a variable comes from, or the settings of a host
///
/// With a variable, lists its definitions, the one with the highest precedence
/// first; `*` marks the definitions that apply. Without a variable, lists the
/// groups of the host, its connection and all its variables.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExplainArgs {
    /// Name of the host
    host: String,
    /// Variable; `limits.open_files` is a value in a map; a path (`.`, `site.kdl`) is taken as INVENTORY
    variable: Option<String>,
    #[command(flatten)]
    project: ProjectArguments,
}

impl ExplainArgs {
    pub(crate) fn run(mut self, mut screen: Screen) -> Result<u8, Failure> {
        if self.project.inventory.is_none() {
            self.project.inventory = self.variable.take_if(|word| is_path(word)).map(Into::into);
        }
        let opened = Opened::readable(&self.project, &mut screen)?;
        let host = self.known_host(&opened, &mut screen)?;
        match &self.variable {
            Some(variable) => explain_variable(&opened, &host, variable, &mut screen),
            None => explain_host(&opened, &host, &mut screen),
        }
    }

    /// Returns the host with this name. The name must select exactly one.
    fn known_host(&self, opened: &Opened, screen: &mut Screen) -> Result<HostName, Failure> {
        let selected = opened.inventory.select(std::slice::from_ref(&self.host)).map_err(|diagnostics| {
            screen.diagnostics(&diagnostics, opened.inventory.files());
            Failure::Drawn
        })?;
        match <[HostName; 1]>::try_from(selected) {
            Ok([host]) => Ok(host),
            Err(hosts) => {
                Err(Failure::new(format!("{} must be one host, found {} hosts", self.host, hosts.len())))
            }
        }
    }
}

/// Whether the word for the variable is an inventory. No variable has such a name.
fn is_path(word: &str) -> bool {
    word.contains('/') || matches!(word, "." | "..") || word.ends_with(".kdl")
}

fn explain_variable(
    opened: &Opened,
    host: &HostName,
    variable: &str,
    screen: &mut Screen,
) -> Result<u8, Failure> {
    let explanation = opened.inventory.explain(host, variable).map_err(|diagnostics| {
        screen.diagnostics(&diagnostics, opened.inventory.files());
        Failure::Drawn
    })?;
    match screen.is_json() {
        true => {
            let variable = json::Variable::new(host.as_str(), &explanation);
            screen.print_json(&Document::Variable(variable));
        }
        false => screen.print(&table(host, &explanation)),
    }
    Ok(exit::OK)
}

/// Shows everything about a host. If a variable has no value, that is a mistake, and the others are still shown.
fn explain_host(opened: &Opened, host: &HostName, screen: &mut Screen) -> Result<u8, Failure> {
    let inventory = &opened.inventory;
    let described = inventory.describe().hosts.into_iter().find(|described| described.name == *host);
    let host = described.ok_or_else(|| Failure::new(format!("the inventory has no host {host}")))?;
    let (variables, mistakes) = inventory.explain_all(&host.name);
    match screen.is_json() {
        true => {
            let host = json::Host::from(&host);
            let variables = host.variables(&variables);
            screen.print_json(&Document::Host { host: &host, variables });
        }
        false => screen.print(&host_page(inventory, &host, &variables)),
    }
    match mistakes.has_errors() {
        true => {
            screen.diagnostics(&mistakes, inventory.files());
            Err(Failure::Drawn)
        }
        false => Ok(exit::OK),
    }
}

fn host_page(inventory: &Inventory, host: &HostDescription, variables: &[Explanation]) -> String {
    let groups: Vec<_> = host.groups.iter().map(|group| harmless(group)).collect();
    let groups = if groups.is_empty() { "(none)".to_owned() } else { groups.join(", ") };
    let key = host.connection.key.as_ref().map(|key| format!(", key {}", harmless(key))).unwrap_or_default();
    let mut out = format!("{}  {}\n", paint(STRONG, &host.name), paint(FAINT, harmless(&host.place)));
    let _ = writeln!(out, "  groups      {groups}\n  connection  {}{key}", reached(host));
    let rows = variables.iter().flat_map(|variable| in_force(inventory, &host.name, variable));
    let rows = view::text::table(&rows.collect::<Vec<_>>());
    out.push_str(if rows.is_empty() { "  variables   (none)\n" } else { "  variables\n" });
    rows.lines().for_each(|row| {
        let _ = writeln!(out, "    {row}");
    });
    out
}

/// Returns the definitions of a variable that are in force, one row each. A map has one for each key.
fn in_force(inventory: &Inventory, host: &HostName, variable: &Explanation) -> Vec<Vec<String>> {
    let value = |of: &Definition| match of.key == variable.variable {
        true => shown(variable.value.as_deref()),
        // A key with a dot cannot be looked up, so its written form is shown.
        false => match inventory.explain(host, &of.key) {
            Ok(of_key) => shown(of_key.value.as_deref()),
            Err(_) => shown(Some(&of.written)),
        },
    };
    let row = |of: &Definition| vec![harmless(&of.key), harmless(&of.level), place(of), value(of)];
    let rows: Vec<_> = variable.definitions.iter().filter(|definition| definition.wins).map(row).collect();
    let of_empty_map = || vec![harmless(&variable.variable), String::new(), String::new(), "{}".to_owned()];
    if rows.is_empty() { vec![of_empty_map()] } else { rows }
}

/// Shortens a value for the list of all variables of a host.
fn shown(value: Option<&str>) -> String {
    cut(&harmless(value.unwrap_or(OPEN)), LONGEST)
}

/// Returns the place of a definition. Empty for `--set`.
fn place(definition: &Definition) -> String {
    let file = definition.file.as_ref().map(|file| format!("{}:{}", harmless(file), definition.line));
    file.unwrap_or_default()
}

/// Shown for a value that depends on the host's facts.
const OPEN: &str = "(depends on facts)";

/// The most characters of a value in the list of all variables of a host.
const LONGEST: usize = 60;

fn table(host: &HostName, explanation: &Explanation) -> String {
    let value = explanation.value.as_deref().map_or(OPEN.to_owned(), harmless);
    let mut out = format!("{} = {value}   on {host}\n", paint(STRONG, harmless(&explanation.variable)));
    let rows: Vec<[String; 4]> = explanation
        .definitions
        .iter()
        .map(|definition| {
            [
                harmless(&definition.key),
                harmless(&definition.level),
                place(definition),
                harmless(&definition.written),
            ]
        })
        .collect();
    let width = |column: usize| rows.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let (keys, levels, files) = (width(0), width(1), width(2));
    for (row, definition) in rows.iter().zip(&explanation.definitions) {
        let mark = if definition.wins { "*" } else { " " };
        let line = format!("{:keys$}  {:levels$}  {:files$}  {}", row[0], row[1], row[2], row[3]);
        let line = if definition.wins { line } else { paint(FAINT, line) };
        let _ = writeln!(out, "  {mark} {line}");
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_in_force_is_marked() {
        let definition = |level: &str, file: Option<&str>, written: &str, wins| Definition {
            key: "workers".to_owned(),
            level: level.to_owned(),
            file: file.map(str::to_owned),
            line: 3,
            written: written.to_owned(),
            wins,
        };
        let explanation = Explanation {
            variable: "workers".to_owned(),
            value: Some("8".to_owned()),
            definitions: vec![
                definition("--set", None, "8", true),
                definition("group web", Some("production.kdl"), "4", false),
            ],
        };
        let text = table(&HostName::new("web1").unwrap(), &explanation);
        insta::assert_snapshot!(anstream::adapter::strip_str(&text).to_string(), @r"
        workers = 8   on web1
          * workers  --set                        8
            workers  group web  production.kdl:3  4
        ");
    }
}
