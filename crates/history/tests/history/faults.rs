//! Errors on the controller: no run is lost or stored twice, and no run is delayed.

use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use converge_history::{FILE, Filter, History, Places, Recorder, Retention};
use converge_model::Event;

use crate::runs::{changed, id, in_sync, kept};
use crate::{places, record, told};

/// Records `events` and returns the reported trouble.
fn troubled(places: Places, events: &[Event]) -> String {
    let recorder = Recorder::start(places, Retention::default());
    events.iter().for_each(|event| recorder.event(event));
    recorder.flush();
    let trouble = recorder.trouble().map(|trouble| format!("{}; {:?}", trouble.message, trouble.help));
    assert_eq!(recorder.trouble(), None, "it is told once");
    assert_eq!(recorder.close(), None);
    trouble.unwrap_or_default()
}

/// Returns how many files were written beside the database.
fn spills(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().starts_with("spill-")).count()
}

async fn runs(folder: &Path) -> usize {
    History::open(folder).await.unwrap().runs(&Filter::default()).await.unwrap().len()
}

#[tokio::test]
async fn what_a_broken_database_does_not_take_the_next_one_does() {
    let temp = tempfile::tempdir().unwrap();
    let (first, second) = (changed(1, "apply", "a", "/x"), changed(2, "apply", "b", "/x"));
    fs::write(temp.path().join(FILE), "nothing of the sort\n".repeat(500)).unwrap();
    let trouble = troubled(places(temp.path()), &first);
    assert!(trouble.contains("not a database") && trouble.contains("move"), "{trouble}");
    fs::remove_file(temp.path().join(FILE)).unwrap();
    record(temp.path(), &second);
    assert_eq!(told(temp.path(), &id(1)).await, kept(&first));
    assert_eq!(told(temp.path(), &id(2)).await, kept(&second));
    assert_eq!(spills(temp.path()), 0);
}

#[tokio::test]
async fn a_database_that_breaks_while_it_is_written_loses_nothing() {
    let temp = tempfile::tempdir().unwrap();
    let events = changed(1, "apply", "a", "/x");
    let recorder = Recorder::start(places(temp.path()), Retention::default());
    events[..4].iter().for_each(|event| recorder.event(event));
    recorder.flush();
    // Another process locks the database for longer than the recorder waits.
    let other = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
    let mut other = sqlx::ConnectOptions::connect(&other).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    events[4..].iter().for_each(|event| recorder.event(event));
    let trouble = tokio::task::spawn_blocking(move || recorder.close()).await.unwrap().unwrap();
    assert!(trouble.message.contains("locked"), "{}", trouble.message);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    sqlx::Connection::close(other).await.unwrap();
    record(temp.path(), &in_sync(2, "a"));
    assert_eq!(told(temp.path(), &id(1)).await, kept(&events));
    assert_eq!(spills(temp.path()), 0);
}

#[tokio::test]
async fn a_newer_database_is_left_as_it_is_and_the_run_is_kept_beside_it() {
    let temp = tempfile::tempdir().unwrap();
    record(temp.path(), &in_sync(1, "a"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
    let mut newer = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("PRAGMA user_version = 1000").execute(&mut newer).await.unwrap();
    sqlx::Connection::close(newer).await.unwrap();
    let before = fs::read(temp.path().join(FILE)).unwrap();
    let trouble = troubled(places(temp.path()), &in_sync(2, "a"));
    assert!(trouble.contains("newer Converge"), "{trouble}");
    assert_eq!(fs::read(temp.path().join(FILE)).unwrap(), before);
    assert_eq!(spills(temp.path()), 1);
}

#[test]
fn where_nothing_can_be_written_the_run_goes_on() {
    let temp = tempfile::tempdir().unwrap();
    let (file, elsewhere) = (temp.path().join("file"), temp.path().join("elsewhere"));
    fs::write(&file, "").unwrap();
    let nowhere = Places { folder: file.join("history"), elsewhere: None };
    let trouble = troubled(nowhere.clone(), &in_sync(1, "a"));
    assert!(trouble.contains("file/history") && trouble.contains("is lost"), "{trouble}");
    let trouble = troubled(Places { elsewhere: Some(elsewhere.clone()), ..nowhere }, &in_sync(1, "a"));
    assert!(!trouble.contains("is lost"), "{trouble}");
    assert_eq!(spills(&elsewhere), 1);
    // The next recorder that can write imports the entries.
    let folder = temp.path().join("history");
    assert_eq!(troubled(Places { folder, elsewhere: Some(elsewhere.clone()) }, &in_sync(2, "a")), "");
    assert_eq!(spills(&elsewhere), 0);
}

#[tokio::test]
async fn a_recorder_returns_to_the_database_with_the_next_run() {
    let temp = tempfile::tempdir().unwrap();
    fs::create_dir(temp.path().join(FILE)).unwrap();
    let recorder = Recorder::start(places(temp.path()), Retention::default());
    in_sync(1, "a").iter().for_each(|event| recorder.event(event));
    recorder.flush();
    assert!(recorder.trouble().is_some());
    fs::remove_dir(temp.path().join(FILE)).unwrap();
    in_sync(2, "a").iter().for_each(|event| recorder.event(event));
    let trouble = tokio::task::spawn_blocking(move || recorder.close()).await.unwrap();
    assert_eq!((trouble, runs(temp.path()).await), (None, 2));
}

#[tokio::test]
async fn two_that_record_at_once_wait_for_each_other() {
    let temp = tempfile::tempdir().unwrap();
    let folder = temp.path().to_owned();
    let each = |from: u64| {
        let folder = folder.clone();
        move || (from..from + 20).for_each(|n| record(&folder, &changed(n, "apply", "a", "/x")))
    };
    let both = [std::thread::spawn(each(100)), std::thread::spawn(each(200))];
    both.into_iter().for_each(|thread| thread.join().unwrap());
    assert_eq!(runs(temp.path()).await, 40);
}

#[tokio::test]
async fn what_is_old_goes_and_what_no_run_names_with_it() {
    let temp = tempfile::tempdir().unwrap();
    // The runs are old by their numbers, and there are more than are always kept.
    let old: Vec<Event> = (1..=150).flat_map(|n| changed(n, "apply", "a", &format!("/{n}"))).collect();
    record(temp.path(), &old);
    assert_eq!(runs(temp.path()).await, 150, "nobody clears twice a day");
    let forget = async |retention: Retention| {
        let options = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
        let mut database = sqlx::ConnectOptions::connect(&options).await.unwrap();
        sqlx::raw_sql("DELETE FROM notes").execute(&mut database).await.unwrap();
        assert_eq!(Recorder::start(places(temp.path()), retention).close(), None);
        let bodies: u32 =
            sqlx::query_scalar("SELECT count(*) FROM bodies").fetch_one(&mut database).await.unwrap();
        sqlx::Connection::close(database).await.unwrap();
        bodies
    };
    let day = Duration::from_secs(24 * 3600);
    // Each run has its own plan and result. The output and the report are the same in all.
    assert_eq!(forget(Retention { age: 365 * 200 * day, runs: 120 }).await, 242);
    assert_eq!(runs(temp.path()).await, 120);
    assert_eq!(forget(Retention { age: day, runs: 120 }).await, 202);
    assert_eq!(runs(temp.path()).await, 100, "a wrong clock does not empty it");
    assert_eq!(told(temp.path(), &id(150)).await, kept(&changed(150, "apply", "a", "/150")));
}

/// Runs with one host and one plan each, and the same number of plans that no run uses.
const MANY: &str = "
    DELETE FROM notes;
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 40000)
        INSERT INTO bodies (id, digest, body) SELECT 1000 + n, CAST('body' || n AS BLOB), '{}' FROM n;
    WITH RECURSIVE n(n) AS (SELECT 1 UNION ALL SELECT n + 1 FROM n WHERE n < 20000)
        INSERT INTO runs (id, run, verb, began, took) SELECT 1000 + n, 'run-' || n, 'drift', 1e15, 1 FROM n;
    INSERT INTO host_runs (run, host, place, plan, report) SELECT id, 1, 1, id, id FROM runs WHERE id > 1000;
    INSERT INTO steps (plan, address) SELECT id, 'file[/x]' FROM bodies WHERE id > 1000;
";

#[tokio::test]
async fn a_long_history_is_cleared_while_a_run_waits() {
    let temp = tempfile::tempdir().unwrap();
    record(temp.path(), &changed(1, "apply", "a", "/x"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
    let mut database = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql(MANY).execute(&mut database).await.unwrap();
    let age = Duration::from_secs(365 * 200 * 24 * 3600);
    let recorder = Recorder::start(places(temp.path()), Retention { age, runs: 19_000 });
    changed(2, "apply", "a", "/x").iter().for_each(|event| recorder.event(event));
    assert_eq!(recorder.close(), None);
    let mut count = async |what: &str| {
        let count = format!("SELECT count(*) FROM {what}");
        sqlx::query_scalar::<_, u32>(sqlx::AssertSqlSafe(count)).fetch_one(&mut database).await.unwrap()
    };
    assert_eq!(count("bodies WHERE id > 1000").await, 19_000);
    assert_eq!(count("steps WHERE plan > 1000").await, 19_000);
    assert_eq!(count("pragma_foreign_key_check").await, 0);
    let all = History::open(temp.path()).await.unwrap().runs(&Filter::default()).await.unwrap();
    assert_eq!(all.len(), 19_002);
}

#[tokio::test]
async fn while_another_holds_the_database_the_run_goes_on_beside_it() {
    let temp = tempfile::tempdir().unwrap();
    record(temp.path(), &changed(1, "apply", "a", "/x"));
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
    let mut other = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("BEGIN IMMEDIATE").execute(&mut other).await.unwrap();
    let trouble = troubled(places(temp.path()), &changed(2, "apply", "a", "/x"));
    assert!(trouble.contains("database is locked"), "{trouble}");
    assert_eq!(spills(temp.path()), 1);
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    record(temp.path(), &changed(3, "apply", "a", "/x"));
    assert_eq!((runs(temp.path()).await, spills(temp.path())), (3, 0));
}

#[tokio::test]
async fn who_records_for_months_clears_every_day() {
    let temp = tempfile::tempdir().unwrap();
    let age = Duration::from_secs(365 * 200 * 24 * 3600);
    let recorder = Recorder::start(places(temp.path()), Retention { age, runs: 5 });
    let run = |n, verb| changed(n, verb, "a", "/x").iter().for_each(|event| recorder.event(event));
    (1..=3).for_each(|n| run(n, "apply"));
    (4..=10).for_each(|n| run(n, "drift"));
    recorder.flush();
    assert_eq!(runs(temp.path()).await, 10);
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(temp.path().join(FILE));
    let mut database = sqlx::ConnectOptions::connect(&options).await.unwrap();
    sqlx::raw_sql("DELETE FROM notes").execute(&mut database).await.unwrap();
    run(11, "drift");
    assert_eq!(recorder.close(), None);
    assert_eq!(runs(temp.path()).await, 3 + 5, "looks drive out nothing else");
}

/// A helper that the tests below start as a process. It records runs without end into the folder in its environment
/// and prints each run that is on disk. Without a folder it does nothing.
#[test]
fn records_without_end() {
    let Some(folder) = std::env::var_os("HISTORY_FOLDER").map(PathBuf::from) else { return };
    let recorder = Recorder::start(places(&folder), Retention::default());
    let first: u64 = std::env::var("HISTORY_FIRST").unwrap().parse().unwrap();
    for n in first..first + 100_000 {
        changed(n, "apply", "a", "/x").iter().for_each(|event| recorder.event(event));
        recorder.flush();
        match recorder.trouble() {
            Some(trouble) => println!("\ntrouble {}", trouble.message),
            None => println!("\nfinished {n}"),
        }
    }
}

/// Starts the helper in a process. The shell runs `before` first.
fn recording(folder: &Path, first: u64, before: &str) -> Child {
    let script = format!("{before} exec \"$0\" --exact faults::records_without_end --nocapture");
    Command::new("sh")
        .args(["-c", &script])
        .arg(std::env::current_exe().unwrap())
        .env("HISTORY_FOLDER", folder)
        .env("HISTORY_FIRST", first.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Waits for `count` runs and kills the process during the next ones. Returns the runs that it reported as finished.
fn killed_after(mut process: Child, count: usize, word: &str) -> Vec<u64> {
    let mut lines = BufReader::new(process.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut finished = Vec::new();
    for line in lines.by_ref() {
        if let Some(n) = line.strip_prefix("finished ") {
            finished.push(n.parse().unwrap());
        }
        if line.starts_with(word) && (finished.len() >= count || word != "finished") {
            break;
        }
    }
    process.kill().unwrap();
    let said = lines.filter_map(|line| line.strip_prefix("finished ")?.parse().ok());
    finished.extend(said.collect::<Vec<u64>>());
    process.wait().unwrap();
    finished
}

#[tokio::test]
async fn a_kill_at_any_moment_loses_no_finished_run_and_doubles_none() {
    let temp = tempfile::tempdir().unwrap();
    let mut finished = Vec::new();
    for round in 0..8_u64 {
        let process = recording(temp.path(), 1 + round * 1000, "");
        finished.extend(killed_after(process, 1 + (round as usize * 7) % 5, "finished"));
    }
    record(temp.path(), &in_sync(900_000, "a"));
    let mut history = History::open(temp.path()).await.unwrap();
    let runs = history.runs(&Filter::default()).await.unwrap();
    for n in &finished {
        assert_eq!(runs.iter().filter(|run| run.run == id(*n) && run.exit == Some(0)).count(), 1, "{n}");
        assert_eq!(told(temp.path(), &id(*n)).await, kept(&changed(*n, "apply", "a", "/x")), "{n}");
    }
    assert!(finished.len() >= 16 && runs.len() <= finished.len() + 9, "{} {}", finished.len(), runs.len());
}

#[tokio::test]
async fn on_a_full_disk_the_run_goes_on_and_what_fits_elsewhere_is_kept() {
    let temp = tempfile::tempdir().unwrap();
    // The limit on file size has the same effect as a full disk.
    let process = recording(temp.path(), 1, "trap '' XFSZ; ulimit -f 400;");
    let finished = killed_after(process, 0, "trouble");
    assert!(!finished.is_empty());
    record(temp.path(), &in_sync(900_000, "a"));
    for n in &finished {
        assert_eq!(told(temp.path(), &id(*n)).await, kept(&changed(*n, "apply", "a", "/x")), "{n}");
    }
    let next = finished.last().unwrap() + 1;
    let kept_beside = kept(&changed(next, "apply", "a", "/x"));
    assert_eq!(told(temp.path(), &id(next)).await, kept_beside, "the one that the database did not take");
}
