//! Reads values strictly by the type of their parameter and converts them to the values of a catalog.
//!
//! The caller knows the origin of a value, and where to show its mistake.

mod error;
mod network;
mod units;

use error::{fail, printable};

pub(crate) use error::TypeError;

use converge_model::{Param, Scalar, Type};
use minijinja::Value;
use minijinja::value::ValueKind;
use regex_lite::Regex;

use crate::source::foreign_terms;
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::{Literal, Origin, Written};
use crate::template::is_template;

/// A value before conversion: a KDL scalar, the text of a template, the result of an expression.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Input {
    /// `#true` or `#false`.
    Bool(bool),
    /// A whole number. The text is its spelling, if it is from a file: `0o644`.
    Int(i128, Option<String>),
    /// A number with a fraction. The text is its spelling, if it is from a file: `1.10`.
    Float(f64, Option<String>),
    /// Text.
    Text(String),
}

impl Input {
    /// Returns the written value. None for null and for broken values.
    pub(crate) fn of(written: &Written) -> Option<Self> {
        match &written.literal {
            Literal::Text(text) => Some(Self::Text(text.to_string())),
            Literal::Int(number, repr) => Some(Self::Int((*number).into(), Some(repr.to_string()))),
            Literal::Float(number, repr) => Some(Self::Float(*number, Some(repr.to_string()))),
            Literal::Bool(value) => Some(Self::Bool(*value)),
            Literal::Null | Literal::Broken => None,
        }
    }

    /// Returns the written value, if it needs no evaluation.
    pub(crate) fn unevaluated(written: &Written) -> Option<Self> {
        match (&written.literal, written.origin) {
            (Literal::Text(text), Origin::Plain) if is_template(text) => None,
            (Literal::Text(_), Origin::Plain | Origin::Raw) => Self::of(written),
            (Literal::Text(_), _) => None,
            _ => Self::of(written),
        }
    }
}

/// The limits of a parameter beside its type.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Limits<'a> {
    /// The allowed values, if they are limited.
    pub(crate) one_of: &'a [String],
    /// The smallest allowed number.
    pub(crate) min: Option<i64>,
    /// The largest allowed number.
    pub(crate) max: Option<i64>,
    /// A regular expression that the whole text must match.
    pub(crate) pattern: Option<&'a str>,
}

impl<'a> Limits<'a> {
    /// Returns the limits of a parameter.
    pub(crate) fn of(param: &'a Param) -> Self {
        Self { one_of: &param.one_of, min: param.min, max: param.max, pattern: param.pattern.as_deref() }
    }
}

/// Returns the value for use in a module. Modes, durations and sizes stay the written text, so that they can be printed
/// and passed on. Other values are converted by their type.
pub(crate) fn as_written(ty: &Type, input: &Input, read: Scalar) -> Scalar {
    match (ty, input) {
        (Type::Mode | Type::Duration | Type::Size, Input::Text(text)) => Scalar::Text(text.clone()),
        (Type::Mode, Input::Int(number, _)) => Scalar::Text(format!("{number:04o}")),
        _ => read,
    }
}

/// Reads one value. For `Command`, `ShellLine` and `Content` it is their text; for a list it is one item. A caller that
/// reads a map walks it and uses `Any` for its values.
pub(crate) fn read(ty: &Type, input: &Input, limits: Limits<'_>) -> Result<Scalar, TypeError> {
    faithful(ty, input)?;
    let scalar = convert(ty, input)?;
    limits.check(&scalar)?;
    Ok(scalar)
}

/// Checks a secret without quoting it in an error. A secret stays text, whatever its type.
pub(crate) fn read_secret(ty: &Type, text: &str, limits: Limits<'_>) -> Result<(), TypeError> {
    let numeric =
        matches!(ty, Type::Int | Type::Float | Type::Bool | Type::Mode | Type::Duration | Type::Size);
    if numeric || matches!(ty, Type::Path | Type::ControllerPath) {
        return fail(format!("a secret cannot be of type {}", ty.name()), None);
    }
    let silent = |_| TypeError { message: format!("the secret is not a valid {}", ty.name()), help: None };
    read(ty, &Input::Text(text.to_owned()), limits).map(drop).map_err(silent)
}

/// Returns the result of an expression that is a scalar. None for null, maps, lists and other objects.
pub(crate) fn input_of(value: &Value) -> Option<Input> {
    match value.kind() {
        ValueKind::Bool => Some(Input::Bool(value.is_true())),
        ValueKind::String => value.as_str().map(|text| Input::Text(text.to_owned())),
        ValueKind::Number if value.is_integer() => {
            i128::try_from(value.clone()).ok().map(|number| Input::Int(number, None))
        }
        ValueKind::Number => f64::try_from(value.clone()).ok().map(|number| Input::Float(number, None)),
        _ => None,
    }
}

/// Checks the declaration of a module's parameter: its pattern is a regular expression, and `min` is not above `max`.
pub(crate) fn check_param(param: &Param) -> Result<(), TypeError> {
    let over = |(min, max): (i64, i64)| min > max;
    if param.min.zip(param.max).is_some_and(over) {
        return fail("`min` is larger than `max`", None);
    }
    param.pattern.as_deref().map_or(Ok(()), |pattern| whole(pattern).map(drop))
}

fn convert(ty: &Type, input: &Input) -> Result<Scalar, TypeError> {
    match ty {
        Type::Text | Type::Command | Type::ShellLine | Type::Content => text(input).map(Scalar::Text),
        Type::Any | Type::Map | Type::Tree => any(input),
        Type::List(of) => convert(of, input),
        Type::Int => int(input).map(Scalar::Int),
        Type::Float => float(input).map(Scalar::Float),
        Type::Bool => boolean(input).map(Scalar::Bool),
        Type::Mode => mode(input).map(Scalar::Int),
        Type::Port => port(input).map(Scalar::Int),
        Type::Duration => united(input, "a duration", "s", units::duration).map(Scalar::Int),
        Type::Size => united(input, "a size", "m", units::size).map(Scalar::Int),
        Type::Share => share(input).map(Scalar::Text),
        Type::Name => name(&text(input)?).map(Scalar::Text),
        Type::Path => path(&text(input)?).map(Scalar::Text),
        Type::ControllerPath => controller_path(&text(input)?).map(Scalar::Text),
        Type::Hostname => network::hostname(&text(input)?).map(Scalar::Text),
        Type::Network => network::network(&text(input)?).map(Scalar::Text),
        Type::Url => network::url(&text(input)?).map(Scalar::Text),
    }
}

/// Refuses a number whose value reads differently from its spelling: `1.10`, `007`.
fn faithful(ty: &Type, input: &Input) -> Result<(), TypeError> {
    let (printed, written) = match input {
        Input::Int(number, Some(written)) => (number.to_string(), written),
        Input::Float(number, Some(written)) => (number.to_string(), written),
        _ => return Ok(()),
    };
    let plain = written.bytes().all(|b| b.is_ascii_digit() || b"+-.".contains(&b));
    // `2.0` is exact as a number. It differs from `2` only as text.
    let number =
        matches!(ty, Type::Float | Type::Int) && !written.trim_start_matches(['-', '+']).starts_with("00");
    let same = !plain || printed == *written || (number && written.parse() == printed.parse::<f64>());
    match same || matches!(ty, Type::Mode) {
        true => Ok(()),
        false => fail(format!("{written} reads as {printed}"), Some(format!("quote it: `\"{written}\"`"))),
    }
}

fn text(input: &Input) -> Result<String, TypeError> {
    Ok(match input {
        Input::Text(text) => text.clone(),
        Input::Bool(value) => value.to_string(),
        Input::Int(number, _) => number.to_string(),
        Input::Float(number, _) => number.to_string(),
    })
}

fn any(input: &Input) -> Result<Scalar, TypeError> {
    match input {
        Input::Text(text) => Ok(Scalar::Text(text.clone())),
        Input::Bool(value) => Ok(Scalar::Bool(*value)),
        Input::Int(number, _) => small(*number).map(Scalar::Int),
        Input::Float(number, _) => Ok(Scalar::Float(*number)),
    }
}

fn int(input: &Input) -> Result<i64, TypeError> {
    let wrong = |help: String| fail(format!("{} is not a whole number", shown(input)), Some(help));
    match input {
        Input::Int(number, _) => small(*number),
        Input::Float(number, _) if number.fract() == 0.0 && number.abs() < 9e15 => Ok(*number as i64),
        Input::Float(number, _) => wrong(format!(
            "`//` divides without a remainder; the nearest whole number is `{}`",
            number.round()
        )),
        Input::Text(text) if is_plain_int(text) => text.parse().map_err(|_| too_large(text)),
        Input::Text(text) => match text.trim().parse::<f64>() {
            Ok(number) if number.fract() != 0.0 => wrong("`//` divides without a remainder".to_owned()),
            _ => wrong("write digits alone: `4`".to_owned()),
        },
        Input::Bool(_) => wrong("write `4`".to_owned()),
    }
}

/// Whether `text` is a whole number in JSON form; `-0`, `007` and `+1` are not.
fn is_plain_int(text: &str) -> bool {
    let digits = text.strip_prefix('-').unwrap_or(text);
    let leading = digits.len() > 1 && digits.starts_with('0');
    !digits.is_empty() && !leading && digits.bytes().all(|b| b.is_ascii_digit()) && text != "-0"
}

fn small(number: i128) -> Result<i64, TypeError> {
    i64::try_from(number).map_err(|_| too_large(&number.to_string()))
}

fn too_large(text: &str) -> TypeError {
    TypeError {
        message: format!("{text} is too large"),
        help: Some("the maximum is 9223372036854775807 (64 bits)".to_owned()),
    }
}

fn float(input: &Input) -> Result<f64, TypeError> {
    let number = match input {
        Input::Float(number, _) => Some(*number),
        Input::Int(number, _) => Some(*number as f64),
        Input::Text(text) if text.bytes().all(|b| b.is_ascii_digit() || b".-eE+".contains(&b)) => {
            text.parse().ok()
        }
        Input::Text(_) | Input::Bool(_) => None,
    };
    match number.filter(|number: &f64| number.is_finite()) {
        Some(number) => Ok(number),
        None => fail(format!("{} is not a number", shown(input)), Some("write `0.5`".to_owned())),
    }
}

fn boolean(input: &Input) -> Result<bool, TypeError> {
    let word = match input {
        Input::Bool(value) => return Ok(*value),
        Input::Text(text) => text.to_lowercase(),
        Input::Int(number, _) => number.to_string(),
        Input::Float(..) => String::new(),
    };
    let help = match word.as_str() {
        // The spelling that a template produces.
        "true" if matches!(input, Input::Text(text) if text == "true") => return Ok(true),
        "false" if matches!(input, Input::Text(text) if text == "false") => return Ok(false),
        "yes" | "on" | "1" | "true" | "y" | "enabled" => "write `#true`",
        "no" | "off" | "0" | "false" | "n" | "disabled" => "write `#false`",
        _ => "write `#true` or `#false`",
    };
    fail(format!("{} is neither true nor false", shown(input)), Some(help.to_owned()))
}

fn mode(input: &Input) -> Result<i64, TypeError> {
    let octal = |digits: &str| i64::from_str_radix(digits, 8).ok().filter(|mode| *mode <= 0o7777);
    let wrong = |help: String| fail(format!("{} is not a mode", shown(input)), Some(help));
    match input {
        Input::Int(number, Some(written)) if written.starts_with("0o") => small(*number)
            .ok()
            .filter(|mode| (0..=0o7777).contains(mode))
            .map_or_else(|| wrong("a mode is at most `0o7777`".to_owned()), Ok),
        Input::Int(number, written) => {
            let digits = written.clone().unwrap_or_else(|| number.to_string());
            let digits = digits.trim_start_matches('0');
            match octal(digits).filter(|_| !digits.is_empty()) {
                Some(mode) => fail(
                    format!("{} is the number {number}, not a mode", written.as_deref().unwrap_or(digits)),
                    Some(format!("write `\"{mode:04o}\"` or `0o{mode:o}`")),
                ),
                None => wrong("write `\"0644\"` or `0o644`".to_owned()),
            }
        }
        Input::Text(text) => {
            let digits = text.strip_prefix("0o").unwrap_or(text);
            let plain = (3..=5).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit());
            match octal(digits).filter(|_| plain) {
                Some(mode) => Ok(mode),
                None if digits.contains(['r', 'w', 'x', '=', '+']) => {
                    wrong("write it in digits: `\"0644\"`".to_owned())
                }
                None => wrong("write four octal digits: `\"0644\"`".to_owned()),
            }
        }
        _ => wrong("write `\"0644\"`".to_owned()),
    }
}

fn port(input: &Input) -> Result<i64, TypeError> {
    match int(input) {
        Ok(port @ 1..=65535) => Ok(port),
        _ => fail(
            format!("{} is not a port", shown(input)),
            Some("a port is a number from 1 to 65535".to_owned()),
        ),
    }
}

/// Reads a number with a unit. `what` names the number, `unit` is the suggested unit, and `read` converts it.
fn united(
    input: &Input,
    what: &str,
    unit: &str,
    read: fn(&str) -> Result<i64, units::UnitError>,
) -> Result<i64, TypeError> {
    let bare = |number: &str| {
        let help = format!("write `\"{number}{unit}\"`, with a unit ({})", units::known(unit));
        fail(format!("{} is not {what}", shown(input)), Some(help))
    };
    match input {
        Input::Int(number, _) => bare(&number.to_string()),
        Input::Float(number, _) => bare(&number.to_string()),
        Input::Bool(_) => bare("90"),
        Input::Text(text) => match read(text) {
            Ok(number) => Ok(number),
            Err(units::UnitError::TooLarge) => fail(format!("`{text}` is too large"), None),
            Err(units::UnitError::NoUnit) => bare(text.trim()),
            Err(units::UnitError::Wrong) => bare("90"),
        },
    }
}

fn share(input: &Input) -> Result<String, TypeError> {
    let written = text(input)?;
    let number = |digits: &str| is_plain_int(digits).then(|| digits.parse::<u32>().ok()).flatten();
    let valid = match written.strip_suffix('%') {
        Some(percent) => number(percent).is_some_and(|percent| percent <= 100),
        None => number(&written).is_some(),
    };
    match valid {
        true => Ok(written),
        false => fail(
            format!("{} is not a share", shown(input)),
            Some("write `\"50%\"`, or a number of hosts".to_owned()),
        ),
    }
}

fn name(text: &str) -> Result<String, TypeError> {
    let wrong = |c: char| c.is_whitespace() || c.is_control() || c == '/';
    if text.is_empty() {
        return fail("a name must not be empty", None);
    }
    if text.contains(',') {
        let parts: Vec<&str> = text.split(',').map(str::trim).filter(|part| !part.is_empty()).collect();
        let help = format!("a comma does not separate values: write `\"{}\"`", parts.join("\" \""));
        return fail(format!("`{}` is not a name: it holds a comma", printable(text)), Some(help));
    }
    if let Some(c) = text.chars().find(|c| wrong(*c)) {
        let what = if c == '/' {
            "a `/`".to_owned()
        } else {
            format!("a blank or control character ({})", c.escape_debug())
        };
        return fail(format!("`{}` is not a name: it holds {what}", printable(text)), None);
    }
    Ok(text.to_owned())
}

/// Reads an absolute path. Removes `.`, doubled and trailing slashes.
fn path(text: &str) -> Result<String, TypeError> {
    if !text.starts_with('/') {
        let help = match text.strip_prefix("~/") {
            Some(rest) => format!("write the full path: `/root/{rest}`"),
            None => format!("write `/{}`", printable(text.trim_start_matches("./"))),
        };
        return fail(format!("`{}` is not an absolute path", printable(text)), Some(help));
    }
    parts(text).map(|parts| format!("/{}", parts.join("/")))
}

/// Reads a relative path. Removes `.`, doubled and trailing slashes. The caller decides about absolute paths and `~`.
fn controller_path(text: &str) -> Result<String, TypeError> {
    match text {
        "" => fail("a path must not be empty", None),
        _ if text.starts_with('/') => path(text),
        _ => parts(text).map(|parts| parts.join("/")),
    }
}

fn parts(text: &str) -> Result<Vec<&str>, TypeError> {
    let parts: Vec<_> = text.split('/').filter(|part| !part.is_empty() && *part != ".").collect();
    if parts.contains(&"..") {
        return fail(
            format!("`{}` holds `..`", printable(text)),
            Some("write the path without `..`".to_owned()),
        );
    }
    match text.chars().any(char::is_control) {
        true => fail(format!("`{}` holds a control character", printable(text)), None),
        false => Ok(parts),
    }
}

impl Limits<'_> {
    fn check(&self, scalar: &Scalar) -> Result<(), TypeError> {
        let shown = match scalar {
            Scalar::Text(text) => text.clone(),
            Scalar::Int(number) => number.to_string(),
            Scalar::Float(number) => number.to_string(),
            Scalar::Bool(value) => format!("#{value}"),
            Scalar::Secret(_) => return Ok(()),
        };
        self.check_range(scalar, &shown)?;
        self.check_one_of(&shown)?;
        match self.pattern {
            Some(pattern) if !whole(pattern)?.is_match(&shown) => {
                fail(format!("`{}` does not match `{pattern}`", printable(&shown)), None)
            }
            _ => Ok(()),
        }
    }

    fn check_range(&self, scalar: &Scalar, shown: &str) -> Result<(), TypeError> {
        let number = match scalar {
            Scalar::Int(number) => *number as f64,
            Scalar::Float(number) => *number,
            _ => return Ok(()),
        };
        let bounds = match (self.min, self.max) {
            (Some(min), Some(max)) => format!("expected a value from {min} to {max}"),
            (Some(min), None) => format!("expected at least {min}"),
            (None, Some(max)) => format!("expected at most {max}"),
            (None, None) => return Ok(()),
        };
        if self.min.is_some_and(|min| number < min as f64) {
            return fail(format!("{shown} is too small"), Some(bounds));
        }
        match self.max.is_some_and(|max| number > max as f64) {
            true => fail(format!("{shown} is too large"), Some(bounds)),
            false => Ok(()),
        }
    }

    fn check_one_of(&self, shown: &str) -> Result<(), TypeError> {
        if self.one_of.is_empty() || self.one_of.iter().any(|allowed| allowed == shown) {
            return Ok(());
        }
        let all = self.one_of.iter().map(|allowed| format!("`{allowed}`")).collect::<Vec<_>>().join(", ");
        let nearest = did_you_mean(shown, self.one_of.iter().map(String::as_str));
        let meant = nearest.or_else(|| foreign_terms::value(shown, self.one_of));
        let help = meant.map_or(format!("expected one of {all}"), |meant| {
            format!("{meant}{} expected one of {all}", if meant.ends_with('?') { "" } else { ";" })
        });
        fail(format!("`{}` is not allowed here", printable(shown)), Some(help))
    }
}

/// Returns the regular expression, anchored to the whole text.
fn whole(pattern: &str) -> Result<Regex, TypeError> {
    Regex::new(&format!("^(?:{pattern})$")).map_err(|error| TypeError {
        message: format!("`{}` is not a regular expression: {error}", printable(pattern)),
        help: None,
    })
}

fn shown(input: &Input) -> String {
    match input {
        Input::Text(text) => format!("`{}`", printable(text)),
        Input::Bool(value) => format!("`#{value}`"),
        Input::Int(number, written) => written.clone().unwrap_or_else(|| number.to_string()),
        Input::Float(number, written) => written.clone().unwrap_or_else(|| number.to_string()),
    }
}

#[cfg(test)]
mod tests;
