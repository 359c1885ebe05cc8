//! Reads the lines of `--json` like a user's program: by docs/json.md, and only the fields that the tests need. The
//! format is public, so nothing here uses the code that writes it, except for the words of its enumerations.

use std::fmt;

use converge_model::catalog::DriftMode;
use converge_model::{HostState, Restoration, Stands, StepOutcome};
use serde::Deserialize;

/// A line that is not an event of a run: a mistake or a warning.
#[derive(Debug, Deserialize)]
pub struct Diagnostic {
    /// The mistake.
    pub message: String,
    /// The advice for the user.
    pub help: Option<String>,
}

/// One event of a run.
#[derive(Debug, Deserialize)]
pub struct Event {
    /// The id of the run.
    pub run: String,
    /// The host. None for the run as a whole.
    pub host: Option<String>,
    /// Its number among the events of the host.
    pub sequence: u64,
    /// The kind, with its details.
    #[serde(flatten)]
    pub kind: EventKind,
}

/// The kind, with its details.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "kebab-case", rename_all_fields = "kebab-case")]
pub enum EventKind {
    /// A host enters a phase.
    HostPhase {
        /// Its name.
        phase: String,
    },
    /// The plan of a host.
    Planned(Plan),
    /// A line of output of a step.
    Output {
        /// Its resource.
        address: String,
        /// The line.
        line: String,
    },
    /// A step ended.
    StepFinished(StepResult),
    /// An owed action was carried out.
    Paid {
        /// Its resource.
        address: String,
    },
    /// Guarded changes are armed.
    Armed {},
    /// The changes are confirmed.
    Confirmed {},
    /// The changes were reverted.
    Reverted {},
    /// A host is done.
    HostFinished(Report),
    /// The run is done.
    RunFinished {
        /// Its exit code.
        exit_code: u8,
    },
    /// Anything else.
    #[serde(other)]
    Other,
}

/// The plan of a host.
#[derive(Debug, Deserialize)]
pub struct Plan {
    /// Its steps.
    pub steps: Vec<Step>,
    /// Why nothing can be done on the host.
    pub problems: Vec<Problem>,
    /// The resources that an apply does not change.
    pub blocked: Vec<Blocked>,
    /// The run that holds the lock.
    pub busy: Option<Holder>,
    /// The run that was interrupted.
    pub interrupted: Option<String>,
    /// The run whose changes were reverted.
    pub reverted: Option<String>,
}

/// A step of a plan.
#[derive(Debug, Deserialize)]
pub struct Step {
    /// Its resource.
    pub address: String,
    /// The kind of the resource.
    pub kind: String,
    /// The changed properties.
    pub properties: Vec<Property>,
    /// Whether it is owed from an earlier run.
    pub owed: bool,
    /// Whether it is guarded.
    pub guarded: bool,
    /// The warning about it.
    pub warning: Option<String>,
    /// The cause of the change.
    pub drift: Drift,
}

/// A property before and after.
#[derive(Debug, Deserialize)]
pub struct Property {
    /// Its name.
    pub property: String,
    /// The value found.
    pub before: Option<String>,
    /// The value after the step.
    pub after: Option<String>,
}

/// The cause of a change.
#[derive(Debug, Deserialize)]
pub struct Drift {
    /// `host`, `inventory`, `both`, `always`.
    pub cause: String,
    /// The daemon's response.
    pub mode: DriftMode,
}

/// A resource that an apply does not change.
#[derive(Debug, Deserialize)]
pub struct Blocked {
    /// Its address.
    pub address: String,
    /// The reason.
    pub why: String,
    /// The advice for the user.
    pub help: Option<String>,
}

/// A problem of a host.
#[derive(Debug, Deserialize)]
pub struct Problem {
    /// The message, as a part of a sentence.
    pub message: String,
    /// The advice for the user.
    pub help: Option<String>,
}

/// The run that holds the lock of a host.
#[derive(Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub struct Holder {
    /// The run.
    pub run: String,
    /// The user who started it.
    pub by: String,
    /// When it took the lock, as RFC 3339 in UTC.
    pub since: String,
    /// How many seconds it has had the lock.
    pub held_seconds: u64,
}

/// The result of a host.
#[derive(Debug, Deserialize)]
pub struct Report {
    /// The state in which its run ended.
    pub state: HostState,
    /// Each step.
    pub results: Vec<StepResult>,
    /// The problems of the host as a whole.
    pub problems: Vec<Problem>,
}

/// A step and its result.
#[derive(Debug, Deserialize)]
#[serde(from = "Ended")]
pub struct StepResult {
    /// Its resource.
    pub address: String,
    /// The result.
    pub outcome: StepOutcome,
}

/// The fields of a result, as in the JSON.
#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
struct Ended {
    address: String,
    outcome: Word,
    why: Option<String>,
    output: Option<String>,
    #[serde(rename = "put-back")]
    restored: Option<Restoration>,
    stands: Option<String>,
    wrong_properties: Vec<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Word {
    Done,
    AlreadySo,
    Unforeseen,
    Failed,
    Skipped,
    Owed,
}

impl From<Ended> for StepResult {
    fn from(ended: Ended) -> Self {
        let why = ended.why.unwrap_or_default();
        let outcome = match ended.outcome {
            Word::Done => StepOutcome::Done,
            Word::AlreadySo => StepOutcome::AlreadySo,
            Word::Unforeseen => StepOutcome::Unforeseen,
            Word::Owed => StepOutcome::Owed,
            Word::Skipped => StepOutcome::Skipped { why },
            Word::Failed => StepOutcome::Failed {
                why,
                output: ended.output.unwrap_or_default(),
                restored: ended.restored.unwrap_or_default(),
                stands: match ended.stands.as_deref() {
                    Some("unchanged") => Stands::Unchanged,
                    Some("as-asked") => Stands::AsAsked,
                    Some("differs") => Stands::Differs { properties: ended.wrong_properties },
                    _ => Stands::Unknown,
                },
            },
        };
        Self { address: ended.address, outcome }
    }
}

impl Event {
    /// Reads a line.
    ///
    /// # Errors
    /// If it is not an event of a run. For a diagnostic, the error is its message.
    pub fn read(line: &str) -> Result<Self, String> {
        serde_json::from_str(line).map_err(|error| match serde_json::from_str::<Diagnostic>(line) {
            Ok(diagnostic) => diagnostic.to_string(),
            Err(_) => format!("{error}: {line}"),
        })
    }
}

/// Returns the plans in the lines of a run.
pub fn plans(lines: &str) -> impl Iterator<Item = Plan> {
    lines.lines().filter_map(|line| match Event::read(line).ok()?.kind {
        EventKind::Planned(plan) => Some(plan),
        _ => None,
    })
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.message)?;
        self.help.iter().try_for_each(|help| writeln!(f, "help: {help}"))
    }
}
