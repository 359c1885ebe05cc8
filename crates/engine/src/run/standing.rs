//! The state of each host in a run, from the look to its end: one standing at a time. Pure: the run acts and records
//! the transitions here.
//!
//! A transition that is not listed changes nothing and returns nothing. So a host that has ended stays ended.

use std::collections::HashMap;

use converge_model::{Digest, HostName, HostPlan, HostReport, HostState};

/// The state of one host.
#[derive(Debug)]
pub(super) enum Standing {
    /// Its plan is not known yet.
    Unseen,
    /// Its plan is not known yet, and catalogs of other hosts read its facts.
    Awaited,
    /// Its plan waits for the plans of the other hosts: it has a once-step, or the run has a selection that some host
    /// must have.
    Held(Box<HostPlan>),
    /// It should be acted on.
    Due(Work),
    /// An agent is acting on it.
    Acting,
    /// It is done.
    Ended(End),
}

/// The work on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// Token of its plan.
    pub(super) token: Digest,
    /// How many of its resources are in sync.
    pub(super) in_sync: u32,
    /// The state of the host if the user does not agree.
    pub(super) otherwise: HostState,
    /// Whether the host would change. Otherwise the agent only records something there.
    pub(super) changes: bool,
}

/// How a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) state: HostState,
    /// Whether it was changed. This is independent of its state.
    pub(super) changed: bool,
    /// Whether it has drifted from what was last applied.
    pub(super) drifted: bool,
}

impl End {
    /// Returns the end of a host from its report.
    pub(super) fn of(report: &HostReport) -> Self {
        Self { state: report.state, changed: report.changes() > 0, drifted: false }
    }

    /// Whether it counts against the budget of failures, and prevents the start of hosts that wait for this one.
    pub(super) fn is_loss(self) -> bool {
        !matches!(self.state, HostState::InSync | HostState::Pending | HostState::Changed)
    }
}

impl Standing {
    /// Whether its plan is not known yet.
    pub(super) fn is_open(&self) -> bool {
        matches!(self, Self::Unseen | Self::Awaited)
    }

    pub(super) fn is_awaited(&self) -> bool {
        matches!(self, Self::Awaited)
    }

    pub(super) fn is_held(&self) -> bool {
        matches!(self, Self::Held(_))
    }

    pub(super) fn is_due(&self) -> bool {
        matches!(self, Self::Due(_))
    }

    /// Whether it should be acted on and would change.
    pub(super) fn would_change(&self) -> bool {
        matches!(self, Self::Due(Work { changes: true, .. }))
    }

    pub(super) fn is_acting(&self) -> bool {
        matches!(self, Self::Acting)
    }

    /// Returns how it ended, if it did.
    pub(super) fn end(&self) -> Option<End> {
        if let Self::Ended(end) = self { Some(*end) } else { None }
    }

    /// Returns how it ended, if the end is a loss.
    pub(super) fn loss(&self) -> Option<End> {
        self.end().filter(|end| end.is_loss())
    }

    fn is_under_way(&self) -> bool {
        self.end().is_none()
    }
}

/// The standings of the hosts of a run.
pub(super) struct Standings {
    /// The hosts, in the order of the inventory.
    hosts: Vec<HostName>,
    standings: HashMap<HostName, Standing>,
}

impl Standings {
    pub(super) fn new(hosts: &[HostName]) -> Self {
        let standings = hosts.iter().map(|host| (host.clone(), Standing::Unseen)).collect();
        Self { hosts: hosts.to_vec(), standings }
    }

    /// Returns the standing of `host`. None if it is not in the run.
    pub(super) fn of(&self, host: &HostName) -> Option<&Standing> {
        self.standings.get(host)
    }

    /// Whether `host` is in the run and its standing satisfies `so`.
    pub(super) fn is(&self, host: &HostName, so: fn(&Standing) -> bool) -> bool {
        self.of(host).is_some_and(so)
    }

    /// Whether the standing of any host satisfies `so`.
    pub(super) fn any(&self, so: fn(&Standing) -> bool) -> bool {
        self.standings.values().any(so)
    }

    /// Returns the hosts whose standing satisfies `so`, in the order of the inventory.
    pub(super) fn which(&self, so: fn(&Standing) -> bool) -> Vec<HostName> {
        self.hosts.iter().filter(|host| self.is(host, so)).cloned().collect()
    }

    /// Returns the ends of all hosts that have ended.
    pub(super) fn ends(&self) -> impl Iterator<Item = End> + '_ {
        self.standings.values().filter_map(Standing::end)
    }

    /// Marks `host` as awaited: catalogs of other hosts read its facts.
    pub(super) fn await_facts(&mut self, host: &HostName) {
        self.step(host, Standing::is_open, Standing::Awaited);
    }

    /// Keeps the plan of `host` until the plans of all hosts are known.
    pub(super) fn hold(&mut self, host: &HostName, plan: HostPlan) {
        self.step(host, Standing::is_open, Standing::Held(Box::new(plan)));
    }

    /// Returns the kept plan of `host`. The host's standing becomes unseen again.
    pub(super) fn release(&mut self, host: &HostName) -> Option<HostPlan> {
        match self.step(host, Standing::is_held, Standing::Unseen)? {
            Standing::Held(plan) => Some(*plan),
            _ => None,
        }
    }

    /// Sets the work on `host`.
    pub(super) fn plan(&mut self, host: &HostName, work: Work) {
        self.step(host, Standing::is_open, Standing::Due(work));
    }

    /// Starts `host`: returns its work and marks it as acting.
    pub(super) fn start(&mut self, host: &HostName) -> Option<Work> {
        match self.step(host, Standing::is_due, Standing::Acting)? {
            Standing::Due(work) => Some(work),
            _ => None,
        }
    }

    /// Ends `host` and returns its previous standing.
    pub(super) fn end(&mut self, host: &HostName, end: End) -> Option<Standing> {
        self.step(host, Standing::is_under_way, Standing::Ended(end))
    }

    /// Changes the standing of `host` to `next` if it satisfies `so`. Returns the previous standing.
    fn step(&mut self, host: &HostName, so: fn(&Standing) -> bool, next: Standing) -> Option<Standing> {
        let standing = self.standings.get_mut(host).filter(|standing| so(standing))?;
        Some(std::mem::replace(standing, next))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WORK: Work =
        Work { token: Digest::from_bytes([7; 32]), in_sync: 3, otherwise: HostState::Pending, changes: true };

    fn end(state: HostState) -> End {
        End { state, changed: false, drifted: false }
    }

    fn plan(in_sync: u32) -> HostPlan {
        HostPlan {
            token: Digest::from_bytes([0; 32]),
            steps: Vec::new(),
            in_sync,
            known_once: Vec::new(),
            problems: Vec::new(),
            blocked: Vec::new(),
            ledger_complete: true,
            busy: None,
            interrupted: None,
            damaged: 0,
            reverted: None,
        }
    }

    #[test]
    fn a_host_is_started_once_and_ends_once() {
        let host = HostName::new("a").unwrap();
        let mut standings = Standings::new(std::slice::from_ref(&host));
        assert_eq!(standings.start(&host), None, "nothing is to be done yet");
        standings.plan(&host, WORK);
        assert!(standings.any(Standing::would_change));
        assert_eq!(standings.start(&host), Some(WORK));
        assert_eq!(standings.start(&host), None, "it is acted on already");
        assert!(standings.end(&host, end(HostState::Changed)).is_some_and(|before| before.is_acting()));
        assert!(standings.end(&host, end(HostState::Failed)).is_none(), "it has ended");
        standings.plan(&host, WORK);
        standings.await_facts(&host);
        assert_eq!(standings.of(&host).and_then(Standing::end), Some(end(HostState::Changed)));
    }

    #[test]
    fn a_plan_that_is_held_is_neither_started_nor_awaited() {
        let host = HostName::new("a").unwrap();
        let mut standings = Standings::new(std::slice::from_ref(&host));
        standings.hold(&host, plan(5));
        standings.await_facts(&host);
        assert_eq!((standings.start(&host), standings.which(Standing::is_held)), (None, vec![host.clone()]));
        assert_eq!(standings.release(&host).map(|plan| plan.in_sync), Some(5));
        assert!(standings.release(&host).is_none() && standings.is(&host, Standing::is_open));
    }

    #[test]
    fn a_host_of_another_run_stands_nowhere() {
        let [ours, other] = ["a", "b"].map(|name| HostName::new(name).unwrap());
        let mut standings = Standings::new(&[ours]);
        standings.plan(&other, WORK);
        assert!(standings.of(&other).is_none() && standings.end(&other, end(HostState::Failed)).is_none());
    }

    #[test]
    fn a_loss_is_an_end_that_is_neither_in_sync_nor_pending_nor_changed() {
        use HostState::{Changed, Failed, InSync, NotStarted, Pending};
        let is_loss = [InSync, Pending, Changed, Failed, NotStarted].map(|state| end(state).is_loss());
        assert_eq!(is_loss, [false, false, false, true, true]);
    }
}
