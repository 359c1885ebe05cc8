//! `tree`: files and links of one folder that are validated and applied together.

mod apply;
mod observe;
mod plan;

use std::path::{Path, PathBuf};

use converge_model::schema::Child;
use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kinds::{file, link};
use crate::kit::attributes;
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::{Filling, Reader, RowReader, normal_path};

/// The kind.
pub struct Tree;

/// The desired entries of the folder.
pub struct Wish {
    path: PathBuf,
    parts: Vec<Part>,
    /// A command that must succeed with the new files in place of the old ones. Empty: no validation.
    validate: Vec<String>,
    /// Files outside the folder that are read together with it.
    reads: Vec<PathBuf>,
    replace: bool,
}

/// A file, a link, or the absence of both.
struct Part {
    /// The path relative to the folder.
    name: PathBuf,
    thing: Thing,
}

enum Thing {
    File { content: Filling, attributes: Attributes },
    Link { to: PathBuf },
    Absent,
}

/// A part at a path, as the wish of its kind.
enum Wanted {
    File(file::Wish),
    Link(link::Wish),
}

impl Part {
    /// The desired part below `folder`: the live folder or a copy of it.
    fn below(&self, folder: &Path, replace: bool) -> Wanted {
        let path = folder.join(&self.name);
        match &self.thing {
            Thing::File { content, attributes } => {
                Wanted::File(file::Wish::of(path, Some(content.clone()), attributes.clone(), replace))
            }
            Thing::Link { to } => Wanted::Link(link::Wish::of(path, to.clone(), replace)),
            Thing::Absent => Wanted::File(file::Wish::of(path, None, Attributes::default(), replace)),
        }
    }
}

impl Kind for Tree {
    type Wish = Wish;
    type Found = observe::Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        KindSchema::new("tree", "Several files of one directory, checked and applied as one")
            .details(DETAILS)
            .param(Param::new("path", Type::Path, "Existing directory; directories below it are created").argument(0).required())
            .param(Param::new("validate", Type::Command, "Command that must succeed before any file changes; it sees the new files in place of the old ones"))
            .param(Param::list("reads", Type::Path, "Existing files elsewhere, such as certificates; a change of one validates the tree again and notifies"))
            .param(Param::list("absent", Type::Text, "Files and links to remove, relative to the directory, such as defaults of packages"))
            .param(Param::new("replace", Type::Bool, "Replace a link at the path of a file, or a file at the path of a link").default(false))
            .child(
                Child::new("file", "A file.")
                    .param(Param::new("name", Type::Text, "Path, relative to the directory").argument(0).required())
                    .param(Param::new("content", Type::Content, "Content: text, `(file)\"name\"`, `(template)\"name\"` or a secret; text gets a newline at its end").required())
                    .param(mode)
                    .param(owner)
                    .param(group),
            )
            .child(
                Child::new("link", "A symbolic link.")
                    .param(Param::new("name", Type::Text, "Path, relative to the directory").argument(0).required())
                    .param(Param::new("to", Type::Text, "Target: an absolute path, or one relative to the directory of the link").required()),
            )
            .example(
                "A configuration of several files, checked as a whole",
                "directory \"/etc/colours\"\ntree \"/etc/colours\" {\n    validate \"grep -q blue /etc/colours/conf.d/10-sea.conf\"\n    file \"main.conf\" {\n        content \"include conf.d\"\n    }\n    file \"conf.d/10-sea.conf\" mode=\"0640\" {\n        content \"sea blue\"\n    }\n    link \"current.conf\" to=\"main.conf\"\n    absent \"conf.d/99-example.conf\"\n}",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let mut parts = Vec::new();
        for row in params.rows("file") {
            let content = row.filling("content").cloned();
            if content.is_none() {
                params.problem(ParamProblem::new("file", "must have `content`"));
            }
            let thing = content.map(|content| Thing::File { content, attributes: attributes_of(&row) });
            parts.extend(thing.and_then(|thing| part(params, "file", row.plain("name"), thing)));
        }
        for row in params.rows("link") {
            let to = row.plain("to").filter(|to| !to.is_empty() && to.len() < 4096 && !to.contains('\0'));
            if to.is_none() {
                params.problem(ParamProblem::new("link", "must have a target `to` of 1 to 4095 bytes"));
            }
            let thing = to.map(|to| Thing::Link { to: to.into() });
            parts.extend(thing.and_then(|thing| part(params, "link", row.plain("name"), thing)));
        }
        for name in params.texts("absent") {
            parts.extend(part(params, "absent", Some(name), Thing::Absent));
        }
        tell_clashes(params, &parts);
        Wish {
            path: params.path("path"),
            parts,
            validate: params.several_lines(|params| params.texts("validate")),
            reads: params.texts("reads").iter().filter_map(|path| normal_path(path)).collect(),
            replace: params.flag("replace").unwrap_or(false),
        }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let claim = |part: &Part| {
            let extent = if matches!(part.thing, Thing::Absent) { Extent::Absence } else { Extent::Whole };
            Claim::path(wish.path.join(&part.name).to_string_lossy(), extent)
        };
        wish.parts.iter().map(claim).collect()
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        let warning = |part: &Part| match part.below(&wish.path, wish.replace) {
            Wanted::File(file) => file.warning(),
            Wanted::Link(_) => None,
        };
        let named = |part: &Part, warning: ParamProblem| ParamProblem {
            param: Some("file".to_owned()),
            message: format!("{}: {}", part.name.display(), warning.message),
            ..warning
        };
        wish.parts.iter().filter_map(|part| Some(named(part, warning(part)?))).collect()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        let texts = wish.parts.iter().filter_map(|part| match &part.thing {
            Thing::File { content, .. } => content.secret_text(),
            Thing::Link { .. } | Thing::Absent => None,
        });
        Some(texts.collect::<Vec<_>>().join(&b'\n'))
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<observe::Found, LookError> {
        observe::observe(view, wish)
    }

    fn plan(wish: &Wish, found: &observe::Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(_wish: &Wish, found: &observe::Found) -> Vec<Effect> {
        plan::effects(found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &observe::Found) -> Result<(), ApplyError> {
        apply::apply(actor, wish, found)
    }
}

fn attributes_of(row: &RowReader) -> Attributes {
    let mode = row.plain("mode").and_then(|mode| mode.parse().ok()).filter(|mode| *mode <= 0o7777);
    Attributes { mode, owner: row.plain("owner"), group: row.plain("group"), secret: false }
}

fn part(params: &mut Reader<'_>, param: &str, name: Option<String>, thing: Thing) -> Option<Part> {
    let name = name.unwrap_or_default();
    let path =
        normal_path(&format!("/{name}")).filter(|path| !name.starts_with('/') && path.parent().is_some());
    let Some(path) = path else {
        let help = "write it relative to the directory: `conf.d/a.conf`";
        params.problem(
            ParamProblem::new(param, format!("{name:?} must be a path in the directory")).help(help),
        );
        return None;
    };
    Some(Part { name: path.strip_prefix("/").unwrap_or(&path).to_owned(), thing })
}

/// Refuses repeated names, and names below a file.
fn tell_clashes(params: &mut Reader<'_>, parts: &[Part]) {
    let mut names: Vec<_> = parts.iter().map(|part| &part.name).collect();
    names.sort();
    for pair in names.windows(2) {
        let message = match pair {
            [one, other] if one == other => format!("{} must be declared once in the tree", one.display()),
            [one, other] if other.starts_with(one) => {
                format!("{} cannot be below {}", other.display(), one.display())
            }
            _ => continue,
        };
        params.problem(ParamProblem::together(message));
    }
}

const DETAILS: &str = "\
Some programs read a folder of files that belong together: nginx, fail2ban, a mail server. A tree changes these files \
together. `validate` runs while the new files replace the old ones in a separate mount namespace, which needs root. \
Only that command sees the new files, so a command such as `nginx -t` reads them under their final names. If it fails, \
the host is unchanged.

Then Converge replaces each file in one step and keeps the old files until the end of the run. If one file cannot be \
written, or a notified service fails, Converge restores all of them.

`reads` lists files elsewhere that the program reads. An earlier resource, or another program such as one that renews \
certificates, may change them. Converge records a digest of each file at the apply. If one changed since, the tree has \
a change, but the file itself stays as it is.

The plan expects the files in `absent` only from packages. While a package is to be installed, the plan lists their \
removal. If a command creates one of them, the tree removes it at its turn and reports it as unforeseen.

Other files in the directory stay. Converge records which files and links the tree created. It removes them if they \
are no longer declared.

A link in the path of a file is an error of the plan. So is a directory or a device at the path of a file.";

#[cfg(test)]
mod tests;
