//! The agent as the program of the revert: `reverter revert STATE`. The next boot starts it with `boot` as a last
//! argument. It restores what a run changed and no login confirmed.

use std::ffi::OsString;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use converge_resources::actor::revert::revert;
use converge_resources::system::{real::RealSystem, receipts::Receipts};

/// The first argument.
pub(crate) const REVERT: &str = "revert";
/// The last argument, at boot.
pub(crate) const BOOT: &str = "boot";

/// Carries out the arguments, if there are any.
pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let state = arguments.next().filter(|first| first == REVERT).and_then(|_| arguments.next())?;
    let at_boot = arguments.next().is_some_and(|how| how == BOOT);
    Some(match carry_out(&PathBuf::from(state), at_boot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // The journal of its unit is the only place for the error.
            let _ = writeln!(std::io::stderr(), "failed to restore unconfirmed changes: {error}");
            ExitCode::FAILURE
        }
    })
}

fn carry_out(state: &Path, at_boot: bool) -> std::io::Result<()> {
    let system = RealSystem::new("/", Receipts::in_folder(state.join("receipts")))?;
    revert(&system, state, at_boot)
}
