//! The options that every resource has: dependencies, notifications, tags, retries.

use std::sync::Arc;

use converge_model::catalog::DriftMode;
use converge_model::{NotifyHow, Scalar, Type};

use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::secret_here;
use crate::resolve::mistakes::{comma_in_tag, no_name};
use crate::resolve::statement::OptionName;
use crate::schema::types::{self, Limits};
use crate::settings::drift::drift_mode;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::syntax::parse::Written;
use crate::template::{self, Raw};

/// The options written at one resource or module.
#[derive(Clone, Debug, Default)]
pub(crate) struct Options {
    pub(crate) after: Vec<Named>,
    pub(crate) notify: Vec<Named>,
    pub(crate) id: Option<Named>,
    pub(crate) tags: Vec<Arc<str>>,
    pub(crate) drift: Option<DriftMode>,
    pub(crate) sensitive: bool,
    pub(crate) retries: Option<(u32, Span)>,
    pub(crate) timeout: Option<(u64, Span)>,
    pub(crate) may_fail: bool,
}

/// An address or a name, and its place.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Named {
    pub(crate) text: Arc<str>,
    pub(crate) at: Span,
    /// The module instance in which it is looked up first.
    pub(crate) within: Option<Arc<str>>,
}

impl Options {
    /// Sets one option. For options with a single value, `resolve` has checked that there is exactly one.
    pub(crate) fn set(
        &mut self,
        option: OptionName,
        values: &[Written],
        at: Span,
        evaluator: &Evaluator,
        diagnostics: &mut Diagnostics,
    ) {
        let mut named =
            |option: OptionName| names(values, evaluator, option.names().unwrap_or_default(), diagnostics);
        match option {
            OptionName::After => self.after.extend(named(option)),
            OptionName::Notify => self.notify.extend(named(option)),
            OptionName::Tags => {
                let tags = named(option);
                let commas = tags.iter().filter(|tag| tag.text.contains(','));
                commas.for_each(|tag| diagnostics.push(comma_in_tag(&tag.text, tag.at)));
                self.tags.extend(tags.into_iter().map(|tag| tag.text));
            }
            OptionName::Id => self.id = named(option).into_iter().next(),
            _ => values.iter().for_each(|value| self.scalar(option, value, at, evaluator, diagnostics)),
        }
    }

    fn scalar(
        &mut self,
        option: OptionName,
        written: &Written,
        at: Span,
        evaluator: &Evaluator,
        diagnostics: &mut Diagnostics,
    ) {
        match (option, read(&option.ty(), option.limits(), written, evaluator, diagnostics)) {
            (OptionName::Sensitive, Some(Scalar::Bool(value))) => self.sensitive = value,
            (OptionName::MayFail, Some(Scalar::Bool(value))) => self.may_fail = value,
            (OptionName::Retries, Some(Scalar::Int(value))) => {
                self.retries = Some((value.try_into().unwrap_or(0), at));
            }
            (OptionName::Timeout, Some(Scalar::Int(value))) => {
                self.timeout = Some((value.try_into().unwrap_or(0), at))
            }
            (OptionName::Drift, Some(Scalar::Text(mode))) => self.drift = drift_mode(&mode),
            _ => {}
        }
    }

    /// Adds the options that a module passes on to a resource in it.
    pub(crate) fn inherit(&mut self, module: &Self) {
        self.after.extend(module.after.iter().cloned());
        self.notify.extend(module.notify.iter().cloned());
        self.tags.extend(module.tags.iter().cloned());
        self.drift = self.drift.or(module.drift);
        self.sensitive |= module.sensitive;
    }

    /// Sets the module instance in which its addresses are looked up first.
    pub(crate) fn within(&mut self, module: Option<&Arc<str>>) {
        for named in self.after.iter_mut().chain(&mut self.notify) {
            named.within = module.cloned();
        }
    }
}

/// Splits a notification into the address and the way to notify (`:reload`).
pub(crate) fn how(text: &str) -> (&str, NotifyHow) {
    match text.strip_suffix(":reload") {
        Some(address) => (address, NotifyHow::Reload),
        None => (text, NotifyHow::AsTargetSays),
    }
}

/// Returns texts that name something. Unknown texts are left out.
fn names(values: &[Written], evaluator: &Evaluator, what: &str, diagnostics: &mut Diagnostics) -> Vec<Named> {
    let mut names = Vec::new();
    for written in values {
        match texts(written, evaluator, what) {
            Ok(texts) => {
                names.extend(texts.into_iter().map(|text| Named { text, at: written.at, within: None }))
            }
            Err(report) => diagnostics.push(report),
        }
    }
    names
}

fn texts(written: &Written, evaluator: &Evaluator, what: &str) -> Result<Vec<Arc<str>>, Diagnostic> {
    let value = evaluator.value(written)?;
    if value.marks.tainted {
        return Err(secret_here(written.at, what));
    }
    let no_text = || no_name(what, written.at);
    let several_lines = || {
        Diagnostic::error(Code::Type, format!("{what} must be one line"))
            .label(written.at, "holds a line break")
    };
    let text = |value: &minijinja::Value| match value.as_str() {
        Some(text) if text.contains(['\n', '\r', '\0']) => Err(several_lines()),
        Some(text) => Ok(Arc::from(text)),
        None => Err(no_text()),
    };
    match template::raw(&value.value) {
        _ if value.marks.unknown => Ok(Vec::new()),
        Raw::Null => Ok(Vec::new()),
        Raw::List(list) => list.items().iter().map(|(item, _)| text(item)).collect(),
        Raw::Scalar(scalar) => Ok(vec![text(scalar)?]),
        _ => Err(no_text()),
    }
}

/// Returns one typed value. None if it is null, unknown or wrong.
pub(crate) fn read(
    ty: &Type,
    limits: Limits<'_>,
    written: &Written,
    evaluator: &Evaluator,
    diagnostics: &mut Diagnostics,
) -> Option<Scalar> {
    let plain = types::Input::of(written)
        .filter(|_| written.origin == crate::syntax::parse::Origin::Plain)
        .filter(|input| !matches!(input, types::Input::Text(text) if template::is_template(text)));
    let input = match plain {
        Some(input) => input,
        None => match evaluator.value(written) {
            Ok(value) if value.marks.unknown => return None,
            Ok(value) if value.marks.tainted => {
                diagnostics.push(secret_here(written.at, "an option"));
                return None;
            }
            Ok(value) => types::input_of(&value.value)?,
            Err(report) => {
                diagnostics.push(report);
                return None;
            }
        },
    };
    match types::read(ty, &input, limits) {
        Ok(scalar) => Some(scalar),
        Err(error) => {
            diagnostics.push(error.at(written.at));
            None
        }
    }
}
