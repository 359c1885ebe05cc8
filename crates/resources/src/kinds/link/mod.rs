//! `link`: a symbolic link with its target, or its absence.

mod release;

use std::path::{Path, PathBuf};

use converge_model::{
    Change, Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::access::Login;
use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Depend, Kind, Planned};
use crate::kit::attributes::{self, Asked, printable};
use crate::kit::parent_folder;
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::Reader;
use release::Missing;

/// The kind.
pub struct Link;

/// The desired link.
pub struct Wish {
    path: PathBuf,
    absent: bool,
    to: PathBuf,
    /// The folder of releases. `to` names one of them.
    among: Option<PathBuf>,
    attributes: Attributes,
    replace: bool,
    /// Whether missing folders above the link are made.
    parents: bool,
}

/// The state of the host.
pub struct Found {
    /// The target of the link, or the reason why the asked release is missing.
    to: Result<PathBuf, Missing>,
    place: Seen<Place>,
    asked: Asked,
    folder: Need,
    /// The missing folders above the link, outermost first. They are made on the way.
    missing: Vec<PathBuf>,
}

impl Wish {
    /// A link for a kind that manages several links and makes their folders itself.
    pub(crate) fn of(path: PathBuf, to: PathBuf, replace: bool) -> Self {
        Self {
            path,
            absent: false,
            to,
            among: None,
            attributes: Attributes::default(),
            replace,
            parents: false,
        }
    }
}

impl Found {
    /// Removes the need for the folder, because the kind makes it itself.
    pub(crate) fn without_folder(mut self) -> Self {
        self.folder = Need::Met;
        self
    }

    /// Whether the path does not exist.
    pub(crate) fn is_new(&self) -> bool {
        !matches!(self.place, Seen::Known(_))
    }
}

impl Kind for Link {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let [_, owner, group] = attributes::params();
        KindSchema::new("link", "A symbolic link")
            .details(
                "The target need not exist. A changed link is replaced in one step, so it always leads to the \
                 old or the new target. Converge never replaces a directory with a link.",
            )
            .param(Param::new("path", Type::Path, "Path of the link").argument(0).required())
            .param(Param::new("to", Type::Text, "Target: an absolute path, or one relative to the folder of the link"))
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param { doc: format!("{} (of the link itself)", owner.doc), ..owner })
            .param(Param { doc: format!("{} (of the link itself)", group.doc), ..group })
            .param(Param::new("among", Type::Path, "Directory of releases, kept by `retention`; `to` is then the name or version of a release that was in use"))
            .param(Param::new("replace", Type::Bool, "Replace a file at the path with the link").default(false))
            .param(Param::new("parents", Type::Bool, "Create missing directories above it, with its owner and mode 0755").default(false))
            .example("A link to the release in use", "directory \"/srv/app\"\nlink \"/srv/app/current\" to=\"releases/42\"")
            .example("A link to remove", "link \"/etc/nginx-old\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            path: params.path("path"),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            to: params.text("to").unwrap_or_default().into(),
            among: params.optional_path("among"),
            attributes: Attributes {
                owner: params.text("owner"),
                group: params.text("group"),
                ..Attributes::default()
            },
            replace: params.flag("replace").unwrap_or(false),
            parents: params.flag("parents").unwrap_or(false),
        };
        let length = wish.to.as_os_str().len();
        if !wish.absent && (length == 0 || length > 4095 || wish.to.to_string_lossy().contains('\0')) {
            params
                .problem(ParamProblem::new("to", if length == 0 { "is missing" } else { "must be a path" }));
        }
        if wish.among.is_some() && wish.to.file_name() != Some(wish.to.as_os_str()) {
            params.problem(ParamProblem::new("to", "must be the name or version of a release"));
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = if wish.absent { Extent::Absence } else { Extent::Whole };
        vec![Claim::path(wish.path.to_string_lossy(), extent)]
    }

    /// Other paths may lead through this one.
    fn access(wish: &Wish, login: &Login) -> bool {
        login.passes_through(&Self::claims(wish))
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let parent = wish.path.parent().unwrap_or(Path::new("/"));
        let to = match &wish.among {
            Some(releases) if !wish.absent => release::among(view, parent, releases, &wish.to)?,
            _ => Ok(wish.to.clone()),
        };
        let (folder, missing) = match (wish.absent, wish.parents) {
            (true, _) => (Need::Met, Vec::new()),
            (false, true) => parent_folder::above(view, &wish.path)?,
            (false, false) => (view.need_folder(parent)?, Vec::new()),
        };
        let asked = attributes::observe(view, &wish.attributes)?;
        Ok(Found { to, place: view.place(&wish.path)?, asked, folder, missing })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let to = match &found.to {
            Ok(to) => to,
            Err(Missing { message, help }) => {
                return Planned::Impossible { message: message.clone(), help: Some(help.clone()) };
            }
        };
        let planned = match (&found.place, wish.absent) {
            (Seen::Absent | Seen::MayCome(_), true) => Planned::InSync("it does not exist".to_owned()),
            (Seen::Unknown(steps), true) => {
                let mut change = Change::new(Verb::Remove);
                change.depend("it", steps);
                Planned::change(change)
            }
            (Seen::Known(place), true) => remove(place),
            (Seen::Known(place), false) => present(wish, found, place, to),
            (_, false) => Planned::change(create(found, to, Verb::Create)),
        };
        planned.given(found.asked.needs.iter().cloned().chain([found.folder.clone()]))
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let Ok(to) = &found.to else { return Vec::new() };
        let before = match &found.place {
            Seen::Known(place) => Some(place),
            _ => None,
        };
        let place = found.asked.place(before, Sort::Link, 0o777, Body::OnDisk);
        let place = Place { target: Some(to.clone()), size: to.as_os_str().len() as u64, ..place };
        let parent = || found.asked.place(None, Sort::Folder, 0o755, Body::OnDisk);
        let parents = found.missing.iter().map(|path| Effect::Path(path.clone(), Some(parent())));
        parents.chain([Effect::Path(wish.path.clone(), (!wish.absent).then_some(place))]).collect()
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        if wish.absent {
            return actor.remove(&wish.path);
        }
        let to = found.to.as_ref().map_err(|missing| ApplyError::new(missing.message.clone()))?;
        let there = matches!(&found.place, Seen::Known(place) if leads(place, to));
        for parent in &found.missing {
            actor.make_folder(parent, &wish.attributes)?;
        }
        if !there {
            actor.link(&wish.path, to)?;
        }
        if wish.attributes == Attributes::default() {
            return Ok(());
        }
        actor.set_attributes(&wish.path, &wish.attributes)
    }
}

fn leads(place: &Place, to: &Path) -> bool {
    place.target.as_ref().map(|target| target.as_os_str()) == Some(to.as_os_str())
}

fn remove(place: &Place) -> Planned {
    match &place.target {
        Some(target) => {
            let to = PropertyChange::new("to", printable(target.as_os_str()), Shown::Absent);
            Planned::change(Change::new(Verb::Remove).property(to))
        }
        None => {
            Planned::impossible(format!("a {} is in the way; `link` removes only links", place.sort.word()))
        }
    }
}

fn present(wish: &Wish, found: &Found, place: &Place, to: &Path) -> Planned {
    match (place.sort, &place.target) {
        (Sort::Link, Some(target)) => {
            let mut change = Change::new(Verb::Update);
            if !leads(place, to) {
                let [before, after] = [target, to].map(|path| printable(path.as_os_str()));
                change = change.property(PropertyChange::new("to", before, after));
            }
            change.properties.extend(found.asked.changes(place));
            if change.properties.is_empty() {
                return Planned::InSync("it leads to its target".to_owned());
            }
            Planned::change(change)
        }
        (Sort::File, _) if wish.replace => {
            let mut change = create(found, to, Verb::Replace);
            change
                .properties
                .insert(0, PropertyChange::new("file", format!("{} bytes", place.size), Shown::Absent));
            Planned::change(change)
        }
        (sort, _) => Planned::Impossible {
            message: format!("a {} is in the way", sort.word()),
            help: (sort == Sort::File).then(|| "write `replace=#true`".to_owned()),
        },
    }
}

fn create(found: &Found, to: &Path, verb: Verb) -> Change {
    let mut change = Change::new(verb);
    let parent = |path: &PathBuf| PropertyChange::new("parent", Shown::Absent, printable(path.as_os_str()));
    change.properties.extend(found.missing.iter().map(parent));
    change.properties.push(PropertyChange::new("to", Shown::Absent, printable(to.as_os_str())));
    change.properties.extend(found.asked.created());
    change
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use converge_model::{Params, Value, Verb};

    use crate::kinds::testing::{Trial, change, impossible, params};

    fn link(to: &str) -> Params {
        params([("path", "/etc/now".into()), ("to", to.into())])
    }

    #[test]
    fn a_link_comes_changes_and_goes() {
        let trial = Trial::new();
        assert_eq!(trial.laws("link", &link("/nowhere/yet")).verb, Verb::Create);
        assert_eq!(trial.laws("link", &link("relative/../x")).verb, Verb::Update);
        assert_eq!(std::fs::read_link(trial.at("/etc/now")).unwrap().to_str(), Some("relative/../x"));
        let gone = params([("path", "/etc/now".into()), ("state", "absent".into())]);
        trial.laws("link", &gone);
        trial.assert_in_sync("link", &gone);
    }

    #[test]
    fn only_a_file_makes_way_and_only_where_it_is_said() {
        let trial = Trial::new();
        trial.write("/etc/now", "a file");
        let mut wish = link("x");
        assert_eq!(impossible(trial.plan("link", &wish)), "a file is in the way");
        wish.set("replace", Value::from(true));
        assert_eq!(trial.laws("link", &wish).verb, Verb::Replace);

        let trial = Trial::new();
        std::fs::create_dir(trial.at("/etc/now")).unwrap();
        assert_eq!(impossible(trial.plan("link", &wish)), "a directory is in the way");
        let gone = params([("path", "/etc/now".into()), ("state", "absent".into())]);
        assert_eq!(
            impossible(trial.plan("link", &gone)),
            "a directory is in the way; `link` removes only links"
        );
    }

    #[test]
    fn the_folders_above_a_link_are_made_where_it_says_so() {
        let trial = Trial::new();
        let mut wish = link("x");
        wish.set("path", Value::from("/etc/one/two/now"));
        assert_eq!(impossible(trial.plan("link", &wish)), "the folder /etc/one/two does not exist");
        wish.set("parents", Value::from(true));
        let made = trial.laws("link", &wish);
        let named: Vec<_> = made.properties.iter().map(|property| property.property.as_str()).collect();
        assert_eq!(named[..3], ["parent", "parent", "to"]);
        trial.write("/etc/three", "a file");
        wish.set("path", Value::from("/etc/three/four/now"));
        assert_eq!(impossible(trial.plan("link", &wish)), "the folder /etc/three does not exist");
    }

    #[test]
    fn a_path_that_differs_only_in_writing_differs() {
        let trial = Trial::new();
        symlink("/a//b/", trial.at("/etc/now")).unwrap();
        let to = change(trial.plan("link", &link("/a/b")));
        assert_eq!(to.properties.len(), 1);
    }

    #[test]
    fn what_lies_behind_a_planned_link_is_seen() {
        let trial = Trial::new();
        std::fs::create_dir_all(trial.at("/srv/v2")).unwrap();
        let effects = trial.look("link", &link("/srv/v2")).effects;
        let below = params([("path", "/etc/now/x".into()), ("content", trial.content("x"))]);
        assert!(matches!(trial.plan_after(effects, "file", &below), crate::Planned::Change(_)));
    }

    #[test]
    fn a_link_needs_to_lead_somewhere() {
        let problems = Trial::new().problems("link", &params([("path", "/etc/now".into())]));
        assert_eq!(problems[0].param.as_deref(), Some("to"));
        let check =
            |to: &str, count: usize| assert_eq!(Trial::new().problems("link", &link(to)).len(), count);
        check(&"x".repeat(4095), 0);
        check(&"x".repeat(4096), 1);
        check("a\0b", 1);
    }

    #[test]
    fn what_is_in_the_way_is_offered_to_be_replaced_only_if_it_can_be() {
        let trial = Trial::new();
        let help = |trial: &Trial| match trial.plan("link", &link("x")) {
            crate::Planned::Impossible { help, .. } => help,
            other => panic!("{other:?}"),
        };
        std::fs::create_dir(trial.at("/etc/now")).unwrap();
        assert_eq!(help(&trial), None);
        std::fs::remove_dir(trial.at("/etc/now")).unwrap();
        trial.write("/etc/now", "a file");
        assert_eq!(help(&trial).as_deref(), Some("write `replace=#true`"));
    }
}
