//! `sudo-rule`: the commands that a user or group may run with sudo, in its own file below `/etc/sudoers.d`. `visudo`
//! checks the file.

mod rule;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::access::Login;
use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::account_names::locks_out;
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{LookError, Seen, View};
use crate::wish::Reader;
use rule::Rule;

/// The kind.
pub struct SudoRule;

/// The state of the host.
pub struct Found {
    file: rendered_file::Found,
    /// The login of the run, if only the old file lets it become root and the new one would not.
    loses: Option<String>,
}

/// The folder that sudo reads.
const FOLDER: &str = "/etc/sudoers.d";

impl Kind for SudoRule {
    type Wish = Rendered;
    type Found = Found;

    fn schema() -> KindSchema {
        let text = |name: &str, doc: &str| Param::new(name, Type::Text, doc);
        let flag = |name: &str, doc: &str| Param::new(name, Type::Bool, doc).default(false);
        KindSchema::new("sudo-rule", "A rule of sudo, which lets a user or group run commands as another user")
            .details(
                "Each rule is a file `/etc/sudoers.d/NAME` with mode 0440. `visudo` checks the new file before \
                 it replaces the old one, so a mistake cannot disable sudo. To prevent a lock-out, Converge \
                 keeps the only rule that makes the login of the run root. sudo ignores file names with a dot \
                 or a final `~`; Converge writes both as `_`.\n\n\
                 Write commands as on a command line. Converge escapes `,`, `:`, `=` and `#` with a backslash \
                 for sudoers.",
            )
            .param(Param::new("name", Type::Name, "Name of the rule and of its file").argument(0).required())
            .param(text("state", "Wanted state").one_of(&["present", "absent"]).default("present"))
            .param(Param::new("user", Type::Name, "User of the rule; write either `user` or `group`"))
            .param(Param::new("group", Type::Name, "Group of the rule; it applies to all members"))
            .param(Param::list(
                "commands",
                Type::Text,
                "Commands with full paths, with arguments if only these are allowed; default: every command",
            ))
            .param(text("host", "Host of the rule, if several hosts share the file").default("ALL"))
            .param(text("runas", "Target user of the commands: `\"postgres\"`, `\"ALL\"`, `\"deploy:www-data\"`; default: root"))
            .param(flag("nopasswd", "Require no password"))
            .param(flag("noexec", "Forbid the commands to start other commands"))
            .param(flag("setenv", "Allow the caller to set environment variables"))
            .param(Param::list("defaults", Type::Text, "Settings of sudo for the user or group: `\"!requiretty\"`, `\"timestamp_timeout=0\"`"))
            .whole_system()
            .example(
                "A group may restart one service",
                "package \"sudo\"\ngroup \"operators\"\nsudo-rule \"operators\" group=\"operators\" nopasswd=#true {\n    \
                 commands \"/usr/bin/systemctl restart shop\"\n}",
            )
            .example("A rule to remove", "sudo-rule \"interns\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Rendered {
        let name = params.required_text("name");
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@~$".contains(c))
            || name.starts_with(['.', '~'])
        {
            params.problem(ParamProblem::new("name", format!("{name:?} cannot be the name of a sudo file")));
        }
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let rule = Rule::decode(params, absent);
        Rendered {
            path: path(&name),
            text: (!absent).then(|| rule.render().into_bytes()),
            attributes: Attributes {
                mode: Some(0o440),
                owner: Some("0".to_owned()),
                group: Some("0".to_owned()),
                secret: false,
            },
            validate: ["visudo", "-c", "-f", "%s"].map(str::to_owned).to_vec(),
            secret: false,
        }
    }

    fn claims(wish: &Rendered) -> Vec<Claim> {
        let extent = if wish.text.is_some() { Extent::Whole } else { Extent::Absence };
        vec![Claim::path(wish.path.to_string_lossy(), extent)]
    }

    fn text(wish: &Rendered) -> Option<Vec<u8>> {
        wish.text.clone()
    }

    fn access(_: &Rendered, _: &Login) -> bool {
        true
    }

    fn observe(view: &View<'_>, wish: &Rendered) -> Result<Found, LookError> {
        Ok(Found { file: rendered_file::observe(view, wish)?, loses: loses(view, wish)? })
    }

    fn plan(wish: &Rendered, found: &Found) -> Planned {
        match (&found.loses, rendered_file::plan(wish, &found.file)) {
            (Some(login), Planned::Change(_)) => {
                locks_out(login, "removing the only rule that makes it root")
            }
            (_, planned) => planned,
        }
    }

    fn effects(wish: &Rendered, found: &Found) -> Vec<Effect> {
        rendered_file::effects(wish, &found.file)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Rendered, found: &Found) -> Result<(), ApplyError> {
        rendered_file::apply(actor, wish, &found.file)
    }
}

/// The file of the rule `name`.
fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name.replace(['.', '~'], "_"))
}

/// The current login, if only the old file of the rule lets it run all commands and the new one would not.
fn loses(view: &View<'_>, wish: &Rendered) -> Result<Option<String>, LookError> {
    let Some(login) = view.login() else { return Ok(None) };
    let groups =
        view.account(&login)?.known().map(|account| (account.group, account.groups.unwrap_or_default()));
    let (primary, groups) = groups.unwrap_or_default();
    let names: Vec<_> =
        groups.into_iter().chain(primary).map(|group| format!("%{group}")).chain([login.clone()]).collect();
    let text = |path: &Path| -> Result<Vec<u8>, LookError> {
        let file = matches!(view.place(path)?, Seen::Known(place) if place.sort == Sort::File);
        if file { Ok(view.text(path)?.known().unwrap_or_default()) } else { Ok(Vec::new()) }
    };
    let stays = wish.text.as_ref().is_some_and(|text| gives_all(text, &names));
    if stays || !gives_all(&text(&wish.path)?, &names) {
        return Ok(None);
    }
    let others = view.list(Path::new(FOLDER))?.known().unwrap_or_default();
    let others = others.iter().filter(|name| !name.to_string_lossy().contains('.'));
    let others = others.map(|name| Path::new(FOLDER).join(name)).filter(|path| *path != wish.path);
    for other in others.chain([PathBuf::from("/etc/sudoers")]) {
        if gives_all(&text(&other)?, &names) {
            return Ok(None);
        }
    }
    Ok(Some(login))
}

/// Whether a text of sudoers has a rule that lets one of `names` run all commands.
fn gives_all(text: &[u8], names: &[String]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| {
        let who = line.split_whitespace().next();
        who.is_some_and(|who| who == "ALL" || names.iter().any(|name| name == who))
            && line.trim_end().ends_with("ALL")
    })
}
