//! Templates and expressions: minijinja, made strict and limited. It also tracks secrets and unknown facts.
//!
//! The [`Scope`] provides the values of variables, their precedence and the time of evaluation. `schema::types`
//! converts the rendered text for its parameter.

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
