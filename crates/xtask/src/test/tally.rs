//! Counts tests by reading the output of their runner.

use std::fmt;
use std::iter::Sum;

use super::echo::Ended;

/// How many tests passed, failed and were skipped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Tally {
    pub(super) passed: usize,
    pub(super) failed: usize,
    pub(super) skipped: usize,
}

impl Tally {
    /// Counts tests as skipped that skipped themselves. Their runner counts them as passed.
    pub(super) fn with_skipped(self, count: usize) -> Self {
        Self { passed: self.passed.saturating_sub(count), skipped: self.skipped + count, ..self }
    }
}

impl Sum for Tally {
    fn sum<I: Iterator<Item = Self>>(tallies: I) -> Self {
        tallies.fold(Self::default(), |sum, next| Self {
            passed: sum.passed + next.passed,
            failed: sum.failed + next.failed,
            skipped: sum.skipped + next.skipped,
        })
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{} passed, {} failed, {} skipped", self.passed, self.failed, self.skipped)
    }
}

/// The program that runs the tests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Runner {
    /// `cargo test`, which every toolchain has.
    Cargo,
    /// `cargo nextest`: a process for each test.
    Nextest,
}

impl Runner {
    /// The words after `cargo`.
    pub(super) fn words(self) -> &'static [&'static str] {
        match self {
            Self::Cargo => &["test", "--no-fail-fast"],
            Self::Nextest => &["nextest", "run", "--no-fail-fast", "--no-tests", "pass", "--color", "never"],
        }
    }

    /// Counts the tests of a run. A run without a count in its output ran none.
    pub(super) fn count(self, ended: &Ended) -> Tally {
        match self {
            Self::Cargo => ended.stdout.iter().filter_map(|line| cargo_line(line)).sum(),
            // The output of failed tests comes before the summary, so search from the end.
            Self::Nextest => {
                ended.stderr.iter().rev().find_map(|line| nextest_line(line)).unwrap_or_default()
            }
        }
    }
}

/// `test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s`
fn cargo_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.strip_prefix("test result: ")?.split_once(". ")?;
    let count = |name| counts.split("; ").find_map(|part| part.strip_suffix(name)?.trim().parse().ok());
    Some(Tally { passed: count("passed")?, failed: count("failed")?, skipped: count("ignored")? })
}

/// `Summary [   0.071s] 5/21 tests run: 3 passed (1 slow), 1 failed, 1 timed out, 2 skipped`
fn nextest_line(line: &str) -> Option<Tally> {
    let (_, counts) = line.trim_start().strip_prefix("Summary [")?.split_once("] ")?;
    let (run, counts) = counts.split_once(" run: ")?;
    let run: usize = run.split(' ').next()?.split('/').next()?.parse().ok()?;
    let count = |name| {
        let found = counts.split(", ").find(|part| part.split(' ').nth(1) == Some(name));
        found.and_then(|part| part.split(' ').next()?.parse().ok()).unwrap_or(0)
    };
    let passed = count("passed");
    // Tests that failed, timed out or did not start: all that did not pass.
    Some(Tally { passed, failed: run.saturating_sub(passed), skipped: count("skipped") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Runner, printed: &str, expected: (usize, usize, usize)) {
        let lines: Vec<String> = printed.lines().map(str::to_owned).collect();
        let ended = match runner {
            Runner::Cargo => Ended { stdout: lines, ..Ended::default() },
            Runner::Nextest => Ended { stderr: lines, ..Ended::default() },
        };
        let Tally { passed, failed, skipped } = runner.count(&ended);
        assert_eq!((passed, failed, skipped), expected, "{printed}");
    }

    #[test]
    fn cargo_counts_add_up_over_targets() {
        let ok =
            "test result: ok. 3 passed; 0 failed; 1 ignored; 0 measured; 2 filtered out; finished in 0.01s";
        let bad =
            "test result: FAILED. 1 passed; 2 failed; 0 ignored; 0 measured; 0 filtered out; finished in 0s";
        check(Runner::Cargo, &format!("running 3 tests\n{ok}\n\n{bad}\n"), (4, 2, 1));
        check(Runner::Cargo, "error: could not compile", (0, 0, 0));
    }

    #[test]
    fn nextest_counts_come_from_the_last_summary() {
        let line = "     Summary [   0.071s] 21 tests run: 21 passed, 0 skipped";
        check(Runner::Nextest, line, (21, 0, 0));
        let line = "Summary [ 1.0s] 1 test run: 0 passed, 1 failed, 29 skipped";
        check(Runner::Nextest, line, (0, 1, 29));
        let line =
            "Summary [ 9.0s] 5/21 tests run: 2 passed (1 slow, 1 leaky), 1 failed, 2 timed out, 3 skipped";
        check(Runner::Nextest, line, (2, 3, 3));
        let quoted = "Summary [ 0.1s] 7 tests run: 7 passed, 0 skipped\nSummary [ 0.2s] 1 test run: 1 passed, 0 skipped";
        check(Runner::Nextest, quoted, (1, 0, 0));
        check(Runner::Nextest, "error: no such command", (0, 0, 0));
    }

    #[test]
    fn tests_that_skip_themselves_did_not_pass() {
        let tally = Tally { passed: 5, failed: 1, skipped: 0 }.with_skipped(2);
        assert_eq!(tally.to_string(), "3 passed, 1 failed, 2 skipped");
    }
}
