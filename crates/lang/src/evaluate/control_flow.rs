//! `for` and `when`: which turns a loop takes, and whether a condition holds.

use std::sync::Arc;

use minijinja::Value;

use crate::evaluate::evaluator::{Evaluator, Inner};
use crate::evaluate::problems::secret_here;
use crate::evaluate::session::ALL_TURNS;
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::template_error::braces_in_expression;
use crate::syntax::value_tree::is_taken;
use crate::template::{self, Evaluated, Found, List, Map, Marks, Raw, ScopeError, unknown};

/// The most turns of one loop.
const TURNS: usize = 10_000;

/// Whether something is there.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Condition {
    True,
    /// It is not, or nobody can tell, because the condition is a mistake.
    #[default]
    False,
    /// It depends on facts that are not there yet.
    Unknown,
}

/// One iteration of a loop.
pub(crate) struct Iteration {
    pub(crate) evaluator: Evaluator,
    /// Whether it is not known that there is such an iteration.
    pub(crate) maybe: bool,
}

/// The `when` of a node, as a property or as a child without braces.
pub(crate) fn when_of(node: &Node) -> Option<&Written> {
    let child = || node.body().iter().find(|child| &*child.name == "when" && child.children.is_none());
    match node.prop("when") {
        Some(property) => Some(&property.value),
        None => child()?.args.first(),
    }
}

/// Whether the condition of the node at `at` holds.
pub(crate) fn condition(
    written: Option<&Written>,
    at: Span,
    evaluator: &Evaluator,
) -> Result<Condition, Diagnostic> {
    match written {
        Some(written) => decide(written, evaluator),
        None => Err(Diagnostic::error(Code::Form, "`when` wants a condition").label(at, "without one")),
    }
}

fn decide(written: &Written, evaluator: &Evaluator) -> Result<Condition, Diagnostic> {
    let value = match (&written.literal, written.origin) {
        (Literal::Broken, _) => return Ok(Condition::Unknown),
        (Literal::Bool(value), _) => return Ok(if *value { Condition::True } else { Condition::False }),
        (Literal::Text(text), Origin::Plain | Origin::Expr) => {
            is_expression(text, written, "when")?;
            evaluator.expression(text, written)?
        }
        _ => return Err(no_boolean("no condition", written.at)),
    };
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

/// `when` and `in` are expressions as they stand.
fn is_expression(text: &str, written: &Written, key: &str) -> Result<(), Diagnostic> {
    if !template::is_template(text) {
        return Ok(());
    }
    Err(braces_in_expression(written, key))
}

fn no_boolean(what: &str, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Type, format!("a condition is true or false, this is {what}"))
        .label(at, "no boolean")
        .help("compare it: `x == 'y'`, `x | length > 0`, `x is not none`")
}

/// The turns of a `for`.
pub(crate) fn iterations(node: &Node, evaluator: &Evaluator) -> Result<Vec<Iteration>, Diagnostic> {
    let names = names(node)?;
    if evaluator.session.has_turned_too_much() {
        return Ok(Vec::new());
    }
    let Some(written) = node.prop("in").map(|property| &property.value) else {
        return Err(form(node, "`for` wants a list: `for \"x\" in=\"colours\"`"));
    };
    if let Some(other) = node.props.iter().find(|property| &*property.key != "in") {
        return Err(Diagnostic::error(Code::Unknown, format!("`for` has no property `{}`", other.key))
            .label(other.value.at, "unknown"));
    }
    let value = match (&written.literal, written.origin) {
        (Literal::Text(text), Origin::Plain | Origin::Expr) => {
            is_expression(text, written, "in")?;
            evaluator.expression(text, written)?
        }
        _ => return Err(form(node, "`in` wants an expression")),
    };
    if value.marks.tainted {
        return Err(secret_here(written.at, "a loop"));
    }
    if value.marks.unknown {
        let values = names.iter().map(|_| found(unknown(), Marks::UNKNOWN)).collect();
        return Ok(vec![iteration(&names, values, None, evaluator)]);
    }
    let items = items(&value, &names, written)?;
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
        .help("loops inside each other multiply: walk a list that holds only what is meant"));
    }
    let count = items.len();
    Ok(items
        .into_iter()
        .enumerate()
        .map(|(index, values)| iteration(&names, values, Some((index, count)), evaluator))
        .collect())
}

fn names(node: &Node) -> Result<Vec<Arc<str>>, Diagnostic> {
    let mut names = Vec::new();
    for arg in &node.args {
        match arg.plain_text() {
            Some(name) if is_taken(name) => {
                return Err(Diagnostic::error(Code::Reserved, format!("`{name}` is not free for a loop"))
                    .label(arg.at, "means something else in expressions"));
            }
            Some(name) => names.push(template::fold(name).into()),
            None => return Err(form(node, "the names of a loop are plain texts")),
        }
    }
    match names.len() {
        1 | 2 => Ok(names),
        _ => Err(form(node, "`for` wants one name, or two to walk a map")),
    }
}

fn form(node: &Node, message: &str) -> Diagnostic {
    Diagnostic::error(Code::Form, message)
        .label(node.at, "here")
        .help("write `for \"x\" in=\"colours\" { … }` or `for \"key\" \"value\" in=\"limits\" { … }`")
}

fn found(value: Value, marks: Marks) -> Found {
    Found { value, marks }
}

/// The values of each iteration: one a name.
fn items(value: &Evaluated, names: &[Arc<str>], written: &Written) -> Result<Vec<Vec<Found>>, Diagnostic> {
    let Evaluated { value, marks } = value;
    let wrong = |what: &str, help: &str| {
        Err(Diagnostic::error(Code::Type, format!("a loop cannot walk {what}"))
            .label(written.at, what)
            .help(help.to_owned()))
    };
    match (template::raw(value), names.len()) {
        (Raw::List(list), 1) => Ok(of_list(list, marks)),
        (Raw::Map(map), 2) => of_map(map, marks).map_err(|ScopeError(report)| *report),
        (Raw::Map(_), _) => wrong("a map with one name", "write two names: `for \"key\" \"value\" in=\"…\"`"),
        (Raw::List(_), _) => wrong("a list with two names", "write one name"),
        (Raw::Null, _) => wrong("null", "a list that may be missing: `in=\"x | default([])\"`"),
        (Raw::Scalar(_), _) => wrong("a scalar", "a list of one is written `x { - \"a\" }`"),
        // Hosts, groups, ranges: lists that make their items when they are asked.
        (Raw::Other(other), 1) => match other.try_iter() {
            Ok(items) => Ok(items.map(|item| vec![found(item, marks.clone())]).take(TURNS + 1).collect()),
            Err(_) => wrong("this", "a list is wanted"),
        },
        (Raw::Other(_), _) => wrong("this with two names", "write one name"),
    }
}

/// The items, each with what was read to get at the list.
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

/// What `loop` is: as in templates.
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
