//! Where each host of a run stands: from the look at it to its end, one standing at a time. Pure: the run acts, and says so
//! here.
//!
//! A transition that is none of the listed ones changes nothing and returns nothing: a host that has ended stays ended.

use std::collections::HashMap;

use converge_model::{Digest, HostName, HostPlan, HostReport, HostState};

/// Where one host stands.
#[derive(Debug)]
pub(super) enum Standing {
    /// Its plan is not known yet.
    Unseen,
    /// The same, and the catalogs of other hosts read facts that it has yet to tell.
    Awaited,
    /// Its plan waits for those of the other hosts: it asks for what runs once, or for a selection that must exist somewhere.
    Held(Box<HostPlan>),
    /// It is to be acted on.
    Due(Work),
    /// It is acted on.
    Acting,
    /// It is done.
    Ended(End),
}

/// What is to be done on a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Work {
    /// Stands for its plan.
    pub(super) token: Digest,
    /// How many of its resources are in sync.
    pub(super) in_sync: u32,
    /// How it ends if the user does not agree to that.
    pub(super) otherwise: HostState,
    /// Whether the host would change; else something is to be recorded there.
    pub(super) changes: bool,
}

/// How a host ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) state: HostState,
    /// Whether it was changed, whatever its state.
    pub(super) changed: bool,
    /// Whether it moved away from what was last applied.
    pub(super) drifted: bool,
}

impl End {
    /// The end that a report tells of.
    pub(super) fn of(report: &HostReport) -> Self {
        Self { state: report.state, changed: report.changes() > 0, drifted: false }
    }

    /// Whether it counts against a budget, and keeps the hosts that wait for this one from being started.
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

    /// Whether it is to be acted on, and would change.
    pub(super) fn would_change(&self) -> bool {
        matches!(self, Self::Due(Work { changes: true, .. }))
    }

    pub(super) fn is_acting(&self) -> bool {
        matches!(self, Self::Acting)
    }

    /// How it ended, if it did.
    pub(super) fn end(&self) -> Option<End> {
        if let Self::Ended(end) = self { Some(*end) } else { None }
    }

    /// How it ended, if that is a loss.
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

    /// Where `host` stands; none: it is no host of the run.
    pub(super) fn of(&self, host: &HostName) -> Option<&Standing> {
        self.standings.get(host)
    }

    /// Whether `host` is one of the run and stands so.
    pub(super) fn is(&self, host: &HostName, so: fn(&Standing) -> bool) -> bool {
        self.of(host).is_some_and(so)
    }

    /// Whether any host stands so.
    pub(super) fn any(&self, so: fn(&Standing) -> bool) -> bool {
        self.standings.values().any(so)
    }

    /// The hosts that stand so, in the order of the inventory.
    pub(super) fn which(&self, so: fn(&Standing) -> bool) -> Vec<HostName> {
        self.hosts.iter().filter(|host| self.is(host, so)).cloned().collect()
    }

    /// How the hosts ended that did.
    pub(super) fn ends(&self) -> impl Iterator<Item = End> + '_ {
        self.standings.values().filter_map(Standing::end)
    }

    /// Other hosts' catalogs read facts that `host` has yet to tell.
    pub(super) fn await_facts(&mut self, host: &HostName) {
        self.step(host, Standing::is_open, Standing::Awaited);
    }

    /// Keeps the plan of `host` until those of all hosts are known.
    pub(super) fn hold(&mut self, host: &HostName, plan: HostPlan) {
        self.step(host, Standing::is_open, Standing::Held(Box::new(plan)));
    }

    /// The plan of `host` that was kept; its host stands as if it had not been looked at.
    pub(super) fn release(&mut self, host: &HostName) -> Option<HostPlan> {
        match self.step(host, Standing::is_held, Standing::Unseen)? {
            Standing::Held(plan) => Some(*plan),
            _ => None,
        }
    }

    /// There is work on `host`.
    pub(super) fn plan(&mut self, host: &HostName, work: Work) {
        self.step(host, Standing::is_open, Standing::Due(work));
    }

    /// The work on `host`, which is acted on from now on.
    pub(super) fn start(&mut self, host: &HostName) -> Option<Work> {
        match self.step(host, Standing::is_due, Standing::Acting)? {
            Standing::Due(work) => Some(work),
            _ => None,
        }
    }

    /// Ends `host`, and returns where it stood.
    pub(super) fn end(&mut self, host: &HostName, end: End) -> Option<Standing> {
        self.step(host, Standing::is_under_way, Standing::Ended(end))
    }

    /// Moves `host` to `next`, if it stands so, and returns where it stood.
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
