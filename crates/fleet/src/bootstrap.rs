//! Starts the agent on a host with one small POSIX-shell command. The command prints a few lines until the agent
//! speaks itself.
//!
//! The command escalates first. Then it looks for the agent in caches that belong to its account. It checks the agent
//! with `sha256sum`, if the host has that, and executes it. If no cache has the agent, the command prints `need` and
//! whether the host can unpack gzip. It then reads exactly the agent's bytes in that form from its standard input and
//! continues. Everything that a login prints before is skipped. `bootstrap/bootstrap.sh` is the script that runs
//! there.

mod error;
mod script;

use std::time::Duration;

use converge_model::wire::{MAGIC, NOISE_LIMIT};
use converge_model::{Become, Secret};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::{Instant, sleep, sleep_until, timeout};

use crate::agent::{Agent, AgentSet};
use crate::counters::Counters;
use crate::link::{Complaints, Link, excerpt};

pub use error::BootstrapError;
use script::Script;
pub(crate) use script::is_plain;

/// The settings of one bootstrap.
pub(crate) struct Bootstrap<'a> {
    pub(crate) agents: &'a AgentSet,
    pub(crate) escalation: Become,
    /// The account that escalates, for messages.
    pub(crate) user: &'a str,
    /// The password for the escalation. It is used if the host asks for it.
    pub(crate) password: Option<&'a Secret>,
    /// Folders for the agent instead of the usual ones. Each one [`is_plain`].
    pub(crate) folders: &'a [String],
    /// How many of the folders to skip: they turned out to be full.
    pub(crate) skip: usize,
    /// Whether to ignore the agent in the cache.
    pub(crate) afresh: bool,
    /// Whether the escalation must not use the credentials that an earlier one left behind.
    pub(crate) anew: bool,
    /// Marks the lines that the command itself prints.
    pub(crate) nonce: u64,
    /// How long the host may take for each message.
    pub(crate) start: Duration,
    /// How long the upload may take, for each started megabyte.
    pub(crate) upload: Duration,
}

/// The message if sudo or su asks for the password again.
const WRONG: &str = "the password is wrong";
/// How many messages a host may send before the agent is asked for, and again after the upload: the output of the
/// login, the prompt of sudo, the answer to the password. Each message has its own timeout.
const WORDS: u32 = 4;
/// How many bytes to read at once.
const CHUNK: usize = 8 * 1024;

/// How a bootstrap ended.
pub(crate) enum Booted {
    /// The agent speaks. These bytes of it were read already.
    Speaks(Vec<u8>),
    /// The folder with this number is full.
    Full(usize),
}

impl Bootstrap<'_> {
    /// Returns the command, for a login shell.
    pub(crate) fn line(&self) -> String {
        let script = self.script();
        match self.escalate() {
            None => format!("exec sh -c '{script}'"),
            // An account that is root already needs no escalation.
            Some(escalate) => {
                format!(r#"exec sh -c '[ -O / ]&&exec sh -c "$0";exec env LC_ALL=C {escalate}' '{script}'"#)
            }
        }
    }

    fn escalate(&self) -> Option<String> {
        Some(match (self.escalation, self.password) {
            (Become::None, _) => return None,
            (Become::Sudo, None) if self.anew => r#"sudo -k -n sh -c "$0""#.to_owned(),
            (Become::Sudo, None) => r#"sudo -n sh -c "$0""#.to_owned(),
            // `-k` with a command ignores the credentials that an earlier sudo cached. So it is known which program
            // reads the next bytes.
            (Become::Sudo, Some(_)) => format!(r#"sudo -k -S -p "{}" sh -c "$0""#, self.prompt()),
            (Become::Doas, _) => r#"doas -n sh -c "$0""#.to_owned(),
            (Become::Su, _) => r#"su -s /bin/sh -c "$0" root"#.to_owned(),
        })
    }

    /// The text that asks for the password on the host's standard error.
    fn prompt(&self) -> String {
        match self.escalation {
            Become::Sudo => format!("converge-{:x}-password:", self.nonce),
            _ => "assword: ".to_owned(),
        }
    }

    fn script(&self) -> String {
        let &Self { agents, folders, skip, afresh, nonce, .. } = self;
        Script { agents, folders, skip, afresh, nonce }.line()
    }

    /// Talks with the command until the agent speaks. Calls `uploading` if the host needs the upload.
    pub(crate) async fn converse<F: Future<Output = ()>>(
        &self,
        link: &mut Link,
        counters: &Counters,
        uploading: impl Fn() -> F,
    ) -> Result<Booted, BootstrapError> {
        let mut said = Vec::new();
        let (mut noise, mut answered, mut has_uploaded) = (0, 0, false);
        let mut deadline = Instant::now() + self.start * WORDS;
        loop {
            said.reserve(CHUNK);
            tokio::select! {
                length = link.stdout.read_buf(&mut said) => if length? == 0 {
                    return Err(BootstrapError::Ended { code: None, said: excerpt(&String::from_utf8_lossy(&said)) });
                },
                () = link.stderr.more(), if self.may_be_asked() => {
                    self.answer(link, &mut answered, counters).await?;
                }
                () = sleep(self.start) => return Err(BootstrapError::Slow(self.start.as_secs())),
                // A host that sends noise byte by byte is never silent and never starts the agent.
                () = sleep_until(deadline) => return Err(BootstrapError::Slow((self.start * WORDS).as_secs())),
            }
            let spoke = find(&said, MAGIC);
            if noise + spoke.unwrap_or(said.len()) > NOISE_LIMIT {
                return Err(BootstrapError::Noise(excerpt(&String::from_utf8_lossy(
                    &said[..said.len().min(1024)],
                ))));
            }
            if let Some(at) = spoke {
                counters.heard(at + MAGIC.len());
                return Ok(Booted::Speaks(said.split_off(at + MAGIC.len())));
            }
            match self.own_line(&said) {
                Some(Line::Need { system, arch, form }) if !has_uploaded => {
                    counters.heard(said.len());
                    let agent = self.agents.find(&system, &arch);
                    let agent =
                        agent.ok_or_else(|| BootstrapError::wrong_arch(&system, &arch, self.agents))?;
                    noise += said.len();
                    said.clear();
                    uploading().await;
                    self.upload(form.of(agent)?, link, counters).await?;
                    has_uploaded = true;
                    deadline = Instant::now() + self.start * WORDS;
                }
                Some(Line::Full(folder)) => return Ok(Booted::Full(folder)),
                Some(Line::Nowhere(why)) => return Err(BootstrapError::Nowhere(excerpt(&why))),
                // The command asks once. A second `need` is noise.
                Some(Line::Need { .. }) | None => {}
            }
        }
    }

    /// Whether the host may prompt for a password. su has no option that turns the prompt off.
    fn may_be_asked(&self) -> bool {
        self.password.is_some() || self.escalation == Become::Su
    }

    /// Answers a prompt once. A second prompt means that the password is wrong, and a third would lock the account.
    async fn answer(
        &self,
        link: &mut Link,
        answered: &mut usize,
        counters: &Counters,
    ) -> Result<(), BootstrapError> {
        let asked = link.stderr.count(&self.prompt());
        if asked > 1 {
            return Err(self.refused(WRONG));
        }
        if asked > *answered {
            let password = self.password.ok_or_else(|| self.refused("it asks for a password"))?;
            *answered = asked;
            link.stdin.write_all(password.expose()).await?;
            link.stdin.write_all(b"\n").await?;
            link.stdin.flush().await?;
            counters.sent(password.expose().len() + 1);
        }
        Ok(())
    }

    /// Sends the agent. A host that stops reading gives the reason on its standard output, so a failed write is no
    /// error here.
    async fn upload(&self, bytes: &[u8], link: &mut Link, counters: &Counters) -> Result<(), BootstrapError> {
        counters.uploaded();
        counters.sent(bytes.len());
        let sent = async {
            link.stdin.write_all(bytes).await?;
            link.stdin.flush().await
        };
        let limit = self.upload * u32::try_from(bytes.len().div_ceil(1_000_000)).unwrap_or(u32::MAX);
        match timeout(limit, sent).await {
            Ok(_taken_or_not) => Ok(()),
            Err(_) => Err(BootstrapError::Slow(limit.as_secs())),
        }
    }

    fn own_line(&self, said: &[u8]) -> Option<Line> {
        let mark = format!("\nconverge-{:x} ", self.nonce);
        let line = &said[find(said, mark.as_bytes())? + mark.len()..];
        let line = String::from_utf8_lossy(&line[..find(line, b"\n")?]).into_owned();
        let (word, rest) = line.split_once(' ').unwrap_or((&line, ""));
        let mut words = rest.split(' ');
        match word {
            "need" => {
                let _folder = words.next();
                let (system, arch) = (words.next()?.to_owned(), words.next()?.to_owned());
                let form = if words.next() == Some("gzip") { Form::Gzip } else { Form::Plain };
                Some(Line::Need { system, arch, form })
            }
            "full" => Some(Line::Full(words.next()?.parse().ok()?)),
            _ => Some(Line::Nowhere(rest.to_owned())),
        }
    }

    /// Returns the reason why a command ended.
    pub(crate) fn explain(&self, code: Option<i32>, complaints: &Complaints, said: &str) -> BootstrapError {
        let complaints = complaints.text();
        let said = excerpt(if complaints.trim().is_empty() { said } else { &complaints });
        match self.escalation {
            Become::None => BootstrapError::Ended { code, said },
            _ => self.refused(&said),
        }
    }

    fn refused(&self, said: &str) -> BootstrapError {
        let user = self.user;
        let help = match self.escalation {
            Become::None => String::new(),
            _ if said == WRONG => "give the right password".to_owned(),
            Become::Sudo if said.contains("must have a tty") => {
                format!("write `Defaults:{user} !requiretty` to a file in /etc/sudoers.d on the host")
            }
            // The password first: it grants less than a line that makes this login root for good.
            Become::Sudo if self.password.is_none() && said.contains("password is required") => format!(
                "give the password of {user} with `--ask-become-pass`, or without a terminal with `--become-pass-fd`; or \
                 let {user} use sudo without one: write `{line}` to a file in /etc/sudoers.d on the host",
                line = without_password(user),
            ),
            Become::Sudo => {
                format!("write `{}` to a file in /etc/sudoers.d on the host", without_password(user))
            }
            Become::Doas => format!("write `permit nopass {user} as root` to /etc/doas.conf on the host"),
            Become::Su => "give root's password with `--ask-become-pass`, or use become=\"sudo\"".to_owned(),
        };
        let said = said.replace(&self.prompt(), "").trim().to_owned();
        BootstrapError::Escalation { with: self.program(), said, help }
    }

    fn program(&self) -> &'static str {
        match self.escalation {
            Become::None => "nothing",
            Become::Sudo => "sudo",
            Become::Doas => "doas",
            Become::Su => "su",
        }
    }
}

/// Returns the line of sudoers(5) that lets `user` become root without a password.
fn without_password(user: &str) -> String {
    format!("{user} ALL=(ALL) NOPASSWD: ALL")
}

/// The form in which an agent is sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Form {
    /// gzip, which the host unpacks.
    Gzip,
    /// Unpacked: the host has no gzip.
    Plain,
}

impl Form {
    /// The bytes to send.
    fn of(self, agent: &Agent) -> std::io::Result<&[u8]> {
        match self {
            Self::Gzip => Ok(agent.gzip()),
            Self::Plain => agent.bytes(),
        }
    }
}

/// A line that the command itself prints.
enum Line {
    Need { system: String, arch: String, form: Form },
    Full(usize),
    Nowhere(String),
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::BUILT;
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;

    /// The set of a controller that carries only this agent.
    fn carried(bytes: &'static [u8]) -> AgentSet {
        Agent::new(BUILT, bytes).into()
    }

    fn bootstrap<'a>(
        agents: &'a AgentSet,
        escalation: Become,
        password: Option<&'a Secret>,
    ) -> Bootstrap<'a> {
        let second = Duration::from_secs(20);
        Bootstrap {
            agents,
            escalation,
            user: "ada",
            password,
            folders: &[],
            skip: 0,
            afresh: false,
            anew: false,
            nonce: 0xabc,
            start: second,
            upload: second,
        }
    }

    #[test]
    fn every_login_shell_reads_the_command_alike() {
        let (agents, password) = (carried(b"x".as_slice()), Secret::new("hunter2 o'clock"));
        for escalation in [Become::None, Become::Sudo, Become::Doas, Become::Su] {
            for password in [None, Some(&password)] {
                let line = bootstrap(&agents, escalation, password).line();
                assert!(!line.contains(['\n', '!', '\\']), "{line}");
                assert_eq!(
                    line.matches('\'').count(),
                    if escalation == Become::None { 2 } else { 4 },
                    "{line}"
                );
                assert!(!line.contains("hunter2"), "a password is never an argument");
                assert!(line.len() < 4096, "{}", line.len());
            }
        }
    }

    #[test]
    fn lines_of_the_command_are_told_from_noise() {
        let agents = carried(b"x".as_slice());
        let bootstrap = bootstrap(&agents, Become::None, None);
        let check = |said: &str, expected: Option<&str>| {
            let found = bootstrap.own_line(said.as_bytes()).map(|line| match line {
                Line::Need { system, arch, form } => format!("{system} {arch} {form:?}"),
                Line::Full(folder) => folder.to_string(),
                Line::Nowhere(why) => why,
            });
            assert_eq!(found.as_deref(), expected, "{said}");
        };
        check("Welcome!\n\nconverge-abc need 1 Linux x86_64 gzip\n", Some("Linux x86_64 Gzip"));
        check("\nconverge-abc need 1 Linux x86_64 plain\n", Some("Linux x86_64 Plain"));
        check("\nconverge-abc full 2\n", Some("2"));
        check("\nconverge-abc nowhere /a:noexec /b:link\n", Some("/a:noexec /b:link"));
        check("\nconverge-abc need 1 Linux x86", None);
        check("echo \"converge-$m need\"\n", None);
        check("\nconverge-abd full 2\n", None);
    }

    /// A folder that everyone may write to, with programs that come before the real ones in `PATH`.
    fn pretending(programs: &[(&str, &str)]) -> tempfile::TempDir {
        let folder = tempfile::Builder::new().prefix("cf").tempdir_in("/tmp").unwrap();
        std::fs::set_permissions(folder.path(), PermissionsExt::from_mode(0o777)).unwrap();
        for (name, text) in programs {
            let path = folder.path().join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
        }
        folder
    }

    /// Starts a bootstrap as an account that is not root.
    fn start(bootstrap: &Bootstrap<'_>, folder: &Path) -> Link {
        let line = format!("PATH={}:$PATH\n{}", folder.display(), bootstrap.line());
        std::fs::write(folder.join("line"), line).unwrap();
        let root = rustix::process::geteuid().is_root();
        let as_other = if root { "setpriv --reuid=65534 --regid=65534 --clear-groups " } else { "" };
        crate::link::local(&format!("exec {as_other}sh {}/line", folder.display())).unwrap()
    }

    /// Returns the result of an escalation with these programs on the host, and the log that they wrote.
    async fn escalated(
        escalation: Become,
        password: Option<&str>,
        programs: &[(&str, &str)],
    ) -> (Result<Booted, BootstrapError>, String) {
        let folder = pretending(programs);
        let agents = carried(b"#!/bin/sh\nprintf '\\0converge-agent\\001'\n".as_slice());
        let password = password.map(Secret::new);
        let folders = [folder.path().join("agent").display().to_string()];
        let bootstrap = Bootstrap { folders: &folders, ..bootstrap(&agents, escalation, password.as_ref()) };
        let mut link = start(&bootstrap, folder.path());
        let result = match bootstrap.converse(&mut link, &Counters::default(), || async {}).await {
            Err(BootstrapError::Ended { said, .. }) => {
                let code = link.process.wait().await;
                link.stderr.settled().await;
                Err(bootstrap.explain(code, &link.stderr, &said))
            }
            other => other,
        };
        (result, std::fs::read_to_string(folder.path().join("log")).unwrap_or_default())
    }

    /// A sudo that wants a password, logs its arguments, and runs the rest as the same account.
    const SUDO: &str = r#"printf "%s " "$@" >>"${0%/*}/log"
while :;do case $1 in -n) echo "sudo: a password is required" >&2;exit 1;; -k|-S) shift;; -p) p=$2;shift 2;; *) break;; esac;done
printf %s "$p" >&2;read -r word
if [ "$word" != "open sesame" ];then printf '\nSorry, try again.\n%s' "$p" >&2;read -r word;exit 1;fi
exec "$@""#;

    #[tokio::test]
    async fn sudo_is_asked_without_a_password_first() {
        let (result, log) = escalated(Become::Sudo, None, &[("sudo", SUDO)]).await;
        let Err(BootstrapError::Escalation { with: "sudo", said, help }) = result else {
            panic!("no escalation")
        };
        assert_eq!(said, "sudo: a password is required");
        let (asked, unasked) = (help.find("--ask-become-pass"), help.find("`ada ALL=(ALL) NOPASSWD: ALL`"));
        assert!(asked.is_some() && asked < unasked, "the safer advice comes first: {help}");
        assert!(log.starts_with("-n sh -c"), "{log}");
    }

    #[tokio::test]
    async fn a_password_is_given_where_sudo_asks_and_nowhere_else() {
        let (result, log) = escalated(Become::Sudo, Some("open sesame"), &[("sudo", SUDO)]).await;
        assert!(matches!(result, Ok(Booted::Speaks(_))));
        assert!(!log.contains("sesame"), "{log}");
        let (result, _) = escalated(
            Become::Sudo,
            Some("x"),
            &[("sudo", r#"while [ "$1" != sh ];do shift;done;exec "$@""#)],
        )
        .await;
        assert!(matches!(result, Ok(Booted::Speaks(_))), "a sudo that does not ask");
    }

    #[test]
    fn an_escalation_rests_on_an_earlier_one_only_where_that_is_asked() {
        let (agents, password) = (carried(b"x".as_slice()), Secret::new("x"));
        let line = |anew, password| {
            Bootstrap { anew, ..bootstrap(&agents, Become::Sudo, password) }.escalate().unwrap_or_default()
        };
        assert!(line(false, None).starts_with("sudo -n sh"), "what sudo remembers is used");
        assert!(line(true, None).starts_with("sudo -k -n sh"), "what sudo remembers is passed over");
        assert!(line(false, Some(&password)).starts_with(r#"sudo -k -S -p "converge-abc-password:" sh"#));
    }

    #[tokio::test]
    async fn a_wrong_password_is_tried_once() {
        let (result, _) = escalated(Become::Sudo, Some("open barley"), &[("sudo", SUDO)]).await;
        assert!(
            matches!(result, Err(BootstrapError::Escalation { said, .. }) if said == "the password is wrong")
        );
    }

    #[tokio::test]
    async fn su_gets_a_password_only_where_there_is_one() {
        let su = r#"printf "Password: " >&2;read -r word;[ "$word" = "open sesame" ]||exit 1;shift 3;exec sh -c "$1""#;
        let (result, _) = escalated(Become::Su, Some("open sesame"), &[("su", su)]).await;
        assert!(matches!(result, Ok(Booted::Speaks(_))));
        let (result, _) = escalated(Become::Su, None, &[("su", su)]).await;
        assert!(
            matches!(result, Err(BootstrapError::Escalation { said, .. }) if said == "it asks for a password")
        );
    }

    #[tokio::test]
    async fn what_is_missing_or_forbidden_is_named_with_the_line_to_write() {
        let check = async |escalation, program: (&str, &str), told: &str, line: &str| {
            let (result, _) = escalated(escalation, None, &[program]).await;
            let Err(BootstrapError::Escalation { said, help, .. }) = result else { panic!("{program:?}") };
            assert!(said.contains(told) && help.contains(line), "{said} / {help}");
        };
        let tty = ("sudo", "echo 'sudo: sorry, you must have a tty to run sudo' >&2;exit 1");
        check(Become::Sudo, tty, "must have a tty", "!requiretty").await;
        check(
            Become::Doas,
            ("doas", "echo 'doas: Operation not permitted' >&2;exit 1"),
            "not permitted",
            "permit nopass",
        )
        .await;
        check(Become::Sudo, ("sudo", "exit 127"), "printed nothing", "NOPASSWD").await;
    }

    #[tokio::test]
    async fn a_host_that_drips_noise_does_not_push_the_end_away() {
        let agents = carried(b"x".as_slice());
        let bootstrap =
            Bootstrap { start: Duration::from_millis(100), ..bootstrap(&agents, Become::None, None) };
        let mut link = crate::link::local("while sleep 0.01;do echo x;done").unwrap();
        let booted = bootstrap.converse(&mut link, &Counters::default(), || async {}).await;
        assert!(matches!(booted, Err(BootstrapError::Slow(_))));
    }

    #[tokio::test]
    async fn a_host_that_asks_for_the_agent_twice_gets_it_once() {
        let agents = carried(b"agent".as_slice());
        let bootstrap = bootstrap(&agents, Become::None, None);
        let need = "printf '\\nconverge-abc need 1 Linux x86_64 plain\\n'";
        let counters = Counters::default();
        // Bytes that do not come from the agent are noise. A second `need` is noise too.
        let mut link = crate::link::local(&format!("{need};head -c 5 >/dev/null;{need}")).unwrap();
        let asked = std::cell::Cell::new(0);
        let uploading = || async { asked.set(asked.get() + 1) };
        let booted = bootstrap.converse(&mut link, &counters, uploading).await;
        assert!(matches!(booted, Err(BootstrapError::Ended { .. })));
        assert_eq!(asked.get(), 1);
    }

    #[tokio::test]
    async fn noise_before_and_after_the_agent_is_asked_for_counts_together() {
        let agents = carried(b"agent".as_slice());
        let bootstrap = bootstrap(&agents, Become::None, None);
        let booted = async |noise: usize| {
            let noise = format!("head -c {noise} /dev/zero|tr '\\0' x");
            let need = "printf '\\nconverge-abc need 1 Linux x86_64 plain\\n';head -c 5 >/dev/null";
            let speaks = "printf '\\0converge-agent\\001'";
            let mut link = crate::link::local(&format!("{noise};{need};{noise};{speaks}")).unwrap();
            bootstrap.converse(&mut link, &Counters::default(), || async {}).await
        };
        assert!(matches!(booted(NOISE_LIMIT / 2 - 100).await, Ok(Booted::Speaks(_))));
        assert!(matches!(booted(NOISE_LIMIT / 2 + 100).await, Err(BootstrapError::Noise(_))));
    }

    #[test]
    fn a_failed_bootstrap_says_what_to_do_only_where_it_knows() {
        let help = |error: BootstrapError| error.help().unwrap_or_default();
        assert!(help(BootstrapError::Nowhere("/a:noexec".into())).contains("noexec"));
        assert!(help(BootstrapError::Noise("hello".into())).contains("~/.bashrc"));
        assert_eq!(help(BootstrapError::Slow(20)), "");
        assert_eq!(help(BootstrapError::Tampered), "");
    }

    #[tokio::test]
    async fn a_folder_that_becomes_a_link_while_it_is_looked_at_is_not_written_through() {
        // Plays another user, who creates a link there at the worst moment. The link leads to a folder of this
        // account.
        let mkdir =
            r#"for d do :;done;[ -e "$d" ]&&exit;v=${0%/*}/victim;command -p mkdir "$v";ln -s "$v" "$d""#;
        let folder = pretending(&[("mkdir", mkdir)]);
        let agents = carried(b"#!/bin/sh\nprintf '\\0converge-agent\\001'\n".as_slice());
        let (linked, real) = (folder.path().join("linked"), folder.path().join("real"));
        std::fs::create_dir(&real).unwrap();
        if rustix::process::geteuid().is_root() {
            std::os::unix::fs::chown(&real, Some(65534), Some(65534)).unwrap();
        }
        let folders = [&linked, &real].map(|path| path.display().to_string());
        let bootstrap = Bootstrap { folders: &folders, ..bootstrap(&agents, Become::None, None) };
        let mut link = start(&bootstrap, folder.path());
        let booted = bootstrap.converse(&mut link, &Counters::default(), || async {}).await;
        assert!(matches!(booted, Ok(Booted::Speaks(_))));
        let names = |path: &Path| std::fs::read_dir(path).unwrap().count();
        assert_eq!((names(&folder.path().join("victim")), names(&real)), (0, 1));
    }
}
