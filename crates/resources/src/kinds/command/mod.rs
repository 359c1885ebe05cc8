//! `command`: a command. It runs until a guard is satisfied, in every run, when it is notified, or once for all
//! hosts. The agent and its controller keep track of a once-command and choose its host.

mod observe;
mod plan;
mod run;

use std::path::{Path, PathBuf};
use std::time::Duration;

use converge_model::{Claim, Digest, KindSchema, NotifyHow, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError};
use crate::kind::{Action, Kind, Planned};
use crate::overlay::Effect;
use crate::system::processes;
use crate::view::{LookError, View};
use crate::wish::{Reader, Text};

/// The kind.
pub struct Command;

/// The command and its conditions.
pub struct Wish {
    words: Vec<String>,
    shell: bool,
    when: When,
    user: Option<String>,
    folder: Option<PathBuf>,
    environment: Vec<(String, Text)>,
    input: Option<Text>,
    codes: Vec<i32>,
}

/// The condition for a run.
enum When {
    /// While every guard asks for it.
    Guarded(Guards),
    /// In every run.
    Always,
    /// When a resource notifies it.
    Notified,
    /// Once for all hosts under this key.
    Once(String),
}

/// The guards. Each one that is set can say that the command is done.
#[derive(Default)]
struct Guards {
    /// Done if this path exists.
    creates: Option<PathBuf>,
    /// Done if this path does not exist.
    removes: Option<PathBuf>,
    /// Done if this shell line succeeds.
    unless: Option<String>,
    /// Done if this shell line fails.
    only_if: Option<String>,
}

/// The timeout of a guard.
const GUARD_TIME: Duration = Duration::from_secs(60);
/// The longest key of a once-command, in bytes.
const ONCE_LIMIT: usize = 200;

impl Kind for Command {
    type Wish = Wish;
    type Found = observe::Found;

    const GUARDED: bool = true;

    fn schema() -> KindSchema {
        KindSchema::new("command", "A command that runs until its guard says that it is done")
            .details(DETAILS)
            .param(Param::new("command", Type::Command, "Command line, split into words as in a shell; an interpolated value stays one word").argument(0).required())
            .param(Param::new("creates", Type::Path, "Skip the command if this path exists"))
            .param(Param::new("removes", Type::Path, "Skip the command if this path does not exist"))
            .param(Param::new("unless", Type::ShellLine, "Skip the command if this shell line succeeds"))
            .param(Param::new("only-if", Type::ShellLine, "Run the command only if this shell line succeeds"))
            .param(Param::new("only-notified", Type::Bool, "Run only if another resource notifies it").default(false))
            .param(Param::new("always", Type::Bool, "Run in every apply; every plan lists it").default(false))
            .param(Param::new("once", Type::Any, "Run once, on one host of a rollout: `#true`, or a text, such as a release, for which it runs once").default(false))
            .param(Param::new("shell", Type::Bool, "Run the text with `/bin/sh -c`, for pipes and redirections; insert values with the filter `quote`").default(false))
            .param(Param::new("stdin", Type::Text, "Standard input; pass secrets here: every user of the host can see the words of a command"))
            .param(Param::new("user", Type::Name, "User that runs the command and its guards; default: the account that Converge works as"))
            .param(Param::new("cwd", Type::Path, "Working directory of the command and its guards; default: `/`"))
            .param(Param::new("env", Type::Map, "Additional environment variables for the command and its guards; may be secrets"))
            .param(Param::list("success-codes", Type::Int, "Exit codes that mean success; default: 0"))
            .example("A command that makes a file", "command \"date > /etc/born\" creates=\"/etc/born\" shell=#true")
            .example(
                "A command with a guard that compares the state",
                "file \"/etc/limits.source\" {\n    content \"65536\"\n}\ncommand \"cp /etc/limits.source /etc/limits.copy\" unless=\"cmp -s /etc/limits.source /etc/limits.copy\"",
            )
            .example(
                "A command that other resources notify",
                "file \"/etc/motd.source\" notify=\"command[rebuild]\" {\n    content \"Welcome\"\n}\ncommand \"cp /etc/motd.source /etc/motd.built\" id=\"rebuild\" only-notified=#true",
            )
            .example(
                "A command that one host runs for all hosts, once for each release",
                "command \"touch /tmp/migrated\" id=\"migrate\" once=\"1.5.0\"",
            )
            .example(
                "Text on its standard input, as another user",
                "command \"tee /tmp/note\" id=\"note\" user=\"nobody\" creates=\"/tmp/note\" {\n    stdin \"a line\"\n}",
            )
            .notifiable()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let (words, folder) =
            (params.several_lines(|params| params.texts("command")), params.optional_path("cwd"));
        let wish = Wish {
            when: when(params, &words, folder.as_deref()),
            words,
            shell: params.flag("shell").unwrap_or(false),
            user: params.text("user"),
            folder,
            environment: environment(params),
            input: params.several_lines(|params| params.maybe_secret("stdin")),
            codes: codes(params),
        };
        if wish.words.iter().all(|word| word.trim().is_empty()) {
            params.problem(ParamProblem::new("command", "is empty"));
        }
        if wish.shell && wish.words.len() > 1 {
            params.problem(
                ParamProblem::new("command", "must be one string, found several words")
                    .help("quote the whole line: `shell=#true` takes one string"),
            );
        }
        if wish.words.iter().any(|word| word.contains('\0')) {
            params.problem(ParamProblem::new("command", "must not contain a NUL byte"));
        }
        wish
    }

    /// A command claims nothing: only its guard knows its changes. A once-command claims its key.
    fn claims(wish: &Wish) -> Vec<Claim> {
        match &wish.when {
            When::Once(key) => vec![Claim::once(key)],
            _ => Vec::new(),
        }
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<observe::Found, LookError> {
        observe::observe(view, wish)
    }

    fn plan(wish: &Wish, found: &observe::Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, _found: &observe::Found) -> Vec<Effect> {
        let removed = match &wish.when {
            When::Guarded(guards) => guards.removes.clone(),
            _ => None,
        };
        removed.map(|path| Effect::Path(path, None)).into_iter().chain([Effect::Open]).collect()
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, _found: &observe::Found) -> Result<(), ApplyError> {
        run::run(actor, wish)
    }

    fn action(wish: &Wish, _how: NotifyHow) -> Option<Action> {
        matches!(wish.when, When::Notified).then_some(Action { verb: "run", unit: None, ran: false })
    }

    fn unsettled(wish: &Wish, _found: &observe::Found) -> Option<String> {
        let When::Guarded(guards) = &wish.when else { return None };
        let ran = if wish.codes == [0] { "it ran and ended with 0" } else { "it ran" };
        Some(format!("{ran}, but {} that it is not done", guards.words()))
    }

    fn act(actor: &mut Actor<'_>, wish: &Wish, _action: &Action) -> Result<(), ApplyError> {
        actor.note_again(&wish.command())?;
        run::run(actor, wish)
    }
}

const DETAILS: &str = "\
A resource must be idempotent, so a command needs a guard that tells whether it is done: `creates`, `removes`, \
`unless` or `only-if`. With several guards, the command runs only if each of them asks for it. After the command, \
Converge asks the guards again; if one still asks for the command, the step fails. Guards only read: they run in a \
file system without write access, in a dry run (`converge plan`) and after the command. They may write to the home of \
their user, /tmp, /var/tmp, /var/cache and /var/log, for example a cache; Converge discards these files. A guard that \
writes elsewhere fails, and the plan says so. Guards run as the same user, in the same directory and with the same \
variables, for at most one minute.

`only-notified=#true` makes the command a handler. It runs once, after the last resource that notifies it has changed. \
`always=#true` runs the command in every apply.

`once` is for a command that concerns all hosts together, such as the migration of a shared database. One host runs \
it: the first host of the rollout, or of the run, that needs it. The other hosts wait, and fail if it fails. The key \
of the run is the address with the text, which is usually a release. With `#true`, the key is the command and its \
directory. The ledger of each host and the controller remember the key, so a host that you add later does not run the \
command again. A new host with a new controller has no such memory: it runs the command again, and the command must \
tolerate that. To run it again on purpose, change the text. A command with `once` has no guard.

The environment is clean. It has PATH, HOME, USER, LOGNAME, LC_ALL=C.UTF-8, the login's proxy variables and TZ, and \
the variables in `env`. If a directory represents the host (`root=`), commands run on the machine itself, in that \
directory. `CONVERGE_ROOT` then names the directory; `creates`, `removes` and `cwd` are below it.

Converge does not wait for processes that the command leaves running. After `timeout` (default: ten minutes) it ends \
the command with all its processes.";

fn when(params: &mut Reader<'_>, words: &[String], folder: Option<&Path>) -> When {
    let guards = Guards {
        creates: params.optional_path("creates"),
        removes: params.optional_path("removes"),
        unless: params.several_lines(|params| params.text("unless")),
        only_if: params.several_lines(|params| params.text("only-if")),
    };
    let guarded = ["creates", "removes", "unless", "only-if"].iter().any(|name| params.has(name));
    let (always, notified) =
        (params.flag("always") == Some(true), params.flag("only-notified") == Some(true));
    let once = once(params, words, folder);
    match (guarded, always, notified, once) {
        (true, false, false, None) => {}
        (false, true, false, None) => return When::Always,
        (false, false, true, None) => return When::Notified,
        (false, false, false, Some(key)) => return When::Once(key),
        (false, false, false, None) => params.problem(
            ParamProblem::together("the command has no guard, so Converge cannot know whether it must run").help(
                "add `creates`, `removes`, `unless` or `only-if`; or `only-notified=#true`, `always=#true`, or `once`",
            ),
        ),
        _ => params.problem(
            ParamProblem::together("guards, `only-notified`, `always` and `once` exclude each other")
                .help("keep one of them"),
        ),
    }
    When::Guarded(guards)
}

/// The key of a once-command: the given text, else a digest of the command and its directory. The directory usually
/// belongs to one release. The environment is left out, because it may differ from host to host.
fn once(params: &mut Reader<'_>, words: &[String], folder: Option<&Path>) -> Option<String> {
    let text = params.text("once")?;
    match text.as_str() {
        "false" => return None,
        "true" => {
            let folder = folder.map_or("", |folder| folder.to_str().unwrap_or_default());
            return Some(Digest::of([&[folder.to_owned()], words].concat().join("\0").as_bytes()).short());
        }
        _ => {}
    }
    if text.trim().is_empty() || text.len() > ONCE_LIMIT || text.contains(char::is_control) {
        let limits = format!("must be one line of 1 to {ONCE_LIMIT} bytes");
        params.problem(ParamProblem::new("once", limits));
    }
    Some(text)
}

fn environment(params: &mut Reader<'_>) -> Vec<(String, Text)> {
    let mut environment = Vec::new();
    for (name, values) in params.several_lines(|params| params.map("env")) {
        let bad = |text: &Text| text.expose().contains(&0);
        match <[Text; 1]>::try_from(values) {
            Ok([value]) if !bad(&value) => environment.push((name.clone(), value)),
            Ok(_) => params.problem(ParamProblem::new("env", format!("{name} must not contain a NUL byte"))),
            Err(_) => params.problem(ParamProblem::new("env", format!("{name} must have one value"))),
        }
        if name.is_empty() || name.contains(['=', '\0']) {
            params.problem(ParamProblem::new("env", format!("{name:?} cannot be the name of a variable")));
        }
    }
    environment
}

fn codes(params: &mut Reader<'_>) -> Vec<i32> {
    let written = params.texts("success-codes");
    if written.is_empty() {
        return vec![0];
    }
    let code = |text: &String| text.parse::<u8>().ok().map(i32::from);
    if written.iter().any(|text| code(text).is_none()) {
        params.problem(ParamProblem::new("success-codes", "must contain only numbers from 0 to 255"));
    }
    written.iter().filter_map(code).collect()
}

impl Guards {
    /// The guards as written, with a verb: `unless="test -e /x"` still says.
    fn words(&self) -> String {
        let path = |path: &Option<PathBuf>| path.as_ref().map(|path| path.display().to_string());
        let all = [
            ("creates", path(&self.creates)),
            ("removes", path(&self.removes)),
            ("unless", self.unless.clone()),
            ("only-if", self.only_if.clone()),
        ];
        let words = all.into_iter().filter_map(|(name, value)| Some(format!("`{name}=\"{}\"`", value?)));
        let words: Vec<_> = words.collect();
        let verb = if words.len() == 1 { "says" } else { "say" };
        format!("{} still {verb}", words.join(" and "))
    }
}

impl Wish {
    /// The command to run.
    fn command(&self) -> processes::Command {
        let mut command = match &self.words[..] {
            [line] if self.shell => processes::Command::shell(line),
            words => processes::Command::new(words),
        };
        command.input = self.input.clone();
        self.settled(command)
    }

    /// A guard: a shell line with the settings of the command.
    fn guard(&self, line: &str) -> processes::Command {
        let guard = processes::Command::shell(line);
        self.settled(processes::Command { timeout: GUARD_TIME, ..guard })
    }

    fn settled(&self, mut command: processes::Command) -> processes::Command {
        command.user = self.user.clone();
        command.folder = self.folder.clone();
        command.environment = self.environment.clone();
        command
    }

    /// The command as a user would type it.
    fn line(&self) -> String {
        if self.shell {
            return self.words.join(" ");
        }
        self.words.iter().map(|word| quoted(word)).collect::<Vec<_>>().join(" ")
    }
}

/// Quotes a word for the shell.
fn quoted(word: &str) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "_-./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        return word.to_owned();
    }
    format!("'{}'", word.replace('\'', "'\\''"))
}

#[cfg(test)]
mod tests;
