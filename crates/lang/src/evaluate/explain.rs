//! Explains the value of a variable: every definition, and which one wins.

use std::sync::Arc;

use converge_model::HostName;
use converge_model::secret::MASK;

use crate::evaluate::facts::NoFacts;
use crate::evaluate::host_scope::HostScope;
use crate::project::Data;
use crate::project::precedence::{self, Layer, Level};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::HostId;
use crate::source::suggest::{did_you_mean, there_are};
use crate::syntax::value_tree::{Entry, Tree};
use crate::template::{Rendered, ScopeError, TemplateError, fold};

/// A variable of one host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// The name, with dots for a key of a map: `app.workers`.
    pub variable: String,
    /// The value as JSON text; `********` if it holds a secret. None if it depends on facts.
    pub value: Option<String>,
    /// Every definition, the nearest first.
    pub definitions: Vec<Definition>,
}

/// One definition of a variable.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Definition {
    /// The defined name: `app`, or one key of it, `app.workers`.
    pub key: String,
    /// The level: `inventory`, `group web`, `host web1`, `--set`.
    pub level: String,
    /// The file. None for `--set`.
    pub file: Option<String>,
    /// The line in the file, from 1.
    pub line: usize,
    /// The value as written. A secret is shown as its name.
    pub written: String,
    /// Whether this definition applies.
    pub wins: bool,
}

/// Explains a variable of a host.
pub(crate) fn explain(data: &Arc<Data>, host: &HostName, variable: &str) -> Result<Explanation, Diagnostics> {
    let Some(id) = data.host(host) else {
        return Err(one(Diagnostic::error(Code::HostName, format!("the inventory has no host `{host}`"))));
    };
    let path: Vec<&str> = variable.split('.').collect();
    if precedence::definitions(&data.var_layers(id), &data.precedence, &path).is_empty() {
        let table = data.table(id);
        let names: Vec<String> = table.entries.iter().map(|entry| entry.key.to_string()).collect();
        let report = Diagnostic::error(Code::Undefined, format!("`{host}` has no variable `{variable}`"));
        let names = || names.iter().map(String::as_str);
        let help = did_you_mean(path[0], names()).or_else(|| there_are(names()));
        return Err(one(report.help("it has no variables").maybe_help(help)));
    }
    let definitions = definitions(data, id, variable, &path);
    Ok(Explanation { variable: variable.to_owned(), value: value(data, id, &path)?, definitions })
}

/// Explains all variables of a host, in alphabetical order. A variable with a mistake is left out.
pub(crate) fn explain_all(data: &Arc<Data>, host: HostId) -> (Vec<Explanation>, Diagnostics) {
    let (mut explanations, mut diagnostics) = (Vec::new(), Diagnostics::default());
    for entry in data.table(host).entries.iter() {
        let name = &*entry.key;
        // An expression cannot read a name such as `"a b" 1`.
        let value =
            if is_identifier(name) { value(data, host, &[name]) } else { Ok(Some(entry.value.shown())) };
        match value {
            Ok(value) => explanations.push(Explanation {
                variable: name.to_owned(),
                value,
                definitions: definitions(data, host, name, &[name]),
            }),
            Err(mistakes) => diagnostics.extend(mistakes),
        }
    }
    explanations.sort_by(|a, b| a.variable.cmp(&b.variable));
    (explanations, diagnostics)
}

fn is_identifier(name: &str) -> bool {
    let folded = fold(name);
    !folded.starts_with(|c: char| c.is_ascii_digit())
        && folded.chars().all(|c| c.is_ascii_alphanumeric() || c == '_')
}

/// Returns every definition of a variable. Keys of maps are separate definitions.
fn definitions(data: &Data, host: HostId, variable: &str, path: &[&str]) -> Vec<Definition> {
    let name = &data.membership.hosts[host].name;
    let (mut definitions, mut set) = (Vec::new(), Vec::new());
    for (layer, entry, wins) in precedence::definitions(&data.var_layers(host), &data.precedence, path) {
        define(data, name, layer, variable, entry, wins, &mut set, &mut definitions);
    }
    definitions
}

/// Adds a definition. For a map it adds each key, of which the nearest wins.
#[expect(clippy::too_many_arguments, reason = "a recursion that carries what every level of it needs")]
fn define(
    data: &Data,
    host: &HostName,
    layer: &Layer,
    key: &str,
    entry: &Entry,
    wins: bool,
    set: &mut Vec<String>,
    definitions: &mut Vec<Definition>,
) {
    if let Tree::Map(inner, _) = &entry.value {
        for entry in inner.iter() {
            define(data, host, layer, &format!("{key}.{}", entry.key), entry, wins, set, definitions);
        }
        return;
    }
    let wins = wins && !set.iter().any(|known| known == key);
    set.extend(wins.then(|| key.to_owned()));
    let location = data.files.location(entry.at);
    definitions.push(Definition {
        key: key.to_owned(),
        level: level(data, host, layer),
        file: location.map(|(file, _, _)| file.to_owned()).filter(|_| layer.level != Level::Set),
        line: location.map_or(0, |(_, line, _)| line),
        written: entry.value.shown(),
        wins,
    });
}

fn level(data: &Data, host: &HostName, layer: &Layer) -> String {
    match layer.level {
        Level::Inventory => "inventory".to_owned(),
        Level::Group(group) => format!("group {}", data.membership.groups[group].name),
        Level::Host => format!("host {host}"),
        Level::Set => "--set".to_owned(),
    }
}

/// Returns the value as JSON, masked if it holds a secret.
fn value(data: &Arc<Data>, host: HostId, path: &[&str]) -> Result<Option<String>, Diagnostics> {
    let evaluator = HostScope::new(Arc::clone(data), host, Arc::new(NoFacts)).evaluator();
    let (first, keys) = path.split_first().unwrap_or((&"", &[]));
    let keys: String = keys.iter().map(|key| format!("[{key:?}]")).collect();
    let template = format!("{{{{ {}{keys} | tojson }}}}", fold(first));
    match evaluator.assets.engine.text(&template, &evaluator.scope) {
        // Check `tainted` first: a secret that this user cannot decrypt is also unknown.
        Ok(Rendered { marks, .. }) if marks.tainted => Ok(Some(MASK.to_owned())),
        Ok(Rendered { marks, .. }) if marks.unknown => Ok(None),
        Ok(Rendered { text, .. }) => Ok(Some(text)),
        Err(TemplateError { cause: Some(ScopeError(report)), .. }) => Err(one(*report)),
        Err(error) => Err(one(Diagnostic::error(Code::Template, error.message).maybe_help(error.help))),
    }
}

fn one(report: Diagnostic) -> Diagnostics {
    let mut diagnostics = Diagnostics::default();
    diagnostics.push(report);
    diagnostics
}
