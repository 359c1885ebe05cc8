//! The answers of a command's guards, and its needs.

use super::{Guards, When, Wish};
use crate::view::{Answer, LookError, Need, Seen, View};

/// The state of the host.
pub struct Found {
    /// The reason why the command is done, if it is.
    pub(super) done: Option<String>,
    /// Guards without an answer yet: what they wait for, and the steps that may change it.
    pub(super) doubts: Vec<(String, Vec<u32>)>,
    /// Its user, its directory and its program.
    pub(super) needs: Vec<Need>,
    /// A guard that tried to write.
    pub(super) wrote: Option<String>,
}

/// Asks the guards until one says that the command is done. The paths come first.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let mut found = Found { done: None, doubts: Vec::new(), needs: Vec::new(), wrote: None };
    if let When::Guarded(guards) = &wish.when {
        found.ask_paths(view, guards)?;
        if found.done.is_none() {
            found.ask_lines(view, wish, guards)?;
        }
    }
    if found.done.is_none() {
        found.needs = needs(view, wish)?;
    }
    Ok(found)
}

impl Found {
    fn ask_paths(&mut self, view: &View<'_>, guards: &Guards) -> Result<(), LookError> {
        if let Some(path) = &guards.creates
            && matches!(view.place(path)?, Seen::Known(_) | Seen::Unknown(_))
        {
            self.done = Some(format!("{} is there", path.display()));
        }
        if let Some(path) = &guards.removes {
            match view.place(path)? {
                Seen::Known(_) | Seen::Unknown(_) => {}
                // An earlier step may create the path: the agent looks again right before this step.
                Seen::Absent | Seen::MayCome(_) => {
                    self.done = Some(format!("{} does not exist", path.display()));
                }
            }
        }
        Ok(())
    }

    fn ask_lines(&mut self, view: &View<'_>, wish: &Wish, guards: &Guards) -> Result<(), LookError> {
        let lines = [(&guards.unless, true, "succeeds"), (&guards.only_if, false, "fails")];
        for (line, done, how) in lines {
            let Some(line) = line else { continue };
            match view.guard(&wish.guard(line))? {
                Seen::Known(answer) if (answer == Answer::Yes) == done => {
                    self.done = Some(format!("`{line}` {how}"));
                    return Ok(());
                }
                Seen::Known(Answer::WantedToWrite) => self.wrote = Some(line.clone()),
                Seen::Known(_) | Seen::Absent => {}
                Seen::MayCome(steps) | Seen::Unknown(steps) => {
                    self.doubts.push(("the answer of its guard".to_owned(), steps));
                }
            }
        }
        Ok(())
    }
}

fn needs(view: &View<'_>, wish: &Wish) -> Result<Vec<Need>, LookError> {
    let mut needs = Vec::new();
    if let Some(user) = &wish.user {
        needs.push(view.need_user(user)?);
    }
    if let Some(folder) = &wish.folder {
        needs.push(view.need_folder(folder)?);
    }
    // If a folder stands for the host, its commands are those of the machine itself.
    if let (Some(program), false, true) = (wish.words.first(), wish.shell, view.root().parent().is_none())
        && (program.starts_with('/') || !program.contains('/'))
        && !wish.environment.iter().any(|(name, _)| name == "PATH")
    {
        needs.push(Need::program(&view.program(program)?, program));
    }
    Ok(needs)
}
