//! Running commands on the machine of the agent: in a clean environment and a session of their own, as another user
//! where that is asked, for a limited time.
//!
//! Users and groups are read from the host's files: a static program has no name service. Where a folder stands for a
//! host, commands still run on the agent's machine, in that folder, which `CONVERGE_ROOT` names.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, PipeReader, PipeWriter, Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::OFlags;
use rustix::io::Errno;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Gid, Pid, Signal, Uid, WaitId, WaitIdOptions};
use rustix::thread::UnshareFlags;

use crate::system::accounts::{AccountTable, User};
use crate::system::files::Files;
use crate::system::processes::{Command, Fence, Finished, ProcessError, Processes, Substitute};
use crate::view::PATH;
use crate::wish::Text;

/// The processes of the agent's machine.
pub struct LocalProcesses {
    files: Arc<Files>,
    /// What a command that only asks is kept behind.
    fence: OnceLock<Fence>,
}

/// The variables of the agent's own environment that commands see as well: how the network is reached, and the time
/// zone.
const PASSED: [&str; 7] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ"];

/// How long processes may take to end once they are told to.
const GRACE: Duration = Duration::from_secs(5);

/// How long output is waited for after the command itself has ended: what it left running may hold the pipe for ever.
const AFTERMATH: Duration = Duration::from_millis(100);

/// The most output that is kept, in bytes.
const KEPT: usize = 64 * 1024;

/// The longest line that is passed on, in bytes. Of a longer one nothing is: where it is cut, half a secret could stand,
/// which nobody would recognise.
const LINE: usize = 64 * 1024;

/// What is passed on in the place of a longer line.
const TOO_LONG: &[u8] = b"(a line that is too long to show)\n";

impl LocalProcesses {
    /// The processes of this machine, with users and folders as `files` has them.
    pub fn new(files: Arc<Files>) -> Self {
        Self { files, fence: OnceLock::new() }
    }

    /// Keeps commands that only ask behind `fence`.
    pub fn fence(&self, fence: Fence) {
        // It is set once, when the system is opened.
        let _ = self.fence.set(fence);
    }

    fn identity(&self, name: Option<&str>) -> Result<Identity, ProcessError> {
        let table = AccountTable::read(&self.files).map_err(|source| ProcessError::Start {
            program: "a command: the accounts cannot be read".to_owned(),
            source,
        })?;
        let own = rustix::process::geteuid().as_raw();
        let Some(name) = name else { return Ok(Identity::own(&table, own)) };
        let (name, user) = find(&table, name).ok_or_else(|| ProcessError::NoUser(name.to_owned()))?;
        let other = user.uid != own;
        if other && own != 0 {
            return Err(ProcessError::NotAllowed(name.to_owned()));
        }
        let groups = table.groups.values().filter(|group| group.members.iter().any(|member| member == name));
        let groups: Vec<_> = groups.map(|group| group.gid).chain([user.gid]).map(Gid::from_raw).collect();
        let switch =
            other.then(|| Switch { uid: Uid::from_raw(user.uid), gid: Gid::from_raw(user.gid), groups });
        Ok(Identity { name: Some(name.to_owned()), home: Some(user.home.clone()), switch })
    }

    fn start(
        &self,
        command: &Command,
        identity: Identity,
        output: PipeWriter,
    ) -> Result<Child, ProcessError> {
        let fail = |source| ProcessError::Start { program: command.program().to_owned(), source };
        let Some((program, arguments)) = command.words.split_first() else {
            return Err(fail(io::Error::new(io::ErrorKind::InvalidInput, "there is no command")));
        };
        let mut process = std::process::Command::new(program);
        process.args(arguments).env_clear().envs(self.environment(&identity));
        for (name, value) in &command.environment {
            process.env(name, std::ffi::OsStr::from_bytes(value.expose()));
        }
        let folder = command.folder.as_deref().unwrap_or(Path::new("/"));
        process.current_dir(self.files.outside(folder));
        process.stdin(if command.input.is_some() { Stdio::piped() } else { Stdio::null() });
        process.stdout(output.try_clone().map_err(fail)?).stderr(output);
        let mount = command.substitute.as_ref().map(|substitute| self.mount(substitute));
        become_other(&mut process, mount.transpose().map_err(fail)?, identity.switch);
        process.spawn().map_err(fail)
    }

    fn mount(&self, substitute: &Substitute) -> io::Result<Mount> {
        let outside = |path: &Path| CString::new(self.files.outside(path).into_os_string().into_vec());
        Ok(Mount { folder: outside(&substitute.folder)?, at: outside(&substitute.at)? })
    }

    fn environment(&self, identity: &Identity) -> Vec<(&'static str, std::ffi::OsString)> {
        let mut environment = vec![("PATH", PATH.join(":").into()), ("LC_ALL", "C.UTF-8".into())];
        environment.extend(PASSED.into_iter().filter_map(|name| Some((name, std::env::var_os(name)?))));
        environment.extend(identity.home.as_ref().map(|home| ("HOME", home.into())));
        for name in ["USER", "LOGNAME"] {
            environment.extend(identity.name.as_ref().map(|user| (name, user.into())));
        }
        if self.files.is_folder() {
            environment.push(("CONVERGE_ROOT", self.files.root().into()));
        }
        environment
    }
}

impl Processes for LocalProcesses {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        let fail = |source| ProcessError::Start { program: command.program().to_owned(), source };
        let identity = self.identity(command.user.as_deref())?;
        let (reader, writer) = io::pipe().map_err(fail)?;
        let mut child = self.start(command, identity, writer)?;
        let mut talk = Talk::new(&mut child, command, reader).map_err(fail)?;
        let ended = talk.listen(output);
        let group = Pid::from_child(&child);
        match ended {
            Ok(Ended::Exited) => {}
            Ok(Ended::TimedOut) => {
                end(group, &mut talk, output);
                reap(&mut child).map_err(fail)?;
                talk.finish(output);
                return Err(ProcessError::Timeout {
                    program: command.program().to_owned(),
                    after: command.timeout,
                });
            }
            Err(error) => {
                end(group, &mut talk, output);
                reap(&mut child).map_err(fail)?;
                return Err(fail(error));
            }
        }
        let status = reap(&mut child).map_err(fail)?;
        Ok(Finished { code: status.code(), output: talk.finish(output) })
    }

    /// In a thread of its own: a fence is of a thread and of what it starts.
    fn ask(&self, command: &Command) -> Result<Finished, ProcessError> {
        let Some(fence) = self.fence.get().filter(|_| !self.files.is_folder()) else {
            return self.run(command, &mut |_| {});
        };
        let home = self.identity(command.user.as_deref())?.home;
        let asked = std::thread::scope(|scope| {
            let behind = || {
                fence(home.as_deref().map(Path::new));
                self.run(command, &mut |_| {})
            };
            scope.spawn(behind).join()
        });
        asked.unwrap_or_else(|_| {
            let source = io::Error::other("its thread broke down");
            Err(ProcessError::Start { program: command.program().to_owned(), source })
        })
    }
}

/// Who a command runs as.
struct Identity {
    name: Option<String>,
    home: Option<String>,
    switch: Option<Switch>,
}

/// A mount that only a process and what it starts see.
struct Mount {
    folder: CString,
    at: CString,
}

impl Mount {
    /// Leaves the mount namespace of the system and puts the folder in its place. Allocates nothing.
    #[expect(unsafe_code, reason = "rustix offers unshare as an unsafe function only")]
    fn stand(&self) -> io::Result<()> {
        // SAFETY: what makes the function unsafe is `UnshareFlags::FILES`, which is not among the flags.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(mount_bind(&*self.folder, &*self.at)?)
    }
}

/// What a process must do to become another user.
struct Switch {
    uid: Uid,
    gid: Gid,
    groups: Vec<Gid>,
}

impl Identity {
    fn own(table: &AccountTable, uid: u32) -> Self {
        let user = table.users.iter().find(|(_, user)| user.uid == uid);
        let of = |variable: &str| std::env::var(variable).ok();
        Self {
            name: user.map(|(name, _)| name.clone()).or_else(|| of("USER")),
            home: user.map(|(_, user)| user.home.clone()).or_else(|| of("HOME")),
            switch: None,
        }
    }
}

/// A user by name, or by number where it has one in the table.
fn find<'a>(table: &'a AccountTable, given: &'a str) -> Option<(&'a str, &'a User)> {
    if let Some(user) = table.users.get(given) {
        return Some((given, user));
    }
    let name = table.user_name(given.parse().ok()?)?;
    table.users.get(name).map(|user| (name, user))
}

/// Gives the process a session of its own, the usual file mode mask, a folder in the place of another, and the rights of
/// another user.
#[expect(
    unsafe_code,
    reason = "only `pre_exec` runs between fork and exec, where groups and session are set"
)]
fn become_other(process: &mut std::process::Command, mount: Option<Mount>, switch: Option<Switch>) {
    let cores = crate::system::processes::cores::for_others();
    let prepare = move || {
        // Without a terminal nothing can ask a question on it; and all that it starts is one group.
        rustix::process::setsid()?;
        // The agent's own mask is for its own files.
        rustix::process::umask(rustix::fs::Mode::from_raw_mode(0o022));
        if let Some(limit) = &cores {
            rustix::process::setrlimit(rustix::process::Resource::Core, *limit)?;
        }
        if let Some(mount) = &mount {
            mount.stand()?;
        }
        if let Some(switch) = &switch {
            rustix::thread::set_thread_groups(&switch.groups)?;
            rustix::thread::set_thread_gid(switch.gid)?;
            rustix::thread::set_thread_uid(switch.uid)?;
        }
        Ok(())
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may be called. The closure makes system calls
    // through rustix, which neither allocates nor takes locks in them; its captures were made before the fork and are
    // only read. The child has one thread, so that the calls for a thread hold for the process.
    unsafe {
        process.pre_exec(prepare);
    }
}

/// Waits for the end of a child that has ended, or is about to.
fn reap(child: &mut Child) -> io::Result<ExitStatus> {
    let deadline = Instant::now() + GRACE;
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(status);
        }
        if Instant::now() > deadline {
            // In the hands of the kernel: a dead network file system. It goes when that lets it go.
            return Ok(ExitStatus::from_raw(9));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

/// Ends a group of processes: first asks, then does not. Its leader was not waited for yet, so that its number still
/// belongs to it.
fn end(group: Pid, talk: &mut Talk, output: &mut dyn FnMut(&[u8])) {
    // A group that has gone already is what is wanted.
    let _ = rustix::process::kill_process_group(group, Signal::TERM);
    talk.deadline = Instant::now() + GRACE;
    let _ = talk.listen(output);
    let _ = rustix::process::kill_process_group(group, Signal::KILL);
}

/// How listening ended.
#[derive(Debug, PartialEq, Eq)]
enum Ended {
    Exited,
    TimedOut,
}

/// The conversation with a running command: its input, its output, its end.
struct Talk {
    /// The pipe, the text, and how much of it is written.
    input: Option<(File, Text, usize)>,
    output: Option<PipeReader>,
    /// Ends when the command does.
    alive: PipeReader,
    deadline: Instant,
    line: Vec<u8>,
    /// Whether the line is longer than what is passed on.
    too_long: bool,
    kept: Tail,
}

impl Talk {
    fn new(child: &mut Child, command: &Command, output: PipeReader) -> io::Result<Self> {
        let alive = watch(Pid::from_child(child))?;
        let input = match (child.stdin.take(), &command.input) {
            (Some(stdin), Some(text)) => {
                nonblocking(&stdin)?;
                Some((File::from(OwnedFd::from(stdin)), text.clone(), 0))
            }
            _ => None,
        };
        nonblocking(&output)?;
        Ok(Self {
            input,
            output: Some(output),
            alive,
            deadline: Instant::now() + command.timeout,
            line: Vec::new(),
            too_long: false,
            kept: Tail::default(),
        })
    }

    /// Passes on what comes until the command ends or its time is over.
    fn listen(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Ended> {
        loop {
            let left = self.deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(Ended::TimedOut);
            }
            let ready = self.wait(left)?;
            if ready.input {
                self.feed();
            }
            if ready.output {
                self.read(sink)?;
            }
            if ready.ended {
                return Ok(Ended::Exited);
            }
        }
    }

    /// Waits until something can be done, at most `time`.
    fn wait(&self, time: Duration) -> io::Result<Ready> {
        let mut fds = vec![PollFd::new(&self.alive, PollFlags::IN)];
        let at = |fds: &mut Vec<PollFd<'_>>| fds.len() - 1;
        let output = self.output.as_ref().map(|output| {
            fds.push(PollFd::new(output, PollFlags::IN));
            at(&mut fds)
        });
        let input = self.input.as_ref().map(|(input, ..)| {
            fds.push(PollFd::new(input, PollFlags::OUT));
            at(&mut fds)
        });
        let time = Timespec { tv_sec: time.as_secs() as i64, tv_nsec: time.subsec_nanos().into() };
        match rustix::event::poll(&mut fds, Some(&time)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
        let ready = |at: Option<usize>| at.is_some_and(|at| !fds[at].revents().is_empty());
        Ok(Ready { ended: ready(Some(0)), output: ready(output), input: ready(input) })
    }

    /// Writes what the pipe takes. A command need not read its input: a closed pipe ends it quietly.
    fn feed(&mut self) {
        let Some((to, text, at)) = &mut self.input else { return };
        let done = match to.write(&text.expose()[*at..]) {
            Ok(written) => {
                *at += written;
                *at >= text.expose().len()
            }
            Err(error) => !matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted),
        };
        if done {
            self.input = None;
        }
    }

    /// Reads what is there, at most a piece of it; whether there was any.
    fn read(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let Some(output) = &mut self.output else { return Ok(false) };
        let mut piece = [0; 16 * 1024];
        match output.read(&mut piece) {
            Ok(0) => {
                self.output = None;
                Ok(false)
            }
            Ok(read) => {
                self.take(&piece[..read], sink);
                Ok(true)
            }
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(true),
            Err(error) => Err(error),
        }
    }

    fn take(&mut self, piece: &[u8], sink: &mut dyn FnMut(&[u8])) {
        self.kept.add(piece);
        for part in piece.split_inclusive(|byte| *byte == b'\n') {
            self.too_long |= self.line.len() + part.len() > LINE;
            if !self.too_long {
                self.line.extend_from_slice(part);
            }
            if part.ends_with(b"\n") {
                self.pass(sink);
            }
        }
    }

    /// Passes the line on.
    fn pass(&mut self, sink: &mut dyn FnMut(&[u8])) {
        if self.too_long {
            sink(TOO_LONG);
        } else if !self.line.is_empty() {
            sink(&self.line);
        }
        self.line.clear();
        self.too_long = false;
    }

    /// What came before the end and was not read yet; then the end of the output.
    fn finish(mut self, sink: &mut dyn FnMut(&[u8])) -> Vec<u8> {
        let deadline = Instant::now() + AFTERMATH;
        while self.output.is_some() {
            match self.read(sink) {
                Ok(true) => {}
                Ok(false) if Instant::now() < deadline && self.output.is_some() => {
                    let left = deadline.saturating_duration_since(Instant::now());
                    let Some(output) = &self.output else { break };
                    let time = Timespec { tv_sec: 0, tv_nsec: left.subsec_nanos().into() };
                    // Whatever it says, the next read knows.
                    let _ = rustix::event::poll(&mut [PollFd::new(output, PollFlags::IN)], Some(&time));
                }
                Ok(false) | Err(_) => break,
            }
            if Instant::now() > deadline + GRACE {
                break;
            }
        }
        self.pass(sink);
        self.kept.end()
    }
}

struct Ready {
    ended: bool,
    output: bool,
    input: bool,
}

/// A pipe that ends when the process does. The process stays a zombie, so that its number is its own until it is reaped.
fn watch(process: Pid) -> io::Result<PipeReader> {
    let (reader, writer) = io::pipe()?;
    std::thread::Builder::new().name(format!("wait {}", process.as_raw_nonzero())).spawn(move || {
        let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT;
        while matches!(rustix::process::waitid(WaitId::Pid(process), options), Err(Errno::INTR)) {}
        drop(writer);
    })?;
    Ok(reader)
}

fn nonblocking(fd: &impl AsFd) -> io::Result<()> {
    let flags = rustix::fs::fcntl_getfl(fd)?;
    Ok(rustix::fs::fcntl_setfl(fd, flags | OFlags::NONBLOCK)?)
}

/// The last of an output.
#[derive(Default)]
struct Tail {
    bytes: Vec<u8>,
    cut: bool,
}

impl Tail {
    fn add(&mut self, piece: &[u8]) {
        self.bytes.extend_from_slice(piece);
        if self.bytes.len() > 2 * KEPT {
            self.shorten();
        }
    }

    fn shorten(&mut self) {
        let surplus = self.bytes.len().saturating_sub(KEPT);
        self.cut |= surplus > 0;
        self.bytes.drain(..surplus);
    }

    /// Whole lines only: half a line could hold half a secret, which nobody would recognise.
    fn end(mut self) -> Vec<u8> {
        self.shorten();
        if self.cut {
            let whole =
                self.bytes.iter().position(|byte| *byte == b'\n').map_or(self.bytes.len(), |at| at + 1);
            self.bytes.drain(..whole);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::Secret;

    fn processes() -> LocalProcesses {
        LocalProcesses::new(Arc::new(Files::new("/").unwrap()))
    }

    /// Runs a shell line to its end; its code, and the lines that the sink got.
    fn run(command: &Command) -> (Result<Finished, ProcessError>, Vec<String>) {
        let mut lines = Vec::new();
        let ended = processes()
            .run(command, &mut |line| lines.push(String::from_utf8_lossy(line).trim_end().to_owned()));
        (ended, lines)
    }

    #[test]
    fn both_outputs_come_in_their_order_and_line_by_line() {
        let (ended, lines) = run(&Command::shell("echo one; echo two >&2; printf three; exit 4"));
        assert_eq!(lines, ["one", "two", "three"]);
        let ended = ended.unwrap();
        assert_eq!((ended.code, ended.output.as_slice()), (Some(4), &b"one\ntwo\nthree"[..]));
    }

    #[test]
    fn the_environment_is_clean() {
        let mut command = Command::new(["env"]);
        command.environment.push(("EXTRA".to_owned(), Text::Secret(Secret::new("x y"))));
        let (_, lines) = run(&command);
        let names: Vec<_> =
            lines.iter().filter_map(|line| line.split_once('=')).map(|(name, _)| name).collect();
        let known = |name: &&str| {
            ["PATH", "LC_ALL", "HOME", "USER", "LOGNAME", "EXTRA", "PWD"].contains(name)
                || PASSED.contains(name)
        };
        assert!(names.iter().all(known), "{names:?}");
        assert!(lines.contains(&"EXTRA=x y".to_owned()) && lines.contains(&"LC_ALL=C.UTF-8".to_owned()));
    }

    #[test]
    fn a_command_has_the_usual_mask_no_terminal_and_starts_in_the_root() {
        let (_, lines) = run(&Command::shell("umask; pwd; (: </dev/tty) 2>/dev/null || echo none"));
        assert_eq!(lines, ["0022", "/", "none"]);
    }

    #[test]
    fn a_folder_that_stands_for_a_host_is_named() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("srv")).unwrap();
        let local = LocalProcesses::new(Arc::new(Files::new(folder.path()).unwrap()));
        let mut command = Command::shell("echo x > $CONVERGE_ROOT/born; pwd");
        command.folder = Some("/srv".into());
        let ended = local.run(&command, &mut |_| {}).unwrap();
        assert!(ended.success() && ended.output.ends_with(b"/srv\n"));
        assert!(folder.path().join("born").exists());
    }

    #[test]
    fn input_larger_than_a_pipe_goes_through_and_need_not_be_read() {
        let large = Text::Plain("0123456789\n".repeat(100_000));
        let count = Command { input: Some(large.clone()), ..Command::shell("wc -c") };
        assert_eq!(run(&count).1, ["1100000"]);
        let ignore = Command { input: Some(large), ..Command::shell("exit 0") };
        assert!(run(&ignore).0.unwrap().success());
    }

    #[test]
    fn of_huge_output_only_the_last_whole_lines_are_kept() {
        let mut passed = 0;
        let line = "seq -f %09.0f 1 2000000";
        let ended = processes().run(&Command::shell(line), &mut |line| passed += line.len()).unwrap();
        assert_eq!(passed, 20_000_000);
        assert!(ended.output.len() <= KEPT && ended.output.len() > KEPT - 20);
        assert!(ended.output.ends_with(b"002000000\n"));
        assert_eq!(ended.output.iter().position(|byte| *byte == b'\n'), Some(9), "half a line");
    }

    #[test]
    fn of_a_line_without_end_nothing_is_passed_on_and_what_follows_is() {
        let command = Command::shell("head -c 3000000 /dev/zero; echo; echo next; head -c 70000 /dev/zero");
        let mut lines = Vec::new();
        let ended = processes().run(&command, &mut |line| lines.push(line.to_vec())).unwrap();
        assert_eq!(lines, [TOO_LONG, b"next\n".as_slice(), TOO_LONG]);
        assert!(ended.output.is_empty(), "no whole line");
    }

    #[test]
    fn time_ends_all_that_was_started() {
        let mut command = Command::shell("sleep 1000 & echo $!; trap '' TERM; sleep 1000 & wait; wait");
        command.timeout = Duration::from_millis(300);
        let started = Instant::now();
        let mut lines = Vec::new();
        let ended =
            processes().run(&command, &mut |line| lines.push(String::from_utf8_lossy(line).into_owned()));
        assert!(matches!(ended, Err(ProcessError::Timeout { .. })), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
        let below = format!("/proc/{}/stat", lines[0].trim());
        let state = std::fs::read_to_string(below).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "still running: {state}");
    }

    #[test]
    fn what_stays_in_the_background_is_not_waited_for() {
        let started = Instant::now();
        let (ended, lines) = run(&Command::shell("sleep 20 & echo $!"));
        assert!(ended.unwrap().success());
        assert!(started.elapsed() < Duration::from_secs(10));
        let pid = lines[0].parse().ok().and_then(Pid::from_raw).unwrap();
        rustix::process::kill_process(pid, Signal::KILL).unwrap();
    }

    #[test]
    fn what_cannot_be_started_says_so() {
        let check = |command: Command, message: &str| {
            let error = run(&command).0.unwrap_err().to_string();
            assert!(error.contains(message), "{error}");
        };
        check(Command::new(["no-such-program"]), "failed to start no-such-program: No such file");
        check(Command::new([""; 0]), "there is no command");
        check(
            Command { user: Some("no such user".into()), ..Command::new(["true"]) },
            "no user \"no such user\"",
        );
    }

    #[test]
    fn root_becomes_another_user_with_its_groups_alone() {
        let command =
            Command { user: Some("nobody".into()), ..Command::shell("id -u; id -G; echo $USER $HOME") };
        let (ended, lines) = run(&command);
        if rustix::process::geteuid().is_root() {
            assert_eq!(lines, ["65534", "65534", "nobody /nonexistent"]);
        } else {
            assert!(matches!(ended, Err(ProcessError::NotAllowed(_))), "{ended:?}");
        }
    }

    #[test]
    fn a_folder_stands_in_the_place_of_another_for_the_command_alone() {
        let folder = tempfile::tempdir().unwrap();
        let place = |name: &str| {
            let path = folder.path().join(name);
            std::fs::create_dir(&path).unwrap();
            std::fs::write(path.join("text"), name).unwrap();
            path
        };
        let (new, old) = (place("new"), place("old"));
        let substitute = Some(Substitute { folder: new, at: old.clone() });
        let (ended, lines) =
            run(&Command { substitute, ..Command::shell(format!("cat {}/text; echo", old.display())) });
        if rustix::process::geteuid().is_root() {
            assert!(ended.unwrap().success());
            assert_eq!(lines, ["new"]);
        } else {
            assert!(matches!(ended, Err(ProcessError::Start { .. })), "{ended:?}");
        }
        assert_eq!(std::fs::read_to_string(old.join("text")).unwrap(), "old");
    }

    #[test]
    fn a_signal_leaves_no_code_and_no_zombie() {
        let (ended, lines) = run(&Command::shell("echo $$; kill -9 $$"));
        assert_eq!(ended.unwrap().code, None);
        assert!(!Path::new("/proc").join(&lines[0]).exists());
    }
}
