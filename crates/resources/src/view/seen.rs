//! The answers of a view: what is there, what will be there, and what cannot be known yet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::system::files::Sort;
use crate::wish::Filling;

/// The bytes of a planned text, shared by the views that read it.
pub type Bytes = Arc<[u8]>;

/// The answer of a view.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is there, or will be, with this value.
    Known(T),
    /// It does not exist, and no planned step brings it.
    Absent,
    /// It does not exist, but one of these steps may bring it.
    MayCome(Vec<u32>),
    /// It will be there, but its value depends on these steps.
    Unknown(Vec<u32>),
}

/// Something that a resource needs but does not own: a parent folder, a user, a unit, a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// It exists.
    Met,
    /// Earlier steps may bring it.
    MayCome {
        /// The thing: `the folder /srv/app`.
        what: String,
        /// The places of the steps in the plan.
        steps: Vec<u32>,
    },
    /// It does not exist.
    Absent {
        /// The thing.
        what: String,
        /// The advice for the user.
        help: Option<String>,
    },
}

/// The thing that is or will be at a path.
#[derive(Clone)]
pub struct Place {
    /// Its sort.
    pub sort: Sort,
    /// The permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner's name, or the number if it has no name.
    pub owner: String,
    /// The group's name, or the number if it has no name.
    pub group: String,
    /// The size of a file, in bytes.
    pub size: u64,
    /// The target of a link.
    pub target: Option<PathBuf>,
    /// Where its content is.
    pub body: Body,
}

/// The claims of the catalog on a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The path itself is claimed, and so everything below it belongs to that resource.
    Itself,
    /// Something below it is claimed.
    Below,
    /// Nothing of it is claimed.
    Nothing,
}

/// The source of the content of a place.
#[derive(Clone)]
pub enum Body {
    /// It has no content, or the content is on disk.
    OnDisk,
    /// The controller has it, or it is a secret.
    Planned(Filling),
    /// An earlier step writes this text.
    Text(Bytes),
    /// An earlier step decides it.
    Unknown(Vec<u32>),
}

/// The error of a look.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A path could not be read.
    #[error("failed to read {path}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Another error.
    #[error("{0}")]
    Other(String),
}

/// The paths from which systemd makes its units: folders with everything below them, and a file.
pub(super) const READ_BY_SYSTEMD: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/etc/fstab"];

/// Whether systemd makes units from what is at `path`, so that it must read it again after a change.
pub fn is_read_by_systemd(path: &Path) -> bool {
    READ_BY_SYSTEMD.iter().any(|read| path.starts_with(read))
}

impl Need {
    /// Returns the need for a thing. If it is absent, the need has a hint for the user.
    pub fn of<T>(seen: Seen<T>, what: String, help: impl FnOnce() -> String) -> Self {
        match seen {
            Seen::Known(_) | Seen::Unknown(_) => Self::Met,
            Seen::MayCome(steps) => Self::MayCome { what, steps },
            Seen::Absent => Self::Absent { what, help: Some(help()) },
        }
    }

    /// Returns the need for a program.
    pub fn program(seen: &Seen<PathBuf>, name: &str) -> Self {
        Self::of(seen.clone(), format!("the program {name}"), || {
            format!("install the package that brings {name}")
        })
    }
}

impl<T> Seen<T> {
    /// Converts a known value.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known(value) => Seen::Known(turn(value)),
            Self::Absent => Seen::Absent,
            Self::MayCome(steps) => Seen::MayCome(steps),
            Self::Unknown(steps) => Seen::Unknown(steps),
        }
    }

    /// Returns the value, if it is known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
}
