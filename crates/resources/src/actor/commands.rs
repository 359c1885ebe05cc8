//! How a step runs commands, and notes those that take it back or are run again.

use super::kept::Kept;
use super::{Actor, ApplyError};
use crate::system::processes::{Command, Finished};

impl Actor<'_> {
    /// Runs a command to its end, its output going to the run's events; a failure is an error with the last of it.
    pub fn run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let finished = self.try_run(command)?;
        if finished.success() {
            return Ok(finished);
        }
        let how =
            finished.code.map_or("was ended by a signal".to_owned(), |code| format!("ended with {code}"));
        Err(ApplyError::new(format!("{} {how}", command.program())).output(&finished.output))
    }

    /// As [`Actor::run`], but how it ended is the caller's to judge.
    pub fn try_run(&mut self, command: &Command) -> Result<Finished, ApplyError> {
        let mut command = command.clone();
        command.timeout = self.timeout.unwrap_or(command.timeout);
        let finished = self.system.processes().run(&command, self.output);
        finished.map_err(|error| ApplyError::new(error.to_string()))
    }

    /// Notes a command that takes back what the kind is about to do by another.
    pub fn keep_command(&mut self, back: Command) -> Result<(), ApplyError> {
        self.undo.push(self.system, Kept::Command(Box::new(back)))
    }

    /// Notes that the kind is about to run `command` because of a notification: it is run again once what notified it is
    /// put back.
    pub fn note_again(&mut self, command: &Command) -> Result<(), ApplyError> {
        self.undo.note_again_command(command)
    }
}
