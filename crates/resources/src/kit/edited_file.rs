//! A text file of which a resource owns a part: the common code of `line`, `block` and `ini`. Each kind defines its
//! edit. This file handles the file, its bytes, its line ends and all other content.

use std::path::{Path, PathBuf};

use converge_model::{Change, Claim, Extent, Param, ParamProblem, PropertyChange, Shown, Type, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::diff;
use crate::kind::{Depend, Planned};
use crate::kit::attributes::{self, Asked};
use crate::kit::replace_file::{self, Precautions};
use crate::overlay::{Bytes, Effect};
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::Reader;

/// The file, and how it is changed.
pub struct Target {
    /// The path.
    pub path: PathBuf,
    /// Whether a missing file is created.
    create: bool,
    /// Mode and owner of a file that is created.
    attributes: Attributes,
    /// The precautions before the new text is put in place.
    precautions: Precautions,
    /// Whether the part is a secret and is never shown.
    pub secret: bool,
    /// Whether the plan warns if every user can read a secret part. If not, the kind does it.
    warns: bool,
}

impl Target {
    /// Returns a target that the kind names itself. A missing file is created.
    pub fn of(path: impl Into<PathBuf>, secret: bool) -> Self {
        let (attributes, precautions) = (Attributes::default(), Precautions::default());
        Self { path: path.into(), create: true, attributes, precautions, secret, warns: false }
    }

    /// Returns mode and owner of a file that is created.
    fn attributes(&self) -> Attributes {
        Attributes { secret: self.secret, ..self.attributes.clone() }
    }

    /// Returns warnings about a secret in the file, from the asked attributes.
    pub fn warnings(&self) -> Vec<ParamProblem> {
        attributes::exposes(&self.attributes()).into_iter().collect()
    }
}

/// The file as it was found.
pub struct Found {
    place: Seen<Place>,
    text: Seen<Vec<u8>>,
    asked: Asked,
    folder: Need,
}

/// An edit of a text.
pub enum Edit {
    /// The text is in sync, with the reason.
    Kept(String),
    /// The new text.
    New(Vec<u8>),
    /// The text cannot be edited, with the reason.
    Refused(String),
}

/// How a resource edits the text of its file.
pub trait Part {
    /// The file.
    fn target(&self) -> &Target;

    /// Returns the desired text. Pure, and idempotent: `edit(edit(x)) == edit(x)`.
    fn edit(&self, text: &[u8]) -> Edit;

    /// Whether the part should be absent. A missing file is then in sync.
    fn absent(&self) -> bool;

    /// Returns the text that the plan shows if the result cannot be known yet.
    fn shown(&self) -> Shown;
}

/// The parameters after the path and the part.
pub fn params() -> Vec<Param> {
    let mut params = vec![
        Param::new(
            "create",
            Type::Bool,
            "Create a missing file; if false, a missing file is an error of the plan",
        )
        .default(true),
    ];
    params.extend(
        attributes::params()
            .map(|param| Param { doc: format!("{} (only of a file that it creates)", param.doc), ..param }),
    );
    params.extend(replace_file::params());
    params
}

/// Reads those parameters and the path.
pub fn decode(params: &mut Reader<'_>) -> Target {
    Target {
        path: params.path("path"),
        create: params.flag("create").unwrap_or(true),
        attributes: attributes::decode(params),
        precautions: replace_file::decode(params),
        secret: false,
        warns: true,
    }
}

/// Returns the claim on the part called `part`.
pub fn claim(target: &Target, part: String) -> Vec<Claim> {
    vec![Claim::path(target.path.to_string_lossy(), Extent::Part(part))]
}

/// Reads the file.
pub fn observe(view: &View<'_>, target: &Target) -> Result<Found, LookError> {
    let place = view.place(&target.path)?;
    let file = matches!(&place, Seen::Known(place) if place.sort == Sort::File);
    Ok(Found {
        text: if file { view.text(&target.path)? } else { Seen::Absent },
        place,
        asked: attributes::observe(view, &target.attributes())?,
        folder: view.need_folder(target.path.parent().unwrap_or(Path::new("/")))?,
    })
}

/// Returns the text of the part alone.
pub fn text(part: &dyn Part) -> Option<Vec<u8>> {
    match part.edit(b"") {
        Edit::New(text) => Some(text),
        Edit::Kept(_) | Edit::Refused(_) => None,
    }
}

/// Returns the planned change.
pub fn plan(part: &dyn Part, found: &Found) -> Planned {
    match (&found.place, &found.text) {
        (Seen::Known(place), _) if place.sort != Sort::File => in_the_way(place),
        (Seen::Known(place), Seen::Known(text)) => update(part, place, text),
        (Seen::Known(_), Seen::Unknown(steps)) => unknown(part, "its content", steps),
        (Seen::Absent, _) => create(part, found),
        (Seen::MayCome(_), _) if part.absent() => Planned::InSync("the file does not exist".to_owned()),
        (Seen::MayCome(steps) | Seen::Unknown(steps), _) => {
            unknown(part, &format!("the file {}", part.target().path.display()), steps)
        }
        (Seen::Known(_), Seen::Absent | Seen::MayCome(_)) => {
            Planned::impossible("the file disappeared while it was read")
        }
    }
}

/// Returns what later steps see.
pub fn effects(part: &dyn Part, found: &Found) -> Vec<Effect> {
    let before = found.place.clone().known();
    let body = match &found.text {
        Seen::Known(text) => edited(part, text),
        Seen::Absent if matches!(found.place, Seen::Absent) => edited(part, b""),
        Seen::Unknown(steps) => Some(Body::Unknown(steps.clone())),
        _ => match &found.place {
            Seen::MayCome(steps) | Seen::Unknown(steps) => Some(Body::Unknown(steps.clone())),
            _ => None,
        },
    };
    let Some(body) = body else { return Vec::new() };
    let place = match before {
        Some(before) => {
            let size = if let Body::Text(text) = &body { text.len() as u64 } else { before.size };
            Place { size, body, ..before }
        }
        None => found.asked.place(None, Sort::File, found.asked.new_file(), body),
    };
    vec![Effect::Path(part.target().path.clone(), Some(place))]
}

/// Writes the edited text.
pub fn apply(actor: &mut Actor<'_>, part: &dyn Part, found: &Found) -> Result<(), ApplyError> {
    let target = part.target();
    let (text, attributes): (&[u8], _) = match &found.text {
        Seen::Known(text) => (text, Attributes::default()),
        _ => (b"", target.attributes()),
    };
    let new = match part.edit(text) {
        Edit::New(new) => new,
        Edit::Kept(_) => return Ok(()),
        Edit::Refused(why) => return Err(ApplyError::at("edit", &target.path, &why)),
    };
    if matches!(found.text, Seen::Known(_)) {
        target.precautions.back_up(actor, &target.path)?;
    }
    let before = actor.sensitive;
    actor.sensitive |= target.secret;
    let check = |actor: &mut Actor<'_>, new: &Path| target.precautions.check(actor, new);
    let written = match &found.text {
        Seen::Known(old) => actor.write_edited(&target.path, [old, &new], &attributes, check),
        _ => actor.write_text(&target.path, &new, &attributes, check),
    };
    actor.sensitive = before;
    written
}

fn edited(part: &dyn Part, text: &[u8]) -> Option<Body> {
    match part.edit(text) {
        Edit::New(new) => Some(Body::Text(Bytes::from(new))),
        Edit::Kept(_) | Edit::Refused(_) => None,
    }
}

fn in_the_way(place: &Place) -> Planned {
    let target = place.target.as_ref().map(|target| target.display().to_string());
    Planned::Impossible {
        message: format!("a {} is in the way", place.sort.word()),
        help: target.map(|target| format!("name the file that the link leads to: {target}")),
    }
}

fn update(part: &dyn Part, place: &Place, text: &[u8]) -> Planned {
    let new = match part.edit(text) {
        Edit::Kept(why) => return Planned::InSync(why),
        Edit::Refused(why) => return Planned::impossible(why),
        Edit::New(new) => new,
    };
    let target = part.target();
    let mut change = Change::new(Verb::Update).property(content(target, Some((place.size, text)), &new));
    change.properties.extend(target.precautions.shown(&target.path, true));
    if target.secret {
        change = change.irreversible(replace_file::SENSITIVE);
    }
    let kept = Attributes { secret: target.secret && target.warns, ..Attributes::default() };
    Planned::change(change).warned(attributes::exposed(&target.path, place, &kept))
}

fn create(part: &dyn Part, found: &Found) -> Planned {
    let target = part.target();
    if part.absent() {
        return Planned::InSync("the file does not exist".to_owned());
    }
    if !target.create {
        return Planned::Impossible {
            message: format!("the file {} does not exist", target.path.display()),
            help: Some("declare it before, or write `create=#true`".to_owned()),
        };
    }
    match part.edit(b"") {
        Edit::New(new) => {
            // Mode and owner apply to a new file only: no later plan compares them.
            let change = Change::new(Verb::Create).property(content(target, None, &new));
            Planned::change(change).given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
        }
        Edit::Kept(why) => Planned::InSync(why),
        Edit::Refused(why) => Planned::impossible(why),
    }
}

/// Plans a part if its text cannot be known before the run.
fn unknown(part: &dyn Part, what: &str, steps: &[u32]) -> Planned {
    let before = Shown::Unknown("an earlier step decides it".to_owned());
    let after = if part.target().secret { Shown::Masked } else { part.shown() };
    let mut change = Change::new(Verb::Update).property(PropertyChange::new("content", before, after));
    change.depend(what, steps);
    Planned::change(change)
}

/// Returns the content as a property with the whole diff. The agent decides how much of it may be shown.
fn content(target: &Target, before: Option<(u64, &[u8])>, new: &[u8]) -> PropertyChange {
    let old = before.map_or(&b""[..], |(_, text)| text);
    let size = |size: u64| if target.secret { Shown::Masked } else { Shown::Text(format!("{size} bytes")) };
    let before = before.map(|(length, _)| size(length));
    let mut property = PropertyChange::new("content", before, size(new.len() as u64));
    property.diff = diff::unified(old, new);
    property
}

#[cfg(test)]
mod tests;
