//! Commands that a user runs on the host beside its catalog, and the check whether the host answers. Neither takes
//! the lock, but both report the holder.
//!
//! A command runs like one of the kind `command`: in `/`, in a clean environment, in its own session. A script exists
//! only in memory (memfd_create(2)). Nothing of it stays on disk, even if the agent is killed.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsRawFd, OwnedFd};
use std::time::{Duration, Instant};

use converge_model::ad_hoc::{LINES_LIMIT, OUTPUT_LIMIT};
use converge_model::wire::FromAgent;
use converge_model::{AdHoc, EventKind, Exit, Ran, Stream};
use converge_resources::System;
use converge_resources::system::processes::{Command, Finished, ProcessError};
use rustix::fs::MemfdFlags;

use crate::channel::Channel;
use crate::state::lock::Lock;
use crate::state::{State, now};

/// The timeout of a command without a time limit: it runs until the connection ends.
const ANY_TIME: Duration = Duration::from_secs(365 * 24 * 3600);
/// The longest first line of a script in which the kernel looks for an interpreter (execve(2)).
const FIRST_LINE: usize = 255;

/// Runs `asked` to its end. Its output goes to the channel, line by line.
pub(crate) fn exec(asked: &AdHoc, system: &dyn System, state: &State, channel: &dyn Channel) -> Ran {
    if let Some(holder) = Lock::holder(state, now()) {
        channel.event(EventKind::Busy { holder });
    }
    let started = Instant::now();
    let mut printed = Printed::default();
    let exit = match command(asked) {
        Ok((command, _script)) => {
            let mut output = |stream, line: &[u8]| printed.pass(stream, line, channel);
            exit(system.processes().watch(&command, &mut output, &|| channel.stopping()))
        }
        Err(why) => Exit::NotStarted(why),
    };
    Ran { exit, lines: printed.lines, took: started.elapsed().as_millis() as u64 }
}

/// Answers with the login and the holder of the lock.
pub(crate) fn answer(state: &State) -> FromAgent {
    let login = ["SUDO_USER", "DOAS_USER"].into_iter().find_map(|name| std::env::var(name).ok());
    FromAgent::Answer { login, busy: Lock::holder(state, now()) }
}

/// Returns the command, and the script that must stay open until it ends.
fn command(asked: &AdHoc) -> Result<(Command, Option<OwnedFd>), String> {
    let (mut command, script) = match (&asked.script, asked.words.as_slice()) {
        (Some(text), arguments) => {
            let script = in_memory(text).map_err(|error| format!("failed to hold the script: {error}"))?;
            let path = format!("/proc/self/fd/{}", script.as_raw_fd());
            let words = interpreter(text).into_iter().chain([path]).chain(arguments.iter().cloned());
            (Command::new(words), Some(script))
        }
        (None, [line]) => (Command::shell(line), None),
        (None, words) => (Command::new(words), None),
    };
    command.timeout = asked.timeout.map_or(ANY_TIME, Duration::from_millis);
    Ok((command, script))
}

/// Makes a file in memory that started processes inherit.
fn in_memory(text: &[u8]) -> std::io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("converge-script", MemfdFlags::empty())?);
    file.write_all(text)?;
    Ok(file.into())
}

/// Returns the words before the path of a script: its `#!` line as the kernel reads it, a program and at most one
/// argument.
fn interpreter(script: &[u8]) -> Vec<String> {
    let first = script.split(|byte| *byte == b'\n').next().unwrap_or_default();
    let named = first.strip_prefix(b"#!").filter(|line| line.len() < FIRST_LINE);
    let line = String::from_utf8_lossy(named.unwrap_or_default()).into_owned();
    match line.trim().split_once([' ', '\t']) {
        Some((program, argument)) => vec![program.to_owned(), argument.trim().to_owned()],
        None if line.trim().is_empty() => vec!["/bin/sh".to_owned()],
        None => vec![line.trim().to_owned()],
    }
}

fn exit(ended: Result<Finished, ProcessError>) -> Exit {
    match ended {
        Ok(Finished { code: Some(code), .. }) => Exit::Code(code),
        Ok(Finished { signal, .. }) => Exit::Signal(signal.unwrap_or_default()),
        Err(ProcessError::Timeout { .. }) => Exit::TimedOut,
        Err(ProcessError::Stopped { .. }) => Exit::Stopped,
        Err(error) => Exit::NotStarted(error.to_string()),
    }
}

/// The amount of output of a command.
#[derive(Default)]
struct Printed {
    lines: u64,
    bytes: u64,
}

impl Printed {
    /// Passes a line on while the limits allow it. The controller masks it: it knows the secrets, and this host need
    /// not.
    fn pass(&mut self, stream: Stream, line: &[u8], channel: &dyn Channel) {
        self.lines += 1;
        self.bytes += line.len() as u64;
        if self.lines <= LINES_LIMIT && self.bytes <= OUTPUT_LIMIT {
            let line = line.strip_suffix(b"\n").unwrap_or(line);
            let line = String::from_utf8_lossy(line).into_owned();
            channel.event(EventKind::CommandOutput { stream, line });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use converge_resources::system::real::RealSystem;
    use converge_resources::system::receipts::Receipts;

    use super::*;
    use crate::testing::Controller;

    /// Returns how `asked` ends on this machine, and the lines that the controller gets.
    fn run(asked: &AdHoc) -> (Exit, Vec<String>) {
        let folder = tempfile::tempdir().unwrap();
        let receipts = Receipts::in_folder(folder.path().join("receipts"));
        let system = RealSystem::new(Path::new("/"), receipts).unwrap();
        let controller = Controller::default();
        let state = State::in_folder(folder.path().join("state"));
        let ran = exec(asked, &system, &state, &controller);
        let events = std::mem::take(&mut *controller.events.lock().unwrap());
        let line = |event| match event {
            EventKind::CommandOutput { line, .. } => line,
            other => panic!("{other:?}"),
        };
        (ran.exit, events.into_iter().map(line).collect())
    }

    fn words(words: &[&str]) -> AdHoc {
        let words = words.iter().map(|word| (*word).to_owned()).collect();
        AdHoc { words, script: None, timeout: None }
    }

    #[test]
    fn one_word_is_a_line_of_the_shell_and_several_are_what_they_are() {
        assert_eq!(run(&words(&["echo a | tr a b; exit 3"])), (Exit::Code(3), vec!["b".to_owned()]));
        assert_eq!(run(&words(&["echo", "$HOME |"])), (Exit::Code(0), vec!["$HOME |".to_owned()]));
        assert!(matches!(run(&words(&["no-such-program", "x"])).0, Exit::NotStarted(_)));
        let slow = AdHoc { timeout: Some(200), ..words(&["sleep", "60"]) };
        assert_eq!(run(&slow).0, Exit::TimedOut);
        assert_eq!(run(&words(&["kill -TERM $$"])).0, Exit::Signal(15));
    }

    #[test]
    fn a_script_runs_from_memory_with_its_arguments() {
        let text = "#!/bin/sh -e\necho \"$0\" | grep -c proc\necho $2 $1\nfalse\necho never\n";
        let script = AdHoc { script: Some(text.into()), ..words(&["a", "b"]) };
        assert_eq!(run(&script), (Exit::Code(1), vec!["1".to_owned(), "b a".to_owned()]));
    }

    #[test]
    fn what_is_printed_beyond_the_limit_is_counted_and_not_passed_on() {
        let (controller, mut printed) = (Controller::default(), Printed::default());
        for _ in 0..LINES_LIMIT + 5 {
            printed.pass(Stream::Stdout, b"x\n", &controller);
        }
        assert_eq!(controller.events.lock().unwrap().len() as u64, LINES_LIMIT);
        assert_eq!(printed.lines, LINES_LIMIT + 5);
    }

    #[test]
    fn interpreter_is_that_of_the_first_line_with_one_argument_at_most() {
        let check = |script: &str, words: &[&str]| {
            assert_eq!(interpreter(script.as_bytes()), words, "{script:?}");
        };
        check("echo x\n", &["/bin/sh"]);
        check("#!/bin/bash\necho", &["/bin/bash"]);
        check("#! /usr/bin/env -S python3 -u\n", &["/usr/bin/env", "-S python3 -u"]);
        check("#!\n", &["/bin/sh"]);
        check("", &["/bin/sh"]);
        check(&format!("#!/{}", "x".repeat(300)), &["/bin/sh"]);
    }
}
