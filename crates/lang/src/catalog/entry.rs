//! Resources before they are in the catalog.

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_model::catalog::DriftMode;
use converge_model::{Address, Claim, Scalar, Value};

use crate::catalog::compiler::Compiler;
use crate::catalog::lower::Lowered;
use crate::evaluate::host_settings::HostSettings;
use crate::expand::constants::Constants;
use crate::expand::walk::{Bodies, Declared};
use crate::project::Data;
use crate::settings::connection::Transport;
use crate::source::ids::HostId;

/// The input for the catalog.
pub(crate) struct Parts<'a> {
    pub(crate) data: &'a Data,
    pub(crate) lowered: &'a Constants<Lowered>,
    pub(crate) host: HostId,
    pub(crate) declared: Vec<Declared>,
    pub(crate) bodies: Vec<String>,
    pub(crate) dropped: BTreeSet<String>,
    pub(crate) dropped_tags: BTreeSet<String>,
    pub(crate) has_unknown_names: bool,
    pub(crate) drift: DriftMode,
    /// Whether a folder is used as the system.
    pub(crate) in_folder: bool,
    pub(crate) secrets: Vec<Arc<str>>,
}

impl<'a> Parts<'a> {
    /// Collects the result of walking the bodies of `host`. `settings` are those of the host that gets the catalog.
    pub(crate) fn of(
        compiler: &'a Compiler,
        bodies: Bodies<'_>,
        host: HostId,
        settings: &HostSettings,
        secrets: Vec<Arc<str>>,
    ) -> Self {
        Self {
            data: &compiler.resolved.data,
            lowered: &compiler.lowered,
            host,
            declared: bodies.declared,
            bodies: bodies.names,
            dropped: bodies.dropped,
            dropped_tags: bodies.dropped_tags,
            has_unknown_names: bodies.has_unknown_names,
            drift: settings.drift.mode,
            in_folder: matches!(settings.connection.transport, Transport::Local { root: Some(_) }),
            secrets,
        }
    }
}

/// A resource before it is in the catalog.
pub(crate) struct Entry {
    pub(crate) declared: Declared,
    pub(crate) address: Option<Address>,
    pub(crate) aliases: Vec<Address>,
    /// Its parameters, and the result of its kind's check.
    pub(crate) lowered: Arc<Lowered>,
    pub(crate) claims: Vec<Claim>,
    pub(crate) bodies: Vec<u32>,
    /// The modules of the resource, as addresses of their instances.
    pub(crate) modules: Vec<Arc<str>>,
}

/// Whether its address may change: the resource may not exist, or the suffix that its kind adds to the name is unknown.
pub(crate) fn is_vague(entry: &Entry) -> bool {
    let declared = &entry.declared;
    declared.maybe || id(declared).is_none() && (declared.failed || declared.given.has_unknown())
}

pub(crate) fn id(declared: &Declared) -> Option<&Arc<str>> {
    declared.options.id.as_ref().map(|id| &id.text)
}

/// Whether `wanted` names the module instance: by its full address, or by the module alone.
pub(crate) fn is_module(instance: &str, wanted: &str) -> bool {
    instance == wanted || instance.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('['))
}

/// Whether a parameter of a resource is true.
pub(crate) fn is_true(entry: &Entry, param: &str) -> bool {
    matches!(entry.lowered.params.get(param), Some(Value::Scalar(Scalar::Bool(true))))
}
