//! The suites of programs that change accounts, a row each. A new one is a module beside this file, and a row.

use super::Open;
use super::shadow_utils::{self, LocalAccounts};
use crate::system::backend::Backend;

/// The suites, in the order in which a host is asked for them.
pub static BACKENDS: [Backend<Open>; 1] = [shadow_utils::BACKEND];

/// Opens the accounts of a host without any of them: the files are alike everywhere.
pub const DEFAULT: Open = |parts| Box::new(LocalAccounts::new(parts.files, parts.processes));
