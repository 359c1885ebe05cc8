//! The folder in which `(file)` and `(template)` look up names: the project's or a module's.

use std::collections::HashMap;
use std::sync::Arc;

use converge_model::Digest;

use crate::source::content::ContentSource;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Files, Span};
use crate::source::sources::{Builtin, EntryKind, SourceError, Sources, join};
use crate::source::suggest::did_you_mean;
use crate::syntax::prescan;
use crate::template::Engine;

/// The most template files of one folder that are read in advance, and the deepest nesting.
const TEMPLATES: usize = 1_000;
const DEPTH: usize = 8;

/// A folder with `files/` and `templates/`.
pub(crate) struct Assets {
    root: AssetRoot,
    pub(crate) engine: Engine,
    /// The template files by their path below `templates/`.
    templates: HashMap<String, (FileId, Arc<str>)>,
}

/// The place of a module's or the project's files.
#[derive(Clone, Debug)]
pub(crate) enum AssetRoot {
    /// A folder of the project; `""` is the project itself.
    Folder(String),
    /// A module that comes with Converge.
    Builtin(Builtin),
}

impl AssetRoot {
    /// Returns the path for messages and for [`Sources`].
    pub(crate) fn path(&self, path: &str) -> String {
        match self {
            Self::Folder(folder) if folder.is_empty() => path.to_owned(),
            Self::Folder(folder) => format!("{folder}/{path}"),
            Self::Builtin(builtin) => format!("(built in) {}/{path}", builtin.name),
        }
    }

    /// Returns the bytes of a file.
    pub(crate) fn read(
        &self,
        sources: &dyn Sources,
        path: &str,
        limit: u64,
    ) -> Result<Arc<[u8]>, SourceError> {
        match self {
            Self::Folder(_) => sources.read(&self.path(path), limit),
            Self::Builtin(builtin) => {
                let bytes = builtin.file(path).ok_or(SourceError::Missing)?;
                if bytes.len() as u64 > limit {
                    Err(SourceError::TooLarge { limit })
                } else {
                    Ok(bytes.into())
                }
            }
        }
    }

    fn templates(&self, sources: &dyn Sources) -> Vec<String> {
        match self {
            Self::Folder(_) => {
                let mut found = Vec::new();
                self.walk(sources, "templates", DEPTH, &mut found);
                found
            }
            Self::Builtin(builtin) => builtin
                .files
                .iter()
                .filter_map(|(path, _)| path.strip_prefix("templates/"))
                .map(str::to_owned)
                .collect(),
        }
    }

    fn walk(&self, sources: &dyn Sources, folder: &str, depth: usize, found: &mut Vec<String>) {
        let mut names = sources.list(&self.path(folder)).unwrap_or_default();
        names.sort();
        for name in names {
            let path = format!("{folder}/{name}");
            match sources.kind(&self.path(&path)) {
                Ok(EntryKind::Folder) if depth > 0 => self.walk(sources, &path, depth - 1, found),
                Ok(EntryKind::File) if found.len() < TEMPLATES => {
                    found.extend(path.strip_prefix("templates/").map(str::to_owned));
                }
                _ => {}
            }
        }
    }
}

impl Assets {
    /// Reads the templates of a folder in advance, so that their mistakes can be reported. Files that are not text are
    /// left out.
    pub(crate) fn new(
        root: AssetRoot,
        sources: &Arc<dyn Sources>,
        files: &mut Files,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut templates = HashMap::new();
        for path in root.templates(&**sources) {
            let bytes = root.read(&**sources, &format!("templates/{path}"), prescan::SIZE as u64);
            if let Some(text) = bytes.ok().and_then(|bytes| String::from_utf8(bytes.to_vec()).ok()) {
                let text: Arc<str> = text.into();
                let id = files.add(root.path(&format!("templates/{path}")), text.clone());
                templates.insert(path, (id, text));
            }
        }
        let known: HashMap<String, Arc<str>> =
            templates.iter().map(|(path, (_, text))| (path.clone(), text.clone())).collect();
        let includes = move |name: &str| {
            let path = join("", name).ok_or_else(|| "leads out of `templates/`".to_owned())?;
            Ok(known.get(&path).map(|text| text.to_string()))
        };
        let base = Self { root, engine: Engine::new(Arc::new(includes)), templates };
        base.check(diagnostics);
        base
    }

    /// Checks the syntax of the template files.
    fn check(&self, diagnostics: &mut Diagnostics) {
        let mut paths: Vec<&String> = self.templates.keys().collect();
        paths.sort();
        for path in paths {
            let (id, text) = &self.templates[path];
            if let Err(error) = self.engine.check(Some(path), text) {
                diagnostics.push(error.in_file(*id));
            }
        }
    }

    /// Returns the template file that `(template)` names at `at`: its id, its path below `templates/`, its text.
    pub(crate) fn named_template(
        &self,
        name: &str,
        at: Span,
    ) -> Result<(FileId, String, &Arc<str>), Diagnostic> {
        let path = join("", name).unwrap_or_default();
        match self.templates.get(&path) {
            Some((id, text)) => Ok((*id, path, text)),
            None => Err(Diagnostic::error(Code::Template, format!("there is no template `{name}`"))
                .label(at, "named here")
                .help("put the template into the folder `templates` of the project or of the module")
                .maybe_help(did_you_mean(name, self.templates.keys().map(String::as_str)))),
        }
    }

    /// Returns the bytes of a file below `files/`.
    pub(crate) fn read(
        &self,
        sources: &dyn Sources,
        path: &str,
        limit: u64,
    ) -> Result<Arc<[u8]>, SourceError> {
        self.root.read(sources, &format!("files/{path}"), limit)
    }

    /// Returns the digest, length and source of a file below `files/`, of any size.
    pub(crate) fn content(
        &self,
        sources: &dyn Sources,
        path: &str,
    ) -> Result<(Digest, u64, ContentSource), SourceError> {
        let below = format!("files/{path}");
        match &self.root {
            AssetRoot::Folder(_) => {
                let path = self.root.path(&below);
                let (digest, length) = sources.digest(&path)?;
                Ok((digest, length, ContentSource::File(path)))
            }
            AssetRoot::Builtin(builtin) => {
                let bytes = builtin.file(&below).ok_or(SourceError::Missing)?;
                Ok((Digest::of(bytes), bytes.len() as u64, ContentSource::Bytes(bytes.into())))
            }
        }
    }
}
