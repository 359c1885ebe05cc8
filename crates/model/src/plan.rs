//! The plan of one host: the steps that would make it what its catalog says.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::DriftMode;
use crate::change::Change;
use crate::id::{Address, Digest};

/// What `look` found on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// Stands for everything that the plan says; `act` goes on only if its own look comes to the same. Keyed with the
    /// secrets that the plan holds; only zeros once it is told in an event.
    pub token: Digest,
    /// The steps, in the order in which they are applied.
    pub steps: Vec<Step>,
    /// How many resources need nothing.
    pub in_sync: u32,
    /// The resources that run once for all hosts and were run already, as places in the catalog.
    #[serde(default)]
    pub known_once: Vec<u32>,
    /// Why the host cannot be acted on. With one of them nothing on it is.
    pub problems: Vec<Problem>,
    /// The resources that an act leaves as they are, in the order of the catalog: those that cannot be planned, and those
    /// that wait for them.
    #[serde(default)]
    pub blocked: Vec<Blocked>,
    /// Whether the host's ledger says what the catalog says: a host in sync whose ledger does not is visited once more
    /// to record what was found.
    pub ledger_complete: bool,
    /// The run that is at work on the host, if one is.
    pub busy: Option<Holder>,
    /// A run that was interrupted: its journal is open, and the next `act` cleans up after it.
    pub interrupted: Option<String>,
    /// How many lines of the host's journal cannot be read, though sound ones stand behind them: what they said is lost.
    #[serde(default)]
    pub damaged: u32,
    /// A run whose access-critical changes nobody confirmed: the host has taken them back.
    #[serde(default)]
    pub reverted: Option<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The resource, as a place in the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// What changes.
    pub change: Change,
    /// For a notified action: the addresses of what causes it.
    pub because: Vec<Address>,
    /// Whether it is owed from an earlier run.
    pub owed: bool,
    /// Who moved: the host or the inventory. Said after the token was made: what a plan stands for is no matter of the
    /// ledger.
    #[serde(default)]
    pub drift: Drift,
    /// Whether it may cut the host off: it is made under a revert that a new connection must call off.
    #[serde(default)]
    pub guarded: bool,
    /// What is known to speak against it.
    #[serde(default)]
    pub warning: Option<String>,
}

/// Who moved, and what the daemon does about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// Who moved.
    pub cause: Cause,
    /// What the daemon does about the resource.
    pub mode: DriftMode,
}

/// Who moved, by what the host's ledger says was last applied.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The host: what is asked is what was last applied.
    Corrective,
    /// The inventory: what is asked was not applied yet.
    #[default]
    Intentional,
    /// The host and the inventory, each in other properties.
    Both {
        /// The places, in the properties of the change, of those that moved on the host.
        corrective: Vec<u32>,
    },
    /// Nobody: it is done in every run.
    Always,
}

/// A resource that an act leaves as it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The resource, as a place in the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// The resource that it waits for and that cannot be planned, or waits itself; none if it cannot be planned itself.
    pub because: Option<Address>,
    /// Why, as a fragment.
    pub why: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Whether the resource says `may-fail`.
    pub may_fail: bool,
}

/// Why a host cannot be acted on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The resource that cannot be planned; none where it is the host as a whole.
    pub address: Option<Address>,
    /// What is wrong, as a fragment.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// Who holds a host's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The run.
    pub run: String,
    /// Who started it, and from where: `ada@laptop`.
    pub by: String,
    /// Seconds since the epoch, by the host's clock.
    pub since: u64,
    /// For how many seconds it had been held when it was asked about, by the host's clock.
    #[serde(default)]
    pub held: u64,
}

impl fmt::Display for Holder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let held = match self.held {
            seconds @ 0..120 => format!("{seconds} s"),
            seconds @ 120..7200 => format!("{} min", seconds / 60),
            seconds => format!("{} h", seconds / 3600),
        };
        write!(f, "run {} of {} has been at work there for {held}", self.run, self.by)
    }
}

impl HostPlan {
    /// Whether anything would change.
    pub fn is_empty(&self) -> bool {
        self.steps.is_empty()
    }

    /// The resources that cannot be planned and may not fail: with one of them the host does not become what it should be.
    pub fn impossible(&self) -> impl Iterator<Item = &Blocked> {
        self.blocked.iter().filter(|one| one.because.is_none() && !one.may_fail)
    }

    /// Makes a host that cannot become all that it should be one that is not acted on at all.
    pub fn refuse_impossible(&mut self) {
        let (impossible, others) = std::mem::take(&mut self.blocked)
            .into_iter()
            .partition(|one| one.because.is_none() && !one.may_fail);
        self.blocked = others;
        let impossible: Vec<Blocked> = impossible;
        self.problems.extend(impossible.into_iter().map(Blocked::into_problem));
    }

    /// The steps that are there because the host moved: without those that nobody wants to hear of, and without the
    /// actions that only follow from others.
    pub fn drifted(&self) -> impl Iterator<Item = &Step> {
        let counts = |step: &&Step| step.is_corrective() && step.because.is_empty();
        self.steps.iter().filter(counts).filter(|step| step.drift.mode != DriftMode::Ignore)
    }

    /// The steps that are there because the inventory asks for something new, in the same way.
    pub fn pending(&self) -> impl Iterator<Item = &Step> {
        let counts = |step: &&Step| step.is_intentional() && step.because.is_empty();
        self.steps.iter().filter(counts).filter(|step| step.drift.mode != DriftMode::Ignore)
    }
}

impl Blocked {
    /// The same as a mistake of the host.
    pub fn into_problem(self) -> Problem {
        Problem { address: Some(self.address), message: self.why, help: self.help }
    }
}

impl Step {
    /// The place of a step that is in no catalog of its host: it is done around the host, by its rollout.
    pub const AROUND: u32 = u32::MAX;

    /// Whether it is done around the host, because of its other steps.
    pub fn is_around(&self) -> bool {
        self.resource == Self::AROUND
    }

    /// Whether the host moved.
    pub fn is_corrective(&self) -> bool {
        matches!(self.drift.cause, Cause::Corrective | Cause::Both { .. })
    }

    /// Whether the inventory asks for something new.
    pub fn is_intentional(&self) -> bool {
        matches!(self.drift.cause, Cause::Intentional | Cause::Both { .. })
    }

    /// Whether the property at `place` moved on the host.
    pub fn moved(&self, place: usize) -> bool {
        match &self.drift.cause {
            Cause::Corrective => true,
            Cause::Both { corrective } => corrective.iter().any(|other| *other as usize == place),
            Cause::Intentional | Cause::Always => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::change::Verb;

    #[test]
    fn what_drifted_is_counted_without_what_follows_from_it_and_what_nobody_wants_to_hear_of() {
        let step = |cause: Cause, mode: DriftMode| Step {
            resource: 0,
            address: Address::new(None, "file", "/a"),
            kind: "file".into(),
            change: Change::new(Verb::Update),
            because: Vec::new(),
            owed: false,
            drift: Drift { cause, mode },
            guarded: false,
            warning: None,
        };
        let follows = Step {
            because: vec![Address::new(None, "file", "/a")],
            ..step(Cause::Corrective, DriftMode::Correct)
        };
        let both = Cause::Both { corrective: vec![1] };
        let plan = HostPlan {
            token: Digest::of(b""),
            steps: vec![
                step(Cause::Corrective, DriftMode::Report),
                step(Cause::Corrective, DriftMode::Ignore),
                step(Cause::Intentional, DriftMode::Report),
                step(Cause::Always, DriftMode::Report),
                step(both, DriftMode::Correct),
                follows,
            ],
            in_sync: 0,
            known_once: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            ledger_complete: true,
            busy: None,
            interrupted: None,
            damaged: 0,
            reverted: None,
        };
        assert_eq!((plan.drifted().count(), plan.pending().count()), (2, 2));
        let moved: Vec<_> = plan.steps.iter().map(|step| (step.moved(0), step.moved(1))).collect();
        assert_eq!(moved[..5], [(true, true), (true, true), (false, false), (false, false), (false, true)]);
    }

    #[test]
    fn a_holder_is_told_with_how_long_it_has_been_there() {
        let check = |held: u64, words: &str| {
            let holder = Holder { run: "r1".into(), by: "ada@laptop".into(), since: 7, held };
            assert_eq!(
                holder.to_string(),
                format!("run r1 of ada@laptop has been at work there for {words}")
            );
        };
        check(3, "3 s");
        check(200, "3 min");
        check(7200, "2 h");
    }
}
