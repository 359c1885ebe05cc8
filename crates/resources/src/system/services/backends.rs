//! The service managers, one row each. A new one is a folder beside this file, and a row.

use super::Open;
use super::systemd::{self, NoUnits};
use crate::system::backend::Backend;

/// The service managers, in the order in which they are looked for on a host.
pub static BACKENDS: [Backend<Open>; 3] = [
    systemd::BACKEND,
    Backend { name: "openrc", marks: &["/run/openrc", "/sbin/openrc-run"], open: None },
    Backend { name: "sysvinit", marks: &["/etc/inittab"], open: None },
];

/// Opens the back end of a host without a service manager that Converge can use.
pub const NONE: Open = |_| Box::new(NoUnits);
