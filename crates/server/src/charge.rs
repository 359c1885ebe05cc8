//! The settings of a daemon: the project and how it is read, the hosts and how they are reached, and the listeners.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use converge_engine::{DoneOnce, Project, ProjectSources, SeenFacts};
use converge_fleet::{Fleet, FleetError};
use converge_history::Recorder;
use converge_lang::Inventory;
use converge_model::HostName;
use tokio::sync::watch;

use crate::events::Listener;
use crate::http::Site;

/// How often a daemon visits the hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// On schedule, until it is stopped.
    Scheduled,
    /// All hosts once.
    Once,
}

/// The settings of a daemon.
pub struct Charge {
    /// Reads the project again.
    pub read: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// Creates the fleet that reaches the hosts. It is created again from time to time, because a fleet remembers
    /// refused identities.
    pub fleet: Box<dyn Fn() -> Result<Fleet, FleetError> + Send>,
    /// The folder of the daemon's memory.
    pub folder: PathBuf,
    /// How often to look if the inventory does not say.
    pub every: Duration,
    /// On schedule or once.
    pub pace: Pace,
    /// A message here asks to read the project again, even if its files did not change.
    pub reread: watch::Receiver<()>,
    /// The receivers of the news.
    pub listeners: Vec<Box<dyn Listener>>,
    /// The history of the project.
    pub recorder: Option<Arc<Recorder>>,
    /// The metrics and the health, which are served if `listen` is set.
    pub site: Site,
    /// The address to listen on.
    pub listen: Option<SocketAddr>,
    /// Whether nothing is corrected on a host with a resource that cannot be planned.
    pub strict: bool,
}

/// A project that was read.
pub struct Reading {
    /// The folder and the inventory.
    pub project: Project,
    /// Its files.
    pub sources: Arc<ProjectSources>,
    /// The inventory, or its mistakes as parts of sentences.
    pub inventory: Result<Arc<Inventory>, Vec<String>>,
    /// The hosts to watch.
    pub hosts: Vec<HostName>,
    /// Every file that was read, relative to the project.
    pub files: Vec<String>,
    /// The stored facts of its hosts.
    pub seen: SeenFacts,
    /// The record of the once-steps that were run.
    pub done_once: DoneOnce,
}
