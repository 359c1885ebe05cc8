//! How values become text, and the filters that minijinja lacks or is too kind in.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, Output, State, Value};

use super::error::Failure;
use super::facts::is_unknown;

/// Sets formatter and filters of `environment`.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_formatter(format);
    environment.remove_global("debug");
    // It prints what was not read.
    environment.remove_filter("pprint");
    environment
        .add_filter("quote", |value: &Value| text(value).map(|text| shell_words::quote(&text).into_owned()));
    environment.add_filter("string", |value: &Value| text(value));
    environment.add_filter("join", join);
    environment.add_filter(TOJSON, minijinja::filters::tojson);
    environment.add_filter("tojson", to_json);
}

/// The name under which minijinja's own `tojson` is kept; no template can write it.
const TOJSON: &str = "\u{1}tojson";

fn format(out: &mut Output, _state: &mut State, value: &Value) -> Result<(), Error> {
    match value.as_str() {
        Some(plain) => out.write_str(plain)?,
        None => out.write_str(&text(value)?)?,
    }
    Ok(())
}

/// `value` as text: `true`, `4`. Null, lists and maps have none.
fn text(value: &Value) -> Result<String, Error> {
    let refuse = |what: &str, help: &str| Err(Failure::error(format!("{what} does not become text"), help));
    match value.kind() {
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number | ValueKind::String => Ok(value.to_string()),
        ValueKind::Undefined => Err(Failure::Undefined.into()),
        ValueKind::None => refuse("null", "`default(\"\", true)` stands in for it; `tojson` writes `null`"),
        _ if is_unknown(value) => Ok(value.to_string()),
        ValueKind::Map => refuse("a map", "name one of its keys, or use `tojson`, or `join` its values"),
        ValueKind::Seq | ValueKind::Iterable => refuse("a list", "use `join(\", \")`, or `tojson`"),
        _ => refuse("this", "use `tojson`"),
    }
}

fn join(
    value: &Value,
    joiner: Option<String>,
    attribute: Option<String>,
    named: Kwargs,
) -> Result<String, Error> {
    let joiner = joiner.or(named.get::<Option<String>>("d")?).unwrap_or_default();
    let attribute = attribute.or(named.get::<Option<String>>("attribute")?);
    named.assert_all_used()?;
    if value.kind() == ValueKind::String && !is_unknown(value) {
        return Err(Failure::error("a text has no items to join", "make it a list: `[\"a\", \"b\"]`"));
    }
    let mut joined = String::new();
    for (place, item) in value.try_iter()?.enumerate() {
        let separator = if place > 0 { joiner.as_str() } else { "" };
        let item = attribute
            .iter()
            .flat_map(|path| path.split('.'))
            .try_fold(item, |item, key| item.get_attr(key))?;
        let _ = write!(joined, "{separator}{}", text(&item)?);
    }
    Ok(joined)
}

/// JSON as it stands in a file: minijinja writes `<`, `>`, `&` and `'` for HTML.
fn to_json(state: &mut State, value: &Value, rest: Rest<Value>) -> Result<String, Error> {
    if super::has_undefined(value, 0) {
        return Err(Failure::Undefined.into());
    }
    let arguments: Vec<Value> = std::iter::once(value.clone()).chain(rest.0).collect();
    let json = state.apply_filter(TOJSON, &arguments)?;
    Ok(for_files(json.as_str().unwrap_or_default()))
}

fn for_files(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    let mut rest = json;
    while let Some(at) = rest.find('\\') {
        let (before, escape) = rest.split_at(at);
        out.push_str(before);
        let known = [("\\u003c", '<'), ("\\u003e", '>'), ("\\u0026", '&'), ("\\u0027", '\'')];
        rest = match known.iter().find(|(written, _)| escape.starts_with(written)) {
            Some((written, plain)) => {
                out.push(*plain);
                &escape[written.len()..]
            }
            // The backslash and what it escapes, so that a pair of them is passed as one.
            None => {
                let (kept, after) =
                    escape.split_at(escape.char_indices().nth(2).map_or(escape.len(), |(i, _)| i));
                out.push_str(kept);
                after
            }
        };
    }
    out.push_str(rest);
    out
}
