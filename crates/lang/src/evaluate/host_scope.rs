//! The names in scope while one host's catalog is compiled: variables, `host`, `hosts`, `groups`, `facts`, secrets.
//!
//! Variables are evaluated on first use, once for each host that uses them. A scope lives for one compilation and
//! belongs to one thread.

use std::cmp::Ordering;
use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::sync::{Arc, Mutex, Weak};

use converge_model::HostName;
use minijinja::value::{DynObject, Enumerator, Object, ObjectRepr};
use minijinja::{Error, ErrorKind, Value};

use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::facts::{FactsOf, Knowledge, NoFacts};
use crate::evaluate::problems::no_facts;
use crate::evaluate::session::{ScopeId, Session, lock};
use crate::evaluate::variables::{Owner, variable};
use crate::project::Data;
use crate::resolve::scope::COMMON;
use crate::source::diagnostic::{Code, Diagnostic};
use crate::source::ids::{HostId, VariableId};
use crate::template::{Found, Marks, Scope, ScopeError, fold, known_facts, mark, seen, unknown_facts};

/// The data that is the same for all values of one catalog.
pub(crate) struct HostScope {
    pub(crate) session: Arc<Session>,
    data: Arc<Data>,
    facts: Arc<dyn FactsOf>,
    /// The host of the catalog.
    pub(crate) subject: HostId,
    /// The hosts whose facts were read.
    reads: Mutex<BTreeSet<HostName>>,
    variables: Mutex<HashMap<HostId, Arc<Variables>>>,
}

/// The variables of one host.
#[derive(Default)]
struct Variables {
    values: Mutex<HashMap<VariableId, Result<Found, ScopeError>>>,
}

impl HostScope {
    /// Returns the scope for one host's catalog.
    pub(crate) fn new(data: Arc<Data>, subject: HostId, facts: Arc<dyn FactsOf>) -> Arc<Self> {
        let known = facts.facts(&data.membership.hosts[subject].name).is_some();
        let mode = if known { Knowledge::Known } else { Knowledge::Unknown };
        Self::with(data, subject, facts, mode)
    }

    /// Returns a scope that refuses facts.
    pub(crate) fn without_facts(data: Arc<Data>, subject: HostId) -> Arc<Self> {
        Self::with(data, subject, Arc::new(NoFacts), Knowledge::Refused)
    }

    fn with(data: Arc<Data>, subject: HostId, facts: Arc<dyn FactsOf>, mode: Knowledge) -> Arc<Self> {
        Arc::new(Self {
            session: Session::new(Arc::clone(&data), mode),
            data,
            facts,
            subject,
            reads: Mutex::default(),
            variables: Mutex::default(),
        })
    }

    /// Returns the other hosts whose facts were read so far.
    pub(crate) fn reads(&self) -> BTreeSet<HostName> {
        lock(&self.reads).clone()
    }

    /// Returns the evaluator for the inventory's own texts on the host.
    pub(crate) fn evaluator(self: &Arc<Self>) -> Evaluator {
        self.evaluator_of(self.subject)
    }

    fn evaluator_of(self: &Arc<Self>, host: HostId) -> Evaluator {
        let scope = Arc::new(InventoryNames { host_scope: Arc::clone(self), host });
        Evaluator { session: Arc::clone(&self.session), scope, assets: Arc::clone(&self.data.assets) }
    }

    /// Returns the names that a module can use beside its own: `host`, `hosts`, `groups`, `facts`.
    pub(crate) fn common(self: &Arc<Self>) -> Arc<dyn Scope> {
        Arc::new(Common(Arc::clone(self)))
    }

    /// Returns the variable `name` of a host. None if the host has no such variable.
    fn variable(self: &Arc<Self>, host: HostId, name: &str) -> Option<Result<Found, ScopeError>> {
        let table = self.data.table(host);
        let id = table.find(name)?;
        let variables = Arc::clone(lock(&self.variables).entry(host).or_default());
        if let Some(known) = lock(&variables.values).get(&id) {
            return Some(known.clone());
        }
        let owner: Arc<dyn Owner> = Arc::new(OfHost { scope: Arc::downgrade(self), host });
        let value = variable(&owner, name, &table.entries[id]);
        lock(&variables.values).insert(id, value.clone());
        Some(value)
    }

    /// Returns the facts of a host.
    fn facts_of(&self, host: HostId) -> Result<Found, ScopeError> {
        let name = &self.data.membership.hosts[host].name;
        if self.session.facts == Knowledge::Refused {
            return Err(ScopeError(Box::new(no_facts())));
        }
        if host != self.subject {
            lock(&self.reads).insert(name.clone());
        }
        if self.session.facts == Knowledge::Unknown {
            return Ok(Found { value: unknown_facts(), marks: Marks::default() });
        }
        match self.facts.facts(name) {
            Some(facts) => Ok(Found { value: known_facts(&facts), marks: Marks::default() }),
            None => Err(ScopeError(Box::new(Diagnostic::error(
                Code::Facts,
                format!("there are no facts of `{name}` yet: no run has included it"),
            )))),
        }
    }

    /// Returns a host as a value for templates.
    fn host(self: &Arc<Self>, host: HostId) -> Value {
        Value::from_object(HostObject { host_scope: Arc::downgrade(self), host })
    }

    /// Returns `host`, `hosts`, `groups` or `facts` for one host.
    fn common_name(self: &Arc<Self>, host: HostId, name: &str) -> Option<Result<Found, ScopeError>> {
        let found = |value| Some(Ok(Found { value, marks: Marks::default() }));
        match name {
            "host" => found(self.host(host)),
            "hosts" => found(Value::from_object(HostList::all(self))),
            "groups" => found(Value::from_object(GroupMap { host_scope: Arc::downgrade(self) })),
            "facts" => Some(self.facts_of(host)),
            _ => None,
        }
    }
}

/// The names that the inventory's own texts can use on a host.
struct InventoryNames {
    host_scope: Arc<HostScope>,
    host: HostId,
}

impl Scope for InventoryNames {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        self.host_scope.common_name(self.host, name).or_else(|| self.host_scope.variable(self.host, name))
    }

    fn names(&self) -> Vec<String> {
        let table = self.host_scope.data.table(self.host);
        let variables = table.entries.iter().map(|entry| fold(&entry.key));
        COMMON.iter().map(|name| (*name).to_owned()).chain(variables).collect()
    }

    fn has(&self, name: &str) -> bool {
        let declarations = &self.host_scope.data.declarations;
        let layers = declarations.vars.iter().chain(declarations.hosts.iter().flat_map(|host| &host.vars));
        let mut keys = layers.flat_map(|layer| &layer.entries).map(|entry| fold(&entry.key));
        COMMON.contains(&name) || keys.any(|key| key == fold(name))
    }
}

/// The owner of a host's variables.
struct OfHost {
    scope: Weak<HostScope>,
    host: HostId,
}

impl Owner for OfHost {
    fn evaluator(&self) -> Option<Evaluator> {
        Some(self.scope.upgrade()?.evaluator_of(self.host))
    }

    fn scope(&self) -> ScopeId {
        ScopeId::Host(self.host)
    }

    fn is_told(&self) -> bool {
        self.scope.upgrade().is_some_and(|scope| scope.subject == self.host)
    }
}

/// The names that modules can use beside their own.
struct Common(Arc<HostScope>);

impl Scope for Common {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        self.0.common_name(self.0.subject, name)
    }

    fn names(&self) -> Vec<String> {
        COMMON.iter().map(|name| (*name).to_owned()).collect()
    }
}

/// A host in a template: `.name`, `.address`, `.groups`, `.vars`, `.facts`.
struct HostObject {
    host_scope: Weak<HostScope>,
    host: HostId,
}

/// Hosts in a template: a list that can also be read by name.
struct HostList {
    host_scope: Weak<HostScope>,
    hosts: Vec<HostId>,
}

/// `groups`: every group by its name.
struct GroupMap {
    host_scope: Weak<HostScope>,
}

/// `.vars` of a host.
struct HostVars {
    host_scope: Weak<HostScope>,
    host: HostId,
}

/// Returns a value and passes its marks to the current rendering. A mistake becomes an error where the value is used.
fn tell(found: Result<Found, ScopeError>) -> Value {
    match found {
        Ok(found) => {
            let value = seen(&found.value, &found.marks);
            mark(found.marks);
            value
        }
        Err(error) => {
            Value::from(Error::new(ErrorKind::InvalidOperation, error.to_string()).with_source(error))
        }
    }
}

impl HostObject {
    fn address(host_scope: &Arc<HostScope>, host: HostId) -> Value {
        let Some(written) = &host_scope.data.membership.hosts[host].address else { return Value::from(()) };
        let found =
            host_scope.evaluator_of(host).value(written).map(|e| Found { value: e.value, marks: e.marks });
        tell(found.map_err(|error| ScopeError(Box::new(error))))
    }
}

impl Object for HostObject {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host_scope = self.host_scope.upgrade()?;
        let host = host_scope.data.membership.hosts.get(self.host)?;
        Some(match key.as_str()? {
            "name" => Value::from(host.name.as_str()),
            "address" => Self::address(&host_scope, self.host),
            "groups" => {
                let groups = host_scope.data.membership.groups_of(self.host);
                groups
                    .iter()
                    .map(|group| Value::from(&*host_scope.data.membership.groups[*group].name))
                    .collect()
            }
            "vars" => Value::from_object(HostVars { host_scope: self.host_scope.clone(), host: self.host }),
            "facts" => tell(host_scope.facts_of(self.host)),
            _ => return None,
        })
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Str(&["name", "address", "groups", "vars", "facts"])
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.host.cmp(&other.host))
    }

    /// Render the name only: a variable of the host may contain the host itself.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let host_scope = self.host_scope.upgrade();
        let host = host_scope.as_ref().and_then(|host_scope| host_scope.data.membership.hosts.get(self.host));
        f.write_str(host.map_or("", |host| host.name.as_str()))
    }
}

impl HostList {
    fn all(host_scope: &Arc<HostScope>) -> Self {
        Self {
            host_scope: Arc::downgrade(host_scope),
            hosts: host_scope.data.membership.hosts.ids().collect(),
        }
    }
}

impl Object for HostList {
    fn repr(self: &Arc<Self>) -> ObjectRepr {
        ObjectRepr::Seq
    }

    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host_scope = self.host_scope.upgrade()?;
        let host = match key.as_str() {
            Some(name) => {
                let folded = |host: &&HostId| {
                    fold(host_scope.data.membership.hosts[**host].name.as_str()) == fold(name)
                };
                let exact = host_scope.data.membership.host(name).filter(|host| self.hosts.contains(host));
                exact.or_else(|| self.hosts.iter().find(folded).copied())?
            }
            None => *self.hosts.get(key.as_usize()?)?,
        };
        Some(host_scope.host(host))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        Enumerator::Seq(self.hosts.len())
    }
}

impl Object for GroupMap {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host_scope = self.host_scope.upgrade()?;
        let name = key.as_str()?;
        let groups = &host_scope.data.membership.groups;
        let folded = || groups.find(|group| fold(&group.name) == fold(name));
        let group = host_scope.data.membership.group(name).or_else(folded)?;
        let hosts = groups[group].hosts.iter().copied().collect();
        Some(Value::from_object(HostList { host_scope: self.host_scope.clone(), hosts }))
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let Some(host_scope) = self.host_scope.upgrade() else { return Enumerator::Empty };
        Enumerator::Values(
            host_scope.data.membership.groups.iter().map(|group| Value::from(&*group.name)).collect(),
        )
    }
}

impl Object for HostVars {
    fn get_value(self: &Arc<Self>, key: &Value) -> Option<Value> {
        let host_scope = self.host_scope.upgrade()?;
        host_scope.variable(self.host, key.as_str()?).map(tell)
    }

    fn enumerate(self: &Arc<Self>) -> Enumerator {
        let Some(host_scope) = self.host_scope.upgrade() else { return Enumerator::Empty };
        let table = host_scope.data.table(self.host);
        Enumerator::Values(table.entries.iter().map(|entry| Value::from(&*entry.key)).collect())
    }

    fn custom_cmp(self: &Arc<Self>, other: &DynObject) -> Option<Ordering> {
        other.downcast_ref::<Self>().map(|other| self.host.cmp(&other.host))
    }

    /// Do not render the variables: one of them may contain the host itself.
    fn render(self: &Arc<Self>, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("vars")
    }
}

macro_rules! opaque {
    ($($name:ident),*) => {$(
        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(stringify!($name))
            }
        }
    )*};
}

opaque!(HostObject, HostList, GroupMap, HostVars);
