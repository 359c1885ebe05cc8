//! The packet filters, one row each. A new one is a folder beside this file, and a row.

use super::{Firewall, nftables};
use crate::system::backend::Backend;

/// The packet filters, in the order in which they are looked for on a host.
pub static BACKENDS: [Backend<&'static dyn Firewall>; 1] = [nftables::BACKEND];

/// The filter of a host that has none yet. An earlier step may install it.
pub const DEFAULT: &dyn Firewall = &nftables::Nftables;
