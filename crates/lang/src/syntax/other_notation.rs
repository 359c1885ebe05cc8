//! Recognises a whole file in YAML or INI, as other tools read them. This gives one error for the file instead of one
//! for each line.

use crate::source::diagnostic::{Code, Diagnostic, FileId, Span};

/// Returns the error for a text that is YAML or INI. None if it may be KDL.
pub(crate) fn report(file: FileId, text: &str) -> Option<Diagnostic> {
    let line = first_line(text)?;
    let (name, help) = if is_yaml(line) {
        ("YAML", in_place_of_yaml().to_owned())
    } else {
        ("INI", in_place_of_ini(line.strip_prefix('[')?.strip_suffix(']')?))
    };
    let start = text.find(line).unwrap_or_default();
    let report = Diagnostic::error(Code::Syntax, format!("this file is {name}, and converge reads KDL"));
    Some(report.label(Span::new(file, start, line.len()), format!("{name} begins here")).help(help))
}

/// Returns the first line that is neither blank nor a comment of these notations.
fn first_line(text: &str) -> Option<&str> {
    text.lines().map(str::trim_end).find(|line| !line.is_empty() && !line.starts_with(['#', ';']))
}

/// `---`, `all:`, `- hosts: web`: no line of KDL starts like this.
fn is_yaml(line: &str) -> bool {
    let is_name =
        |name: &str| !name.is_empty() && name.chars().all(|c| c.is_ascii_alphanumeric() || "_-.".contains(c));
    let (item, line) = line.strip_prefix("- ").map_or((false, line), |rest| (true, rest));
    match line.split_once(':') {
        Some((name, rest)) => is_name(name) && (rest.is_empty() || item && rest.starts_with(' ')),
        None => line == "---",
    }
}

fn in_place_of_yaml() -> &'static str {
    "write `host \"web1\"` for a host, then `on \"web1\" { package \"nginx\" }` for its resources"
}

fn in_place_of_ini(section: &str) -> String {
    let group = section.split(':').next().unwrap_or_default();
    format!(
        "write `group \"{group}\" {{ host \"web1\" address=\"10.0.0.1\" }}`; write variables in `vars {{ … }}` of the group or the host"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn notation_is_told_by_the_first_line() {
        let check = |text: &str, part: Option<&str>| {
            let found = report(FileId(0), text).map(|report| report.message);
            assert_eq!(found.is_some(), part.is_some(), "{text}");
            assert!(part.is_none_or(|part| found.is_some_and(|found| found.contains(part))), "{text}");
        };
        check("---\n- hosts: web\n", Some("YAML"));
        check("# mine\n\n- hosts: web\n", Some("YAML"));
        check("all:\n  hosts:\n", Some("YAML"));
        check("[web]\nweb1\n", Some("INI"));
        check("; mine\n[web:vars]\nx=1\n", Some("INI"));
        for kdl in [
            "",
            "host \"a\"",
            "// a: b\nhost \"a\"",
            "- \"a\"",
            "a: 1",
            "# mine\nhost \"a\"",
            "on: { }",
            "[a",
            "--- a",
        ] {
            check(kdl, None);
        }
    }
}
