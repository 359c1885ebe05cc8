//! A text file that a kind renders whole: the common code of `sudo-rule`, `cron`, `sysctl` and other kinds that own
//! one file.

use std::path::{Path, PathBuf};

use converge_model::{Change, ParamProblem, PropertyChange, Shown, Verb};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::diff;
use crate::kind::{Depend, Planned};
use crate::kit::attributes::{self, Asked};
use crate::kit::{programs, replace_file};
use crate::overlay::{Bytes, Effect};
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};

/// The desired file.
pub struct Rendered {
    /// The path.
    pub path: PathBuf,
    /// The content. None: the file should not be there.
    pub text: Option<Vec<u8>>,
    /// Its mode and owner.
    pub attributes: Attributes,
    /// The words of a command that must succeed on the new file. `%s` in it is the path. Empty: no check. The program
    /// is one that the kind runs itself.
    pub validate: Vec<String>,
    /// Whether its text is a secret and is never shown.
    pub secret: bool,
}

impl Rendered {
    /// Returns the asked mode and owner.
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
    text: Option<Seen<Vec<u8>>>,
    asked: Asked,
    needs: Vec<Need>,
    folder: Need,
}

/// Reads the file.
pub fn observe(view: &View<'_>, wish: &Rendered) -> Result<Found, LookError> {
    let place = view.place(&wish.path)?;
    let file = matches!(&place, Seen::Known(place) if place.sort == Sort::File);
    let mut needs = Vec::new();
    if let (Some(_), Some(program)) = (&wish.text, wish.validate.first()) {
        needs.push(programs::need(view, program)?);
    }
    let folder = match wish.text {
        Some(_) => view.need_folder(wish.path.parent().unwrap_or(Path::new("/")))?,
        None => Need::Met,
    };
    let asked = attributes::observe(view, &wish.attributes())?;
    needs.extend(asked.needs.iter().cloned());
    Ok(Found { text: if file { Some(view.text(&wish.path)?) } else { None }, place, asked, needs, folder })
}

impl Found {
    /// Drops the need for the folder, because the kind makes it itself.
    pub fn without_folder(mut self) -> Self {
        self.folder = Need::Met;
        self
    }
}

/// Returns the planned change.
pub fn plan(wish: &Rendered, found: &Found) -> Planned {
    let planned = match (&wish.text, &found.place) {
        (None, Seen::Absent | Seen::MayCome(_)) => Planned::InSync("it does not exist".to_owned()),
        (None, Seen::Known(place)) if matches!(place.sort, Sort::File | Sort::Link) => {
            Planned::change(Change::new(Verb::Remove).property(content(wish, found, None)))
        }
        (None, Seen::Unknown(steps)) => {
            let mut change = Change::new(Verb::Remove);
            change.depend("the file", steps);
            Planned::change(change)
        }
        (Some(text), Seen::Known(place)) if place.sort == Sort::File => update(wish, found, place, text),
        (_, Seen::Known(place)) => {
            Planned::impossible(format!("a {} is in the way at {}", place.sort.word(), wish.path.display()))
        }
        (Some(text), _) => {
            let mut change = Change::new(Verb::Create).property(content(wish, found, Some(text)));
            change.properties.extend(found.asked.created());
            Planned::change(change)
        }
    };
    planned.given(found.needs.iter().chain([&found.folder]).cloned())
}

fn update(wish: &Rendered, found: &Found, place: &Place, text: &[u8]) -> Planned {
    let mut change = Change::new(Verb::Update);
    match &found.text {
        Some(Seen::Known(before)) if before == text => {}
        Some(Seen::MayCome(steps) | Seen::Unknown(steps)) => {
            change.properties.push(content(wish, found, Some(text)));
            change.depend("its content", steps);
        }
        _ => change.properties.push(content(wish, found, Some(text))),
    }
    change.properties.extend(found.asked.changes(place));
    if change.properties.is_empty() {
        return Planned::InSync("content, mode and owner are as asked".to_owned());
    }
    Planned::change(change).warned(attributes::exposed(&wish.path, place, &wish.attributes()))
}

/// Returns the content as a property: its size and the whole diff. The agent decides how much of it may be shown.
fn content(wish: &Rendered, found: &Found, after: Option<&[u8]>) -> PropertyChange {
    let before = match &found.text {
        Some(Seen::Known(text)) => Some(text.as_slice()),
        _ => None,
    };
    let shown = |text: Option<&[u8]>| match text {
        None => Shown::Absent,
        Some(_) if wish.secret => Shown::Masked,
        Some(text) => Shown::Text(format!("{} bytes", text.len())),
    };
    let mut property = PropertyChange::new("content", shown(before), shown(after));
    property.diff = diff::unified(before.unwrap_or_default(), after.unwrap_or_default());
    property
}

/// Returns what later steps see.
pub fn effects(wish: &Rendered, found: &Found) -> Vec<Effect> {
    let before = match &found.place {
        Seen::Known(place) => Some(place),
        _ => None,
    };
    let place = wish.text.as_ref().map(|text| {
        let body = Body::Text(Bytes::from(text.as_slice()));
        found.asked.place(before, Sort::File, found.asked.new_file(), body)
    });
    vec![Effect::Path(wish.path.clone(), place)]
}

/// Applies the plan to the file.
pub fn apply(actor: &mut Actor<'_>, wish: &Rendered, found: &Found) -> Result<(), ApplyError> {
    let Some(text) = &wish.text else { return actor.remove(&wish.path) };
    if matches!(&found.text, Some(Seen::Known(before)) if before == text) {
        return actor.set_attributes(&wish.path, &wish.attributes);
    }
    let before = actor.sensitive;
    actor.sensitive |= wish.secret;
    let done = actor.write_text(&wish.path, text, &wish.attributes(), |actor, new| {
        replace_file::check(&wish.validate, actor, new)
    });
    actor.sensitive = before;
    done
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, change};
    use crate::system::fake::World;
    use crate::view::Base;
    use converge_model::Certainty;
    use std::os::unix::fs::PermissionsExt;

    fn wish(text: Option<&str>) -> Rendered {
        Rendered {
            path: "/etc/rule".into(),
            text: text.map(|text| text.as_bytes().to_vec()),
            attributes: Attributes { mode: Some(0o440), ..Attributes::default() },
            validate: Vec::new(),
            secret: false,
        }
    }

    #[test]
    fn each_state_of_the_file_has_its_plan() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path()).unwrap();
        let plan_of = |wish: &Rendered| {
            let base = Base::new(&world);
            let found = observe(&View::bare(&base), wish).unwrap();
            match plan(wish, &found) {
                Planned::InSync(_) => "in sync".to_owned(),
                Planned::Change(planned) => {
                    let names: Vec<_> =
                        planned.change.properties.iter().map(|p| p.property.as_str()).collect();
                    format!("{:?} {}", planned.change.verb, names.join(" "))
                }
                Planned::Impossible { message, .. } => message,
            }
        };
        assert_eq!(plan_of(&wish(None)), "in sync");
        assert_eq!(plan_of(&wish(Some("a\n"))), "Create content mode");
        world.write("/etc/rule".as_ref(), "b\n");
        assert_eq!(plan_of(&wish(Some("a\n"))), "Update content mode");
        assert_eq!(plan_of(&wish(Some("b\n"))), "Update mode");
        assert_eq!(plan_of(&wish(None)), "Remove content");
        std::fs::remove_file(root.path().join("etc/rule")).unwrap();
        std::fs::create_dir(root.path().join("etc/rule")).unwrap();
        assert_eq!(plan_of(&wish(None)), "a directory is in the way at /etc/rule");
        assert_eq!(plan_of(&wish(Some("a\n"))), "a directory is in the way at /etc/rule");
    }

    fn looked<T>(trial: &Trial, effects: Vec<Effect>, wish: &Rendered, work: impl Fn(&Found) -> T) -> T {
        trial.view_after(effects, |view| work(&observe(view, wish).unwrap()))
    }

    #[test]
    fn a_text_that_an_earlier_step_decides_makes_the_plan_conditional() {
        let trial = Trial::new();
        let Effect::Path(path, Some(place)) = trial.planned_file("/etc/rule", b"") else { unreachable!() };
        for text in [Some("a\n"), None] {
            let unknown = Place { body: Body::Unknown(vec![0]), ..place.clone() };
            let effects = vec![Effect::Path(path.clone(), Some(unknown))];
            let planned = looked(&trial, effects, &wish(text), |found| plan(&wish(text), found));
            let change = change(planned);
            let is_open = matches!(change.certainty, Certainty::Conditional { ref on, .. } if on == &[0]);
            assert_eq!(is_open, text.is_some(), "{change:?}");
            assert_eq!(change.properties[0].property, "content");
        }
    }

    #[test]
    fn a_secret_text_shows_not_even_its_size() {
        let trial = Trial::new();
        trial.write("/etc/rule", "older\n");
        for (secret, shown) in
            [(false, ["6 bytes", "2 bytes"].map(Shown::from)), (true, [Shown::Masked, Shown::Masked])]
        {
            let wish = Rendered { secret, ..wish(Some("a\n")) };
            let content =
                looked(&trial, Vec::new(), &wish, |found| change(plan(&wish, found))).properties.remove(0);
            assert_eq!([content.before, content.after], shown);
        }
    }

    #[test]
    fn later_steps_see_the_new_text_and_what_stays_of_the_file() {
        let trial = Trial::new();
        trial.write("/etc/rule", "older\n");
        std::fs::set_permissions(trial.at("/etc/rule"), std::fs::Permissions::from_mode(0o600)).unwrap();
        let wish = |text: Option<&str>| Rendered { attributes: Attributes::default(), ..wish(text) };
        let seen = |wish: &Rendered| {
            let effects = looked(&trial, Vec::new(), wish, |found| effects(wish, found));
            trial.view_after(effects, |view| {
                let place = view.place(&wish.path).unwrap().known();
                place.map(|place| (place.mode, view.text(&wish.path).unwrap()))
            })
        };
        assert_eq!(seen(&wish(Some("a\n"))), Some((0o600, Seen::Known(b"a\n".to_vec()))));
        assert_eq!(seen(&wish(None)), None);
        let new = Rendered { path: "/etc/new".into(), ..wish(Some("a\n")) };
        assert_eq!(seen(&new), Some((0o644, Seen::Known(b"a\n".to_vec()))));
    }
}
