//! Bodies walked: from the nodes of an `on` block or a module to resources and to pieces of module instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::evaluate::control_flow::{self, Condition};
use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::secret_here;
use crate::expand::arguments::{Arguments, Atom, Bound, name_of};
use crate::expand::bind::{Target, bind};
use crate::expand::options::Options;
use crate::project::Data;
use crate::schema::Schema;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{BlockId, Id, KindId};
use crate::syntax::parse::{Node, Written};

/// The most resources and module pieces of one host.
pub(crate) const RESOURCES: usize = 100_000;

/// What the bodies of one host come to.
pub(crate) struct Bodies<'a> {
    pub(crate) data: &'a Data,
    pub(crate) diagnostics: &'a mut Diagnostics,
    /// The names of the bodies.
    pub(crate) names: Vec<String>,
    pub(crate) declared: Vec<Declared>,
    /// The pieces of module instances.
    pub(crate) instances: BTreeMap<Instance, Vec<Call>>,
    /// Addresses of what a `when` dropped.
    pub(crate) dropped: BTreeSet<String>,
    /// Their tags.
    pub(crate) dropped_tags: BTreeSet<String>,
    /// Whether some names are not known yet, so that an address may be there though nobody sees it.
    pub(crate) has_unknown_names: bool,
    pieces: usize,
    /// Whether there are more than a host may have: the rest is not looked at.
    pub(crate) full: bool,
}

/// A module on a host: one for each name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) module: String,
    pub(crate) name: Option<Arc<str>>,
}

/// Where something stands in reading order: in a block, in it, in a module that is called there, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(Vec<u32>);

impl Position {
    /// That of a block of the inventory.
    pub(crate) fn of(block: BlockId) -> Self {
        Self::default().inside(u32::try_from(block.index()).unwrap_or(u32::MAX))
    }

    /// The one at `index` inside this one, from 0.
    fn inside(&self, index: u32) -> Self {
        Self(self.0.iter().copied().chain([index]).collect())
    }
}

/// A resource before the catalog is put in order.
pub(crate) struct Declared {
    pub(crate) kind: KindId,
    /// Its name; none where that is unknown yet.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) given: Arguments,
    pub(crate) options: Options,
    /// The address of the module instance that it belongs to.
    pub(crate) module: Option<Arc<str>>,
    pub(crate) body: u32,
    /// Where it stands in reading order.
    pub(crate) position: Position,
    pub(crate) at: Span,
    /// Where the module was called that it belongs to.
    pub(crate) called: Option<Span>,
    pub(crate) maybe: bool,
    /// Whether something in it is wrong, so that its kind would only repeat it.
    pub(crate) failed: bool,
}

/// One call of a module.
pub(crate) struct Call {
    pub(crate) given: Arguments,
    pub(crate) options: Options,
    pub(crate) position: Position,
    /// The call in the inventory: its own, or that of the module in which it stands.
    pub(crate) called: Span,
    pub(crate) maybe: bool,
    /// Whether something in it is wrong, so that the module's body would only repeat it.
    pub(crate) failed: bool,
}

/// The body being walked.
#[derive(Clone)]
pub(crate) struct Walk {
    pub(crate) body: u32,
    /// The address of the module instance, in a module.
    pub(crate) module: Option<Arc<str>>,
    /// Where the inventory called it, or the module that called it.
    pub(crate) called: Option<Span>,
    /// What the module passes on.
    pub(crate) passed: Options,
    pub(crate) position: Position,
    /// The index of the next node in it.
    pub(crate) next: u32,
    pub(crate) maybe: bool,
}

impl<'a> Bodies<'a> {
    /// Nothing walked yet.
    pub(crate) fn new(data: &'a Data, diagnostics: &'a mut Diagnostics) -> Self {
        Self {
            data,
            diagnostics,
            names: Vec::new(),
            declared: Vec::new(),
            instances: BTreeMap::new(),
            dropped: BTreeSet::new(),
            dropped_tags: BTreeSet::new(),
            has_unknown_names: false,
            pieces: 0,
            full: false,
        }
    }

    /// The number of the body that is added next.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Adds a body and says its number.
    pub(crate) fn add(&mut self, name: String) -> u32 {
        let number = self.next();
        self.names.push(name);
        number
    }

    /// Walks the nodes of a body.
    pub(crate) fn walk(&mut self, nodes: &[Node], evaluator: &Evaluator, walk: &mut Walk) {
        for node in nodes {
            if self.full {
                return;
            }
            match &*node.name {
                "for" => {
                    for iteration in
                        self.diagnostics.told(control_flow::iterations(node, evaluator)).into_iter().flatten()
                    {
                        let outer = walk.maybe;
                        walk.maybe |= iteration.maybe;
                        self.walk(node.body(), &iteration.evaluator, walk);
                        walk.maybe = outer;
                    }
                }
                "when" => {
                    let holds = self
                        .diagnostics
                        .told(control_flow::condition(node.args.first(), node.at, evaluator))
                        .unwrap_or_default();
                    self.branch(holds, node.body(), evaluator, walk);
                }
                _ => self.piece(node, evaluator, walk),
            }
        }
    }

    fn branch(&mut self, holds: Condition, nodes: &[Node], evaluator: &Evaluator, walk: &mut Walk) {
        if holds == Condition::False {
            return self.drop(nodes, evaluator, walk);
        }
        let outer = walk.maybe;
        walk.maybe |= holds == Condition::Unknown;
        self.walk(nodes, evaluator, walk);
        walk.maybe = outer;
    }

    fn piece(&mut self, node: &Node, evaluator: &Evaluator, walk: &mut Walk) {
        let mut maybe = walk.maybe;
        if let Some(when) = control_flow::when_of(node) {
            match self
                .diagnostics
                .told(control_flow::condition(Some(when), node.at, evaluator))
                .unwrap_or_default()
            {
                Condition::True => {}
                Condition::False => return self.drop(std::slice::from_ref(node), evaluator, walk),
                Condition::Unknown => maybe = true,
            }
        }
        self.pieces += 1;
        if self.pieces > RESOURCES {
            self.full = true;
            let message = format!("the host has more than {RESOURCES} resources");
            return self
                .diagnostics
                .push(Diagnostic::error(Code::Limit, message).label(node.at, "with this one"));
        }
        let position = walk.position.inside(walk.next);
        walk.next += 1;
        if let Some(kind) = self.data.library.kind(&node.name) {
            self.resource(kind, node, evaluator, walk, position, maybe);
        } else if self.data.library.modules.contains_key(&*node.name) {
            self.call(node, evaluator, walk, position, maybe);
        } else {
            // What it would be called by others is nobody's second mistake.
            self.has_unknown_names = true;
            self.diagnostics.push(self.data.library.unknown(node));
        }
    }

    fn resource(
        &mut self,
        kind: KindId,
        node: &Node,
        evaluator: &Evaluator,
        walk: &Walk,
        position: Position,
        maybe: bool,
    ) {
        let schema = &self.data.library.kinds[kind].schema;
        let mut options = Options::default();
        let (given, mut told) = bind(node, schema, Target::Catalog, evaluator, Some(&mut options));
        let name = name(schema, &given);
        self.has_unknown_names |= !matches!(name, Ok(Some(_)));
        if let Err(Some(report)) = &name {
            told.push(report.clone());
        }
        let failed = !told.is_empty();
        self.diagnostics.extend(told);
        let Ok(name) = name else { return };
        options.within(walk.module.as_ref());
        options.inherit(&walk.passed);
        self.declared.push(Declared {
            kind,
            name,
            given,
            options,
            module: walk.module.clone(),
            body: walk.body,
            position,
            at: node.at,
            called: walk.called,
            maybe,
            failed,
        });
    }

    fn call(&mut self, node: &Node, evaluator: &Evaluator, walk: &Walk, position: Position, maybe: bool) {
        let data = self.data;
        let Some(module) = data.library.modules.get(&*node.name) else { return };
        let mut options = Options::default();
        let (given, mut told) = bind(node, &module.schema, Target::Module, evaluator, Some(&mut options));
        for (what, at) in
            [("retries", options.retries.map(|(_, at)| at)), ("timeout", options.timeout.map(|(_, at)| at))]
        {
            if let Some(at) = at {
                let report = Diagnostic::error(Code::Form, format!("a module has no `{what}`"));
                told.push(report.label(at, "here").help("it belongs to a single resource"));
            }
        }
        let name = instance_name(&module.schema, &given);
        if let Err(Some(report)) = &name {
            told.push(report.clone());
        }
        let failed = !told.is_empty();
        self.diagnostics.extend(told);
        let Ok(name) = name else {
            self.has_unknown_names = true;
            return;
        };
        options.within(walk.module.as_ref());
        options.inherit(&walk.passed);
        let instance = Instance { module: node.name.to_string(), name };
        let called = walk.called.unwrap_or(node.at);
        let call = Call { given, options, position, called, maybe, failed };
        self.instances.entry(instance).or_default().push(call);
    }

    /// Remembers the addresses of what is not there, so that naming them is no mistake.
    fn drop(&mut self, nodes: &[Node], evaluator: &Evaluator, walk: &Walk) {
        for node in nodes {
            match &*node.name {
                "for" => {
                    for iteration in control_flow::iterations(node, evaluator).unwrap_or_default() {
                        self.drop(node.body(), &iteration.evaluator, walk);
                    }
                }
                "when" => self.drop(node.body(), evaluator, walk),
                name => self.drop_one(name, node, evaluator, walk),
            }
        }
    }

    fn drop_one(&mut self, name: &str, node: &Node, evaluator: &Evaluator, walk: &Walk) {
        let text = |written: &Written| evaluator.value(written).ok()?.value.as_str().map(str::to_owned);
        let prefix = walk.module.as_ref().map_or(String::new(), |module| format!("{module}."));
        let id = node.prop("id").map(|property| &property.value);
        let names = node.args.first().into_iter().chain(id).filter_map(text);
        let of_props = node.prop("tags").map(|property| &property.value);
        let children = node.body().iter().filter(|child| &*child.name == "tags");
        let tags = of_props.into_iter().chain(children.flat_map(|child| &child.args)).filter_map(text);
        self.dropped_tags.extend(tags.chain(walk.passed.tags.iter().map(|tag| tag.to_string())));
        self.dropped.extend(names.map(|text| format!("{prefix}{}", address(name, &text))));
        if self.data.library.modules.contains_key(name) {
            self.dropped.insert(name.to_owned());
        }
    }
}

/// The name of a resource; `Ok(None)` where it is unknown, an error where it has none that it should: nothing where that has
/// been said.
fn name(schema: &Schema, given: &Arguments) -> Result<Option<Arc<str>>, Option<Diagnostic>> {
    let Some(param) = schema.params.find(|param| param.argument == Some(0)) else {
        return Ok(Some(schema.name.as_str().into()));
    };
    let Some(argument) = &given.params[param] else {
        // That it is missing has been said, where it is required.
        return if schema.params[param].required { Err(None) } else { Ok(Some(schema.name.as_str().into())) };
    };
    let text = |atom: &Atom| match atom {
        Atom::Plain(scalar) => Ok(name_of(scalar)),
        Atom::Secret(_) => Err(Some(secret_here(argument.at, "a name"))),
        _ => Ok(None),
    };
    match &argument.held {
        Bound::One(atom) => text(atom),
        Bound::Many(items) => {
            let words: Option<Vec<Arc<str>>> = items.iter().map(text).collect::<Result<_, _>>()?;
            Ok(words.map(|words| words.join(" ").into()))
        }
        _ => Ok(None),
    }
}

/// `kind[name]`.
pub(crate) fn address(kind: &str, name: &str) -> String {
    converge_model::Address::new(None, kind, name).as_str().to_owned()
}

/// The name of a module instance; an error where it is unknown, with a mistake where it is one.
fn instance_name(schema: &Schema, given: &Arguments) -> Result<Option<Arc<str>>, Option<Diagnostic>> {
    let Some(argument) = schema.key_param().and_then(|param| given.params[param].as_ref()) else {
        return Ok(None);
    };
    match &argument.held {
        Bound::One(Atom::Plain(scalar)) => Ok(name_of(scalar)),
        Bound::One(Atom::Secret(_)) => Err(Some(secret_here(argument.at, "a name"))),
        _ => Err(None),
    }
}

impl Instance {
    /// Its address: `nginx`, `app-release[shop]`.
    pub(crate) fn address(&self) -> Arc<str> {
        converge_model::Address::module(&self.module, self.name.as_deref()).as_str().into()
    }
}
