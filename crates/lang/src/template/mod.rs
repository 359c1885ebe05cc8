//! Templates and expressions: minijinja made strict, bounded, and aware of secrets and of facts not yet known.
//!
//! The values that variables have, their precedence and when they are evaluated are the [`Scope`]'s; which parameter a
//! rendered text is for is its reader's (`schema::types`).

mod bounds;
mod context;
mod engine;
mod error;
mod explain;
mod facts;
mod filters;
mod form;
mod marks;
mod names;
mod parts;
mod recording;
mod scope;
mod settle;
mod stand_ins;
#[cfg(test)]
mod tests;
mod unknown;
mod unmet;
mod values;
mod vocabulary;

pub(crate) use engine::Engine;
pub(crate) use error::{ScopeError, TemplateError};
pub(crate) use facts::{known_facts, unknown_facts};
pub(crate) use form::{Form, is_reserved, is_template};
pub(crate) use marks::{GivenAt, Marks, seen};
pub(crate) use names::{Mention, mentions, optional};
pub(crate) use recording::mark;
pub(crate) use scope::{Evaluated, Found, Rendered, Scope};
pub(crate) use stand_ins::StandIns;
pub(crate) use unknown::unknown;
pub(crate) use values::{Later, List, Map, Raw, fold, raw};
