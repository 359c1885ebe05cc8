//! Resolves bodies: which node is a resource, and which is a call of a module.

use crate::project::module::Module;
use crate::resolve::control::Flow;
use crate::resolve::resolver::Resolver;
use crate::resolve::scope::Names;
use crate::resolve::statement::{Binding, Item, Member, OptionName, Statement};
use crate::resolve::symbol::Symbol;
use crate::schema::Target;
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::ids::{ConstantId, Id, ModuleId};
use crate::syntax::parse::Node;

impl<'a> Resolver<'a> {
    /// Resolves the body of an `on` block.
    pub(crate) fn body(&mut self, nodes: &[Node]) -> Vec<Statement<Item>> {
        self.statements(nodes, Flow::of, &mut |resolver, node| {
            Some(resolver.guarded(node, |resolver| resolver.item(node)))
        })
    }

    /// Resolves the body of a module. Also returns the modules that it calls.
    pub(crate) fn module(&mut self, module: &'a Module) -> (Vec<Statement<Item>>, Vec<(ModuleId, Span)>) {
        let outer = std::mem::replace(&mut self.assets, &module.assets);
        self.calls.clear();
        self.module = Some(module.schema.name.clone());
        let body = self.seeing(Names::of_module(module), |resolver| {
            resolver.demands(&module.schema);
            resolver.variables(&module.vars);
            resolver.body(&module.body)
        });
        self.assets = outer;
        self.module = None;
        (body, std::mem::take(&mut self.calls))
    }

    /// Resolves one node of a body.
    pub(super) fn item(&mut self, node: &Node) -> Item {
        let library = self.library;
        if let Some(kind) = library.kind(&node.name) {
            self.note(node.at, || Symbol::Kind(node.name.to_string()));
            let binding = self.binding(node, &library.kinds[kind].schema, Target::Catalog, true);
            Item::Resource(kind, self.numbered(binding))
        } else if let Some(module) = library.module(&node.name) {
            self.note(node.at, || Symbol::Module(node.name.to_string()));
            self.calls.push((module, node.at));
            let binding = self.binding(node, &library.modules[module].schema, Target::Module, true);
            let binding = self.of_call(binding);
            Item::Call(module, self.numbered(binding))
        } else {
            self.texts(node);
            self.diagnostics.push(library.unknown(node));
            Item::Unknown
        }
    }

    /// Gives a binding that is equal on every host its own id.
    pub(super) fn numbered(&mut self, mut binding: Binding) -> Binding {
        binding.constant = None;
        if binding.is_constant() {
            binding.constant = Some(ConstantId::new(self.constants));
            self.constants += 1;
        }
        binding
    }

    /// Refuses options that only a single resource can have, not a module.
    fn of_call(&mut self, mut binding: Binding) -> Binding {
        let mut refused = Vec::new();
        binding.each(&mut |member| {
            if let Member::Option(option @ (OptionName::Retries | OptionName::Timeout), _, at) = member {
                refused.push((*option, *at));
            }
        });
        binding.is_broken |= !refused.is_empty();
        for (option, at) in refused {
            let message = format!("a module cannot have `{}`", option.name());
            let report = Diagnostic::error(Code::Form, message);
            self.diagnostics.push(report.label(at, "here").help("set it on a single resource"));
        }
        binding
    }
}
