//! The suites of programs for accounts, one row each. A new one is a module beside this file, and a row.

use super::Open;
use super::shadow_utils::{self, LocalAccounts};
use crate::system::backend::Backend;

/// The suites, in the order in which they are looked for on a host.
pub static BACKENDS: [Backend<Open>; 1] = [shadow_utils::BACKEND];

/// Opens the accounts of a host without any of the suites. The files are the same everywhere.
pub const DEFAULT: Open = |parts| Box::new(LocalAccounts::new(parts.files, parts.processes));
