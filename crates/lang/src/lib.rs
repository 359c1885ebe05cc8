//! The language: an inventory and its modules in, one catalog for each host out, and every mistake with its span.
//!
//! A [`Loader`] reads a project into an [`Inventory`]; the inventory answers what a run needs to know before it reaches
//! a host (hosts, groups, connections, order), and [`Inventory::compile`] turns one host's part of it, with that
//! host's facts, into a catalog. Nothing here does IO: files, the environment and decrypted secrets come through
//! [`Sources`]; kinds of resources are known by their schemas alone.
//!
//! ```text
//! source                    files, mistakes and how they are told
//! template                  templates and expressions
//! syntax                    KDL, trees of values, host patterns
//! schema                    what kinds and modules take, and the types of values
//! settings                  what runs and hosts are told, as the engine takes it
//! project                   all that the files say: hosts, layers, blocks, modules, secrets
//! resolve                   bodies with every name in them known, once
//! evaluate                  what a value comes to on one host
//! expand                    the resources of one host
//! catalog                   its catalog
//! inventory                 the whole, for the other crates
//! analysis                  the same, as an editor asks for it
//! ```
//!
//! A line uses those above it alone; a test holds to that. Mistakes are gathered in [`Diagnostics`], all of a run at
//! once, and drawn by the caller.

pub mod analysis;
pub mod case;
#[doc(hidden)]
pub mod fuzz;
pub mod inventory;

mod catalog;
mod evaluate;
mod expand;
mod project;
mod resolve;
mod schema;
mod settings;
mod source;
mod syntax;
mod template;

pub use analysis::{Analysis, Meaning};
pub use case::{Case, CaseOutcome};
pub use catalog::compile::Compiled;
pub use catalog::gates::Gate;
pub use catalog::selection::{Choices, Selection};
pub use evaluate::explain::{Definition, Explanation};
pub use evaluate::facts::{FactsOf, NoFacts};
pub use inventory::{Description, Inventory, Loaded};
pub use project::loader::Loader;
pub use project::module::{ModuleInfo, ModuleOrigin};
pub use project::secrets::{SECRETS_LIMIT, SecretsMistake, SecretsText, SetError};
pub use resolve::symbol::Symbol;
pub use settings::connection::{Connection, Transport};
pub use settings::drift::{DriftPolicy, Window};
pub use settings::rollout;
pub use settings::rollout::{Canary, Moment, Rollout, Share};
pub use source::content::{ContentSource, Contents};
pub use source::diagnostic;
pub use source::diagnostic::{Diagnostic, Diagnostics, Files, Severity, Style};
pub use source::sources::{Builtin, EntryKind, LayeredSources, MemorySources, SourceError, Sources};
pub use source::suggest::did_you_mean;
pub use syntax::parsed::Parsed;
pub use syntax::quote::quoted;
