//! The daemon: one loop. It starts the turns of hosts when they are due, takes their results and asks the keeper for
//! a decision. It reads the inventory again when its files change. The keeper decides what to do about drift.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use converge_engine::Stop;
use converge_fleet::{Fleet, FleetError};
use converge_model::{Address, Digest, HostName, HostReport, HostState, Problem, RunId};
use jiff::Timestamp;
use sd_notify::NotifyState;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::{Id, JoinSet};

use crate::charge::{Charge, Pace, Reading};
use crate::events::NewsKind;
use crate::http;
use crate::inputs::Inputs;
use crate::keeper::{Keeper, Look, Tick, Watched, watched};
use crate::memory::{Keep, MemoryError};
use crate::schedule::ScheduleError;
use crate::visit::Visit;
use crate::voice::Voice;

/// The longest sleep of the loop. A changed clock or file is noticed at most this much later.
const SLEEP: Duration = Duration::from_secs(1);
/// How often a project is read if its files change meanwhile. After that, the result is used until the next check.
const READ_AT_MOST: u32 = 4;
/// The greatest age of a fleet before it is created again: it remembers refused identities.
const FLEET_AGE: Duration = Duration::from_secs(600);

/// Why a daemon cannot start.
#[derive(Debug, thiserror::Error)]
pub enum WatchError {
    /// The inventory has mistakes.
    #[error("the inventory has mistakes: {}", .0.join("; "))]
    Inventory(Vec<String>),
    /// A policy has no valid schedule.
    #[error("the drift policy of {0}: {1}")]
    Schedule(HostName, ScheduleError),
    /// No host should be watched.
    #[error("no host is watched: every host has mode=\"ignore\"")]
    NoHosts,
    /// The memory cannot be used.
    #[error(transparent)]
    Memory(#[from] MemoryError),
    /// The fleet cannot be created.
    #[error(transparent)]
    Fleet(#[from] FleetError),
    /// The address to listen on cannot be used.
    #[error("failed to listen on {0}: {1}")]
    Listen(SocketAddr, io::Error),
}

/// Watches until `stop` is set or the single pass is over. Returns the exit code. If it was stopped, that is 0 for a
/// daemon, and [`exit::INTERRUPTED`](converge_model::exit::INTERRUPTED) for a single pass.
///
/// # Errors
/// [`WatchError`] if it cannot start.
pub async fn run(charge: Charge, stop: watch::Receiver<Stop>) -> Result<u8, WatchError> {
    Ok(Daemon::begin(charge, stop).await?.work().await)
}

struct Daemon {
    charge: Charge,
    stop: watch::Receiver<Stop>,
    voice: Arc<Voice>,
    keep: Keep,
    keeper: Keeper,
    /// The last valid project.
    reading: Arc<Reading>,
    /// The digests of its files when it was read.
    digests: Vec<(String, Digest)>,
    /// The files of the inventory when they were last read.
    read: Inputs,
    /// The same files at the last check. A file that is still being written is not read yet.
    seen: Inputs,
    /// Whether the last read project has mistakes.
    is_broken: bool,
    fleet: Arc<Fleet>,
    fleet_since: Instant,
    turns: JoinSet<()>,
    hosts_of: HashMap<Id, HostName>,
    words: (mpsc::Sender<Word>, mpsc::Receiver<Word>),
    /// The states in which the hosts of a single pass ended.
    states: BTreeMap<HostName, HostState>,
    /// Dropping it ends the HTTP server.
    _served: Option<oneshot::Sender<()>>,
}

/// A message from a turn to the loop.
enum Word {
    /// A look ended. The answer is the list of resources to correct.
    Looked(HostName, Option<RunId>, Box<Look>, oneshot::Sender<Vec<Address>>),
    /// An act ended.
    Acted(HostName, Option<RunId>, Vec<Address>, Option<Box<HostReport>>),
}

impl Daemon {
    async fn begin(mut charge: Charge, stop: watch::Receiver<Stop>) -> Result<Self, WatchError> {
        let keep = Keep::hold(&charge.folder)?;
        let memory = keep.read()?;
        let (reading, inputs) = read(&charge, Inputs::default()).await;
        let watched = watched_of(&reading, charge.every)?;
        if watched.is_empty() {
            return Err(WatchError::NoHosts);
        }
        let fleet = Arc::new((charge.fleet)()?);
        let served = listen(&charge).await?;
        let mut listeners = std::mem::take(&mut charge.listeners);
        listeners.push(Box::new(charge.site.metrics.clone()));
        listeners.push(Box::new(charge.site.health.clone()));
        let voice = Voice::new(listeners, charge.recorder.clone());
        let now = Timestamp::now();
        let keeper = match charge.pace {
            Pace::Scheduled => Keeper::new(memory, watched, now),
            Pace::Once => Keeper::once(memory, watched, now),
        };
        Ok(Self {
            charge,
            stop,
            voice: Arc::new(voice),
            keep,
            keeper,
            digests: digests(&reading),
            reading: Arc::new(reading),
            read: inputs.clone(),
            seen: inputs,
            is_broken: false,
            fleet,
            fleet_since: Instant::now(),
            turns: JoinSet::new(),
            hosts_of: HashMap::new(),
            words: mpsc::channel(64),
            states: BTreeMap::new(),
            _served: served,
        })
    }

    async fn work(&mut self) -> u8 {
        self.voice.tell(None, None, NewsKind::Started { hosts: self.keeper.hosts() });
        notify(&[
            NotifyState::Ready,
            NotifyState::Status(&format!("watching {} hosts", self.keeper.hosts())),
        ]);
        while !self.is_stopped() {
            if self.charge.pace == Pace::Scheduled {
                self.look_at_files().await;
            }
            self.start_turns();
            if self.keeper.is_done() && self.turns.is_empty() {
                return self.keeper.exit(&self.states);
            }
            self.next(self.sleep()).await;
            self.give_sign();
        }
        self.voice.tell(None, None, NewsKind::Stopping);
        notify(&[NotifyState::Stopping]);
        while !self.turns.is_empty() {
            self.next(SLEEP).await;
            self.give_sign();
        }
        self.keeper.exit_of_stop()
    }

    fn is_stopped(&self) -> bool {
        *self.stop.borrow() != Stop::No
    }

    /// Sends a sign of life to the health check and the service manager.
    fn give_sign(&self) {
        self.charge.site.health.beat();
        notify(&[NotifyState::Watchdog]);
    }

    /// Returns how long the loop has nothing to do.
    fn sleep(&self) -> Duration {
        let ahead = self.keeper.wakes().map(|due| due.duration_since(Timestamp::now()));
        let ahead = ahead.map_or(SLEEP, |ahead| Duration::try_from(ahead).unwrap_or_default());
        // A host may be due and wait for another host. It is started when that one is done, so the sleep is at least
        // 50 ms.
        ahead.clamp(Duration::from_millis(50), SLEEP)
    }

    /// Starts the turns of the hosts that are due.
    fn start_turns(&mut self) {
        self.renew_fleet();
        let Tick { start, skipped } = self.keeper.tick(Timestamp::now());
        if start.is_empty() && skipped.is_empty() {
            return;
        }
        // Write before anything happens there: if the daemon dies now, the next one looks at these hosts again.
        self.remember();
        for (host, skipped) in skipped {
            self.voice.tell(Some(&host), None, NewsKind::TickSkipped { skipped });
        }
        for host in start {
            let visit = Visit {
                host: host.clone(),
                reading: self.reading.clone(),
                fleet: self.fleet.clone(),
                voice: self.voice.clone(),
                stop: self.stop.clone(),
                strict: self.charge.strict,
            };
            let task = self.turns.spawn(turn(visit, self.words.0.clone()));
            self.hosts_of.insert(task.id(), host);
        }
    }

    /// Writes the memory and returns whether that worked. A full disk does not end the daemon: it reports what it
    /// finds, and corrects nothing until it can write again.
    fn remember(&mut self) -> bool {
        let written = self.keep.write(self.keeper.memory());
        if self.keeper.remembers(written.is_ok()) {
            let news = match &written {
                Ok(()) => NewsKind::MemoryMended,
                Err(error) => NewsKind::MemoryBroken { why: error.to_string() },
            };
            self.voice.tell(None, None, news);
        }
        written.is_ok()
    }

    /// Creates the fleet again if it is old. Running turns keep their fleet. If no new one can be created, the old
    /// one is used for the same time again.
    fn renew_fleet(&mut self) {
        if self.fleet_since.elapsed() > FLEET_AGE {
            self.fleet_since = Instant::now();
            if let Ok(fleet) = (self.charge.fleet)() {
                self.fleet = Arc::new(fleet);
            }
        }
    }

    /// Handles the next event. Waits for at most `patience`.
    async fn next(&mut self, patience: Duration) {
        let mut stop = self.stop.clone();
        tokio::select! {
            biased;
            Some(word) = self.words.1.recv() => self.hear(word),
            Some(ended) = self.turns.join_next_with_id() => {
                let id = match &ended {
                    Ok((id, ())) => *id,
                    Err(error) => error.id(),
                };
                if let Some(host) = self.hosts_of.remove(&id) {
                    self.ended(&host, ended.is_err());
                }
            }
            () = tokio::time::sleep(patience) => {}
            _ = stop.wait_for(|stop| *stop != Stop::No), if !self.is_stopped() => {}
        }
    }

    fn hear(&mut self, word: Word) {
        match word {
            Word::Looked(host, run, mut look, answer) => {
                look.state = self.unless_stopped(look.state);
                let mut verdict = self.keeper.looked(&host, &look, Timestamp::now());
                if let Some(NewsKind::Looked { state, .. }) = verdict.news.first() {
                    self.states.insert(host.clone(), *state);
                }
                if !self.remember() {
                    self.keeper.withdraw(&host, &std::mem::take(&mut verdict.correct));
                }
                verdict.news.into_iter().for_each(|news| self.voice.tell(Some(&host), run.as_ref(), news));
                verdict.of_all.into_iter().for_each(|news| self.voice.tell(None, None, news));
                // An error means that the turn is gone and needs no answer.
                let _ = answer.send(verdict.correct);
            }
            Word::Acted(host, run, addresses, report) => {
                let mut report = report.map_or_else(|| broken(&host), |report| *report);
                report.state = self.unless_stopped(report.state);
                let news = self.keeper.acted(&host, &addresses, &report);
                self.states.insert(host.clone(), report.state);
                self.remember();
                news.into_iter().for_each(|news| self.voice.tell(Some(&host), run.as_ref(), news));
            }
        }
    }

    /// Returns the state, except for a run that the end of the daemon interrupted: that one counts as not started,
    /// and the next daemon continues.
    fn unless_stopped(&self, state: HostState) -> HostState {
        match state {
            HostState::Interrupted if self.is_stopped() => HostState::NotStarted,
            state => state,
        }
    }

    fn ended(&mut self, host: &HostName, is_broken: bool) {
        let was_stopped = self.states.get(host) == Some(&HostState::NotStarted);
        self.keeper.ended(host, was_stopped, Timestamp::now());
        if is_broken {
            let why = vec!["its task broke down: this is a defect of Converge".to_owned()];
            let addresses = Vec::new();
            self.voice.tell(Some(host), None, NewsKind::Failed { state: HostState::Failed, why, addresses });
        }
        self.remember();
    }

    /// Reads the inventory again if its files have changed and are not being written, or if a reread is requested.
    async fn look_at_files(&mut self) {
        let is_asked = self.charge.reread.has_changed().unwrap_or(false);
        self.charge.reread.mark_unchanged();
        let now = self.read.now();
        let rests = std::mem::replace(&mut self.seen, now.clone()) == now;
        if !is_asked && (now == self.read || !rests) {
            return;
        }
        // Keep the files of the last valid inventory: with a mistake, some of them may not be read.
        let last_good = inputs_of(&self.reading);
        let (reading, inputs) = read(&self.charge, now).await;
        self.read = last_good.and(inputs);
        self.seen = self.read.clone();
        let mended = std::mem::replace(&mut self.is_broken, false);
        let watched = match watched_of(&reading, self.charge.every) {
            Ok(watched) => watched,
            Err(error) => {
                self.is_broken = true;
                let mistakes = match error {
                    WatchError::Inventory(mistakes) => mistakes,
                    error => vec![error.to_string()],
                };
                return self.voice.tell(None, None, NewsKind::InventoryBroken { mistakes });
            }
        };
        let digests = digests(&reading);
        if mended || is_asked || self.digests != digests {
            self.digests = digests;
            self.keeper.take(watched, Timestamp::now());
            self.reading = Arc::new(reading);
            self.voice.tell(None, None, NewsKind::InventoryReloaded { hosts: self.keeper.hosts(), mended });
        }
    }
}

/// Serves the site if an address is set. Dropping the returned value ends the server.
async fn listen(charge: &Charge) -> Result<Option<oneshot::Sender<()>>, WatchError> {
    let Some(address) = charge.listen else { return Ok(None) };
    let failed = |error| WatchError::Listen(address, error);
    let listener = TcpListener::bind(address).await.map_err(failed)?;
    let (end, ended) = oneshot::channel::<()>();
    tokio::spawn(http::serve(listener, charge.site.clone(), async {
        let _ = ended.await;
    }));
    Ok(Some(end))
}

/// Reads the project. Reads it again if its files changed meanwhile or were not in `known`. Also returns the state of
/// its files before reading, so that later changes are found.
async fn read(charge: &Charge, known: Inputs) -> (Reading, Inputs) {
    let mut before = known;
    for _ in 1..READ_AT_MOST {
        let reading = read_once(charge).await;
        let after = inputs_of(&reading);
        if before.covers(&after) {
            return (reading, after);
        }
        before = after;
    }
    (read_once(charge).await, before)
}

/// Reads the project outside the loop's thread. A panic counts as an error in reading.
async fn read_once(charge: &Charge) -> Reading {
    let read = charge.read.clone();
    match tokio::task::spawn_blocking(move || read()).await {
        Ok(reading) => reading,
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

fn inputs_of(reading: &Reading) -> Inputs {
    Inputs::of(&reading.project.root, reading.files.iter().map(String::as_str))
}

/// Returns the current digests of the files of an inventory.
fn digests(reading: &Reading) -> Vec<(String, Digest)> {
    reading.inventory.as_ref().map(|inventory| inventory.inputs()).unwrap_or_default()
}

fn watched_of(reading: &Reading, every: Duration) -> Result<BTreeMap<HostName, Watched>, WatchError> {
    let inventory = reading.inventory.as_ref().map_err(|mistakes| WatchError::Inventory(mistakes.clone()))?;
    watched(inventory, &reading.hosts, every).map_err(|(host, error)| WatchError::Schedule(host, error))
}

/// One turn of a host: a look, the loop's decision, and the act if it has one.
async fn turn(visit: Visit, words: mpsc::Sender<Word>) {
    let host = visit.host.clone();
    let (run, look) = visit.look().await;
    let (answer, decided) = oneshot::channel();
    let _ = words.send(Word::Looked(host.clone(), run, Box::new(look), answer)).await;
    let addresses = decided.await.unwrap_or_default();
    if !addresses.is_empty() {
        let (run, report) = visit.correct(&addresses).await;
        let _ = words.send(Word::Acted(host, run, addresses, report.map(Box::new))).await;
    }
}

fn broken(host: &HostName) -> HostReport {
    let message = "its run did not end: this is a defect of Converge".to_owned();
    let problems = vec![Problem { address: None, message, help: None }];
    HostReport { host: host.clone(), state: HostState::Failed, results: Vec::new(), in_sync: 0, problems }
}

/// Notifies the service manager, if there is one.
fn notify(states: &[NotifyState<'_>]) {
    let _ = sd_notify::notify(states);
}
