//! The catalog: all resources of one host, resolved, in the order of apply.

use serde::{Deserialize, Serialize};

use crate::claim::Claim;
use crate::id::{Address, HostName};
use crate::secret::SecretTable;
use crate::value::Params;

/// The desired state of one host. Its serialised form has references to secrets and digests of content. It never has
/// the secrets or the content.
#[derive(Clone, Serialize, Deserialize)]
pub struct Catalog {
    /// The host of the catalog.
    pub host: HostName,
    /// The project of the catalog. The host's ledger records it as the owner.
    pub project: String,
    /// The resources in their final order. [`Resource::after`] and [`Notify::target`] are indices into this list.
    pub resources: Vec<Resource>,
    /// The bodies of the resources: `on` blocks and module instances. A failure skips the rest of its body.
    pub bodies: Vec<Body>,
    /// The once-resources that this host must not run, as indices into `resources`.
    pub settled: Vec<(u32, Settled)>,
    /// The secrets that `resources` refer to. They are sent separately, never inside the catalog.
    #[serde(skip)]
    pub secrets: SecretTable,
}

/// An `on` block or a module instance.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Body {
    /// Its name for users: `on "web"` or `app-release[shop]`.
    pub name: String,
}

/// One resource with all data that the host needs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Resource {
    /// Its address, unique in the catalog.
    pub address: Address,
    /// Other addresses of the same resource, if equal resources were written in several bodies.
    pub aliases: Vec<Address>,
    /// The kind, which decodes the parameters.
    pub kind: String,
    /// Its parameters.
    pub params: Params,
    /// The claims that the kind returned when the catalog was compiled.
    pub claims: Vec<Claim>,
    /// The bodies of the resource. There are several if equal resources were written in several bodies.
    pub bodies: Vec<u32>,
    /// The resources that it depends on: a failure of one skips this resource. All of them come earlier in the list.
    pub after: Vec<u32>,
    /// The resources that it notifies if it changes.
    pub notify: Vec<Notify>,
    /// The options that every kind shares.
    pub options: Options,
}

/// Why a host does not run a once-resource.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settled {
    /// It was run before this run.
    Known,
    /// This run has run it on another host since the plan was shown.
    Done,
    /// It failed on another host. The text is the host and the reason, as a fragment.
    Failed(String),
}

impl Resource {
    /// Returns the key of the once-claim, if the resource runs once for all hosts.
    pub fn once(&self) -> Option<&str> {
        self.claims.iter().find_map(Claim::as_once)
    }
}

/// One notification: if the resource changes, `target` is restarted, reloaded or run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Notify {
    /// The notified resource, as an index.
    pub target: u32,
    /// The reaction of the target.
    pub how: NotifyHow,
}

/// The reaction of a notified service.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum NotifyHow {
    /// Reload it, whatever its own `on-notify` says: `notify="service[x]:reload"`.
    Reload,
    /// Do what the target's `on-notify` says. The default is a restart.
    AsTargetSays,
}

/// The options that every resource has.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Options {
    /// Whether the run's selection includes the resource. The agent neither looks at nor changes an unselected
    /// resource. It is in the catalog so that messages can name it as a missing dependency.
    pub selected: bool,
    /// Whether a failure of it stops no other resource and does not make the host fail.
    pub may_fail: bool,
    /// Whether its content is hidden from all output.
    pub sensitive: bool,
    /// The number of retries after a failed apply.
    pub retries: u32,
    /// Timeout of its step in milliseconds. None means: the default of its kind.
    pub timeout: Option<u64>,
    /// The action of the daemon if this resource drifts.
    pub drift: DriftMode,
}

/// The action of the daemon on drift.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum DriftMode {
    /// Restore the resource.
    Correct,
    /// Report the drift.
    #[default]
    Report,
    /// Do nothing.
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
