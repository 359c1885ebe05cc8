//! The environment of the agent and of everything that it starts. It is the same on every host, whatever the login
//! sets.
//!
//! Variables that a session needs to find its own things stay. All others from the login are removed.

use std::ffi::OsString;

use converge_resources::system::processes::cores;

/// The search path of programs.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The variables of the login that stay: the session, its bus, its proxies.
const KEPT: &[&str] = &[
    "HOME",
    "USER",
    "LOGNAME",
    "SUDO_USER",
    "DOAS_USER",
    "SSH_CONNECTION",
    "XDG_RUNTIME_DIR",
    "XDG_STATE_HOME",
    "XDG_CACHE_HOME",
    "DBUS_SESSION_BUS_ADDRESS",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "TZ",
];

/// Sets locale, path and umask, turns core dumps off, and removes the other variables of the login. `SIGPIPE` is
/// ignored already: the standard library does that before `main`, and restores it in child processes.
///
/// Call it first in `main`, before any thread starts.
pub fn set() {
    rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o077));
    cores::turn_off();
    for (name, value) in changes(std::env::vars_os().map(|(name, _)| name)) {
        change(&name, value);
    }
}

/// Returns what to do with the variables `names`: a value to set, or None to remove.
fn changes(names: impl Iterator<Item = OsString>) -> Vec<(OsString, Option<&'static str>)> {
    let removed = names.filter(|name| !KEPT.iter().any(|kept| name == kept)).map(|name| (name, None));
    let set = [("LC_ALL", "C.UTF-8"), ("PATH", PATH), ("DEBIAN_FRONTEND", "noninteractive")];
    removed.chain(set.map(|(name, value)| (name.into(), Some(value)))).collect()
}

#[expect(unsafe_code, reason = "the environment can be changed in no other way")]
fn change(name: &OsString, value: Option<&str>) {
    // SAFETY: `set` runs first in `main`: no other thread exists that could read the environment.
    unsafe {
        match value {
            Some(value) => std::env::set_var(name, value),
            None => std::env::remove_var(name),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_cannot_leave_its_marks() {
        let names = ["LANG", "LD_PRELOAD", "BASH_ENV", "HOME", "IFS"].map(OsString::from);
        let changes = changes(names.into_iter());
        let of = |name: &str| changes.iter().filter(|(n, _)| n == name).map(|(_, v)| *v).collect::<Vec<_>>();
        for removed in ["LANG", "LD_PRELOAD", "BASH_ENV", "IFS"] {
            assert_eq!(of(removed), [None], "{removed}");
        }
        assert_eq!(of("HOME"), []);
        assert_eq!(of("LC_ALL"), [Some("C.UTF-8")]);
        assert_eq!(of("PATH"), [Some(PATH)]);
    }
}
