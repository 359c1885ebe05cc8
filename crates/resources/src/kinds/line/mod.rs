//! `line`: one line of a text file, or its absence.

mod meaning;

use regex_lite::Regex;

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Shown, Type};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::edited_file::{self, Edit, Part, Target};
use crate::kit::lines::{self, Lines, Placement};
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::{Reader, Text};

/// The kind.
pub struct Line;

/// The desired line.
pub struct Wish {
    target: Target,
    absent: bool,
    text: Option<Text>,
    pattern: Option<Regex>,
    placement: Placement,
}

impl Kind for Line {
    type Wish = Wish;
    type Found = edited_file::Found;

    fn schema() -> KindSchema {
        let mut schema = KindSchema::new("line", "One line of a text file")
            .details(
                "The last line that matches `match` is replaced with the text. If no line matches, or `match` \
                 is not set, the text is added, unless the file already has that line. Everything else in the \
                 file keeps its bytes: other lines, line ends (also CRLF), a missing final newline, and text \
                 that is not UTF-8.\n\n\
                 `state=\"absent\"` removes every line that matches `match` or equals the text.\n\n\
                 Several `line`, `block` and `ini` resources can share one file, also with a `file` that sets \
                 no content.",
            )
            .param(Param::new("path", Type::Path, "File").argument(0).required())
            .param(Param::new("text", Type::Text, "Text of the line, without its line end").argument(1))
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("match", Type::Text, "Regular expression for the line to replace; it may match anywhere in a line"));
        schema.params.extend(lines::placement_params());
        schema.params.extend(edited_file::params());
        schema
            .example(
                "A host name for an address",
                "line \"/etc/hosts\" \"192.0.2.7 db.internal\" match=\"\\\\sdb\\\\.internal$\"",
            )
            .example(
                "A line at its position, and a line to remove",
                "file \"/etc/app.conf\"\nline \"/etc/app.conf\" \"[main]\"\nline \"/etc/app.conf\" \"level = 3\" match=\"^level\\\\s*=\" insert-after=\"^\\\\[main\\\\]\"\nline \"/etc/app.conf\" state=\"absent\" match=\"^debug\"",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let mut wish = Wish {
            target: edited_file::decode(params),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            text: params.several_lines(|params| params.maybe_secret("text")),
            pattern: params.text("match").and_then(|text| lines::regex(params, "match", &text)),
            placement: lines::decode_placement(params),
        };
        wish.target.secret = wish.text.as_ref().is_some_and(Text::is_secret);
        problems(params, &wish);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        edited_file::claim(&wish.target, format!("line:{}", wish.name()))
    }

    fn owns(view: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        let path = view.resolved(&wish.target.path)?;
        let meant = match &wish.text {
            Some(Text::Plain(text)) => meaning::meant(&path, text),
            _ => None,
        };
        let part = Extent::Part(format!("line:{}", wish.name()));
        Ok([Claim::path(path.to_string_lossy(), part)].into_iter().chain(meant).collect())
    }

    fn suffix(wish: &Wish) -> Option<String> {
        Some(wish.name())
    }

    fn warnings(wish: &Wish) -> Vec<ParamProblem> {
        wish.target.warnings()
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        edited_file::text(wish)
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<edited_file::Found, LookError> {
        edited_file::observe(view, &wish.target)
    }

    fn plan(wish: &Wish, found: &edited_file::Found) -> Planned {
        edited_file::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &edited_file::Found) -> Vec<Effect> {
        edited_file::effects(wish, found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &edited_file::Found) -> Result<(), ApplyError> {
        edited_file::apply(actor, wish, found)
    }
}

fn problems(params: &mut Reader<'_>, wish: &Wish) {
    match &wish.text {
        None if !wish.absent => params.problem(ParamProblem::new("text", "is missing")),
        None if !params.has("match") => {
            params.problem(ParamProblem::together("an absent line must have `text` or `match`"));
        }
        Some(text) if text.expose().contains(&b'\n') => {
            let help = "write a `block` for several lines";
            params.problem(ParamProblem::new("text", "must be one line").help(help));
        }
        Some(text) if text.is_secret() && !params.has("match") => {
            let help = "set `match` to find the line";
            params.problem(ParamProblem::new("text", "must not be a secret without `match`").help(help));
        }
        _ => {}
    }
}

impl Wish {
    /// The name of the line in its file: its pattern, else its text.
    fn name(&self) -> String {
        match (&self.pattern, &self.text) {
            (Some(pattern), _) => pattern.as_str().to_owned(),
            (None, Some(Text::Plain(text))) => text.clone(),
            _ => String::new(),
        }
    }

    fn remove(&self, text: &[u8]) -> Edit {
        let mut lines = Lines::of(text);
        let before = lines.count();
        lines.retain(|line| match (&self.pattern, &self.text) {
            (Some(pattern), _) => !lines::matches(pattern, line),
            (None, text) => text.as_ref().is_none_or(|text| line != text.expose()),
        });
        if lines.count() == before {
            Edit::Kept("no such line is there".to_owned())
        } else {
            Edit::New(lines.join())
        }
    }
}

impl Part for Wish {
    fn target(&self) -> &Target {
        &self.target
    }

    fn edit(&self, text: &[u8]) -> Edit {
        let mut lines = Lines::of(text);
        if self.absent {
            return self.remove(text);
        }
        let wanted = self.text.as_ref().map_or(&b""[..], Text::expose);
        // If the pattern does not match the new text, look for the text itself. Otherwise the second run would not
        // find the line of the first.
        let pattern = self.pattern.as_ref();
        let own = pattern.is_some_and(|pattern| lines::matches(pattern, wanted));
        if !own && lines.iter().any(|line| line == wanted) {
            return Edit::Kept("the line is there".to_owned());
        }
        match pattern.and_then(|pattern| lines.iter().rposition(|line| lines::matches(pattern, line))) {
            Some(at) if lines.get(at) == wanted => return Edit::Kept("the line is there".to_owned()),
            Some(at) => lines.set(at, wanted),
            None => lines.insert(lines.place(&self.placement), wanted),
        }
        Edit::New(lines.join())
    }

    fn absent(&self) -> bool {
        self.absent
    }

    fn shown(&self) -> Shown {
        match &self.text {
            Some(Text::Plain(text)) if !self.absent => Shown::Text(format!("with the line {text:?}")),
            _ => Shown::Text(format!("without lines that match {:?}", self.name())),
        }
    }
}

#[cfg(test)]
mod tests;
