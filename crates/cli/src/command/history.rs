//! `converge history`.

use std::env;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use converge_engine::secrets::Identities;
use converge_engine::{Project, StateFolder, UsedProject};
use converge_history::{Filter, RunSummary};
use converge_model::{HostState, exit};
use jiff::civil::DateTime;
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp};

use crate::arguments::{IdentityArguments, ProjectArguments, duration};
use crate::failure::Failure;
use crate::past::{Past, not_found, unreadable};
use crate::project::{find, loader};
use crate::view::Screen;
use crate::view::human::Detail;
use crate::view::json::{Document, Run};
use crate::view::paint::{FAINT, STRONG, paint};
use crate::view::text::{count, harmless, seconds, table};

/// List earlier runs, or show the output of one run again
///
/// Your state folder keeps each apply, drift, exec and ping and each run of the
/// daemon, with its changes or its output. It does not keep plans. The newest run
/// comes first. With several options for hosts, a run is shown if one host matches
/// all of them. Outside of a project and without an INVENTORY, the runs are those
/// of the project that you last used in this folder.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct HistoryArgs {
    /// Run to show: its id (or the first characters), or `last`; a path is taken as INVENTORY
    run: Option<String>,
    /// Inventory: a .kdl file or a folder; default: as in converge.kdl
    ///
    /// The converge.kdl is the nearest one, in this folder or above it.
    inventory: Option<PathBuf>,
    /// Only runs over this host; `*` matches anything
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// Only runs with changes to this resource or module; `*` matches anything
    #[arg(long, value_name = "ADDRESS")]
    resource: Option<String>,
    /// Only runs in which a host ended as `changed`, `failed`, `unreachable`, `in-sync`, `pending`, …
    #[arg(long, value_name = "STATE", value_parser = state)]
    state: Option<HostState>,
    /// Only runs of this command: `apply`, `drift`, `exec`, `ping`
    #[arg(long, value_name = "VERB")]
    verb: Option<String>,
    /// Only runs since this time: `7d` or `12h` ago, a day (`2026-11-20`), a time (`2026-11-20T08:30`)
    #[arg(long, value_name = "TIME", value_parser = moment)]
    since: Option<Moment>,
    /// Only runs before this time, written as for --since
    #[arg(long, value_name = "TIME", value_parser = moment)]
    until: Option<Moment>,
    /// Maximum number of runs, the newest first; 0 shows all
    #[arg(long, value_name = "N", default_value_t = 50)]
    limit_runs: u32,
}

/// A time as the user writes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Moment {
    Ago(Duration),
    /// In the time zone of this machine.
    At(DateTime),
}

impl HistoryArgs {
    pub(crate) fn run(mut self, screen: Screen) -> Result<u8, Failure> {
        if self.inventory.is_none() && self.run.as_deref().is_some_and(is_path) {
            self.inventory = self.run.take().map(PathBuf::from);
        }
        let mut screen = screen.of_the_past().paged();
        let past = Past::open(&self.owner(&mut screen)?)?;
        match &self.run {
            Some(run) => show(past, run, screen)?,
            None => list(past, &self.filter()?, screen)?,
        }
        Ok(exit::OK)
    }

    /// Returns the project's name in the history: the named project or the one in this folder, otherwise the project
    /// last used from here.
    fn owner(&mut self, screen: &mut Screen) -> Result<String, Failure> {
        let inventory = self.inventory.take();
        let used = inventory.is_none().then(last_used).flatten();
        // No secret is read, so no key is needed.
        let identity = IdentityArguments { files: Vec::new() };
        match (find(&ProjectArguments { inventory, sets: Vec::new(), identity }), used) {
            (Ok(project), _) => Ok(owner(&project)),
            (Err(_), Some(used)) => {
                let inventory = harmless(&used.inventory.display().to_string());
                screen.say(&format!("the history of {inventory}, the project last used from this folder:\n"));
                Ok(used.owner)
            }
            (Err(failure), None) => Err(failure),
        }
    }

    fn filter(&self) -> Result<Filter, Failure> {
        Ok(Filter {
            host: self.host.clone(),
            resource: self.resource.clone(),
            state: self.state,
            verb: self.verb.clone(),
            with_plans: false,
            since: self.since.map(Moment::milliseconds).transpose()?,
            until: self.until.map(Moment::milliseconds).transpose()?,
            limit: (self.limit_runs > 0).then_some(self.limit_runs),
        })
    }
}

impl Moment {
    /// Returns the time in milliseconds since the epoch.
    fn milliseconds(self) -> Result<u64, jiff::Error> {
        let time = match self {
            Self::Ago(ago) => Timestamp::now().checked_sub(SignedDuration::try_from(ago)?)?,
            Self::At(time) => time.to_zoned(TimeZone::system())?.timestamp(),
        };
        Ok(u64::try_from(time.as_millisecond()).unwrap_or_default())
    }
}

/// Whether a text is the path of an inventory. No run id has a dot or a slash.
fn is_path(text: &str) -> bool {
    text.contains(['.', '/'])
}

/// The project last used from the current folder.
fn last_used() -> Option<UsedProject> {
    let here = env::current_dir().ok()?;
    StateFolder::of_user().ok()?.last_used().read(&here)
}

/// Returns the project's name in the history. Mistakes in its files do not matter here.
fn owner(project: &Project) -> String {
    let (loader, _) = loader(project, Arc::new(Identities::only(Vec::new())));
    project.owner(&loader.project_name(&project.entry))
}

fn show(mut past: Past, run: &str, mut screen: Screen) -> Result<(), Failure> {
    let found = past.runtime.block_on(past.history.find(run)).map_err(not_found)?;
    if !screen.is_json() {
        screen.print(&head(&found));
    }
    let replayed = past.history.replay(&found.run, |event| screen.event(&event));
    past.runtime.block_on(replayed).map_err(unreadable)?;
    if found.exit.is_none() {
        screen.cut_off();
    }
    Ok(())
}

/// Returns the line above a run.
fn head(run: &RunSummary) -> String {
    let words = format!("{} of {}, {}", harmless(&run.verb), harmless(&run.by), when(run.began));
    format!("{}  {}\n", paint(STRONG, &run.run), paint(FAINT, words))
}

fn list(mut past: Past, filter: &Filter, mut screen: Screen) -> Result<(), Failure> {
    let runs = past.runtime.block_on(past.history.runs(filter)).map_err(unreadable)?;
    if screen.is_json() {
        runs.iter().for_each(|run| screen.print_json(&Document::Run(Run::from(run))));
    } else if !runs.is_empty() {
        let head = ["when", "run", "what", "by", "hosts", "changes", "took"].map(str::to_owned);
        let is_short = matches!(screen.detail(), Detail::Outline(_));
        let rows: Vec<_> =
            std::iter::once(head.to_vec()).chain(runs.iter().map(|run| row(run, is_short))).collect();
        screen.print(&table(&rows));
    } else {
        screen.say("no such run is recorded\n");
    }
    Ok(())
}

/// `is_short`: for the width of a terminal. `history RUN` accepts the short form of an id.
fn row(run: &RunSummary, is_short: bool) -> Vec<String> {
    let (when, id) = match is_short {
        true => (clock(run.began, "%m-%d %H:%M"), run.run.as_str().rsplit('-').next().unwrap_or_default()),
        false => (when(run.began), run.run.as_str()),
    };
    vec![
        when,
        id.to_owned(),
        harmless(&run.verb),
        harmless(&run.by),
        hosts(run),
        run.changes.to_string(),
        run.took.map_or_else(|| "cut off".to_owned(), seconds),
    ]
}

/// Summarises the hosts: `2 changed, 1 failed`, or `3 hosts` if all are in sync. Hosts that changed and ended in
/// another state are added: `1 failed (1 changed)`.
fn hosts(run: &RunSummary) -> String {
    let ended: u32 = run.states.iter().map(|(_, count)| count).sum();
    let told = run.states.iter().filter(|(state, _)| *state != HostState::InSync);
    let mut told: Vec<_> = told.map(|(state, count)| format!("{count} {}", state.word())).collect();
    if ended < run.hosts {
        told.push(format!("{} unfinished", run.hosts - ended));
    }
    let ended_changed = run.states.iter().find(|(state, _)| *state == HostState::Changed);
    let changed = match run.changed_hosts {
        hosts if hosts > ended_changed.map_or(0, |(_, count)| *count) => {
            format!(" ({hosts} changed)")
        }
        _ => String::new(),
    };
    match told.is_empty() {
        true => format!("{} in sync{changed}", count(run.hosts as usize, "host")),
        false => told.join(", ") + &changed,
    }
}

/// Shows a time in the time zone of this machine.
fn when(milliseconds: u64) -> String {
    clock(milliseconds, "%Y-%m-%d %H:%M:%S")
}

fn clock(milliseconds: u64, form: &str) -> String {
    let time = i64::try_from(milliseconds).ok().and_then(|time| Timestamp::from_millisecond(time).ok());
    let time = time.unwrap_or_default().to_zoned(TimeZone::system());
    time.strftime(form).to_string()
}

fn state(text: &str) -> Result<HostState, String> {
    let words = "changed, done, failed, unreachable, in-sync, pending, unplannable, reverted, stale, interrupted, locked or \
                 not-started";
    serde_json::from_value(text.into()).map_err(|_| format!("must be one of {words}"))
}

fn moment(text: &str) -> Result<Moment, String> {
    if let Ok(ago) = duration(text) {
        return Ok(Moment::Ago(ago));
    }
    let time = text.parse().map(Moment::At);
    time.map_err(|_| {
        "write how long ago, as `7d` or `12h`, or a day or a time, as `2026-11-20T08:30`".to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::RunId;

    #[test]
    fn times_are_so_long_ago_or_of_a_clock() {
        let check = |text: &str, expected: Option<Moment>| assert_eq!(moment(text).ok(), expected, "{text}");
        let at = |hour, minute| Some(Moment::At(jiff::civil::date(2026, 11, 20).at(hour, minute, 0, 0)));
        check("7d", Some(Moment::Ago(Duration::from_secs(7 * 86_400))));
        check("2026-11-20", at(0, 0));
        check("2026-11-20T08:30", at(8, 30));
        check("2026-11-20 08:30:00", at(8, 30));
        check("yesterday", None);
        check("2026-13-20", None);
        assert!(Moment::Ago(Duration::MAX).milliseconds().is_err());
    }

    #[test]
    fn states_are_called_as_in_the_events() {
        assert_eq!(state("in-sync"), Ok(HostState::InSync));
        assert!(state("fine").unwrap_err().contains("unreachable"));
    }

    #[test]
    fn a_row_says_what_stands_out() {
        let run = RunSummary {
            run: RunId::new("20261121T145351-3f9a01bc").unwrap(),
            verb: "apply".to_owned(),
            by: "ada@laptop".to_owned(),
            began: 0,
            hosts: 5,
            states: vec![(HostState::InSync, 2), (HostState::Changed, 1), (HostState::Failed, 1)],
            changed_hosts: 1,
            changes: 7,
            took: None,
            exit: None,
        };
        assert_eq!(hosts(&run), "1 changed, 1 failed, 1 unfinished");
        assert_eq!(row(&run, false)[5..], ["7", "cut off"]);
        assert_eq!(
            (row(&run, false)[1].as_str(), row(&run, true)[1].as_str()),
            (run.run.as_str(), "3f9a01bc")
        );
        let failed = RunSummary { changed_hosts: 2, ..run.clone() };
        assert_eq!(hosts(&failed), "1 changed, 1 failed, 1 unfinished (2 changed)");
        let fine =
            RunSummary { states: vec![(HostState::InSync, 5)], changed_hosts: 0, took: Some(401), ..run };
        assert_eq!((hosts(&fine).as_str(), row(&fine, false)[6].as_str()), ("5 hosts in sync", "0.5 s"));
    }
}
