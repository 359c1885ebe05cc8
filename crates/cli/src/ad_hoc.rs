//! The common part of `exec` and `ping`: a run without catalogs over the fleet. The screen shows it, the history
//! keeps it, and files get its output if the user asks for that.

use std::sync::Arc;

use converge_engine::run::ad_hoc;
use converge_engine::{AdHocRun, Errand, FleetHosts, Observer, Recorded, Stop, start};
use converge_history::{Recorder, Retention};
use converge_model::{Event, HostName, exit};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::arguments::ReachArguments;
use crate::failure::Failure;
use crate::interrupt::{Ends, listen};
use crate::output_folder::OutputFolder;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::{fleet, recorder, seen_facts, warn};

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
            let message = format!("{path} cannot be decrypted here: what it holds is not masked in output");
            screen.warn(&message, Some("--identity names a key that opens it"));
        }
        let fleet = fleet(reach)?;
        let runtime = Runtime::new()?;
        let names = self.hosts.clone();
        let hosts = Arc::new(FleetHosts::new(&fleet, &opened.inventory, &opened.project.root, &self.hosts));
        let (stop_sender, stop) = watch::channel(Stop::No);
        let run = AdHocRun {
            id: start::run_id()?,
            by: start::by(),
            errand: self.errand,
            inventory: opened.inventory.clone(),
            hosts: self.hosts,
            serial: self.serial,
            seen: seen_facts(&opened.owner()),
            stop,
        };
        let recorder = recorder(opened, self.keep, &mut screen);
        let voice = screen.voice();
        let watcher = Watcher { screen, files: self.files };
        let mut watcher = Recorded { watcher, recorder: recorder.as_ref() };
        let code = runtime.block_on(async {
            let signals = tokio::spawn(listen(stop_sender, voice, Ends::Commands));
            let outcome = ad_hoc::run(run, hosts.clone(), &mut watcher).await;
            signals.abort();
            names.iter().for_each(|name| watcher.watcher.screen.cost(name, &hosts.traffic(name)));
            if let Some(hosts) = Arc::into_inner(hosts) {
                hosts.close().await;
            }
            outcome.exit
        });
        let Watcher { mut screen, files } = watcher.watcher;
        if let Some(trouble) = recorder.and_then(Recorder::close) {
            warn(&mut screen, &trouble);
        }
        runtime.shutdown_background();
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
