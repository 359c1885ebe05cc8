//! The agent as the program that puts back what a run changed and nobody confirmed: `reverter revert STATE`, and `boot`
//! where the next boot starts it.

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

/// Carries out what the arguments ask, if they ask for anything.
pub fn asked(arguments: impl IntoIterator<Item = OsString>) -> Option<ExitCode> {
    let mut arguments = arguments.into_iter().skip(1);
    let state = arguments.next().filter(|first| first == REVERT).and_then(|_| arguments.next())?;
    let at_boot = arguments.next().is_some_and(|how| how == BOOT);
    Some(match carry_out(&PathBuf::from(state), at_boot) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            // Its unit's journal is all that is left to hear of it.
            let _ = writeln!(std::io::stderr(), "failed to put back what nobody confirmed: {error}");
            ExitCode::FAILURE
        }
    })
}

fn carry_out(state: &Path, at_boot: bool) -> std::io::Result<()> {
    let system = RealSystem::new("/", Receipts::in_folder(state.join("receipts")))?;
    revert(&system, state, at_boot)
}
