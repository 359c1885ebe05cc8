//! What a view answers: what is there, what will be, and what cannot be known yet.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::system::files::Sort;
use crate::wish::Filling;

/// The bytes of a planned text, shared by the views that read it.
pub type Bytes = Arc<[u8]>;

/// What a view answers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen<T> {
    /// It is there, or will be, and this is it.
    Known(T),
    /// It is not there, and nothing planned brings it.
    Absent,
    /// It is not there, but one of these steps may bring it.
    MayCome(Vec<u32>),
    /// It will be there, but what it is depends on these steps.
    Unknown(Vec<u32>),
}

/// What a resource needs and does not own: a parent folder, a user, a unit, a program.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Need {
    /// It is there.
    Met,
    /// Earlier steps may bring it.
    MayCome {
        /// What: `the folder /srv/app`.
        what: String,
        /// The places of the steps in the plan.
        steps: Vec<u32>,
    },
    /// It is not there.
    Absent {
        /// What.
        what: String,
        /// What to do about it.
        help: Option<String>,
    },
}

/// What is at a path, or will be.
#[derive(Clone)]
pub struct Place {
    /// What sort of thing.
    pub sort: Sort,
    /// The permission bits, 0 to 0o7777.
    pub mode: u32,
    /// The owner's name, or number where it has none.
    pub owner: String,
    /// The group's name, or number where it has none.
    pub group: String,
    /// The size in bytes; of a file.
    pub size: u64,
    /// Where a link leads.
    pub target: Option<PathBuf>,
    /// Where its content is.
    pub body: Body,
}

/// What the catalog claims of a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Claimed {
    /// The path itself, and so all that is below it is for the resource that claims it.
    Itself,
    /// Something below it.
    Below,
    /// Nothing of it.
    Nothing,
}

/// Where the content of a place is.
#[derive(Clone)]
pub enum Body {
    /// It has none, or it is on the disk.
    OnDisk,
    /// The controller has it, or it is a secret.
    Planned(Filling),
    /// An earlier step writes this text.
    Text(Bytes),
    /// An earlier step decides it.
    Unknown(Vec<u32>),
}

/// A look that could not be taken.
#[derive(Debug, thiserror::Error)]
pub enum LookError {
    /// A path could not be read.
    #[error("failed to read {path}: {source}")]
    Path {
        /// The path.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Something else could not.
    #[error("{0}")]
    Other(String),
}

/// What systemd makes its units of: folders with all that is below them, and a file.
pub(super) const READ_BY_SYSTEMD: [&str; 3] = ["/etc/systemd/system", "/run/systemd/system", "/etc/fstab"];

/// Whether systemd makes its units of what is at `path`, and has to read it again once it changed.
pub fn is_read_by_systemd(path: &Path) -> bool {
    READ_BY_SYSTEMD.iter().any(|read| path.starts_with(read))
}

impl Need {
    /// The need for what was looked for; an absent one comes with what to do about it.
    pub fn of<T>(seen: Seen<T>, what: String, help: impl FnOnce() -> String) -> Self {
        match seen {
            Seen::Known(_) | Seen::Unknown(_) => Self::Met,
            Seen::MayCome(steps) => Self::MayCome { what, steps },
            Seen::Absent => Self::Absent { what, help: Some(help()) },
        }
    }

    /// The need for a program.
    pub fn program(seen: &Seen<PathBuf>, name: &str) -> Self {
        Self::of(seen.clone(), format!("the program {name}"), || {
            format!("install the package that brings {name}")
        })
    }
}

impl<T> Seen<T> {
    /// The answer with what is known turned into something else.
    pub fn map<U>(self, turn: impl FnOnce(T) -> U) -> Seen<U> {
        match self {
            Self::Known(value) => Seen::Known(turn(value)),
            Self::Absent => Seen::Absent,
            Self::MayCome(steps) => Seen::MayCome(steps),
            Self::Unknown(steps) => Seen::Unknown(steps),
        }
    }

    /// What is known.
    pub fn known(self) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            _ => None,
        }
    }
}
