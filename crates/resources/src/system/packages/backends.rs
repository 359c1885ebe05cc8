//! The package managers, a row each. A new one is a folder beside this file, and a row.

use super::{NoPackages, Open, apt};
use crate::system::backend::Backend;

/// The package managers, in the order in which a host is asked for them.
pub static BACKENDS: [Backend<Open>; 5] = [
    apt::BACKEND,
    named("dnf", &["/usr/bin/dnf", "/usr/bin/dnf5", "/usr/bin/microdnf"]),
    named("apk", &["/sbin/apk", "/usr/sbin/apk", "/usr/bin/apk"]),
    named("pacman", &["/usr/bin/pacman"]),
    named("zypper", &["/usr/bin/zypper"]),
];

/// A package manager that facts name and that Converge cannot use.
const fn named(name: &'static str, marks: &'static [&'static str]) -> Backend<Open> {
    Backend { name, marks, open: None }
}

/// Opens what a host has without a package manager that Converge can use.
pub const NONE: Open = |_| Box::new(NoPackages);
