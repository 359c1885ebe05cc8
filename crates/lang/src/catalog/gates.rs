//! The actions of a rollout around each changed host: `before`, `health` and `after`. Each is a list of small catalogs,
//! in order, for the hosts of `at=`. The engine carries them out.

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_model::HostName;

use crate::catalog::build::{self, Built};
use crate::catalog::compile::Compiled;
use crate::catalog::compiler::Compiler;
use crate::catalog::entry::Parts;
use crate::catalog::selection::Selection;
use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::facts::FactsOf;
use crate::evaluate::host_scope::HostScope;
use crate::evaluate::host_settings::HostSettings;
use crate::evaluate::session::ScopeId;
use crate::expand::instantiate;
use crate::expand::options::Options;
use crate::expand::walk::{Bodies, Position, Walk};
use crate::project::Data;
use crate::resolve::Resolved;
use crate::resolve::statement::{Item, Statement};
use crate::settings::rollout::Moment;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::{HostId, Table};
use crate::syntax::parse::Written;

/// A part of a body that runs on one host.
pub struct Gate {
    /// The host on which it runs.
    pub on: HostName,
    /// The catalog to apply.
    pub compiled: Compiled,
}

/// Returns the actions around `host` at `moment`. None if there are mistakes.
pub(crate) fn compile(
    compiler: &Compiler,
    host: HostId,
    moment: Moment,
    settings: &Table<HostId, HostSettings>,
    facts: &Arc<dyn FactsOf>,
) -> (Option<Vec<Gate>>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let resolved = &compiler.resolved;
    let data = &resolved.data;
    let mut gates = Vec::new();
    let host_scope = HostScope::new(Arc::clone(data), host, Arc::clone(facts));
    for (on, statements) in parts(resolved, host, moment, &host_scope.evaluator(), &mut diagnostics) {
        let mut bodies = Bodies::new(data, &compiler.bound, &mut diagnostics);
        let body = bodies.add(moment.word().to_owned());
        let (passed, position) = (Options::default(), Position::default());
        let mut walk = Walk { body, module: None, called: None, passed, position, next: 0, maybe: false };
        for statement in statements {
            bodies.walk(std::slice::from_ref(statement), &host_scope.evaluator(), &mut walk);
        }
        instantiate::all(&mut bodies, resolved, &host_scope);
        let used = host_scope.session.used();
        host_scope.session.tell_unread(ScopeId::Host(host), bodies.diagnostics);
        host_scope.session.tell_noted(bodies.diagnostics);
        let parts = Parts::of(compiler, bodies, host, &settings[on], used);
        let arranged = build::arrange(parts, &mut diagnostics);
        gates.extend(arranged.map(|arranged| {
            let Built { mut catalog, contents, choices } = arranged.build(&Selection::default());
            let on = data.membership.hosts[on].name.clone();
            catalog.host = on.clone();
            Gate { on, compiled: Compiled { catalog, contents, reads_facts_of: BTreeSet::new(), choices } }
        }));
    }
    if diagnostics.has_errors() { (None, diagnostics) } else { (Some(gates), diagnostics) }
}

/// Returns the statements of a body by the host on which they run. Neighbours for the same host stay together.
fn parts<'r>(
    resolved: &'r Resolved,
    host: HostId,
    moment: Moment,
    evaluator: &Evaluator,
    diagnostics: &mut Diagnostics,
) -> Vec<(HostId, Vec<&'r Statement<Item>>)> {
    let mut parts: Vec<(HostId, Vec<&Statement<Item>>)> = Vec::new();
    let blocks = resolved.data.blocks.of(host).iter();
    for step in blocks.flat_map(|block| resolved.gates[*block].at(moment)) {
        let on = match &step.at {
            Some(at) => done_on(&resolved.data, host, at, evaluator, diagnostics),
            None => Some(host),
        };
        match (on, parts.last_mut()) {
            (None, _) => {}
            (Some(on), Some((last, statements))) if *last == on => statements.push(&step.statement),
            (Some(on), _) => parts.push((on, vec![&step.statement])),
        }
    }
    parts
}

/// Returns the host that `at` names. As long as its value is unknown, this is the changed host itself.
fn done_on(
    data: &Data,
    host: HostId,
    at: &Written,
    evaluator: &Evaluator,
    diagnostics: &mut Diagnostics,
) -> Option<HostId> {
    let value = diagnostics.told(evaluator.value(at))?;
    if value.marks.unknown {
        return Some(host);
    }
    let named = value.value.as_str().filter(|_| !value.marks.tainted);
    let found = named.and_then(|name| HostName::new(name).ok()).and_then(|name| data.host(&name));
    if found.is_none() {
        let message = format!("there is no host `{}`", named.unwrap_or("?"));
        let names = data.membership.hosts.iter().map(|host| host.name.as_str());
        diagnostics.push(
            Diagnostic::error(Code::HostName, message)
                .label(at.at, "named here")
                .help("`at` names one host of the inventory")
                .maybe_help(crate::source::suggest::did_you_mean(named.unwrap_or_default(), names)),
        );
    }
    found
}
