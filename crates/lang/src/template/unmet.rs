//! Finds names in a template that do not exist, although rendering did not reach them.
//!
//! A template with unknown facts takes one branch, or stops. This module looks up the names in the other branch, if the
//! conditions on the way are true or unknown.

use std::cell::RefCell;
use std::collections::{BTreeSet, HashSet};
use std::sync::Arc;

use minijinja::Value;
use minijinja::machinery::ast::Expr;
use minijinja::value::{Object, ValueKind};

use super::context::Context;
use super::error::{ScopeError, TemplateError};
use super::form::{Form, Source};
use super::names::{self, Condition, Named};
use super::parts::Parts;
use super::recording;
use super::scope::Scope;
use crate::source::diagnostic::Code;

/// The deepest nesting of includes that is followed.
const INCLUDES: usize = 8;

/// Checks that each filter, test, function and method in `source` exists.
pub(super) fn vocabulary(source: &str, form: Form) -> Result<(), TemplateError> {
    let Some(parsed) = names::parse(source, form) else { return Ok(()) };
    match parsed.names(HashSet::new()).unknown.into_iter().next() {
        Some(error) => Err(error),
        None => Ok(()),
    }
}

/// Checks that each value that `source` may reach exists.
pub(super) fn check(source: &Source<'_>, scope: &Arc<dyn Scope>) -> Result<(), TemplateError> {
    let parts = Parts { environment: source.environment, context: Context::new(scope), scope };
    let search = Search { parts, scope, included: RefCell::default() };
    search.template(source.text, source.form, HashSet::new(), 0)
}

struct Search<'a> {
    parts: Parts<'a>,
    scope: &'a Arc<dyn Scope>,
    /// The files that were checked, each with the names that it got from the including files. Each combination is
    /// checked once.
    included: RefCell<HashSet<(String, BTreeSet<String>)>>,
}

/// The known result of the conditions on the way to a name.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// The template reaches the name, or may reach it: it depends on facts.
    Taken,
    /// The template does not reach the name on this host.
    Closed,
    /// Only rendering can decide.
    Open,
}

impl Search<'_> {
    fn template(
        &self,
        text: &str,
        form: Form,
        own: HashSet<String>,
        depth: usize,
    ) -> Result<(), TemplateError> {
        let Some(parsed) = names::parse(text, form) else { return Ok(()) };
        let names = parsed.names(own);
        for value in &names.values {
            if !names.is_optional(value) {
                self.value(value, text)?;
            }
        }
        for include in names.includes {
            if depth < INCLUDES && self.way(&include.path, text) == Way::Taken {
                self.include(&include.name, include.own, depth)?;
            }
        }
        Ok(())
    }

    fn include(&self, name: &str, own: HashSet<String>, depth: usize) -> Result<(), TemplateError> {
        let seen = (name.to_owned(), own.iter().cloned().collect());
        if !self.included.borrow_mut().insert(seen) {
            return Ok(());
        }
        let Ok(template) = self.parts.environment.get_template(name) else { return Ok(()) };
        let text = template.source();
        self.template(text, Form::File, own, depth + 1).map_err(|error| {
            let start = error.range.as_ref().map_or(0, |range| range.start);
            let line = text.get(..start).map_or(1, |before| before.matches('\n').count() + 1);
            let included = error.included.clone().or_else(|| Some((name.to_owned(), line)));
            TemplateError { included, ..error }
        })
    }

    fn value(&self, value: &Named<'_>, text: &str) -> Result<(), TemplateError> {
        match (self.way(&value.path, text), value.lookup) {
            (Way::Closed, _) => Ok(()),
            (Way::Taken, Some(lookup)) => {
                let spelt = text.get(value.range.clone()).unwrap_or(value.root);
                self.evaluate(lookup, spelt, text)
                    .map(drop)
                    .map_err(|error| TemplateError { range: Some(value.range.clone()), ..error })
            }
            // It is unknown whether the template reaches the name. So only a name that no host has is an error.
            _ if self.scope.has(value.root) => Ok(()),
            _ => Err(self.missing(value, text)),
        }
    }

    fn missing(&self, value: &Named<'_>, text: &str) -> TemplateError {
        let (_, record) = recording::record(|| self.parts.context.get_value_by_str(value.root));
        let found = self.parts.rendering(text, &record).undefined(value.root);
        let start = value.range.start;
        TemplateError { range: Some(start..start + value.root.len()), ..found.unwrap_or_default() }
    }

    fn way(&self, path: &[Condition<'_>], text: &str) -> Way {
        path.iter().map(|condition| self.holds(condition, text)).fold(Way::Taken, |way, next| {
            match (way, next) {
                (Way::Closed, _) | (_, Way::Closed) => Way::Closed,
                (Way::Open, _) | (_, Way::Open) => Way::Open,
                _ => Way::Taken,
            }
        })
    }

    fn holds(&self, condition: &Condition<'_>, text: &str) -> Way {
        let (expression, wanted) = match condition {
            Condition::Open => return Way::Open,
            Condition::Is(expression, wanted) | Condition::Walks(expression, wanted) => {
                (*expression, *wanted)
            }
        };
        // A wrong condition was already reported, or does not concern this host.
        let Ok(found) = self.evaluate(expression, "", text) else { return Way::Closed };
        let Some(value) = found else { return Way::Taken };
        let holds = match condition {
            Condition::Walks(..) => value.try_iter().is_ok_and(|mut items| items.next().is_some()),
            _ => value.is_true(),
        };
        if holds == wanted { Way::Taken } else { Way::Closed }
    }

    /// Returns the value of an expression in the template. None if it depends on unknown facts.
    fn evaluate(
        &self,
        expression: &Expr<'_>,
        spelt: &str,
        text: &str,
    ) -> Result<Option<Value>, TemplateError> {
        let (result, record) = recording::record(|| self.parts.run(expression, text));
        let rendering = self.parts.rendering(text, &record);
        let error = match result {
            Ok(value) if value.kind() == ValueKind::Undefined => rendering.undefined(spelt),
            Ok(value) => return Ok(Some(value).filter(|_| !record.marks.unknown)),
            Err(error) => rendering.explain(&error),
        };
        match error {
            // Two variables may use each other under opposite conditions.
            Some(error) if error.cause.as_ref().is_some_and(is_cycle) => Ok(None),
            Some(error) => Err(error),
            None => Ok(None),
        }
    }
}

fn is_cycle(cause: &ScopeError) -> bool {
    cause.0.code == Code::Cycle
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::tests::{engine, scope_with};
    use super::super::{Scope, unknown_facts};

    fn scope() -> Arc<dyn Scope> {
        scope_with(unknown_facts())
    }

    /// Returns the error in a template and its text. Included files are those of the test engine.
    fn found(template: &str) -> Option<(String, String)> {
        let error = engine().file("x", template, &scope()).err()?;
        let part = error.range.and_then(|range| template.get(range)).unwrap_or_default();
        Some((error.message, part.to_owned()))
    }

    fn is_missed(template: &str, part: &str) {
        assert_eq!(found(template).map(|(_, part)| part), Some(part.to_owned()), "{template}");
    }

    fn is_fine(template: &str) {
        assert_eq!(found(template), None, "{template}");
    }

    #[test]
    fn names_are_missed_in_both_branches() {
        is_missed("{% if facts.os.family == 'debian' %}{{ nowhere }}{% endif %}", "nowhere");
        is_missed("{% if facts.os.family == 'x' %}{% else %}{{ nowhere }}{% endif %}", "nowhere");
        is_missed("{% if facts.hostname %}{% elif facts.arch == 'x' %}{{ nowhere }}{% endif %}", "nowhere");
        is_missed("{{ 1 if facts.hostname == 'x' else nowhere }}", "nowhere");
        is_missed("{{ facts.hostname == 'x' and nowhere }}", "nowhere");
        is_missed("{{ facts.hostname | int }}{{ nowhere }}", "nowhere");
        is_missed("{% for x in facts.disks %}{% endfor %}{{ x }}", "x");
        is_missed("{% if facts.hostname == 'x' %}{{ app.wrokers }}{% endif %}", "app.wrokers");
        is_missed("{% if facts.hostname == 'x' %}{{ app['wrokers'] }}{% endif %}", "app['wrokers']");
        is_missed("{% if facts.hostname == 'x' %}{{ facts.os.nothing }}{% endif %}", "facts.os.nothing");
        is_missed("{% macro m(x) %}{{ x }}{{ nowhere }}{% endmacro %}{{ facts.hostname }}", "nowhere");
        is_missed(
            "{% for u in users %}{% if u.name == facts.hostname %}{{ nowhere }}{% endif %}{% endfor %}",
            "nowhere",
        );
        let included = engine()
            .file("x", "{% if facts.hostname == 'x' %}{% include 'bad.j2' %}{% endif %}", &scope())
            .unwrap_err();
        assert_eq!(included.message, "`wrokers` is undefined");
        assert_eq!(included.included, Some(("bad.j2".to_owned(), 2)));
        let error = engine().expression("facts.os.family == 'debian' and nowhere", &scope()).unwrap_err();
        assert_eq!(error.message, "`nowhere` is undefined");
    }

    #[test]
    fn names_that_the_template_does_not_get_to_are_not_missed() {
        is_fine("{{ facts.hostname }}{% if n == 4 %}{{ nowhere }}{% endif %}");
        is_fine("{{ facts.hostname }}{{ nowhere if n == 4 else 1 }}");
        is_fine("{{ facts.hostname }}{% if not yes %}{{ nowhere }}{% endif %}");
        is_fine("{{ facts.hostname }}{% for x in empty %}{{ nowhere }}{% endfor %}");
        is_fine("{% if facts.hostname == 'x' and n == 4 %}{{ nowhere }}{% endif %}");
        is_fine("{% if facts.hostname and 'x' in app %}{{ app.x }}{% endif %}");
        is_fine("{% if not (facts.hostname == 'x' or yes) %}{{ nowhere }}{% endif %}");
    }

    #[test]
    fn names_that_may_be_missing_are_not_missed() {
        is_fine("{% if facts.hostname and nowhere is defined %}{{ nowhere.x }}{% endif %}");
        is_fine("{% if facts.hostname == 'x' %}{{ nowhere | default('y') }}{% endif %}");
        is_fine("{% if facts.hostname == 'x' %}{{ app.nothing | d('y') }}{% endif %}");
    }

    #[test]
    fn names_of_the_template_itself_are_not_missed() {
        is_fine("{% set x = facts.hostname %}{% if x == 'y' %}{{ x }}{% endif %}");
        is_fine("{% for d in facts.disks %}{{ loop.index }}{{ d.name }}{% endfor %}");
        is_fine("{% macro m(a, b=n) %}{{ a }}{{ b }}{% endmacro %}{{ m(facts.hostname) }}");
        is_fine(
            "{% macro m() %}{{ x }}{{ n() }}{% endmacro %}{% if yes %}{% set x = 1 %}{% endif %}{% macro n() %}{% endmacro %}{{ facts.hostname }}{{ m() }}",
        );
        is_missed(
            "{% macro m() %}{{ y }}{% endmacro %}{% for y in users %}{% endfor %}{{ facts.hostname }}{{ m() }}",
            "y",
        );
        is_fine("{% with x = facts.hostname %}{{ x }}{% endwith %}");
        is_fine(
            "{% set ns = namespace(x=1) %}{% if facts.hostname %}{% set ns.x = 2 %}{% endif %}{{ ns.x }}",
        );
        is_fine(
            "{% if facts.hostname == 'x' %}{{ range(3) | list | tojson }}{{ by_os[facts.os.family] }}{% endif %}",
        );
        is_fine(
            "{% call(x) m(facts.hostname) %}{{ x }}{% endcall %}{% macro m(y) %}{{ caller(y) }}{% endmacro %}",
        );
        is_fine(
            "{% set name %}{{ facts.hostname }}{% endset %}{% if name == 'x' %}{% include 'part.j2' %}{% endif %}",
        );
    }

    #[test]
    fn filters_tests_and_functions_are_found_without_a_host() {
        let check = |text: &str, message: &str, part: &str, help: &str| {
            let error = engine().check(None, text).expect_err(text);
            assert_eq!((error.message.as_str(), &text[error.range.unwrap()]), (message, part), "{text}");
            let found = error.help.unwrap_or_default();
            assert!(found.contains(help), "{text}: {found}");
        };
        check("a {{ facts.x | uper }}", "there is no filter `uper`", "uper", "did you mean `upper`?");
        check("{{ 1 | to_nice_yaml }}", "there is no filter `to_nice_yaml`", "to_nice_yaml", "tojson");
        check("{% if x is version('1') %}{% endif %}", "there is no test `version`", "version", "int");
        check("{{ x | map('nothing') | list }}", "there is no filter `nothing`", "nothing", "");
        check("{{ x | selectattr('a', 'ood') | list }}", "there is no test `ood`", "ood", "odd");
        check("{% filter nothing %}x{% endfilter %}", "there is no filter `nothing`", "nothing", "");
        check("{{ lookup('env', 'X') }}", "there is no function `lookup`", "lookup", "(env)");
        check(
            "{{ facts.hostname.startswith('x') }}",
            "there is no method `startswith`",
            "startswith",
            "startingwith",
        );
        assert!(engine().check_expression("facts.os.version is version('11', '>=')").is_err());
        for fine in [
            "{{ x | map(attribute='a') | select('odd') | list }}{{ 'x' is filter('nothing') }}",
            "{% import 'x' as x %}{{ x.y() }}{% for a in b %}{{ loop.cycle(1, 2) }}{% endfor %}",
            "{% macro m() %}{{ caller() }}{% endmacro %}{{ m() }}{{ range(3) | e }}",
        ] {
            assert_eq!(engine().check(None, fine), Ok(()), "{fine}");
        }
    }
}
