//! The common part of `plan`, `apply` and `facts`: the fleet and its password, and the screen as the observer of a
//! run.

use std::env;
use std::fs::File;
use std::io::{self, BufRead};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use converge_engine::{
    DoneOnce, FleetHosts, Goal, Observer, Recorded, Run, SeenFacts, StateFolder, Stop, run, start,
};
use converge_fleet::{Fleet, Options};
use converge_history::{Kept, Recorder, Retention, Trouble};
use converge_lang::Selection;
use converge_model::wire::Guard;
use converge_model::{Event, HostName, Secret};
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::agents::agents;
use crate::arguments::{ReachArguments, RunArguments};
use crate::failure::Failure;
use crate::interrupt::{Ends, listen};
use crate::pager;
use crate::past;
use crate::project::Opened;
use crate::prompt;
use crate::view::Screen;

/// The goal of a run, and its settings.
pub(crate) struct Terms {
    pub(crate) goal: Goal,
    /// Whether to apply without asking.
    pub(crate) yes: bool,
    /// How long runs stay in the history. None if this run is not recorded.
    pub(crate) keep: Option<Retention>,
    /// How access-critical changes are guarded.
    pub(crate) guard: Guard,
    /// How long to wait for other runs.
    pub(crate) wait: Duration,
}

/// A run of a command.
pub(crate) struct Visit {
    pub(crate) terms: Terms,
    pub(crate) hosts: Vec<HostName>,
    pub(crate) selection: Selection,
    /// Whether a host with a resource that cannot be planned is not changed at all.
    pub(crate) strict: bool,
}

impl Terms {
    /// Carries out a run for the arguments and returns the exit code.
    pub(crate) fn visit(self, arguments: &RunArguments, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::checked(&arguments.fleet.project, &mut screen)?;
        let hosts = opened.hosts(&arguments.fleet.hosts, &mut screen)?;
        let hosts = past::chosen(hosts, &arguments.again, &opened, &mut screen)?;
        let (selection, strict) = (arguments.resources.selection(), arguments.strict.is_strict);
        opened.inventory.choose(&selection, &hosts).map_err(|diagnostics| {
            screen.diagnostics(&diagnostics, opened.inventory.files());
            Failure::Drawn
        })?;
        let visit = Visit { terms: self, hosts, selection, strict };
        visit.run(&opened, &arguments.fleet.reach, screen)
    }
}

impl Visit {
    /// Carries out the run and returns the exit code.
    pub(crate) fn run(self, opened: &Opened, reach: &ReachArguments, screen: Screen) -> Result<u8, Failure> {
        let Terms { goal, yes, keep, guard, wait } = self.terms;
        let fleet = fleet(reach)?;
        let runtime = Runtime::new()?;
        let names = self.hosts.clone();
        let (stop_sender, stop) = watch::channel(Stop::No);
        let hosts = Arc::new(FleetHosts::new(&fleet, &opened.inventory, &opened.project.root, &self.hosts));
        let owner = opened.owner();
        let run_of_it = Run {
            id: start::run_id()?,
            by: start::by(),
            goal,
            owner: owner.clone(),
            inventory: opened.inventory.clone(),
            sources: opened.sources.clone(),
            hosts: self.hosts,
            selection: self.selection,
            seen: seen_facts(&owner),
            done_once: done_once(&owner),
            stop,
            guard,
            strict: self.strict,
            wait,
        };
        let mut watcher = Watcher { screen, yes };
        let recorder = keep.and_then(|keep| recorder(opened, keep, &mut watcher.screen));
        let voice = watcher.screen.voice();
        let mut watcher = Recorded { watcher, recorder: recorder.as_ref() };
        let exit = runtime.block_on(async {
            let signals = tokio::spawn(listen(stop_sender, voice, Ends::Steps));
            let outcome = run::run(run_of_it, hosts.clone(), &mut watcher).await;
            signals.abort();
            names.iter().for_each(|name| watcher.watcher.screen.cost(name, &hosts.traffic(name)));
            if let Some(hosts) = Arc::into_inner(hosts) {
                hosts.close().await;
            }
            outcome.exit
        });
        let mut screen = watcher.watcher.screen;
        if let Some(trouble) = recorder.and_then(Recorder::close) {
            warn(&mut screen, &trouble);
        }
        // A thread may still wait for the answer to a question.
        runtime.shutdown_background();
        Ok(exit)
    }
}

/// Returns the recorder of a run. Its project becomes the one last used from the working folder. None, with a
/// warning, if there is no folder for the history.
pub(crate) fn recorder(opened: &Opened, keep: Retention, screen: &mut Screen) -> Option<Recorder> {
    match StateFolder::of_user() {
        Ok(state) => {
            if let Ok(here) = env::current_dir() {
                state.last_used().keep(&here, opened.used());
            }
            Some(Recorder::start(state.history(&opened.owner()), keep))
        }
        Err(error) => {
            screen.warn(&format!("the run is not recorded: {error}"), None);
            None
        }
    }
}

/// Warns that a run is not in the history as usual.
pub(crate) fn warn(screen: &mut Screen, trouble: &Trouble) {
    let (not, usual) = match trouble.kept {
        Kept::Beside => (
            "not in the history yet",
            Some("what happened stands in a file beside it, which a later run takes in"),
        ),
        Kept::Lost => (
            "not in the history as a whole",
            Some("make room for it, and see what the hosts are with `converge plan`: the history cannot say"),
        ),
        Kept::Unknown => ("not in the history yet", None),
    };
    let message = format!("the run is {not}: {}", trouble.message);
    screen.warn(&message, trouble.help.as_deref().or(usual));
}

/// The screen as the observer of a run.
struct Watcher {
    screen: Screen,
    yes: bool,
}

impl Observer for Watcher {
    fn event(&mut self, event: &Event) {
        self.screen.event(event);
    }

    async fn confirm(&mut self) -> bool {
        if self.yes {
            return true;
        }
        let mut question = "Apply this? Type `yes` in full, `no`, or `d` for all details: ";
        loop {
            self.screen.ask(question, prompt::forget_what_was_typed);
            let answer = tokio::task::spawn_blocking(|| {
                let mut answer = String::new();
                io::stdin().lock().read_line(&mut answer).map(|_| answer)
            });
            let answer = answer.await.ok().and_then(Result::ok).unwrap_or_default();
            self.screen.answered();
            match answer.trim().to_ascii_lowercase().as_str() {
                "yes" => return true,
                "no" | "n" => return false,
                // The end of the input.
                "" if answer.is_empty() => return false,
                "d" => {
                    let details = self.screen.details();
                    if !pager::show(&details) {
                        self.screen.print(&details);
                    }
                    self.screen.sum_up();
                }
                _ => {}
            }
            question = "Only the word `yes` applies it. `yes`, `no` or `d`: ";
        }
    }
}

/// Creates the fleet for the options.
pub(crate) fn fleet(reach: &ReachArguments) -> Result<Fleet, Failure> {
    Ok(Fleet::new(agents(), fleet_options(reach)?)?)
}

/// Returns the options of a fleet. Asks for the password if needed.
pub(crate) fn fleet_options(reach: &ReachArguments) -> Result<Options, Failure> {
    Ok(Options {
        ssh_config: reach.ssh_config.clone().map(|path| readable(&path)).transpose()?,
        keep_connections: reach.keep_connections,
        parallel: reach.parallel,
        become_password: password(reach)?,
        ..Options::default()
    })
}

fn readable(path: &Path) -> Result<std::path::PathBuf, Failure> {
    let found = path.canonicalize().and_then(|path| File::open(&path).map(|_| path));
    found.map_err(|error| Failure::new(format!("failed to read {}: {error}", path.display())))
}

/// Returns the store of facts. Without a folder it keeps nothing, and runs work anyway.
pub(crate) fn seen_facts(owner: &str) -> SeenFacts {
    StateFolder::of_user().map_or_else(|_| SeenFacts::nowhere(), |folder| folder.facts(owner))
}

/// Returns the record of once-steps. Without a folder it keeps nothing, and only the hosts know them.
pub(crate) fn done_once(owner: &str) -> DoneOnce {
    StateFolder::of_user().map_or_else(|_| DoneOnce::nowhere(), |folder| folder.done_once(owner))
}

fn password(reach: &ReachArguments) -> Result<Option<Secret>, Failure> {
    match (reach.become_pass_fd, reach.ask_become_pass) {
        (Some(number), _) => File::open(format!("/dev/fd/{number}"))
            .and_then(prompt::first_line)
            .map(Some)
            .map_err(|error| Failure::new(format!("failed to read descriptor {number}: {error}"))),
        (None, true) => prompt::silently("Password on the hosts: ").map(Some).map_err(|error| {
            Failure::new(format!("failed to ask for a password: {error}"))
                .help("without a terminal, give it with --become-pass-fd")
        }),
        (None, false) => Ok(None),
    }
}
