//! The text of a rule: lines of sudoers(5). No value can add another line or rule.

use converge_model::ParamProblem;

use crate::kit::account_names::check_name;
use crate::wish::Reader;

/// The content of a rule file.
pub(super) struct Rule {
    /// The user or group: `ada`, `%operators`.
    who: String,
    commands: Vec<String>,
    host: String,
    runas: Option<String>,
    /// The tags of the commands, such as `NOPASSWD:`.
    tags: Vec<&'static str>,
    defaults: Vec<String>,
}

impl Rule {
    /// Reads the rule and reports its problems.
    pub(super) fn decode(params: &mut Reader<'_>, absent: bool) -> Self {
        let (user, group) = (params.text("user"), params.text("group"));
        for (param, name) in [("user", &user), ("group", &group)] {
            if let Some(name) = name.as_ref().filter(|name| *name != "ALL") {
                check_name(params, param, name);
            }
        }
        if !absent && user.is_some() == group.is_some() {
            params.problem(ParamProblem::together("a rule must have either `user` or `group`"));
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

    /// Reports values that would break their line. `visudo` finds all other mistakes.
    fn check(&self, params: &mut Reader<'_>) {
        let word = |c: char| c.is_ascii_alphanumeric() || "._-+@%#!$*:".contains(c);
        for (param, value) in [("host", Some(&self.host)), ("runas", self.runas.as_ref())] {
            if value
                .is_some_and(|value| value.is_empty() || !value.split(',').all(|part| part.chars().all(word)))
            {
                params.problem(ParamProblem::new(param, "contains characters that sudo does not accept"));
            }
        }
        for command in &self.commands {
            let bare = command.trim_start_matches('!').trim_start();
            let alias = bare.starts_with(|c: char| c.is_ascii_uppercase())
                && bare.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
            let path = digest(bare).map_or(bare, |(_, command)| command);
            let known = path.starts_with('/') || path.starts_with("sudoedit ") || alias;
            if !known {
                let problem =
                    ParamProblem::new("commands", format!("{command:?} must start with a full path"));
                params.problem(problem.help("sudo compares full paths: `/usr/bin/systemctl`"));
            }
        }
        let lines = self.commands.iter().map(|text| ("commands", text));
        for (param, text) in lines.chain(self.defaults.iter().map(|text| ("defaults", text))) {
            if text.is_empty() || text.ends_with('\\') || text.contains(char::is_control) {
                params.problem(ParamProblem::new(
                    param,
                    format!("{text:?} must be one line without a backslash at its end"),
                ));
            }
        }
        for text in self.defaults.iter().filter(|text| !is_one_setting(text)) {
            let problem = ParamProblem::new("defaults", format!("{text:?} must be one setting"));
            params.problem(
                problem.help("write each setting as a separate string; quote a value with a comma or `#`"),
            );
        }
    }

    /// The whole file.
    pub(super) fn render(&self) -> String {
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

/// A command in the syntax of sudoers. A digest before it keeps its colon.
fn command_text(command: &str) -> String {
    match digest(command) {
        Some((digest, command)) => format!("{digest} {}", escaped(command)),
        None => escaped(command),
    }
}

/// Splits the digest from a command: `sha256:0123… /usr/bin/x`.
fn digest(command: &str) -> Option<(&str, &str)> {
    let (digest, command) = command.split_once(' ')?;
    let (sort, value) = digest.split_once(':')?;
    let is_value = value.chars().all(|c| c.is_ascii_alphanumeric() || "+/=".contains(c));
    let is_digest = ["sha224", "sha256", "sha384", "sha512"].contains(&sort) && is_value;
    is_digest.then_some((digest, command.trim_start()))
}

/// Whether sudoers(5) reads the text as one setting. An unquoted comma begins another setting, an unquoted `#` a
/// comment.
fn is_one_setting(text: &str) -> bool {
    let (mut quoted, mut escaped) = (false, false);
    for c in text.chars() {
        match c {
            _ if escaped => {}
            '"' => quoted = !quoted,
            ',' | '#' if !quoted => return false,
            _ => {}
        }
        escaped = c == '\\' && !escaped;
    }
    !quoted
}

/// Puts a backslash before each special character of sudoers, unless it has one already.
pub(super) fn escaped(text: &str) -> String {
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
