//! The user who starts a run, and the id of the run.

use converge_model::RunId;
use converge_model::id::RunIdError;
use jiff::Timestamp;
use rustix::rand::{GetRandomFlags, getrandom};

/// Returns the id of a run that starts now: the time in UTC and eight random digits. This form is always valid.
pub fn run_id() -> Result<RunId, RunIdError> {
    let time = Timestamp::now().strftime("%Y%m%dT%H%M%S");
    RunId::new(format!("{time}-{:08x}", random()))
}

/// Returns the current time in milliseconds since the epoch.
pub fn milliseconds() -> u64 {
    u64::try_from(Timestamp::now().as_millisecond()).unwrap_or_default()
}

fn random() -> u32 {
    let mut bytes = [0; 4];
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(4) => u32::from_le_bytes(bytes),
        // Without random bytes, the id is only unique among the running processes of this machine.
        _ => std::process::id(),
    }
}

/// Returns who starts the run, and from where: `ada@laptop`.
pub fn by() -> String {
    let user =
        ["USER", "LOGNAME"].iter().find_map(|name| std::env::var(name).ok()).filter(|user| !user.is_empty());
    let user = user.unwrap_or_else(|| rustix::process::getuid().as_raw().to_string());
    format!("{user}@{}", rustix::system::uname().nodename().to_string_lossy())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_sort_by_the_time_at_which_they_started() {
        let id = run_id().unwrap().to_string();
        let (time, random) = id.split_once('-').unwrap();
        assert_eq!((time.len(), random.len()), (15, 8), "{id}");
        assert_eq!(time.as_bytes()[8], b'T');
        assert!(by().contains('@'));
    }
}
