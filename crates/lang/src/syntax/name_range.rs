//! Ranges in names: `web[01..20]`, `[1..9..2]`, `[a,b,9]`, and addresses that count along.
//!
//! The rules for host names are checked where hosts are defined.

use std::ops::Range;

/// The most names of one text, and so of one host node.
pub(crate) const LIMIT: usize = 10_000;

/// A range that cannot be parsed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct RangeError {
    /// The wrong bytes of the text.
    pub(crate) span: Range<usize>,
    /// The mistake, as a lowercase fragment.
    pub(crate) message: String,
    /// Advice for the user.
    pub(crate) help: Option<String>,
}

/// An address that does not fit its names. The variant says which text is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum PairError {
    /// The name.
    Name(RangeError),
    /// The address.
    Address(RangeError),
}

/// Returns all names of `text`, in order; the last bracket counts fastest. A text without brackets is its own name.
pub(crate) fn expand(text: &str) -> Result<Vec<String>, RangeError> {
    Ok(Parsed::read(text)?.names())
}

/// Returns the names of `name`, each with its address.
///
/// `address` has either as many brackets as `name`, with the same counts, or a single bracket for all names. For a
/// single name it may have none.
pub(crate) fn expand_pair(name: &str, address: &str) -> Result<Vec<(String, String)>, PairError> {
    let names = Parsed::read(name).map_err(PairError::Name)?;
    let addresses = Parsed::read(address).map_err(PairError::Address)?;
    names.fits(&addresses, address).map_err(PairError::Address)?;
    Ok(names.names().into_iter().zip(addresses.names()).collect())
}

/// A parsed text with brackets: a text, a bracket, a text, a bracket, …, a text.
struct Parsed {
    texts: Vec<String>,
    brackets: Vec<Bracket>,
}

struct Bracket {
    values: Vec<String>,
    span: Range<usize>,
}

impl Parsed {
    fn read(text: &str) -> Result<Self, RangeError> {
        let mut parsed = Self { texts: Vec::new(), brackets: Vec::new() };
        let mut at = 0;
        while let Some(found) = text[at..].find(['[', ']']) {
            let start = at + found;
            let end = closing(text, start)?;
            parsed.texts.push(text[at..start].to_owned());
            let values = values(&text[start + 1..end], start + 1)?;
            parsed.brackets.push(Bracket { values, span: start..end + 1 });
            parsed.within_limit(start..end + 1)?;
            at = end + 1;
        }
        parsed.texts.push(text[at..].to_owned());
        Ok(parsed)
    }

    fn count(&self) -> usize {
        self.brackets.iter().map(|bracket| bracket.values.len()).fold(1, usize::saturating_mul)
    }

    fn within_limit(&self, span: Range<usize>) -> Result<(), RangeError> {
        match self.count() {
            0..=LIMIT => Ok(()),
            count => Err(error(span, format!("this is {count} names; the maximum is {LIMIT}"), None)),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = vec![self.texts[0].clone()];
        for (bracket, text) in self.brackets.iter().zip(&self.texts[1..]) {
            let longer = |name: &String| -> Vec<String> {
                bracket.values.iter().map(|value| format!("{name}{value}{text}")).collect()
            };
            names = names.iter().flat_map(longer).collect();
        }
        names
    }

    /// Checks that every name gets one address of `other`, whose text is `text`.
    fn fits(&self, other: &Self, text: &str) -> Result<(), RangeError> {
        let whole = 0..text.len();
        let (names, addresses) = (self.count(), other.count());
        if names != addresses {
            let span = other.brackets.first().map_or(whole, |bracket| bracket.span.clone());
            let message = format!("{names} names, but {addresses} addresses");
            let help = (addresses == 1).then(|| "give the address a range too: `10.0.0.[11..20]`".to_owned());
            return Err(error(span, message, help));
        }
        if other.brackets.len() != 1 && other.brackets.len() != self.brackets.len() {
            let message =
                format!("{} brackets, but the name has {}", other.brackets.len(), self.brackets.len());
            return Err(error(whole, message, Some("use one bracket, or as many as in the name".to_owned())));
        }
        let pairs = self.brackets.iter().zip(&other.brackets);
        let uneven = |(a, b): &(&Bracket, &Bracket)| a.values.len() != b.values.len();
        match pairs.clone().find(uneven).filter(|_| other.brackets.len() == self.brackets.len()) {
            Some((a, b)) => {
                let message = format!("{} values, but {} in the name", b.values.len(), a.values.len());
                Err(error(b.span.clone(), message, None))
            }
            None => Ok(()),
        }
    }
}

/// Returns the end of the bracket that starts at `start`.
fn closing(text: &str, start: usize) -> Result<usize, RangeError> {
    if text[start..].starts_with(']') {
        return Err(error(start..start + 1, "`]` without a `[` before it", None));
    }
    match text[start + 1..].find(['[', ']']).map(|at| start + 1 + at) {
        Some(end) if text[end..].starts_with(']') => Ok(end),
        Some(inner) => {
            let help = "brackets do not nest; an IPv6 address needs none".to_owned();
            Err(error(inner..inner + 1, "`[` inside a bracket", Some(help)))
        }
        None => Err(error(start..text.len(), "`[` without a `]`", None)),
    }
}

/// Returns the values between two brackets, which start `offset` bytes into the text.
fn values(inside: &str, offset: usize) -> Result<Vec<String>, RangeError> {
    let mut values = Vec::new();
    let mut at = offset;
    for part in inside.split(',') {
        let span = at..at + part.len();
        at = span.end + 1;
        match part.contains("..") {
            true => values.extend(bounds(part, &span)?.values()),
            false => values.push(item(part, span.clone())?),
        }
        if values.len() > LIMIT {
            return Err(error(span, format!("over {LIMIT} names"), None));
        }
    }
    Ok(values)
}

fn item(part: &str, span: Range<usize>) -> Result<String, RangeError> {
    let trimmed = part.trim();
    if trimmed.is_empty() {
        return Err(error(
            span,
            "expected a number, a name or a range",
            Some("write `[1..9]` or `[a,b]`".to_owned()),
        ));
    }
    if trimmed.chars().any(|c| !(c.is_alphanumeric() || matches!(c, '-' | '_' | '.'))) {
        let help = match trimmed.contains(':') {
            true => "write the IPv6 address without brackets".to_owned(),
            false => "write `[1..9]`, `[1..9..2]` or `[a,b]`".to_owned(),
        };
        return Err(error(span, format!("`{trimmed}` is not a range"), Some(help)));
    }
    let numbers = trimmed.split('-').collect::<Vec<_>>();
    if let [from, to] = numbers[..]
        && is_number(from)
        && is_number(to)
    {
        return Err(error(
            span,
            format!("`{trimmed}` is not a range"),
            Some(format!("write `[{from}..{to}]`")),
        ));
    }
    Ok(trimmed.to_owned())
}

struct Bounds {
    first: u64,
    last: u64,
    step: u64,
    width: usize,
}

impl Bounds {
    fn values(&self) -> impl Iterator<Item = String> {
        let numbers =
            std::iter::successors(Some(self.first), |n| n.checked_add(self.step).filter(|n| *n <= self.last));
        // Take one more than the limit: the caller then sees the excess, and the result stays small.
        numbers.take(LIMIT + 1).map(|n| format!("{n:0width$}", width = self.width))
    }
}

fn bounds(part: &str, span: &Range<usize>) -> Result<Bounds, RangeError> {
    let pieces: Vec<&str> = part.split("..").map(str::trim).collect();
    let (first, last, step) = match pieces[..] {
        [first, last] => (first, last, "1"),
        [first, last, step] => (first, last, step),
        _ => return Err(error(span.clone(), format!("`{part}` has too many bounds"), None)),
    };
    let number = |text: &str| match text.parse::<u64>() {
        Ok(number) if is_number(text) => Ok(number),
        _ => {
            let message = format!("`{text}` is not a whole number");
            let help = "a range counts: `[1..9]`; names are listed: `[a,b]`".to_owned();
            Err(error(span.clone(), message, Some(help)))
        }
    };
    let padded = first.len() > 1 && first.starts_with('0');
    let width = if padded { first.len() } else { 0 };
    let bounds = Bounds { first: number(first)?, last: number(last)?, step: number(step)?, width };
    if width > 20 {
        return Err(error(span.clone(), "more than 20 digits", None));
    }
    if bounds.step == 0 {
        return Err(error(span.clone(), "the step must be at least 1", None));
    }
    if bounds.first > bounds.last {
        let help = format!("write `[{last}..{first}]`");
        return Err(error(span.clone(), format!("`{part}` counts down"), Some(help)));
    }
    Ok(bounds)
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit())
}

fn error(span: Range<usize>, message: impl Into<String>, help: Option<String>) -> RangeError {
    RangeError { span, message: message.into(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_range_stands_for_its_names() {
        let check = |text: &str, names: &str| assert_eq!(expand(text).unwrap().join(" "), names, "{text}");
        check("db1", "db1");
        check("", "");
        check("web[1..3]", "web1 web2 web3");
        check("web[08..11]", "web08 web09 web10 web11");
        check("web[001..2]", "web001 web002");
        check("web[0..2]", "web0 web1 web2");
        check("n[1..9..2]", "n1 n3 n5 n7 n9");
        check("n[1..8..5]", "n1 n6");
        check("n[5..5]", "n5");
        check("n[a,b,9]", "na nb n9");
        check("n[a, 1..3, z]x", "nax n1x n2x n3x nzx");
        check("web-[eu,us]-[1..2].lan", "web-eu-1.lan web-eu-2.lan web-us-1.lan web-us-2.lan");
        check("a[00000000000000000001..2]", "a00000000000000000001 a00000000000000000002");
        check("[18446744073709551614..18446744073709551615]", "18446744073709551614 18446744073709551615");
        assert_eq!(expand("[1..100][1..100]").unwrap().len(), LIMIT);
    }

    #[test]
    fn a_wrong_range_is_refused_where_it_is_wrong() {
        let check = |text: &str, at: &str, message: &str| {
            let error = expand(text).expect_err(text);
            assert_eq!((&text[error.span.clone()], error.message.as_str()), (at, message), "{text}");
        };
        check("web[9..1]", "9..1", "`9..1` counts down");
        check("web[1-9]", "1-9", "`1-9` is not a range");
        check("web[1..x]", "1..x", "`x` is not a whole number");
        check("web[a..c]", "a..c", "`a` is not a whole number");
        check("web[+1..3]", "+1..3", "`+1` is not a whole number");
        check("web[..3]", "..3", "`` is not a whole number");
        check("web[1..2..3..4]", "1..2..3..4", "`1..2..3..4` has too many bounds");
        check("web[1..9..0]", "1..9..0", "the step must be at least 1");
        check("web[]", "", "expected a number, a name or a range");
        check("web[a,]", "", "expected a number, a name or a range");
        check("web[1..3", "[1..3", "`[` without a `]`");
        check("web1]", "]", "`]` without a `[` before it");
        check("web[[1..3]]", "[", "`[` inside a bracket");
        check("[2001:db8::1]", "2001:db8::1", "`2001:db8::1` is not a range");
        check("n[1..10001]", "1..10001", "over 10000 names");
        check("n[1..101][1..100]", "[1..100]", "this is 10100 names; the maximum is 10000");
        check("n[1..18446744073709551615]", "1..18446744073709551615", "over 10000 names");
        check(
            "n[1..18446744073709551616]",
            "1..18446744073709551616",
            "`18446744073709551616` is not a whole number",
        );
        check("n[000000000000000000000..1]", "000000000000000000000..1", "more than 20 digits");
    }

    #[test]
    fn an_address_walks_along() {
        let check = |name: &str, address: &str, pairs: &str| {
            let found: Vec<_> =
                expand_pair(name, address).unwrap().into_iter().map(|(n, a)| format!("{n}={a}")).collect();
            assert_eq!(found.join(" "), pairs);
        };
        check("db1", "10.0.0.5", "db1=10.0.0.5");
        check("web[1..2]", "10.0.0.[11..12]", "web1=10.0.0.11 web2=10.0.0.12");
        check("[a,b]-[1..2]", "10.0.0.[1..4]", "a-1=10.0.0.1 a-2=10.0.0.2 b-1=10.0.0.3 b-2=10.0.0.4");
        check("[a,b]-[1..2]", "10.[1,2].0.[1..2]", "a-1=10.1.0.1 a-2=10.1.0.2 b-1=10.2.0.1 b-2=10.2.0.2");
        check("v6", "2001:db8::1", "v6=2001:db8::1");
    }

    #[test]
    fn uneven_addresses_are_refused() {
        let check = |name: &str, address: &str, message: &str| match expand_pair(name, address) {
            Err(PairError::Address(error)) => assert_eq!(error.message, message),
            other => panic!("{name} {address}: {other:?}"),
        };
        check("web[1..3]", "10.0.0.[1..4]", "3 names, but 4 addresses");
        check("web[1..3]", "10.0.0.1", "3 names, but 1 addresses");
        check("[a,b][1..3]", "10.[1..3].0.[1..2]", "3 values, but 2 in the name");
        check("[a,b][c,d][e,f]", "10.[1..2].0.[1..4]", "2 brackets, but the name has 3");
        check("db1", "[::1]", "`::1` is not a range");
        assert!(matches!(expand_pair("web[", "1"), Err(PairError::Name(_))));
    }
}
