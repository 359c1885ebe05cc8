//! The lock of a host. `flock` decides; the text in the file is only information.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::time::Duration;

use converge_model::RunId;
use converge_model::plan::Holder;
use rustix::fs::FlockOperation;

use super::{State, StateError};

/// The lock, held until it is dropped or the process ends.
pub(crate) struct Lock {
    /// Open as long as the lock is held.
    _file: File,
}

impl Lock {
    /// Takes the lock for `run`, or returns its holder.
    pub(crate) fn take(
        state: &State,
        run: &RunId,
        by: &str,
        now: u64,
    ) -> Result<Result<Self, Holder>, StateError> {
        let path = state.path("lock");
        let fail = |source| StateError::File { what: "lock", path: path.clone(), source };
        let mut options = OpenOptions::new();
        let options = options.read(true).write(true).create(true).truncate(false).mode(0o600);
        let mut file = options.open(&path).map_err(fail)?;
        while rustix::fs::flock(&file, FlockOperation::NonBlockingLockExclusive).is_err() {
            if rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared).is_err() {
                return Ok(Err(holder_in(&mut file, now)));
            }
            // The lock is free: a look holds it for a moment to ask for the holder.
            rustix::fs::flock(&file, FlockOperation::Unlock).map_err(|errno| fail(errno.into()))?;
            std::thread::sleep(Duration::from_millis(1));
        }
        let holder = Holder { run: run.to_string(), by: by.to_owned(), since: now, held: 0 };
        let text = serde_json::to_vec(&holder).unwrap_or_default();
        file.set_len(0).and_then(|()| file.rewind()).and_then(|()| file.write_all(&text)).map_err(fail)?;
        Ok(Ok(Self { _file: file }))
    }

    /// Returns the current holder of the lock. The question disturbs no run.
    pub(crate) fn holder(state: &State, now: u64) -> Option<Holder> {
        let mut file = File::open(state.path("lock")).ok()?;
        match rustix::fs::flock(&file, FlockOperation::NonBlockingLockShared) {
            Ok(()) => None,
            Err(_) => Some(holder_in(&mut file, now)),
        }
    }
}

fn holder_in(file: &mut File, now: u64) -> Holder {
    let mut text = Vec::new();
    // An error is ignored, because the text is only information.
    let _ = file.take(4096).read_to_end(&mut text);
    let unknown = || Holder { run: "unknown".into(), by: "unknown".into(), since: now, held: 0 };
    let mut holder: Holder = serde_json::from_slice(&text).unwrap_or_else(|_| unknown());
    holder.held = now.saturating_sub(holder.since);
    holder
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn the_second_run_learns_who_holds_the_host() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let run = RunId::new("a").unwrap();
        assert!(Lock::holder(&state, 67).is_none());
        let lock = Lock::take(&state, &run, "ada@laptop", 7).unwrap().ok().unwrap();
        let holder = Holder { run: "a".into(), by: "ada@laptop".into(), since: 7, held: 60 };
        assert_eq!(Lock::holder(&state, 67), Some(holder.clone()));
        assert_eq!(Lock::take(&state, &run, "x", 67).unwrap().err(), Some(holder));
        drop(lock);
        assert!(Lock::holder(&state, 67).is_none(), "a lock goes with its process");
    }

    #[test]
    fn who_asks_for_the_holder_is_none() {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let run = RunId::new("a").unwrap();
        let done = AtomicBool::new(false);
        std::thread::scope(|scope| {
            for _ in 0..2 {
                scope.spawn(|| {
                    while !done.load(Ordering::Relaxed) {
                        let _ = Lock::holder(&state, 0);
                    }
                });
            }
            let take = |_| Lock::take(&state, &run, "ada@laptop", 0).map(Result::err);
            let taken: Vec<_> = (0..1000).map(take).collect();
            done.store(true, Ordering::Relaxed);
            let refused: Vec<_> = taken.into_iter().filter_map(Result::unwrap).collect();
            assert_eq!(refused, [], "looks kept an act out");
        });
    }
}
