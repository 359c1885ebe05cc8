//! `ini`: one option of a file with sections and its values, or the absence of an option or a section.

use converge_model::{Claim, KindSchema, Param, ParamProblem, Shown, Type};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::edited_file::{self, Edit, Part, Target};
use crate::kit::lines::Lines;
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::{Reader, Text};

mod sections;

use sections::{Entry, Sections};

/// The kind.
pub struct Ini;

/// The desired option.
pub struct Wish {
    target: Target,
    absent: bool,
    section: String,
    option: Option<String>,
    values: Vec<Text>,
    spaces: Option<bool>,
}

impl Kind for Ini {
    type Wish = Wish;
    type Found = edited_file::Found;

    fn schema() -> KindSchema {
        let mut schema = KindSchema::new("ini", "An option of an ini file")
            .details(
                "An existing line of the option gets the new value and keeps its spaces around `=`. A new line \
                 goes to the end of the section, in the style of the lines before it. A new section goes to \
                 the end of the file. Several values become several lines of one option. Comments, blank \
                 lines, other options and line ends keep their bytes.\n\n\
                 `state=\"absent\"` removes the option, or the whole section if `option` is not set.",
            )
            .param(Param::new("path", Type::Path, "File").argument(0).required())
            .param(Param::new("section", Type::Text, "Section, without brackets; empty for the lines before the first section").argument(1))
            .param(Param::new("option", Type::Text, "Option.").argument(2))
            .param(Param::list("value", Type::Text, "Value; several values for an option that occurs several times"))
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("allow-no-value", Type::Bool, "Allow the option without `=` and a value").default(false))
            .param(Param::new("spaces", Type::Bool, "Write spaces around `=` in a new line; default: as in the file"));
        schema.params.extend(edited_file::params());
        schema
            .example(
                "An option of MariaDB",
                "directory \"/etc/mysql\"\nini \"/etc/mysql/shop.cnf\" \"mysqld\" \"max_connections\" value=\"200\"",
            )
            .example(
                "An option with several values, and one without a value",
                "ini \"/etc/app.ini\" \"hooks\" \"run\" { value \"first\" \"second\" }\nini \"/etc/app.ini\" \"main\" \"skip-cache\" allow-no-value=#true",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let mut wish = Wish {
            target: edited_file::decode(params),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            section: params.text("section").unwrap_or_default(),
            option: params.text("option"),
            values: params.maybe_secrets("value"),
            spaces: params.flag("spaces"),
        };
        wish.target.secret = wish.values.iter().any(Text::is_secret);
        let bare = params.flag("allow-no-value").unwrap_or(false);
        problems(params, &wish, bare);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        edited_file::claim(&wish.target, format!("ini:{}", wish.name()))
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

fn problems(params: &mut Reader<'_>, wish: &Wish, bare: bool) {
    if wish.section.contains(['\n', ']']) {
        params.problem(ParamProblem::new("section", "must not contain a line end or a `]`"));
    }
    match wish.option.as_deref() {
        None if !wish.absent => params.problem(ParamProblem::new("option", "is missing")),
        None if wish.section.is_empty() => {
            params.problem(ParamProblem::together("an absent option must have `section` or `option`"));
        }
        Some(option) if option.trim() != option || option.is_empty() || option.contains(['\n', '=', '[']) => {
            params.problem(ParamProblem::new("option", format!("{option:?} is not the name of an option")));
        }
        Some(_) if !wish.absent && !bare && wish.values.is_empty() => {
            let help = "write `allow-no-value=#true` for an option without a value";
            params.problem(ParamProblem::new("value", "is missing").help(help));
        }
        _ => {}
    }
    if wish.values.iter().any(|value| value.expose().contains(&b'\n')) {
        params.problem(ParamProblem::new("value", "must not contain a line end"));
    }
}

impl Wish {
    /// The name of the option in its file: `[section] option`.
    fn name(&self) -> String {
        match (&*self.section, self.option.as_deref().unwrap_or_default()) {
            ("", option) => option.to_owned(),
            (section, "") => format!("[{section}]"),
            (section, option) => format!("[{section}] {option}"),
        }
    }

    /// The desired lines of the option, each with a value or without one.
    fn wanted(&self) -> Vec<Option<&[u8]>> {
        match &self.values[..] {
            [] => vec![None],
            values => values.iter().map(|value| Some(value.expose().trim_ascii())).collect(),
        }
    }

    fn remove(&self, mut lines: Lines) -> Edit {
        let sections = Sections::of(&lines);
        let gone = match &self.option {
            Some(option) => {
                sections.entries(&lines, &self.section, option).iter().map(|entry| entry.at).collect()
            }
            None => sections.whole(&self.section),
        };
        if gone.is_empty() {
            return Edit::Kept(format!("{} does not exist", self.name()));
        }
        gone.into_iter().rev().for_each(|at| lines.remove(at, at + 1));
        Edit::New(lines.join())
    }

    /// Sets the values of the option's present lines in order. Removes surplus lines and inserts missing ones after
    /// the last.
    fn set(&self, mut lines: Lines, option: &str) -> Edit {
        let sections = Sections::of(&lines);
        let (found, wanted) = (sections.entries(&lines, &self.section, option), self.wanted());
        if found.iter().map(|entry| entry.value.as_deref()).eq(wanted.iter().copied()) {
            return Edit::Kept("the option has its value".to_owned());
        }
        let style = self.style(&lines, &sections, found.last());
        for (entry, value) in found.iter().zip(&wanted) {
            if entry.value.as_deref() != *value {
                let style = if entry.value.is_some() { &entry.style } else { &style };
                lines.set(entry.at, &line(&entry.indent, option, style, *value));
            }
        }
        for entry in found.iter().skip(wanted.len()).rev() {
            lines.remove(entry.at, entry.at + 1);
        }
        let indent = found.last().map_or(&b""[..], |entry| &entry.indent);
        let after = match found.last() {
            Some(entry) => entry.at + 1,
            None => self.room(&mut lines, &sections),
        };
        for (at, value) in (after..).zip(wanted.iter().skip(found.len())) {
            lines.insert(at, &line(indent, option, &style, *value));
        }
        Edit::New(lines.join())
    }

    fn style(&self, lines: &Lines, sections: &Sections, own: Option<&Entry>) -> Vec<u8> {
        let text: &[u8] = match (self.spaces, own) {
            (Some(true), _) => b" = ",
            (Some(false), _) => b"=",
            (None, Some(entry)) if entry.value.is_some() => &entry.style,
            (None, _) => return sections.style(lines, &self.section).unwrap_or_else(|| b" = ".to_vec()),
        };
        text.to_vec()
    }

    /// The index for a new option of the section. Adds the section if it is missing.
    fn room(&self, lines: &mut Lines, sections: &Sections) -> usize {
        if let Some(at) = sections.end(lines, &self.section) {
            return at;
        }
        if lines.iter().next_back().is_some_and(|line| !line.trim_ascii().is_empty()) {
            lines.insert(lines.count(), b"");
        }
        lines.insert(lines.count(), format!("[{}]", self.section).as_bytes());
        lines.count()
    }
}

fn line(indent: &[u8], option: &str, style: &[u8], value: Option<&[u8]>) -> Vec<u8> {
    let line = match value {
        Some(value) => [indent, option.as_bytes(), style, value].concat(),
        None => [indent, option.as_bytes()].concat(),
    };
    // An empty value must leave no blank at the end of the line.
    line.trim_ascii_end().to_vec()
}

impl Part for Wish {
    fn target(&self) -> &Target {
        &self.target
    }

    fn edit(&self, text: &[u8]) -> Edit {
        let lines = Lines::of(text);
        match (&self.option, self.absent) {
            (Some(option), false) => self.set(lines, option),
            _ => self.remove(lines),
        }
    }

    fn absent(&self) -> bool {
        self.absent
    }

    fn shown(&self) -> Shown {
        if self.absent {
            return Shown::Text(format!("without {}", self.name()));
        }
        let values: Vec<_> =
            self.values.iter().map(|value| String::from_utf8_lossy(value.expose())).collect();
        Shown::Text(format!("{} = {}", self.name(), values.join(", ")))
    }
}

#[cfg(test)]
mod tests;
