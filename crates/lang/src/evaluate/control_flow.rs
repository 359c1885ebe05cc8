//! Walks loops and conditions: the iterations of a loop, and the value of a condition.

use std::sync::Arc;

use minijinja::Value;

use crate::evaluate::evaluator::{Evaluator, Inner};
use crate::evaluate::problems::secret_here;
use crate::evaluate::session::ALL_TURNS;
use crate::resolve::mistakes::no_boolean;
use crate::resolve::statement::{Expression, Loop, Statement, Test};
use crate::source::diagnostic::{Code, Diagnostic};
use crate::syntax::parse::Written;
use crate::template::{self, Evaluated, Found, List, Map, Marks, Raw, ScopeError, unknown};

/// The most iterations of one loop.
const TURNS: usize = 10_000;

/// The value of a condition.
enum Condition {
    True,
    False,
    /// It depends on facts that are not known yet.
    Unknown,
}

/// One iteration of a loop.
struct Iteration {
    evaluator: Evaluator,
    /// Whether it is unknown if this iteration exists.
    maybe: bool,
}

/// Receives the statements that remain after loops and conditions are evaluated.
pub(crate) trait Visitor<'a, T> {
    /// Receives one item. `maybe` if its existence depends on facts that are not known yet.
    fn one(&mut self, item: &'a T, evaluator: &Evaluator, maybe: bool);

    /// Receives the statements that a false condition leaves out.
    fn left_out(&mut self, _statements: &'a [Statement<T>], _evaluator: &Evaluator) {}

    /// Receives a mistake.
    fn tell(&mut self, report: Diagnostic);

    /// Whether it accepts no more items.
    fn is_full(&self) -> bool {
        false
    }
}

/// Walks statements: all iterations of loops, and all bodies whose condition is true or unknown.
pub(crate) fn walk<'a, T>(
    statements: &'a [Statement<T>],
    evaluator: &Evaluator,
    maybe: bool,
    visitor: &mut impl Visitor<'a, T>,
) {
    for statement in statements {
        if visitor.is_full() {
            return;
        }
        match statement {
            Statement::One(item) => visitor.one(item, evaluator, maybe),
            Statement::For(walked, body) => match iterations(walked, evaluator) {
                Ok(iterations) => {
                    for iteration in iterations {
                        walk(body, &iteration.evaluator, maybe || iteration.maybe, visitor);
                    }
                }
                Err(report) => visitor.tell(report),
            },
            Statement::When(test, body) => match condition(test, evaluator) {
                Ok(Condition::True) => walk(body, evaluator, maybe, visitor),
                Ok(Condition::Unknown) => walk(body, evaluator, true, visitor),
                Ok(Condition::False) => visitor.left_out(body, evaluator),
                Err(report) => {
                    visitor.tell(report);
                    visitor.left_out(body, evaluator);
                }
            },
        }
    }
}

/// Walks statements as if all conditions were true. Does not report mistakes.
pub(crate) fn walk_all<T>(
    statements: &[Statement<T>],
    evaluator: &Evaluator,
    with: &mut impl FnMut(&T, &Evaluator),
) {
    for statement in statements {
        match statement {
            Statement::One(item) => with(item, evaluator),
            Statement::When(_, body) => walk_all(body, evaluator, with),
            Statement::For(walked, body) => {
                for iteration in iterations(walked, evaluator).unwrap_or_default() {
                    walk_all(body, &iteration.evaluator, with);
                }
            }
        }
    }
}

fn condition(test: &Test, evaluator: &Evaluator) -> Result<Condition, Diagnostic> {
    let Expression { text, written } = match test {
        Test::Known(true) => return Ok(Condition::True),
        Test::Known(false) => return Ok(Condition::False),
        Test::Broken => return Ok(Condition::Unknown),
        Test::Expression(expression) => expression,
    };
    let value = evaluator.expression(text, written)?;
    if value.marks.tainted {
        return Err(secret_here(written.at, "a condition"));
    }
    if value.marks.unknown {
        return Ok(Condition::Unknown);
    }
    match bool::try_from(value.value.clone()) {
        Ok(true) => Ok(Condition::True),
        Ok(false) => Ok(Condition::False),
        Err(_) => Err(no_boolean(&format!("a {}", value.value.kind()), written.at)),
    }
}

/// Returns the iterations of a loop.
fn iterations(walked: &Loop, evaluator: &Evaluator) -> Result<Vec<Iteration>, Diagnostic> {
    if evaluator.session.has_turned_too_much() {
        return Ok(Vec::new());
    }
    let Loop { names, list: Expression { text, written } } = walked;
    let value = evaluator.expression(text, written)?;
    if value.marks.tainted {
        return Err(secret_here(written.at, "a loop"));
    }
    if value.marks.unknown {
        let values = names.iter().map(|_| found(unknown(), Marks::UNKNOWN)).collect();
        return Ok(vec![iteration(names, values, None, evaluator)]);
    }
    let items = items(&value, names, written)?;
    if items.len() > TURNS {
        return Err(Diagnostic::error(Code::Limit, format!("a loop of more than {TURNS} turns"))
            .label(written.at, format!("{} items", items.len())));
    }
    if !evaluator.session.may_turn(items.len()) {
        return Err(Diagnostic::error(
            Code::Limit,
            format!("the loops of one host take more than {ALL_TURNS} turns"),
        )
        .label(written.at, "with this one")
        .help("the turns of nested loops multiply: loop over a shorter list"));
    }
    let count = items.len();
    Ok(items
        .into_iter()
        .enumerate()
        .map(|(index, values)| iteration(names, values, Some((index, count)), evaluator))
        .collect())
}

fn found(value: Value, marks: Marks) -> Found {
    Found { value, marks }
}

/// Returns help for a text that should be a list: how to write the list.
fn list_of(value: &Value, written: &Written) -> String {
    let name = written.plain_text().map_or("x", |name| name.trim());
    let text = value.as_str().filter(|text| text.contains(','));
    let is_name = name.chars().all(|c| c.is_alphanumeric() || c == '_');
    match text.filter(|_| is_name) {
        Some(text) => {
            let items: Vec<_> = text.split(',').map(|item| format!("{:?}", item.trim())).collect();
            format!("a comma does not separate values: write `{name} {}`", items.join(" "))
        }
        None => "write a list of one item as `x { - \"a\" }`".to_owned(),
    }
}

/// Returns the values of each iteration, one for each name.
fn items(value: &Evaluated, names: &[Arc<str>], written: &Written) -> Result<Vec<Vec<Found>>, Diagnostic> {
    let Evaluated { value, marks } = value;
    let wrong = |what: &str, help: &str| {
        Err(Diagnostic::error(Code::Type, format!("a loop cannot use {what}"))
            .label(written.at, what)
            .help(help.to_owned()))
    };
    match (template::raw(value), names.len()) {
        (Raw::List(list), 1) => Ok(of_list(list, marks)),
        (Raw::Map(map), 2) => of_map(map, marks).map_err(|ScopeError(report)| *report),
        (Raw::Map(_), _) => wrong("a map with one name", "write two names: `for \"key\" \"value\" in=\"…\"`"),
        (Raw::List(_), _) => wrong("a list with two names", "write one name"),
        (Raw::Null, _) => wrong("null", "if the list may be missing, write `in=\"x | default([])\"`"),
        (Raw::Scalar(_), _) => wrong("a single value", &list_of(value, written)),
        // Hosts, groups and ranges create their items on demand.
        (Raw::Other(other), 1) => match other.try_iter() {
            Ok(items) => Ok(items.map(|item| vec![found(item, marks.clone())]).take(TURNS + 1).collect()),
            Err(_) => wrong("this", "expected a list"),
        },
        (Raw::Other(_), _) => wrong("this with two names", "write one name"),
    }
}

/// Returns the items, each with the marks of the list itself.
fn of_list(list: &List, read: &Marks) -> Vec<Vec<Found>> {
    let item = |(value, marks): &(Value, Marks)| vec![found(value.clone(), marks.clone() | read.clone())];
    list.items().iter().map(item).collect()
}

fn of_map(map: &Map, read: &Marks) -> Result<Vec<Vec<Found>>, ScopeError> {
    let pair = |(key, found): (&str, Found)| {
        vec![
            Found { value: Value::from(key), marks: read.clone() },
            Found { value: found.value, marks: found.marks | read.clone() },
        ]
    };
    Ok(map.entries()?.into_iter().map(pair).collect())
}

fn iteration(
    names: &[Arc<str>],
    values: Vec<Found>,
    index: Option<(usize, usize)>,
    evaluator: &Evaluator,
) -> Iteration {
    let mut own: Vec<(String, Found)> = names.iter().map(|name| name.to_string()).zip(values).collect();
    let about = match index {
        Some((index, count)) => found(about_loop(index, count), Marks::default()),
        None => found(unknown(), Marks::UNKNOWN),
    };
    own.push(("loop".to_owned(), about));
    let scope = Inner { names: own, outer: evaluator.scope.clone() };
    Iteration { evaluator: evaluator.with(Arc::new(scope)), maybe: index.is_none() }
}

/// Returns the value of `loop`, the same as in templates.
fn about_loop(index: usize, count: usize) -> Value {
    let number = |number: usize| Value::from(number as u64);
    let entries = [
        ("index", number(index + 1)),
        ("index0", number(index)),
        ("revindex", number(count - index)),
        ("revindex0", number(count - index - 1)),
        ("first", Value::from(index == 0)),
        ("last", Value::from(index + 1 == count)),
        ("length", number(count)),
    ];
    Map::exact(entries.into_iter().map(|(key, value)| (key.to_owned(), value, Marks::default())).collect())
}
