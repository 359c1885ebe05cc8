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
        let Self { terms: Terms { goal, yes, keep, guard, wait }, hosts, selection, strict } = self;
        let names = hosts.clone();
        let (owner, id) = (opened.owner(), start::run_id()?);
        let conduct = Conduct { opened, reach, hosts: &names, keep, ends: Ends::Steps };
        let carry_out = async |fleet, stop, watcher: &mut Recorded<'_, Watcher>| {
            let run = Run {
                id,
                by: start::by(),
                goal,
                inventory: opened.inventory.clone(),
                sources: opened.sources.clone(),
                hosts,
                selection,
                seen: seen_facts(&owner),
                done_once: done_once(&owner),
                owner,
                stop,
                guard,
                strict,
                wait,
            };
            run::run(run, fleet, watcher).await.exit
        };
        let (_, exit) = conduct.run(Watcher { screen, yes }, carry_out)?;
        Ok(exit)
    }
}

/// The surroundings of every run: the fleet, the recorder, and the signals.
pub(crate) struct Conduct<'a> {
    pub(crate) opened: &'a Opened,
    pub(crate) reach: &'a ReachArguments,
    pub(crate) hosts: &'a [HostName],
    /// How long runs stay in the history. None if this run is not recorded.
    pub(crate) keep: Option<Retention>,
    /// The work that the first Ctrl-C ends.
    pub(crate) ends: Ends,
}

/// An observer of a run that draws on the screen.
pub(crate) trait Watch: Observer {
    fn screen(&mut self) -> &mut Screen;
}

impl Conduct<'_> {
    /// Lets `carry_out` carry out the run. Returns the observer, and the exit code of the run.
    pub(crate) fn run<W: Watch>(
        self,
        mut watcher: W,
        carry_out: impl AsyncFnOnce(Arc<FleetHosts>, watch::Receiver<Stop>, &mut Recorded<'_, W>) -> u8,
    ) -> Result<(W, u8), Failure> {
        let Self { opened, reach, hosts: names, keep, ends } = self;
        let fleet = fleet(reach)?;
        let runtime = Runtime::new()?;
        let (stop_sender, stop) = watch::channel(Stop::No);
        let hosts = Arc::new(FleetHosts::new(&fleet, &opened.inventory, &opened.project.root, names));
        let recorder = keep.and_then(|keep| recorder(opened, keep, watcher.screen()));
        let voice = watcher.screen().voice();
        let mut watcher = Recorded { watcher, recorder: recorder.as_ref() };
        let exit = runtime.block_on(async {
            let signals = tokio::spawn(listen(stop_sender, voice, ends));
            let exit = carry_out(hosts.clone(), stop, &mut watcher).await;
            signals.abort();
            names.iter().for_each(|name| watcher.watcher.screen().cost(name, &hosts.traffic(name)));
            if let Some(hosts) = Arc::into_inner(hosts) {
                hosts.close().await;
            }
            exit
        });
        let mut watcher = watcher.watcher;
        if let Some(trouble) = recorder.and_then(Recorder::close) {
            warn(watcher.screen(), &trouble);
        }
        // A thread may still wait for the answer to a question.
        runtime.shutdown_background();
        Ok((watcher, exit))
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
            Some("a file beside the history holds the run; a later run adds it to the history"),
        ),
        Kept::Lost => (
            "not in the history as a whole",
            Some("free some disk space, and run `converge plan` to see the state of the hosts"),
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

impl Watch for Watcher {
    fn screen(&mut self) -> &mut Screen {
        &mut self.screen
    }
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
