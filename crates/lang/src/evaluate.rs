//! What a written value comes to: strings are filled in, annotations are followed.
//!
//! What names stand for is the scope's, which type a value has its parameter's.

use std::sync::Arc;

use converge_model::Content;
use minijinja::Value;

use crate::base::Base;
use crate::compile::ContentSource;
use crate::diagnostic::{Diagnostic, FileId, Files, Span};
use crate::document::{Literal, Origin, Written};
use crate::given::Atom;
use crate::nearest::did_you_mean;
use crate::sources::{EntryKind, SourceError, join};
use crate::template::{
    Evaluated, Found, GivenAt, List, Map, Marks, Rendered, Scope, ScopeError, TemplateError, is_template,
    unknown,
};
use crate::tree::{Entry, Tree};
use crate::world::World;

/// The largest `(file)` that becomes a text, in bytes.
const TEXT_LIMIT: u64 = 64 * 1024;

/// Where values are evaluated: what names stand for, and whose files are meant.
#[derive(Clone)]
pub(crate) struct Setting {
    pub(crate) world: Arc<World>,
    pub(crate) scope: Arc<dyn Scope>,
    pub(crate) base: Arc<Base>,
}

impl Setting {
    /// The same place with more names.
    pub(crate) fn with(&self, scope: Arc<dyn Scope>) -> Self {
        Self { scope, ..self.clone() }
    }

    /// The value of `written`.
    pub(crate) fn value(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let text = match &written.literal {
            Literal::Text(text) => text,
            Literal::Int(number, _) => return Ok(plain(Value::from(*number))),
            Literal::Float(number, _) => return Ok(plain(Value::from(*number))),
            Literal::Bool(value) => return Ok(plain(Value::from(*value))),
            Literal::Null => return Ok(plain(Value::from(()))),
            Literal::Broken => return Ok(Evaluated { value: unknown(), marks: Marks::UNKNOWN }),
        };
        match written.origin {
            Origin::Raw => Ok(plain(Value::from(text.clone()))),
            Origin::Plain if !is_template(text) => Ok(plain(Value::from(text.clone()))),
            Origin::Plain => {
                self.base.engine.text(text, &self.scope).map(rendered).map_err(|e| self.failed(e, written))
            }
            Origin::Expr => self.expression(text, written),
            Origin::Template => self.template(written),
            Origin::File => self.file(written),
            Origin::Env => self.env(text, written),
            Origin::Secret => {
                let name = self.name(written)?;
                self.world.secret(&name.text, written.at).map_err(|report| report.given(name.given.places()))
            }
            Origin::Digest => self.digest(written),
        }
    }

    /// The value of an expression, written as it stands or with `(expr)`.
    pub(crate) fn expression(&self, text: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        self.base.engine.expression(text, &self.scope).map_err(|error| self.failed(error, written))
    }

    /// The value of a whole tree, its leaves with marks of their own.
    pub(crate) fn tree(&self, tree: &Tree) -> Result<Found, Diagnostic> {
        match tree {
            Tree::Leaf(written) => {
                self.value(written).map(|Evaluated { value, marks }| Found { value, marks })
            }
            Tree::List(items, _) => {
                let items = self.every(items.iter())?;
                let items = items.into_iter().map(|found| (found.value, found.marks)).collect();
                Ok(Found { value: List::new(items), marks: Marks::default() })
            }
            Tree::Map(entries, at) => self.map(entries, *at),
        }
    }

    /// The values of all trees, or the first mistake; the others are noted, so that each is said at once.
    fn every<'t>(&self, trees: impl Iterator<Item = &'t Tree>) -> Result<Vec<Found>, Diagnostic> {
        let (mut values, mut first) = (Vec::new(), None);
        for tree in trees {
            match (self.tree(tree), &first) {
                (Ok(value), _) => values.push(value),
                (Err(mistake), None) => first = Some(mistake),
                (Err(mistake), Some(first)) => self.world.note(first, mistake),
            }
        }
        first.map_or(Ok(values), Err)
    }

    fn map(&self, entries: &[Entry], at: Span) -> Result<Found, Diagnostic> {
        let values = self.every(entries.iter().map(|entry| &entry.value))?;
        let keys = entries.iter().map(|entry| entry.key.to_string());
        let entries = keys.zip(values).map(|(key, found)| (key, found.value, found.marks)).collect();
        let value = Map::folding(entries)
            .map_err(|clash| Diagnostic::error("lang::clash", clash.to_string()).label(at, "in this map"))?;
        Ok(Found { value, marks: Marks::default() })
    }

    /// The text of a name, of a path, of what must be the same before and after a host has spoken: filled in without
    /// facts.
    pub(crate) fn name(&self, written: &Written) -> Result<Name, Diagnostic> {
        let Literal::Text(text) = &written.literal else {
            return Err(Diagnostic::error("lang::form", "a name is a text").label(written.at, "is none"));
        };
        if !is_template(text) {
            return Ok(Name { text: text.clone(), given: GivenAt::default() });
        }
        let scope: Arc<dyn Scope> = Arc::new(WithoutFacts(self.scope.clone()));
        let rendered = self.base.engine.text(text, &scope).map_err(|error| self.failed(error, written))?;
        let Rendered { text, marks } = rendered;
        if marks.unknown {
            return Err(from_facts(written.at).given(marks.given.places()));
        }
        if marks.tainted {
            return Err(secret_here(written.at, "a path or name").given(marks.given.places()));
        }
        Ok(Name { text: text.into(), given: marks.given })
    }

    fn template(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let Name { text: name, given } = self.name(written)?;
        let path = join("", &name).unwrap_or_default();
        let Some((id, text)) = self.base.template(&path) else {
            return Err(Diagnostic::error("lang::template", format!("there is no template `{name}`"))
                .label(written.at, "named here")
                .help("templates stand in the folder `templates` of the project, or of their module")
                .maybe_help(did_you_mean(&name, self.base.template_names()))
                .given(given.places()));
        };
        self.base
            .engine
            .file(&path, text, &self.scope)
            .map(rendered)
            .map_err(|error| in_file(&error, *id).label(written.at, "filled in here"))
    }

    fn file(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let name = self.name(written)?;
        self.file_text(&name.text, written).map_err(|report| report.given(name.given.places()))
    }

    fn file_text(&self, name: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        let path = self.file_path(name, written.at)?;
        let bytes = self
            .base
            .read(self.world.sources(), &path, TEXT_LIMIT)
            .map_err(|error| unreadable(name, &error, written.at))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Diagnostic::error("lang::utf8", format!("`{name}` is not UTF-8 text"))
                .label(written.at, "used as a text")
                .help("only as the content of a file may it hold any bytes")
        })?;
        Ok(plain(Value::from(text)))
    }

    /// The path below `files/` that a `(file)` names.
    pub(crate) fn file_path(&self, name: &str, at: Span) -> Result<String, Diagnostic> {
        join("", name).filter(|path| !path.is_empty()).ok_or_else(|| {
            Diagnostic::error("lang::path", "the path leads out of `files`")
                .label(at, "outside")
                .help("`(file)` and `(template)` name what is in `files` and `templates` of the project, or of their module")
        })
    }

    /// A file of the project as content; a folder as the archive that it is packed into.
    pub(crate) fn project_file(&self, path: &str, at: Span) -> Result<Atom, Diagnostic> {
        let outside = || {
            Diagnostic::error("lang::path", "the path leads out of the project")
                .label(at, "outside")
                .help("what hosts get stands in the project's folder")
        };
        let path = join("", path).filter(|path| !path.is_empty()).ok_or_else(outside)?;
        let sources = self.world.sources();
        let read = match sources.kind(&path) {
            Ok(EntryKind::Folder) => sources.packed(&path),
            _ => sources.digest(&path),
        };
        let (digest, length) = read.map_err(|error| unreadable(&path, &error, at))?;
        Ok(Atom::Content(Content::Plain { digest, length }, ContentSource::File(path)))
    }

    /// The digest of a file of the project, short enough for a name.
    fn digest(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let Name { text: path, given } = self.name(written)?;
        match self.project_file(&path, written.at).map_err(|report| report.given(given.places()))? {
            Atom::Content(Content::Plain { digest, .. }, _) => {
                Ok(Evaluated { value: Value::from(digest.short()), marks: Marks::given(given) })
            }
            _ => Ok(Evaluated { value: unknown(), marks: Marks::UNKNOWN }),
        }
    }

    fn env(&self, name: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        match self.world.sources().env(name) {
            Some(value) => Ok(plain(Value::from(value))),
            None => Err(Diagnostic::error("lang::env", format!("the environment has no `{name}`"))
                .label(written.at, "not set")
                .help(format!("set it for the command: `{name}=… converge …`"))),
        }
    }

    /// A mistake in a template or expression, shown where it is written.
    fn failed(&self, error: TemplateError, written: &Written) -> Diagnostic {
        in_text(error, written, self.world.files())
    }
}

/// A name or path, filled in.
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    /// The parameters that it was made of.
    pub(crate) given: GivenAt,
}

/// A mistake in a text of an inventory, shown where it is written.
pub(crate) fn in_text(error: TemplateError, written: &Written, files: &Files) -> Diagnostic {
    if let Some(ScopeError(cause)) = error.cause {
        return if cause.labels.is_empty() { cause.label(written.at, "here") } else { *cause };
    }
    let part = error.range.and_then(|range| part(&range, written, files)).unwrap_or(written.at);
    let place = error.included.map(|(file, line)| format!(" (in `{file}`, line {line})")).unwrap_or_default();
    Diagnostic::error("lang::template", format!("{}{place}", error.message))
        .label(part, "here")
        .maybe_help(error.help)
}

/// The place in the file of a part of a text, where the text stands in the file as it is.
fn part(range: &std::ops::Range<usize>, written: &Written, files: &Files) -> Option<Span> {
    let Literal::Text(text) = &written.literal else { return None };
    let file = files.get(written.at.file)?;
    let source = file.text.get(written.at.start..written.at.start + written.at.len)?;
    let fragment = text.get(range.clone()).filter(|fragment| !fragment.is_empty())?;
    let offset = match source.find(&**text) {
        Some(at) => at + range.start,
        None => source.find(fragment)?,
    };
    Some(Span::new(written.at.file, written.at.start + offset, fragment.len()))
}

/// A mistake in a template file, shown there.
pub(crate) fn in_file(error: &TemplateError, file: FileId) -> Diagnostic {
    if let Some(ScopeError(cause)) = &error.cause {
        return (**cause).clone();
    }
    let place = error.included.as_ref();
    let place = place.map(|(file, line)| format!(" (in `{file}`, line {line})")).unwrap_or_default();
    let range = error.range.clone().unwrap_or(0..0);
    Diagnostic::error("lang::template", format!("{}{place}", error.message))
        .label(Span::new(file, range.start, range.len()), "here")
        .maybe_help(error.help.clone())
}

/// A file that cannot be read.
pub(crate) fn unreadable(name: &str, error: &SourceError, at: Span) -> Diagnostic {
    let report =
        Diagnostic::error("lang::read", format!("failed to read `{name}`: {error}")).label(at, "named here");
    match error {
        SourceError::TooLarge { .. } => {
            report.help("as a text a file has at most 64 KiB; as the content of a file any size")
        }
        _ => report,
    }
}

/// A secret where none may be.
pub(crate) fn secret_here(at: Span, place: &str) -> Diagnostic {
    Diagnostic::error("lang::secret", format!("a secret cannot be part of {place}"))
        .label(at, "holds a secret")
        .help("names, paths, conditions and addresses are shown and stored; keep secrets in values")
}

/// Something that may not depend on facts, and does.
pub(crate) fn from_facts(at: Span) -> Diagnostic {
    no_facts().label(at, "depends on facts")
}

/// The same where its place is not known yet: whoever fills the text in adds it.
pub(crate) fn no_facts() -> Diagnostic {
    Diagnostic::error("lang::facts", "this cannot depend on facts")
        .help("what is read on the controller, and how a host is reached, is decided before it speaks")
}

fn plain(value: Value) -> Evaluated {
    Evaluated { value, marks: Marks::default() }
}

fn rendered(rendered: Rendered) -> Evaluated {
    let Rendered { text, marks } = rendered;
    let value = if marks.unknown { unknown() } else { Value::from(text) };
    Evaluated { value, marks }
}

/// A scope in which facts may not be used.
struct WithoutFacts(Arc<dyn Scope>);

impl Scope for WithoutFacts {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        if name == "facts" {
            return Some(Err(ScopeError(Box::new(no_facts()))));
        }
        self.0.get(name)
    }

    fn names(&self) -> Vec<String> {
        self.0.names()
    }

    fn has(&self, name: &str) -> bool {
        self.0.has(name)
    }
}

/// A scope with a few names of its own before those of another.
pub(crate) struct Inner {
    pub(crate) names: Vec<(String, Found)>,
    pub(crate) outer: Arc<dyn Scope>,
}

impl Scope for Inner {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        match self.names.iter().find(|(own, _)| own == name) {
            Some((_, found)) => Some(Ok(found.clone())),
            None => self.outer.get(name),
        }
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.outer.names();
        names.extend(self.names.iter().map(|(name, _)| name.clone()));
        names
    }

    fn has(&self, name: &str) -> bool {
        self.names.iter().any(|(own, _)| own == name) || self.outer.has(name)
    }
}
