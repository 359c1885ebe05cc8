//! What a rollout does around each of its hosts that changes: `before`, `health` and `after`, each as small catalogs, in
//! order, for the hosts that `at=` names. When they are carried out is the engine's.

use std::collections::BTreeSet;
use std::sync::Arc;

use converge_model::HostName;

use crate::catalog::build::{self, Built};
use crate::catalog::compile::Compiled;
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
use crate::settings::rollout::Moment;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::{HostId, Table};
use crate::syntax::parse::{Literal, Node, Origin, Property, Written};

/// A part of a body: what is done on one host.
pub struct Gate {
    /// The host that it is done on.
    pub on: HostName,
    /// What is done.
    pub compiled: Compiled,
}

/// What is done around `host` at `moment`; none where there are mistakes.
pub(crate) fn compile(
    data: &Arc<Data>,
    host: HostId,
    moment: Moment,
    settings: &Table<HostId, HostSettings>,
    facts: &Arc<dyn FactsOf>,
) -> (Option<Vec<Gate>>, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let mut gates = Vec::new();
    let host_scope = HostScope::new(Arc::clone(data), host, Arc::clone(facts));
    for (on, nodes) in parts(data, host, moment, &host_scope.evaluator(), &mut diagnostics) {
        let mut bodies = Bodies::new(data, &mut diagnostics);
        let body = bodies.add(moment.word().to_owned());
        let (passed, position) = (Options::default(), Position::default());
        let mut walk = Walk { body, module: None, called: None, passed, position, next: 0, maybe: false };
        bodies.walk(&nodes, &host_scope.evaluator(), &mut walk);
        instantiate::all(&mut bodies, &host_scope);
        let used = host_scope.session.used();
        host_scope.session.tell_unread(ScopeId::Host(host), bodies.diagnostics);
        host_scope.session.tell_noted(bodies.diagnostics);
        let parts = Parts::of(data, bodies, host, &settings[on], used);
        let built = build::build(parts, &Selection::default(), &mut diagnostics);
        gates.extend(built.map(|Built { mut catalog, contents, choices }| {
            let on = data.membership.hosts[on].name.clone();
            catalog.host = on.clone();
            Gate { on, compiled: Compiled { catalog, contents, reads_facts_of: BTreeSet::new(), choices } }
        }));
    }
    if diagnostics.has_errors() { (None, diagnostics) } else { (Some(gates), diagnostics) }
}

/// The nodes of a body by the host that they are done on; neighbours on one host stay together.
fn parts(
    data: &Data,
    host: HostId,
    moment: Moment,
    evaluator: &Evaluator,
    diagnostics: &mut Diagnostics,
) -> Vec<(HostId, Vec<Node>)> {
    let mut parts: Vec<(HostId, Vec<Node>)> = Vec::new();
    let rollouts =
        data.blocks.of(host).iter().filter_map(|block| data.declarations.blocks[*block].rollout.as_ref());
    let bodies = rollouts.flat_map(Node::body).filter(|node| node.children.is_some());
    for node in bodies.filter(|node| &*node.name == moment.word()).flat_map(Node::body) {
        let Some(on) = done_on(data, host, node, evaluator, diagnostics) else { continue };
        let mut node = done_each_time(node);
        node.props.retain(|property| &*property.key != "at");
        match parts.last_mut() {
            Some((last, nodes)) if *last == on => nodes.push(node),
            _ => parts.push((on, vec![node])),
        }
    }
    parts
}

/// The host that a node is done on: the one that `at=` names, else the one that is rolled.
fn done_on(
    data: &Data,
    host: HostId,
    node: &Node,
    evaluator: &Evaluator,
    diagnostics: &mut Diagnostics,
) -> Option<HostId> {
    let Some(at) = node.prop("at") else { return Some(host) };
    let value = match evaluator.value(&at.value) {
        Ok(value) => value,
        Err(report) => {
            diagnostics.push(report);
            return None;
        }
    };
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
                .label(at.value.at, "named here")
                .help("`at` names one host of the inventory")
                .maybe_help(crate::source::suggest::did_you_mean(named.unwrap_or_default(), names)),
        );
    }
    found
}

/// A node as any body has it, where each command that does not say when is run each time.
fn done_each_time(node: &Node) -> Node {
    const SAYS_WHEN: [&str; 7] =
        ["creates", "removes", "unless", "only-if", "only-notified", "always", "once"];
    let mut node = node.clone();
    let says = |key: &str| SAYS_WHEN.contains(&key) || key == "with";
    let says_when = node.props.iter().any(|property| says(&property.key))
        || node.body().iter().any(|child| says(&child.name));
    if &*node.name == "command" && !says_when {
        let value = Written { literal: Literal::Bool(true), origin: Origin::Plain, at: node.at };
        node.props.push(Property { key: "always".into(), at: node.at, value });
    }
    if matches!(&*node.name, "for" | "when") {
        node.children = node.children.map(|nodes| nodes.iter().map(done_each_time).collect());
    }
    node
}
