//! Walks bodies: turns the statements of an `on` block or a module into resources and pieces of module instances.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::evaluate::control_flow::{self, Visitor};
use crate::evaluate::evaluator::Evaluator;
use crate::evaluate::problems::secret_here;
use crate::expand::arguments::{Arguments, Atom, Bound, name_of};
use crate::expand::bind::{BindingRead, bind};
use crate::expand::constants::Constants;
use crate::expand::options::Options;
use crate::project::Data;
use crate::project::library::Library;
use crate::resolve::statement::{Binding, Form, Item, OptionName, Statement, Term};
use crate::resolve::values::words;
use crate::schema::{Schema, Target};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{BlockId, ConstantId, Id, KindId, ModuleId};
use crate::syntax::parse::Written;

/// The most resources and module pieces of one host.
pub(crate) const RESOURCES: usize = 100_000;

/// The result of walking the bodies of one host.
pub(crate) struct Bodies<'a> {
    pub(crate) data: &'a Data,
    constants: &'a Constants<Read>,
    pub(crate) diagnostics: &'a mut Diagnostics,
    /// The names of the bodies.
    pub(crate) names: Vec<String>,
    pub(crate) declared: Vec<Declared>,
    /// The pieces of module instances.
    pub(crate) instances: BTreeMap<Instance, Vec<Call>>,
    /// Addresses of resources that a `when` dropped.
    pub(crate) dropped: BTreeSet<String>,
    /// The tags of these resources.
    pub(crate) dropped_tags: BTreeSet<String>,
    /// Whether some names are not known yet. Then an address may exist although it is not listed.
    pub(crate) has_unknown_names: bool,
    pieces: usize,
    /// Whether there are more resources than allowed. The rest is not read.
    pub(crate) full: bool,
}

/// A module instance on a host, identified by its name.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Instance {
    pub(crate) module: ModuleId,
    pub(crate) name: Option<Arc<str>>,
}

/// A position in reading order: the block, the node in it, the node in a called module, and so on.
#[derive(Clone, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Position(Vec<u32>);

impl Position {
    /// Returns the position of a block in the inventory.
    pub(crate) fn of(block: BlockId) -> Self {
        Self::default().inside(u32::try_from(block.index()).unwrap_or(u32::MAX))
    }

    /// Returns the position of the node at `index` inside this one, from 0.
    fn inside(&self, index: u32) -> Self {
        Self(self.0.iter().copied().chain([index]).collect())
    }
}

/// A resource before it is ordered into the catalog.
pub(crate) struct Declared {
    pub(crate) kind: KindId,
    /// Its name. None if it is unknown yet.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) given: Arc<Arguments>,
    /// Its id, if it is equal on every host.
    pub(crate) constant: Option<ConstantId>,
    pub(crate) options: Options,
    /// The address of the module instance that it belongs to.
    pub(crate) module: Option<Arc<str>>,
    pub(crate) body: u32,
    /// Its position in reading order.
    pub(crate) position: Position,
    pub(crate) at: Span,
    /// The call of the module that it belongs to.
    pub(crate) called: Option<Span>,
    pub(crate) maybe: bool,
    /// Whether a part of it is wrong. Then its kind is not asked, because it would only repeat the mistake.
    pub(crate) failed: bool,
}

/// One call of a module.
pub(crate) struct Call {
    pub(crate) given: Arc<Arguments>,
    pub(crate) options: Options,
    pub(crate) position: Position,
    /// The call in the inventory: its own, or the call of the module that contains it.
    pub(crate) called: Span,
    pub(crate) maybe: bool,
    /// Whether a part of it is wrong. Then the module's body is skipped, because it would only repeat the mistake.
    pub(crate) failed: bool,
}

/// The body that is being walked.
#[derive(Clone)]
pub(crate) struct Walk {
    pub(crate) body: u32,
    /// The address of the module instance, if the body is of a module.
    pub(crate) module: Option<Arc<str>>,
    /// The call of the module in the inventory, directly or through other modules.
    pub(crate) called: Option<Span>,
    /// The options that the module passes on.
    pub(crate) passed: Options,
    pub(crate) position: Position,
    /// The index of the next node in the body.
    pub(crate) next: u32,
    pub(crate) maybe: bool,
}

impl<'a> Bodies<'a> {
    /// Returns an empty result.
    pub(crate) fn new(
        data: &'a Data,
        constants: &'a Constants<Read>,
        diagnostics: &'a mut Diagnostics,
    ) -> Self {
        Self {
            data,
            constants,
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

    /// Returns the number of the next body.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.names.len()).unwrap_or(u32::MAX)
    }

    /// Adds a body and returns its number.
    pub(crate) fn add(&mut self, name: String) -> u32 {
        let number = self.next();
        self.names.push(name);
        number
    }

    /// Walks the statements of a body.
    pub(crate) fn walk(&mut self, body: &[Statement<Item>], evaluator: &Evaluator, walk: &mut Walk) {
        let maybe = walk.maybe;
        control_flow::walk(body, evaluator, maybe, &mut Walker { bodies: self, walk });
    }

    fn resource(
        &mut self,
        kind: KindId,
        binding: &Binding,
        evaluator: &Evaluator,
        walk: &Walk,
        position: Position,
        maybe: bool,
    ) {
        let schema = &self.data.library.kinds[kind].schema;
        let read = self.constants.get(binding.constant, || {
            Read::of(bind(binding, schema, Target::Catalog, true, evaluator), |given| name(schema, given))
        });
        self.diagnostics.extend_shared(&read.told);
        self.has_unknown_names |= !matches!(read.name, Some(Some(_)));
        let Some(name) = read.name.clone() else { return };
        self.declared.push(Declared {
            kind,
            name,
            given: Arc::clone(&read.given),
            constant: binding.constant,
            options: read.options_in(walk),
            module: walk.module.clone(),
            body: walk.body,
            position,
            at: binding.at,
            called: walk.called,
            maybe,
            failed: binding.is_broken || !read.told.is_empty(),
        });
    }

    fn call(
        &mut self,
        module: ModuleId,
        binding: &Binding,
        evaluator: &Evaluator,
        walk: &Walk,
        position: Position,
        maybe: bool,
    ) {
        let schema = &self.data.library.modules[module].schema;
        let read = self.constants.get(binding.constant, || {
            Read::of(bind(binding, schema, Target::Module, true, evaluator), |given| {
                instance_name(schema, given)
            })
        });
        self.diagnostics.extend_shared(&read.told);
        let Some(name) = read.name.clone() else {
            self.has_unknown_names = true;
            return;
        };
        let call = Call {
            given: Arc::clone(&read.given),
            options: read.options_in(walk),
            position,
            called: walk.called.unwrap_or(binding.at),
            maybe,
            failed: binding.is_broken || !read.told.is_empty(),
        };
        self.instances.entry(Instance { module, name }).or_default().push(call);
    }

    /// Remembers the addresses of resources that a condition dropped. So naming them is not a mistake.
    fn drop(&mut self, item: &Item, evaluator: &Evaluator, walk: &Walk) {
        let library = &self.data.library;
        let (schema, binding) = match item {
            Item::Resource(kind, binding) => (&library.kinds[*kind].schema, binding),
            Item::Call(module, binding) => {
                let schema = &library.modules[*module].schema;
                self.dropped.insert(schema.name.clone());
                (schema, binding)
            }
            Item::Unknown => {
                self.has_unknown_names = true;
                return;
            }
        };
        let text = |written: &Written| evaluator.value(written).ok()?.value.as_str().map(str::to_owned);
        let of_term = |term: &Term| match term {
            Term::Constant(scalar, _) => name_of(scalar).map(|name| name.to_string()),
            Term::Open(written) => text(written),
        };
        let first = schema.params.find(|param| param.argument == Some(0));
        let joined = |words: Option<Vec<String>>| words.map(|words| words.join(" "));
        let name = match first.and_then(|param| binding.argument(param)).map(|argument| &argument.form) {
            Some(Form::Values(terms)) => vec![joined(terms.iter().map(of_term).collect())],
            // Whether the command is split is known only on a host. So remember both addresses.
            Some(Form::Line(written)) => {
                let split = written.plain_text().and_then(|line| words(written, line).ok());
                vec![text(written), split.and_then(|words| joined(words.iter().map(text).collect()))]
            }
            Some(Form::Keys(_)) | None => Vec::new(),
        };
        let name = name.into_iter().flatten();
        let names = name.chain(binding.option(OptionName::Id).filter_map(text));
        let tags: Vec<String> = binding.option(OptionName::Tags).filter_map(text).collect();
        let prefix = walk.module.as_ref().map_or(String::new(), |module| format!("{module}."));
        self.dropped.extend(names.map(|text| format!("{prefix}{}", address(&schema.name, &text))));
        self.dropped_tags.extend(tags.into_iter().chain(walk.passed.tags.iter().map(|tag| tag.to_string())));
    }
}

/// The result of reading a resource or a call.
pub(crate) struct Read {
    given: Arc<Arguments>,
    options: Options,
    /// The name. `Some(None)` if it has none or is not known yet; `None` if a required name is missing.
    name: Option<Option<Arc<str>>>,
    told: Diagnostics,
}

impl Read {
    fn of(
        read: BindingRead,
        name: impl FnOnce(&Arguments) -> Result<Option<Arc<str>>, Option<Diagnostic>>,
    ) -> Self {
        let BindingRead { given, options, mut told } = read;
        let name =
            name(&given).map_err(|report| report.into_iter().for_each(|report| told.push(report))).ok();
        Self { given: Arc::new(given), options, name, told }
    }

    /// Returns its options at this place, including those that the module passes on.
    fn options_in(&self, walk: &Walk) -> Options {
        let mut options = self.options.clone();
        options.within(walk.module.as_ref());
        options.inherit(&walk.passed);
        options
    }
}

/// A visitor that walks one body through loops and conditions.
struct Walker<'w, 'a> {
    bodies: &'w mut Bodies<'a>,
    walk: &'w mut Walk,
}

impl<'b> Visitor<'b, Item> for Walker<'_, '_> {
    fn one(&mut self, item: &'b Item, evaluator: &Evaluator, maybe: bool) {
        let Self { bodies, walk } = self;
        bodies.pieces += 1;
        if bodies.pieces > RESOURCES {
            bodies.full = true;
            let message = format!("the host has more than {RESOURCES} resources");
            let report = Diagnostic::error(Code::Limit, message);
            let at = item.at();
            return bodies
                .diagnostics
                .push(at.into_iter().fold(report, |report, at| report.label(at, "with this one")));
        }
        let position = walk.position.inside(walk.next);
        walk.next += 1;
        match item {
            Item::Resource(kind, binding) => {
                bodies.resource(*kind, binding, evaluator, walk, position, maybe)
            }
            Item::Call(module, binding) => bodies.call(*module, binding, evaluator, walk, position, maybe),
            // The unknown name was already reported. Do not report references to it as well.
            Item::Unknown => bodies.has_unknown_names = true,
        }
    }

    fn left_out(&mut self, statements: &'b [Statement<Item>], evaluator: &Evaluator) {
        control_flow::walk_all(statements, evaluator, &mut |item, evaluator| {
            self.bodies.drop(item, evaluator, self.walk);
        });
    }

    fn tell(&mut self, report: Diagnostic) {
        self.bodies.diagnostics.push(report);
    }

    fn is_full(&self) -> bool {
        self.bodies.full
    }
}

/// Returns the name of a resource. `Ok(None)` if it is unknown. The error has a report if the name contains a secret.
/// It has none if a required name is missing: that was already reported.
fn name(schema: &Schema, given: &Arguments) -> Result<Option<Arc<str>>, Option<Diagnostic>> {
    let Some(param) = schema.params.find(|param| param.argument == Some(0)) else {
        return Ok(Some(schema.name.as_str().into()));
    };
    let Some(argument) = &given.params[param] else {
        // A missing required name was already reported.
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

/// Returns `kind[name]`.
pub(crate) fn address(kind: &str, name: &str) -> String {
    converge_model::Address::new(None, kind, name).as_str().to_owned()
}

/// Returns the name of a module instance. An empty error if it is unknown, an error with a report if it is a secret.
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
    /// Returns its address: `nginx`, `app-release[shop]`.
    pub(crate) fn address(&self, library: &Library) -> Arc<str> {
        let module = &library.modules[self.module].schema.name;
        converge_model::Address::module(module, self.name.as_deref()).as_str().into()
    }
}
