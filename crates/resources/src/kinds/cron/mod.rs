//! `cron`: a cron job in its own file below `/etc/cron.d`.

mod schedule;
#[cfg(test)]
mod tests;

use std::path::Path;

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::programs;
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::view::{LookError, Need, Seen, View};
use crate::wish::{Reader, Text};
use schedule::{FIELDS, SPECIAL, Schedule};

/// The kind.
pub struct Cron;

/// The desired job.
pub struct Wish {
    file: Rendered,
    user: String,
}

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    needs: Vec<Need>,
}

/// The folder that cron reads.
const FOLDER: &str = "/etc/cron.d";

/// The names of cron's program in Debian and in other distributions.
const PROGRAMS: [&str; 3] = ["cron", "crond", "/usr/lib/systemd/system-generators/systemd-crontab-generator"];

impl Kind for Cron {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let mut schema = KindSchema::new("cron", "A job of cron, in its own file in `/etc/cron.d`")
            .details(DETAILS)
            .param(
                Param::new(
                    "name",
                    Type::Name,
                    "Name of the job and of its file in `/etc/cron.d`: letters, digits, `-` and `_`",
                )
                .argument(0)
                .required(),
            )
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(Param::new("command", Type::ShellLine, "Shell line to run"))
            .param(Param::new("user", Type::Name, "User that runs the job").default("root"))
            .param(Param::new("special", Type::Text, "Word instead of the five fields").one_of(&SPECIAL));
        for field in FIELDS {
            schema = schema.param(Param::new(field.name, Type::Text, field.doc));
        }
        schema
            .param(Param::new("env", Type::Map, "Environment variables: `MAILTO`, `PATH`; with a secret in them, only root can read the file"))
            .param(Param::new("disabled", Type::Bool, "Keep the job in the file, but do not run it").default(false))
            .whole_system()
            .example(
                "A job every night",
                "package \"cron\"\ncron \"backup\" minute=\"30\" hour=\"3\" command=\"tar -czf /var/backups/etc-$(date +%F).tar.gz /etc\"",
            )
            .example(
                "A job of another user, with variables",
                "package \"cron\"\ncron \"tick\" user=\"nobody\" minute=\"*/10\" weekday=\"mon-fri\" command=\"true\" {\n    env MAILTO=\"\"\n}",
            )
            .example("A job to remove", "cron \"old-backup\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let name = params.required_text("name");
        if name.is_empty() || !name.chars().all(|c| c.is_ascii_alphanumeric() || "-_".contains(c)) {
            let help =
                "cron ignores files with other characters in their names than letters, digits, `-` and `_`";
            params.problem(
                ParamProblem::new("name", format!("{name:?} cannot be the name of a job")).help(help),
            );
        }
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let user = params.text("user").unwrap_or_else(|| "root".to_owned());
        if !is_word(&user) {
            params.problem(ParamProblem::new("user", format!("{user:?} is not the name of a user")));
        }
        let job = Job::decode(params, absent, &user);
        let secret = job.environment.iter().any(|(_, value)| value.is_secret());
        let mode = if secret { 0o600 } else { 0o644 };
        let file = Rendered {
            path: Path::new(FOLDER).join(name),
            text: (!absent).then(|| job.render()),
            attributes: Attributes {
                mode: Some(mode),
                owner: Some("0".to_owned()),
                group: Some("0".to_owned()),
                secret,
            },
            validate: Vec::new(),
            secret,
        };
        Wish { file, user }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = if wish.file.text.is_some() { Extent::Whole } else { Extent::Absence };
        vec![Claim::path(wish.file.path.to_string_lossy(), extent)]
    }

    fn text(wish: &Wish) -> Option<Vec<u8>> {
        wish.file.text.clone()
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let needs = match wish.file.text {
            Some(_) => vec![view.need_user(&wish.user)?, need_cron(view)?],
            None => Vec::new(),
        };
        Ok(Found { file: rendered_file::observe(view, &wish.file)?, needs })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        rendered_file::plan(&wish.file, &found.file).given(found.needs.iter().cloned())
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        rendered_file::effects(&wish.file, &found.file)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        rendered_file::apply(actor, &wish.file, &found.file)
    }
}

const DETAILS: &str = "\
Each job is a file `/etc/cron.d/NAME`. Its mode is 0644, or 0600 if it holds a secret. cron reads it within a minute, \
so it needs no reload. The schedule is `special`, or the five fields of crontab(5), each `*` by default. A field takes \
numbers, names (`mon`, `jan`), ranges (`1-5`), steps (`*/10`) and lists (`0,30`). Converge checks them before it \
writes the file.

Write a plain `%` in `command`. cron would end the line there, so Converge writes `\\%`, and the shell gets `%`. \
Backslashes work the same way, because cron removes every second one in a row. An escaped `\\%`, as in a crontab, is \
an error. cron has a short PATH: set `PATH` in `env`, or use full paths. cron must be installed, or come with a \
package of an earlier resource. Without cron the job is an error of the plan.";

/// The need for a program that runs cron jobs.
fn need_cron(view: &View<'_>) -> Result<Need, LookError> {
    for program in PROGRAMS {
        if let Seen::Known(_) = view.program(program)? {
            return Ok(Need::Met);
        }
    }
    programs::need(view, PROGRAMS[0])
}

/// A job, decoded.
struct Job {
    schedule: Schedule,
    user: String,
    command: String,
    environment: Vec<(String, Text)>,
    disabled: bool,
}

impl Job {
    fn decode(params: &mut Reader<'_>, absent: bool, user: &str) -> Self {
        let command = params.several_lines(|params| params.text("command")).unwrap_or_default();
        if command.trim().is_empty() && !absent {
            params.problem(ParamProblem::new("command", "is missing"));
        }
        if command.contains(['\n', '\r', '\0']) {
            let help = "cron reads one line; put several lines into a script";
            params.problem(ParamProblem::new("command", "must be one line").help(help));
        }
        if command.contains("\\%") {
            let help =
                format!("write a plain `%`; Converge escapes it for cron: `{}`", command.replace("\\%", "%"));
            params.problem(
                ParamProblem::new("command", "must not contain an escaped `%`, found `\\%`").help(help),
            );
        }
        Self {
            schedule: Schedule::decode(params),
            user: user.to_owned(),
            command,
            environment: environment(params),
            disabled: params.flag("disabled").unwrap_or(false),
        }
    }

    /// Renders the file. Variables come first, because they apply to the lines after them.
    fn render(&self) -> Vec<u8> {
        let mut text = b"# Written by Converge.\n".to_vec();
        for (name, value) in &self.environment {
            let value = value.expose();
            let quote = if value.contains(&b'"') { b'\'' } else { b'"' };
            text.extend([name.as_bytes(), b"=", &[quote], value, &[quote], b"\n"].concat());
        }
        let mark = if self.disabled { "# disabled: " } else { "" };
        let command = escaped(self.command.trim());
        text.extend(format!("{mark}{} {} {command}\n", self.schedule, self.user).into_bytes());
        text
    }
}

/// Escapes a command for cron. A plain `%` would end it. cron turns two backslashes into one and keeps a single one.
fn escaped(command: &str) -> String {
    let mut escaped = String::with_capacity(command.len());
    let mut rest = command;
    while let Some(at) = rest.find(['%', '\\']) {
        escaped.push_str(&rest[..at]);
        rest = &rest[at..];
        let slashes = rest.len() - rest.trim_start_matches('\\').len();
        match slashes {
            0 => escaped.push_str("\\%"),
            1 => escaped.push('\\'),
            slashes => escaped.push_str(&"\\".repeat(2 * slashes)),
        }
        rest = &rest[slashes.max(1)..];
    }
    escaped.push_str(rest);
    escaped
}

/// Variables in the format of crontab(5). The quotes keep blanks. A value cannot have both kinds of quotes.
fn environment(params: &mut Reader<'_>) -> Vec<(String, Text)> {
    let mut environment = Vec::new();
    for (name, values) in params.map("env") {
        let mut refuse = |why: &str| params.problem(ParamProblem::new("env", format!("{name} {why}")));
        if !is_word(&name) || name.contains('=') {
            refuse("cannot be the name of a variable");
        }
        let Ok([value]) = <[Text; 1]>::try_from(values) else {
            refuse("must have one value");
            continue;
        };
        if value.expose().iter().any(|byte| b"\n\r\0".contains(byte)) {
            refuse("must have a value of one line");
        }
        if [b'"', b'\''].iter().all(|quote| value.expose().contains(quote)) {
            refuse("must not have both `\"` and `'` in its value: cron cannot read it");
        }
        environment.push((name, value));
    }
    environment
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && !text.starts_with(['#', '-'])
        && text.chars().all(|c| c.is_ascii_graphic() && !"\"'".contains(c))
}
