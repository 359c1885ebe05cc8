//! How much memory the reading of a project may take. Steps and outputs of templates are counted by the language; what
//! a template keeps on the way, `x ~ x` again and again, can only be seen from outside.

use std::fs;
use std::process;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use crate::failure::Failure;

/// By how much a process may grow, in KiB: several times what the largest inventory takes.
const LIMIT: u64 = 2 << 20;
/// How often that is looked at: in the meantime a template fills a small part of the limit.
const OFTEN: Duration = Duration::from_millis(20);

/// Does `work`; ends the process, with an error that says why, where it takes up more and more memory.
#[expect(
    clippy::exit,
    reason = "memory that is gone cannot be asked to come back: the work itself has no way to stop"
)]
pub(crate) fn bounded<T>(work: impl FnOnce() -> T) -> T {
    let before = resident();
    let (end, ended) = mpsc::channel::<()>();
    thread::scope(|scope| {
        // It ends with the sender, also where `work` panics.
        let end = end;
        let watch = move || {
            while ended.recv_timeout(OFTEN) == Err(RecvTimeoutError::Timeout) {
                if resident().saturating_sub(before) > LIMIT {
                    process::exit(i32::from(too_much().show()));
                }
            }
        };
        // Where no thread is to be had, there is nobody who watches.
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

/// What the process holds, in KiB; nothing where the system does not say.
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
