//! Module instances: merges their pieces into `params`, checks the module's assertions, and walks their bodies.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, Weak};

use converge_model::{Scalar, Type};
use minijinja::Value;

use crate::evaluate::evaluator::{Evaluator, Inner};
use crate::evaluate::host_scope::HostScope;
use crate::evaluate::session::{ScopeId, Session, lock};
use crate::evaluate::variables::{Owner, variable};
use crate::expand::arguments::{Argument, Arguments, Atom, Bound, MapEntry, Nested, SecretText};
use crate::expand::merge;
use crate::expand::options::Options;
use crate::expand::walk::{Bodies, Call, Instance, Walk};
use crate::project::module::Module;
use crate::resolve::Resolved;
use crate::schema::{Assert, Schema};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::template::{Evaluated, Found, GivenAt, List, Map, Marks, Scope, ScopeError, fold, unknown};

/// Expands every instance. Callers come before the modules that they call, so that all pieces of an instance are
/// complete.
pub(crate) fn all(bodies: &mut Bodies<'_>, resolved: &Resolved, host_scope: &Arc<HostScope>) {
    for module in &resolved.order {
        let of_module: Vec<Instance> =
            bodies.instances.keys().filter(|instance| instance.module == *module).cloned().collect();
        for instance in of_module {
            let calls = bodies.instances.insert(instance.clone(), Vec::new()).unwrap_or_default();
            one(bodies, resolved, host_scope, &instance, calls);
        }
    }
}

fn one(
    bodies: &mut Bodies<'_>,
    resolved: &Resolved,
    host_scope: &Arc<HostScope>,
    instance: &Instance,
    mut calls: Vec<Call>,
) {
    let library = &resolved.data.library;
    let module = &library.modules[instance.module];
    calls.sort_by(|a, b| a.position.cmp(&b.position));
    let Some(position) = calls.first().map(|call| call.position.clone()) else { return };
    let maybe = calls.iter().all(|call| call.maybe);
    let failed = calls.iter().any(|call| call.failed);
    let passed = passed(&calls);
    let called = calls.iter().map(|call| call.called).next();
    let address = instance.address(library);
    let mut told = Diagnostics::default();
    let mut pieces = calls.into_iter().map(piece);
    let Some(first) = pieces.next() else { return };
    let mut given = merge::merge(&module.schema, first, pieces, &mut told);
    merge::defaults(&module.schema, &mut given);
    if !failed {
        merge::required(&module.schema, &given, &mut told);
    }
    let body = bodies.next();
    let scope = ModuleScope::evaluator(host_scope, module, body, params(&module.schema, &given));
    if !failed {
        asserts(&module.schema, &given, &scope, &mut told);
    }
    // Skip the body of a module that was called wrongly: it would only repeat the mistake.
    if failed || !told.is_empty() {
        bodies.dropped.insert(module.schema.name.clone());
    } else {
        let body = bodies.add(address.to_string());
        let mut walk = Walk { body, module: Some(address), called, passed, position, next: 0, maybe };
        let outer = std::mem::take(bodies.diagnostics);
        bodies.walk(&resolved.modules[instance.module], &scope, &mut walk);
        told = std::mem::replace(bodies.diagnostics, outer);
        host_scope.session.tell_unread(ScopeId::Module(body), &mut told);
    }
    bodies.diagnostics.extend_called(told, called);
}

/// Returns the arguments of a piece. If the piece may not exist, its values are unknown wherever other pieces disagree.
fn piece(call: Call) -> Arguments {
    let mut given = Arc::unwrap_or_clone(call.given);
    if call.maybe {
        given.params.iter_mut().flatten().for_each(|argument| argument.maybe = true);
        given.children.iter_mut().flatten().for_each(|row| row.maybe = true);
    }
    given
}

fn passed(calls: &[Call]) -> Options {
    let mut passed = Options::default();
    calls.iter().for_each(|call| passed.inherit(&call.options));
    passed
}

/// Returns the value of `params`.
fn params(schema: &Schema, given: &Arguments) -> Vec<(String, Value, Marks)> {
    let of_params = schema.params.iter().zip(&given.params).map(|(param, argument)| {
        let (value, marks) = match argument {
            Some(argument) => held(argument),
            None => (empty(&param.ty), Marks::default()),
        };
        (param.name.clone(), value, marks)
    });
    let of_children = schema.children.iter().zip(&given.children).map(|(schema, rows)| {
        let items = rows.iter().map(|row| (map(params(schema, &row.given)), Marks::default()));
        (schema.name.clone(), List::new(items.collect()), Marks::default())
    });
    let free = schema.free_keys.iter().map(|name| (name.clone(), free(&given.free), Marks::default()));
    of_params.chain(of_children).chain(free).collect()
}

/// Names of parameters were checked when the module was read, so no two fold to the same name.
fn map(entries: Vec<(String, Value, Marks)>) -> Value {
    Map::folding(entries).unwrap_or_else(|_| Value::from(()))
}

fn free(entries: &[MapEntry]) -> Value {
    let entry = |entry: &MapEntry| {
        let (value, marks) = nested(&entry.value, &entry.given);
        (entry.key.to_string(), value, marks)
    };
    Map::exact(entries.iter().map(entry).collect())
}

fn nested(value: &Nested, given: &GivenAt) -> (Value, Marks) {
    match value {
        Nested::One(one) => atom(one, given),
        Nested::List(items) => {
            (List::new(items.iter().map(|item| nested(item, given)).collect()), Marks::default())
        }
        Nested::Map(entries) => (free(entries), Marks::default()),
    }
}

fn held(argument: &Argument) -> (Value, Marks) {
    match &argument.held {
        Bound::One(one) => atom(one, &argument.given),
        Bound::Many(items) => {
            (List::new(items.iter().map(|item| atom(item, &argument.given)).collect()), Marks::default())
        }
        Bound::Map(entries) => (free(entries), Marks::default()),
        Bound::Unknown => (unknown(), Marks::UNKNOWN),
    }
}

fn atom(atom: &Atom, given: &GivenAt) -> (Value, Marks) {
    let (value, marks) = match atom {
        Atom::Plain(Scalar::Text(text)) => (Value::from(text.as_str()), Marks::default()),
        Atom::Plain(Scalar::Int(number)) => (Value::from(*number), Marks::default()),
        Atom::Plain(Scalar::Float(number)) => (Value::from(*number), Marks::default()),
        Atom::Plain(Scalar::Bool(value)) => (Value::from(*value), Marks::default()),
        Atom::Secret(SecretText { text, stand_ins }) => {
            (Value::from(text.clone()), Marks { stand_ins: stand_ins.clone(), ..Marks::TAINTED })
        }
        // Modules see text, never references into a catalog.
        Atom::Unknown | Atom::Plain(Scalar::Secret(_)) | Atom::Content(..) => (unknown(), Marks::UNKNOWN),
    };
    (value, marks | Marks::given(given.clone()))
}

/// Returns the value without a default: an empty list or map, or else null.
fn empty(ty: &Type) -> Value {
    match ty {
        Type::List(_) | Type::Command => List::new(Vec::new()),
        Type::Map | Type::Tree => Map::exact(Vec::new()),
        _ => Value::from(()),
    }
}

/// Checks the assertions of a module and of its children.
fn asserts(schema: &Schema, given: &Arguments, evaluator: &Evaluator, diagnostics: &mut Diagnostics) {
    if !schema.asserts.is_empty() {
        let names = params(schema, given).into_iter();
        let names = names.map(|(name, value, marks)| (fold(&name), Found { value, marks })).collect();
        let inner = evaluator.with(Arc::new(Inner { names, outer: evaluator.scope.clone() }));
        let mut broken = false;
        for demand in &schema.asserts {
            let Err(report) = violated(demand, given.at, &inner) else { continue };
            // An assertion may rely on the one before it. So after a failed assertion, report only other
            // failed assertions.
            if !broken || report.code == Code::Assert {
                diagnostics.push(report);
            }
            broken = true;
        }
    }
    for (schema, rows) in schema.children.iter().zip(&given.children) {
        rows.iter().for_each(|row| asserts(schema, &row.given, evaluator, diagnostics));
    }
}

/// Returns an error if the assertion fails. It points at the values that the assertion reads, or else at the call.
fn violated(demand: &Assert, call: Span, evaluator: &Evaluator) -> Result<(), Diagnostic> {
    let written = crate::syntax::parse::Written {
        literal: crate::syntax::parse::Literal::Text(demand.expression.clone()),
        origin: crate::syntax::parse::Origin::Expr,
        at: demand.at,
    };
    let Evaluated { value, marks } = evaluator.expression(&demand.expression, &written)?;
    if marks.unknown {
        return Ok(());
    }
    match bool::try_from(value.clone()) {
        Ok(true) => Ok(()),
        Ok(false) => {
            let call = GivenAt::one(call);
            let given = if marks.given.spans().is_empty() { &call } else { &marks.given };
            let report = Diagnostic::error(Code::Assert, demand.message.to_string());
            let report = given.spans().iter().fold(report, |report, span| report.label(*span, "here"));
            Err(report.context(demand.at, "checked here"))
        }
        Err(_) => Err(Diagnostic::error(
            Code::Type,
            format!("`assert` must be true or false, found a {}", value.kind()),
        )
        .label(demand.at, "not a boolean")),
    }
}

/// The names in scope in a module: `params`, its own variables, and the common names.
struct ModuleScope {
    params: Value,
    /// The variables that were read so far, by their index in the module.
    known: Mutex<HashMap<usize, Result<Found, ScopeError>>>,
    body: u32,
    module: Arc<Module>,
    session: Arc<Session>,
    common: Arc<dyn Scope>,
    own: Weak<Self>,
}

impl ModuleScope {
    /// Returns the evaluator for the body of an instance.
    fn evaluator(
        host_scope: &Arc<HostScope>,
        module: &Arc<Module>,
        body: u32,
        params: Vec<(String, Value, Marks)>,
    ) -> Evaluator {
        let scope = Arc::new_cyclic(|own| Self {
            params: map(params),
            known: Mutex::default(),
            body,
            module: Arc::clone(module),
            session: Arc::clone(&host_scope.session),
            common: host_scope.common(),
            own: own.clone(),
        });
        Evaluator { session: Arc::clone(&host_scope.session), scope, assets: Arc::clone(&module.assets) }
    }

    fn variable(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        let index = self.module.vars.iter().position(|entry| fold(&entry.key) == fold(name))?;
        if let Some(known) = lock(&self.known).get(&index) {
            return Some(known.clone());
        }
        let owner: Arc<dyn Owner> = Arc::new(OfModule { scope: self.own.clone(), body: self.body });
        let value = variable(&owner, name, &self.module.vars[index]);
        lock(&self.known).insert(index, value.clone());
        Some(value)
    }
}

/// The owner of a module instance's variables.
struct OfModule {
    scope: Weak<ModuleScope>,
    body: u32,
}

impl Owner for OfModule {
    fn evaluator(&self) -> Option<Evaluator> {
        let scope = self.scope.upgrade()?;
        let (session, assets) = (Arc::clone(&scope.session), Arc::clone(&scope.module.assets));
        Some(Evaluator { session, scope, assets })
    }

    fn scope(&self) -> ScopeId {
        ScopeId::Module(self.body)
    }

    fn is_told(&self) -> bool {
        true
    }
}

impl Scope for ModuleScope {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        if name == "params" {
            return Some(Ok(Found { value: self.params.clone(), marks: Marks::default() }));
        }
        self.variable(name).or_else(|| self.common.get(name))
    }

    fn names(&self) -> Vec<String> {
        let mut names = self.common.names();
        names.push("params".to_owned());
        names.extend(self.module.vars.iter().map(|entry| fold(&entry.key)));
        names
    }
}
