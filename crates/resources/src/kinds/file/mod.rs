//! `file`: a regular file with its content, mode and owner, or its absence.

mod apply;
mod observe;
mod plan;

use std::path::PathBuf;

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::attributes;
use crate::kit::replace_file::{self, Precautions};
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::{Filling, Reader};

/// The kind.
pub struct File;

/// The desired file.
pub struct Wish {
    path: PathBuf,
    state: State,
    content: Option<Filling>,
    attributes: Attributes,
    precautions: Precautions,
    replace: bool,
}

impl Wish {
    /// A file with this content, or no file. For a kind that manages several files and makes their folders itself.
    pub(crate) fn of(path: PathBuf, content: Option<Filling>, attributes: Attributes, replace: bool) -> Self {
        let attributes = Attributes { secret: is_secret(content.as_ref()), ..attributes };
        let state = if content.is_some() { State::Present } else { State::Absent };
        Self { path, state, content, attributes, precautions: Precautions::default(), replace }
    }

    /// A warning about the attributes.
    pub(crate) fn warning(&self) -> Option<ParamProblem> {
        attributes::exposes(&self.attributes)
    }
}

fn is_secret(content: Option<&Filling>) -> bool {
    matches!(content, Some(Filling::Secret(_)))
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Present,
    Absent,
}

impl Kind for File {
    type Wish = Wish;
    type Found = observe::Found;

    fn schema() -> KindSchema {
        let [mode, owner, group] = attributes::params();
        let [validate, backup] = replace_file::params();
        KindSchema::new("file", "A file, with its content, mode and owner")
            .details(
                "Converge writes the content to a temporary file beside the target, syncs it, runs `validate`, \
                 and renames it. So at every moment the path has either the old or the new file. Text in \
                 `content` gets a newline at its end, unless `newline=#false`. Without `content`, a new file \
                 is empty, and the content of an existing file stays.\n\n\
                 A replaced file keeps its mode, owner, ACL, capabilities and other extended attributes. The \
                 plan warns if it cannot keep one of them. It also warns of other names (hard links), which \
                 keep the old content. With an ACL, the group bits of the mode are its mask. A new owner or \
                 group removes set-id bits and capabilities, unless `mode` sets them.\n\n\
                 Converge never silently replaces a link, a directory or a device at the path. `replace=#true` \
                 allows it to replace a link; anything else is an error of the plan.",
            )
            .param(Param::new("path", Type::Path, "Path of the file").argument(0).required())
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("content", Type::Content, "Content: text, `(file)\"name\"`, `(template)\"name\"` or a secret"))
            .param(Param::new("from", Type::ControllerPath, "Path of the content in the project, instead of `content`: `\"dist/tool\"`"))
            .param(mode)
            .param(owner)
            .param(group)
            .param(validate)
            .param(backup)
            .param(Param::new("replace", Type::Bool, "Replace a link at the path with the file").default(false))
            .param(Param::new("newline", Type::Bool, "End the content with a newline").default(true))
            .example("A file with its content", "file \"/etc/motd\" mode=\"0644\" {\n    content \"Welcome to {{ host.name }}\"\n}")
            .example("A file to remove", "file \"/etc/nologin.old\" state=\"absent\"")
            .example(
                "A file that is checked before it replaces the old one",
                "directory \"/etc/app\"\nfile \"/etc/app/check.sh\" validate=\"sh -n %s\" backup=#true {\n    content \"echo ok\"\n}",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let mut wish = Wish {
            path: params.path("path"),
            state: params.choice("state", &[("present", State::Present), ("absent", State::Absent)]),
            content: params.filling("content").or_else(|| params.filling("from")),
            attributes: attributes::decode(params),
            precautions: replace_file::decode(params),
            replace: params.flag("replace").unwrap_or(false),
        };
        wish.attributes.secret = is_secret(wish.content.as_ref());
        if wish.state == State::Absent && wish.content.is_some() {
            params.problem(ParamProblem::new("content", "must not be set for an absent file"));
        }
        if params.has("content") && params.has("from") {
            params.problem(
                ParamProblem::new("content", "must not be set together with `from`")
                    .help("write `content` or `from`"),
            );
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = match (wish.state, &wish.content) {
            (State::Absent, _) => Extent::Absence,
            (State::Present, Some(_)) => Extent::Whole,
            (State::Present, None) => Extent::Metadata,
        };
        vec![Claim::path(wish.path.to_string_lossy(), extent)]
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        wish.warning().into_iter().collect()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        wish.content.as_ref().and_then(Filling::secret_text)
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

#[cfg(test)]
mod tests;
