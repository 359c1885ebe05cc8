//! `directory`: a folder with its mode and owner, on request with its content; or its absence.

mod apply;
mod observe;
mod plan;

use std::path::PathBuf;

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::access::Login;
use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::attributes;
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::Reader;

/// The kind.
pub struct Directory;

/// The desired folder.
pub struct Wish {
    path: PathBuf,
    absent: bool,
    attributes: Attributes,
    below: Below,
}

/// The desired state of the folder's content.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Below {
    /// Whether the content gets the folder's owner and group.
    recurse: bool,
    /// The mode of every file.
    file_mode: Option<u32>,
    /// The mode of every folder.
    dir_mode: Option<u32>,
    /// Whether entries that no resource claims are removed.
    purge: bool,
}

impl Below {
    fn is_asked(&self) -> bool {
        *self != Self::default()
    }
}

impl Kind for Directory {
    type Wish = Wish;
    type Found = observe::Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        KindSchema::new("directory", "A directory, with its mode and owner")
            .details(
                "The kind also creates missing parent directories, with mode 0755. The plan lists them.\n\n\
                 `recurse`, `file-mode`, `dir-mode` and `purge` change the content of the directory. They \
                 never follow links and never enter mounted file systems. They skip paths that another \
                 resource claims, with everything below.\n\n\
                 Converge keeps removed content until the end of the run, so that a failed step can restore \
                 it. It keeps at most 10,000 entries and 64 MiB, and only files and links. It cannot restore \
                 more, and the plan says so. A mount in the removed content is an error of the plan.",
            )
            .param(Param::new("path", Type::Path, "Path of the directory").argument(0).required())
            .param(
                Param::new(
                    "state",
                    Type::Text,
                    "Wanted state; `absent` removes it with everything in it",
                )
                .one_of(&["present", "absent"])
                .default("present"),
            )
            .param(mode)
            .param(owner)
            .param(group)
            .param(
                Param::new("recurse", Type::Bool, "Apply owner and group to everything below")
                    .default(false),
            )
            .param(Param::new("file-mode", Type::Mode, "Mode of every file below"))
            .param(Param::new("dir-mode", Type::Mode, "Mode of every directory below"))
            .param(
                Param::new("purge", Type::Bool, "Remove entries that no resource of the host claims, except copies made by `backup`")
                    .default(false),
            )
            .example("A directory", "directory \"/srv/app\" mode=\"0750\"")
            .example("A directory, with its parent directories", "directory \"/opt/shop/releases/first\"")
            .example(
                "A directory that contains only declared files",
                "directory \"/etc/app.d\" purge=#true\nfile \"/etc/app.d/one.conf\" { content \"one\" }",
            )
            .example(
                "A directory with files for one account",
                "directory \"/srv/files\" owner=\"www-data\" group=\"www-data\" recurse=#true file-mode=\"0640\" dir-mode=\"0750\"",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            path: params.path("path"),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            attributes: attributes::decode(params),
            below: Below {
                recurse: params.flag("recurse").unwrap_or(false),
                file_mode: params.mode("file-mode"),
                dir_mode: params.mode("dir-mode"),
                purge: params.flag("purge").unwrap_or(false),
            },
        };
        problems(params, &wish);
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

    fn observe(view: &View<'_>, wish: &Wish) -> Result<observe::Found, LookError> {
        observe::observe(view, wish)
    }

    fn plan(wish: &Wish, found: &observe::Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &observe::Found) -> Vec<Effect> {
        plan::effects(wish, found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &observe::Found) -> Result<(), ApplyError> {
        apply::apply(actor, wish, found)
    }
}

fn problems(params: &mut Reader<'_>, wish: &Wish) {
    if wish.path.parent().is_none() && (wish.absent || wish.below.is_asked()) {
        params.problem(ParamProblem::new(
            "path",
            "must not be `/` with `state=\"absent\"`, `recurse` or `purge`",
        ));
    }
    if wish.absent && wish.below.is_asked() {
        params.problem(ParamProblem::together(
            "an absent directory must not have parameters for its content: all of it is removed",
        ));
    }
    if wish.below.recurse && wish.attributes.owner.is_none() && wish.attributes.group.is_none() {
        let help = "write `owner` or `group`; for modes, write `file-mode` and `dir-mode`";
        params.problem(ParamProblem::new("recurse", "must have `owner` or `group`").help(help));
    }
}

#[cfg(test)]
mod tests;
