//! The decrypted text of one file of secrets. It is KDL like `vars`; its values are read by paths such as `a/b`. A
//! secret can be read and set. Setting one keeps the comments and the order of the text.
//!
//! No report shows any of the text. The text is wiped from memory after use; copies made by the parser are not.

use std::fmt::Write as _;
use std::ops::Range;
use std::sync::Arc;

use converge_model::Secret;
use kdl::{KdlDocument, KdlIdentifier};

use crate::source::diagnostic::{Diagnostics, FileId};
use crate::syntax::parse::{self, Literal, Node, Origin};
use crate::syntax::prescan;
use crate::syntax::quote::quote;

/// The largest text of a file of secrets, in bytes.
pub const SECRETS_LIMIT: usize = prescan::SIZE;

/// A decrypted and parsed file of secrets.
pub struct SecretsText {
    text: Secret,
    /// The secrets, in the order written.
    values: Vec<(String, Arc<str>)>,
}

/// A mistake in a file of secrets. It never shows a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SecretsMistake {
    /// Bytes that are not text.
    #[error("it is not UTF-8 text")]
    NotText,
    /// A line that cannot be parsed.
    #[error("its line {0} is not KDL 2.0")]
    NotKdl(usize),
    /// A node that is neither one value nor a group.
    #[error("`{0}` must have one value")]
    Shape(String),
    /// A name with two values.
    #[error("it defines `{0}` twice")]
    Twice(String),
}

/// Why a secret cannot be set.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SetError {
    /// The name could not be read back.
    #[error("`{0}` cannot be the name of a secret")]
    Name(String),
    /// A group has this name.
    #[error("`{0}` holds other secrets, so it cannot be one itself")]
    Holds(String),
    /// A secret has the name of a group that is needed.
    #[error("`{0}` is a secret, so it cannot hold others")]
    IsSecret(String),
    /// The value is not text.
    #[error("the value is not UTF-8 text")]
    NotText,
    /// The file would become too large.
    #[error("the file would grow over {SECRETS_LIMIT} bytes")]
    TooLarge,
}

impl SecretsText {
    /// Returns a file without secrets.
    pub fn empty() -> Self {
        Self { text: Secret::new(""), values: Vec::new() }
    }

    /// Reads a text. Returns the readable part, and every mistake.
    pub fn parse(text: Secret) -> (Self, Vec<SecretsMistake>) {
        let mut mistakes = Vec::new();
        let nodes = match nodes(text.expose()) {
            Ok(nodes) => nodes,
            Err(mistake) => {
                mistakes.push(mistake);
                Vec::new()
            }
        };
        let mut read = Self { text, values: Vec::new() };
        read.nodes("", &nodes, &mut mistakes);
        (read, mistakes)
    }

    /// Returns the text to encrypt.
    pub fn text(&self) -> &Secret {
        &self.text
    }

    /// Returns the names of all secrets, in the order written.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.values.iter().map(|(name, _)| name.as_str())
    }

    /// Returns the secret `name`.
    pub fn get(&self, name: &str) -> Option<Secret> {
        self.value(name).map(|value| Secret::new(value.as_bytes()))
    }

    /// Returns this file with the secret `name` set to `value`. It replaces the old value, or is added at the end of
    /// its group.
    pub fn with(&self, name: &str, value: &Secret) -> Result<Self, SetError> {
        let new = std::str::from_utf8(value.expose()).map_err(|_| SetError::NotText)?;
        if name.split('/').any(|part| part.is_empty() || part.chars().any(char::is_control)) {
            return Err(SetError::Name(name.to_owned()));
        }
        self.no_conflict(name)?;
        let text = std::str::from_utf8(self.text.expose()).unwrap_or_default();
        let document = prescan::parse(text).map_err(|_| SetError::Name(name.to_owned()))?;
        let text = Secret::new(written(text, &insertion(text, &document, name), new));
        if text.expose().len() > SECRETS_LIMIT {
            return Err(SetError::TooLarge);
        }
        let (changed, mistakes) = Self::parse(text);
        // Check the result for any spelling of file and name: this secret has the new value, and the others are
        // unchanged.
        let others =
            |of: &Self| of.values.iter().filter(|(known, _)| known != name).cloned().collect::<Vec<_>>();
        match mistakes.is_empty() && changed.value(name) == Some(new) && others(&changed) == others(self) {
            true => Ok(changed),
            false => Err(SetError::Name(name.to_owned())),
        }
    }

    /// Returns every secret with its value.
    pub(crate) fn into_values(self) -> Vec<(String, Arc<str>)> {
        self.values
    }

    fn value(&self, name: &str) -> Option<&str> {
        self.values.iter().find(|(known, _)| known == name).map(|(_, value)| &**value)
    }

    fn no_conflict(&self, name: &str) -> Result<(), SetError> {
        let inside =
            |inner: &str, outer: &str| inner.strip_prefix(outer).is_some_and(|rest| rest.starts_with('/'));
        match self.names().find(|known| inside(known, name) || inside(name, known)) {
            Some(known) if inside(name, known) => Err(SetError::IsSecret(known.to_owned())),
            Some(_) => Err(SetError::Holds(name.to_owned())),
            None => Ok(()),
        }
    }

    fn nodes(&mut self, above: &str, nodes: &[Node], mistakes: &mut Vec<SecretsMistake>) {
        for node in nodes {
            let name =
                if above.is_empty() { node.name.to_string() } else { format!("{above}/{}", node.name) };
            match (&node.args[..], node.props.is_empty(), &node.children) {
                ([one], true, None) if matches!(one.origin, Origin::Plain | Origin::Raw) => {
                    let value = match &one.literal {
                        Literal::Text(text) => Arc::clone(text),
                        Literal::Int(_, written) | Literal::Float(_, written) => Arc::clone(written),
                        Literal::Bool(value) => value.to_string().into(),
                        Literal::Null | Literal::Broken => continue,
                    };
                    match self.value(&name) {
                        Some(_) => mistakes.push(SecretsMistake::Twice(name)),
                        None => self.values.push((name, value)),
                    }
                }
                ([], true, Some(children)) => self.nodes(&name, children, mistakes),
                _ => mistakes.push(SecretsMistake::Shape(name)),
            }
        }
    }
}

/// Parses a text. Its diagnostics are not returned, because they would show the text.
fn nodes(text: &[u8]) -> Result<Vec<Node>, SecretsMistake> {
    let mut own = Diagnostics::default();
    let read = std::str::from_utf8(text).map_err(|_| SecretsMistake::NotText)?;
    let nodes = parse::parse(FileId(u32::MAX), read, &mut own);
    if !own.has_errors() {
        return Ok(nodes);
    }
    let start = own.iter().filter_map(|d| d.labels.first()).map(|(span, _)| span.start).min().unwrap_or(0);
    let before = &text[..start.min(text.len())];
    Err(SecretsMistake::NotKdl(before.iter().filter(|byte| **byte == b'\n').count() + 1))
}

/// A change of the text: the replaced part, and the text before and after the new value.
struct Insertion {
    replaced: Range<usize>,
    before: String,
    after: String,
}

/// Returns where the secret `name` is written: over its old value, or else at the end of the innermost existing group.
fn insertion(text: &str, document: &KdlDocument, name: &str) -> Insertion {
    let (mut group, mut rest, mut end, mut depth) = (document, name, text.len(), 0);
    loop {
        let whole =
            group.nodes().iter().find(|node| node.name().value() == rest && node.children().is_none());
        if let Some(entry) = whole.and_then(|node| node.entries().first()) {
            let span = entry.span();
            let replaced = span.offset()..span.offset() + span.len();
            return Insertion { replaced, before: String::new(), after: String::new() };
        }
        let inner = rest.split_once('/').and_then(|(first, below)| {
            let node = group.nodes().iter().find(|node| node.name().value() == first)?;
            Some((node.children()?, below, node.span()))
        });
        let Some((children, below, span)) = inner else { return at_end(text, end, depth, rest) };
        // The span of a node ends directly after its closing brace.
        (group, rest, end, depth) = (children, below, span.offset() + span.len() - 1, depth + 1);
    }
}

/// Returns the insertion of a new node with the groups that it needs, on its own lines before `end`.
fn at_end(text: &str, end: usize, depth: usize, name: &str) -> Insertion {
    let indent = |depth: usize| "    ".repeat(depth);
    let above = text[..end].trim_end_matches([' ', '\t']);
    let own_line = above.is_empty() || above.ends_with('\n');
    let mut before = String::from(if own_line { "" } else { "\n" });
    let parts: Vec<_> = name.split('/').collect();
    let last = parts.len() - 1;
    for (level, part) in parts.iter().enumerate() {
        let opens = if level < last { " {\n" } else { " " };
        let _ = write!(before, "{}{}{opens}", indent(depth + level), KdlIdentifier::from(*part));
    }
    let mut after = String::from("\n");
    for level in (0..last).rev() {
        let _ = writeln!(after, "{}}}", indent(depth + level));
    }
    after.push_str(&indent(depth.saturating_sub(1)));
    Insertion { replaced: above.len()..end, before, after }
}

fn written(text: &str, insertion: &Insertion, value: &str) -> Vec<u8> {
    // Reserve space for the longest spelling: a growing buffer would leave copies in memory.
    let mut out = Vec::with_capacity(
        text.len() + insertion.before.len() + insertion.after.len() + value.len() * 10 + 2,
    );
    out.extend_from_slice(&text.as_bytes()[..insertion.replaced.start]);
    out.extend_from_slice(insertion.before.as_bytes());
    quote(value, &mut out);
    out.extend_from_slice(insertion.after.as_bytes());
    out.extend_from_slice(&text.as_bytes()[insertion.replaced.end..]);
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> SecretsText {
        let (read, mistakes) = SecretsText::parse(Secret::new(text));
        assert_eq!(mistakes, [], "{text}");
        read
    }

    fn set(text: &str, name: &str, value: &str) -> Result<String, SetError> {
        let changed = parse(text).with(name, &Secret::new(value))?;
        assert!(changed.get(name).is_some_and(|secret| secret.expose() == value.as_bytes()), "{text}");
        Ok(String::from_utf8(changed.text().expose().to_vec()).unwrap())
    }

    #[test]
    fn a_new_secret_stands_at_the_end_of_its_group() {
        let check = |text: &str, after: &str| assert_eq!(set(text, "shop/db", "x").as_deref(), Ok(after));
        check("", "shop {\n    db \"x\"\n}\n");
        check("a \"1\"", "a \"1\"\nshop {\n    db \"x\"\n}\n");
        check("a \"1\" // why\n// end", "a \"1\" // why\n// end\nshop {\n    db \"x\"\n}\n");
        check("shop {}\n", "shop {\n    db \"x\"\n}\n");
        check("shop { a \"1\" }", "shop { a \"1\"\n    db \"x\"\n}");
        check(
            "shop {\n    a \"1\"\n    // end\n}\nb \"2\"\n",
            "shop {\n    a \"1\"\n    // end\n    db \"x\"\n}\nb \"2\"\n",
        );
        assert_eq!(
            set("a {\n    b {\n    }\n}\n", "a/b/c/d", "x").as_deref(),
            Ok("a {\n    b {\n        c {\n            d \"x\"\n        }\n    }\n}\n")
        );
    }

    #[test]
    fn a_known_secret_is_replaced_where_it_stands() {
        let check = |text: &str, after: &str| assert_eq!(set(text, "shop/db", "x").as_deref(), Ok(after));
        check("shop { db \"old\" /* c */; e \"1\" }", "shop { db \"x\" /* c */; e \"1\" }");
        check("shop {\n  db 1234 // pin\n}\n", "shop {\n  db \"x\" // pin\n}\n");
        check("\"shop/db\" \"old\"\n", "\"shop/db\" \"x\"\n");
        check("shop { db \"\"\"\n  a\n  b\n  \"\"\"\n}", "shop { db \"x\"\n}");
        check("shop { db #null }", "shop { db \"x\" }");
    }

    #[test]
    fn every_text_comes_back_as_it_was_given() {
        for value in
            ["", "a\nb\n", "\"\\{{ x }}", "\u{1b}[0m\u{202e}\0\t\r\n", "true", "#\"x\"#", "é𝄞\u{feff}"]
        {
            for text in ["", "shop { db \"old\" }"] {
                assert!(set(text, "shop/db", value).is_ok(), "{value:?}");
            }
        }
    }

    #[test]
    fn names_that_cannot_be_are_refused() {
        let check = |text: &str, name: &str, error: SetError| assert_eq!(set(text, name, "x"), Err(error));
        check("", "", SetError::Name(String::new()));
        check("", "a//b", SetError::Name("a//b".to_owned()));
        check("", "a\n", SetError::Name("a\n".to_owned()));
        check("a { b \"1\" }", "a", SetError::Holds("a".to_owned()));
        check("a { b \"1\" }", "a/b/c", SetError::IsSecret("a/b".to_owned()));
        let large = "x".repeat(SECRETS_LIMIT);
        assert_eq!(set("", "a", &large), Err(SetError::TooLarge));
    }

    #[test]
    fn names_with_blanks_and_signs_are_quoted() {
        for name in ["a b/c", "true/x", "1/2", "-1", "ä/\"q\""] {
            assert!(set("x \"1\"\n", name, "v").is_ok(), "{name}");
        }
    }

    #[test]
    fn every_mistake_is_said_and_none_shows_a_secret() {
        let check = |text: &[u8], mistakes: &[SecretsMistake]| {
            let (_, found) = SecretsText::parse(Secret::new(text));
            assert_eq!(found, mistakes);
            assert!(found.iter().all(|mistake| !mistake.to_string().contains("hunter2")));
        };
        let shape = |name: &str| SecretsMistake::Shape(name.to_owned());
        check(b"a \"1\"\nb hunter2'x", &[SecretsMistake::NotKdl(2)]);
        check(b"\xff", &[SecretsMistake::NotText]);
        check(b"a \"hunter2\" \"2\"; b x=\"hunter2\"; c; d (secret)\"x\"", &["a", "b", "c", "d"].map(shape));
        check(b"a { b \"hunter2\" }\n\"a/b\" \"2\"", &[SecretsMistake::Twice("a/b".to_owned())]);
    }
}
