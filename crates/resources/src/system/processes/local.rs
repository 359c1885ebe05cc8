//! Runs commands on the agent's machine: in a clean environment, in a session of their own, with a timeout, and as
//! another user if asked.
//!
//! Users and groups are read from the host's files, because a static program has no name service. If a folder stands
//! for a host, commands still run on the agent's machine, in that folder. `CONVERGE_ROOT` names it.

use std::ffi::CString;
use std::io::{self, PipeWriter};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, ExitStatus, Stdio};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use converge_model::Stream;
use rustix::mount::{MountPropagationFlags, mount_bind, mount_change};
use rustix::process::{Gid, Pid, Uid};
use rustix::thread::UnshareFlags;

use crate::system::accounts::{AccountTable, User};
use crate::system::files::Files;
use crate::system::processes::talk::{Ended, GRACE, Sink, Stop, Talk, end};
use crate::system::processes::{Command, Fence, Finished, ProcessError, Processes, Substitute};
use crate::view::PATH;

/// The processes of the agent's machine.
pub struct LocalProcesses {
    files: Arc<Files>,
    /// The fence for commands that only ask.
    fence: OnceLock<Fence>,
}

/// The variables of the agent's own environment that commands get too: proxies and the time zone.
const PASSED: [&str; 7] =
    ["http_proxy", "https_proxy", "no_proxy", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "TZ"];

impl LocalProcesses {
    /// Returns the processes of this machine, with the users and folders of `files`.
    pub fn new(files: Arc<Files>) -> Self {
        Self { files, fence: OnceLock::new() }
    }

    /// Puts commands that only ask behind `fence`.
    pub fn fence(&self, fence: Fence) {
        // Ignored: it is set once, when the system is opened.
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
        (output, messages): (PipeWriter, PipeWriter),
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
        process.stdout(output).stderr(messages);
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

impl LocalProcesses {
    /// Runs a command with outputs into `pipes`, until it ends, reaches its timeout, or `stop` returns true.
    fn converse(
        &self,
        command: &Command,
        pipes: Pipes,
        output: Sink<'_>,
        stop: Stop<'_>,
    ) -> Result<Finished, ProcessError> {
        let fail = |source| ProcessError::Start { program: command.program().to_owned(), source };
        let identity = self.identity(command.user.as_deref())?;
        let mut child = self.start(command, identity, pipes.writers)?;
        let mut talk = Talk::new(&mut child, command, pipes.readers).map_err(fail)?;
        let ended = talk.listen(output, stop);
        let is_over = matches!(ended, Ok(Ended::Exited));
        if !is_over {
            end(Pid::from_child(&child), &mut talk, output);
        }
        let status = reap(&mut child).map_err(fail)?;
        let program = || command.program().to_owned();
        match ended {
            Ok(Ended::Exited) => {
                Ok(Finished { code: status.code(), signal: status.signal(), output: talk.finish(output) })
            }
            Ok(Ended::TimedOut) => {
                talk.finish(output);
                Err(ProcessError::Timeout { program: program(), after: command.timeout })
            }
            Ok(Ended::Stopped) => {
                talk.finish(output);
                Err(ProcessError::Stopped { program: program() })
            }
            Err(error) => Err(fail(error)),
        }
    }
}

/// The pipes of the two outputs of a command.
struct Pipes {
    readers: Vec<(Stream, io::PipeReader)>,
    writers: (PipeWriter, PipeWriter),
}

impl Pipes {
    /// Makes one pipe for both outputs, which keeps their order.
    fn together() -> io::Result<Self> {
        let (reader, writer) = io::pipe()?;
        Ok(Self { readers: vec![(Stream::Stdout, reader)], writers: (writer.try_clone()?, writer) })
    }

    /// Makes one pipe for each output.
    fn apart() -> io::Result<Self> {
        let ((output, to_output), (messages, to_messages)) = (io::pipe()?, io::pipe()?);
        let readers = vec![(Stream::Stdout, output), (Stream::Stderr, messages)];
        Ok(Self { readers, writers: (to_output, to_messages) })
    }
}

impl Processes for LocalProcesses {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        let fail = |source| ProcessError::Start { program: command.program().to_owned(), source };
        let pipes = Pipes::together().map_err(fail)?;
        self.converse(command, pipes, &mut |_, line| output(line), None)
    }

    fn watch(
        &self,
        command: &Command,
        output: &mut dyn FnMut(Stream, &[u8]),
        stop: &dyn Fn() -> bool,
    ) -> Result<Finished, ProcessError> {
        let fail = |source| ProcessError::Start { program: command.program().to_owned(), source };
        self.converse(command, Pipes::apart().map_err(fail)?, output, Some(stop))
    }

    /// Runs in a thread of its own, because a fence applies to a thread and its child processes.
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

/// The user that a command runs as.
struct Identity {
    name: Option<String>,
    home: Option<String>,
    switch: Option<Switch>,
}

/// A mount that only a process and its child processes see.
struct Mount {
    folder: CString,
    at: CString,
}

impl Mount {
    /// Leaves the mount namespace of the system and mounts the folder in its place. It allocates nothing.
    #[expect(unsafe_code, reason = "rustix offers unshare as an unsafe function only")]
    fn stand(&self) -> io::Result<()> {
        // SAFETY: the function is unsafe because of `UnshareFlags::FILES`, which is not among the flags.
        unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNS) }?;
        mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC)?;
        Ok(mount_bind(&*self.folder, &*self.at)?)
    }
}

/// The values for becoming another user.
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

/// Returns a user by name, or by number if the table has it.
fn find<'a>(table: &'a AccountTable, given: &'a str) -> Option<(&'a str, &'a User)> {
    if let Some(user) = table.users.get(given) {
        return Some((given, user));
    }
    let name = table.user_name(given.parse().ok()?)?;
    table.users.get(name).map(|user| (name, user))
}

/// Gives the process its own session, the usual umask, a folder in the place of another, and the rights of another
/// user.
#[expect(
    unsafe_code,
    reason = "only `pre_exec` runs between fork and exec, where groups and session are set"
)]
fn become_other(process: &mut std::process::Command, mount: Option<Mount>, switch: Option<Switch>) {
    let cores = crate::system::processes::cores::for_others();
    let prepare = move || {
        // Without a terminal, no program can ask a question there. The session also puts all child processes into one
        // group.
        rustix::process::setsid()?;
        // The agent's own umask is for its own files only.
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
    // SAFETY: between fork and exec only functions that are safe in a signal handler may be called. The closure makes
    // system calls through rustix, which neither allocates nor takes locks in them. Its captures were made before the
    // fork and are only read. The child has one thread, so that the calls for a thread hold for the process.
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
            // The kernel holds the process, for example because of a dead network file system. It ends when the
            // kernel releases it.
            return Ok(ExitStatus::from_raw(9));
        }
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::processes::talk::{KEPT, TOO_LONG};
    use crate::wish::Text;
    use converge_model::Secret;
    use rustix::process::Signal;

    fn processes() -> LocalProcesses {
        LocalProcesses::new(Arc::new(Files::new("/").unwrap()))
    }

    /// Runs a shell line to its end. Returns its result, and the lines that the sink got.
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
    fn outputs_that_are_watched_stay_apart() {
        let mut lines = Vec::new();
        let mut output =
            |stream, line: &[u8]| lines.push((stream, String::from_utf8_lossy(line).trim_end().to_owned()));
        let command = Command::shell("echo one; echo two >&2; exit 4");
        let ended = processes().watch(&command, &mut output, &|| false).unwrap();
        lines.sort();
        let said = [(Stream::Stdout, "one".to_owned()), (Stream::Stderr, "two".to_owned())];
        assert_eq!((ended.code, lines.as_slice()), (Some(4), said.as_slice()));
    }

    #[test]
    fn a_command_that_is_watched_ends_once_it_is_to_stop_with_all_that_it_started() {
        let (started, mut below) = (Instant::now(), String::new());
        let mut output = |_, line: &[u8]| below = String::from_utf8_lossy(line).trim().to_owned();
        let stop = || started.elapsed() > Duration::from_millis(300);
        let ended = processes().watch(&Command::shell("sleep 1000 & echo $!; wait"), &mut output, &stop);
        assert!(matches!(ended, Err(ProcessError::Stopped { .. })), "{ended:?}");
        assert!(started.elapsed() < Duration::from_secs(20));
        let state = std::fs::read_to_string(format!("/proc/{below}/stat")).unwrap_or_default();
        assert!(state.is_empty() || state.contains(") Z "), "still running: {state}");
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
        let ended = ended.unwrap();
        assert_eq!((ended.code, ended.signal), (None, Some(9)));
        assert!(!Path::new("/proc").join(&lines[0]).exists());
    }
}
