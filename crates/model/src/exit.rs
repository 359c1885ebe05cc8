//! The exit codes of `converge`. They are published: scripts rely on them.

use crate::report::HostState;

/// Everything is as it should be, or was made so.
pub const OK: u8 = 0;
/// An error before any host was touched: a bad inventory, bad arguments, a project that cannot be read.
pub const ERROR: u8 = 1;
/// Changes are pending, where `--detailed-exitcode` or `--fail-on-drift` asks to hear of it.
pub const PENDING: u8 = 2;
/// A host failed, took a change back, or cannot be planned.
pub const FAILED: u8 = 3;
/// Hosts could not be reached, and none failed.
pub const UNREACHABLE: u8 = 4;
/// Another run holds a host.
pub const LOCKED: u8 = 5;
/// A host or the inventory moved on since the plan was made.
pub const STALE: u8 = 6;
/// Stopped by the user.
pub const INTERRUPTED: u8 = 130;

/// The code of a run over hosts that ended in `states`: the first that applies of 3, 6, 5, 4, 2, 0. `detailed` asks for
/// [`PENDING`]. A host that is stale while another was changed counts as failed.
pub fn of_run(states: impl IntoIterator<Item = HostState>, detailed: bool) -> u8 {
    let states: Vec<_> = states.into_iter().collect();
    let any = |wanted: &[HostState]| states.iter().any(|state| wanted.contains(state));
    use HostState::{
        Changed, Failed, Interrupted, Locked, NotStarted, Pending, Reverted, Stale, Unplannable, Unreachable,
    };
    let stale = any(&[Stale]);
    if any(&[Failed, Unplannable, Reverted, Interrupted]) || (stale && any(&[Changed])) {
        FAILED
    } else if stale {
        STALE
    } else if any(&[Locked]) {
        LOCKED
    } else if any(&[Unreachable]) {
        UNREACHABLE
    } else if any(&[NotStarted]) {
        FAILED
    } else if detailed && any(&[Pending]) {
        PENDING
    } else {
        OK
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use HostState::*;

    #[test]
    fn the_first_that_applies_wins() {
        let check = |states: &[HostState], code: u8| assert_eq!(of_run(states.iter().copied(), true), code);
        check(&[InSync, Changed], OK);
        check(&[Done], OK);
        check(&[Done, Unreachable], UNREACHABLE);
        check(&[InSync, Pending], PENDING);
        check(&[Pending, Unreachable], UNREACHABLE);
        check(&[Unreachable, Locked], LOCKED);
        check(&[Locked, Stale], STALE);
        check(&[Stale, Changed], FAILED);
        check(&[Unreachable, Failed], FAILED);
        check(&[Reverted], FAILED);
        assert_eq!(of_run([Pending], false), OK);
    }
}
