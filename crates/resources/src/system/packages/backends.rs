//! The package managers, one row each. A new one is a folder beside this file, and a row.

use super::{NoPackages, Open, apt};
use crate::system::backend::Backend;

/// The package managers, in the order in which they are looked for on a host.
pub static BACKENDS: [Backend<Open>; 5] = [
    apt::BACKEND,
    named("dnf", &["/usr/bin/dnf", "/usr/bin/dnf5", "/usr/bin/microdnf"]),
    named("apk", &["/sbin/apk", "/usr/sbin/apk", "/usr/bin/apk"]),
    named("pacman", &["/usr/bin/pacman"]),
    named("zypper", &["/usr/bin/zypper"]),
];

/// Makes the row of a package manager that facts name but that Converge cannot use.
const fn named(name: &'static str, marks: &'static [&'static str]) -> Backend<Open> {
    Backend { name, marks, open: None }
}

/// Opens the back end of a host without a package manager that Converge can use.
pub const NONE: Open = |_| Box::new(NoPackages);
