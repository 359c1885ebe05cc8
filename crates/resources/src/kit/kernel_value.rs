//! A value of the running kernel, a file below `/proc/sys`: reading it, planning it, setting it.

use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError};
use crate::overlay::{Bytes, Effect};
use crate::view::{Body, LookError, Place, View};

/// A value as it was found.
pub struct Setting {
    path: PathBuf,
    place: Option<Place>,
    /// The value, its parts separated by single blanks; none where the kernel has no such setting.
    pub value: Option<String>,
}

/// Reads the value at `path`, or what an earlier step sets it to.
pub fn observe(view: &View<'_>, path: &Path) -> Result<Setting, LookError> {
    let place = view.place(path)?.known();
    let text = match &place {
        Some(Place { body: Body::Text(text), .. }) => Some(text.to_vec()),
        Some(_) => view.raw(path)?,
        None => None,
    };
    let value = text.map(|text| canonical(&String::from_utf8_lossy(&text)));
    Ok(Setting { path: path.to_owned(), place, value })
}

impl Setting {
    /// Whether the kernel has another value than `wanted`; not where it has none at all.
    pub fn differs(&self, wanted: &str) -> bool {
        self.value.as_deref().is_some_and(|value| value != wanted)
    }

    /// What later steps will see once it is `value`, where that is another.
    pub fn effect(&self, value: &str) -> Option<Effect> {
        let place = self.place.clone().filter(|_| self.differs(value))?;
        let text = format!("{value}\n");
        let (size, body) = (text.len() as u64, Body::Text(Bytes::from(text.as_bytes())));
        Some(Effect::Path(self.path.clone(), Some(Place { size, body, ..place })))
    }

    /// Sets it, where it differs.
    pub fn set(&self, actor: &mut Actor<'_>, value: &str) -> Result<(), ApplyError> {
        if self.differs(value) { actor.set_kernel(&self.path, value) } else { Ok(()) }
    }
}

/// The kernel separates several numbers by tabs, people by blanks.
pub fn canonical(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}
