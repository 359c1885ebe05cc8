//! Things that resources need but do not own: folders, users, groups, units, programs.

use std::path::Path;

use super::{Claimed, LookError, Need, Seen, View};
use crate::brought::Brought;
use crate::system::files::Sort;

impl View<'_> {
    /// Returns the need for the folder `path`.
    pub fn need_folder(&self, path: &Path) -> Result<Need, LookError> {
        let what = format!("the folder {}", path.display());
        Ok(match self.followed(path)? {
            Seen::Known((_, place)) if place.sort == Sort::Folder => Need::Met,
            Seen::Unknown(_) => Need::Met,
            Seen::Known(_) => Need::Absent { what, help: Some("it exists, but is not a folder".to_owned()) },
            Seen::MayCome(steps) => Need::MayCome { what, steps },
            Seen::Absent => {
                let help = Some(format!("declare `directory \"{}\"` before it", path.display()));
                Need::Absent { what, help }
            }
        })
    }

    /// Returns the need for the user `name`. A number needs no user.
    pub fn need_user(&self, name: &str) -> Result<Need, LookError> {
        if name.parse::<u32>().is_ok() {
            return Ok(Need::Met);
        }
        Ok(Need::of(self.user(name)?, format!("the user {name}"), || {
            format!("declare `user \"{name}\"` before it")
        }))
    }

    /// Returns the need for the group `name`. A number needs no group.
    pub fn need_group(&self, name: &str) -> Result<Need, LookError> {
        if name.parse::<u32>().is_ok() {
            return Ok(Need::Met);
        }
        let seen = self.group(name)?;
        Ok(Need::of(seen, format!("the group {name}"), || format!("declare `group \"{name}\"` before it")))
    }

    /// Returns the need for the unit `name` (full: `nginx.service`).
    pub fn need_unit(&self, name: &str) -> Result<Need, LookError> {
        Ok(Need::of(self.unit(name)?, format!("the unit {name}"), || match self.planned_alias(name) {
            Some(unit) => format!("it is another name of {unit}, which an earlier step writes: write {unit}"),
            None => {
                format!(
                    "before it, install the package that brings the unit, or declare `systemd-unit \"{name}\"`"
                )
            }
        }))
    }

    /// Returns the need for a thing that only one of `packages` is known to bring.
    pub fn need_from<T>(&self, seen: &Seen<T>, what: String, packages: &[&str]) -> Need {
        if matches!(seen, Seen::Known(_) | Seen::Unknown(_)) {
            return Need::Met;
        }
        let steps = self.overlay.map(|overlay| overlay.bringing(packages)).unwrap_or_default();
        match packages {
            _ if !steps.is_empty() => Need::MayCome { what, steps },
            [first, ..] => {
                Need::Absent { what, help: Some(format!("declare `package \"{first}\"` before it")) }
            }
            [] => Need::Absent { what, help: None },
        }
    }

    /// Whether `what` is missing, and no planned step may bring it.
    pub fn lacks(&self, what: &Brought) -> Result<bool, LookError> {
        Ok(match what {
            // A resource of its own decides about it, and may well remove it.
            Brought::Path(path) if self.claimed(path) == Claimed::Itself => false,
            Brought::Path(path) => matches!(self.place(path)?, Seen::Absent),
            // The unit files answer this without a question to the service manager.
            Brought::Unit(name) => !self.has_unit_file(name)? && matches!(self.unit(name)?, Seen::Absent),
            Brought::User(name) => matches!(self.user(name)?, Seen::Absent),
            Brought::Group(name) => matches!(self.group(name)?, Seen::Absent),
        })
    }
}
