//! Core dumps: off for this process, whose memory holds every secret of the host, and as they were for what it starts.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit that the process was started with, once cores are off.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Turns core dumps of this process off. The other way, to be not dumpable at all, would also close `/proc/PID/fd` to the
/// programs that write into files of ours by their number.
pub fn turn_off() {
    let before = BEFORE.get_or_init(|| getrlimit(Resource::Core));
    // To lower one's own limit is always allowed.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..*before });
}

/// The limit for what this process starts; none where it is the process's own. It is set between fork and exec.
pub(super) fn for_others() -> Option<Rlimit> {
    BEFORE.get().copied()
}
