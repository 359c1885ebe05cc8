//! Modules: reads their schema, variables and body from `module.kdl`. `project` finds the modules and decides which are
//! read; `expand` expands their bodies.

use std::sync::Arc;

use converge_model::schema::{Child, Param};
use converge_model::{Type, Value};

use crate::project::assets::Assets;
use crate::schema::mismatch::COMMON;
use crate::schema::types;
use crate::schema::{Assert, Schema};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Span};
use crate::source::suggest::did_you_mean;
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::value_tree::{self, Entry};

/// A module in the form of its reference page.
#[derive(Clone, Debug, PartialEq)]
pub struct ModuleInfo {
    /// Its name.
    pub name: String,
    /// One line about it.
    pub summary: String,
    /// `version=` of its `module` node.
    pub version: Option<String>,
    /// Whether it is built in, is the project's own, or replaces a built-in one.
    pub origin: ModuleOrigin,
    /// Its parameters.
    pub params: Vec<Param>,
    /// Its children, which may nest.
    pub children: Vec<Child>,
    /// Its assertions: an expression and the text of the error.
    pub asserts: Vec<(String, String)>,
    /// The text of its `README.md`, if it has one.
    pub readme: Option<Arc<str>>,
}

/// The origin of a module.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ModuleOrigin {
    /// It comes with Converge.
    Builtin,
    /// It belongs to the project.
    Project,
    /// It belongs to the project and replaces a built-in one.
    Replacement,
}

/// A module.
pub(crate) struct Module {
    pub(crate) schema: Schema,
    /// The place of its name, or else the start of its file.
    pub(crate) at: Span,
    pub(crate) summary: String,
    pub(crate) version: Option<String>,
    pub(crate) origin: ModuleOrigin,
    pub(crate) vars: Vec<Entry>,
    pub(crate) body: Arc<[Node]>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) readme: Option<Arc<str>>,
}

impl Module {
    /// Returns the module in the form of its reference page.
    pub(crate) fn info(&self) -> ModuleInfo {
        let texts = |assert: &Assert| (assert.expression.to_string(), assert.message.to_string());
        ModuleInfo {
            name: self.schema.name.clone(),
            summary: self.summary.clone(),
            version: self.version.clone(),
            origin: self.origin,
            params: self.schema.params.as_slice().to_vec(),
            children: self.schema.children.iter().map(Schema::to_child).collect(),
            asserts: self.schema.asserts.iter().map(texts).collect(),
            readme: self.readme.clone(),
        }
    }
}

/// Reads the nodes of a `module.kdl`.
pub(crate) fn read(
    name: &str,
    file: FileId,
    nodes: Vec<Node>,
    assets: Arc<Assets>,
    origin: ModuleOrigin,
    diagnostics: &mut Diagnostics,
) -> Module {
    let mut module = Module {
        schema: Schema { name: name.to_owned(), ..Schema::default() },
        at: Span::new(file, 0, 0),
        summary: String::new(),
        version: None,
        origin,
        vars: Vec::new(),
        body: Arc::new([]),
        assets,
        readme: None,
    };
    let mut body = Vec::new();
    let mut reader = Reader { diagnostics };
    for node in nodes {
        match &*node.name {
            "module" => reader.module(&node, &mut module),
            "params" => reader.params(node.body(), &mut module.schema, true),
            "vars" => module.vars.extend(value_tree::variables(node.body(), reader.diagnostics)),
            "resources" => body.extend(node.children.unwrap_or_default()),
            _ => reader.unknown(&node, &["module", "params", "vars", "resources"]),
        }
    }
    module.body = body.into();
    module
}

struct Reader<'a> {
    diagnostics: &'a mut Diagnostics,
}

impl Reader<'_> {
    fn module(&mut self, node: &Node, module: &mut Module) {
        match node.args.first().and_then(Written::plain_text) {
            Some(name) if **name == *module.schema.name => module.at = node.args[0].at,
            _ => {
                self.report(node.at, format!("the module in this folder is called `{}`", module.schema.name))
            }
        }
        for property in &node.props {
            let text = property.value.plain_text().map(|text| text.to_string());
            match (&*property.key, text) {
                ("summary", Some(text)) => module.summary = text,
                ("version", Some(text)) => module.version = Some(text),
                ("requires", Some(text)) => self.requires(&text, property.value.at),
                (key, _) => self.report(property.value.at, format!("`module` does not accept this `{key}`")),
            }
        }
    }

    fn requires(&mut self, wanted: &str, at: Span) {
        let version =
            |text: &str| -> Option<Vec<u64>> { text.split('.').map(|part| part.parse().ok()).collect() };
        let have = version(env!("CARGO_PKG_VERSION")).unwrap_or_default();
        match wanted.strip_prefix(">=").map(str::trim).and_then(version) {
            Some(wanted) if wanted <= have => {}
            Some(_) => {
                let have = env!("CARGO_PKG_VERSION");
                self.report(at, format!("the module needs Converge {wanted}, this is {have}"));
            }
            None => self.report(at, "`requires` is written `\">=0.4\"`".to_owned()),
        }
    }

    fn params(&mut self, body: &[Node], schema: &mut Schema, top: bool) {
        let mut arguments = 0;
        for node in body {
            match &*node.name {
                "arg" => {
                    if let Some(mut param) = self.param(node, top) {
                        param.argument = Some(arguments);
                        arguments += 1;
                        self.add(schema, param, node);
                    }
                }
                "param" => {
                    if let Some(param) = self.param(node, top) {
                        self.add(schema, param, node);
                    }
                }
                "child" => self.child(node, schema),
                "assert" => self.assert(node, schema),
                _ => self.unknown(node, &["param", "arg", "child", "assert"]),
            }
        }
    }

    fn add(&mut self, schema: &mut Schema, param: Param, node: &Node) {
        let at = node.at;
        if schema.names().contains(&param.name.as_str()) {
            self.report(at, format!("`{}` is declared twice", param.name));
        } else if let Err(error) = types::check_param(&param) {
            let report = Diagnostic::error(Code::Module, error.message).label(at, "in this parameter");
            self.diagnostics.push(report.maybe_help(error.help));
        } else {
            schema.declared.push((param.name.clone(), node.args.first().map_or(at, |name| name.at)));
            schema.params.push(param);
        }
    }

    fn child(&mut self, node: &Node, schema: &mut Schema) {
        let Some(name) = node.args.first().and_then(Written::plain_text) else {
            return self.report(node.at, "`child` needs a name".to_owned());
        };
        let mut child = Schema { name: name.to_string(), keyed: true, ..Schema::default() };
        for property in &node.props {
            match (&*property.key, &property.value.literal) {
                ("key", Literal::Bool(keyed)) => child.keyed = *keyed,
                ("join", Literal::Bool(join)) => child.apart = !*join,
                ("doc", Literal::Text(text)) => child.doc = text.to_string(),
                (key, _) => self.report(property.value.at, format!("`child` does not accept this `{key}`")),
            }
        }
        self.params(node.body(), &mut child, false);
        if schema.names().contains(&child.name.as_str()) || matches!(&*child.name, "for" | "when" | "with") {
            return self.report(node.at, format!("`{}` cannot be the name of a child", child.name));
        }
        schema.declared.push((child.name.clone(), node.args[0].at));
        schema.children.push(child);
    }

    fn assert(&mut self, node: &Node, schema: &mut Schema) {
        let [expression, message] = &node.args[..] else {
            return self.report(node.at, "`assert` needs an expression and a string".to_owned());
        };
        match (&expression.literal, message.plain_text()) {
            (Literal::Text(text), Some(message))
                if matches!(expression.origin, Origin::Plain | Origin::Expr) =>
            {
                schema.asserts.push(Assert {
                    expression: text.clone(),
                    message: message.clone(),
                    at: expression.at,
                });
            }
            _ => self.report(expression.at, "`assert` needs an expression and a string".to_owned()),
        }
    }

    fn param(&mut self, node: &Node, top: bool) -> Option<Param> {
        let Some(name) = node.args.first().and_then(Written::plain_text) else {
            self.report(node.at, format!("`{}` needs a name", node.name));
            return None;
        };
        let reserved = matches!(&**name, "for" | "with" | "when") || top && COMMON.contains(&&**name);
        if reserved {
            self.report(node.args[0].at, format!("`{name}` cannot be the name of a parameter"));
            return None;
        }
        let text = |key: &str| node.prop(key).and_then(|property| property.value.plain_text().cloned());
        let type_name = text("type").unwrap_or_else(|| "string".into());
        let Some(ty) = Type::parse(&type_name, text("of").as_deref()) else {
            self.no_type(node, &type_name);
            return None;
        };
        let mut param = Param::new(name, ty, text("doc").as_deref().unwrap_or_default());
        self.limits(node, &mut param);
        Some(param)
    }

    /// Reports an unknown type. For a list or a map, `of` is the wrong part.
    fn no_type(&mut self, node: &Node, name: &str) {
        let of = node.prop("of").filter(|_| matches!(name, "list" | "map"));
        let at = of.or(node.prop("type")).map_or(node.at, |property| property.value.at);
        let of = of.and_then(|property| property.value.plain_text());
        let report = match of {
            Some(of) if name == "map" => {
                Diagnostic::error(Code::Module, format!("there is no map of `{of}`"))
                    .label(at, "unknown")
                    .help(
                        "a map without `of` may be nested; with `of=\"any\"` it takes only values and lists",
                    )
            }
            of => {
                let name = of.map_or(name, |of| of);
                let names = Type::ALL.iter().map(Type::name).chain(["list"]);
                Diagnostic::error(Code::Module, format!("there is no type `{name}`"))
                    .label(at, "unknown")
                    .maybe_help(did_you_mean(name, names))
            }
        };
        self.diagnostics.push(report);
    }

    fn limits(&mut self, node: &Node, param: &mut Param) {
        for property in &node.props {
            match (&*property.key, &property.value.literal) {
                ("type" | "of" | "doc", Literal::Text(_)) => {}
                ("pattern", Literal::Text(pattern)) => param.pattern = Some(pattern.to_string()),
                ("min", Literal::Int(number, _)) => param.min = Some(*number),
                ("max", Literal::Int(number, _)) => param.max = Some(*number),
                ("required", Literal::Bool(required)) => param.required = *required,
                ("one-of", Literal::Text(text)) => param.one_of.push(text.to_string()),
                ("default", _) => self.default(std::slice::from_ref(&property.value), param),
                (key, _) => {
                    self.report(property.value.at, format!("a parameter does not accept this `{key}`"))
                }
            }
        }
        for child in node.body() {
            match &*child.name {
                "one-of" => param.one_of.extend(child.args.iter().filter_map(text_of)),
                "default" => self.default(&child.args, param),
                _ => self.unknown(child, &["one-of", "default"]),
            }
        }
    }

    fn default(&mut self, values: &[Written], param: &mut Param) {
        let limits = types::Limits {
            one_of: &param.one_of,
            min: param.min,
            max: param.max,
            pattern: param.pattern.as_deref(),
        };
        let item = if let Type::List(of) = &param.ty { of } else { &param.ty };
        let mut scalars = Vec::new();
        for value in values {
            let Some(input) = types::Input::of(value) else { continue };
            match types::read(item, &input, limits) {
                // Keep the value as the user would write it. It is converted by its type only for catalogs.
                Ok(read) => scalars.push(types::as_written(item, &input, read)),
                Err(error) => {
                    let report = Diagnostic::error(Code::Type, error.message).label(value.at, "this default");
                    self.diagnostics.push(report.maybe_help(error.help));
                }
            }
        }
        param.default = match (&param.ty, scalars.len()) {
            (Type::List(_) | Type::Command, _) => Some(Value::List(scalars)),
            (_, 1) => scalars.pop().map(Value::Scalar),
            _ => None,
        };
    }

    fn unknown(&mut self, node: &Node, known: &[&str]) {
        self.diagnostics.push(
            Diagnostic::error(Code::Unknown, format!("there is no node `{}` here", node.name))
                .label(node.at, "unknown")
                .help(format!("there are {}", known.join(", ")))
                .maybe_help(did_you_mean(&node.name, known.iter().copied())),
        );
    }

    fn report(&mut self, at: Span, message: String) {
        self.diagnostics.push(Diagnostic::error(Code::Module, message).label(at, "here"));
    }
}

fn text_of(written: &Written) -> Option<String> {
    match &written.literal {
        Literal::Text(text) => Some(text.to_string()),
        Literal::Int(_, repr) | Literal::Float(_, repr) => Some(repr.to_string()),
        Literal::Bool(value) => Some(value.to_string()),
        Literal::Null | Literal::Broken => None,
    }
}
