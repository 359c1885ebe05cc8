//! Core dumps: off for this process, whose memory holds every secret of the host, and unchanged for its child
//! processes.

use std::sync::OnceLock;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

/// The limit at the start of the process, once core dumps are off.
static BEFORE: OnceLock<Rlimit> = OnceLock::new();

/// Turns core dumps of this process off. Making the process not dumpable would also close `/proc/PID/fd`. Programs
/// that write into files of the agent by descriptor number need that.
pub fn turn_off() {
    let before = BEFORE.get_or_init(|| getrlimit(Resource::Core));
    // Ignored: a process may always lower its own limit.
    let _ = setrlimit(Resource::Core, Rlimit { current: Some(0), ..*before });
}

/// Returns the limit for child processes. None if it is the same as for this process. It is set between fork and
/// exec.
pub(super) fn for_others() -> Option<Rlimit> {
    BEFORE.get().copied()
}
