//! The syntax of the language: KDL, trees of values, host patterns, ranges of names, words of a command.

pub(crate) mod command_words;
pub(crate) mod host_pattern;
pub(crate) mod layout;
pub(crate) mod name_range;
pub(crate) mod other_notation;
pub(crate) mod parse;
pub(crate) mod parse_error;
pub(crate) mod parsed;
pub(crate) mod prescan;
pub(crate) mod quote;
pub(crate) mod template_error;
pub(crate) mod value_tree;
