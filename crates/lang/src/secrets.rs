//! The secrets of a project: decrypted files, read by `a/b`.
//!
//! Their text never becomes part of a report: what is wrong in one is said without showing it.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::diagnostic::{Diagnostic, Diagnostics, FileId, Span};
use crate::document::{self, Literal, Node};
use crate::nearest::did_you_mean;
use crate::sources::Sources;

/// All secrets by name.
#[derive(Default)]
pub(crate) struct Secrets {
    values: BTreeMap<String, (Arc<str>, Span)>,
    /// Files that cannot be decrypted here: path, why, where it is named.
    locked: Vec<(String, String, Span)>,
}

impl Secrets {
    /// Reads the files. One that cannot be decrypted is a mistake only once a secret of it is needed.
    pub(crate) fn load(
        files: &[(String, Span)],
        sources: &dyn Sources,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let mut secrets = Self::default();
        for (path, at) in files {
            match sources.secrets(path) {
                Err(error) => secrets.locked.push((path.clone(), error.to_string(), *at)),
                Ok(kdl) => secrets.file(path, kdl.expose(), *at, diagnostics),
            }
        }
        secrets
    }

    fn file(&mut self, path: &str, kdl: &[u8], at: Span, diagnostics: &mut Diagnostics) {
        let mut own = Diagnostics::default();
        // The file is in no table of files, so that nothing could show its text.
        let nodes = match std::str::from_utf8(kdl) {
            Ok(text) => document::parse(FileId(u32::MAX), text, &mut own),
            Err(_) => return self.broken(path, "it is not UTF-8 text", at, diagnostics),
        };
        if own.has_errors() {
            let before =
                own.iter().filter_map(|d| d.labels.first()).map(|(span, _)| span.start).min().unwrap_or(0);
            let line = kdl[..before.min(kdl.len())].iter().filter(|b| **b == b'\n').count() + 1;
            return self.broken(path, &format!("line {line} of it is not KDL 2.0"), at, diagnostics);
        }
        self.nodes("", &nodes, path, at, diagnostics);
    }

    fn nodes(&mut self, above: &str, nodes: &[Node], path: &str, at: Span, diagnostics: &mut Diagnostics) {
        for node in nodes {
            let name =
                if above.is_empty() { node.name.to_string() } else { format!("{above}/{}", node.name) };
            match (&node.args[..], &node.children) {
                ([one], None) => {
                    let text = match &one.literal {
                        Literal::Text(text) => Arc::clone(text),
                        Literal::Int(_, repr) | Literal::Float(_, repr) => Arc::clone(repr),
                        Literal::Bool(value) => value.to_string().into(),
                        Literal::Null | Literal::Broken => continue,
                    };
                    self.add(name, text, at, diagnostics);
                }
                ([], Some(children)) => self.nodes(&name, children, path, at, diagnostics),
                _ => self.broken(path, &format!("`{name}` has no single value"), at, diagnostics),
            }
        }
    }

    fn add(&mut self, name: String, value: Arc<str>, at: Span, diagnostics: &mut Diagnostics) {
        match self.values.get(&name) {
            Some((_, first)) => diagnostics.push(
                Diagnostic::error("lang::duplicate", format!("the secret `{name}` is defined twice"))
                    .label(at, "in this file")
                    .label(*first, "and in this one"),
            ),
            None => {
                self.values.insert(name, (value, at));
            }
        }
    }

    fn broken(&self, path: &str, why: &str, at: Span, diagnostics: &mut Diagnostics) {
        diagnostics.push(
            Diagnostic::error("lang::secrets", format!("the secrets in `{path}` cannot be read: {why}"))
                .label(at, "named here"),
        );
    }

    /// A secret; none where its file cannot be decrypted and that is not `needed`.
    pub(crate) fn get(&self, name: &str, at: Span, needed: bool) -> Result<Option<Arc<str>>, Diagnostic> {
        if let Some((value, _)) = self.values.get(name) {
            return Ok(Some(Arc::clone(value)));
        }
        match self.locked.first() {
            Some(_) if !needed => Ok(None),
            Some((path, why, named)) => Err(Diagnostic::error(
                "lang::secrets",
                format!("the secret `{name}` is in a file that cannot be decrypted: {why}"),
            )
            .label(at, "needed here")
            .label(*named, format!("`{path}`"))),
            None => Err(Diagnostic::error("lang::secrets", format!("there is no secret `{name}`"))
                .label(at, "needed here")
                .help("`converge secrets set` adds one; `secrets \"x.age\"` at top level names the file")
                .maybe_help(did_you_mean(name, self.values.keys().map(String::as_str)))),
        }
    }

    /// Files that cannot be decrypted here: path, why, where each is named.
    pub(crate) fn locked(&self) -> &[(String, String, Span)] {
        &self.locked
    }
}
