//! Replays a run: builds its events from the tables, as they were sent, except for most phases of its hosts.
//!
//! Of the phases only `waiting` is replayed, because it gives the order of the hosts. Of a step's output the last 64
//! KiB are replayed.

use converge_model::event::VERSION;
use converge_model::{Digest, Event, EventKind, HostName, HostPlan, HostReport, RunId, StepResult};

use crate::database::{Database, HistoryError};
use crate::query::History;

/// How many events are read at once.
const PAGE: i64 = 500;

/// The SQL for the parts of a run, by place: the place, the type of part, the host, the event's number, a body, and
/// the host's own values.
const PARTS: &str = "
    SELECT part.*, h.name, h.machine FROM (
        SELECT place, 'host' AS part, host, 0 AS sequence, NULL AS body, NULL AS token, 0 AS number, 0 AS took, NULL AS output
            FROM host_runs WHERE run = ?1 AND place IS NOT planned_place AND place IS NOT ended_place
        UNION ALL
        SELECT place, 'event', host, sequence, event, NULL, 0, 0, NULL FROM events WHERE run = ?1
        UNION ALL
        SELECT planned_place, 'plan', host, planned_sequence, p.body, token, plan_in_sync, 0, NULL
            FROM host_runs JOIN bodies p ON p.id = plan WHERE run = ?1 AND planned_place IS NOT NULL
        UNION ALL
        SELECT place, 'result', host, sequence, b.body, NULL, resource, took, o.body
            FROM results JOIN bodies b ON b.id = results.body LEFT JOIN bodies o ON o.id = output
            WHERE run = ?1 AND sequence >= 0
        UNION ALL
        SELECT ended_place, 'report', host, ended_sequence, b.body, NULL, in_sync, 0, NULL
            FROM host_runs JOIN bodies b ON b.id = report WHERE run = ?1 AND ended_place IS NOT NULL
    ) part LEFT JOIN hosts h ON h.id = host WHERE place > ?2 ORDER BY place LIMIT ?3";

type PartRow = (
    i64,
    String,
    i64,
    i64,
    Option<String>,
    Option<Vec<u8>>,
    i64,
    i64,
    Option<String>,
    Option<String>,
    Option<String>,
);

/// A row at one place of a run.
struct Part {
    place: i64,
    part: String,
    host: i64,
    sequence: i64,
    body: Option<String>,
    token: Option<Vec<u8>>,
    number: i64,
    took: i64,
    output: Option<String>,
    name: Option<String>,
    machine: Option<String>,
}

impl From<PartRow> for Part {
    fn from(row: PartRow) -> Self {
        let (place, part, host, sequence, body, token, number, took, output, name, machine) = row;
        Self { place, part, host, sequence, body, token, number, took, output, name, machine }
    }
}

impl History {
    /// Calls `tell` with each event of `run`, in the original order.
    pub async fn replay(&mut self, run: &RunId, mut tell: impl FnMut(Event)) -> Result<(), HistoryError> {
        let Some(database) = &mut self.database else { return Ok(()) };
        let Some(row) = row(database, run).await? else { return Ok(()) };
        let mut after = -1;
        loop {
            let page = sqlx::query_as::<_, PartRow>(PARTS).bind(row).bind(after).bind(PAGE);
            let page = page.fetch_all(&mut database.connection).await;
            let page = page.map_err(|error| database.failed(error))?;
            let page: Vec<Part> = page.into_iter().map(Part::from).collect();
            let Some(last) = page.last() else { return Ok(()) };
            after = last.place;
            for part in page {
                for event in events(database, run, row, part).await? {
                    tell(event);
                }
            }
        }
    }
}

async fn row(database: &mut Database, run: &RunId) -> Result<Option<i64>, HistoryError> {
    let row = sqlx::query_scalar("SELECT id FROM runs WHERE run = ?").bind(run.as_str());
    row.fetch_optional(&mut database.connection).await.map_err(|error| database.failed(error))
}

/// Returns the events of a part: one event, or a step's output and its end.
async fn events(
    database: &mut Database,
    run: &RunId,
    row: i64,
    part: Part,
) -> Result<Vec<Event>, HistoryError> {
    let name = part.name.clone().map(HostName::new).transpose().map_err(|error| database.damaged(error))?;
    let event = |sequence: i64, kind: EventKind| Event {
        version: VERSION,
        run: run.clone(),
        host: name.clone(),
        sequence: sequence as u64,
        kind,
    };
    let kind = match part.part.as_str() {
        "host" => EventKind::HostState { phase: "waiting".to_owned() },
        "event" => read(database, part.body.as_deref())?,
        "plan" => {
            let token = part.token.and_then(|token| Some(Digest::from_bytes(token.try_into().ok()?)));
            let token = token.ok_or_else(|| database.damaged("a token of another length"))?;
            let shared: HostPlan = read(database, part.body.as_deref())?;
            let plan = HostPlan { token, in_sync: part.number as u32, ..shared };
            EventKind::Planned { plan, machine: part.machine.unwrap_or_default(), skew: 0 }
        }
        "result" => {
            let result = result(database, part.body.as_deref(), part.number, part.took)?;
            let lines: Vec<String> = match &part.output {
                Some(output) => read(database, Some(output))?,
                None => Vec::new(),
            };
            let first = part.sequence - lines.len() as i64;
            let line = |(sequence, line)| {
                event(sequence, EventKind::Output { address: result.address.clone(), line })
            };
            let mut told: Vec<Event> = (first..).zip(lines).map(line).collect();
            told.push(event(part.sequence, EventKind::StepFinished { result }));
            return Ok(told);
        }
        _ => {
            let shared: HostReport = read(database, part.body.as_deref())?;
            let results = listed(database, row, part.host).await?;
            let host = name.clone().unwrap_or_else(|| shared.host.clone());
            let report = HostReport { host, results, in_sync: part.number as u32, ..shared };
            EventKind::HostFinished { report }
        }
    };
    Ok(vec![event(part.sequence, kind)])
}

/// Returns the results in the report of a host.
async fn listed(database: &mut Database, run: i64, host: i64) -> Result<Vec<StepResult>, HistoryError> {
    let rows = "SELECT b.body, resource, took FROM results r JOIN bodies b ON b.id = r.body \
                WHERE run = ? AND host = ? AND listed >= 0 ORDER BY listed";
    let rows = sqlx::query_as::<_, (String, i64, i64)>(rows).bind(run).bind(host);
    let rows = rows.fetch_all(&mut database.connection).await.map_err(|error| database.failed(error))?;
    rows.iter().map(|(body, resource, took)| result(database, Some(body), *resource, *took)).collect()
}

fn result(
    database: &Database,
    body: Option<&str>,
    resource: i64,
    took: i64,
) -> Result<StepResult, HistoryError> {
    let shared: StepResult = read(database, body)?;
    Ok(StepResult { resource: resource as u32, took: took as u64, ..shared })
}

fn read<T: serde::de::DeserializeOwned>(database: &Database, body: Option<&str>) -> Result<T, HistoryError> {
    serde_json::from_str(body.unwrap_or_default()).map_err(|error| database.damaged(error))
}
