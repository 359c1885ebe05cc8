//! A value of the running kernel, a file below `/proc/sys`: reading, planning and setting it.

use std::path::{Path, PathBuf};

use crate::actor::{Actor, ApplyError};
use crate::overlay::{Bytes, Effect};
use crate::view::{Body, LookError, Place, View};

/// A value as it was found.
pub struct Setting {
    path: PathBuf,
    place: Option<Place>,
    /// The value, its parts separated by single blanks. None if the kernel has no such setting.
    pub value: Option<String>,
}

/// Reads the value at `path`, or the value that an earlier step sets.
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
    /// Whether the kernel has another value than `wanted`. False if it has no such setting.
    pub fn differs(&self, wanted: &str) -> bool {
        self.value.as_deref().is_some_and(|value| value != wanted)
    }

    /// Returns what later steps see once it is `value`, if that is a change.
    pub fn effect(&self, value: &str) -> Option<Effect> {
        let place = self.place.clone().filter(|_| self.differs(value))?;
        let text = format!("{value}\n");
        let (size, body) = (text.len() as u64, Body::Text(Bytes::from(text.as_bytes())));
        Some(Effect::Path(self.path.clone(), Some(Place { size, body, ..place })))
    }

    /// Sets the value, if it differs.
    pub fn set(&self, actor: &mut Actor<'_>, value: &str) -> Result<(), ApplyError> {
        if self.differs(value) { actor.set_kernel(&self.path, value) } else { Ok(()) }
    }
}

/// Replaces tabs by single blanks: the kernel separates numbers by tabs, users write blanks.
pub fn canonical(value: &str) -> String {
    value.split_whitespace().collect::<Vec<_>>().join(" ")
}
