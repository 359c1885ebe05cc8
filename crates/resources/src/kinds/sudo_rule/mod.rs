//! `sudo-rule`: who may run what as whom, in a file of its own below `/etc/sudoers.d` that `visudo` has checked.

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kinds::accounts::{check_name, locks_out};
use crate::kinds::rendered::{self, Rendered};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::view::{LookError, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct SudoRule;

/// What was found.
pub struct Found {
    file: rendered::Found,
    /// The user whose login the run uses, where this file alone lets it become root and would do so no longer.
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
        KindSchema::new("sudo-rule", "A rule of sudo: who may run what, and as whom")
            .details(
                "Each rule is a file `/etc/sudoers.d/NAME`, mode 0440. `visudo` checks the new file before it takes its \
                 place, so that a mistake never takes sudo away from everybody; and the only rule that makes the login of \
                 the run root is not taken away. sudo passes over files with a dot or a \
                 final `~` in their names: both are written as `_`.\n\n\
                 Commands are written as on a command line; `,`, `:`, `=` and `#` get the backslash that sudoers wants.",
            )
            .param(Param::new("name", Type::Name, "The name of the rule and of its file.").argument(0).required())
            .param(text("state", "Whether it should be there.").one_of(&["present", "absent"]).default("present"))
            .param(Param::new("user", Type::Name, "Who: a user. Either this or `group`."))
            .param(Param::new("group", Type::Name, "Who: the members of a group."))
            .param(Param::list(
                "commands",
                Type::Text,
                "What: commands with their full path and, where only these are allowed, their arguments. Every command \
                 if not given.",
            ))
            .param(text("host", "On which host, where the file is shared.").default("ALL"))
            .param(text("runas", "As whom: `\"postgres\"`, `\"ALL\"`, `\"deploy:www-data\"`. As root if not given."))
            .param(flag("nopasswd", "Whether it needs no password."))
            .param(flag("noexec", "Whether the commands may start no others."))
            .param(flag("setenv", "Whether the caller may set environment variables."))
            .param(Param::list("defaults", Type::Text, "Settings of sudo for them: `\"!requiretty\"`, `\"timestamp_timeout=0\"`."))
            .whole_system()
            .example(
                "A group may restart one service",
                "package \"sudo\"\ngroup \"operators\"\nsudo-rule \"operators\" group=\"operators\" nopasswd=#true {\n    \
                 commands \"/usr/bin/systemctl restart shop\"\n}",
            )
            .example("A rule that should not be there", "sudo-rule \"interns\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Rendered {
        let name = params.required_text("name");
        if !name.chars().all(|c| c.is_ascii_alphanumeric() || "._-+@~$".contains(c))
            || name.starts_with(['.', '~'])
        {
            params.problem(ParamProblem::new("name", format!("{name:?} is no name of a file of sudo")));
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
            },
            validate: ["visudo", "-c", "-f", "%s"].map(str::to_owned).to_vec(),
            secret: false,
        }
    }

    fn claims(wish: &Rendered) -> Vec<Claim> {
        let extent = if wish.text.is_some() { Extent::Whole } else { Extent::Absence };
        vec![Claim::path(wish.path.to_string_lossy(), extent)]
    }

    fn observe(view: &View<'_>, wish: &Rendered) -> Result<Found, LookError> {
        Ok(Found { file: rendered::observe(view, wish)?, loses: loses(view, wish)? })
    }

    fn plan(wish: &Rendered, found: &Found) -> Planned {
        match (&found.loses, rendered::plan(wish, &found.file)) {
            (Some(login), Planned::Change(_)) => {
                locks_out(login, "taking away the only rule that makes it root")
            }
            (_, planned) => planned,
        }
    }

    fn effects(wish: &Rendered, found: &Found) -> Vec<Effect> {
        rendered::effects(wish, &found.file)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Rendered, found: &Found) -> Result<(), ApplyError> {
        rendered::apply(actor, wish, &found.file)
    }
}

/// The file of the rule `name`.
fn path(name: &str) -> PathBuf {
    Path::new(FOLDER).join(name.replace(['.', '~'], "_"))
}

/// The login in use, where only the file of the rule lets it run everything, and would do so no longer.
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

/// Whether a text of sudoers has a rule that lets one of `names` run everything.
fn gives_all(text: &[u8], names: &[String]) -> bool {
    String::from_utf8_lossy(text).lines().any(|line| {
        let who = line.split_whitespace().next();
        who.is_some_and(|who| who == "ALL" || names.iter().any(|name| name == who))
            && line.trim_end().ends_with("ALL")
    })
}

/// What a file of sudo says.
struct Rule {
    /// `ada`, `%operators`.
    who: String,
    commands: Vec<String>,
    host: String,
    runas: Option<String>,
    /// `NOPASSWD:`.
    tags: Vec<&'static str>,
    defaults: Vec<String>,
}

impl Rule {
    fn decode(params: &mut Reader<'_>, absent: bool) -> Self {
        let (user, group) = (params.text("user"), params.text("group"));
        for (param, name) in [("user", &user), ("group", &group)] {
            if let Some(name) = name.as_ref().filter(|name| *name != "ALL") {
                check_name(params, param, name);
            }
        }
        if !absent && user.is_some() == group.is_some() {
            params.problem(ParamProblem::together("a rule is for either a `user` or a `group`"));
        }
        let tags = [("nopasswd", "NOPASSWD:"), ("noexec", "NOEXEC:"), ("setenv", "SETENV:")];
        let rule = Self {
            who: user
                .map(|user| escaped(&user))
                .or(group.map(|group| format!("%{}", escaped(&group))))
                .unwrap_or_default(),
            commands: params.texts("commands"),
            host: params.text("host").unwrap_or_else(|| "ALL".to_owned()),
            runas: params.text("runas"),
            tags: tags
                .into_iter()
                .filter(|(name, _)| params.flag(name) == Some(true))
                .map(|(_, tag)| tag)
                .collect(),
            defaults: params.texts("defaults"),
        };
        rule.check(params);
        rule
    }

    /// Notes what would break the line that it stands in; `visudo` finds the rest.
    fn check(&self, params: &mut Reader<'_>) {
        let word = |c: char| c.is_ascii_alphanumeric() || "._-+@%#!$*:".contains(c);
        for (param, value) in [("host", Some(&self.host)), ("runas", self.runas.as_ref())] {
            if value
                .is_some_and(|value| value.is_empty() || !value.split(',').all(|part| part.chars().all(word)))
            {
                params.problem(ParamProblem::new(param, "holds what sudo would not understand"));
            }
        }
        for command in &self.commands {
            let bare = command.trim_start_matches('!').trim_start();
            let alias = bare.starts_with(|c: char| c.is_ascii_uppercase())
                && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let known =
                bare.starts_with('/') || bare.starts_with("sudoedit ") || bare.starts_with("sha") || alias;
            if !known {
                let problem =
                    ParamProblem::new("commands", format!("{command:?} does not start with a full path"));
                params.problem(problem.help("sudo compares full paths: `/usr/bin/systemctl`"));
            }
        }
        let lines = self.commands.iter().map(|text| ("commands", text));
        for (param, text) in lines.chain(self.defaults.iter().map(|text| ("defaults", text))) {
            if text.is_empty() || text.ends_with('\\') || text.contains(char::is_control) {
                params.problem(ParamProblem::new(param, format!("{text:?} cannot stand in one line")));
            }
        }
    }

    fn render(&self) -> String {
        let mut text = String::from("# Kept by Converge.\n");
        for setting in &self.defaults {
            text += &format!("Defaults:{} {setting}\n", self.who);
        }
        let runas = self.runas.as_ref().map(|runas| format!("({runas}) ")).unwrap_or_default();
        let tags: String = self.tags.iter().map(|tag| format!("{tag} ")).collect();
        let commands: Vec<_> = self.commands.iter().map(|command| command_text(command)).collect();
        let commands = if commands.is_empty() { "ALL".to_owned() } else { commands.join(", ") };
        text + &format!("{} {} = {runas}{tags}{commands}\n", self.who, self.host)
    }
}

/// A command as sudoers has it; a digest before it keeps its colon.
fn command_text(command: &str) -> String {
    match command.split_once(' ') {
        Some((digest, command)) if digest.starts_with("sha") && digest.contains(':') => {
            format!("{digest} {}", escaped(command))
        }
        _ => escaped(command),
    }
}

/// `text` with a backslash before what means something to sudoers, unless one is there.
fn escaped(text: &str) -> String {
    let mut escaped = String::new();
    let mut before = ' ';
    for c in text.chars() {
        if ",:=#".contains(c) && before != '\\' {
            escaped.push('\\');
        }
        escaped.push(c);
        before = if before == '\\' { ' ' } else { c };
    }
    escaped
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{Params, Scalar, Value};

    use crate::kinds::testing::{Trial, finished, impossible, params};

    fn rule(more: &[(&str, Value)]) -> Params {
        let mut wish = params([("name", "ops".into())]);
        more.iter().for_each(|(name, value)| wish.set(name, value.clone()));
        wish
    }

    fn list(texts: &[&str]) -> Value {
        Value::List(texts.iter().map(|text| Scalar::from(*text)).collect())
    }

    #[test]
    fn a_rule_is_a_line_of_sudoers() {
        let check = |more: &[(&str, Value)], lines: &str| {
            let wish = rule(more);
            let mut reader = Reader::new(&wish, None);
            let text = SudoRule::decode(&mut reader).text.unwrap();
            assert_eq!(reader.finish(), Ok(()), "{more:?}");
            assert_eq!(String::from_utf8(text).unwrap(), format!("# Kept by Converge.\n{lines}\n"));
        };
        check(&[("user", "ada".into())], "ada ALL = ALL");
        check(
            &[
                ("group", "operators".into()),
                ("commands", "/usr/bin/systemctl restart shop".into()),
                ("nopasswd", true.into()),
            ],
            "%operators ALL = NOPASSWD: /usr/bin/systemctl restart shop",
        );
        check(
            &[
                ("user", "ada".into()),
                ("commands", list(&["/bin/env A=b:c", "!/bin/su", "sha256:0aF= /bin/x 1,2"])),
                ("runas", "postgres:www-data".into()),
                ("noexec", true.into()),
                ("setenv", true.into()),
                ("defaults", list(&["!requiretty", "timestamp_timeout=0"])),
            ],
            "Defaults:ada !requiretty\nDefaults:ada timestamp_timeout=0\n\
             ada ALL = (postgres:www-data) NOEXEC: SETENV: /bin/env A\\=b\\:c, !/bin/su, sha256:0aF= /bin/x 1\\,2",
        );
        assert_eq!(escaped(r"a\=b=c\\,d"), r"a\=b\=c\\\,d", "what is escaped is left");
    }

    #[test]
    fn sudo_never_passes_over_a_rule_for_its_name() {
        let check = |name: &str, file: &str| assert_eq!(path(name), Path::new(file));
        check("operators", "/etc/sudoers.d/operators");
        check("ada.lovelace", "/etc/sudoers.d/ada_lovelace");
        check("old~", "/etc/sudoers.d/old_");
    }

    #[test]
    fn mistakes_are_found() {
        let trial = Trial::new();
        let check = |more: &[(&str, Value)], count: usize| {
            let problems = trial.problems("sudo-rule", &rule(more));
            assert_eq!(problems.len(), count, "{more:?}: {problems:?}");
        };
        check(&[], 1);
        check(&[("user", "a".into()), ("group", "b".into())], 1);
        check(&[("user", "a\nALL".into())], 1);
        check(&[("user", "a".into()), ("commands", "systemctl".into())], 1);
        check(&[("user", "a".into()), ("commands", "/bin/x\nb ALL = ALL".into())], 1);
        check(&[("user", "a".into()), ("runas", "x) NOPASSWD: (y".into())], 1);
        check(&[("user", "a".into()), ("name", ".hidden".into())], 1);
        check(&[("state", "absent".into())], 0);
    }

    #[test]
    fn the_rule_that_the_run_came_by_stays() {
        let trial = Trial::new();
        trial.write("/usr/sbin/visudo", "");
        trial.write("/etc/sudoers", "root ALL=(ALL:ALL) ALL\n%sudo ALL=(ALL:ALL) ALL\n");
        trial.write("/etc/sudoers.d/ops", "ada ALL=(ALL) NOPASSWD: ALL\n");
        let gone = rule(&[("state", "absent".into())]);
        assert!(matches!(trial.plan("sudo-rule", &gone), Planned::Change(_)), "nobody came by it");
        trial.world().log_in("ada");
        let message =
            "taking away the only rule that makes it root would lock out ada, whose login this run uses";
        assert_eq!(impossible(trial.plan("sudo-rule", &gone)), message);
        let less = rule(&[("user", "ada".into()), ("commands", "/bin/true".into())]);
        assert_eq!(impossible(trial.plan("sudo-rule", &less)), message);
        trial.write("/etc/passwd", "ada:x:7:7::/home/ada:/bin/sh\n");
        trial.write("/etc/group", "root:x:0:\nsudo:x:27:ada\n");
        assert!(
            matches!(trial.plan("sudo-rule", &gone), Planned::Change(_)),
            "the group sudo serves as well"
        );
    }

    #[test]
    fn a_rule_lands_only_when_visudo_agrees() {
        let trial = Trial::new();
        trial.write("/etc/sudoers.d/README", "");
        let ada = rule(&[("user", "ada".into())]);
        assert_eq!(impossible(trial.plan("sudo-rule", &ada)), "the program visudo is not there");
        trial.write("/usr/sbin/visudo", "");
        let before = trial.image();
        trial.answer(|_| finished(1, ">>> syntax error"));
        trial.apply("sudo-rule", &ada).err().unwrap();
        assert_eq!(trial.image(), before);
        trial.answer(|command| finished(i32::from(command.words[..3] != ["visudo", "-c", "-f"]), ""));
        if rustix::process::geteuid().is_root() {
            trial.laws("sudo-rule", &ada);
            trial.laws("sudo-rule", &rule(&[("state", "absent".into())]));
        } else {
            // Nobody else may give a file to root; then nothing is left behind.
            trial.apply("sudo-rule", &ada).err().unwrap();
            assert_eq!(trial.image(), before);
        }
    }
}
