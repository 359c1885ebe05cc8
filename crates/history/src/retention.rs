//! How long runs are kept: by age and by number. Data that only removed runs use is removed with them.

use std::time::Duration;

use sqlx::SqliteConnection;

use crate::database::HistoryError;
use crate::store::Store;

/// How often old runs are removed.
const EVERY: Duration = Duration::from_secs(24 * 3600);
/// How many runs are removed in one transaction. Other processes wait meanwhile.
const AT_ONCE: i64 = 500;
/// How many runs are kept at any age, so that a wrong clock cannot empty the history.
const ALWAYS: i64 = 100;

/// The limits for keeping runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Older runs are removed, except for the last hundred.
    pub age: Duration,
    /// The most runs that are kept. Drift looks and pings are counted separately from all other runs. A daemon or a
    /// monitor makes so many of them that the applies would soon be gone.
    pub runs: u32,
}

impl Default for Retention {
    fn default() -> Self {
        Self { age: Duration::from_secs(90 * 24 * 3600), runs: 50_000 }
    }
}

impl Store {
    /// Removes runs that are too old at `now` (milliseconds since the epoch). Does nothing if this was done less than
    /// a day ago.
    pub(crate) async fn clear(&mut self, retention: Retention, now: u64) -> Result<(), HistoryError> {
        let cleared = clear(&mut self.database.connection, retention, now as i64).await;
        cleared.map_err(|source| self.database.failed(source))
    }
}

async fn clear(of: &mut SqliteConnection, retention: Retention, now: i64) -> sqlx::Result<()> {
    let last: Option<String> =
        sqlx::query_scalar("SELECT value FROM notes WHERE name = 'cleared'").fetch_optional(&mut *of).await?;
    let last: i64 = last.and_then(|value| value.parse().ok()).unwrap_or(0);
    if (last..last.saturating_add(milliseconds(EVERY))).contains(&now) {
        return Ok(());
    }
    let oldest = now.saturating_sub(milliseconds(retention.age));
    let mut removed = 0;
    for looks in [true, false] {
        let old: Option<i64> = newest_beyond(of, looks, ALWAYS).await?;
        let many: Option<i64> = newest_beyond(of, looks, i64::from(retention.runs)).await?;
        loop {
            let some = sqlx::query(OLD).bind(looks).bind(oldest).bind(old).bind(many);
            match some.bind(AT_ONCE).bind(now - milliseconds(EVERY)).execute(&mut *of).await?.rows_affected()
            {
                0 => break,
                some => removed += some,
            }
        }
    }
    if removed > 0 {
        sqlx::raw_sql(UNUSED).execute(&mut *of).await?;
    }
    let note = sqlx::query("INSERT OR REPLACE INTO notes (name, value) VALUES ('cleared', ?)");
    note.bind(now.to_string()).execute(of).await.map(drop)
}

/// Returns the newest run that is beyond the `count` newest ones, among the drift looks and pings or among all other
/// runs.
async fn newest_beyond(of: &mut SqliteConnection, looks: bool, count: i64) -> sqlx::Result<Option<i64>> {
    let row = "SELECT id FROM runs WHERE (verb IN ('drift', 'ping')) = ? ORDER BY id DESC LIMIT 1 OFFSET ?";
    sqlx::query_scalar(row).bind(looks).bind(count).fetch_optional(of).await
}

/// Removes some of the drift looks and pings, or of all other runs, that are too old or too many. Runs that may still
/// be active are kept.
const OLD: &str = "
    DELETE FROM runs WHERE id IN (
        SELECT id FROM runs WHERE id <= max(coalesce(?3, 0), coalesce(?4, 0)) AND (verb IN ('drift', 'ping')) = ?1
            AND (took IS NOT NULL OR began < ?6) AND (began < ?2 AND id <= ?3 OR id <= ?4)
        ORDER BY id LIMIT ?5)
";

/// Removes bodies and hosts that no run uses. Foreign keys are off, because each check would read all runs. The
/// result is consistent anyway.
const UNUSED: &str = "
    PRAGMA foreign_keys = OFF;
    BEGIN IMMEDIATE;
    DELETE FROM bodies WHERE id NOT IN (
        SELECT plan FROM host_runs WHERE plan IS NOT NULL
        UNION SELECT report FROM host_runs WHERE report IS NOT NULL
        UNION SELECT body FROM results
        UNION SELECT output FROM results WHERE output IS NOT NULL);
    DELETE FROM steps WHERE plan NOT IN (SELECT id FROM bodies);
    DELETE FROM hosts WHERE id NOT IN (SELECT host FROM host_runs UNION SELECT host FROM results);
    COMMIT;
    PRAGMA foreign_keys = ON;
";

fn milliseconds(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
