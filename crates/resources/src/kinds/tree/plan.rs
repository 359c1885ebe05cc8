//! The plan of a `tree`: the plans of its parts combined.

use std::path::Path;

use converge_model::{Certainty, Change, PropertyChange, Shown, Verb};

use super::observe::{Found, Read};
use super::{Thing, Wish};
use crate::kind::{Depend, DiffRequest, Planned, PlannedChange};
use crate::overlay::Effect;
use crate::view::Seen;

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    if let Some((message, help)) = &found.obstacle {
        return Planned::Impossible { message: message.clone(), help: help.clone() };
    }
    let mut whole = Whole::default();
    for (name, _) in &found.folders {
        let folder = PropertyChange::new(&format!("{}/", name.display()), Shown::Absent, "directory");
        whole.properties.push(folder);
    }
    let parts = wish.parts.iter().map(|part| &*part.name).zip(&found.parts);
    for (name, part) in parts.chain(found.stale.iter().map(|(name, part)| (&**name, part))) {
        match part.plan() {
            Planned::InSync(_) => {}
            Planned::Change(planned) => whole.add(name, *planned),
            Planned::Impossible { message, help } => {
                return Planned::Impossible { message: format!("{}: {message}", name.display()), help };
            }
        }
    }
    found.reads.iter().for_each(|read| whole.read(read));
    whole.planned(wish, found).given(found.needs.iter().cloned())
}

/// The effects for later steps.
pub(super) fn effects(found: &Found) -> Vec<Effect> {
    let folders = found.folders.iter().filter_map(|(_, folder)| folder.effect());
    let parts = found.parts.iter().chain(found.stale.iter().map(|(_, part)| part));
    folders.chain(parts.flat_map(|part| part.effects())).collect()
}

/// The changes of all parts.
#[derive(Default)]
struct Whole {
    properties: Vec<PropertyChange>,
    diffs: Vec<DiffRequest>,
    steps: Vec<u32>,
    irreversible: Option<String>,
    warnings: Vec<String>,
}

impl Whole {
    /// Adds the changes of the part `name`.
    fn add(&mut self, name: &Path, planned: PlannedChange) {
        let change = planned.change;
        self.warnings.extend(planned.warnings);
        let first = self.properties.len();
        if change.properties.is_empty() {
            let why = Shown::Unknown("an earlier step may bring it".to_owned());
            self.properties.push(PropertyChange::new(&name.display().to_string(), why, Shown::Absent));
        }
        self.properties.extend(change.properties.into_iter().map(|property| PropertyChange {
            property: match property.property.as_str() {
                "content" | "to" | "state" => name.display().to_string(),
                other => format!("{}: {other}", name.display()),
            },
            ..property
        }));
        let diffs = planned.diffs.into_iter();
        self.diffs.extend(diffs.map(|diff| DiffRequest { property: first + diff.property, ..diff }));
        if let Certainty::Conditional { on, .. } = change.certainty {
            self.steps.extend(on);
        }
        self.irreversible = self.irreversible.take().or(change.irreversible);
    }

    /// Adds the change of a file outside the folder. Its content is not shown, because the tree does not own it.
    fn read(&mut self, read: &Read) {
        if read.same == Some(true) {
            return;
        }
        let before = read.same.map(|_| "changed since it was read");
        self.properties.push(PropertyChange::new(&read.path.display().to_string(), before, "read"));
        if let Seen::MayCome(steps) | Seen::Unknown(steps) = &read.digest {
            self.steps.extend(steps);
        }
    }

    fn planned(self, wish: &Wish, found: &Found) -> Planned {
        if self.properties.is_empty() {
            return Planned::InSync(format!("all {} files and links are as asked", wish.parts.len()));
        }
        let mut made = wish
            .parts
            .iter()
            .zip(&found.parts)
            .filter(|(part, _)| !matches!(part.thing, Thing::Absent))
            .peekable();
        // A tree that only removes entries creates nothing.
        let is_new = made.peek().is_some() && made.all(|(_, part)| part.is_new());
        let verb = if is_new { Verb::Create } else { Verb::Update };
        let mut change =
            Change { properties: self.properties, irreversible: self.irreversible, ..Change::new(verb) };
        if !self.steps.is_empty() {
            change.depend("its content", &self.steps);
        }
        Planned::Change(Box::new(PlannedChange {
            change,
            diffs: self.diffs,
            always: false,
            warnings: self.warnings,
        }))
    }
}
