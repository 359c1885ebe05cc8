//! The language: an inventory and its modules in, one catalog for each host out, and every mistake with its place.
//!
//! A [`Loader`] reads a project into an [`Inventory`]; the inventory answers what a run needs to know before it reaches
//! a host (hosts, groups, connections, order), and [`Inventory::compile`] turns one host's part of it, with that
//! host's facts, into a catalog. Nothing here does IO: files, the environment and decrypted secrets come through
//! [`Sources`]; kinds of resources are known by their schemas alone.
//!
//! ```text
//! guard ─► document ─► reading ─► membership, layers ─► project          what the files say
//! project ─► settings, rollouts, explain, lint                           what needs no host
//! project + facts ─► world ─► bodies ─► gather ─► expand, merge          what one host should have
//!                                  └─► catalog ─► targets, order, values its catalog
//! ```
//!
//! `evaluate` is where a written value becomes one, with `template` for its text and `typed` for its type; `flow` holds
//! `for` and `when`. Mistakes are gathered in [`Diagnostics`], all of a run at once, and drawn by the caller.

pub mod case;
pub mod compile;
pub mod connection;
pub mod diagnostic;
pub mod drift;
pub mod explain;
#[doc(hidden)]
pub mod fuzz;
pub mod inventory;
pub mod module;
pub mod rollout;
pub mod sources;

mod base;
mod bodies;
mod catalog;
mod document;
mod elsewhere;
mod evaluate;
mod expand;
mod flow;
mod gates;
mod gather;
mod given;
mod guard;
mod layers;
mod lint;
mod membership;
mod merge;
mod misfit;
mod nearest;
mod options;
mod order;
mod pattern;
mod project;
mod range;
mod reading;
mod refusal;
mod rollouts;
mod schema;
mod secrets;
mod selection;
mod settings;
mod targets;
mod template;
mod tree;
mod typed;
mod values;
mod words;
mod world;

pub use case::{Case, CaseOutcome};
pub use compile::{Compiled, ContentSource, Contents, FactsOf, NoFacts};
pub use connection::{Become, Connection, Transport};
pub use diagnostic::{Diagnostic, Diagnostics, Files, Severity, Style};
pub use drift::{DriftPolicy, Window};
pub use explain::{Definition, Explanation};
pub use gates::Gate;
pub use inventory::{Description, Inventory, Loaded, Loader};
pub use module::{ModuleInfo, ModuleOrigin};
pub use nearest::did_you_mean;
pub use rollout::{Canary, Moment, Rollout, Share};
pub use secrets::{SECRETS_LIMIT, SecretsMistake, SecretsText, SetError};
pub use selection::{Choices, Selection};
pub use sources::{Builtin, EntryKind, MemorySources, SourceError, Sources};
