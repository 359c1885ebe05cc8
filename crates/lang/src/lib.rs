//! The language. It turns an inventory and its modules into one catalog for each host, and finds every mistake with its
//! span.
//!
//! A [`Loader`] reads a project into an [`Inventory`]. The inventory knows everything that a run needs before it
//! connects to a host: hosts, groups, connections, order. [`Inventory::compile`] makes the catalog of one host from the
//! inventory and that host's facts. This crate does no IO: files, the environment and decrypted secrets come through
//! [`Sources`]. It knows kinds of resources only by their schemas.
//!
//! ```text
//! source                    files, and mistakes and their reports
//! template                  templates and expressions
//! syntax                    KDL, trees of values, host patterns
//! schema                    the parameters of kinds and modules, and the types of values
//! settings                  the settings of runs and hosts, for the engine
//! project                   everything in the files: hosts, layers, blocks, modules, secrets
//! resolve                   bodies with all names resolved, once for all hosts
//! evaluate                  the value of an expression on one host
//! expand                    the resources of one host
//! catalog                   the catalog of one host
//! inventory                 the interface for the other crates
//! analysis                  the interface for editors
//! format                    the layout of a file, for `converge fmt`
//! ```
//!
//! A module uses only the modules above it; a test checks this. Mistakes are collected in [`Diagnostics`], all of a run
//! together. The caller prints them.

pub mod analysis;
pub mod case;
pub mod format;
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
