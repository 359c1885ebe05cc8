//! Explains an error of a rendering in our words, with its place.

use std::ops::Range;

use minijinja::{Environment, Error, ErrorKind};

use super::context::Context;
use super::error::{Failure, TemplateError};
use super::recording::Record;
use super::values::fold;
use crate::source::foreign_terms;
use crate::source::suggest::did_you_mean;

/// The rendering in which an error occurred.
pub(super) struct Rendering<'a> {
    /// The environment that rendered.
    pub(super) environment: &'a Environment<'static>,
    /// The text of the template or expression.
    pub(super) source: &'a str,
    /// The name of the template in minijinja.
    pub(super) key: &'a str,
    /// The names in scope.
    pub(super) context: &'a Context,
    /// The values that were read.
    pub(super) record: &'a Record,
}

impl Rendering<'_> {
    /// Returns the error in our words. None if an unknown fact may have caused it.
    pub(super) fn explain(&self, error: &Error) -> Option<TemplateError> {
        let chain =
            || std::iter::successors(Some(error as &(dyn std::error::Error + 'static)), |e| e.source());
        let deepest = chain().filter_map(|e| e.downcast_ref::<Error>()).last().unwrap_or(error);
        let failure = chain().find_map(|e| e.downcast_ref::<Failure>());
        let mut found = match failure {
            Some(Failure::Scope(cause)) => TemplateError {
                message: cause.0.message.clone(),
                cause: Some(cause.clone()),
                ..TemplateError::default()
            },
            Some(Failure::Own { definite: false, .. } | Failure::Undefined) if self.record.marks.unknown => {
                return None;
            }
            Some(Failure::Undefined) => self.undefined_item(),
            Some(Failure::Own { message, help, .. }) => {
                TemplateError { message: message.clone(), help: help.clone(), ..TemplateError::default() }
            }
            None => self.engine(deepest)?,
        };
        let located = chain().filter_map(|e| e.downcast_ref::<Error>()).filter(|e| e.line().is_some()).last();
        self.locate(&mut found, located.unwrap_or(error));
        Some(found)
    }

    /// Returns the error for an expression `what` whose result, or a part of it, is undefined.
    pub(super) fn undefined(&self, what: &str) -> Option<TemplateError> {
        let definite = self.context.misses().iter().any(|name| name == what);
        if self.record.marks.unknown && !definite {
            return None;
        }
        Some(TemplateError {
            message: format!("`{}` is undefined", what.trim()),
            help: self.meant(what, ""),
            range: Some(0..self.source.len()),
            ..TemplateError::default()
        })
    }

    /// Returns the error for an undefined value in a filter. It names the last key that was not found.
    fn undefined_item(&self) -> TemplateError {
        let key =
            self.record.misses.last().map(|miss| miss.key.clone()).or_else(|| self.context.misses().pop());
        let message = key.as_ref().map(|key| format!("`{key}` is undefined"));
        let instead = "use `default(…)` for a missing value; a value with `if` needs an `else`";
        TemplateError {
            help: key.and_then(|key| self.meant(&key, "")).or_else(|| Some(instead.to_owned())),
            message: message.unwrap_or_else(|| Failure::Undefined.to_string()),
            ..TemplateError::default()
        }
    }

    /// Returns the error for an error of minijinja itself.
    fn engine(&self, error: &Error) -> Option<TemplateError> {
        if self.record.marks.unknown && error.kind() == ErrorKind::UndefinedError {
            let text = self.text(error).unwrap_or_default();
            return self.undefined(text.trim()).map(|found| TemplateError { range: error.range(), ..found });
        }
        if self.record.marks.unknown && !matches!(error.kind(), ErrorKind::SyntaxError | ErrorKind::OutOfFuel)
        {
            return None;
        }
        // Some messages of minijinja quote values, which may be secret.
        let quoted =
            error.detail().filter(|_| !self.record.marks.tainted || error.kind() == ErrorKind::SyntaxError);
        let detail = quoted.map(str::to_owned).unwrap_or_else(|| error.kind().to_string());
        let (message, help) = match error.kind() {
            ErrorKind::UndefinedError => self.undefined_in(error),
            ErrorKind::OutOfFuel => ("the template takes too many steps".to_owned(), None),
            ErrorKind::InvalidOperation => {
                let help = self.text(error).and_then(|text| self.dashed(&text));
                let joins = || detail.contains("+ operator") && detail.contains("string");
                let help = help.or_else(|| joins().then(|| "`~` joins strings: `name ~ '-' ~ 1`".to_owned()));
                (detail, help)
            }
            ErrorKind::SyntaxError => {
                let text = self.source.get(error.range().unwrap_or_default().start..).unwrap_or_default();
                let equals = text.trim_start().starts_with('=') && !text.trim_start().starts_with("==");
                (detail, equals.then(|| "`==` compares: `facts.os.family == 'debian'`".to_owned()))
            }
            _ => (detail, None),
        };
        Some(TemplateError { message: lowercase(&message), help, ..TemplateError::default() })
    }

    fn undefined_in(&self, error: &Error) -> (String, Option<String>) {
        let found = self.text(error).unwrap_or_default();
        let text = found.trim();
        if text.is_empty() {
            let found = self.undefined_item();
            return (found.message, found.help);
        }
        let after = self.after(error).unwrap_or_default();
        let plain = text.chars().all(|c| c.is_alphanumeric() || "_.[]'\"".contains(c));
        let message = match plain {
            true => format!("`{text}` is undefined"),
            false => format!("something in `{text}` is undefined"),
        };
        (
            message,
            self.meant(text, &after).or_else(|| Some("use `default(…)` for a missing value".to_owned())),
        )
    }

    /// Returns help with the name that was probably meant by `text`, which is undefined and is followed by `after`.
    fn meant(&self, text: &str, after: &str) -> Option<String> {
        if let Some(help) = self.dashed(&format!("{text}{after}")) {
            return Some(help);
        }
        let missed = self.record.misses.iter().rev().find(|miss| text.contains(&miss.key));
        if let Some(help) = missed.and_then(|miss| miss.help.clone()) {
            return Some(help);
        }
        let misses = self.context.misses();
        let name = misses.iter().rev().find(|name| text.contains(name.as_str()))?;
        let names = self.context.names();
        did_you_mean(name, names.iter().map(String::as_str)).or_else(|| foreign_terms::name(name))
    }

    /// Returns help for `app-release`, which is a subtraction, if `app_release` exists.
    fn dashed(&self, text: &str) -> Option<String> {
        let names: Vec<_> = self.context.names().into_iter().chain(self.record.missed_among()).collect();
        let is_name = |c: char| c.is_alphanumeric() || c == '_' || c == '-';
        let words = text.split(|c: char| !is_name(c)).filter(|word| word.trim_matches('-').contains('-'));
        let folded = words.map(|word| (word, fold(word.trim_matches('-'))));
        folded
            .into_iter()
            .find(|(_, folded)| names.iter().any(|name| fold(name) == *folded))
            .map(|(word, folded)| format!("`{word}` is a subtraction: write `{folded}`"))
    }

    /// Returns the wrong text.
    fn text(&self, error: &Error) -> Option<String> {
        self.source_of(error)?.get(error.range()?).map(str::to_owned)
    }

    /// Returns the text after it.
    fn after(&self, error: &Error) -> Option<String> {
        self.source_of(error)?.get(error.range()?.end..).map(|text| text.chars().take(80).collect())
    }

    /// Returns the text of the template with the error: this one, or one that it includes.
    fn source_of(&self, error: &Error) -> Option<String> {
        match error.name().filter(|name| self.is_elsewhere(name)) {
            Some(name) => {
                self.environment.get_template(name).ok().map(|template| template.source().to_owned())
            }
            None => Some(self.source.to_owned()),
        }
    }

    fn is_elsewhere(&self, name: &str) -> bool {
        name != self.key && name != EXPRESSION
    }

    fn locate(&self, found: &mut TemplateError, error: &Error) {
        match error.name().filter(|name| self.is_elsewhere(name)) {
            Some(name) => {
                found.included = Some((name.to_owned(), error.line().unwrap_or(1)));
                found.range = error.range();
            }
            None => {
                let inside = |range: &Range<usize>| self.source.get(range.clone()).is_some();
                found.range = error.range().filter(inside).or(found.range.take());
            }
        }
    }
}

/// The name of every expression in minijinja.
pub(super) const EXPRESSION: &str = "<expression>";

fn lowercase(message: &str) -> String {
    let mut chars = message.chars();
    chars.next().map(|first| first.to_lowercase().chain(chars).collect()).unwrap_or_default()
}
