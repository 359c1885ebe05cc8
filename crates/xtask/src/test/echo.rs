//! Runs a command. Its output is shown at once and collected for the program.

use std::io::{self, BufRead, BufReader, Read, Write};
use std::process::{Command, Stdio};
use std::thread;

/// The output of a command, line by line, and whether it succeeded.
#[derive(Debug, Default)]
pub(super) struct Ended {
    pub(super) succeeded: bool,
    pub(super) stdout: Vec<String>,
    pub(super) stderr: Vec<String>,
}

/// Runs `command` to its end and passes both outputs on.
pub(super) fn run(command: &mut Command) -> io::Result<Ended> {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn()?;
    let (out, err) = (child.stdout.take(), child.stderr.take());
    let (stdout, stderr) = thread::scope(|scope| {
        let errors = scope.spawn(|| pass_on(err, io::stderr()));
        let stdout = pass_on(out, io::stdout());
        (stdout, errors.join().unwrap_or_default())
    });
    Ok(Ended { succeeded: child.wait()?.success(), stdout, stderr })
}

fn pass_on(from: Option<impl Read>, mut to: impl Write) -> Vec<String> {
    let Some(from) = from else { return Vec::new() };
    let mut lines = Vec::new();
    for line in BufReader::new(from).split(b'\n').map_while(Result::ok) {
        // If the reader has closed the pipe, the tests still go on.
        let _ = to.write_all(&line).and_then(|()| to.write_all(b"\n"));
        lines.push(String::from_utf8_lossy(&line).into_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_outputs_and_the_end_are_kept() {
        let ended =
            run(Command::new("sh").args(["-c", "echo out; echo err >&2; printf last; exit 1"])).unwrap();
        assert_eq!(ended.stdout, ["out", "last"]);
        assert_eq!(ended.stderr, ["err"]);
        assert!(!ended.succeeded);
    }
}
