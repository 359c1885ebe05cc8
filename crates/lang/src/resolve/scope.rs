//! Which names there are where a text stands, whatever they are worth on a host: the parameters and variables of a module,
//! the facts. Which variables there are in the inventory, hosts say: files are shared between environments, and what is for
//! hosts of another one may name what only they have.

use std::sync::Arc;

use crate::project::module::Module;
use crate::schema::Schema;
use crate::template::{Found, Map, Marks, Scope, ScopeError, fold, unknown, unknown_facts};

/// What everything sees beside its own names.
pub(crate) const COMMON: [&str; 4] = ["host", "hosts", "groups", "facts"];

/// Names whose values are not known.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// Whether every other name may be there too.
    is_open: bool,
    /// The parameters of a module; none outside of modules.
    params: Option<minijinja::Value>,
    outer: Option<Arc<dyn Scope>>,
}

impl Names {
    /// What the inventory's own texts see, variables aside.
    pub(super) fn of_inventory() -> Arc<dyn Scope> {
        Arc::new(Self::default())
    }

    /// What the texts of a module see: its parameters and its own variables.
    pub(super) fn of_module(module: &Module) -> Arc<dyn Scope> {
        let names = module.vars.iter().map(|entry| fold(&entry.key));
        Arc::new(Self { names: names.collect(), params: Some(params(&module.schema)), ..Self::default() })
    }

    /// Further names before those of `outer`.
    pub(super) fn within(names: Vec<String>, outer: &Arc<dyn Scope>) -> Arc<dyn Scope> {
        Arc::new(Self { names, outer: Some(Arc::clone(outer)), ..Self::default() })
    }

    /// Every name, below a loop whose own names are a mistake.
    pub(super) fn open(outer: &Arc<dyn Scope>) -> Arc<dyn Scope> {
        Arc::new(Self { is_open: true, outer: Some(Arc::clone(outer)), ..Self::default() })
    }
}

/// The parameters of a module: which there are.
fn params(schema: &Schema) -> minijinja::Value {
    let open = |name: &str| (name.to_owned(), unknown(), Marks::UNKNOWN);
    let names = schema.names().into_iter().chain(schema.free_keys.as_deref());
    // Two names that fold to one are refused when the module is read.
    Map::folding(names.map(open).collect()).unwrap_or_else(|_| unknown())
}

impl Scope for Names {
    fn get(&self, name: &str) -> Option<Result<Found, ScopeError>> {
        let found = |value, marks| Some(Ok(Found { value, marks }));
        if self.is_open || self.names.iter().any(|own| own == name) {
            return found(unknown(), Marks::UNKNOWN);
        }
        match (&self.params, &self.outer, name) {
            (Some(params), _, "params") => found(params.clone(), Marks::default()),
            (_, Some(outer), _) => outer.get(name),
            (_, None, "facts") => found(unknown_facts(), Marks::default()),
            (_, None, _) if COMMON.contains(&name) => found(unknown(), Marks::UNKNOWN),
            _ => None,
        }
    }

    fn names(&self) -> Vec<String> {
        let outer = self
            .outer
            .as_ref()
            .map_or_else(|| COMMON.iter().map(|name| (*name).to_owned()).collect(), |outer| outer.names());
        let params = self.params.iter().map(|_| "params".to_owned());
        outer.into_iter().chain(params).chain(self.names.iter().cloned()).collect()
    }

    fn has(&self, name: &str) -> bool {
        self.get(name).is_some()
    }
}
