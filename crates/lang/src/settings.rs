//! How each host is reached and what is done when it drifts, merged by the law of variables and evaluated without
//! facts.

use std::sync::Arc;
use std::time::Duration;

use converge_model::{Scalar, Type};

use crate::connection::{Become, Connection, DriftPolicy, Transport};
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::document::{Literal, Written};
use crate::evaluate::{Setting, from_facts, secret_here};
use crate::layers;
use crate::options::drift_mode;
use crate::project::Data;
use crate::sources::join;
use crate::tree::{Entry, Tree};
use crate::typed::{self, Limits};
use crate::world::World;

/// The settings of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostSettings {
    pub(crate) connection: Connection,
    pub(crate) drift: DriftPolicy,
}

/// The settings of all hosts, in their order.
pub(crate) fn all(data: &Arc<Data>, diagnostics: &mut Diagnostics) -> Vec<HostSettings> {
    (0..data.membership.hosts.len()).map(|host| one(data, host, diagnostics)).collect()
}

fn one(data: &Arc<Data>, host: usize, diagnostics: &mut Diagnostics) -> HostSettings {
    let node = &data.reading.hosts[data.membership.hosts[host].node];
    let layers = data.membership.layers_of(host, &data.reading.connection, &node.connection);
    let connection = layers::merge(&layers, &data.nearness, diagnostics);
    let layers = data.membership.layers_of(host, &data.reading.drift, &node.drift);
    let drift = layers::merge(&layers, &data.nearness, diagnostics);
    let setting = World::without_facts(Arc::clone(data), host).setting();
    let mut reader = Reader { setting, diagnostics };
    HostSettings {
        connection: reader.connection(&connection, data.membership.hosts[host].address.as_ref()),
        drift: reader.drift(&drift),
    }
}

struct Reader<'a> {
    setting: Setting,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn connection(&mut self, entries: &[Entry], address: Option<&Written>) -> Connection {
        let root = self.text(entries, "root").and_then(|(root, at)| self.inside(root, at));
        let transport = match self.choice(entries, "transport", &["ssh", "local"]).as_deref() {
            Some("local") => Transport::Local { root },
            _ => {
                if let Some(entry) = entry(entries, "root").filter(|_| root.is_some()) {
                    let report =
                        Diagnostic::error("lang::connection", "`root=` belongs to `connection \"local\"`");
                    self.diagnostics.push(report.label(entry.at, "of a connection over ssh"));
                }
                Transport::Ssh
            }
        };
        let names: Vec<&str> = Become::ALL.iter().map(|(name, _)| *name).collect();
        let escalation = self.choice(entries, "become", &names);
        let named = |name: &str| Become::ALL.iter().find(|(known, _)| *known == name).map(|(_, way)| *way);
        Connection {
            transport,
            address: address.and_then(|written| self.address(written)),
            user: self.word(entries, "user"),
            port: self.port(entries),
            key: self.text(entries, "key").and_then(|(key, at)| self.key(key, at)),
            jump: self.word(entries, "jump"),
            escalation: escalation.as_deref().and_then(named).unwrap_or_default(),
        }
    }

    fn drift(&mut self, entries: &[Entry]) -> DriftPolicy {
        let mode = self.choice(entries, "mode", &["correct", "report", "ignore"]);
        DriftPolicy {
            every: self.duration(entries, "every"),
            splay: self.duration(entries, "splay"),
            mode: mode.as_deref().and_then(drift_mode).unwrap_or_default(),
        }
    }

    fn read(&mut self, ty: &Type, limits: Limits<'_>, written: &Written) -> Option<Scalar> {
        if written.literal == Literal::Broken {
            return None;
        }
        let value = match self.setting.value(written) {
            Ok(value) => value,
            Err(report) => {
                self.diagnostics.push(report);
                return None;
            }
        };
        if value.marks.unknown {
            self.diagnostics.push(from_facts(written.at));
            return None;
        }
        if value.marks.tainted {
            self.diagnostics.push(secret_here(written.at, "how a host is reached"));
            return None;
        }
        let input = match crate::module::input(written) {
            Some(input @ (typed::Input::Int(..) | typed::Input::Float(..) | typed::Input::Bool(_))) => input,
            _ => typed::input_of(&value.value)?,
        };
        typed::read(ty, &input, limits)
            .map_err(|error| {
                let report = Diagnostic::error("lang::type", error.message).label(written.at, "here");
                self.diagnostics.push(report.maybe_help(error.help));
            })
            .ok()
    }

    fn text(&mut self, entries: &[Entry], key: &str) -> Option<(String, Span)> {
        let written = leaf(entries, key)?;
        match self.read(&Type::Text, Limits::default(), written)? {
            Scalar::Text(text) => Some((text, written.at)),
            _ => None,
        }
    }

    /// A text that goes to ssh as a word: it must not look like an option, nor hold blanks.
    fn word(&mut self, entries: &[Entry], key: &str) -> Option<String> {
        let (text, at) = self.text(entries, key)?;
        self.is_word(&text, at).then_some(text)
    }

    fn is_word(&mut self, text: &str, at: Span) -> bool {
        let fits = !text.is_empty()
            && !text.starts_with('-')
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if !fits {
            let report = Diagnostic::error("lang::connection", "this cannot be given to ssh");
            self.diagnostics.push(report.label(at, "empty, with blanks, or with a `-` in front"));
        }
        fits
    }

    fn address(&mut self, written: &Written) -> Option<String> {
        match self.read(&Type::Text, Limits::default(), written)? {
            Scalar::Text(text) => self.is_word(&text, written.at).then_some(text),
            _ => None,
        }
    }

    fn port(&mut self, entries: &[Entry]) -> Option<u16> {
        let written = leaf(entries, "port")?;
        match self.read(&Type::Port, Limits::default(), written)? {
            Scalar::Int(port) => u16::try_from(port).ok(),
            _ => None,
        }
    }

    /// `key=` alone may leave the project.
    fn key(&mut self, key: String, at: Span) -> Option<String> {
        if !self.is_word(&key, at) {
            return None;
        }
        if key.starts_with('/') || key.starts_with('~') { Some(key) } else { self.inside(key, at) }
    }

    fn inside(&mut self, path: String, at: Span) -> Option<String> {
        let joined = join("", &path).filter(|path| !path.is_empty());
        if joined.is_none() {
            let report = Diagnostic::error("lang::path", "the path leads out of the project");
            self.diagnostics.push(report.label(at, "outside"));
        }
        joined
    }

    fn choice(&mut self, entries: &[Entry], key: &str, names: &[&str]) -> Option<String> {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let limits = Limits { one_of: &names, ..Limits::default() };
        match self.read(&Type::Text, limits, leaf(entries, key)?)? {
            Scalar::Text(text) => Some(text),
            _ => None,
        }
    }

    fn duration(&mut self, entries: &[Entry], key: &str) -> Option<Duration> {
        match self.read(&Type::Duration, Limits::default(), leaf(entries, key)?)? {
            Scalar::Int(millis) => u64::try_from(millis).ok().map(Duration::from_millis),
            _ => None,
        }
    }
}

fn entry<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Entry> {
    entries.iter().find(|entry| &*entry.key == key)
}

fn leaf<'a>(entries: &'a [Entry], key: &str) -> Option<&'a Written> {
    match &entry(entries, key)?.value {
        Tree::Leaf(written) => Some(written),
        _ => None,
    }
}
