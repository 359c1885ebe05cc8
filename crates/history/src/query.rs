//! What can be asked of a history.
//!
//! How a run is told again is `replay`'s. Nothing here writes.

use std::collections::BTreeMap;
use std::path::Path;

use converge_model::{Address, HostName, HostState, RunId};
use sqlx::{QueryBuilder, Sqlite};

use crate::database::{Database, HistoryError};
use crate::store::word;

/// The history of a project, for reading.
pub struct History {
    /// None where nothing was recorded yet.
    pub(crate) database: Option<Database>,
}

/// Which runs: those for which everything that is said holds, for one and the same host where several things are said of
/// hosts.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Filter {
    /// Runs over a host with this name; `*` and `?` stand for any characters and any one.
    pub host: Option<String>,
    /// Runs in which this resource, or a resource of this module, was to change; `*` and `?` as above.
    pub resource: Option<String>,
    /// Runs in which a host ended so.
    pub state: Option<HostState>,
    /// Runs for this: `apply`, `drift`, `exec`, `ping`.
    pub verb: Option<String>,
    /// Runs that go by what hosts should be: neither `exec` nor `ping`.
    pub with_plans: bool,
    /// Runs that began then or later, in milliseconds since the epoch.
    pub since: Option<u64>,
    /// Runs that began before then.
    pub until: Option<u64>,
    /// So many at most, the newest.
    pub limit: Option<u32>,
}

/// A run in a list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RunSummary {
    /// Its identity.
    pub run: RunId,
    /// What it was for: `apply`, `drift`, `exec`, `ping`.
    pub verb: String,
    /// Who started it, and from where.
    pub by: String,
    /// When, in milliseconds since the epoch.
    pub began: u64,
    /// How many hosts it selected.
    pub hosts: u32,
    /// How many of them ended in each state, as far as they ended.
    pub states: Vec<(HostState, u32)>,
    /// On how many of them a step changed something, however they ended.
    pub changed_hosts: u32,
    /// How many steps changed something.
    pub changes: u32,
    /// For how many milliseconds it went on; none where it was cut off, or still goes on.
    pub took: Option<u64>,
    /// Its exit code.
    pub exit: Option<u8>,
}

/// What became of a host in a run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostSummary {
    /// Its name.
    pub host: HostName,
    /// The identity of its installation; empty where it is not known.
    pub machine: String,
    /// The run.
    pub run: RunId,
    /// What that was for.
    pub verb: String,
    /// When it began, in milliseconds since the epoch.
    pub began: u64,
    /// How the host ended; none where the run was cut off before.
    pub state: Option<HostState>,
    /// How many steps changed something.
    pub changes: u32,
    /// For how many milliseconds it was at work, waiting for its turn to act included.
    pub took: Option<u64>,
}

/// How often a resource was changed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Correction {
    /// Its host.
    pub host: HostName,
    /// Its address.
    pub address: Address,
    /// In how many steps it was changed; notified actions do not count.
    pub count: u32,
    /// When the last of these runs began, in milliseconds since the epoch.
    pub last: u64,
}

/// No run is meant, or several are.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// None is called so.
    #[error("no run begins with `{0}`")]
    Unknown(String),
    /// There are none at all.
    #[error("no run was recorded yet")]
    Empty,
    /// Several are.
    #[error("several runs begin with `{beginning}`: {}", .runs.iter().map(RunId::as_str).collect::<Vec<_>>().join(", "))]
    Ambiguous {
        /// What was asked for.
        beginning: String,
        /// Some of them, the newest first.
        runs: Vec<RunId>,
    },
    /// The history cannot be read.
    #[error(transparent)]
    History(#[from] HistoryError),
}

/// The rows of [`RunSummary`], the states of its hosts last.
type RunRow = (String, String, String, i64, u32, u32, u32, Option<i64>, Option<u8>, String);

impl History {
    /// Opens the history in `folder`. Where nothing was recorded yet it is empty, and nothing is made.
    pub async fn open(folder: &Path) -> Result<Self, HistoryError> {
        Ok(Self { database: Database::read(folder).await? })
    }

    /// The runs, the newest first.
    pub async fn runs(&mut self, filter: &Filter) -> Result<Vec<RunSummary>, HistoryError> {
        let Some(database) = &mut self.database else { return Ok(Vec::new()) };
        let rows = query(filter).build_query_as::<RunRow>().fetch_all(&mut database.connection).await;
        let rows = rows.map_err(|error| database.failed(error))?;
        rows.into_iter().map(|row| run(database, row)).collect()
    }

    /// The run whose identity begins with `beginning`, or the `last` one.
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

    /// The newest of the runs that `filter` lets pass.
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

    /// What became of the hosts of a run, in its order.
    pub async fn hosts_of(&mut self, run: &RunId) -> Result<Vec<HostSummary>, HistoryError> {
        let mut query = QueryBuilder::new(HOSTS);
        query.push(" WHERE u.run = ").push_bind(run.as_str()).push(" ORDER BY r.place");
        self.hosts(query).await
    }

    /// What became of each host in the last run over it, of those for `verb` where one is given; by name.
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

    /// How often each resource was changed by runs for `verb`, of those that began at `since` (milliseconds since the
    /// epoch) or later; on `host` alone where one is given.
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

/// The resource that a pattern means, or all of the module that it means.
fn address(query: &mut QueryBuilder<Sqlite>, column: &str, pattern: &str) {
    let pattern = glob(pattern);
    query.push("(").push(column).push(" GLOB ").push_bind(pattern.clone());
    query.push(" OR ").push(column).push(" GLOB ").push_bind(format!("{pattern}.*"));
    query.push(" OR ").push(column).push(" GLOB ").push_bind(format!("{pattern}[[]*")).push(")");
}

/// A pattern in which only `*` and `?` mean something, as SQLite's GLOB takes it.
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

/// What the model's JSON means by a word.
fn parse<T: serde::de::DeserializeOwned>(database: &Database, text: &str) -> Result<T, HistoryError> {
    serde_json::from_value(text.into()).map_err(|error| database.damaged(error))
}

/// A time as SQLite keeps numbers.
fn signed(time: u64) -> i64 {
    i64::try_from(time).unwrap_or(i64::MAX)
}
