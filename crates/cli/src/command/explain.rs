//! `converge explain`.

use std::fmt::Write as _;

use clap::Args;
use converge_lang::Explanation;
use converge_model::{HostName, exit};

use crate::arguments::ProjectArguments;
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;
use crate::view::paint::{FAINT, STRONG, paint};
use crate::view::text::harmless;

/// Show where the value of a variable comes from
///
/// Every definition is listed, the nearest first; those in force are marked with `*`.
#[derive(Debug, Args)]
pub(crate) struct ExplainArgs {
    /// The host whose variable it is
    host: String,
    /// The variable; dots reach into maps
    variable: String,
    #[command(flatten)]
    project: ProjectArguments,
}

impl ExplainArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::readable(&self.project, &mut screen)?;
        let host = self.known_host(&opened, &mut screen)?;
        let explanation = opened.inventory.explain(&host, &self.variable).map_err(|diagnostics| {
            screen.diagnostics(&diagnostics, opened.inventory.files());
            Failure::Drawn
        })?;
        match screen.is_json() {
            true => screen.print_json(&explanation),
            false => screen.print(&table(&host, &explanation)),
        }
        Ok(exit::OK)
    }

    /// The host that is meant: one, by its name.
    fn known_host(&self, opened: &Opened, screen: &mut Screen) -> Result<HostName, Failure> {
        let selected = opened.inventory.select(std::slice::from_ref(&self.host)).map_err(|diagnostics| {
            screen.diagnostics(&diagnostics, opened.inventory.files());
            Failure::Drawn
        })?;
        match <[HostName; 1]>::try_from(selected) {
            Ok([host]) => Ok(host),
            Err(hosts) => Err(Failure::new(format!("{} is {} hosts, not one", self.host, hosts.len()))),
        }
    }
}

fn table(host: &HostName, explanation: &Explanation) -> String {
    let value = explanation.value.as_deref().map_or("(depends on facts)".to_owned(), harmless);
    let mut out = format!("{} = {value}   on {host}\n", paint(STRONG, harmless(&explanation.variable)));
    let rows: Vec<[String; 4]> = explanation
        .definitions
        .iter()
        .map(|definition| {
            let file = definition.file.as_ref().map(|file| format!("{}:{}", harmless(file), definition.line));
            [
                harmless(&definition.key),
                harmless(&definition.level),
                file.unwrap_or_default(),
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
    use converge_lang::Definition;

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
