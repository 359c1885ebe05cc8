//! How a step runs commands, and notes those that undo it or run again.

use super::kept::Kept;
use super::{Actor, ApplyError};
use crate::system::processes::{Command, Finished};

impl Actor<'_> {
    /// Runs a command to its end. Its output goes to the events of the run. A failure is an error with the last
    /// output.
    pub fn run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let finished = self.try_run(command)?;
        if finished.success() {
            return Ok(finished);
        }
        let how =
            finished.code.map_or("was ended by a signal".to_owned(), |code| format!("ended with {code}"));
        Err(ApplyError::new(format!("{} {how}", command.program())).output(&finished.output))
    }

    /// Like [`Actor::run`], but the caller judges the exit code.
    pub fn try_run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let mut command = command.clone();
        command.timeout = self.timeout.unwrap_or(command.timeout);
        let finished = self.system.processes().run(&command, self.output);
        finished.map_err(|error| ApplyError::new(error.to_string()))
    }

    /// Notes a command that undoes the command that the kind is about to run.
    pub fn keep_command(&mut self, back: Command) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Command(Box::new(back)))
    }

    /// Notes that a notification makes the kind run `command`. It runs again once the resource that notified it is
    /// restored.
    pub fn note_again(&mut self, command: &Command) -> Result<(), ApplyError> {
        self.undo.note_again_command(command)
    }
}
