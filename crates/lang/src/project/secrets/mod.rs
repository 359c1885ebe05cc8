//! The secrets of a project, from all its files, by name.
//!
//! Reports never contain the text of a secret. `text` reads a single file; the sources decrypt it.

mod text;

use std::collections::BTreeMap;
use std::sync::Arc;

use converge_model::secret::SHORTEST_MASKED;

pub use self::text::{SECRETS_LIMIT, SecretsMistake, SecretsText, SetError};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::sources::{SourceError, Sources};
use crate::source::suggest::did_you_mean;

/// All secrets by name.
#[derive(Default)]
pub(crate) struct Secrets {
    values: BTreeMap<String, (Arc<str>, Span)>,
    locked: Vec<Locked>,
}

/// A file that cannot be decrypted here.
struct Locked {
    path: String,
    error: SourceError,
    /// Where the inventory names it.
    at: Span,
}

impl Secrets {
    /// Reads the files. A file that cannot be decrypted is an error only if one of its secrets is needed.
    pub(crate) fn load(
        files: &[(String, Span)],
        sources: &dyn Sources,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut secrets = Self::default();
        for (path, at) in files {
            match sources.secrets(path) {
                Err(error) => secrets.locked.push(Locked { path: path.clone(), error, at: *at }),
                Ok(kdl) => {
                    let (file, mistakes) = SecretsText::parse(kdl);
                    mistakes.iter().for_each(|mistake| diagnostics.push(broken(path, mistake, *at)));
                    file.into_values()
                        .into_iter()
                        .for_each(|(name, value)| secrets.add(name, value, *at, diagnostics));
                }
            }
        }
        secrets
    }

    fn add(&mut self, name: String, value: Arc<str>, at: Span, diagnostics: &mut Diagnostics) {
        match self.values.get(&name) {
            Some((_, first)) => diagnostics.push(
                Diagnostic::error(Code::Duplicate, format!("the secret `{name}` is defined twice"))
                    .label(at, "in this file")
                    .label(*first, "and in this one"),
            ),
            None => {
                self.values.insert(name, (value, at));
            }
        }
    }

    /// Returns a secret. None if it is not found, some file cannot be decrypted, and it is not `needed`.
    pub(crate) fn get(&self, name: &str, at: Span, needed: bool) -> Result<Option<Arc<str>>, Diagnostic> {
        if let Some((value, _)) = self.values.get(name) {
            return Ok(Some(Arc::clone(value)));
        }
        match self.locked.first() {
            Some(_) if !needed => Ok(None),
            Some(locked) => Err(locked.needed(name, at)),
            None => Err(Diagnostic::error(Code::Secrets, format!("there is no secret `{name}`"))
                .label(at, "needed here")
                .help("`converge secrets set` adds a secret to a file; the inventory names the file: `secrets \"x.age\"`")
                .maybe_help(did_you_mean(name, self.values.keys().map(String::as_str)))),
        }
    }

    /// Returns all secrets that could be decrypted here.
    pub(crate) fn values(&self) -> impl Iterator<Item = &str> {
        self.values.values().map(|(value, _)| &**value)
    }

    /// Returns the files that could not be decrypted.
    pub(crate) fn locked(&self) -> impl Iterator<Item = &str> {
        self.locked.iter().map(|locked| locked.path.as_str())
    }

    /// Reports files that cannot be decrypted here, and values that are too short to be masked in output.
    pub(crate) fn check(&self, diagnostics: &mut Diagnostics) {
        for Locked { path, error, at } in &self.locked {
            let (message, help) = match error {
                SourceError::Missing => {
                    let help = "`converge secrets set NAME` makes it, with its first secret";
                    (format!("there is no file of secrets `{path}` yet"), Some(help))
                }
                error => (format!("`{path}` cannot be decrypted here: {error}"), error.help()),
            };
            let report =
                Diagnostic::warning(Code::Secrets, message).label(*at, "Converge does not check its values");
            diagnostics.push(report.maybe_help(help.map(str::to_owned)));
        }
        for (name, (_, at)) in self.values.iter().filter(|(_, (value, _))| value.len() < SHORTEST_MASKED) {
            let report = Diagnostic::warning(Code::Secrets, format!("the secret `{name}` is very short"))
                .label(*at, "in this file")
                .help(format!(
                    "a value under {SHORTEST_MASKED} bytes is masked in the resources that hold it, but not in the \
                     output of commands"
                ));
            diagnostics.push(report);
        }
    }
}

impl Locked {
    fn needed(&self, name: &str, at: Span) -> Diagnostic {
        let Self { path, error, at: named } = self;
        let message = format!("the secret `{name}` is in a file that cannot be decrypted: {error}");
        Diagnostic::error(Code::Secrets, message)
            .label(at, "needed here")
            .label(*named, format!("`{path}`"))
            .maybe_help(error.help().map(str::to_owned))
    }
}

fn broken(path: &str, why: &SecretsMistake, at: Span) -> Diagnostic {
    Diagnostic::error(Code::Secrets, format!("the secrets in `{path}` cannot be read: {why}"))
        .label(at, "named here")
        .help("`converge secrets edit` opens the file")
}
