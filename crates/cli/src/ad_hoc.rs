//! The common part of `exec` and `ping`: a run without catalogs over the fleet. The screen shows it, the history
//! keeps it, and files get its output if the user asks for that.

use converge_engine::run::ad_hoc;
use converge_engine::{AdHocRun, Errand, Observer, Recorded, start};
use converge_history::Retention;
use converge_model::{Event, HostName, exit};

use crate::arguments::ReachArguments;
use crate::failure::Failure;
use crate::interrupt::Ends;
use crate::output_folder::OutputFolder;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::{Conduct, Watch, seen_facts};

/// A run of `exec` or `ping`.
pub(crate) struct AdHocVisit {
    /// The request to each host.
    pub(crate) errand: Errand,
    /// The hosts.
    pub(crate) hosts: Vec<HostName>,
    /// How many hosts to work on at the same time.
    pub(crate) serial: usize,
    /// The folder for the output, if the user wants it.
    pub(crate) files: Option<OutputFolder>,
    /// How long runs stay in the history.
    pub(crate) keep: Retention,
}

impl AdHocVisit {
    /// Carries out the run and returns the exit code.
    pub(crate) fn run(
        self,
        opened: &Opened,
        reach: &ReachArguments,
        mut screen: Screen,
    ) -> Result<u8, Failure> {
        // A file that does not exist holds nothing to mask.
        let exists = |path: &&str| opened.project.root.join(path).exists();
        for path in opened.inventory.locked_secrets().filter(exists) {
            let message = format!("{path} cannot be decrypted here: output does not mask its secrets");
            screen.warn(&message, Some("name a key that opens it with --identity"));
        }
        let Self { errand, hosts, serial, files, keep } = self;
        let names = hosts.clone();
        let id = start::run_id()?;
        let conduct = Conduct { opened, reach, hosts: &names, keep: Some(keep), ends: Ends::Commands };
        let carry_out = async |fleet, stop, watcher: &mut Recorded<'_, Watcher>| {
            let run = AdHocRun {
                id,
                by: start::by(),
                errand,
                inventory: opened.inventory.clone(),
                hosts,
                serial,
                seen: seen_facts(&opened.owner()),
                stop,
            };
            ad_hoc::run(run, fleet, watcher).await.exit
        };
        let (Watcher { mut screen, files }, code) = conduct.run(Watcher { screen, files }, carry_out)?;
        match files.and_then(OutputFolder::trouble) {
            Some(trouble) => {
                screen.warn(&trouble, None);
                Ok(if code == exit::OK { exit::FAILED } else { code })
            }
            None => Ok(code),
        }
    }
}

/// The screen and the files, as the observer of a run.
struct Watcher {
    screen: Screen,
    files: Option<OutputFolder>,
}

impl Watch for Watcher {
    fn screen(&mut self) -> &mut Screen {
        &mut self.screen
    }
}

impl Observer for Watcher {
    fn event(&mut self, event: &Event) {
        if let Some(files) = &mut self.files {
            files.event(event);
        }
        self.screen.event(event);
    }

    async fn confirm(&mut self) -> bool {
        false
    }
}
