//! Evaluates written values: fills in templates and applies annotations.
//!
//! The scope resolves names; the type of the parameter is applied elsewhere.

use std::sync::Arc;

use converge_model::Content;
use minijinja::Value;

use crate::evaluate::problems::{from_facts, no_facts, secret_here, unreadable};
use crate::evaluate::session::Session;
use crate::project::assets::Assets;
use crate::source::content::ContentSource;
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::sources::{EntryKind, join};
use crate::syntax::parse::{Literal, Origin, Written};
use crate::syntax::template_error::in_text;
use crate::syntax::value_tree::{Entry, Tree};
use crate::template::{
    Evaluated, Found, GivenAt, List, Map, Marks, Rendered, Scope, ScopeError, TemplateError, is_template,
    unknown,
};

/// The largest file, in bytes, that `(file)` reads as text.
const TEXT_LIMIT: u64 = 64 * 1024;

/// The context of an evaluation: the scope of names and the folder of files.
#[derive(Clone)]
pub(crate) struct Evaluator {
    pub(crate) session: Arc<Session>,
    pub(crate) scope: Arc<dyn Scope>,
    pub(crate) assets: Arc<Assets>,
}

impl Evaluator {
    /// Returns the same evaluator with another scope.
    pub(crate) fn with(&self, scope: Arc<dyn Scope>) -> Self {
        Self { scope, ..self.clone() }
    }

    /// Returns the value of `written`.
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
                self.assets.engine.text(text, &self.scope).map(rendered).map_err(|e| self.failed(e, written))
            }
            Origin::Expr => self.expression(text, written),
            Origin::Template => self.template(written),
            Origin::File => self.file(written),
            Origin::Env => self.env(text, written),
            Origin::Secret => {
                let name = self.name(written)?;
                self.session.secret(&name.text, written.at).map_err(|report| report.given(name.given.spans()))
            }
            Origin::Digest => self.digest(written),
        }
    }

    /// Returns the value of an expression, written in an expression place or with `(expr)`.
    pub(crate) fn expression(&self, text: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        self.assets.engine.expression(text, &self.scope).map_err(|error| self.failed(error, written))
    }

    /// Returns the value of a whole tree. Its leaves have their own marks.
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

    /// Returns the values of all trees, or the first mistake. Further mistakes are noted, so that all are reported in
    /// one run.
    fn every<'t>(&self, trees: impl Iterator<Item = &'t Tree>) -> Result<Vec<Found>, Diagnostic> {
        let (mut values, mut first) = (Vec::new(), None);
        for tree in trees {
            match (self.tree(tree), &first) {
                (Ok(value), _) => values.push(value),
                (Err(mistake), None) => first = Some(mistake),
                (Err(mistake), Some(first)) => self.session.note(first, mistake),
            }
        }
        first.map_or(Ok(values), Err)
    }

    fn map(&self, entries: &[Entry], at: Span) -> Result<Found, Diagnostic> {
        let values = self.every(entries.iter().map(|entry| &entry.value))?;
        let keys = entries.iter().map(|entry| entry.key.to_string());
        let entries = keys.zip(values).map(|(key, found)| (key, found.value, found.marks)).collect();
        let value = Map::folding(entries)
            .map_err(|clash| Diagnostic::error(Code::Clash, clash.to_string()).label(at, "in this map"))?;
        Ok(Found { value, marks: Marks::default() })
    }

    /// Returns the text of a name or path, filled in without facts. Such texts must be the same before and after the
    /// facts are known.
    pub(crate) fn name(&self, written: &Written) -> Result<Name, Diagnostic> {
        let Literal::Text(text) = &written.literal else {
            return Err(
                Diagnostic::error(Code::Form, "a name must be a string").label(written.at, "not a string")
            );
        };
        if !is_template(text) {
            return Ok(Name { text: text.clone(), given: GivenAt::default() });
        }
        let scope: Arc<dyn Scope> = Arc::new(WithoutFacts(self.scope.clone()));
        let rendered = self.assets.engine.text(text, &scope).map_err(|error| self.failed(error, written))?;
        let Rendered { text, marks } = rendered;
        if marks.unknown {
            return Err(from_facts(written.at).given(marks.given.spans()));
        }
        if marks.tainted {
            return Err(secret_here(written.at, "a path or name").given(marks.given.spans()));
        }
        Ok(Name { text: text.into(), given: marks.given })
    }

    fn template(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let Name { text: name, given } = self.name(written)?;
        let found = self.assets.named_template(&name, written.at);
        let (id, path, text) = found.map_err(|report| report.given(given.spans()))?;
        self.assets
            .engine
            .file(&path, text, &self.scope)
            .map(rendered)
            .map_err(|error| error.in_file(id).label(written.at, "filled in here"))
    }

    fn file(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let name = self.name(written)?;
        self.file_text(&name.text, written).map_err(|report| report.given(name.given.spans()))
    }

    fn file_text(&self, name: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        let path = self.file_path(name, written.at)?;
        let bytes = self
            .assets
            .read(self.session.sources(), &path, TEXT_LIMIT)
            .map_err(|error| unreadable(name, &error, written.at))?;
        let text = std::str::from_utf8(&bytes).map_err(|_| {
            Diagnostic::error(Code::Utf8, format!("`{name}` is not UTF-8 text"))
                .label(written.at, "used as a string")
                .help("only the content of a `file` may be other than UTF-8 text")
        })?;
        Ok(plain(Value::from(text)))
    }

    /// Returns the path below `files/` of a `(file)`.
    pub(crate) fn file_path(&self, name: &str, at: Span) -> Result<String, Diagnostic> {
        join("", name).filter(|path| !path.is_empty()).ok_or_else(|| {
            Diagnostic::error(Code::Path, "the path leads out of `files`")
                .label(at, "outside")
                .help("`(file)` and `(template)` read from the folders `files` and `templates` of the project or of the module")
        })
    }

    /// Returns a file of the project as content. A folder is packed into an archive.
    pub(crate) fn project_file(&self, path: &str, at: Span) -> Result<(Content, ContentSource), Diagnostic> {
        let outside = || {
            Diagnostic::error(Code::Path, "the path leads out of the project")
                .label(at, "outside")
                .help("keep the files for hosts in the project's folder")
        };
        let path = join("", path).filter(|path| !path.is_empty()).ok_or_else(outside)?;
        let sources = self.session.sources();
        let read = match sources.kind(&path) {
            Ok(EntryKind::Folder) => sources.packed(&path),
            _ => sources.digest(&path),
        };
        let (digest, length) = read.map_err(|error| unreadable(&path, &error, at))?;
        Ok((Content::Plain { digest, length }, ContentSource::File(path)))
    }

    /// Returns the digest of a project file, shortened for use in a name.
    fn digest(&self, written: &Written) -> Result<Evaluated, Diagnostic> {
        let Name { text: path, given } = self.name(written)?;
        match self.project_file(&path, written.at).map_err(|report| report.given(given.spans()))? {
            (Content::Plain { digest, .. }, _) => {
                Ok(Evaluated { value: Value::from(digest.short()), marks: Marks::given(given) })
            }
            _ => Ok(Evaluated { value: unknown(), marks: Marks::UNKNOWN }),
        }
    }

    fn env(&self, name: &str, written: &Written) -> Result<Evaluated, Diagnostic> {
        match self.session.sources().env(name) {
            Some(value) => Ok(plain(Value::from(value))),
            None => {
                Err(Diagnostic::error(Code::Env, format!("the environment variable `{name}` is not set"))
                    .label(written.at, "not set")
                    .help(format!("set it for the command: `{name}=… converge …`")))
            }
        }
    }

    /// Returns a mistake in a template or expression as a diagnostic at its place.
    fn failed(&self, error: TemplateError, written: &Written) -> Diagnostic {
        in_text(error, written, self.session.files())
    }
}

/// A filled-in name or path.
pub(crate) struct Name {
    pub(crate) text: Arc<str>,
    /// Where callers gave the parameters that it was made of.
    pub(crate) given: GivenAt,
}

fn plain(value: Value) -> Evaluated {
    Evaluated { value, marks: Marks::default() }
}

fn rendered(rendered: Rendered) -> Evaluated {
    let Rendered { text, marks } = rendered;
    let value = if marks.unknown { unknown() } else { Value::from(text) };
    Evaluated { value, marks }
}

/// A scope that refuses facts.
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

/// A scope with some own names in front of another scope.
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
