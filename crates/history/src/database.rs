//! The database file: its place, how it is opened, the version of its tables, and the tables.
//!
//! `store` writes the tables. `query` and `replay` read them.

use std::fs;
use std::io;
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::statfs;
use sqlx::sqlite::{SqliteConnectOptions, SqliteConnection, SqliteSynchronous};
use sqlx::{ConnectOptions, Connection as _};

/// The name of the database in the folder of a project's history.
pub const FILE: &str = "history.db";

/// The version of the tables. A database with a newer version is not changed.
pub const VERSION: u32 = MIGRATIONS.len() as u32;

/// How long to wait for another process that writes.
const PATIENCE: Duration = Duration::from_secs(5);
/// Between two tries of what SQLite does not wait for.
const PAUSE: Duration = Duration::from_millis(10);

/// The SQL that leads from each version of the tables to the next.
///
/// Times are in milliseconds. A body is a plan, result or report that several hosts and runs can have in common. It
/// is stored once, as the JSON of the model's type without the values that differ between hosts. Those values are in
/// columns. `place` orders the events of a run. `sequence` is the number of an event among those of its host; it is
/// below 0 for a result that only the report has. `listed` is the index of a result in the report, or -1 if the
/// report has revised it. `steps` lists the plans that a resource is in. Resources in sync are only counted.
const MIGRATIONS: &[&str] = &["
    CREATE TABLE runs (
        id INTEGER PRIMARY KEY,
        run TEXT NOT NULL UNIQUE,
        verb TEXT NOT NULL DEFAULT '',
        author TEXT NOT NULL DEFAULT '',
        began INTEGER NOT NULL DEFAULT 0,
        hosts INTEGER NOT NULL DEFAULT 0,
        took INTEGER,
        exit INTEGER
    ) STRICT;
    CREATE INDEX runs_began ON runs (began);
    CREATE TABLE hosts (
        id INTEGER PRIMARY KEY,
        name TEXT NOT NULL,
        machine TEXT NOT NULL,
        UNIQUE (name, machine)
    ) STRICT;
    CREATE TABLE bodies (
        id INTEGER PRIMARY KEY,
        digest BLOB NOT NULL UNIQUE,
        body TEXT NOT NULL
    ) STRICT;
    CREATE TABLE host_runs (
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        host INTEGER NOT NULL REFERENCES hosts,
        place INTEGER NOT NULL,
        began INTEGER,
        planned_place INTEGER,
        planned_sequence INTEGER,
        plan INTEGER REFERENCES bodies,
        token BLOB,
        plan_in_sync INTEGER,
        ended_place INTEGER,
        ended_sequence INTEGER,
        ended INTEGER,
        state TEXT,
        report INTEGER REFERENCES bodies,
        in_sync INTEGER,
        changes INTEGER NOT NULL DEFAULT 0,
        PRIMARY KEY (run, host)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX host_runs_host ON host_runs (host, run);
    CREATE TABLE results (
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        host INTEGER NOT NULL REFERENCES hosts,
        sequence INTEGER NOT NULL,
        place INTEGER NOT NULL,
        address TEXT NOT NULL,
        verb TEXT NOT NULL,
        outcome TEXT NOT NULL,
        resource INTEGER NOT NULL,
        took INTEGER NOT NULL,
        body INTEGER NOT NULL REFERENCES bodies,
        output INTEGER REFERENCES bodies,
        listed INTEGER,
        PRIMARY KEY (run, host, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX results_address ON results (address, run);
    CREATE TABLE events (
        run INTEGER NOT NULL REFERENCES runs ON DELETE CASCADE,
        host INTEGER NOT NULL DEFAULT 0,
        sequence INTEGER NOT NULL,
        place INTEGER NOT NULL,
        event TEXT NOT NULL,
        PRIMARY KEY (run, host, sequence)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE steps (
        plan INTEGER NOT NULL REFERENCES bodies ON DELETE CASCADE,
        address TEXT NOT NULL,
        PRIMARY KEY (plan, address)
    ) STRICT, WITHOUT ROWID;
    CREATE INDEX steps_address ON steps (address);
    CREATE TABLE notes (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT, WITHOUT ROWID;
"];

/// Why the history cannot be opened, read or written.
#[derive(Debug, thiserror::Error)]
pub enum HistoryError {
    /// The folder cannot be created or read.
    #[error("failed to open {path}: {source}")]
    Folder {
        /// The path that was tried.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// The database is on a network file system.
    #[error("{0} is on a network file system, where SQLite cannot keep a history safely")]
    Network(PathBuf),
    /// A newer Converge wrote the database.
    #[error("{path} is of version {found}, written by a newer Converge; this one knows {VERSION}")]
    Newer {
        /// The database.
        path: PathBuf,
        /// The version in the database.
        found: u32,
    },
    /// SQLite reports an error.
    #[error("failed to use the history in {path}: {source}")]
    Database {
        /// The database.
        path: PathBuf,
        /// The error of SQLite.
        source: sqlx::Error,
    },
    /// A row is invalid for this version.
    #[error("the history in {path} has invalid content: {what}")]
    Damaged {
        /// The database.
        path: PathBuf,
        /// The invalid content.
        what: String,
    },
}

impl HistoryError {
    /// Returns the advice for the user.
    pub fn help(&self) -> Option<String> {
        match self {
            Self::Folder { .. } => None,
            Self::Network(_) => Some("set XDG_STATE_HOME to a folder on a local disk".to_owned()),
            Self::Newer { .. } => Some("update Converge on this machine".to_owned()),
            Self::Database { path, source } if is_damage(source) => Some(format!(
                "move {} away, and the files beside it that begin with its name; the next run starts a new history",
                path.display()
            )),
            Self::Damaged { path, .. } => Some(format!("move {} away", path.display())),
            Self::Database { .. } => None,
        }
    }
}

/// Whether SQLite reports that the file is damaged or not a database.
fn is_damage(error: &sqlx::Error) -> bool {
    // SQLITE_CORRUPT and SQLITE_NOTADB.
    matches!(primary_code(error), Some(11 | 26))
}

/// Whether SQLite reports that another process has the database.
fn is_busy(error: &sqlx::Error) -> bool {
    // SQLITE_BUSY.
    primary_code(error) == Some(5)
}

/// Returns SQLite's code without the bits above the lowest byte, which give details.
fn primary_code(error: &sqlx::Error) -> Option<u32> {
    error.as_database_error().and_then(|error| error.code()?.parse::<u32>().ok()).map(|code| code & 0xff)
}

/// The open database of one folder.
#[derive(Debug)]
pub(crate) struct Database {
    /// The path of the file.
    pub(crate) path: PathBuf,
    /// The only connection.
    pub(crate) connection: SqliteConnection,
}

impl Database {
    /// Opens the database of `folder` for writing. Creates it if needed and migrates its tables.
    pub(crate) async fn write(folder: &Path) -> Result<Self, HistoryError> {
        prepare(folder)?;
        let mut database = Self::connect(folder.join(FILE), false).await?;
        let version = database.version().await?;
        if version < VERSION {
            database.migrate().await?;
        }
        Ok(database)
    }

    /// Opens the database of `folder` for reading. None if nothing was recorded yet.
    pub(crate) async fn read(folder: &Path) -> Result<Option<Self>, HistoryError> {
        let path = folder.join(FILE);
        match fs::metadata(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(HistoryError::Folder { path, source }),
            Ok(_) => refuse_network(folder)?,
        }
        let mut database = Self::connect(path, true).await?;
        match database.version().await? {
            0 => Ok(None),
            VERSION => Ok(Some(database)),
            // Migrating needs write access.
            _ => {
                database.close().await;
                Self::write(folder).await.map(Some)
            }
        }
    }

    async fn connect(path: PathBuf, read_only: bool) -> Result<Self, HistoryError> {
        let options = SqliteConnectOptions::new()
            .filename(&path)
            .read_only(read_only)
            .synchronous(SqliteSynchronous::Full)
            .busy_timeout(PATIENCE)
            .disable_statement_logging();
        match options.connect().await {
            Ok(connection) => Ok(Self { path, connection }),
            Err(source) => Err(HistoryError::Database { path, source }),
        }
    }

    /// Returns the version of the tables: 0 if there are none. An error if it is newer than [`VERSION`].
    async fn version(&mut self) -> Result<u32, HistoryError> {
        let found = sqlx::query_scalar::<_, u32>("PRAGMA user_version").fetch_one(&mut self.connection).await;
        match found {
            Ok(found) if found > VERSION => Err(HistoryError::Newer { path: self.path.clone(), found }),
            Ok(found) => Ok(found),
            Err(source) => Err(self.failed(source)),
        }
    }

    /// Migrates the tables in one transaction. Another process may have migrated them meanwhile.
    async fn migrate(&mut self) -> Result<(), HistoryError> {
        let written = async {
            self.switch_to_wal().await?;
            let mut step = self.connection.begin_with("BEGIN IMMEDIATE").await?;
            let found = sqlx::query_scalar::<_, u32>("PRAGMA user_version").fetch_one(&mut *step).await?;
            for script in MIGRATIONS.iter().skip(found as usize) {
                sqlx::raw_sql(*script).execute(&mut *step).await?;
            }
            sqlx::raw_sql(SET_VERSION).execute(&mut *step).await?;
            step.commit().await
        };
        written.await.map_err(|source| self.failed(source))
    }

    /// SQLite does not wait for another process that does the same, whatever its timeout is. So this waits.
    async fn switch_to_wal(&mut self) -> Result<(), sqlx::Error> {
        let started = Instant::now();
        loop {
            let switched = sqlx::raw_sql("PRAGMA journal_mode = WAL").execute(&mut self.connection).await;
            match switched {
                Err(error) if is_busy(&error) && started.elapsed() < PATIENCE => {
                    tokio::time::sleep(PAUSE).await
                }
                other => return other.map(|_| ()),
            }
        }
    }

    /// Closes the connection. SQLite then merges its extra files into one.
    pub(crate) async fn close(self) {
        let _ = self.connection.close().await;
    }

    /// Returns an error with the path of the database.
    pub(crate) fn failed(&self, source: sqlx::Error) -> HistoryError {
        HistoryError::Database { path: self.path.clone(), source }
    }

    /// Returns the error for a row that cannot be read.
    pub(crate) fn damaged(&self, what: impl ToString) -> HistoryError {
        HistoryError::Damaged { path: self.path.clone(), what: what.to_string() }
    }
}

/// Sets the version that [`MIGRATIONS`] lead to.
const SET_VERSION: &str = "PRAGMA user_version = 1";

/// Creates the folder and an empty file for the user alone. SQLite would create a file that others may read.
fn prepare(folder: &Path) -> Result<(), HistoryError> {
    let failed = |source| HistoryError::Folder { path: folder.to_owned(), source };
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder).map_err(failed)?;
    refuse_network(folder)?;
    let path = folder.join(FILE);
    let made = fs::OpenOptions::new().append(true).create(true).mode(0o600).open(&path);
    made.map(drop).map_err(|source| HistoryError::Folder { path, source })
}

/// Refuses file systems on which SQLite's locks and shared memory do not work.
fn refuse_network(folder: &Path) -> Result<(), HistoryError> {
    match statfs(folder) {
        Ok(found) if is_network(found.f_type) => Err(HistoryError::Network(folder.to_owned())),
        Ok(_) => Ok(()),
        Err(error) => Err(HistoryError::Folder { path: folder.to_owned(), source: error.into() }),
    }
}

/// Whether statfs(2) names NFS, SMB, CIFS, AFS, Ceph or 9P.
fn is_network(magic: rustix::fs::FsWord) -> bool {
    matches!(
        magic as u32,
        0x6969 | 0x517b | 0xff53_4d42 | 0xfe53_4d42 | 0x5346_414f | 0x00c3_6400 | 0x0102_1997
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_new_one_is_for_the_user_alone_and_in_a_log_ahead() {
        use std::os::unix::fs::PermissionsExt;
        let temp = tempfile::tempdir().unwrap();
        let folder = temp.path().join("history");
        assert!(Database::read(&folder).await.unwrap().is_none(), "reading makes nothing");
        assert!(!folder.exists());
        let mut database = Database::write(&folder).await.unwrap();
        let mode: String =
            sqlx::query_scalar("PRAGMA journal_mode").fetch_one(&mut database.connection).await.unwrap();
        let synchronous: u32 =
            sqlx::query_scalar("PRAGMA synchronous").fetch_one(&mut database.connection).await.unwrap();
        assert_eq!((mode.as_str(), synchronous), ("wal", 2));
        for entry in fs::read_dir(&folder).unwrap() {
            let mode = entry.unwrap().metadata().unwrap().permissions().mode();
            assert_eq!(mode & 0o077, 0);
        }
        database.close().await;
        assert!(Database::read(&folder).await.unwrap().is_some());
    }

    #[tokio::test]
    async fn a_newer_one_is_refused_and_left_as_it_is() {
        let temp = tempfile::tempdir().unwrap();
        let mut database = Database::write(temp.path()).await.unwrap();
        sqlx::raw_sql("PRAGMA user_version = 99").execute(&mut database.connection).await.unwrap();
        database.close().await;
        let before = fs::read(temp.path().join(FILE)).unwrap();
        let write = Database::write(temp.path()).await.unwrap_err();
        let read = Database::read(temp.path()).await.unwrap_err();
        for error in [write, read] {
            assert!(matches!(error, HistoryError::Newer { found: 99, .. }), "{error}");
        }
        assert_eq!(fs::read(temp.path().join(FILE)).unwrap(), before);
    }

    #[tokio::test]
    async fn an_older_one_is_brought_up_to_date() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(FILE), "").unwrap();
        assert!(Database::read(temp.path()).await.unwrap().is_none());
        let mut database = Database::write(temp.path()).await.unwrap();
        assert_eq!(database.version().await.unwrap(), VERSION);
        assert!(SET_VERSION.ends_with(&VERSION.to_string()));
    }

    #[tokio::test]
    async fn what_is_no_database_is_said_to_be_none() {
        let temp = tempfile::tempdir().unwrap();
        fs::write(temp.path().join(FILE), "not a database, not at all\n".repeat(100)).unwrap();
        let error = Database::write(temp.path()).await.unwrap_err();
        assert!(error.help().unwrap().contains("move"), "{error}");
    }

    #[test]
    fn file_systems_of_other_machines_are_known() {
        assert!(is_network(0x6969) && is_network(0xff53_4d42_u32 as _));
        assert!(!is_network(0xef53) && !is_network(0x0102_1994));
    }
}
