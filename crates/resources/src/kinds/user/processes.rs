//! The processes of a user. While a user has any, usermod(8) refuses a new number or home, and userdel(8) refuses the
//! removal.

use std::path::{Path, PathBuf};

use crate::system::services::Active;
use crate::view::{LookError, Seen, View};

/// A process.
pub(super) struct Process {
    /// Its name and number, `sleep (17)`.
    pub(super) shown: String,
    /// Its service.
    pub(super) service: Option<String>,
}

/// The processes of the user with the number `uid`. Processes of a service that an earlier step stops are left out.
pub(super) fn of(view: &View<'_>, uid: u32) -> Result<Vec<Process>, LookError> {
    let Seen::Known(names) = view.list(Path::new("/proc"))? else { return Ok(Vec::new()) };
    let mut processes = Vec::new();
    for number in names.iter().filter_map(|name| name.to_str()?.parse::<u32>().ok()) {
        let folder = PathBuf::from(format!("/proc/{number}"));
        let read = |name: &str| view.raw(&folder.join(name)).ok().flatten().unwrap_or_default();
        if user_of(&read("status")) != Some(uid) {
            continue;
        }
        let service = service_of(&read("cgroup"));
        if let Some(service) = &service
            && matches!(view.unit(service)?, Seen::Known(state) if state.active == Active::Inactive)
        {
            continue;
        }
        let name = String::from_utf8_lossy(&read("comm")).trim_end().to_owned();
        processes.push(Process { shown: format!("{name} ({number})"), service });
    }
    Ok(processes)
}

/// The real user of a process, from its status: proc_pid_status(5).
fn user_of(status: &[u8]) -> Option<u32> {
    let status = String::from_utf8_lossy(status);
    let line = status.lines().find_map(|line| line.strip_prefix("Uid:"))?;
    line.split_whitespace().next()?.parse().ok()
}

/// The systemd service of a process: the last service in the path of its control group.
fn service_of(groups: &[u8]) -> Option<String> {
    let groups = String::from_utf8_lossy(groups);
    let mut parts =
        groups.lines().filter_map(|line| line.rsplit(':').next()).flat_map(|path| path.split('/'));
    // The manager of a user session is no service of the inventory.
    parts.rfind(|part| part.ends_with(".service") && !part.starts_with("user@")).map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_has_its_user_and_its_service() {
        assert_eq!(user_of(b"Name:\tx\nUid:\t33\t0\t0\t0\nGid:\t5\t5\t5\t5\n"), Some(33));
        assert_eq!(user_of(b"Name:\tx\n"), None);
        let check = |group: &str, service: Option<&str>| {
            assert_eq!(service_of(group.as_bytes()).as_deref(), service, "{group}");
        };
        check("0::/system.slice/nginx.service\n", Some("nginx.service"));
        check("0::/system.slice/app.service/worker\n", Some("app.service"));
        check("0::/user.slice/user-5.slice/user@5.service/app.slice/x.service\n", Some("x.service"));
        check("0::/user.slice/user-5.slice/user@5.service/init.scope\n", None);
        check("0::/\n", None);
    }
}
