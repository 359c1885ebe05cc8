//! Limits the memory for reading a project. The language counts the steps and output of templates. Memory that a
//! template uses meanwhile, with `x ~ x` again and again, can only be measured from outside.

use std::fs;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// How much a process may grow, in KiB: several times the need of the largest inventory.
const LIMIT: u64 = 2 << 20;
/// How often the memory is measured. In this time a template can fill only a small part of the limit.
const OFTEN: Duration = Duration::from_millis(20);

/// Runs `work`. If the process grows beyond the limit, ends it with an error that says why.
#[expect(
    clippy::exit,
    reason = "memory that is gone cannot be asked to come back: the work itself has no way to stop"
)]
pub(crate) fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let before = resident();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // The watcher ends when the sender is dropped, also if `work` panics.
        let end = end;
        let watch = move || {
            while ended.recv_timeout(OFTEN) == Err(RecvTimeoutError::Timeout) {
                if resident().saturating_sub(before) > LIMIT {
                    process::exit(i32::from(too_much().show()));
                }
            }
        };
        // If no thread can be started, the memory is not watched.
        let _ = thread::Builder::new().name("memory".to_owned()).spawn_scoped(scope, watch);
        let done = work();
        drop(end);
        done
    })
}

fn too_much() -> Failure {
    Failure::new(format!("the inventory takes more than {} GiB of memory", LIMIT >> 20)).help(
        "look for a template whose text grows with each turn of a loop, as `x ~ x` does, and for lists of lists",
    )
}

/// Returns the memory of the process in KiB. Zero if the system does not report it.
fn resident() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.split_whitespace().next()?.parse().ok()).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_held_is_seen_and_the_result_comes_back() {
        assert!(resident() > 0);
        assert_eq!(bounded(|| 7), 7);
    }
}
