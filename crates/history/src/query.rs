//! The questions that a history answers.
//!
//! `replay` returns the events of a run. Nothing here writes.

use std::collections::BTreeMap;
use std::path::Path;

use converge_model::{Address, HostName, HostState, RunId};
use sqlx::{QueryBuilder, Sqlite};

use crate::database::{Database, HistoryError};
use crate::store::word;

/// The history of a project, for reading.
pub struct History {
    /// None if nothing was recorded yet.
    pub(crate) database: Option<Database>,
}

/// Selects runs. A run must satisfy all conditions. If several conditions are about hosts, one host must satisfy them
/// all.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Runs over a host with this name. `*` stands for any characters and `?` for one character.
    pub host: Option<String>,
    /// Runs in which this resource, or a resource of this module, should change. `*` and `?` as above.
    pub resource: Option<String>,
    /// Runs in which a host ended in this state.
    pub state: Option<HostState>,
    /// Runs of this verb: `apply`, `drift`, `exec`, `ping`.
    pub verb: Option<String>,
    /// Runs with catalogs: neither `exec` nor `ping`.
    pub with_plans: bool,
    /// Runs that began at this time or later, in milliseconds since the epoch.
    pub since: Option<u64>,
    /// Runs that began before this time, in milliseconds since the epoch.
    pub until: Option<u64>,
    /// The most runs to return: the newest ones.
    pub limit: Option<u32>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its identity.
    pub run: RunId,
    /// The verb: `apply`, `drift`, `exec`, `ping`.
    pub verb: String,
    /// The user and the machine that started the run.
    pub by: String,
    /// When it began, in milliseconds since the epoch.
    pub began: u64,
    /// How many hosts were selected.
    pub hosts: u32,
    /// How many of the hosts ended in each state. Hosts that did not end are not counted.
    pub states: Vec<(HostState, u32)>,
    /// How many hosts were changed by a step, in any state.
    pub changed_hosts: u32,
    /// How many steps changed something.
    pub changes: u32,
    /// Its duration in milliseconds. None if it was cut off or still runs.
    pub took: Option<u64>,
    /// Its exit code.
    pub exit: Option<u8>,
}

/// The result of a host in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSummary {
    /// Its name.
    pub host: HostName,
    /// The identity of its installation. Empty if it is not known.
    pub machine: String,
    /// The run.
    pub run: RunId,
    /// The verb of the run.
    pub verb: String,
    /// When it began, in milliseconds since the epoch.
    pub began: u64,
    /// How the host ended. None if the run was cut off before.
    pub state: Option<HostState>,
    /// How many steps changed something.
    pub changes: u32,
    /// How many milliseconds it was active, including the wait for its turn to act.
    pub took: Option<u64>,
}

/// How often a resource was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Its host.
    pub host: HostName,
    /// Its address.
    pub address: Address,
    /// The number of steps that changed it. Notified actions do not count.
    pub count: u32,
    /// When the last of these runs began, in milliseconds since the epoch.
    pub last: u64,
}

/// Why no single run was found.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// No run has this id.
    #[error("no run begins with `{0}`")]
    Unknown(String),
    /// The history has no runs.
    #[error("no run was recorded yet")]
    Empty,
    /// Several runs match.
    #[error("several runs begin with `{beginning}`: {}", .runs.iter().map(RunId::as_str).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// The requested beginning of an id.
        beginning: String,
        /// Some of the runs, the newest first.
        runs: Vec<RunId>,
    },
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The columns of [`RunSummary`]. The states of its hosts come last.
type RunRow = (String, String, String, i64, u32, u32, u32, Option<i64>, Option<u8>, String);

impl History {
    /// Opens the history in `folder`. If nothing was recorded yet, it is empty, and no file is created.
    pub async fn open(folder: &Path) -> Result<Self, HistoryError> {
        Ok(Self { database: Database::read(folder).await? })
    }

    /// Returns the runs, the newest first.
    pub async fn runs(&mut self, filter: &Filter) -> Result<Vec<RunSummary>, HistoryError> {
        let Some(database) = &mut self.database else { return Ok(Vec::new()) };
        let rows = query(filter).build_query_as::<RunRow>().fetch_all(&mut database.connection).await;
        let rows = rows.map_err(|error| database.failed(error))?;
        rows.into_iter().map(|row| run(database, row)).collect()
    }

    /// Returns the run whose id begins with `beginning`, or the newest run for `last`.
    pub async fn find(&mut self, beginning: &str) -> Result<RunSummary, FindError> {
        if beginning == "last" {
            return self.last(Filter::default()).await;
        }
        let mut found = self.beginning_with(beginning).await?;
        match found.len() {
            0 => Err(FindError::Unknown(beginning.to_owned())),
            1 => Ok(found.remove(0)),
            _ => match found.iter().position(|run| run.run.as_str() == beginning) {
                Some(exact) => Ok(found.remove(exact)),
                None => Err(FindError::Ambiguous {
                    beginning: beginning.to_owned(),
                    runs: found.into_iter().map(|run| run.run).collect(),
                }),
            },
        }
    }

    /// Returns the newest run that satisfies `filter`.
    pub async fn last(&mut self, filter: Filter) -> Result<RunSummary, FindError> {
        self.runs(&Filter { limit: Some(1), ..filter }).await?.pop().ok_or(FindError::Empty)
    }

    async fn beginning_with(&mut self, beginning: &str) -> Result<Vec<RunSummary>, HistoryError> {
        let Some(database) = &mut self.database else { return Ok(Vec::new()) };
        let mut query = QueryBuilder::new(RUNS);
        query.push(" WHERE substr(run, 1, length(").push_bind(beginning).push(")) = ").push_bind(beginning);
        // The part behind the time is what lists for people show.
        query.push(" OR substr(run, instr(run, '-') + 1, length(").push_bind(beginning).push(")) = ");
        query.push_bind(beginning);
        query.push(" ORDER BY began DESC, id DESC LIMIT 10");
        let rows = query.build_query_as::<RunRow>().fetch_all(&mut database.connection).await;
        let rows = rows.map_err(|error| database.failed(error))?;
        rows.into_iter().map(|row| run(database, row)).collect()
    }

    /// Returns the results of the hosts of a run, in the run's order.
    pub async fn hosts_of(&mut self, run: &RunId) -> Result<Vec<HostSummary>, HistoryError> {
        let mut query = QueryBuilder::new(HOSTS);
        query.push(" WHERE u.run = ").push_bind(run.as_str()).push(" ORDER BY r.place");
        self.hosts(query).await
    }

    /// Returns the result of each host in its last run, sorted by name. With `verb`, only runs of that verb count.
    pub async fn last_of_hosts(&mut self, verb: Option<&str>) -> Result<Vec<HostSummary>, HistoryError> {
        let mut query = QueryBuilder::new(HOSTS);
        query.push(
            " WHERE r.run = (SELECT max(l.run) FROM host_runs l JOIN hosts n ON n.id = l.host \
             JOIN runs v ON v.id = l.run WHERE n.name = h.name",
        );
        if let Some(verb) = verb {
            query.push(" AND v.verb = ").push_bind(verb);
        }
        query.push(") ORDER BY h.name");
        self.hosts(query).await
    }

    async fn hosts(&mut self, mut query: QueryBuilder<Sqlite>) -> Result<Vec<HostSummary>, HistoryError> {
        type Row = (String, String, String, String, i64, Option<String>, u32, Option<i64>);
        let Some(database) = &mut self.database else { return Ok(Vec::new()) };
        let rows = query.build_query_as::<Row>().fetch_all(&mut database.connection).await;
        let rows = rows.map_err(|error| database.failed(error))?;
        let read = |(host, machine, run, verb, began, state, changes, took): Row| {
            Ok(HostSummary {
                host: HostName::new(host).map_err(|error| database.damaged(error))?,
                machine,
                run: RunId::new(run).map_err(|error| database.damaged(error))?,
                verb,
                began: began as u64,
                state: state.map(|state| parse(database, &state)).transpose()?,
                changes,
                took: took.map(|took| took as u64),
            })
        };
        rows.into_iter().map(read).collect()
    }

    /// Returns how often runs of `verb` changed each resource. Only runs that began at `since` (milliseconds since
    /// the epoch) or later count. With `host`, only that host counts.
    pub async fn corrections(
        &mut self,
        verb: &str,
        since: u64,
        host: Option<&HostName>,
    ) -> Result<Vec<Correction>, HistoryError> {
        let Some(database) = &mut self.database else { return Ok(Vec::new()) };
        let mut query = QueryBuilder::new(
            "SELECT h.name, r.address, count(*), max(u.began) FROM runs u JOIN results r ON r.run = u.id \
             JOIN hosts h ON h.id = r.host WHERE r.outcome IN ('done', 'unforeseen') AND r.verb <> 'act' \
             AND r.listed IS NOT -1 AND u.verb = ",
        );
        query.push_bind(verb).push(" AND u.began >= ").push_bind(signed(since));
        if let Some(host) = host {
            query.push(" AND h.name = ").push_bind(host.as_str());
        }
        query.push(" GROUP BY h.name, r.address ORDER BY h.name, r.address");
        let rows = query.build_query_as::<(String, String, u32, i64)>();
        let rows = rows.fetch_all(&mut database.connection).await.map_err(|error| database.failed(error))?;
        let read = |(host, address, count, last): (String, String, u32, i64)| {
            let host = HostName::new(host).map_err(|error| database.damaged(error))?;
            Ok(Correction { host, address: parse(database, &address)?, count, last: last as u64 })
        };
        rows.into_iter().map(read).collect()
    }
}

const RUNS: &str = "SELECT run, verb, author, began, hosts, \
    (SELECT count(*) FROM host_runs WHERE host_runs.run = runs.id AND changes > 0), \
    (SELECT coalesce(sum(changes), 0) FROM host_runs WHERE host_runs.run = runs.id), took, exit, \
    (SELECT json_group_object(state, ended) FROM (SELECT state, count(*) AS ended FROM host_runs \
        WHERE host_runs.run = runs.id AND state IS NOT NULL GROUP BY state)) FROM runs";

const HOSTS: &str = "SELECT h.name, h.machine, u.run, u.verb, u.began, r.state, r.changes, r.ended - r.began \
    FROM host_runs r JOIN hosts h ON h.id = r.host JOIN runs u ON u.id = r.run";

fn query(filter: &Filter) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new(RUNS);
    query.push(" WHERE 1");
    if let Some(verb) = &filter.verb {
        query.push(" AND verb = ").push_bind(verb.clone());
    }
    if filter.with_plans {
        query.push(" AND verb NOT IN ('exec', 'ping')");
    }
    if let Some(since) = filter.since {
        query.push(" AND began >= ").push_bind(signed(since));
    }
    if let Some(until) = filter.until {
        query.push(" AND began < ").push_bind(signed(until));
    }
    if filter.host.is_some() || filter.resource.is_some() || filter.state.is_some() {
        of_one_host(&mut query, filter);
    }
    query.push(" ORDER BY began DESC, id DESC");
    if let Some(limit) = filter.limit {
        query.push(" LIMIT ").push_bind(limit);
    }
    query
}

fn of_one_host(query: &mut QueryBuilder<Sqlite>, filter: &Filter) {
    query.push(" AND EXISTS (SELECT 1 FROM host_runs r JOIN hosts h ON h.id = r.host WHERE r.run = runs.id");
    if let Some(host) = &filter.host {
        query.push(" AND h.name GLOB ").push_bind(glob(host));
    }
    if let Some(state) = &filter.state {
        query.push(" AND r.state = ").push_bind(word(state));
    }
    if let Some(resource) = &filter.resource {
        query.push(" AND (EXISTS (SELECT 1 FROM steps s WHERE s.plan = r.plan AND ");
        address(query, "s.address", resource);
        query.push(") OR EXISTS (SELECT 1 FROM results t WHERE t.run = r.run AND t.host = r.host AND ");
        address(query, "t.address", resource);
        query.push("))");
    }
    query.push(")");
}

/// Adds the condition for a pattern: the resources with such an address, or in such a module.
fn address(query: &mut QueryBuilder<Sqlite>, column: &str, pattern: &str) {
    let pattern = glob(pattern);
    query.push("(").push(column).push(" GLOB ").push_bind(pattern.clone());
    query.push(" OR ").push(column).push(" GLOB ").push_bind(format!("{pattern}.*"));
    query.push(" OR ").push(column).push(" GLOB ").push_bind(format!("{pattern}[[]*")).push(")");
}

/// Returns a pattern for SQLite's GLOB in which only `*` and `?` are special.
fn glob(pattern: &str) -> String {
    pattern.replace('[', "[[]")
}

fn run(database: &Database, row: RunRow) -> Result<RunSummary, HistoryError> {
    let (run, verb, by, began, hosts, changed_hosts, changes, took, exit, states) = row;
    let states: BTreeMap<HostState, u32> =
        serde_json::from_str(&states).map_err(|error| database.damaged(error))?;
    let states = states.into_iter().collect();
    Ok(RunSummary {
        run: RunId::new(run).map_err(|error| database.damaged(error))?,
        verb,
        by,
        began: began as u64,
        hosts,
        states,
        changed_hosts,
        changes,
        took: took.map(|took| took as u64),
        exit,
    })
}

/// Parses a word of the model's JSON.
fn parse<T: serde::de::DeserializeOwned>(database: &Database, text: &str) -> Result<T, HistoryError> {
    serde_json::from_value(text.into()).map_err(|error| database.damaged(error))
}

/// Converts a time to SQLite's signed integer.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
