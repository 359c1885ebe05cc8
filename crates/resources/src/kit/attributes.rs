//! Mode, owner and group: parameters, finding and changes for every kind that makes a path.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::Path;

use converge_model::{Param, ParamProblem, PropertyChange, Shown, Type};

use crate::actor::Attributes;
use crate::system::files::{SET_ID, Sort};
use crate::view::{Body, LookError, Need, Place, View};
use crate::wish::Reader;

/// The properties of a plan that are metadata of a file.
pub const METADATA: [&str; 3] = ["mode", "owner", "group"];

/// The three parameters.
pub fn params() -> [Param; 3] {
    [
        Param::new(
            "mode",
            Type::Mode,
            "Permissions, `\"0644\"`; default: unchanged; for something new 0644 (secret: 0600, directory: 0755)",
        ),
        Param::new(
            "owner",
            Type::Name,
            "Owner, by name or number; default: unchanged; for something new, the account that Converge works as",
        ),
        Param::new("group", Type::Name, "Group, by name or number; default: as for `owner`"),
    ]
}

/// Reads the three parameters.
pub fn decode(params: &mut Reader<'_>) -> Attributes {
    let (mode, owner, group) = (params.mode("mode"), params.text("owner"), params.text("group"));
    Attributes { mode, owner, group, secret: false }
}

/// The bit of a mode that lets every user read.
const READABLE: u32 = 0o004;

/// The advice about how to keep a secret from others.
const CLOSED: &str = "write `mode=\"0600\"`, or `\"0640\"` with the `group` of the program that reads it";

/// Returns a warning if a secret goes into a file whose asked mode lets every user read it.
pub fn exposes(attributes: &Attributes) -> Option<ParamProblem> {
    let mode = attributes.mode.filter(|mode| attributes.secret && mode & READABLE != 0)?;
    let message = format!("mode {} lets every user of the host read a secret", octal(mode));
    Some(ParamProblem::new("mode", message).help(CLOSED))
}

/// Returns a warning if a secret goes into the file `path`, which keeps its mode and which every user can read.
pub fn exposed(path: &Path, place: &Place, attributes: &Attributes) -> Option<String> {
    let is_kept = attributes.secret && attributes.mode.is_none() && place.mode & READABLE != 0;
    let mode = octal(place.mode);
    is_kept.then(|| {
        format!(
            "every user of the host can read the secret in {}, whose mode is {mode}: {CLOSED}",
            path.display()
        )
    })
}

/// The asked attributes, in the names that the host knows, and their needs.
#[derive(Debug)]
pub struct Asked {
    /// The attributes, with numbers turned into names where there is one.
    pub attributes: Attributes,
    /// The accounts that must exist.
    pub needs: Vec<Need>,
    /// The owner and the group of something new.
    pub own: (String, String),
}

/// Finds the names of the asked accounts.
pub fn observe(view: &View<'_>, wish: &Attributes) -> Result<Asked, LookError> {
    let mut needs = Vec::new();
    let mut attributes = wish.clone();
    if let Some(owner) = &wish.owner {
        needs.push(view.need_user(owner)?);
        attributes.owner = Some(view.user_name(owner)?);
    }
    if let Some(group) = &wish.group {
        needs.push(view.need_group(group)?);
        attributes.group = Some(view.group_name(group)?);
    }
    Ok(Asked { attributes, needs, own: view.own_names()? })
}

impl Asked {
    /// Returns the properties in which `place` differs.
    pub fn changes(&self, place: &Place) -> Vec<PropertyChange> {
        let mut changes = Vec::new();
        let mode = self.mode(place);
        if mode != place.mode {
            changes.push(PropertyChange::new("mode", octal(place.mode), octal(mode)));
        }
        if let Some(owner) = self.attributes.owner.as_ref().filter(|owner| **owner != place.owner) {
            changes.push(PropertyChange::new("owner", place.owner.clone(), owner.clone()));
        }
        if let Some(group) = self.attributes.group.as_ref().filter(|group| **group != place.group) {
            changes.push(PropertyChange::new("group", place.group.clone(), group.clone()));
        }
        changes
    }

    /// Returns the mode of `place` after the change. If a file gets another owner, it loses the set-user-ID and
    /// set-group-ID bits, unless the mode sets them.
    pub fn mode(&self, place: &Place) -> u32 {
        let is_other =
            |asked: &Option<String>, now: &String| asked.as_ref().is_some_and(|asked| asked != now);
        let asked = &self.attributes;
        let moves = is_other(&asked.owner, &place.owner) || is_other(&asked.group, &place.group);
        let kept = if moves && place.sort == Sort::File { place.mode & !SET_ID } else { place.mode };
        asked.mode.unwrap_or(kept)
    }

    /// Returns the mode of a new file if none is asked.
    pub fn new_file(&self) -> u32 {
        self.attributes.new_file()
    }

    /// Returns the asked properties of something new. Defaults are not compared later, so the plan does not show
    /// them.
    pub fn created(&self) -> impl Iterator<Item = PropertyChange> {
        let Attributes { mode, owner, group, .. } = &self.attributes;
        let all = [("mode", mode.map(octal)), ("owner", owner.clone()), ("group", group.clone())];
        all.into_iter().filter_map(|(name, asked)| Some(PropertyChange::new(name, Shown::Absent, asked?)))
    }

    /// Returns what will be at the path: the asked attributes over those that were there.
    pub fn place(&self, before: Option<&Place>, sort: Sort, mode: u32, body: Body) -> Place {
        let before = before.filter(|place| place.sort == sort);
        let asked = &self.attributes;
        let kept = |asked: &Option<String>, before: Option<&String>, own: &String| {
            asked.clone().or_else(|| before.cloned()).unwrap_or_else(|| own.clone())
        };
        Place {
            sort,
            mode: before.map_or(asked.mode.unwrap_or(mode), |before| self.mode(before)),
            owner: kept(&asked.owner, before.map(|place| &place.owner), &self.own.0),
            group: kept(&asked.group, before.map(|place| &place.group), &self.own.1),
            size: size(&body).or_else(|| before.map(|place| place.size)).unwrap_or(0),
            target: None,
            body,
        }
    }
}

fn size(body: &Body) -> Option<u64> {
    match body {
        Body::Text(text) => Some(text.len() as u64),
        Body::Planned(crate::wish::Filling::Plain { length, .. }) => Some(*length),
        Body::Planned(crate::wish::Filling::Secret(secret)) => Some(secret.expose().len() as u64),
        Body::OnDisk | Body::Unknown(_) => None,
    }
}

/// Formats a mode as people write it: `0644`.
pub fn octal(mode: u32) -> String {
    format!("{mode:04o}")
}

/// Formats a name or a path for people. Characters that are not printable are escaped. So a newline or a byte that is
/// not UTF-8 is neither lost nor harmful.
pub fn printable(name: &OsStr) -> String {
    let bytes = name.as_bytes();
    let mut shown = String::with_capacity(bytes.len());
    for piece in bytes.utf8_chunks() {
        for char in piece.valid().chars() {
            if char.is_control() || char == '\\' || is_bidi(char) {
                shown.extend(char.escape_default());
            } else {
                shown.push(char);
            }
        }
        shown.extend(piece.invalid().escape_ascii().map(char::from));
    }
    shown
}

/// Whether a character changes the text direction of what follows.
fn is_bidi(char: char) -> bool {
    matches!(char, '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wish::Filling;

    #[test]
    fn a_body_that_is_known_has_a_size() {
        let plain = Filling::Plain { digest: converge_model::Digest::of(b"abc"), length: 3 };
        let secret = Filling::Secret(converge_model::Secret::new("four"));
        let sizes = [
            Body::Text(crate::overlay::Bytes::from(b"ab".to_vec())),
            Body::Planned(plain),
            Body::Planned(secret),
            Body::OnDisk,
            Body::Unknown(Vec::new()),
        ];
        assert_eq!(sizes.map(|body| size(&body)), [Some(2), Some(3), Some(4), None, None]);
    }

    #[test]
    fn names_are_shown_with_what_is_not_text_escaped() {
        let check = |name: &[u8], shown: &str| assert_eq!(printable(OsStr::from_bytes(name)), shown);
        check("/srv/ä b".as_bytes(), "/srv/ä b");
        check(b"a\nb", "a\\nb");
        check(b"a\xffb", "a\\xffb");
        check(b"a\\xffb", "a\\\\xffb");
        check("\u{202e}x".as_bytes(), "\\u{202e}x");
    }
}
