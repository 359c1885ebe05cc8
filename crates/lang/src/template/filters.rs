//! Conversion of values to text, and the filters that minijinja lacks or that are too lenient there.

use std::fmt::Write as _;

use minijinja::value::{Kwargs, Rest, ValueKind};
use minijinja::{Environment, Error, Output, State, Value};
use sha_crypt::{ROUNDS_DEFAULT, Sha512Params, sha512_crypt_b64};
use sha2::{Digest as _, Sha256};

use super::bounds::{DEPTH, FILE};
use super::error::Failure;
use super::recording::{filled, wrote};
use super::unknown::is_unknown;

/// Sets the formatter. Keeps minijinja's own filters that ours call.
pub(super) fn install(environment: &mut Environment<'static>) {
    environment.set_formatter(format);
    environment.add_filter(TOJSON, minijinja::filters::tojson);
    environment.add_filter(INDENT, minijinja::filters::indent);
    environment.add_filter(BATCH, minijinja::filters::batch);
    environment.add_filter(SLICE, minijinja::filters::slice);
    environment.add_filter(FORMAT, minijinja::filters::format);
}

/// Returns `value` as one word of a shell line.
pub(super) fn quote(value: &Value) -> Result<String, Error> {
    text(value).map(|text| shell_words::quote(&text).into_owned())
}

/// Returns `value` as text, by the rules of the formatter.
pub(super) fn string(value: &Value) -> Result<String, Error> {
    text(value)
}

/// The filter `indent` with a limit on the width.
pub(super) fn indent(state: &mut State, arguments: Rest<Value>) -> Result<Value, Error> {
    modest(state, INDENT, arguments)
}

/// The filter `batch` with a limit on the count.
pub(super) fn batch(state: &mut State, arguments: Rest<Value>) -> Result<Value, Error> {
    modest(state, BATCH, arguments)
}

/// The filter `slice` with a limit on the count.
pub(super) fn slice(state: &mut State, arguments: Rest<Value>) -> Result<Value, Error> {
    modest(state, SLICE, arguments)
}

/// The names of minijinja's own filters. A template cannot write them.
const TOJSON: &str = "\u{1}tojson";
const INDENT: &str = "\u{1}indent";
const BATCH: &str = "\u{1}batch";
const SLICE: &str = "\u{1}slice";
const FORMAT: &str = "\u{1}format";

/// The most bytes that one rendering may fill in. No resulting text can be larger.
const WRITTEN: usize = 4 * FILE;

/// The number of bytes that the hash of a password counts as: it takes milliseconds.
const HASHING: usize = 64 * 1024;

/// The longest password that can be hashed, in bytes.
const PASSWORD: usize = 1024;

/// The largest width or count that a filter takes.
const WIDTH: i64 = 10_000;

fn format(out: &mut Output, _state: &mut State, value: &Value) -> Result<(), Error> {
    let written;
    let text = match value.as_str() {
        Some(plain) => plain,
        None => {
            written = text(value)?;
            &written
        }
    };
    if filled(text) > WRITTEN {
        return Err(Failure::definite(
            format!("the values of the template are larger than {WRITTEN} bytes"),
            None,
        ));
    }
    Ok(out.write_str(text)?)
}

/// Returns `value` as text: `true`, `4`. Null, lists and maps have no text.
fn text(value: &Value) -> Result<String, Error> {
    let refuse = |what: &str, help: &str| Err(Failure::error(format!("{what} cannot become a string"), help));
    match value.kind() {
        ValueKind::Bool => Ok(value.is_true().to_string()),
        ValueKind::Number | ValueKind::String => Ok(value.to_string()),
        ValueKind::Undefined => Err(Failure::Undefined.into()),
        ValueKind::None => refuse("null", "use `default(\"\", true)` for null; `tojson` writes `null`"),
        _ if is_unknown(value) => Ok(value.to_string()),
        ValueKind::Map => refuse("a map", "name one of its keys, or use `tojson`, or `join` its values"),
        ValueKind::Seq | ValueKind::Iterable => refuse("a list", "use `join(\", \")`, or `tojson`"),
        _ => refuse("this", "use `tojson`"),
    }
}

pub(super) fn join(
    value: &Value,
    joiner: Option<String>,
    attribute: Option<String>,
    named: Kwargs,
) -> Result<String, Error> {
    let joiner = joiner.or(named.get::<Option<String>>("d")?).unwrap_or_default();
    let attribute = attribute.or(named.get::<Option<String>>("attribute")?);
    named.assert_all_used()?;
    if value.kind() == ValueKind::String && !is_unknown(value) {
        return Err(Failure::error("a string has no items to join", "make it a list: `[\"a\", \"b\"]`"));
    }
    let mut joined = String::new();
    for (index, item) in value.try_iter()?.enumerate() {
        let separator = if index > 0 { joiner.as_str() } else { "" };
        let item = attribute
            .iter()
            .flat_map(|path| path.split('.'))
            .try_fold(item, |item, key| item.get_attr(key))?;
        let _ = write!(joined, "{separator}{}", text(&item)?);
    }
    Ok(joined)
}

/// The filter `replace` with a limit on the length of its result.
pub(super) fn replace(value: &str, from: &str, to: &str) -> Result<String, Error> {
    let grown = value.matches(from).count().saturating_mul(to.len()).saturating_add(value.len());
    match grown > FILE {
        true => Err(Failure::definite(format!("the result is longer than {} bytes", FILE), None)),
        false => Ok(value.replace(from, to)),
    }
}

/// Calls minijinja's filter `name` with a limit on widths and counts.
fn modest(state: &mut State, name: &str, arguments: Rest<Value>) -> Result<Value, Error> {
    let numbers = arguments.0.iter().skip(1).flat_map(|argument| match argument.kind() {
        ValueKind::Map => argument.get_attr("width").into_iter().collect(),
        _ => vec![argument.clone()],
    });
    for number in numbers.filter(|value| value.kind() == ValueKind::Number) {
        if number.as_i64().is_none_or(|number| number > WIDTH) {
            return Err(too_wide(&name[1..]));
        }
    }
    state.apply_filter(name, &arguments.0)
}

/// The filter `format` with a limit on the widths in its text: `%5d`.
pub(super) fn printf(state: &mut State, arguments: Rest<Value>) -> Result<Value, Error> {
    let text = arguments.0.first().and_then(Value::as_str).unwrap_or_default();
    let widths = text.split(|c: char| !c.is_ascii_digit()).filter(|digits| digits.len() > 4);
    if text.contains('*') || widths.count() > 0 {
        return Err(too_wide("format"));
    }
    state.apply_filter(FORMAT, &arguments.0)
}

fn too_wide(filter: &str) -> Error {
    Failure::definite(format!("`{filter}` takes numbers up to {WIDTH}"), None)
}

/// Returns the password hash for a host: SHA-512 of crypt(3), `$6$SALT$HASH`. The salt is derived from the password and
/// from `whose` it is, so that every run gives the same hash.
pub(super) fn crypt(password: &Value, whose: Option<String>) -> Result<String, Error> {
    let password = text(password)?;
    if password.is_empty() {
        return Err(Failure::error("an empty password has no hash", "give it a value"));
    }
    if password.len() > PASSWORD || wrote(HASHING) > WRITTEN {
        let limits = format!(
            "a password has at most {PASSWORD} bytes, and a template at most {} passwords",
            WRITTEN / HASHING
        );
        return Err(Failure::definite(limits, None));
    }
    let seed = Sha256::digest(format!("{}\0{password}", whose.unwrap_or_default()));
    let salt: String = seed.iter().take(8).map(|byte| format!("{byte:02x}")).collect();
    let hash = Sha512Params::new(ROUNDS_DEFAULT)
        .and_then(|rounds| sha512_crypt_b64(password.as_bytes(), salt.as_bytes(), &rounds))
        .map_err(|error| Failure::error(format!("failed to hash a password: {error:?}"), "shorten it"))?;
    Ok(format!("$6${salt}${hash}"))
}

/// Returns JSON for files. minijinja escapes `<`, `>`, `&` and `'` for HTML; this restores them.
pub(super) fn to_json(state: &mut State, value: &Value, rest: Rest<Value>) -> Result<String, Error> {
    let mut budget = FILE;
    walk(value, 0, &mut budget)?;
    let arguments: Vec<Value> = std::iter::once(value.clone()).chain(rest.0).collect();
    let json = state.apply_filter(TOJSON, &arguments)?;
    Ok(for_files(json.as_str().unwrap_or_default()))
}

/// Refuses values that cannot become JSON: undefined values, and values that are nested too deep or without end. A
/// variable may be a host, whose variables contain that host again.
fn walk(value: &Value, depth: usize, budget: &mut usize) -> Result<(), Error> {
    let Some(left) = budget.checked_sub(1) else {
        return Err(Failure::definite("the result of `tojson` is too large for a file", None));
    };
    *budget = left;
    if depth > DEPTH {
        let help = "name one part of the value; the variables of a host may contain the host";
        let message = format!("the value for `tojson` is nested more than {} levels deep", DEPTH);
        return Err(Failure::definite(message, Some(help.to_owned())));
    }
    match value.kind() {
        ValueKind::Undefined => Err(Failure::Undefined.into()),
        ValueKind::Seq | ValueKind::Iterable => {
            value.try_iter()?.try_for_each(|item| walk(&item, depth + 1, budget))
        }
        ValueKind::Map => {
            value.try_iter()?.try_for_each(|key| walk(&value.get_item(&key)?, depth + 1, budget))
        }
        _ => Ok(()),
    }
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
            // Skip the backslash together with the character that it escapes, so that `\\` is one unit.
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
