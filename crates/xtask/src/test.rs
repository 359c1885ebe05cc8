//! `cargo xtask test`: runs everything that a change must pass and prints one line of result.
//!
//! The phases are: the policy for dependencies, formatting, lints, the tests of the crates, the examples in their
//! documentation, the release build, and the fleet tests on real hosts. After a failed phase the later ones still
//! run.

mod echo;
mod tally;

use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use converge_tests::BINARY_VARIABLE;
use converge_tests::testbed::{self, SKIPPED_VARIABLE, Testbed};
use tally::{Runner, Tally};

use crate::say;

/// The package whose test targets need real hosts.
const FLEET: &str = "converge-tests";

/// Checks formatting and lints and runs all tests; the last line counts them.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Leave out the tests that boot real hosts.
    #[arg(long)]
    no_fleet: bool,
    /// Run only tests whose name contains this text.
    filter: Option<String>,
}

/// Why the tests could not be started.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to start `{line}`: {source}")]
    Start { line: String, source: io::Error },
    #[error("failed to use the file that counts skipped tests: {0}")]
    Skipped(io::Error),
    #[error("failed to take down the beds that tests kept: {0}")]
    Testbed(#[from] testbed::Error),
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let skipped = tempfile::NamedTempFile::new().map_err(Error::Skipped)?;
    let beds = names_of_beds()?;
    let mut session = Session::new(arguments.filter, skipped.path().to_owned());
    if !arguments.no_fleet {
        // The tests of crates come first, and some of them start an sshd. Each test on hosts reports an error itself.
        let _ = testbed::prepare();
    }
    session.crates()?;
    if !arguments.no_fleet {
        session.fleet()?;
    }
    take_down_others(&beds)?;
    session.finish(&fs::read_to_string(skipped.path()).map_err(Error::Skipped)?)
}

/// The phases that have run, and the settings.
struct Session {
    filter: Option<String>,
    skipped: PathBuf,
    runner: Runner,
    phases: Vec<Phase>,
}

struct Phase {
    name: &'static str,
    tally: Tally,
    took: Duration,
}

impl Session {
    fn new(filter: Option<String>, skipped: PathBuf) -> Self {
        let runner = if has("nextest") { Runner::Nextest } else { Runner::Cargo };
        Self { filter, skipped, runner, phases: Vec::new() }
    }

    fn crates(&mut self) -> Result<(), Error> {
        self.policy()?;
        self.tool("format", "fmt", &["--all", "--check"])?;
        self.tool("clippy", "clippy", &["--workspace", "--all-targets", "--", "-D", "warnings"])?;
        self.tests("tests", &["--workspace", "--exclude", FLEET])?;
        self.tests("tests of the test hosts", &["--package", FLEET, "--lib"])?;
        if self.runner == Runner::Nextest {
            // The other runner has run these already.
            let words = self.test_words(Runner::Cargo, &["--workspace", "--doc"]);
            self.phase("documentation", Some(Runner::Cargo), &words)?;
        }
        Ok(())
    }

    /// Checks the dependencies against `.cargo/deny.toml`. No toolchain contains this tool, so it is built if it is
    /// missing.
    fn policy(&mut self) -> Result<(), Error> {
        if !has("deny") {
            self.phase(
                "install cargo-deny",
                None,
                &words(&["install", "cargo-deny", "--locked", "--version", "0.20.2", "--debug"]),
            )?;
        }
        self.phase(
            "dependencies",
            None,
            &words(&["deny", "--all-features", "check", "bans", "licenses", "sources"]),
        )
    }

    fn fleet(&mut self) -> Result<(), Error> {
        self.phase("release build", None, &words(&["build", "--release"]))?;
        let mut words = self.test_words(self.runner, &["--package", FLEET, "--test", "*"]);
        if self.runner == Runner::Nextest {
            // A test on hosts waits for them half of its time.
            let threads = 2 * std::thread::available_parallelism().map_or(1, |cores| cores.get());
            words.extend(["--test-threads".to_owned(), threads.to_string()]);
        }
        self.phase("fleet", Some(self.runner), &words)
    }

    /// Runs a phase that needs an optional part of the toolchain.
    fn tool(&mut self, name: &'static str, subcommand: &str, rest: &[&str]) -> Result<(), Error> {
        if !has(subcommand) {
            say(format_args!("skipped: {name}: cargo {subcommand} is not installed"));
            let tally = Tally { skipped: 1, ..Tally::default() };
            self.phases.push(Phase { name, tally, took: Duration::ZERO });
            return Ok(());
        }
        self.phase(name, None, &words(&[&[subcommand], rest].concat()))
    }

    fn tests(&mut self, name: &'static str, selection: &[&str]) -> Result<(), Error> {
        let words = self.test_words(self.runner, selection);
        self.phase(name, Some(self.runner), &words)
    }

    fn test_words(&self, runner: Runner, selection: &[&str]) -> Vec<String> {
        let mut words = words(&[runner.words(), selection].concat());
        words.extend(self.filter.clone());
        words
    }

    fn phase(&mut self, name: &'static str, runner: Option<Runner>, words: &[String]) -> Result<(), Error> {
        say(format_args!("\n== {name}: cargo {}", words.join(" ")));
        let started = Instant::now();
        let mut command = cargo();
        command.args(words).env(SKIPPED_VARIABLE, &self.skipped).env(BINARY_VARIABLE, release_binary());
        let ended = echo::run(&mut command)
            .map_err(|source| Error::Start { line: format!("cargo {}", words.join(" ")), source })?;
        let mut tally = runner.map_or_else(Tally::default, |runner| runner.count(&ended));
        if self.filter.is_some() && runner == Some(Runner::Nextest) {
            // nextest counts the tests that the filter excludes as skipped.
            tally.skipped = 0;
        }
        if !ended.succeeded && tally.failed == 0 {
            // The build failed, or a check that is not a test.
            tally.failed = 1;
        }
        let took = started.elapsed();
        say(format_args!("== {name}: {:.1} s", took.as_secs_f64()));
        self.phases.push(Phase { name, tally, took });
        Ok(())
    }

    /// Prints the sum. It is the last line, for users who read nothing else.
    fn finish(&self, skipped: &str) -> Result<ExitCode, Error> {
        say("");
        for Phase { name, tally, took } in &self.phases {
            let result = if *tally == Tally::default() { "ok".to_owned() } else { tally.to_string() };
            say(format_args!("{name:<24} {:>7.1} s   {result}", took.as_secs_f64()));
        }
        skipped.lines().for_each(|line| say(format_args!("skipped: {line}")));
        let sum =
            self.phases.iter().map(|phase| phase.tally).sum::<Tally>().with_skipped(skipped.lines().count());
        let fine = sum.failed == 0 && (sum.skipped == 0 || !testbed::is_ci());
        say(sum);
        Ok(if fine { ExitCode::SUCCESS } else { ExitCode::FAILURE })
    }
}

fn words(words: &[&str]) -> Vec<String> {
    words.iter().map(|&word| word.to_owned()).collect()
}

/// Whether cargo has this subcommand.
pub(crate) fn has(subcommand: &str) -> bool {
    let mut command = cargo();
    command.args([subcommand, "--version"]).stdout(Stdio::null()).stderr(Stdio::null());
    command.status().is_ok_and(|status| status.success())
}

/// Returns the cargo that runs this command, in the root of the workspace, without input.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.current_dir(root()).stdin(Stdio::null());
    command
}

pub(crate) fn release_binary() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| PathBuf::from("target"), PathBuf::from);
    root().join(target).join("release/converge")
}

pub(crate) fn root() -> PathBuf {
    let own = Path::new(env!("CARGO_MANIFEST_DIR"));
    own.ancestors().nth(2).unwrap_or(own).to_owned()
}

fn names_of_beds() -> Result<Vec<String>, Error> {
    Ok(Testbed::all()?.iter().map(|bed| bed.name().to_owned()).collect())
}

/// Ends the beds that tests share. A test keeps its hosts for the next test, so they are still up after the last one.
fn take_down_others(beds: &[String]) -> Result<(), Error> {
    for bed in Testbed::all()?.into_iter().filter(|bed| !beds.iter().any(|name| name == bed.name())) {
        match bed.down() {
            Err(testbed::Error::InUse { .. }) => {}
            other => other?,
        }
    }
    Ok(())
}
