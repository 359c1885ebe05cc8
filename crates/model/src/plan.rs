//! The plan of one host: the steps from its current state to its catalog.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::catalog::DriftMode;
use crate::change::Change;
use crate::id::{Address, Digest};

/// The result of a look at a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostPlan {
    /// A digest of everything in the plan. `act` proceeds only if its own look gives the same token. Its key includes
    /// the secrets of the plan. In events it is all zeros.
    pub token: Digest,
    /// The steps, in the order of apply.
    pub steps: Vec<Step>,
    /// The number of resources that are in sync.
    pub in_sync: u32,
    /// The once-resources that were already run, as indices into the catalog.
    #[serde(default)]
    pub known_once: Vec<u32>,
    /// The reasons why the host cannot be applied. If there is one, nothing on the host is changed.
    pub problems: Vec<Problem>,
    /// The resources that an act does not change, in the order of the catalog. They cannot be planned, or wait for one
    /// that cannot be planned.
    #[serde(default)]
    pub blocked: Vec<Blocked>,
    /// Whether the host's ledger records the same as the catalog. If not, a host in sync gets one more visit, which
    /// records what was found.
    pub ledger_complete: bool,
    /// The run that holds the lock of the host, if there is one.
    pub busy: Option<Holder>,
    /// An interrupted run. Its journal is still open; the next `act` cleans up after it.
    pub interrupted: Option<String>,
    /// The number of unreadable lines in the host's journal that are followed by readable ones. Their information is
    /// lost.
    #[serde(default)]
    pub damaged: u32,
    /// A run whose access-critical changes were not confirmed, so that the host has reverted them.
    #[serde(default)]
    pub reverted: Option<String>,
}

/// One step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Step {
    /// The resource, as an index into the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// Its kind.
    pub kind: String,
    /// The change.
    pub change: Change,
    /// For a notified action: the addresses of the resources that notify it.
    pub because: Vec<Address>,
    /// Whether an earlier run owed it.
    pub owed: bool,
    /// The origin of the difference: the host or the inventory. It is set after the token was made, because the
    /// token does not depend on the ledger.
    #[serde(default)]
    pub drift: Drift,
    /// Whether it may cut off the connection to the host. The host reverts it unless a new connection confirms it.
    #[serde(default)]
    pub guarded: bool,
    /// A known objection to the step.
    #[serde(default)]
    pub warning: Option<String>,
}

/// The origin of a difference, and the action of the daemon.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drift {
    /// The origin of the difference.
    pub cause: Cause,
    /// The action of the daemon on the resource.
    pub mode: DriftMode,
}

/// The origin of a difference to the last apply, which the host's ledger records.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Cause {
    /// The host: the catalog asks for the same as at the last apply.
    Corrective,
    /// The inventory: the catalog asks for something that was not applied yet.
    #[default]
    Intentional,
    /// The host and the inventory, in different properties.
    Both {
        /// The properties that changed on the host, as indices into the properties of the change.
        corrective: Vec<u32>,
    },
    /// Neither: the step is done in every run.
    Always,
}

/// A resource that an act does not change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blocked {
    /// The resource, as an index into the catalog.
    pub resource: u32,
    /// Its address.
    pub address: Address,
    /// The resource that it waits for, which cannot be planned or waits itself. None if this resource itself cannot be
    /// planned.
    pub because: Option<Address>,
    /// The reason, as a fragment.
    pub why: String,
    /// Advice for the user.
    pub help: Option<String>,
    /// Whether the resource has `may-fail`.
    pub may_fail: bool,
}

/// Why a host cannot be applied.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// The resource that cannot be planned. None if the problem concerns the whole host.
    pub address: Option<Address>,
    /// The mistake, as a fragment.
    pub message: String,
    /// Advice for the user.
    pub help: Option<String>,
}

/// The run that holds a host's lock.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Holder {
    /// The id of the run.
    pub run: String,
    /// The user who started the run, and the controller: `ada@laptop`.
    pub by: String,
    /// The start, in seconds since the epoch, by the host's clock.
    pub since: u64,
    /// The seconds for which the run had held the lock when the host was asked, by the host's clock.
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

    /// Returns the resources that cannot be planned and may not fail. With one of them the host cannot reach its
    /// desired state.
    pub fn impossible(&self) -> impl Iterator<Item = &Blocked> {
        self.blocked.iter().filter(|one| one.because.is_none() && !one.may_fail)
    }

    /// Turns resources that cannot be planned into problems, so that the host is not applied at all.
    pub fn refuse_impossible(&mut self) {
        let (impossible, others) = std::mem::take(&mut self.blocked)
            .into_iter()
            .partition(|one| one.because.is_none() && !one.may_fail);
        self.blocked = others;
        let impossible: Vec<Blocked> = impossible;
        self.problems.extend(impossible.into_iter().map(Blocked::into_problem));
    }

    /// Returns the steps that exist because the host changed. Steps with `drift="ignore"` and actions that follow from
    /// other steps are left out.
    pub fn drifted(&self) -> impl Iterator<Item = &Step> {
        let counts = |step: &&Step| step.is_corrective() && step.because.is_empty();
        self.steps.iter().filter(counts).filter(|step| step.drift.mode != DriftMode::Ignore)
    }

    /// Returns the steps that exist because the inventory asks for something new, with the same exceptions.
    pub fn pending(&self) -> impl Iterator<Item = &Step> {
        let counts = |step: &&Step| step.is_intentional() && step.because.is_empty();
        self.steps.iter().filter(counts).filter(|step| step.drift.mode != DriftMode::Ignore)
    }
}

impl Blocked {
    /// Returns the same as a problem of the host.
    pub fn into_problem(self) -> Problem {
        Problem { address: Some(self.address), message: self.why, help: self.help }
    }
}

impl Step {
    /// The index of a step that is not in the host's catalog. The rollout of the host does it around the host's own
    /// steps.
    pub const AROUND: u32 = u32::MAX;

    /// Whether the rollout does it around the host's own steps.
    pub fn is_around(&self) -> bool {
        self.resource == Self::AROUND
    }

    /// Whether the host changed.
    pub fn is_corrective(&self) -> bool {
        matches!(self.drift.cause, Cause::Corrective | Cause::Both { .. })
    }

    /// Whether the inventory asks for something new.
    pub fn is_intentional(&self) -> bool {
        matches!(self.drift.cause, Cause::Intentional | Cause::Both { .. })
    }

    /// Whether the property at index `place` changed on the host.
    pub fn property_drifted(&self, place: usize) -> bool {
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
    fn what_drifted_is_counted_without_what_follows_from_it_and_what_the_policy_ignores() {
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
        let drifted: Vec<_> =
            plan.steps.iter().map(|step| (step.property_drifted(0), step.property_drifted(1))).collect();
        assert_eq!(drifted[..5], [(true, true), (true, true), (false, false), (false, false), (false, true)]);
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
