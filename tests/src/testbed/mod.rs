//! Test hosts: real Debian systems on this machine, with their own systemd, sshd, network and disk.
//!
//! A *bed* is a group of hosts on one bridge. [`Testbed::up`] boots a bed that ends with the process.
//! [`Testbed::kept`] joins or boots a bed that stays until a user takes it down; one process uses it at a time. A
//! host is systemd-nspawn on an overlay over a common base. Its disk is in memory. The Debian packages for a bed are
//! installed if needed.
//!
//! ```no_run
//! use converge_tests::testbed::{Testbed, or_skip};
//!
//! # fn test() -> Result<(), converge_tests::testbed::Error> {
//! let Some(testbed) = or_skip(Testbed::up(&["web1", "db1"])) else { return Ok(()) };
//! let web1 = testbed.host("web1")?;
//! let before = web1.snapshot()?;
//! web1.ssh("echo hello | sudo tee /etc/motd")?.ok()?;
//! for change in web1.changes_since(&before)? {
//!     println!("{change}"); // ~ /etc/motd (content, time)
//! }
//! # Ok(())
//! # }
//! ```
//!
//! This module does not depend on Converge. It does not depend on a test harness either, except for reporting skipped
//! tests.

mod base;
mod bed;
mod cgroup;
mod command;
mod controller;
mod host;
mod machine;
mod network;
mod python;
mod skip;
mod snapshot;
mod ssh;

use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::thread;

use bed::{Bed, Lease};

pub use bed::Lifetime;
pub use command::{CommandError, Ran};
pub use host::Host;
pub use python::python_tool;
pub use skip::{SKIPPED_VARIABLE, is_ci, or_skip};
pub use snapshot::{Change, Snapshot, What};

/// Installs the packages of the missing ones among `programs`: (program, Debian package).
///
/// # Errors
/// [`Error::Unavailable`] if they cannot be installed.
pub fn install(programs: &[(&str, &str)]) -> Result<(), Error> {
    machine::install_missing(programs).map_err(Error::Unavailable)
}

/// Checks that this machine can run test hosts, and installs the missing packages.
///
/// # Errors
/// [`Error::Unavailable`] if it cannot.
pub fn prepare() -> Result<(), Error> {
    machine::check()
}

/// Running hosts, and the right to use them.
#[derive(Debug)]
pub struct Testbed {
    bed: Bed,
    hosts: Vec<Host>,
    /// None if the bed is only looked at.
    lease: Option<Lease>,
}

impl Testbed {
    /// Boots new hosts for this process alone. They end with this value or with the process.
    ///
    /// # Errors
    /// [`Error::Unavailable`] if this machine cannot run test hosts; otherwise the failure.
    pub fn up(names: &[&str]) -> Result<Self, Error> {
        machine::check()?;
        let (bed, lease) = Bed::claim_own()?;
        Self::bring_up(bed, lease, names)
    }

    /// Joins the bed `name`, or creates it. Boots those hosts of `names` that do not run. They stay up afterwards.
    ///
    /// Waits while another process uses the bed. The hosts are in the state that the last user left: see
    /// [`Host::reset`].
    ///
    /// # Errors
    /// As for [`Self::up`].
    pub fn kept(name: &str, names: &[&str]) -> Result<Self, Error> {
        machine::check()?;
        let (bed, lease) = Bed::claim_kept(name)?;
        Self::bring_up(bed, lease, names)
    }

    /// Looks at the bed `name` without claiming it. None if there is no such bed.
    ///
    /// # Errors
    /// If its record cannot be read.
    pub fn find(name: &str) -> Result<Option<Self>, Error> {
        Bed::read(name)?.map(Self::look).transpose()
    }

    /// Looks at every bed of this machine, sorted by name.
    ///
    /// # Errors
    /// If a record cannot be read.
    pub fn all() -> Result<Vec<Self>, Error> {
        Bed::all()?.into_iter().map(Self::look).collect()
    }

    /// Returns the host `name`.
    ///
    /// # Errors
    /// [`Error::UnknownHost`] if the bed has no such host.
    pub fn host(&self, name: &str) -> Result<&Host, Error> {
        let found = self.hosts.iter().find(|host| host.name() == name);
        found.ok_or_else(|| Error::UnknownHost { host: name.to_owned(), bed: self.bed.name.clone() })
    }

    /// Returns all hosts, in the order of their names in the request.
    #[must_use]
    pub fn hosts(&self) -> &[Host] {
        &self.hosts
    }

    /// Returns the path of the ssh_config that reaches every host by its name, as `admin`, and knows its host key.
    #[must_use]
    pub fn ssh_config_path(&self) -> PathBuf {
        self.bed.ssh_config()
    }

    /// The name of the bed.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.bed.name
    }

    /// How long its hosts run.
    #[must_use]
    pub fn lifetime(&self) -> Lifetime {
        self.bed.lifetime
    }

    /// Ends all hosts and removes everything of them.
    ///
    /// # Errors
    /// [`Error::InUse`] if another process uses the bed; otherwise the failure.
    pub fn down(mut self) -> Result<(), Error> {
        let lease = match self.lease.take() {
            Some(lease) => lease,
            None => {
                Lease::try_take(&self.bed.name)?.ok_or_else(|| Error::InUse { bed: self.bed.name.clone() })?
            }
        };
        let destroyed = self.bed.destroy();
        drop(lease);
        destroyed
    }

    fn look(bed: Bed) -> Result<Self, Error> {
        let hosts = handles(&bed)?;
        Ok(Self { bed, hosts, lease: None })
    }

    fn bring_up(bed: Bed, lease: Lease, names: &[&str]) -> Result<Self, Error> {
        // The value is complete from here on, so that a failure takes the bed down again.
        let mut testbed = Self { bed, hosts: Vec::new(), lease: Some(lease) };
        testbed.add_hosts(names)?;
        Ok(testbed)
    }

    fn add_hosts(&mut self, names: &[&str]) -> Result<(), Error> {
        let base = base::prepare()?;
        self.bed.add(names)?;
        self.bed.write()?;
        self.bed.mount()?;
        self.bed.network.create()?;
        ssh::make_key(&ssh::client_key(&self.bed), "testbed")?;
        self.hosts = handles(&self.bed)?;
        self.hosts.iter().try_for_each(|host| host.make_identity(&base))?;
        ssh::write_config(&self.bed, &self.hosts)?;
        let wanted: Vec<&Host> = self.hosts.iter().filter(|host| names.contains(&host.name())).collect();
        together(&wanted, Host::power_on)
    }
}

impl Drop for Testbed {
    /// A bed of this process ends with its handle. If this fails, the next `up` removes the rest.
    fn drop(&mut self) {
        if self.bed.lifetime == Lifetime::Process && self.lease.is_some() {
            let _ = self.bed.destroy();
        }
    }
}

/// Why there are no test hosts.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// This machine cannot run them. This is a reason to skip a test, not to fail.
    #[error("a requirement of the tests is unavailable: {0}")]
    Unavailable(String),
    /// A program failed.
    #[error(transparent)]
    Command(#[from] CommandError),
    /// A file could not be read or written.
    #[error("{path}: {source}")]
    File {
        /// The file or folder.
        path: PathBuf,
        /// The error of the system.
        source: io::Error,
    },
    /// A host does not run, or did not come up in time.
    #[error("host {host} is not up; the end of its console:\n{console}")]
    Down {
        /// The host.
        host: String,
        /// The last lines of its console.
        console: String,
    },
    /// There is no such host.
    #[error("no host {host} in the bed {bed}")]
    UnknownHost {
        /// The requested name.
        host: String,
        /// The bed that was searched.
        bed: String,
    },
    /// The name is not valid as a file, host and interface name.
    #[error(
        "the name {name:?} must be 1 to 40 lower-case letters, digits and inner dashes, and not start with `own-`"
    )]
    Name {
        /// The name.
        name: String,
    },
    /// Another process uses the bed.
    #[error("the bed {bed} is in use by another process")]
    InUse {
        /// The bed.
        bed: String,
    },
    /// A record that this version cannot read.
    #[error("{path} must be a record of a bed of this version")]
    Record {
        /// The record.
        path: PathBuf,
    },
    /// All 256 networks are in use.
    #[error("no network of 10.77.0.0/16 is free")]
    NoNetwork,
    /// The bed would have more hosts than a network has addresses.
    #[error("a bed holds no more than {} hosts", network::Network::CAPACITY)]
    TooMany,
}

impl Error {
    /// Adds a path to an error of the system.
    pub(crate) fn file(path: impl AsRef<Path>) -> impl Fn(io::Error) -> Self {
        let path = path.as_ref().to_owned();
        move |source| Self::File { path: path.clone(), source }
    }
}

/// Runs `work` on all hosts at the same time and returns the first failure.
///
/// # Errors
/// The error of the first failed host, in order.
pub fn together<T: Sync>(items: &[&T], work: impl Fn(&T) -> Result<(), Error> + Sync) -> Result<(), Error> {
    thread::scope(|scope| {
        let running: Vec<_> = items.iter().map(|item| scope.spawn(|| work(item))).collect();
        let ended = running.into_iter().map(|thread| match thread.join() {
            Ok(result) => result,
            Err(panic) => std::panic::resume_unwind(panic),
        });
        ended.collect::<Vec<_>>().into_iter().collect()
    })
}

fn handles(bed: &Bed) -> Result<Vec<Host>, Error> {
    (0..bed.hosts.len()).map(|index| Host::new(bed, index)).collect()
}

/// Tells the user what takes so long. Test harnesses do not capture this.
fn progress(message: &str) {
    let _ = writeln!(io::stderr(), "testbed: {message}");
}
