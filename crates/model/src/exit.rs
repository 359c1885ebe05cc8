//! The exit codes of `converge`. They are a public interface: scripts rely on them.

use crate::report::HostState;

/// All hosts are in sync, or were changed without an error.
pub const OK: u8 = 0;
/// An error before the run touched any host: a wrong inventory, wrong arguments, an unreadable project.
pub const ERROR: u8 = 1;
/// Changes are pending, and `--detailed-exitcode` or `--fail-on-drift` was given.
pub const PENDING: u8 = 2;
/// A host failed, reverted a change, or cannot be planned.
pub const FAILED: u8 = 3;
/// Some hosts could not be reached, and no host failed.
pub const UNREACHABLE: u8 = 4;
/// Another run holds a host.
pub const LOCKED: u8 = 5;
/// A host or the inventory changed after the plan was made.
pub const STALE: u8 = 6;
/// Stopped by the user.
pub const INTERRUPTED: u8 = 130;

/// Returns the exit code of a run whose hosts ended in `states`: the first that applies of 3, 6, 5, 4, 2, 0. `detailed`
/// allows [`PENDING`]. A stale host counts as failed if another host was changed.
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
