//! The names in scope at a text, without their values: the parameters and variables of a module, and the facts.
//! Variables of the inventory are only known on hosts. Environments share files, so a file may name variables that only
//! hosts of another environment have.

use std::sync::Arc;

use crate::project::module::Module;
use crate::schema::Schema;
use crate::template::{Found, Map, Marks, Scope, ScopeError, fold, unknown, unknown_facts};

/// The common names in every scope.
pub(crate) const COMMON: [&str; 4] = ["host", "hosts", "groups", "facts"];

/// Names whose values are not known.
#[derive(Default)]
pub(super) struct Names {
    names: Vec<String>,
    /// Whether any other name may exist, too.
    is_open: bool,
    /// The parameters of a module. None outside of modules.
    params: Option<minijinja::Value>,
    outer: Option<Arc<dyn Scope>>,
}

impl Names {
    /// Returns the names for the inventory's own texts, without variables.
    pub(super) fn of_inventory() -> Arc<dyn Scope> {
        Arc::new(Self::default())
    }

    /// Returns the names for a module: its parameters and its own variables.
    pub(super) fn of_module(module: &Module) -> Arc<dyn Scope> {
        let names = module.vars.iter().map(|entry| fold(&entry.key));
        Arc::new(Self { names: names.collect(), params: Some(params(&module.schema)), ..Self::default() })
    }

    /// Returns a scope with additional names in front of `outer`.
    pub(super) fn within(names: Vec<String>, outer: &Arc<dyn Scope>) -> Arc<dyn Scope> {
        Arc::new(Self { names, outer: Some(Arc::clone(outer)), ..Self::default() })
    }

    /// Returns a scope that has every name, for a loop whose own names are wrong.
    pub(super) fn open(outer: &Arc<dyn Scope>) -> Arc<dyn Scope> {
        Arc::new(Self { is_open: true, outer: Some(Arc::clone(outer)), ..Self::default() })
    }
}

/// Returns the parameters of a module, with unknown values.
fn params(schema: &Schema) -> minijinja::Value {
    let open = |name: &str| (name.to_owned(), unknown(), Marks::UNKNOWN);
    let names = schema.names().into_iter().chain(schema.free_keys.as_deref());
    // Two names that fold to one were refused when the module was read.
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
