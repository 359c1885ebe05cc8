//! Parses a KDL file into nodes with their spans. It does not know what the nodes mean.
//!
//! It checks the rules for all files. Annotations are known, and numbers print as written. Properties are given once,
//! and bare words do not look like another notation. `parse_error` words the errors of the parser itself.

use std::sync::Arc;

use kdl::{KdlDocument, KdlEntry, KdlNode, KdlValue};

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Span};
use crate::source::suggest::did_you_mean;
use crate::syntax::other_notation;
use crate::syntax::parse_error;
use crate::syntax::prescan;

/// A node.
#[derive(Clone, Debug)]
pub(crate) struct Node {
    /// Its name.
    pub(crate) name: Arc<str>,
    /// The span of the name. Reports use it as the span of the node.
    pub(crate) at: Span,
    /// Its arguments.
    pub(crate) args: Vec<Written>,
    /// Its properties. Each key occurs once.
    pub(crate) props: Vec<Property>,
    /// The nodes in its braces. None without braces.
    pub(crate) children: Option<Vec<Node>>,
}

/// A property: `key=value`.
#[derive(Clone, Debug)]
pub(crate) struct Property {
    pub(crate) key: Arc<str>,
    /// The span of the key.
    pub(crate) at: Span,
    pub(crate) value: Written,
}

/// A value as written, with its annotation.
#[derive(Clone, Debug)]
pub(crate) struct Written {
    pub(crate) literal: Literal,
    pub(crate) origin: Origin,
    /// The span of the value, without the key of a property.
    pub(crate) at: Span,
}

/// A value without its annotation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Literal {
    Text(Arc<str>),
    /// A whole number and its spelling: `0o644`.
    Int(i64, Arc<str>),
    /// A number with a fraction and its spelling.
    Float(f64, Arc<str>),
    Bool(bool),
    Null,
    /// A value with a mistake that was already reported.
    Broken,
}

/// The origin of a value: its annotation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// No annotation: a string is a template.
    Plain,
    Expr,
    File,
    Template,
    Env,
    Raw,
    Secret,
    Digest,
}

impl Origin {
    const ALL: [(&'static str, Self); 7] = [
        ("expr", Self::Expr),
        ("file", Self::File),
        ("template", Self::Template),
        ("env", Self::Env),
        ("raw", Self::Raw),
        ("secret", Self::Secret),
        ("digest", Self::Digest),
    ];

    /// Returns the annotation as written.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, origin)| *origin == self).map_or("", |(name, _)| name)
    }
}

impl Node {
    /// Returns the nodes in its braces; empty if it has no braces.
    pub(crate) fn body(&self) -> &[Self] {
        self.children.as_deref().unwrap_or_default()
    }

    /// Returns the property `key`.
    pub(crate) fn prop(&self, key: &str) -> Option<&Property> {
        self.props.iter().find(|property| &*property.key == key)
    }
}

impl Written {
    /// Returns the text of a string that has no annotation or `(raw)`.
    pub(crate) fn plain_text(&self) -> Option<&Arc<str>> {
        match (&self.literal, self.origin) {
            (Literal::Text(text), Origin::Plain | Origin::Raw) => Some(text),
            _ => None,
        }
    }

    /// Whether it has the same content as `other`, whatever their places.
    pub(crate) fn same(&self, other: &Self) -> bool {
        self.origin == other.origin && self.literal == other.literal
    }
}

impl std::fmt::Display for Literal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Text(text) => write!(f, "{text:?}"),
            Self::Int(_, written) | Self::Float(_, written) => f.write_str(written),
            Self::Bool(value) => write!(f, "#{value}"),
            Self::Null => f.write_str("#null"),
            Self::Broken => f.write_str("?"),
        }
    }
}

impl std::fmt::Display for Written {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self.origin {
            Origin::Plain => write!(f, "{}", self.literal),
            origin => write!(f, "({}){}", origin.name(), self.literal),
        }
    }
}

/// Parses the text of a file. Returns the nodes that can be read and adds mistakes to `diagnostics`.
pub(crate) fn parse(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Vec<Node> {
    if let Some(report) = other_notation::report(file, text) {
        diagnostics.push(report);
        return Vec::new();
    }
    let document = document(file, text, diagnostics);
    document
        .map(|document| Reader { file, diagnostics, in_quote: false }.nodes(&document))
        .unwrap_or_default()
}

/// Parses the text of a file as KDL alone. None if it is not KDL; the mistakes are in `diagnostics`.
pub(crate) fn document(file: FileId, text: &str, diagnostics: &mut Diagnostics) -> Option<KdlDocument> {
    if let Err(refused) = prescan::check(text) {
        let at = Span::new(file, refused.start, refused.len);
        diagnostics.push(Diagnostic::error(Code::Guard, refused.message).label(at, "here"));
        return None;
    }
    prescan::parse(text).map_err(|error| parse_error::report(file, text, &error, diagnostics)).ok()
}

struct Reader<'a> {
    file: FileId,
    /// Whether the current word is inside single quotes. KDL reads these as part of bare words: `'apt update'`.
    in_quote: bool,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn nodes(&mut self, document: &KdlDocument) -> Vec<Node> {
        document.nodes().iter().map(|node| self.node(node)).collect()
    }

    fn node(&mut self, node: &KdlNode) -> Node {
        let at = self.span(node.name().span());
        if let Some(annotation) = node.ty() {
            let report = Diagnostic::error(
                Code::Annotation,
                "an annotation must stand before a value, not before a node",
            )
            .label(self.span(annotation.span()), "not here")
            .help(format!("write `{} ({})\"…\"`", node.name().value(), annotation.value()));
            self.diagnostics.push(report);
        }
        self.bare_word(node.name().value(), node.name().repr(), at);
        let mut read = Node {
            name: node.name().value().into(),
            at,
            args: Vec::new(),
            props: Vec::new(),
            children: None,
        };
        for entry in node.entries() {
            self.entry(entry, &mut read);
        }
        self.in_quote = false;
        read.children = node.children().map(|children| self.nodes(children));
        read
    }

    fn entry(&mut self, entry: &KdlEntry, node: &mut Node) {
        let Some(key) = entry.name() else {
            let at = self.span(entry.span());
            let value = self.value(entry, at);
            return node.args.push(value);
        };
        let key_at = self.span(key.span());
        let whole = entry.span();
        let repr = entry.format().map_or(0, |format| format.value_repr.len());
        let start = whole.offset() + whole.len().saturating_sub(repr);
        let at = Span::new(self.file, start, repr);
        self.bare_word(key.value(), key.repr(), key_at);
        let value = self.value(entry, at);
        match node.prop(key.value()) {
            None => node.props.push(Property { key: key.value().into(), at: key_at, value }),
            Some(first) => {
                let report = Diagnostic::given_twice(key.value(), at, first.value.at)
                    .help("keep one; write several values as a child: `tags \"a\" \"b\"`");
                self.diagnostics.push(report);
            }
        }
    }

    fn value(&mut self, entry: &KdlEntry, at: Span) -> Written {
        let repr = entry.format().map_or("", |format| format.value_repr.as_str());
        let literal = match entry.value() {
            KdlValue::String(text) if self.bare_word(text, Some(repr), at) => {
                Literal::Text(text.as_str().into())
            }
            KdlValue::String(text) => {
                single_quoted(text).map_or(Literal::Broken, |word| Literal::Text(word.into()))
            }
            KdlValue::Integer(number) => self.integer(*number, repr, at),
            KdlValue::Float(number) => self.float(*number, repr, at),
            KdlValue::Bool(value) => Literal::Bool(*value),
            KdlValue::Null => Literal::Null,
        };
        match self.origin(entry, &literal, at) {
            Some(origin) => Written { literal, origin, at },
            None => Written { literal: Literal::Broken, origin: Origin::Plain, at },
        }
    }

    /// Returns the annotation. None if it is wrong.
    fn origin(&mut self, entry: &KdlEntry, literal: &Literal, at: Span) -> Option<Origin> {
        let Some(annotation) = entry.ty() else { return Some(Origin::Plain) };
        let name = annotation.value();
        let Some((_, origin)) = Origin::ALL.iter().find(|(known, _)| *known == name) else {
            let names = Origin::ALL.iter().map(|(name, _)| *name);
            let report = Diagnostic::error(Code::Annotation, format!("there is no annotation `({name})`"))
                .label(at, "unknown")
                .help("there are (expr), (file), (template), (env), (raw) and (secret)")
                .maybe_help(did_you_mean(name, names));
            self.diagnostics.push(report);
            return None;
        };
        if !matches!(literal, Literal::Text(_)) {
            let report =
                Diagnostic::error(Code::Annotation, format!("`({name})` must stand before a string"))
                    .label(at, "not a string")
                    .help(format!("write `({name})\"…\"`"));
            self.diagnostics.push(report);
            return None;
        }
        Some(*origin)
    }

    fn integer(&mut self, number: i128, repr: &str, at: Span) -> Literal {
        let Ok(number) = i64::try_from(number) else {
            self.diagnostics.push(
                Diagnostic::error(Code::Number, "the number is too large")
                    .label(at, "outside -2^63 … 2^63-1")
                    .help("quote it if it is a string"),
            );
            return Literal::Broken;
        };
        let prefixed = ["0x", "0b", "0o"].iter().any(|p| repr.trim_start_matches(['-', '+']).starts_with(p));
        if !prefixed && !repr.contains('_') && number.to_string() != repr {
            self.prints_otherwise(repr, &number.to_string(), at);
            return Literal::Broken;
        }
        Literal::Int(number, repr.into())
    }

    fn float(&mut self, number: f64, repr: &str, at: Span) -> Literal {
        if !number.is_finite() {
            self.diagnostics.push(
                Diagnostic::error(Code::Number, "the number is too large, or not a number")
                    .label(at, "not finite")
                    .help("quote it if it is a string"),
            );
            return Literal::Broken;
        }
        let plain = repr.bytes().all(|b| b.is_ascii_digit() || matches!(b, b'.' | b'-'));
        let printed = format!("{number:?}");
        if plain && printed != repr {
            self.prints_otherwise(repr, &printed, at);
            return Literal::Broken;
        }
        Literal::Float(number, repr.into())
    }

    fn prints_otherwise(&mut self, repr: &str, printed: &str, at: Span) {
        self.diagnostics.push(
            Diagnostic::error(Code::Number, format!("`{repr}` would be read as the number {printed}"))
                .label(at, "this number")
                .help(format!("write it in quotes: `\"{repr}\"`")),
        );
    }

    /// Refuses unquoted words in the spelling of another notation. Returns whether the word is fine.
    fn bare_word(&mut self, word: &str, repr: Option<&str>, at: Span) -> bool {
        if repr.is_none_or(|repr| repr.starts_with(['"', '#'])) {
            return true;
        }
        if self.in_quote {
            self.in_quote = !word.ends_with('\'');
            return false;
        }
        self.in_quote = word.starts_with('\'') && single_quoted(word).is_none();
        let (found, help) = if self.in_quote {
            (
                "a string needs double quotes, not single quotes",
                format!("write double quotes: `\"{} …\"`", word.replace('\'', "")),
            )
        } else if word.contains('\'') {
            (
                "a string needs double quotes, not single quotes",
                format!("write `\"{}\"`", word.replace('\'', "")),
            )
        } else if let Some(word) = word.strip_suffix(',') {
            ("values are separated by blanks, not by commas", format!("write `{word}`"))
        } else if let Some(word) = word.strip_suffix(':') {
            ("a name and its value are separated by a blank, not by a colon", format!("write `{word}`"))
        } else {
            return true;
        };
        self.diagnostics.push(Diagnostic::error(Code::Word, found).label(at, "in this word").help(help));
        false
    }

    fn span(&self, span: miette::SourceSpan) -> Span {
        Span::new(self.file, span.offset(), span.len())
    }
}

/// Returns the word between two single quotes.
fn single_quoted(word: &str) -> Option<&str> {
    word.strip_prefix('\'')?.strip_suffix('\'').filter(|word| !word.is_empty() && !word.contains('\''))
}
