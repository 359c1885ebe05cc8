//! Splits commands into words as a shell would. This happens before templates are filled in, so that a value stays one
//! word.
//!
//! `template` fills in the words; the kind runs them.

use std::ops::Range;

/// A command that cannot be split.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct WordsError {
    /// The wrong bytes of the text.
    pub(crate) span: Range<usize>,
    /// The mistake, as a lowercase fragment.
    pub(crate) message: String,
    /// Advice for the user.
    pub(crate) help: Option<String>,
}

/// Returns the words of `command`, each still a template. Quotes and blanks within `{{ }}` and `{% %}` do not split.
///
/// During splitting, control characters that no command contains stand for each placeholder. Afterwards the placeholder
/// is restored.
pub(crate) fn split(command: &str) -> Result<Vec<String>, WordsError> {
    if let Some(at) = command.find([OPEN, '\0']) {
        return Err(error(at..at + 1, "a control character in a command", None));
    }
    let (hidden, pieces) = hide(command)?;
    let words = shell_words::split(&hidden).map_err(|_| {
        let help = "close the quote, or use `shell=#true` for a line of shell".to_owned();
        error(open_quote(command)..command.len(), "a quote that is not closed", Some(help))
    })?;
    Ok(words.iter().map(|word| show(word, &pieces)).collect())
}

/// Returns the words of `command` that have a meaning only in a shell: pipes, redirections, separators, variables,
/// patterns. Quoted words are intended and are left out.
pub(crate) fn signs(command: &str) -> Vec<String> {
    let Ok((hidden, pieces)) = hide(command) else { return Vec::new() };
    let mut signs: Vec<String> = raw_words(&hidden).into_iter().filter(|word| is_sign(word)).collect();
    signs.iter_mut().for_each(|sign| *sign = show(sign, &pieces));
    signs.dedup();
    signs
}

/// Returns the words as written. Words with a quote or a backslash are left out, because they are intended.
fn raw_words(text: &str) -> Vec<String> {
    let mut words = vec![(String::new(), false)];
    let (mut quote, mut escaped) = (None, false);
    for c in text.chars() {
        let is_blank = c.is_whitespace() && quote.is_none() && !escaped;
        if is_blank {
            words.push((String::new(), false));
            continue;
        }
        let Some((word, is_meant)) = words.last_mut() else { continue };
        word.push(c);
        *is_meant |= matches!(c, '"' | '\'' | '\\');
        match quote {
            _ if escaped => escaped = false,
            Some('\'') if c != '\'' => {}
            _ if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            None if matches!(c, '"' | '\'') => quote = Some(c),
            _ => {}
        }
    }
    words.into_iter().filter(|(_, is_meant)| !is_meant).map(|(word, _)| word).collect()
}

fn is_sign(word: &str) -> bool {
    let is_variable = |rest: &str| rest.starts_with(|c: char| c.is_ascii_alphabetic() || "_({".contains(c));
    let redirected = word.trim_start_matches(|c: char| c.is_ascii_digit() || c == '&');
    matches!(word, "|" | "||" | "|&" | "&&" | "&" | ";" | "*")
        || redirected.starts_with(['>', '<'])
        || word.len() > 1 && word.ends_with(';')
        || word.strip_prefix('$').is_some_and(is_variable)
        || word.contains('/') && word.contains('*') && !word.contains("://")
        || word.starts_with('`')
}

/// Encloses the number of a hidden placeholder. The character has no meaning in a shell.
const OPEN: char = '\u{1}';

/// Returns `command` with its placeholders replaced by their numbers, and the placeholders.
fn hide(command: &str) -> Result<(String, Vec<&str>), WordsError> {
    let mut hidden = String::with_capacity(command.len());
    let mut pieces = Vec::new();
    let mut at = 0;
    while let Some((start, end)) = placeholder(command, at)? {
        hidden.push_str(&command[at..start]);
        hidden.push_str(&format!("{OPEN}{}{OPEN}", pieces.len()));
        pieces.push(&command[start..end]);
        at = end;
    }
    hidden.push_str(&command[at..]);
    Ok((hidden, pieces))
}

/// Returns the next `{{ … }}` or `{% … %}` at or after `at`.
fn placeholder(command: &str, at: usize) -> Result<Option<(usize, usize)>, WordsError> {
    let found = ["{{", "{%"].into_iter().filter_map(|open| command[at..].find(open)).min();
    let Some(start) = found.map(|found| at + found) else {
        return Ok(None);
    };
    let close = if command[start..].starts_with("{{") { "}}" } else { "%}" };
    match end_of(&command[start + 2..], close) {
        Some(length) => Ok(Some((start, start + 2 + length))),
        None => Err(error(start..command.len(), format!("no `{close}` to the end of the command"), None)),
    }
}

/// Returns the length of `expression` up to and including `close`. A `close` inside quotes of the expression does not
/// count.
fn end_of(expression: &str, close: &str) -> Option<usize> {
    let mut quote = None;
    let mut escaped = false;
    for (at, c) in expression.char_indices() {
        match quote {
            _ if escaped => escaped = false,
            Some(_) if c == '\\' => escaped = true,
            Some(open) if c == open => quote = None,
            Some(_) => {}
            None if c == '"' || c == '\'' => quote = Some(c),
            None if expression[at..].starts_with(close) => return Some(at + close.len()),
            None => {}
        }
    }
    None
}

fn show(word: &str, pieces: &[&str]) -> String {
    word.split(OPEN)
        .enumerate()
        .map(|(index, part)| match index % 2 {
            0 => part,
            _ => {
                part.parse::<usize>().ok().and_then(|number| pieces.get(number)).copied().unwrap_or_default()
            }
        })
        .collect()
}

/// Returns the approximate position of the unclosed quote: the last quote outside placeholders.
fn open_quote(command: &str) -> usize {
    let mut at = 0;
    let mut last = 0;
    while let Ok(Some((start, end))) = placeholder(command, at) {
        last = command[at..start].rfind(['"', '\'', '\\']).map_or(last, |found| at + found);
        at = end;
    }
    command[at..].rfind(['"', '\'', '\\']).map_or(last, |found| at + found)
}

fn error(span: Range<usize>, message: impl Into<String>, help: Option<String>) -> WordsError {
    WordsError { span, message: message.into(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_stays_one_word() {
        let check = |command: &str, words: &[&str]| assert_eq!(split(command).unwrap(), words, "{command}");
        check("", &[]);
        check("  a   b\tc ", &["a", "b", "c"]);
        check("createuser {{ name }}", &["createuser", "{{ name }}"]);
        check("a --x={{ b | default('c d') }}/e f", &["a", "--x={{ b | default('c d') }}/e", "f"]);
        check("a '{{ b }} c' \"d {{ e }}\"", &["a", "{{ b }} c", "d {{ e }}"]);
        check(r#"a {{ "}}" ~ 'it\'s' }} b"#, &["a", r#"{{ "}}" ~ 'it\'s' }}"#, "b"]);
        check("a {% if b == 'c' %}d e{% endif %}", &["a", "{% if b == 'c' %}d", "e{% endif %}"]);
        check("a {{b}}{{c}}", &["a", "{{b}}{{c}}"]);
        check("grep '^a b$' /etc/x", &["grep", "^a b$", "/etc/x"]);
        check("a b\\ c \"\" ''", &["a", "b c", "", ""]);
        check("a # comment", &["a"]);
        check("é {{ ü }}", &["é", "{{ ü }}"]);
        check("a ${x} {y}", &["a", "${x}", "{y}"]);
    }

    #[test]
    fn signs_of_a_shell_are_found_unless_they_are_quoted() {
        let check = |command: &str, found: &[&str]| assert_eq!(signs(command), found, "{command}");
        check("cat /etc/passwd | grep root > /tmp/x", &["|", ">"]);
        check("a && b || c; d", &["&&", "||", "c;"]);
        check("a >>/x 2>&1 </y &>z", &[">>/x", "2>&1", "</y", "&>z"]);
        check("rm -f /tmp/*.log", &["/tmp/*.log"]);
        check("echo $HOME ${X} $(date) `date` *", &["$HOME", "${X}", "$(date)", "`date`", "*"]);
        check("a &", &["&"]);
        check("a \\\" | b", &["|"]);
        check("sh -c 'a | b > c'", &[]);
        check("find / -name '*.log' -exec rm {} \\; \"|\" '>' \\* cost\\$5 5$", &[]);
        check("grep {{ x | quote }} /y", &[]);
        check("a {{ '> |' }}", &[]);
        check("curl https://x/*?a=b&c=d a<b", &[]);
    }

    #[test]
    fn what_cannot_be_split_is_refused_with_its_span() {
        let check = |command: &str, at: &str, message: &str| {
            let error = split(command).expect_err(command);
            assert_eq!((&command[error.span.clone()], error.message.as_str()), (at, message));
        };
        check("a 'b c", "'b c", "a quote that is not closed");
        check("a {{ b", "{{ b", "no `}}` to the end of the command");
        check("a {% b }}", "{% b }}", "no `%}` to the end of the command");
        check("a {{ 'b }}", "{{ 'b }}", "no `}}` to the end of the command");
        check("a \u{1}0\u{1}", "\u{1}", "a control character in a command");
    }
}
