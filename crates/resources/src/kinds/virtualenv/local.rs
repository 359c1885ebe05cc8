//! Distributions from a folder or an archive on the host. No installer notes the source's content, so a receipt does.
//! It also has the digest of the installed file list, which differs if another program replaced the environment.

use std::path::Path;

use super::environment::{Distribution, Environment};
use super::project::{self, State};
use super::sources::{Demand, Direct};
use super::{Found, Wish};
use crate::view::{LookError, Seen, View};

/// The digests of the file lists, by name, for the distributions that `demand` takes from the host.
pub(super) fn records(
    view: &View<'_>,
    wish: &Wish,
    demand: &Demand,
    environment: Option<&Environment>,
) -> Result<Vec<(String, String)>, LookError> {
    let mut records = Vec::new();
    for direct in demand.directs.iter().filter(|direct| direct.state.is_some()) {
        let there = environment.and_then(|environment| environment.distribution(&direct.name));
        let Some(there) = there else { continue };
        if let Seen::Known(digest) = view.digest(&wish.path.join(&there.folder).join("RECORD"))? {
            records.push((direct.name.clone(), digest.to_string()));
        }
    }
    Ok(records)
}

/// The lines of a receipt: name, state of the source, and digest of the installed file list. The source is read
/// again, because a build may write into it.
pub(super) fn note(
    view: &View<'_>,
    wish: &Wish,
    demand: &Demand,
    environment: &Environment,
) -> Result<String, LookError> {
    let records = records(view, wish, demand, Some(environment))?;
    let mut text = String::new();
    for (name, record) in records {
        let direct = demand.directs.iter().find(|direct| direct.name == name);
        let state =
            direct.map(|direct| project::state(view, &direct.from, &wish.path)).transpose()?.flatten();
        text.extend(state.map(|state| line(&name, &state, &record) + "\n"));
    }
    Ok(text)
}

fn line(name: &str, state: &State, record: &str) -> String {
    format!("{name} {} {record}", state.text())
}

impl Direct {
    /// Whether an installed distribution comes from this source.
    pub(super) fn is(&self, there: &Distribution, base: &Path) -> bool {
        there.origin.as_ref().is_some_and(|origin| self.from.is(origin, base))
    }

    /// Whether the source is unchanged since the installation: by the installer's hash, else by the receipt.
    pub(super) fn is_current(&self, there: &Distribution, found: &Found) -> bool {
        let noted_hash = there.origin.as_ref().and_then(|origin| origin.sha256());
        match (&self.state, noted_hash) {
            (None, _) => true,
            (Some(State::Archive(now)), Some(then)) => now.eq_ignore_ascii_case(then),
            (Some(state), _) => {
                let record = found.records.iter().find(|(of, _)| *of == self.name).map(|(_, record)| record);
                let receipt = found.receipt.as_ref().map_or("", |receipt| &receipt.text);
                let line = record.map(|record| line(&self.name, state, record));
                line.is_some_and(|line| receipt.lines().any(|noted| noted == line))
            }
        }
    }
}
