//! The settings of each host for connection and drift. They are merged by the same precedence as variables and
//! evaluated without facts.

use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use converge_model::{Become, Scalar, Type};

use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::host_scope::HostScope;
use crate::evaluate::problems::{from_facts, secret_here};
use crate::project::Data;
use crate::project::precedence;
use crate::schema::types::{self, Limits};
use crate::settings::connection::{Connection, Transport};
use crate::settings::drift::{DriftPolicy, Window, drift_mode};
use crate::settings::rollout::Share;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{HostId, Table};
use crate::source::sources::join;
use crate::syntax::parse::{Literal, Written};
use crate::syntax::value_tree::{Entry, Tree};

/// The settings of one host.
#[derive(Clone, Debug, Default)]
pub(crate) struct HostSettings {
    pub(crate) connection: Connection,
    pub(crate) drift: DriftPolicy,
}

/// Returns the settings of all hosts, in their order.
pub(crate) fn all(data: &Arc<Data>, diagnostics: &mut Diagnostics) -> Table<HostId, HostSettings> {
    data.membership.hosts.ids().map(|host| one(data, host, diagnostics)).collect()
}

fn one(data: &Arc<Data>, host: HostId, diagnostics: &mut Diagnostics) -> HostSettings {
    let node = &data.declarations.hosts[data.membership.hosts[host].node];
    let layers = data.membership.layers_of(host, &data.declarations.connection, &node.connection);
    let connection = precedence::merge(&layers, &data.precedence, diagnostics);
    let layers = data.membership.layers_of(host, &data.declarations.drift, &node.drift);
    let drift = precedence::merge(&layers, &data.precedence, diagnostics);
    let evaluator = HostScope::without_facts(Arc::clone(data), host).evaluator();
    let mut reader = Reader { evaluator, diagnostics };
    HostSettings {
        connection: reader.connection(&connection, data.membership.hosts[host].address.as_ref()),
        drift: reader.drift(&drift),
    }
}

/// The longest line of cron, in bytes.
const CRON_LIMIT: usize = 200;

struct Reader<'a> {
    evaluator: Evaluator,
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn connection(&mut self, entries: &[Entry], address: Option<&Written>) -> Connection {
        let root = self.text(entries, "root").and_then(|(root, at)| self.inside(root, at));
        let transport = match self.choice(entries, "transport", &["ssh", "local"]).as_deref() {
            Some("local") => Transport::Local { root },
            _ => {
                if let Some(entry) = entry(entries, "root").filter(|_| root.is_some()) {
                    let report = Diagnostic::error(Code::Connection, "`root=` needs `connection \"local\"`");
                    self.diagnostics.push(report.label(entry.at, "this connection uses ssh"));
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
            cron: self.text(entries, "cron").and_then(|(line, at)| self.cron(line, at)),
            zone: self.word(entries, "zone"),
            windows: self.windows(entries),
            max_share: self.text(entries, "max-share").and_then(|(text, at)| self.share(&text, at)),
            fight_after: self.count(entries, "fight-after"),
            fight_within: self.duration(entries, "fight-within"),
        }
    }

    /// Reads a line of cron and checks its syntax.
    fn cron(&mut self, line: String, at: Span) -> Option<String> {
        let known = line.len() <= CRON_LIMIT && croner::Cron::from_str(&line).is_ok();
        if !known {
            let report = Diagnostic::error(Code::Drift, format!("`{line}` is not a cron schedule"));
            let help = "write minute, hour, day of the month, month and day of the week: `0 3 * * sat`";
            self.diagnostics.push(report.label(at, "here").help(help));
        }
        known.then_some(line)
    }

    fn windows(&mut self, entries: &[Entry]) -> Vec<Window> {
        let written: Vec<&Written> = match entry(entries, "window").map(|entry| &entry.value) {
            Some(Tree::Leaf(one)) => vec![one],
            Some(Tree::List(several, _)) => several
                .iter()
                .filter_map(|tree| match tree {
                    Tree::Leaf(written) => Some(written),
                    Tree::List(..) | Tree::Map(..) => None,
                })
                .collect(),
            _ => Vec::new(),
        };
        written.into_iter().filter_map(|written| self.window(written)).collect()
    }

    fn window(&mut self, written: &Written) -> Option<Window> {
        let Scalar::Text(text) = self.read(&Type::Text, Limits::default(), written)? else { return None };
        text.parse()
            .map_err(|error: crate::settings::drift::WindowError| {
                let report = Diagnostic::error(Code::Drift, error.to_string()).label(written.at, "here");
                self.diagnostics.push(report.help("write it as `02:00-04:00` or `sat,sun 22:00-05:00`"));
            })
            .ok()
    }

    fn share(&mut self, text: &str, at: Span) -> Option<Share> {
        let percent = text.strip_suffix('%').and_then(|percent| percent.parse().ok());
        let share = percent.filter(|percent| *percent <= 100).map(Share::Percent);
        if share.is_none() {
            let report = Diagnostic::error(Code::Type, format!("`{text}` is not a share of the hosts"));
            self.diagnostics.push(report.label(at, "here").help("write it as `20%`"));
        }
        share
    }

    fn count(&mut self, entries: &[Entry], key: &str) -> Option<u32> {
        let limits = Limits { min: Some(1), max: Some(1000), ..Limits::default() };
        match self.read(&Type::Int, limits, leaf(entries, key)?)? {
            Scalar::Int(count) => u32::try_from(count).ok(),
            _ => None,
        }
    }

    fn read(&mut self, ty: &Type, limits: Limits<'_>, written: &Written) -> Option<Scalar> {
        if written.literal == Literal::Broken {
            return None;
        }
        let value = match self.evaluator.value(written) {
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
            self.diagnostics.push(secret_here(written.at, "a connection"));
            return None;
        }
        let input = match types::Input::of(written) {
            Some(input @ (types::Input::Int(..) | types::Input::Float(..) | types::Input::Bool(_))) => input,
            _ => types::input_of(&value.value)?,
        };
        types::read(ty, &input, limits)
            .map_err(|error| {
                self.diagnostics.push(error.at(written.at));
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

    /// Reads a text that is passed to ssh as one word. It must not look like an option or contain blanks.
    fn word(&mut self, entries: &[Entry], key: &str) -> Option<String> {
        let (text, at) = self.text(entries, key)?;
        self.is_word(&text, at).then_some(text)
    }

    fn is_word(&mut self, text: &str, at: Span) -> bool {
        let fits = !text.is_empty()
            && !text.starts_with('-')
            && !text.chars().any(|c| c.is_whitespace() || c.is_control());
        if !fits {
            let report = Diagnostic::error(Code::Connection, "this cannot be an argument of ssh");
            self.diagnostics.push(report.label(at, "must not be empty, contain blanks or begin with `-`"));
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

    /// Reads `key=`. It is the only path that may leave the project.
    fn key(&mut self, key: String, at: Span) -> Option<String> {
        if !self.is_word(&key, at) {
            return None;
        }
        if key.starts_with('/') || key.starts_with('~') { Some(key) } else { self.inside(key, at) }
    }

    fn inside(&mut self, path: String, at: Span) -> Option<String> {
        let joined = join("", &path).filter(|path| !path.is_empty());
        if joined.is_none() {
            let report = Diagnostic::error(Code::Path, "the path leads out of the project");
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
