//! Accounts changed by the programs of the shadow suite, which take its locks and keep its rules.
//!
//! Every value is an argument of its own. A password goes over the input of `chpasswd`, because every user can read
//! the process list.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use converge_model::Secret;

use crate::system::accounts::{
    self, AccountChange, AccountError, AccountTable, Accounts, Expiry, Group, GroupChange, Open, Torn, User,
    UserChange,
};
use crate::system::backend::Backend;
use crate::system::files::Files;
use crate::system::processes::{Command, Finished, Processes};
use crate::wish::Text;

/// The accounts of this machine.
pub struct LocalAccounts {
    files: Arc<Files>,
    processes: Arc<dyn Processes>,
}

/// The row of the shadow suite.
pub const BACKEND: Backend<Open> = Backend {
    name: "shadow-utils",
    marks: &["/usr/sbin/useradd", "/sbin/useradd", "/usr/bin/useradd"],
    open: Some(|parts| Box::new(LocalAccounts::new(parts.files, parts.processes))),
};

/// The timeout of a program. It waits up to 15 seconds for the lock of the files by itself, and `usermod` may move a
/// home.
const TIME: Duration = Duration::from_secs(600);

/// The timeout of a name service.
const LOOKUP: Duration = Duration::from_secs(20);

impl LocalAccounts {
    /// Returns the accounts of this machine in `files`, changed by programs that `processes` runs.
    pub fn new(files: Arc<Files>, processes: Arc<dyn Processes>) -> Self {
        Self { files, processes }
    }

    fn run(&self, what: &str, command: &Command) -> Result<(), AccountError> {
        let command = Command { timeout: TIME, ..command.clone() };
        let finished = self.processes.run(&command, &mut |_| {});
        let finished = finished.map_err(|source| AccountError::Program { what: what.to_owned(), source })?;
        if finished.success() {
            return Ok(());
        }
        Err(AccountError::Refused {
            what: what.to_owned(),
            why: reason(command.program(), &finished),
            output: finished.output,
        })
    }

    /// Asks `getent`, if the name service has more sources than files.
    fn ask(&self, database: &str, name: &str) -> io::Result<Option<String>> {
        if self.files.is_folder() || !self.looks_elsewhere(database)? {
            return Ok(None);
        }
        let command = Command { timeout: LOOKUP, ..Command::new(["getent", database, "--", name]) };
        let finished = self.processes.run(&command, &mut |_| {}).map_err(io::Error::other)?;
        let line = String::from_utf8_lossy(&finished.output).lines().next().map(str::to_owned);
        match finished.code {
            Some(0) => Ok(line),
            // Exit code 2: no source has the name.
            Some(2) => Ok(None),
            _ => Err(io::Error::other(format!("getent {database}: {}", reason("getent", &finished)))),
        }
    }

    fn looks_elsewhere(&self, database: &str) -> io::Result<bool> {
        match self.files.read(Path::new("/etc/nsswitch.conf"), 64 * 1024) {
            Ok(bytes) => Ok(names_more_than_files(&String::from_utf8_lossy(&bytes), database)),
            Err(error) if matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory) => {
                Ok(false)
            }
            Err(error) => Err(error),
        }
    }
}

impl Accounts for LocalAccounts {
    fn table(&self) -> io::Result<Arc<AccountTable>> {
        AccountTable::read(&self.files).map(Arc::new)
    }

    fn remote_user(&self, name: &str) -> io::Result<Option<User>> {
        Ok(self.ask("passwd", name)?.and_then(|line| accounts::user(&line)).map(|(_, user)| user))
    }

    fn remote_group(&self, name: &str) -> io::Result<Option<Group>> {
        Ok(self.ask("group", name)?.and_then(|line| accounts::group(&line)).map(|(_, group)| group))
    }

    fn change(&self, change: &AccountChange) -> Result<(), AccountError> {
        let what = change.what();
        if self.files.is_folder() {
            let why = "a folder represents the host".to_owned();
            return Err(AccountError::Refused { what, why, output: Vec::new() });
        }
        commands(change).iter().try_for_each(|command| self.run(&what, command))
    }

    fn mend(&self) -> Result<(), AccountError> {
        if self.files.is_folder() {
            return Ok(());
        }
        let what = "make the account files agree".to_owned();
        let torn =
            Torn::read(&self.files).map_err(|source| AccountError::Files { what: what.clone(), source })?;
        mending(&torn).iter().try_for_each(|command| self.run(&what, command))
    }

    fn login(&self) -> Option<String> {
        let before = ["SUDO_USER", "DOAS_USER"].into_iter().find_map(|name| std::env::var(name).ok());
        before.filter(|name| !name.is_empty()).or_else(|| {
            let table = self.table().ok()?;
            table.user_name(rustix::process::getuid().as_raw()).map(str::to_owned)
        })
    }
}

/// Returns the commands that make a change, in order.
fn commands(change: &AccountChange) -> Vec<Command> {
    match change {
        AccountChange::AddGroup { name, group } => [Command::new(group_words("groupadd", name, group))]
            .into_iter()
            .chain(members(name, group))
            .collect(),
        AccountChange::ChangeGroup { name, group } => {
            let number = group.gid.map(|_| Command::new(group_words("groupmod", name, group)));
            number.into_iter().chain(members(name, group)).collect()
        }
        AccountChange::RemoveGroup { name } => vec![Command::new(["groupdel", name])],
        AccountChange::AddUser { name, user } => {
            let mut words = vec!["useradd".to_owned(), "-M".to_owned()];
            if user.group.is_none() {
                words.push("-U".to_owned());
            }
            [user_command(words, name, user)].into_iter().chain(password(name, user)).collect()
        }
        AccountChange::ChangeUser { name, user } => {
            let alone = UserChange { password: user.password.clone(), ..UserChange::default() };
            let modify = (*user != alone).then(|| user_command(vec!["usermod".to_owned()], name, user));
            modify.into_iter().chain(password(name, user)).collect()
        }
        AccountChange::RemoveUser { name, home } => {
            let words = if *home { vec!["userdel", "-r", name] } else { vec!["userdel", name] };
            vec![Command::new(words)]
        }
    }
}

/// Returns the commands that make torn files agree. The file that all users may read decides. A missing user is added
/// locked, as `useradd` does it.
fn mending(torn: &Torn) -> Vec<Command> {
    let users = (torn.orphans || !torn.users.is_empty()).then(|| Command::new(["pwconv"]));
    let lock = |name: &String| Command::new(["usermod", "-p", "!", name]);
    let groups = torn.groups.then(|| Command::new(["grpconv"]));
    users.into_iter().chain(torn.users.iter().map(lock)).chain(groups).collect()
}

fn group_words(program: &str, name: &str, group: &GroupChange) -> Vec<String> {
    let mut words = vec![program.to_owned()];
    if group.system {
        words.push("-r".to_owned());
    }
    option(&mut words, "-g", group.gid.map(|gid| gid.to_string()));
    words.push(name.to_owned());
    words
}

fn members(name: &str, group: &GroupChange) -> Option<Command> {
    let members = group.members.as_ref()?.join(",");
    Some(Command::new(["gpasswd", "-M", &members, name]))
}

fn user_command(mut words: Vec<String>, name: &str, user: &UserChange) -> Command {
    if user.system {
        words.push("-r".to_owned());
    }
    option(&mut words, "-u", user.uid.map(|uid| uid.to_string()));
    option(&mut words, "-g", user.group.clone());
    option(&mut words, "-G", user.groups.as_ref().map(|groups| groups.join(",")));
    option(&mut words, "-c", user.comment.clone());
    option(&mut words, "-d", user.home.as_ref().map(|home| home.to_string_lossy().into_owned()));
    if user.move_home {
        words.push("-m".to_owned());
    }
    option(&mut words, "-s", user.shell.clone());
    option(
        &mut words,
        "-e",
        user.expires.map(|expires| match expires {
            Expiry::Never => String::new(),
            day @ Expiry::Day(_) => day.to_string(),
        }),
    );
    words.push(name.to_owned());
    Command::new(words)
}

fn option(words: &mut Vec<String>, name: &str, value: Option<String>) {
    words.extend(value.into_iter().flat_map(|value| [name.to_owned(), value]));
}

fn password(name: &str, user: &UserChange) -> Option<Command> {
    let field = user.password.as_ref()?;
    let line = [name.as_bytes(), b":", field.expose(), b"\n"].concat();
    let input = Some(Text::Secret(Secret::new(line)));
    Some(Command { input, ..Command::new(["chpasswd", "-e"]) })
}

/// Returns why a program of the suite failed: its last line, with advice if another program holds the lock.
fn reason(program: &str, finished: &Finished) -> String {
    let said = String::from_utf8_lossy(&finished.output);
    let last = said.lines().map(str::trim).rfind(|line| !line.is_empty());
    match last {
        Some(line) if line.contains("cannot lock") => {
            format!("{line} (another program holds the files; a lock left by a crash is /etc/*.lock)")
        }
        Some(line) => line.to_owned(),
        None => finished.code.map_or(format!("{program} was ended by a signal"), |code| {
            format!("{program} ended with {code}")
        }),
    }
}

/// Whether `database` of an nsswitch.conf(5) names a source that is not a file of the host.
fn names_more_than_files(text: &str, database: &str) -> bool {
    let sources = text.lines().find_map(|line| {
        let line = line.split('#').next().unwrap_or("");
        let (name, sources) = line.split_once(':')?;
        (name.trim() == database).then_some(sources)
    });
    let sources = sources.unwrap_or("files").split_whitespace();
    // `[NOTFOUND=return]` is an action, not a source.
    sources
        .filter(|word| !word.starts_with('[') && !word.ends_with(']'))
        .any(|word| !matches!(word, "files" | "systemd" | "compat" | "altfiles"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(change: &AccountChange) -> Vec<String> {
        commands(change).iter().map(|command| command.words.join(" ")).collect()
    }

    #[test]
    fn each_change_has_its_programs() {
        let check = |change: AccountChange, expected: &[&str]| assert_eq!(lines(&change), expected);
        let group = GroupChange { gid: Some(50), system: true, members: Some(vec!["a".into(), "b".into()]) };
        check(
            AccountChange::AddGroup { name: "ops".into(), group: group.clone() },
            &["groupadd -r -g 50 ops", "gpasswd -M a,b ops"],
        );
        let members = GroupChange { gid: None, system: false, members: Some(Vec::new()) };
        check(AccountChange::ChangeGroup { name: "ops".into(), group: members }, &["gpasswd -M  ops"]);
        check(AccountChange::RemoveGroup { name: "ops".into() }, &["groupdel ops"]);
        let user = UserChange {
            uid: Some(2001),
            groups: Some(vec!["ops".into(), "dba".into()]),
            comment: Some("Ada L".into()),
            home: Some("/home/ada".into()),
            shell: Some("/bin/bash".into()),
            expires: Some(Expiry::Day(20_818)),
            ..UserChange::default()
        };
        check(
            AccountChange::AddUser { name: "ada".into(), user },
            &["useradd -M -U -u 2001 -G ops,dba -c Ada L -d /home/ada -s /bin/bash -e 2026-12-31 ada"],
        );
        check(AccountChange::RemoveUser { name: "ada".into(), home: true }, &["userdel -r ada"]);
    }

    #[test]
    fn torn_files_are_mended_by_those_who_keep_them() {
        let check = |torn: Torn, expected: &[&str]| {
            let lines: Vec<_> = mending(&torn).iter().map(|command| command.words.join(" ")).collect();
            assert_eq!(lines, expected);
        };
        check(Torn::default(), &[]);
        check(Torn { groups: true, ..Torn::default() }, &["grpconv"]);
        check(Torn { orphans: true, ..Torn::default() }, &["pwconv"]);
        check(Torn { users: vec!["ada".into()], ..Torn::default() }, &["pwconv", "usermod -p ! ada"]);
    }

    #[test]
    fn a_password_is_in_the_input_and_in_no_word() {
        let user = UserChange { password: Some(Secret::new("$y$hash")), ..UserChange::default() };
        let commands = commands(&AccountChange::ChangeUser { name: "ada".into(), user });
        assert_eq!(commands.len(), 1, "nothing but the password changes");
        assert_eq!(commands[0].words, ["chpasswd", "-e"]);
        assert!(commands[0].input.as_ref().is_some_and(|input| input.expose() == b"ada:$y$hash\n"));
    }

    #[test]
    fn only_sources_beyond_files_are_asked() {
        let check =
            |text: &str, more: bool| assert_eq!(names_more_than_files(text, "passwd"), more, "{text}");
        check("", false);
        check("passwd:         files systemd\n", false);
        check("passwd: files [NOTFOUND=return] sss # ldap\n", true);
        check("group: sss\npasswd: compat\n", false);
        check("# passwd: ldap\n", false);
    }

    #[test]
    fn a_failure_says_its_last_line() {
        let finished = |output: &str| Finished { code: Some(1), signal: None, output: output.into() };
        assert_eq!(reason("useradd", &finished("")), "useradd ended with 1");
        assert_eq!(reason("useradd", &finished("x\nuseradd: no\n\n")), "useradd: no");
        assert!(
            reason("x", &finished("useradd: cannot lock /etc/passwd; try again later."))
                .contains("/etc/*.lock")
        );
    }
}
