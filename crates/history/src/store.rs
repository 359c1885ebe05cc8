//! Writes the events of a run into the tables.
//!
//! All rows have the run, the host and the number of the event as their key. So an event that comes twice is stored
//! once. `replay` builds the events again.

use std::collections::{HashMap, VecDeque};
use std::path::Path;

use converge_model::{
    Digest, Event, EventKind, HostName, HostPlan, HostReport, RunId, StepOutcome, StepResult,
};
use serde::Serialize;
use sqlx::SqliteConnection;

use crate::database::{Database, HistoryError};
use crate::spill::Entry;

/// How many bytes of the output of a step or command are kept: the last ones.
const OUTPUT_LIMIT: usize = 64 * 1024;

/// The size of a command's output line, in addition to its text.
const LINE: usize = 64;

/// Replaces the name of the host in a shared body.
pub(crate) const ANY_HOST: &str = "host";

/// The database, and the state of the runs that are being written.
pub(crate) struct Store {
    pub(crate) database: Database,
    runs: HashMap<RunId, OpenRun>,
}

/// A run that is being written.
struct OpenRun {
    id: i64,
    hosts: HashMap<HostName, OpenHost>,
}

/// A host of a run that is being written.
#[derive(Default)]
struct OpenHost {
    id: i64,
    has_begun: bool,
    /// The output lines of the running step, and their length.
    output: VecDeque<String>,
    output_length: usize,
    /// The last output lines of a command, and their length. They are stored when the command has ended.
    command: VecDeque<Entry>,
    command_length: usize,
}

/// An entry, and the rows of its run and its host.
struct Place<'a> {
    entry: &'a Entry,
    run: i64,
    host: &'a mut OpenHost,
}

impl Store {
    /// Opens the database in `folder`.
    pub(crate) async fn open(folder: &Path) -> Result<Self, HistoryError> {
        Ok(Self { database: Database::write(folder).await?, runs: HashMap::new() })
    }

    /// Writes all entries or none. After an error the store cannot be used any more.
    pub(crate) async fn write(&mut self, entries: &[Entry]) -> Result<(), HistoryError> {
        let Self { database, runs } = self;
        let connection = &mut database.connection;
        let written = async {
            sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut *connection).await?;
            for entry in entries {
                write(runs, connection, entry).await?;
            }
            sqlx::raw_sql("COMMIT").execute(&mut *connection).await
        };
        written.await.map(drop).map_err(|source| database.failed(source))
    }
}

async fn write(
    runs: &mut HashMap<RunId, OpenRun>,
    to: &mut SqliteConnection,
    entry: &Entry,
) -> sqlx::Result<()> {
    let Event { run, host, kind, .. } = &entry.event;
    if !runs.contains_key(run) {
        let id = run_row(to, run).await?;
        runs.insert(run.clone(), OpenRun { id, hosts: HashMap::new() });
    }
    let Some(open) = runs.get_mut(run) else { return Ok(()) };
    let Some(name) = host else {
        of_run(to, open.id, entry).await?;
        if matches!(kind, EventKind::RunFinished { .. }) {
            runs.remove(run);
        }
        return Ok(());
    };
    if !open.hosts.contains_key(name) {
        let id = host_row(to, open.id, name, entry.place).await?;
        open.hosts.insert(name.clone(), OpenHost { id, ..OpenHost::default() });
    }
    let Some(host) = open.hosts.get_mut(name) else { return Ok(()) };
    of_host(to, Place { entry, run: open.id, host }).await
}

/// Returns the row of a run. Creates it if needed.
async fn run_row(to: &mut SqliteConnection, run: &RunId) -> sqlx::Result<i64> {
    let known = sqlx::query_scalar("SELECT id FROM runs WHERE run = ?").bind(run.as_str());
    if let Some(id) = known.fetch_optional(&mut *to).await? {
        return Ok(id);
    }
    let new = sqlx::query("INSERT INTO runs (run) VALUES (?)").bind(run.as_str());
    Ok(new.execute(to).await?.last_insert_rowid())
}

/// Returns the row of a host. Creates it, and its row in the run, if needed. A host that has not sent its machine-id
/// yet is taken for the host that last had its name.
async fn host_row(to: &mut SqliteConnection, run: i64, name: &HostName, place: u64) -> sqlx::Result<i64> {
    let known = sqlx::query_scalar(
        "SELECT h.id FROM host_runs r JOIN hosts h ON h.id = r.host WHERE r.run = ? AND h.name = ?",
    );
    if let Some(id) = known.bind(run).bind(name.as_str()).fetch_optional(&mut *to).await? {
        return Ok(id);
    }
    let last = sqlx::query_scalar("SELECT max(id) FROM hosts WHERE name = ?").bind(name.as_str());
    let id = match last.fetch_one(&mut *to).await? {
        Some(id) => id,
        None => new_host(to, name, "").await?,
    };
    let row = sqlx::query("INSERT INTO host_runs (run, host, place) VALUES (?, ?, ?)");
    row.bind(run).bind(id).bind(place as i64).execute(to).await?;
    Ok(id)
}

async fn new_host(to: &mut SqliteConnection, name: &HostName, machine: &str) -> sqlx::Result<i64> {
    let new = sqlx::query("INSERT INTO hosts (name, machine) VALUES (?, ?)").bind(name.as_str());
    Ok(new.bind(machine).execute(to).await?.last_insert_rowid())
}

/// Sets the machine of the host. If the rows of this run belong to another machine's row, moves them.
async fn identify(to: &mut SqliteConnection, at: &mut Place<'_>, machine: &str) -> sqlx::Result<()> {
    let Some(name) = &at.entry.event.host else { return Ok(()) };
    let known = "SELECT id FROM hosts WHERE name = ? AND machine = ?";
    let known = sqlx::query_scalar(known).bind(name.as_str()).bind(machine).fetch_optional(&mut *to).await?;
    let nameless = "UPDATE hosts SET machine = ? WHERE id = ? AND machine = ''";
    let id = match known {
        Some(id) => id,
        None if sqlx::query(nameless)
            .bind(machine)
            .bind(at.host.id)
            .execute(&mut *to)
            .await?
            .rows_affected()
            == 1 =>
        {
            at.host.id
        }
        None => new_host(to, name, machine).await?,
    };
    if id != at.host.id {
        for table in [
            "UPDATE host_runs SET host = ? WHERE run = ? AND host = ?",
            "UPDATE results SET host = ? WHERE run = ? AND host = ?",
            "UPDATE events SET host = ? WHERE run = ? AND host = ?",
        ] {
            sqlx::query(table).bind(id).bind(at.run).bind(at.host.id).execute(&mut *to).await?;
        }
        at.host.id = id;
    }
    Ok(())
}

async fn of_run(to: &mut SqliteConnection, run: i64, entry: &Entry) -> sqlx::Result<()> {
    match &entry.event.kind {
        EventKind::RunStarted { verb, hosts, by, at } => {
            let row = "UPDATE runs SET verb = ?, author = ?, began = ?, hosts = ? WHERE id = ?";
            let row = sqlx::query(row).bind(verb).bind(by).bind(*at as i64).bind(hosts).bind(run);
            row.execute(&mut *to).await?;
        }
        EventKind::RunFinished { exit, took, .. } => {
            let row = sqlx::query("UPDATE runs SET took = ?, exit = ? WHERE id = ?");
            row.bind(*took as i64).bind(exit).bind(run).execute(&mut *to).await?;
        }
        _ => {}
    }
    event_row(to, run, 0, entry).await
}

async fn of_host(to: &mut SqliteConnection, mut at: Place<'_>) -> sqlx::Result<()> {
    match &at.entry.event.kind {
        EventKind::HostState { phase } => begin(to, at, phase).await,
        EventKind::StepStarted { .. } => {
            at.host.forget_output();
            Ok(())
        }
        EventKind::Output { line, .. } => {
            at.host.add_output(line);
            Ok(())
        }
        EventKind::Planned { plan, machine, .. } => {
            if !machine.is_empty() {
                identify(to, &mut at, machine).await?;
            }
            planned(to, at, plan).await
        }
        EventKind::StepFinished { result } => {
            let output = match at.host.take_output() {
                Some(output) => Some(body(to, &output).await?.0),
                None => None,
            };
            result_row(to, &at, at.entry.event.sequence as i64, result, output).await?;
            count_changes(to, &at).await
        }
        EventKind::CommandOutput { line, .. } => {
            at.host.add_command(at.entry, line.len() + LINE);
            Ok(())
        }
        EventKind::HostFinished { report } => {
            command_rows(to, &mut at).await?;
            finished(to, at, report).await
        }
        _ => {
            let host = at.host.id;
            event_row(to, at.run, host, at.entry).await
        }
    }
}

/// The phases of a host are not stored, only when it first became active.
async fn begin(to: &mut SqliteConnection, at: Place<'_>, phase: &str) -> sqlx::Result<()> {
    if phase == "waiting" || at.host.has_begun {
        return Ok(());
    }
    at.host.has_begun = true;
    let row = sqlx::query("UPDATE host_runs SET began = ? WHERE run = ? AND host = ? AND began IS NULL");
    row.bind(at.entry.at as i64).bind(at.run).bind(at.host.id).execute(to).await.map(drop)
}

async fn planned(to: &mut SqliteConnection, at: Place<'_>, plan: &HostPlan) -> sqlx::Result<()> {
    let shared = HostPlan { token: Digest::from_bytes([0; 32]), in_sync: 0, ..plan.clone() };
    let (id, is_new) = body(to, &shared).await?;
    if is_new {
        for step in &plan.steps {
            let row = sqlx::query("INSERT OR IGNORE INTO steps (plan, address) VALUES (?, ?)");
            row.bind(id).bind(step.address.as_str()).execute(&mut *to).await?;
        }
    }
    let row = "UPDATE host_runs SET planned_place = ?, planned_sequence = ?, plan = ?, token = ?, plan_in_sync = ? \
               WHERE run = ? AND host = ?";
    let row = sqlx::query(row).bind(at.entry.place as i64).bind(at.entry.event.sequence as i64).bind(id);
    let row = row.bind(plan.token.as_bytes().as_slice()).bind(plan.in_sync);
    row.bind(at.run).bind(at.host.id).execute(to).await.map(drop)
}

async fn result_row(
    to: &mut SqliteConnection,
    at: &Place<'_>,
    sequence: i64,
    result: &StepResult,
    output: Option<i64>,
) -> sqlx::Result<()> {
    let (body, _) = body(to, &StepResult { resource: 0, took: 0, ..result.clone() }).await?;
    let row = "INSERT OR IGNORE INTO results \
               (run, host, sequence, place, address, verb, outcome, resource, took, body, output) \
               VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)";
    let row = sqlx::query(row).bind(at.run).bind(at.host.id).bind(sequence).bind(at.entry.place as i64);
    let row = row.bind(result.address.as_str()).bind(word(&result.change.verb));
    let row = row.bind(outcome(&result.outcome)).bind(result.resource).bind(result.took as i64);
    row.bind(body).bind(output).execute(to).await.map(drop)
}

async fn finished(to: &mut SqliteConnection, at: Place<'_>, report: &HostReport) -> sqlx::Result<()> {
    if !report.results.is_empty() {
        list(to, &at, &report.results).await?;
    }
    count_changes(to, &at).await?;
    let shared = HostReport {
        host: HostName::new(ANY_HOST).unwrap_or_else(|_| report.host.clone()),
        results: Vec::new(),
        in_sync: 0,
        ..report.clone()
    };
    let (id, _) = body(to, &shared).await?;
    let row = "UPDATE host_runs SET ended_place = ?, ended_sequence = ?, ended = ?, state = ?, report = ?, in_sync = ? \
               WHERE run = ? AND host = ?";
    let row = sqlx::query(row).bind(at.entry.place as i64).bind(at.entry.event.sequence as i64);
    let row = row.bind(at.entry.at as i64).bind(word(&report.state)).bind(id).bind(report.in_sync);
    row.bind(at.run).bind(at.host.id).execute(to).await.map(drop)
}

/// Sets the index in the report for each result of a host. A result that the report does not contain is marked: the
/// report has revised it.
async fn list(to: &mut SqliteConnection, at: &Place<'_>, listed: &[StepResult]) -> sqlx::Result<()> {
    let all = "SELECT r.sequence, r.resource, r.took, b.digest FROM results r JOIN bodies b ON b.id = r.body \
               WHERE r.run = ? AND r.host = ? ORDER BY r.sequence";
    let told: Vec<(i64, u32, i64, Vec<u8>)> =
        sqlx::query_as(all).bind(at.run).bind(at.host.id).fetch_all(&mut *to).await?;
    let mut places: HashMap<i64, i64> = told.iter().map(|(sequence, ..)| (*sequence, -1)).collect();
    for (place, result) in (0..).zip(listed) {
        let digest = digest(&json(&StepResult { resource: 0, took: 0, ..result.clone() })?);
        let same = |(sequence, resource, took, found): &&(i64, u32, i64, Vec<u8>)| {
            (*resource, *took as u64) == (result.resource, result.took)
                && found == digest.as_bytes()
                && places.get(sequence) == Some(&-1)
        };
        let sequence = match told.iter().find(same) {
            Some((sequence, ..)) => *sequence,
            None => {
                result_row(to, at, -1 - place, result, None).await?;
                -1 - place
            }
        };
        places.insert(sequence, place);
    }
    for (sequence, place) in places {
        let row = sqlx::query("UPDATE results SET listed = ? WHERE run = ? AND host = ? AND sequence = ?");
        row.bind(place).bind(at.run).bind(at.host.id).bind(sequence).execute(&mut *to).await?;
    }
    Ok(())
}

async fn count_changes(to: &mut SqliteConnection, at: &Place<'_>) -> sqlx::Result<()> {
    let row = "UPDATE host_runs SET changes = (SELECT count(*) FROM results r WHERE r.run = host_runs.run \
               AND r.host = host_runs.host AND r.outcome IN ('done', 'unforeseen') AND r.listed IS NOT -1) \
               WHERE run = ? AND host = ?";
    sqlx::query(row).bind(at.run).bind(at.host.id).execute(to).await.map(drop)
}

async fn event_row(to: &mut SqliteConnection, run: i64, host: i64, entry: &Entry) -> sqlx::Result<()> {
    let row = "INSERT OR IGNORE INTO events (run, host, sequence, place, event) VALUES (?, ?, ?, ?, ?)";
    let row = sqlx::query(row).bind(run).bind(host).bind(entry.event.sequence as i64);
    row.bind(entry.place as i64).bind(json(&entry.event.kind)?).execute(to).await.map(drop)
}

/// Stores the kept output of a command: one event for each line.
async fn command_rows(to: &mut SqliteConnection, at: &mut Place<'_>) -> sqlx::Result<()> {
    at.host.command_length = 0;
    for entry in std::mem::take(&mut at.host.command) {
        event_row(to, at.run, at.host.id, &entry).await?;
    }
    Ok(())
}

/// Returns the row of a body, and whether it is new.
async fn body(to: &mut SqliteConnection, value: &impl Serialize) -> sqlx::Result<(i64, bool)> {
    let text = json(value)?;
    let digest = digest(&text);
    let known =
        sqlx::query_scalar("SELECT id FROM bodies WHERE digest = ?").bind(digest.as_bytes().as_slice());
    if let Some(id) = known.fetch_optional(&mut *to).await? {
        return Ok((id, false));
    }
    let new = sqlx::query("INSERT INTO bodies (digest, body) VALUES (?, ?)");
    let new = new.bind(digest.as_bytes().as_slice()).bind(text).execute(to).await?;
    Ok((new.last_insert_rowid(), true))
}

fn digest(text: &str) -> Digest {
    Digest::of(text.as_bytes())
}

fn json(value: &impl Serialize) -> sqlx::Result<String> {
    serde_json::to_string(value).map_err(|error| sqlx::Error::Encode(error.into()))
}

/// Returns the model's JSON word for a value without content.
pub(crate) fn word(value: &impl Serialize) -> String {
    match serde_json::to_value(value) {
        Ok(serde_json::Value::String(word)) => word,
        _ => String::new(),
    }
}

const fn outcome(outcome: &StepOutcome) -> &'static str {
    match outcome {
        StepOutcome::Done => "done",
        StepOutcome::AlreadySo => "already-so",
        StepOutcome::Unforeseen => "unforeseen",
        StepOutcome::Failed { .. } => "failed",
        StepOutcome::Skipped { .. } => "skipped",
        StepOutcome::Owed => "owed",
    }
}

impl OpenHost {
    fn add_output(&mut self, line: &str) {
        self.output_length += line.len() + 1;
        self.output.push_back(line.to_owned());
        while self.output_length > OUTPUT_LIMIT
            && let Some(first) = self.output.pop_front()
        {
            self.output_length -= first.len() + 1;
        }
    }

    fn add_command(&mut self, entry: &Entry, length: usize) {
        self.command_length += length;
        self.command.push_back(entry.clone());
        while self.command_length > OUTPUT_LIMIT
            && let Some(first) = self.command.pop_front()
        {
            let EventKind::CommandOutput { line, .. } = &first.event.kind else { continue };
            self.command_length -= line.len() + LINE;
        }
    }

    fn take_output(&mut self) -> Option<VecDeque<String>> {
        self.output_length = 0;
        let output = std::mem::take(&mut self.output);
        (!output.is_empty()).then_some(output)
    }

    fn forget_output(&mut self) {
        self.take_output();
    }
}
