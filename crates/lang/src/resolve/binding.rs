//! Resolves the node of a kind, a module or a child: finds the parameter of each part.

use converge_model::schema::Param;

use crate::resolve::control::Flow;
use crate::resolve::mistakes::{comma_in_tag, no_name};
use crate::resolve::resolver::Resolver;
use crate::resolve::statement::{Argument, Binding, Form, Member, OptionName, Statement, Term};
use crate::resolve::symbol::Symbol;
use crate::resolve::texts::broken;
use crate::schema::mismatch::{COMMON, missing, unknown_parameter, values_only};
use crate::schema::types::{self, Input};
use crate::schema::{Schema, Target, grows, takes_several};
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::source::foreign_terms;
use crate::source::ids::ParamId;
use crate::syntax::parse::{Literal, Node, Property, Written};

/// The context of a binding.
pub(super) struct Of<'s> {
    pub(super) node: &'s Node,
    pub(super) schema: &'s Schema,
    pub(super) target: Target,
    /// Whether it has the common options of resources.
    has_options: bool,
    pub(super) shell: Shell,
}

/// Whether a shell runs the commands of a resource.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Shell {
    No,
    Yes,
    /// It is known only on a host.
    Open,
}

impl Resolver<'_> {
    /// Resolves the arguments of `node` for `schema`.
    pub(super) fn binding(
        &mut self,
        node: &Node,
        schema: &Schema,
        target: Target,
        has_options: bool,
    ) -> Binding {
        let outer = std::mem::replace(&mut self.is_broken, false);
        self.path.push(schema.name.clone());
        let of = Of { node, schema, target, has_options, shell: shell(node, schema) };
        let mut members = self.header(&of);
        members.extend(self.members(node.body(), &of));
        self.doubled(schema, &members);
        let mut binding = Binding { at: node.at, members, is_broken: false, constant: None };
        if target == Target::Catalog {
            self.required(schema, &binding);
        }
        self.path.pop();
        binding.is_broken = std::mem::replace(&mut self.is_broken, outer);
        self.is_broken |= binding.is_broken;
        binding
    }

    fn header(&mut self, of: &Of<'_>) -> Vec<Statement<Member>> {
        let (node, schema) = (of.node, of.schema);
        let mut members = Vec::new();
        for (index, arg) in node.args.iter().enumerate() {
            let Some(param) = schema.argument(index) else {
                members.extend(self.too_many(of, arg));
                continue;
            };
            self.note_parameter(arg.at, &schema.params[param].name);
            // The last argument takes all further values, if it takes several.
            let takes_rest = takes_several(&schema.params[param]);
            let values = if takes_rest { &node.args[index..] } else { &node.args[index..=index] };
            members.push(self.values(of, param, values, arg.at));
            if takes_rest {
                break;
            }
        }
        for property in &node.props {
            members.extend(self.property(of, property));
        }
        members.into_iter().map(Statement::One).collect()
    }

    fn property(&mut self, of: &Of<'_>, property: &Property) -> Option<Member> {
        let (key, value) = (&*property.key, &property.value);
        let values = std::slice::from_ref(value);
        self.note_key(of, key, property.at);
        if key == "with" {
            Some(Member::With(self.text(value)))
        } else if key == "when" {
            // The caller has already read it.
            None
        } else if let Some(option) = OptionName::of(key).filter(|_| of.has_options) {
            self.option(option, values, value.at)
        } else if let Some(param) = of.schema.param(key) {
            Some(self.values(of, param, values, value.at))
        } else if of.schema.child(key).is_some() {
            self.text(value);
            self.refuse(
                Diagnostic::error(Code::Form, format!("`{key}` must be written as a child"))
                    .label(value.at, "a property")
                    .help(format!("write `{} {{ {key} {} }}`", of.node.name, value)),
            );
            None
        } else if of.schema.free_keys.is_some() {
            Some(Member::Free(self.key(&property.key, value.at, values, false)))
        } else {
            self.text(value);
            self.unknown(of, key, property.at);
            None
        }
    }

    /// Notes the meaning of a key in a binding.
    fn note_key(&mut self, of: &Of<'_>, key: &str, at: Span) {
        if of.schema.param(key).is_some() || of.schema.child(key).is_some() {
            self.note_parameter(at, key);
        } else if of.has_options && COMMON.contains(&key) {
            self.note(at, || Symbol::Option(key.to_owned()));
        }
    }

    fn option(&mut self, option: OptionName, values: &[Written], at: Span) -> Option<Member> {
        let values: Vec<Written> = values.iter().map(|value| self.text(value)).collect();
        if option.is_single() && values.len() != 1 {
            self.refuse_form(format!("`{}` takes one value", option.name()), at, "here");
            return None;
        }
        let sound = |this: &mut Self, value: Written| match this.option_value(option, &value) {
            Ok(()) => value,
            Err(report) => {
                this.refuse(report);
                broken(value.at)
            }
        };
        let values = values.into_iter().map(|value| sound(self, value)).collect();
        Some(Member::Option(option, values, at))
    }

    /// Checks a constant value of an option.
    fn option_value(&self, option: OptionName, value: &Written) -> Result<(), Diagnostic> {
        let Some(input) = Input::unevaluated(value) else { return Ok(()) };
        match (option.names(), input) {
            (Some(_), Input::Text(tag)) if option == OptionName::Tags && tag.contains(',') => {
                Err(comma_in_tag(&tag, value.at))
            }
            (Some(_), Input::Text(_)) => Ok(()),
            (Some(what), _) => Err(no_name(what, value.at)),
            (None, input) => types::read(&option.ty(), &input, option.limits())
                .map(drop)
                .map_err(|error| error.at(value.at)),
        }
    }

    /// Refuses a parameter with a single value that is written twice. Those in loops and conditions are checked on
    /// hosts.
    fn doubled(&mut self, schema: &Schema, members: &[Statement<Member>]) {
        let mut seen: Vec<(ParamId, Span)> = Vec::new();
        for member in members {
            let Statement::One(Member::Argument(id, argument)) = member else { continue };
            let param = &schema.params[*id];
            // An expression may be null, which counts as not written.
            let is_there =
                matches!(&argument.form, Form::Values(terms) if terms.iter().all(Term::is_constant));
            if grows(param) || !is_there {
                continue;
            }
            match seen.iter().find(|(known, _)| known == id) {
                Some((_, first)) => {
                    let report = Diagnostic::given_twice(&param.name, argument.at, *first);
                    self.refuse(report.help("it takes one value; keep one of them"));
                }
                None => seen.push((*id, argument.at)),
            }
        }
    }

    fn members(&mut self, nodes: &[Node], of: &Of<'_>) -> Vec<Statement<Member>> {
        self.statements(nodes, Flow::among_members, &mut |resolver, node| resolver.member(node, of))
    }

    fn member(&mut self, node: &Node, of: &Of<'_>) -> Option<Statement<Member>> {
        let name = &*node.name;
        self.note_key(of, name, node.at);
        let member = if let Some(param) = of.schema.param(name) {
            self.parameter(of, param, node)
        } else if let Some(child) = of.schema.child(name) {
            let schema = &of.schema.children[child];
            return Some(self.guarded(node, |resolver| {
                Member::Child(child, resolver.binding(node, schema, of.target, false))
            }));
        } else if name == "with" && node.args.len() == 1 {
            Member::With(self.text(&node.args[0]))
        } else if of.has_options && COMMON.contains(&name) {
            if node.children.is_some() || !node.props.is_empty() {
                self.refuse(values_only(name, node));
            }
            self.option(OptionName::of(name)?, &node.args, node.at)?
        } else if name == "when" {
            // The caller has already read it.
            return None;
        } else if of.schema.free_keys.is_some() && node.children.is_none() && node.props.is_empty() {
            Member::Free(self.key(&node.name, node.at, &node.args, node.args.len() > 1))
        } else {
            self.texts_below(node);
            self.unknown(of, name, node.at);
            return None;
        };
        Some(Statement::One(member))
    }

    /// Reports required parameters that are not written. Whether a written one has a value is checked on hosts.
    fn required(&mut self, schema: &Schema, binding: &Binding) {
        for (id, param) in schema.params.entries().filter(|(_, param)| param.required) {
            let mut is_written = false;
            binding.each(&mut |member| {
                is_written |= match member {
                    Member::Argument(of, _) => *of == id,
                    Member::Free(key) => *key.key == *param.name,
                    Member::With(_) => true,
                    Member::Child(..) | Member::Option(..) => false,
                };
            });
            if !is_written {
                self.refuse(missing(schema, param, binding.at));
            }
        }
    }

    fn unknown(&mut self, of: &Of<'_>, key: &str, at: Span) {
        self.refuse(unknown_parameter(of.schema, key, at, of.has_options));
    }

    /// Refuses an argument too many. The parameter that was probably meant counts as written.
    fn too_many(&mut self, of: &Of<'_>, arg: &Written) -> Option<Member> {
        let node = of.node;
        if arg.literal == Literal::Broken {
            // The mistake was already reported.
            self.is_broken = true;
            return None;
        }
        self.text(arg);
        let of_property = node.props.iter().rfind(|property| property.value.at.start < arg.at.start);
        let (help, meant) = match of_property {
            Some(property) => {
                let key = &property.key;
                (format!("`{key}` takes several values only as a child: `{key} \"a\" \"b\"`"), None)
            }
            None => match named(of.schema, arg) {
                Some(help) => (help, None),
                None => meant(of.schema, node, arg),
            },
        };
        self.refuse(
            Diagnostic::error(Code::Form, format!("`{}` has one argument too many", node.name))
                .label(arg.at, "this one")
                .help(help),
        );
        let form = Form::Values(vec![Term::Open(broken(arg.at))]);
        meant.map(|param| Member::Argument(param, Argument { form, at: arg.at, value_at: arg.at }))
    }
}

/// Returns help for an argument too many: the missing parameter, or else one resource for each value.
fn meant(schema: &Schema, node: &Node, arg: &Written) -> (String, Option<ParamId>) {
    let is_given = |param: &Param| {
        node.prop(&param.name).is_some() || node.body().iter().any(|child| *child.name == *param.name)
    };
    let is_open = |param: &Param| param.argument.is_none() && !is_given(param);
    let missing = schema.params.find(|param| param.required && is_open(param));
    // Without a missing required parameter, these are forgotten most often: `sysctl "vm.swappiness" "10"`.
    let usual = || schema.params.find(|param| matches!(&*param.name, "value" | "to") && is_open(param));
    let missing = missing.or_else(usual);
    match (missing, &node.args[..]) {
        (Some(param), [name, _]) => {
            (format!("write `{} {} {}={arg}`", node.name, name, schema.params[param].name), Some(param))
        }
        _ => {
            let one_each =
                || format!("write one `{}` for each; parameters have names: `key=\"value\"`", node.name);
            (foreign_terms::several(&node.name).map_or_else(one_each, str::to_owned), None)
        }
    }
}

/// Returns help for a parameter name that is written as an argument: `file "/x" content "y"`.
fn named(schema: &Schema, arg: &Written) -> Option<String> {
    let Literal::Text(name) = &arg.literal else { return None };
    schema.param(name).map(|_| format!("write the parameter as `{name}=…`, or as a child `{name} …`"))
}

/// Whether a shell runs the commands of `node`, as far as the text shows.
fn shell(node: &Node, schema: &Schema) -> Shell {
    if schema.param("shell").is_none() {
        return Shell::No;
    }
    let of_child = |child: &Node| match &child.args[..] {
        [written] if &*child.name == "shell" => Some(written.literal == Literal::Bool(true)),
        _ => None,
    };
    let of_prop = node.prop("shell").map(|property| property.value.literal == Literal::Bool(true));
    match of_prop.or_else(|| node.body().iter().find_map(of_child)) {
        Some(true) => Shell::Yes,
        None if !node.body().iter().any(|child| is_below(child, "shell")) => Shell::No,
        _ => Shell::Open,
    }
}

fn is_below(node: &Node, name: &str) -> bool {
    &*node.name == name || node.body().iter().any(|inner| is_below(inner, name))
}
