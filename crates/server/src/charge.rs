//! What a daemon is charged with: the project and how it is read, the hosts and how they are reached, and who listens.

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

/// How a daemon goes about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Pace {
    /// On schedule, until it is stopped.
    Scheduled,
    /// Over all hosts once.
    Once,
}

/// The charge of a daemon.
pub struct Charge {
    /// Reads the project anew.
    pub read: Arc<dyn Fn() -> Reading + Send + Sync>,
    /// Makes the fleet that reaches the hosts. It is made anew from time to time: a fleet remembers who was refused.
    pub fleet: Box<dyn Fn() -> Result<Fleet, FleetError> + Send>,
    /// The folder in which the daemon keeps its memory.
    pub folder: PathBuf,
    /// How often to look where the inventory does not say.
    pub every: Duration,
    /// On schedule or once.
    pub pace: Pace,
    /// What is sent here asks for the project to be read anew, whether its files changed or not.
    pub reread: watch::Receiver<()>,
    /// Who hears the news.
    pub listeners: Vec<Box<dyn Listener>>,
    /// The history of the project.
    pub recorder: Option<Arc<Recorder>>,
    /// What is counted and how the daemon is, to be served where it is asked to listen.
    pub site: Site,
    /// Where to listen.
    pub listen: Option<SocketAddr>,
    /// Whether nothing is put back on a host with a resource that cannot be planned.
    pub strict: bool,
}

/// A project as it was read.
pub struct Reading {
    /// Where it is.
    pub project: Project,
    /// Its files.
    pub sources: Arc<ProjectSources>,
    /// What they say; the mistakes, as fragments, where they say nothing that can be worked with.
    pub inventory: Result<Arc<Inventory>, Vec<String>>,
    /// The hosts that are to be watched.
    pub hosts: Vec<HostName>,
    /// Every file that was read, relative to the project.
    pub files: Vec<String>,
    /// Where the facts of its hosts are kept.
    pub seen: SeenFacts,
    /// Where it is kept what was run once for all hosts.
    pub done_once: DoneOnce,
}
