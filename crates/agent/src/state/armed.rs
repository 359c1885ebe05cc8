//! The folder of an access-critical group while it may be reverted. The name of the folder is the state of the group.
//! Only a rename changes the state, so exactly one process wins:
//!
//! ```text
//! arming ─► armed ─► confirmed ─► (gone)
//!             └────► reverting ─► reverted | revert-failed
//! ```
//!
//! Beside the notes for the revert ([`Standby`](converge_resources::actor::Standby)) it holds two files. `run` names
//! the run and the unit of the timer. `whole` exists once the whole group is applied: a partly applied group cannot be
//! confirmed.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use converge_model::wire::Verdict;
use converge_resources::System;
use converge_resources::actor::revert::PROGRAM;
use rustix::fs::{AtFlags, CWD, StatVfsMountFlags};

use super::{State, StateError};

/// The state of the group on a host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// There is no group.
    Nothing,
    /// The timer is running.
    Armed(Owner),
    /// A new login confirmed it. The timer and the boot unit must still be removed.
    Confirmed(Owner),
    /// The revert is running.
    Reverting(Owner),
    /// Everything was restored, but no run has reported it yet.
    Reverted(Owner),
    /// Something could not be restored, with the error.
    Stuck(String),
}

/// Whether the host can revert changes by itself. It needs a clock, root to set it, and a place for the program of
/// the revert.
pub(crate) fn can_arm(system: &dyn System, state: &State) -> bool {
    has_clock(system) && (system.files().is_folder() || holds_programs(&state.path("")))
}

/// Whether the host has a clock that this user may set.
pub(crate) fn has_clock(system: &dyn System) -> bool {
    has_all_rights(system) && system.units().clock().is_some()
}

/// Whether this run has all rights: it is root, or a folder stands for the host.
pub(crate) fn has_all_rights(system: &dyn System) -> bool {
    system.files().is_folder() || rustix::process::geteuid().is_root()
}

/// File systems in memory: tmpfs and ramfs.
const IN_MEMORY: [u64; 2] = [0x0102_1994, 0x8584_58f6];

/// Whether the file system of `folder` survives a boot and lets programs run. The folder itself need not exist yet.
fn holds_programs(folder: &Path) -> bool {
    let Some(there) = folder.ancestors().find(|folder| folder.exists()) else { return false };
    let (Ok(kind), Ok(mount)) = (rustix::fs::statfs(there), rustix::fs::statvfs(there)) else { return false };
    !IN_MEMORY.contains(&(kind.f_type as u64)) && !mount.f_flag.contains(StatVfsMountFlags::NOEXEC)
}

/// Returns the program that reverts a group. Its path does not depend on the current name of the group's folder.
pub(crate) fn program(state: &State) -> PathBuf {
    state.path(PROGRAM)
}

/// Keeps the running program where it survives its cache and a boot: as a hard link, or as a copy.
fn keep_program(state: &State) -> io::Result<()> {
    let (own, program) = ("/proc/self/exe", program(state));
    match fs::remove_file(&program) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    if rustix::fs::linkat(CWD, own, CWD, &program, AtFlags::SYMLINK_FOLLOW).is_err() {
        fs::copy(own, &program)?;
    }
    fs::File::open(&program)?.sync_all()?;
    fs::File::open(state.path(""))?.sync_all()
}

/// The run that a group belongs to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The run.
    pub(crate) run: String,
    /// The unit of the timer.
    pub(crate) timer: String,
}

const ARMING: &str = "arming";
const ARMED: &str = "armed";
const CONFIRMED: &str = "confirmed";
const REVERTING: &str = "reverting";
const REVERTED: &str = "reverted";
const STUCK: &str = "revert-failed";
const WHOLE: &str = "whole";

/// The longest log of a revert that is shown, in bytes.
const LOG_LIMIT: u64 = 4096;
/// The beginnings of the lines in the log of a revert that say what failed. The second is that of older agents: the
/// agent that armed a revert also writes its log.
const FAILURES: [&str; 2] = ["failed to restore ", "failed to put back "];

impl Standing {
    /// Reads the current state. It tries the names in the order of the renames, so that it misses none.
    pub(crate) fn read(state: &State) -> Result<Self, StateError> {
        type Of = fn(Owner) -> Standing;
        let standings: [(&str, Of); 4] = [
            (ARMED, Self::Armed),
            (CONFIRMED, Self::Confirmed),
            (REVERTING, Self::Reverting),
            (REVERTED, Self::Reverted),
        ];
        for (name, standing) in standings {
            if let Some(owner) = owner(&state.path(name))? {
                return Ok(standing(owner));
            }
        }
        let stuck = state.path(STUCK);
        if !stuck.exists() {
            return Ok(Self::Nothing);
        }
        let log = super::read(&stuck.join("log"), LOG_LIMIT).ok().flatten().unwrap_or_default();
        let log = String::from_utf8_lossy(&log);
        let is_failure = |line: &&str| FAILURES.iter().any(|begin| line.starts_with(begin));
        let failed = log.lines().filter(is_failure).collect::<Vec<_>>();
        Ok(Self::Stuck(format!("{}; the saved state is in {}", failed.join(", "), stuck.display())))
    }

    /// Returns what the state means for `run`, for the controller.
    pub(crate) fn verdict(self, run: &str) -> Verdict {
        match self {
            Self::Reverting(owner) if owner.run == run => Verdict::Reverting,
            Self::Reverted(owner) if owner.run == run => Verdict::Reverted,
            Self::Stuck(why) => Verdict::Stuck(why),
            _ => Verdict::Nothing,
        }
    }
}

/// Makes a folder to be armed: empty and private. It replaces what an earlier run left there.
pub(crate) fn prepare(state: &State, owner: &Owner) -> Result<PathBuf, StateError> {
    let folder = state.path(ARMING);
    remove(&folder)?;
    remove(&state.path(REVERTED))?;
    let made = fs::create_dir(&folder)
        .and_then(|()| fs::write(folder.join("run"), format!("{}\n{}\n", owner.run, owner.timer)));
    let made = made.and_then(|()| keep_program(state));
    made.map_err(|source| StateError::File { what: "make", path: folder.clone(), source })?;
    Ok(folder)
}

/// Arms what [`prepare`] began. From now on the revert may begin. Returns the new path of the folder.
pub(crate) fn arm(state: &State) -> Result<PathBuf, StateError> {
    rename(state, ARMING, ARMED)?;
    Ok(armed(state))
}

/// Marks the group as fully applied: it may be confirmed.
pub(crate) fn whole(state: &State) {
    // Ignored: if the revert has claimed the folder, there is nothing to confirm.
    let _ = fs::write(armed(state).join(WHOLE), "");
}

/// Whether the revert may still begin.
pub(crate) fn is_armed(state: &State) -> bool {
    armed(state).exists()
}

/// Returns the armed folder.
pub(crate) fn armed(state: &State) -> PathBuf {
    state.path(ARMED)
}

/// Cancels the revert of `run`, if its group is whole and the revert has not begun.
pub(crate) fn confirm(state: &State, run: &str) -> Result<Verdict, StateError> {
    match Standing::read(state)? {
        Standing::Armed(owner) if owner.run == run && !armed(state).join(WHOLE).exists() => {
            Ok(Verdict::Waiting)
        }
        Standing::Armed(owner) if owner.run == run => match rename(state, ARMED, CONFIRMED) {
            Ok(()) => Ok(Verdict::Confirmed),
            // The revert was first.
            Err(StateError::File { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(Standing::read(state)?.verdict(run))
            }
            Err(error) => Err(error),
        },
        standing => Ok(standing.verdict(run)),
    }
}

/// Removes a group that is settled, and one that was never armed.
pub(crate) fn forget(state: &State) -> Result<(), StateError> {
    [ARMING, CONFIRMED, REVERTED].into_iter().try_for_each(|name| remove(&state.path(name)))?;
    match fs::remove_file(program(state)) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::File { what: "remove", path: program(state), source })
        }
        _ => Ok(()),
    }
}

fn rename(state: &State, from: &str, to: &str) -> Result<(), StateError> {
    let path = state.path(from);
    let renamed = fs::rename(&path, state.path(to)).and_then(|()| {
        fs::File::open(path.parent().unwrap_or(Path::new("/"))).and_then(|folder| folder.sync_all())
    });
    renamed.map_err(|source| StateError::File { what: "rename", path, source })
}

fn remove(path: &Path) -> Result<(), StateError> {
    match fs::remove_dir_all(path) {
        Err(source) if source.kind() != io::ErrorKind::NotFound => {
            Err(StateError::File { what: "remove", path: path.to_owned(), source })
        }
        _ => Ok(()),
    }
}

/// Returns the owner of the folder. None if it does not exist.
fn owner(folder: &Path) -> Result<Option<Owner>, StateError> {
    if !folder.exists() {
        return Ok(None);
    }
    let text = super::read(&folder.join("run"), LOG_LIMIT)?.unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let mut lines = text.lines().map(str::to_owned);
    Ok(Some(Owner { run: lines.next().unwrap_or_default(), timer: lines.next().unwrap_or_default() }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_resources::system::fake::World;
    use converge_resources::system::real::RealSystem;
    use converge_resources::system::receipts::Receipts;

    #[test]
    fn rights_are_those_of_root_and_of_a_folder_that_stands_for_a_host() {
        let folder = tempfile::tempdir().unwrap();
        let world = World::new(folder.path()).unwrap();
        fs::create_dir_all(folder.path().join("run/systemd/system")).unwrap();
        let system = RealSystem::new("/", Receipts::in_folder(folder.path().join("receipts"))).unwrap();
        let is_root = rustix::process::geteuid().is_root();
        assert_eq!([has_all_rights(&world), has_all_rights(&system)], [true, is_root]);
        assert!(has_clock(&world), "that of the folder");
        fs::remove_dir(folder.path().join("run/systemd/system")).unwrap();
        assert!(!has_clock(&world));
    }

    #[test]
    fn a_program_is_kept_where_it_outlasts_a_boot_and_may_be_run() {
        let holds = ["/usr/not/there/yet", "/dev/shm/converge"].map(Path::new);
        assert_eq!(holds.map(holds_programs), [true, false]);
    }

    #[test]
    fn what_is_forgotten_leaves_nothing_and_is_forgotten_again_in_peace() {
        let (_folder, state) = armed_by("one");
        confirm(&state, "one").unwrap();
        assert!(program(&state).exists());
        forget(&state).unwrap();
        assert!(!program(&state).exists() && Standing::read(&state).unwrap() == Standing::Nothing);
        forget(&state).unwrap();
        fs::create_dir(program(&state)).unwrap();
        assert!(matches!(forget(&state), Err(StateError::File { what: "remove", .. })));
        let owner = Owner { run: "two".into(), timer: "t.timer".into() };
        assert!(prepare(&state, &owner).is_err(), "a folder in the place of the program");
        fs::remove_dir(program(&state)).unwrap();
        fs::remove_dir_all(state.path(ARMING)).unwrap();
        fs::write(state.path(ARMING), "in the way").unwrap();
        assert!(matches!(prepare(&state, &owner), Err(StateError::File { what: "remove", .. })));
    }

    fn armed_by(run: &str) -> (tempfile::TempDir, State) {
        let folder = tempfile::tempdir().unwrap();
        let state = State::in_folder(folder.path().to_owned());
        let owner = Owner { run: run.into(), timer: "t.timer".into() };
        prepare(&state, &owner).unwrap();
        assert_eq!(Standing::read(&state).unwrap(), Standing::Nothing, "nothing is armed yet");
        arm(&state).unwrap();
        assert_eq!(confirm(&state, run).unwrap(), Verdict::Waiting, "no login confirms half a group");
        whole(&state);
        assert_eq!(Standing::read(&state).unwrap(), Standing::Armed(owner));
        (folder, state)
    }

    #[test]
    fn only_its_own_run_confirms_and_only_once() {
        let (_folder, state) = armed_by("one");
        assert_eq!(confirm(&state, "two").unwrap(), Verdict::Nothing);
        assert_eq!(confirm(&state, "one").unwrap(), Verdict::Confirmed);
        assert_eq!(confirm(&state, "one").unwrap(), Verdict::Nothing);
        assert!(matches!(Standing::read(&state).unwrap(), Standing::Confirmed(_)));
        forget(&state).unwrap();
        assert_eq!(Standing::read(&state).unwrap(), Standing::Nothing);
    }

    #[test]
    fn what_the_revert_has_begun_no_run_confirms() {
        let (_folder, state) = armed_by("one");
        rename(&state, ARMED, REVERTING).unwrap();
        assert_eq!(confirm(&state, "one").unwrap(), Verdict::Reverting);
        assert_eq!(confirm(&state, "two").unwrap(), Verdict::Nothing);
        rename(&state, REVERTING, REVERTED).unwrap();
        assert_eq!(confirm(&state, "one").unwrap(), Verdict::Reverted);
        assert_eq!(confirm(&state, "two").unwrap(), Verdict::Nothing);
    }

    #[test]
    fn of_the_timer_and_the_agent_one_wins() {
        for _ in 0..20 {
            let (_folder, state) = armed_by("one");
            let script = || rename(&state, ARMED, REVERTING).is_ok();
            let (confirmed, taken) = std::thread::scope(|scope| {
                let other = scope.spawn(script);
                (confirm(&state, "one").unwrap() == Verdict::Confirmed, other.join().unwrap())
            });
            assert!(confirmed != taken, "{confirmed} {taken}");
        }
    }

    #[test]
    fn a_revert_that_failed_says_what_and_where() {
        let (_folder, state) = armed_by("one");
        let log = "cp: x\nfailed to put back /etc/old\nfailed to restore /etc/x\n";
        fs::write(state.path("armed/log"), log).unwrap();
        rename(&state, ARMED, STUCK).unwrap();
        let Standing::Stuck(why) = Standing::read(&state).unwrap() else { panic!() };
        let failed = "failed to put back /etc/old, failed to restore /etc/x; the saved state is in /";
        assert!(why.starts_with(failed), "{why}");
        assert_eq!(confirm(&state, "one").unwrap(), Verdict::Stuck(why), "every caller is told");
    }
}
