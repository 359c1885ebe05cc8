//! `cargo xtask mutants`: measures which mistakes the tests of a crate find. cargo-mutants puts a sample of small
//! mistakes into the code of a folder, one at a time. Mistakes that the tests of that crate do not catch are listed.
//!
//! A seed selects the sample, so that a score can be measured again. This command does not judge a score.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};

use crate::say;
use crate::test::{cargo, has};

/// The version for the scores in `docs/robustness.md`.
const VERSION: &str = "27.1.0";
/// The exit codes of cargo-mutants after it did its work: all were caught, some were missed, some had a timeout.
const DONE: [i32; 3] = [0, 2, 3];
/// Characters with a meaning in regular expressions that occur in the names of mutants.
const SPECIAL: &[char] =
    &['\\', '.', '+', '*', '?', '(', ')', '|', '[', ']', '{', '}', '^', '$', '#', '&', '-', '~'];

/// Puts a sample of mistakes into a folder's code, and counts those that the tests of its crate catch.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Folder or file, from the root of the workspace: `crates/resources/src/kinds/cron`.
    folder: PathBuf,
    /// Number of mistakes that are tried in each file.
    #[arg(long, default_value_t = 12)]
    sample: usize,
    /// Seed of the sample; the same seed draws the same mistakes.
    #[arg(long, default_value_t = 1)]
    seed: u64,
}

/// Why nothing was measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("failed to start `cargo {0}`: {1}")]
    Start(String, io::Error),
    #[error("failed to install cargo-mutants: see above")]
    Install,
    #[error(
        "found no code to put a mistake into at {0}: name a folder or a file from the root of the workspace"
    )]
    Nothing(PathBuf),
    #[error("cargo-mutants ended with {0}: the tests fail even without a mistake, or it could not run")]
    Ended(i32),
    #[error("failed to read the results of cargo-mutants: {0}")]
    Results(io::Error),
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    install()?;
    let chosen = sample(&list(&arguments.folder)?, arguments.sample, arguments.seed);
    if chosen.is_empty() {
        return Err(Error::Nothing(arguments.folder));
    }
    let output = tempfile::tempdir().map_err(Error::Results)?;
    try_out(&chosen, output.path())?;
    let scores = Scores::read(&output.path().join("mutants.out")).map_err(Error::Results)?;
    scores.lines().iter().for_each(say);
    Ok(ExitCode::SUCCESS)
}

fn install() -> Result<(), Error> {
    if has("mutants") {
        return Ok(());
    }
    let mut command = cargo();
    command.args(["install", "cargo-mutants", "--locked", "--version", VERSION]);
    let status = command.status().map_err(|source| Error::Start("install".to_owned(), source))?;
    if status.success() { Ok(()) } else { Err(Error::Install) }
}

fn mutants() -> Command {
    let mut command = cargo();
    command.args(["mutants", "--workspace", "--colors", "never"]);
    command
}

/// Returns the names of all mistakes that are possible in the code at `folder`.
fn list(folder: &Path) -> Result<Vec<String>, Error> {
    let folder = folder.to_string_lossy();
    let folder = folder.trim_end_matches('/');
    let files = if folder.ends_with(".rs") { folder.to_owned() } else { format!("{folder}/**") };
    let mut command = mutants();
    command.args(["--list", "--file", &files]).stderr(Stdio::inherit());
    let output = command.output().map_err(|source| Error::Start("mutants --list".to_owned(), source))?;
    if !output.status.success() {
        return Err(Error::Ended(output.status.code().unwrap_or(-1)));
    }
    let names = String::from_utf8_lossy(&output.stdout);
    Ok(names.lines().map(str::to_owned).collect())
}

/// Returns at most `size` names for each file, selected by `seed`.
fn sample(names: &[String], size: usize, seed: u64) -> Vec<String> {
    let mut files: BTreeMap<&str, Vec<&String>> = BTreeMap::new();
    names.iter().for_each(|name| files.entry(file(name)).or_default().push(name));
    let draw = |mut names: Vec<&String>| {
        names.sort_by_key(|name| (lot(seed, name), *name));
        names.truncate(size);
        names.into_iter().cloned().collect::<Vec<_>>()
    };
    files.into_values().flat_map(draw).collect()
}

/// Returns the sort key of a name: FNV-1a over the seed and the name. It is the same on every machine.
fn lot(seed: u64, name: &str) -> u64 {
    let bytes = seed.to_le_bytes().into_iter().chain(name.bytes());
    bytes.fold(0xcbf2_9ce4_8422_2325, |lot, byte| (lot ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

/// Returns the file of a name `FILE:LINE:COLUMN: WHAT`.
fn file(name: &str) -> &str {
    name.split(':').next().unwrap_or(name)
}

/// Tries only the mistakes with these names.
fn try_out(names: &[String], output: &Path) -> Result<(), Error> {
    let mut command = mutants();
    command.args(["--cap-lints", "true", "--no-shuffle", "--output"]).arg(output);
    for name in names {
        command.arg("--re").arg(exactly(name));
    }
    let status = command.status().map_err(|source| Error::Start("mutants".to_owned(), source))?;
    match status.code() {
        Some(code) if DONE.contains(&code) => Ok(()),
        code => Err(Error::Ended(code.unwrap_or(-1))),
    }
}

/// Returns the regular expression that matches only `name`.
fn exactly(name: &str) -> String {
    let mut pattern = "^".to_owned();
    for character in name.chars() {
        if SPECIAL.contains(&character) {
            pattern.push('\\');
        }
        pattern.push(character);
    }
    pattern + "$"
}

/// The results of the mistakes.
#[derive(Default)]
struct Scores {
    files: BTreeMap<String, Score>,
    missed: Vec<String>,
}

/// The results for one file. A mistake that does not compile shows nothing about the tests, so it is not counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Score {
    caught: usize,
    missed: usize,
}

impl Score {
    fn percent(self) -> usize {
        (self.caught * 100).checked_div(self.caught + self.missed).unwrap_or(100)
    }
}

impl Scores {
    /// Reads the lists in `folder`. A mistake with a timeout counts as caught, because a developer would notice it.
    fn read(folder: &Path) -> io::Result<Self> {
        let mut scores = Self::default();
        for (list, is_caught) in [("caught.txt", true), ("timeout.txt", true), ("missed.txt", false)] {
            scores.add(&fs::read_to_string(folder.join(list))?, is_caught);
        }
        Ok(scores)
    }

    fn add(&mut self, list: &str, is_caught: bool) {
        for name in list.lines().filter(|line| !line.is_empty()) {
            let score = self.files.entry(file(name).to_owned()).or_default();
            if is_caught {
                score.caught += 1;
            } else {
                score.missed += 1;
                self.missed.push(name.to_owned());
            }
        }
    }

    /// Returns a table with one row for each file, and the missed mistakes.
    fn lines(&self) -> Vec<String> {
        let sum = self.files.values().fold(Score::default(), |sum, score| Score {
            caught: sum.caught + score.caught,
            missed: sum.missed + score.missed,
        });
        let width = self.files.keys().map(String::len).max().unwrap_or_default().max("together".len());
        let row = |name: &str, score: Score| {
            let Score { caught, missed } = score;
            format!("{name:width$}  {caught:6}  {missed:6}  {:4} %", score.percent())
        };
        let head = format!("{:width$}  caught  missed   share", "file");
        let rows = self.files.iter().map(|(name, score)| row(name, *score));
        let missed = self.missed.iter().map(|name| format!("missed  {name}"));
        [String::new(), head].into_iter().chain(rows).chain([row("together", sum)]).chain(missed).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(file: &str, count: usize) -> Vec<String> {
        (0..count).map(|line| format!("{file}:{line}:5: replace f -> bool with true")).collect()
    }

    #[test]
    fn a_sample_is_of_each_file_and_the_same_for_the_same_seed() {
        let all = [names("a.rs", 40), names("b.rs", 3)].concat();
        let chosen = sample(&all, 12, 1);
        let of = |file: &str| chosen.iter().filter(|name| name.starts_with(file)).count();
        assert_eq!((of("a.rs"), of("b.rs")), (12, 3));
        let turned: Vec<_> = all.iter().rev().cloned().collect();
        assert_eq!(sample(&turned, 12, 1), chosen, "the order of the list is no matter");
        assert_ne!(sample(&all, 12, 2), chosen);
    }

    #[test]
    fn a_name_is_matched_alone() {
        let name = "a.rs:1:5: replace <impl F for G<'_>>::f -> Option<(u8, u8)> with Some((0, 1))";
        let expected =
            r"^a\.rs:1:5: replace <impl F for G<'_>>::f \-> Option<\(u8, u8\)> with Some\(\(0, 1\)\)$";
        assert_eq!(exactly(name), expected);
    }

    #[test]
    fn scores_are_told_a_file_a_row_with_what_was_missed() {
        let mut scores = Scores::default();
        scores.add(&names("a.rs", 3).join("\n"), true);
        scores.add("a.rs:9:1: replace + with -\n", false);
        let lines = scores.lines();
        assert_eq!(lines[2], "a.rs           3       1    75 %");
        assert_eq!(lines[3], "together       3       1    75 %");
        assert_eq!(lines[4], "missed  a.rs:9:1: replace + with -");
    }
}
