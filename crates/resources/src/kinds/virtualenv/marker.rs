//! Environment markers (PEP 508): whether a requirement applies to this interpreter. `None` means unknown.

/// The interpreter, as far as it is known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Target {
    /// Its version: `3.11`, or `3.11.2` if it is known in full. None if it is unknown.
    pub(super) version: Option<String>,
}

/// Whether `marker` holds for `target`.
pub(super) fn holds(marker: &str, target: &Target) -> Option<bool> {
    let words = words(marker)?;
    let mut reading = Reading { words: &words, target, depth: 0 };
    let value = reading.any()?;
    if reading.words.is_empty() { value } else { None }
}

#[derive(Debug, PartialEq, Eq)]
enum Word {
    Text(String),
    Name(String),
    Sign(&'static str),
}

const SIGNS: [&str; 10] = ["===", "==", "!=", "<=", ">=", "~=", "<", ">", "(", ")"];

fn words(marker: &str) -> Option<Vec<Word>> {
    let mut words = Vec::new();
    let mut rest = marker.trim_start();
    while let Some(first) = rest.chars().next() {
        if let quote @ ('\'' | '"') = first {
            let (text, after) = rest[1..].split_once(quote)?;
            words.push(Word::Text(text.to_owned()));
            rest = after;
        } else if let Some(sign) = SIGNS.iter().find(|sign| rest.starts_with(**sign)) {
            words.push(Word::Sign(sign));
            rest = &rest[sign.len()..];
        } else {
            let is_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '.';
            let end = rest.find(|c| !is_name(c)).unwrap_or(rest.len());
            if end == 0 {
                return None;
            }
            words.push(Word::Name(rest[..end].to_owned()));
            rest = &rest[end..];
        }
        rest = rest.trim_start();
    }
    Some(words)
}

/// The rest of the marker. An outer `None` is a syntax error, an inner one an unknown value.
struct Reading<'a> {
    words: &'a [Word],
    target: &'a Target,
    depth: usize,
}

/// The deepest nesting of parentheses.
const DEPTH: usize = 32;

impl Reading<'_> {
    fn next(&mut self) -> Option<&Word> {
        let (first, rest) = self.words.split_first()?;
        self.words = rest;
        Some(first)
    }

    fn takes(&mut self, name: &str) -> bool {
        let found = matches!(self.words.first(), Some(Word::Name(word)) if word == name);
        if found {
            self.words = &self.words[1..];
        }
        found
    }

    fn any(&mut self) -> Option<Option<bool>> {
        let mut value = self.all()?;
        while self.takes("or") {
            value = match (value, self.all()?) {
                (Some(true), _) | (_, Some(true)) => Some(true),
                (Some(false), Some(false)) => Some(false),
                _ => None,
            };
        }
        Some(value)
    }

    fn all(&mut self) -> Option<Option<bool>> {
        let mut value = self.one()?;
        while self.takes("and") {
            value = match (value, self.one()?) {
                (Some(false), _) | (_, Some(false)) => Some(false),
                (Some(true), Some(true)) => Some(true),
                _ => None,
            };
        }
        Some(value)
    }

    fn one(&mut self) -> Option<Option<bool>> {
        if self.words.first() == Some(&Word::Sign("(")) {
            self.depth += 1;
            self.words = &self.words[1..];
            let value = if self.depth > DEPTH { return None } else { self.any()? };
            self.depth -= 1;
            return (self.next() == Some(&Word::Sign(")"))).then_some(value);
        }
        let left = self.operand()?;
        let sign = match self.next()? {
            Word::Sign(sign) => *sign,
            Word::Name(name) if name == "in" => "in",
            Word::Name(name) if name == "not" => {
                let follows = self.takes("in");
                if follows { "not in" } else { return None }
            }
            _ => return None,
        };
        let right = self.operand()?;
        Some(compare(&left, sign, &right))
    }

    fn operand(&mut self) -> Option<Operand> {
        let target = self.target.clone();
        Some(match self.next()? {
            Word::Text(text) => Operand { text: Some(text.clone()), is_version: false, is_partial: false },
            Word::Name(name) => {
                let text = value(name, &target);
                let is_full = matches!(name.as_str(), "python_full_version" | "implementation_version");
                let is_partial = is_full && text.as_ref().is_some_and(|text| text.split('.').count() < 3);
                Operand { text, is_version: name.contains("version"), is_partial }
            }
            Word::Sign(_) => return None,
        })
    }
}

struct Operand {
    /// None if it is unknown.
    text: Option<String>,
    is_version: bool,
    /// Whether the last part of the version is unknown.
    is_partial: bool,
}

/// The value of a variable on hosts of the agent.
fn value(name: &str, target: &Target) -> Option<String> {
    let known = match name {
        "os_name" => "posix",
        "sys_platform" => "linux",
        "platform_system" => "Linux",
        "platform_machine" => std::env::consts::ARCH,
        "implementation_name" => "cpython",
        "platform_python_implementation" => "CPython",
        "extra" => "",
        "python_version" => {
            let version = target.version.as_ref()?;
            return Some(version.split('.').take(2).collect::<Vec<_>>().join("."));
        }
        "python_full_version" | "implementation_version" => return target.version.clone(),
        _ => return None,
    };
    Some(known.to_owned())
}

fn compare(left: &Operand, sign: &str, right: &Operand) -> Option<bool> {
    let (one, other) = (left.text.as_ref()?, right.text.as_ref()?);
    if let "in" | "not in" = sign {
        let found = other.contains(one.as_str());
        // The unknown part could break a found match, or complete a missing one.
        let is_open = if found { left.is_partial } else { right.is_partial };
        return (!is_open).then_some(found == (sign == "in"));
    }
    if !left.is_version && !right.is_version {
        return match sign {
            "==" | "===" => Some(one == other),
            "!=" => Some(one != other),
            _ => None,
        };
    }
    if let Some(prefix) = other.strip_suffix(".*") {
        if left.is_partial && prefix.starts_with(&format!("{one}.")) {
            return None;
        }
        let within = one == prefix || one.starts_with(&format!("{prefix}."));
        return [("==", within), ("!=", !within)].iter().find(|(of, _)| *of == sign).map(|(_, holds)| *holds);
    }
    if right.is_partial {
        return None;
    }
    let (one, other) = (numbers(one)?, numbers(other)?);
    if left.is_partial && other.starts_with(&one) {
        // `3.11.x` is not less than `3.11`. No other comparison is certain.
        return match sign {
            ">=" if other == one => Some(true),
            "<" if other == one => Some(false),
            _ => None,
        };
    }
    let order = one.cmp(&other);
    Some(match sign {
        "==" | "===" => order.is_eq(),
        "!=" => order.is_ne(),
        "<" => order.is_lt(),
        "<=" => order.is_le(),
        ">" => order.is_gt(),
        ">=" => order.is_ge(),
        _ => return None,
    })
}

/// The numbers of a release, without trailing zeros.
fn numbers(version: &str) -> Option<Vec<u32>> {
    let mut numbers: Vec<u32> = version.split('.').map(|part| part.parse().ok()).collect::<Option<_>>()?;
    while numbers.last() == Some(&0) {
        numbers.pop();
    }
    Some(numbers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn markers_are_true_false_or_unknown() {
        let check = |marker: &str, expected: Option<bool>| {
            let target = Target { version: Some("3.11".into()) };
            assert_eq!(holds(marker, &target), expected, "{marker}");
        };
        check("python_version < '3.12'", Some(true));
        check("python_version >= \"3.12\"", Some(false));
        check("'3.9' <= python_version", Some(true));
        check("python_version == '3.*'", Some(true));
        check("python_version in '3.10 3.11'", Some(true));
        check("sys_platform == 'win32' or (os_name == 'posix' and python_version > '3')", Some(true));
        check("sys_platform not in 'linux darwin'", Some(false));
        check("extra == 'dev'", Some(false));
    }

    #[test]
    fn a_version_is_compared_by_its_numbers() {
        let check = |marker: &str, expected: Option<bool>| {
            let target = Target { version: Some("3.10.4".into()) };
            assert_eq!(holds(marker, &target), expected, "{marker}");
        };
        check("python_version == '3.10'", Some(true));
        check("python_version === '3.10'", Some(true));
        check("python_version == '3.1'", Some(false));
        check("python_version == '3.10.0'", Some(true));
        check("python_version != '3.10'", Some(false));
        check("python_version != '3.9'", Some(true));
        check("python_version < '3.10'", Some(false));
        check("python_version <= '3.10'", Some(true));
        check("python_version <= '3.9'", Some(false));
        check("python_version > '3.10'", Some(false));
        check("python_version > '3.9'", Some(true));
        check("python_version >= '3.10'", Some(true));
        check("python_version ~= '3.10'", None);
        check("python_version < '3.11rc1'", None);
        check("python_full_version == '3.10.4'", Some(true));
        check("python_full_version < '3.10.5'", Some(true));
        check("implementation_version >= '3.10.5'", Some(false));
        check("'3.10.4' < python_full_version", Some(false));
        check("python_version == '3.10.*'", Some(true));
        check("python_full_version == '3.10.*'", Some(true));
        check("python_full_version != '3.10.*'", Some(false));
        check("python_full_version == '3.1.*'", Some(false));
        check("python_full_version != '3.1.*'", Some(true));
        check("python_full_version < '3.11.*'", None);
    }

    #[test]
    fn a_version_whose_end_is_not_known_decides_only_what_any_end_would() {
        let check = |marker: &str, expected: Option<bool>| {
            let target = Target { version: Some("3.11".into()) };
            assert_eq!(holds(marker, &target), expected, "{marker}");
        };
        check("python_full_version < '3.11.3'", None);
        check("implementation_version >= '3.11.3'", None);
        check("python_full_version < '3.12.1'", Some(true));
        check("python_full_version < '3.11'", Some(false));
        check("python_full_version >= '3.11'", Some(true));
        check("python_full_version <= '3.11'", None);
        check("python_full_version == '3.11'", None);
        check("python_full_version == '3.10'", Some(false));
        check("'3.11' >= python_full_version", None);
        check("'3.11' < python_full_version", None);
        check("python_full_version == '3.11.*'", Some(true));
        check("python_full_version == '3.11.2.*'", None);
        check("python_full_version != '3.10.2.*'", Some(true));
        check("python_version == '3.11.2.*'", Some(false));
        check("python_full_version in '3.11.2 3.11.3'", None);
        check("python_full_version not in '3.11.2 3.11.3'", None);
        check("python_full_version not in '3.10.2 3.10.3'", Some(true));
        check("'3.11' in python_full_version", Some(true));
        check("'3.11.2' not in python_full_version", None);
    }

    #[test]
    fn a_variable_is_that_of_the_host_or_unknown() {
        let check = |marker: &str, expected: Option<bool>| {
            assert_eq!(holds(marker, &Target::default()), expected, "{marker}");
        };
        check("os_name === 'posix'", Some(true));
        check("os_name != 'posix'", Some(false));
        check("os_name != 'nt'", Some(true));
        check("os_name >= 'posix'", None);
        check("platform_system == 'Linux'", Some(true));
        check(&format!("platform_machine == '{}'", std::env::consts::ARCH), Some(true));
        check("implementation_name == 'cpython'", Some(true));
        check("platform_python_implementation == 'CPython'", Some(true));
        check("extra == ''", Some(true));
        check("platform_version == '6'", None);
        check("python_version >= '3'", None);
        check("python_full_version >= '3'", None);
    }

    #[test]
    fn what_is_unknown_decides_nothing_that_the_rest_does_not() {
        let check = |marker: &str, expected: Option<bool>| {
            let words =
                [("T", "os_name == 'posix'"), ("F", "os_name == 'nt'"), ("U", "platform_release == '6'")];
            let marker =
                words.iter().fold(marker.to_owned(), |marker, (word, text)| marker.replace(word, text));
            assert_eq!(holds(&marker, &Target::default()), expected, "{marker}");
        };
        check("U", None);
        for (one, other, both, either) in [
            ("T", "T", Some(true), Some(true)),
            ("T", "F", Some(false), Some(true)),
            ("F", "F", Some(false), Some(false)),
            ("T", "U", None, Some(true)),
            ("F", "U", Some(false), None),
            ("U", "U", None, None),
        ] {
            check(&format!("{one} and {other}"), both);
            check(&format!("{other} and {one}"), both);
            check(&format!("{one} or {other}"), either);
            check(&format!("{other} or {one}"), either);
        }
        check("T or T and F", Some(true));
        check("(T or T) and F", Some(false));
        check("F or F or T", Some(true));
        check("T and T and F", Some(false));
    }

    #[test]
    fn what_is_no_marker_is_unknown() {
        let check = |marker: &str, expected: Option<bool>| {
            assert_eq!(holds(marker, &Target::default()), expected, "{marker}");
        };
        check(" os_name=='posix' ", Some(true));
        check("os_name == \"pos'ix\"", Some(false));
        for marker in [
            "",
            "os_name",
            "os_name ==",
            "== 'posix'",
            "os_name == ==",
            "os_name == 'posix",
            "os_name 'is' 'posix'",
            "os_name is 'posix'",
            "os_name is in 'posix'",
            "os_name not 'nt'",
            "os_name not == 'nt'",
            "os_name ? 'nt'",
            "os_name == 'posix' nonsense",
            "os_name == 'posix' or",
            "os_name == 'nt' and",
            "(os_name == 'posix'",
            "(os_name == 'posix' nonsense)",
            "os_name == 'posix')",
        ] {
            check(marker, None);
        }
    }

    #[test]
    fn parentheses_are_followed_to_a_certain_depth() {
        let check = |marker: &str, expected: Option<bool>| {
            assert_eq!(holds(marker, &Target::default()), expected, "{marker}");
        };
        let nested = |depth| format!("{}os_name == 'posix'{}", "(".repeat(depth), ")".repeat(depth));
        check(&nested(DEPTH), Some(true));
        check(&nested(DEPTH + 1), None);
        check(&vec![nested(1); DEPTH + 1].join(" and "), Some(true));
    }
}
