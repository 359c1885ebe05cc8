//! Options and commands of other tools, and the line to type instead. This file has the tables of words and writes
//! that line. clap knows the options of Converge.

use Here::{Alone, Command, Flag, Inventory, Named, Set, WithValue, Written};

/// The equivalent of another tool's option.
#[derive(Clone, Copy)]
enum Here {
    /// An option with this name and the same value.
    Named(&'static str),
    /// An option with this name, without a value.
    Flag(&'static str),
    /// `--set`, once for each assignment in the value.
    Set,
    /// The argument that names the inventory.
    Inventory,
    /// Another command, and what it does. The option has no value.
    Command(&'static str, &'static str),
    /// A line of the inventory. The option has a value if the text contains `{}`.
    Written(&'static str),
    /// The advice for the user. The value replaces `{}`.
    WithValue(&'static str),
    /// The advice for the user. The option has no value.
    Alone(&'static str),
}

impl Here {
    fn has_value(self) -> bool {
        match self {
            Named(_) | Set | Inventory | WithValue(_) => true,
            Written(setting) => setting.contains("{}"),
            Flag(_) | Command(..) | Alone(_) => false,
        }
    }
}

const PLAN: Here = Command("plan", "it shows what would change, and changes nothing");

const OPTIONS: &[(&[&str], Here)] = &[
    (&["-i", "--inventory", "--inventory-file"], Inventory),
    (&["-e", "--extra-vars", "--extra-var"], Set),
    (&["-t"], Named("--tags")),
    (&["-f", "--forks"], Named("--parallel")),
    (&["--start-at-task"], Named("--only")),
    (&["--vault-password-file", "--vault-id"], Named("--identity")),
    (
        &["-J", "--ask-vault-pass"],
        Alone("secrets are opened with a key, not a password: `--identity FILE` names an age or ssh key"),
    ),
    (&["-K", "--ask-become", "--ask-sudo-pass"], Flag("--ask-become-pass")),
    (&["-y", "--auto-approve", "--assume-yes"], Flag("--yes")),
    (&["-C", "--check", "-n", "--dry-run", "--dry", "--noop", "-D", "--diff"], PLAN),
    (&["--list-tasks", "--list-tags"], Command("plan", "it lists the resources")),
    (
        &["--list"],
        Alone("remove it: `converge inventory` lists all hosts and groups, with `--json` for scripts"),
    ),
    (&["--list-hosts"], Command("inventory", "it lists the hosts")),
    (&["--syntax-check"], Command("check", "it reads the inventory, and asks no host")),
    (&["-b", "--become", "--sudo"], Written("connection become=\"sudo\"")),
    (&["--become-method"], Written("connection become=\"{}\"")),
    (&["--become-user"], WithValue("write `user=\"{}\"` at each `command` that another user runs")),
    (&["-u", "--user", "--ssh-user"], Written("connection user=\"{}\"")),
    (&["--private-key", "--key-file"], Written("connection key=\"{}\"")),
    (&["-c", "--connection"], Written("connection transport=\"{}\"")),
    (
        &["-k", "--ask-pass"],
        Alone(
            "converge asks for no ssh password; name your ssh key in the inventory: `connection key=\"~/.ssh/id_ed25519\"`",
        ),
    ),
    (
        &["-m", "--module-name"],
        WithValue(
            "write the resource of the module in an `on`; `converge exec` runs a command, `converge ping` tests connections",
        ),
    ),
    (&["-a", "--args"], WithValue("write the command after `--`: `converge exec PATTERN -- '{}'`")),
];

const COMMANDS: &[(&[&str], &str)] = &[
    (&["playbook", "run", "deploy", "up", "highstate", "state.apply", "state.highstate"], "apply"),
    (&["diff", "preview", "dry-run", "noop"], "plan"),
    (&["test.ping"], "ping"),
    (&["ad-hoc", "adhoc", "cmd", "cmd.run", "command", "shell", "ssh"], "exec"),
    (&["setup", "gather", "grains", "facter"], "facts"),
    (&["lint", "validate", "syntax-check"], "check"),
    (&["hosts", "list", "ls"], "inventory"),
    (&["vault"], "secrets"),
    (&["galaxy"], "module"),
    (&["doc"], "docs"),
];

/// Returns the help for an option of another tool: the line to write instead of `words`, which contains the option.
pub(crate) fn option(argument: &str, words: &[String]) -> Option<String> {
    if let Some(help) = ad_hoc(words, true) {
        return Some(help);
    }
    if let "-l" | "--limit" = argument {
        if words.first().is_some_and(|word| word == "exec") {
            let pattern = shell_word(&value_of(argument, words));
            return Some(format!("the hosts come first: write `converge exec {pattern} -- COMMAND`"));
        }
        return Some("remove it: this command always reads the whole inventory".to_owned());
    }
    let is_apply = words.iter().any(|word| word == "apply");
    let words = &spread(words);
    if matches!(here(argument), Some(Set)) && value_of(argument, words).starts_with(['@', '{']) {
        return Some(
            "write the variables in a file of the project, and `include \"vars.kdl\"` in the inventory"
                .to_owned(),
        );
    }
    Some(match here(argument)? {
        // Only `apply` asks a question.
        Flag("--yes") if !is_apply => "remove it: only `converge apply` asks for confirmation".to_owned(),
        Alone(help) => help.to_owned(),
        Written(setting) => {
            let setting = setting.replace("{}", &value_of(argument, words));
            format!("write `{setting}` in the inventory, then `{}`", line(words))
        }
        WithValue(help) => help.replace("{}", &value_of(argument, words)),
        Command(command, what) => format!("write `{}`: {what}", of_command(command, words)),
        Named(_) | Flag(_) | Set | Inventory => format!("write `{}`", line(words)),
    })
}

/// Returns the help for a command of another tool: the line of `words` with Converge's command.
pub(crate) fn command(name: &str, words: &[String]) -> Option<String> {
    // An Ansible line without a playbook: `all -m ping`.
    if let Some(help) = ad_hoc(words, false) {
        return Some(help);
    }
    if let Some(option_of_module) = words.iter().find(|word| matches!(word.as_str(), "-m" | "-a")) {
        return option(option_of_module, words);
    }
    let is_first = words.iter().find(|word| !word.starts_with('-')).is_some_and(|word| word == name);
    let (_, command) = COMMANDS.iter().find(|(names, _)| is_first && names.contains(&name))?;
    let words: Vec<_> =
        words.iter().map(|word| if word == name { (*command).to_owned() } else { word.clone() }).collect();
    Some(format!("write `{}`", line(&words)))
}

/// The modules of Ansible that run a command.
const COMMAND_MODULES: [&str; 3] = ["command", "shell", "raw"];

/// Returns the line for an Ansible command without a playbook, `web -m shell -a uptime`, or for a command that lacks
/// its `--`. `has_command`: whether the first word is a command of Converge.
fn ad_hoc(words: &[String], has_command: bool) -> Option<String> {
    let value = |short: &str, long: &str| {
        let place = words.iter().position(|word| word == short || word == long)?;
        words.get(place + 1).map(String::as_str)
    };
    let (module, line) = (value("-m", "--module-name"), value("-a", "--args"));
    let first = words.iter().find(|word| !word.starts_with('-'))?;
    let rest = words.iter().skip_while(|word| *word != first).skip(usize::from(has_command));
    let pattern =
        rest.map(String::as_str).next().filter(|word| !word.starts_with('-') && !word.ends_with(".kdl"));
    let pattern = shell_word(match pattern {
        Some("all") | None => "*",
        Some(pattern) => pattern,
    });
    match (module.map(short_name), line) {
        (Some("ping"), _) if pattern == "'*'" => Some("write `converge ping`".to_owned()),
        (Some("ping"), _) => Some(format!("write `converge ping {pattern}`")),
        (Some("setup"), _) => Some("write `converge facts`: it shows the facts of the hosts".to_owned()),
        (None, Some(line)) => Some(format!("write `converge exec {pattern} -- {}`", shell_word(line))),
        (Some(module), Some(line)) if COMMAND_MODULES.contains(&module) => {
            Some(format!("write `converge exec {pattern} -- {}`", shell_word(line)))
        }
        (None, None) if first == "exec" && !words.iter().any(|word| word == "--") => without_dashes(words),
        _ => None,
    }
}

/// The name of a module without its collection: `ansible.builtin.shell`.
fn short_name(module: &str) -> &str {
    module.rsplit('.').next().unwrap_or(module)
}

/// Returns the line of `exec` with the missing `--`. It comes after the pattern, and after the inventory if there is
/// one.
fn without_dashes(words: &[String]) -> Option<String> {
    let (exec, rest) = words.split_first()?;
    let is_inventory = |word: &&String| word.ends_with(".kdl");
    let names = 1 + usize::from(rest.get(1).filter(is_inventory).is_some());
    let (names, command) = rest.split_at_checked(names)?;
    if exec != "exec" || command.is_empty() || names.iter().any(|word| word.starts_with('-')) {
        return None;
    }
    let quoted = |words: &[String]| words.iter().map(|word| shell_word(word)).collect::<Vec<_>>().join(" ");
    Some(format!("write `converge exec {} -- {}`", quoted(names), quoted(command)))
}

fn here(name: &str) -> Option<Here> {
    OPTIONS.iter().find(|(names, _)| names.contains(&name)).map(|(_, here)| *here)
}

/// Returns the words with combined short options split: `-bK`, `-isite.kdl`.
fn spread(words: &[String]) -> Vec<String> {
    let mut spread = Vec::new();
    for word in words {
        let mut rest = word.clone();
        while let Some((first, more)) = short(&rest) {
            let has_value = here(&first).is_some_and(Here::has_value);
            spread.push(first);
            rest = if has_value { more } else { format!("-{more}") };
        }
        spread.push(rest);
    }
    spread
}

/// Returns the first foreign option of a word with several, and the rest of the word.
fn short(word: &str) -> Option<(String, String)> {
    let (end, _) = word.strip_prefix('-').filter(|rest| !rest.starts_with('-'))?.char_indices().nth(1)?;
    let (first, more) = word.split_at(end + 1);
    here(first).map(|_| (first.to_owned(), more.to_owned()))
}

/// Returns an option, and its value if the value is in the same word.
fn parted(word: &str) -> (&str, Option<&str>) {
    match word.split_once('=') {
        Some((name, value)) if name.starts_with("--") => (name, Some(value)),
        _ => (word, None),
    }
}

fn value_of(argument: &str, words: &[String]) -> String {
    let mut rest = words.iter().skip_while(|word| parted(word).0 != argument);
    let attached = rest.next().and_then(|word| parted(word).1);
    attached.or_else(|| rest.next().map(String::as_str)).unwrap_or("…").to_owned()
}

/// Returns the line for another command, without the options that only the first one accepts.
fn of_command(command: &str, words: &[String]) -> String {
    let fits = |word: &&String| match command {
        "plan" => !matches!(word.as_str(), "-y" | "--yes"),
        _ => word.ends_with(".kdl"),
    };
    let rest = words.iter().skip(1).filter(fits).cloned();
    line(&std::iter::once(command.to_owned()).chain(rest).collect::<Vec<_>>())
}

/// Returns the line with Converge's options. The inventory comes last, where every command accepts it.
fn line(words: &[String]) -> String {
    let mut written = vec!["converge".to_owned()];
    let mut inventory = None;
    let mut rest = words.iter();
    while let Some(word) = rest.next() {
        let (name, attached) = parted(word);
        let mut value = || attached.or_else(|| rest.next().map(String::as_str)).unwrap_or("…");
        match here(name) {
            None => written.push(shell_word(word)),
            Some(Named(name)) => written.extend([name.to_owned(), shell_word(value())]),
            Some(Flag(name)) => written.push(name.to_owned()),
            Some(Set) => written.extend(assignments(value())),
            Some(Inventory) => inventory = Some(shell_word(value())),
            Some(here) if here.has_value() => drop(value()),
            Some(_) => {}
        }
    }
    written.extend(inventory);
    written.join(" ")
}

/// Returns `--set` for each assignment in `a=1 b=2`. A text with blanks and one assignment is one value.
fn assignments(value: &str) -> Vec<String> {
    let parts: Vec<_> = value.split_whitespace().collect();
    let parts = if parts.iter().all(|part| part.contains('=')) { parts } else { vec![value] };
    parts.into_iter().flat_map(|part| ["--set".to_owned(), shell_word(part)]).collect()
}

/// Quotes a word for a shell.
pub(crate) fn shell_word(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=:@%+,…".contains(c);
    match word.chars().all(is_plain) && !word.is_empty() {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<String> {
        line.split('|').map(str::to_owned).collect()
    }

    #[test]
    fn line_is_that_of_the_user_with_the_words_of_this_tool() {
        let check =
            |written: &str, wanted: &str| assert_eq!(line(&spread(&words(written))), wanted, "{written}");
        check("plan|-i|site.kdl|--limit|web", "converge plan --limit web site.kdl");
        check("apply|--inventory=site.kdl|-b|-K", "converge apply --ask-become-pass site.kdl");
        check("plan|-e|a=1 b=2|-f|5", "converge plan --set a=1 --set b=2 --parallel 5");
        check("plan|-e|motd=it's me", "converge plan --set 'motd=it'\\''s me'");
        check("plan|-u|root|-l|web & !db", "converge plan -l 'web & !db'");
        check("plan|-i", "converge plan …");
        check("plan|-isite.kdl|-bK", "converge plan --ask-become-pass site.kdl");
    }

    #[test]
    fn a_line_without_a_playbook_becomes_one_of_exec_or_ping() {
        let check = |written: &str, wanted: Option<&str>| {
            let wanted = wanted.map(|line| format!("write `converge {line}`"));
            let words = words(written);
            let has_command = matches!(words[0].as_str(), "exec" | "plan");
            assert_eq!(ad_hoc(&words, has_command), wanted, "{written}");
        };
        check("web|-m|shell|-a|ls; id", Some("exec web -- 'ls; id'"));
        check("all|-a|uptime", Some("exec '*' -- uptime"));
        check("exec|-a|uptime", Some("exec '*' -- uptime"));
        check("exec|web|-m|ansible.builtin.command|-a|uptime", Some("exec web -- uptime"));
        check("plan|site.kdl|-a|uptime", Some("exec '*' -- uptime"));
        check("all|-m|ping", Some("ping"));
        check("web|-m|ping", Some("ping web"));
        check("exec|web|ls|-l", Some("exec web -- ls -l"));
        check("exec|web|site.kdl|ls|-l", Some("exec web site.kdl -- ls -l"));
        check("exec|web|--|ls|-l", None);
        check("web|-m|copy|-a|src=a", None);
    }

    #[test]
    fn help_names_another_command_without_its_foreign_options() {
        let check = |argument: &str, written: &str, wanted: &str| {
            let help = option(argument, &words(written)).unwrap_or_default();
            assert!(help.contains(wanted), "{written}: {help}");
        };
        check("--check", "apply|site.kdl|--check|--yes|-l|web", "`converge plan site.kdl -l web`");
        check("--list-hosts", "plan|--list-hosts|-l|web|site.kdl", "`converge inventory site.kdl`");
        check("-l", "exec|-l|web|--|uptime", "`converge exec web -- COMMAND`");
        check("-u", "plan|-u|root", "connection user=\"root\"");
        assert_eq!(option("--frobnicate", &[]), None);
        assert_eq!(
            command("setup", &words("setup|site.kdl")),
            Some("write `converge facts site.kdl`".to_owned())
        );
        assert_eq!(command("frobnicate", &[]), None);
    }
}
