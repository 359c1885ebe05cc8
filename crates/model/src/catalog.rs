//! A catalog: everything that one host should have, resolved, in the order in which it is applied.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::id::{Address, HostName};
use crate::secret::SecretTable;
use crate::value::Params;

/// What one host should be. Serialised, it holds references to secrets and digests of content, never either.
#[derive(Clone, Serialize, Deserialize)]
pub struct Catalog {
    /// The host that it is for.
    pub host: HostName,
    /// The project that asks for it: the owner that the host's ledger records.
    pub project: String,
    /// The resources in their final order; the indices of [`Resource::after`] and [`Notify::target`] are places in it.
    pub resources: Vec<Resource>,
    /// The bodies that resources were written in: `on` blocks and module instances. A failure skips the rest of its own.
    pub bodies: Vec<Body>,
    /// The resources that run once for all hosts and are not to be run here, as places in `resources`.
    pub settled: Vec<(u32, Settled)>,
    /// The secrets that `resources` refer to. They travel beside the catalog, never in it.
    #[serde(skip)]
    pub secrets: SecretTable,
}

/// An `on` block or a module instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// How people know it: `on "web"` or `app-release[shop]`.
    pub name: String,
}

/// One resource with everything that the host needs to know of it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its address, unique in the catalog.
    pub address: Address,
    /// Other addresses of the same resource, where equal ones were written in several bodies.
    pub aliases: Vec<Address>,
    /// The kind that decodes its parameters.
    pub kind: String,
    /// Its parameters.
    pub params: Params,
    /// What it claims, as its kind said when the catalog was compiled.
    pub claims: Vec<Claim>,
    /// The bodies that it belongs to (more than one where equal resources were written in several).
    pub bodies: Vec<u32>,
    /// The resources that it waits for: those whose failure skips it. All stand before it.
    pub after: Vec<u32>,
    /// Whom it notifies when it changes.
    pub notify: Vec<Notify>,
    /// The options that every kind shares.
    pub options: Options,
}

/// Why a resource that runs once for all hosts is not run on one of them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settled {
    /// It was run before this run.
    Known,
    /// This run has run it, on another host, since the plan was shown.
    Done,
    /// It failed on another host: where and why, as a fragment.
    Failed(String),
}

impl Resource {
    /// What it is that the resource runs once for all hosts, if it does.
    pub fn once(&self) -> Option<&str> {
        self.claims.iter().find_map(Claim::as_once)
    }
}

/// One notification: when the resource changes, `target` is restarted, reloaded or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    /// The resource that is notified.
    pub target: u32,
    /// How.
    pub how: NotifyHow,
}

/// How a notified service reacts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NotifyHow {
    /// Reload it, whatever it says itself: `notify="service[x]:reload"`.
    Reload,
    /// As the target's `on-notify` says: a restart if it says nothing.
    AsTargetSays,
}

/// What every resource may say.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Whether the selection of the run holds it. One that is not selected is neither looked at nor changed; it is here
    /// so that a need for it can be named.
    pub selected: bool,
    /// Whether its failure stops nothing else and leaves the host's result as it is.
    pub may_fail: bool,
    /// Whether its content is shown to nobody.
    pub sensitive: bool,
    /// How many times a failed apply is tried again.
    pub retries: u32,
    /// After how many milliseconds its step is given up; none: the kind's own time.
    pub timeout: Option<u64>,
    /// What the daemon does when it drifts.
    pub drift: DriftMode,
}

/// What the daemon does about drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// Put it back.
    Correct,
    /// Say so.
    #[default]
    Report,
    /// Nothing.
    Ignore,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            selected: true,
            may_fail: false,
            sensitive: false,
            retries: 0,
            timeout: None,
            drift: DriftMode::default(),
        }
    }
}
