//! Finds the names in a template without rendering it. These are filters, tests, functions and methods anywhere in it.
//! Values are found with the conditions under which the template reaches them.
//!
//! Rendering finds a mistake only where it gets to. With unknown facts it takes only one of two branches. The engine
//! knows which values exist and which conditions are true.

use std::collections::{BTreeSet, HashSet};
use std::ops::Range;

use minijinja::machinery::ast::{CallArg, Expr, ForLoop, Macro, Stmt};
use minijinja::machinery::{self, Span};

use super::error::TemplateError;
use super::form::{Form, syntax};
use super::vocabulary::{FILTERS, FUNCTIONS, TESTS};
use crate::source::foreign_terms;
use crate::source::suggest::{did_you_mean, there_are};

/// A parsed template or expression.
pub(super) enum Parsed<'t> {
    Template(Stmt<'t>),
    Expression(Expr<'t>),
}

/// All names in a template, in the order written.
#[derive(Default)]
pub(super) struct Names<'t> {
    /// Filters, tests, functions and methods that do not exist.
    pub(super) unknown: Vec<TemplateError>,
    /// Values from outside the template.
    pub(super) values: Vec<Named<'t>>,
    /// Templates that it includes by a literal name.
    pub(super) includes: Vec<Included<'t>>,
    /// Values that it tests with `is defined` or `default`. They may be missing.
    pub(super) optional: BTreeSet<String>,
}

/// A value that a template looks up.
pub(super) struct Named<'t> {
    /// The first name of the lookup.
    pub(super) root: &'t str,
    /// The whole lookup as text: `app.workers`. None if one of its keys is computed.
    pub(super) spelt: Option<String>,
    /// The lookup. None if it needs names that the template itself defines.
    pub(super) lookup: Option<&'t Expr<'t>>,
    pub(super) range: Range<usize>,
    /// The conditions under which the template reaches it.
    pub(super) path: Vec<Condition<'t>>,
}

/// An `{% include %}`.
pub(super) struct Included<'t> {
    pub(super) name: String,
    pub(super) path: Vec<Condition<'t>>,
    /// The names of the including template that it can use.
    pub(super) own: HashSet<String>,
}

/// A condition under which a template reaches a place.
#[derive(Clone, Copy)]
pub(super) enum Condition<'t> {
    /// The expression is true, or is false.
    Is(&'t Expr<'t>, bool),
    /// The list is not empty, or is empty.
    Walks(&'t Expr<'t>, bool),
    /// A condition that only rendering can decide.
    Open,
}

/// Parses a template or expression. None for a syntax error, which is reported elsewhere.
pub(super) fn parse(source: &str, form: Form) -> Option<Parsed<'_>> {
    match form {
        Form::Text => machinery::parse(source, "", syntax(true)).ok().map(Parsed::Template),
        Form::File => machinery::parse(source, "", syntax(false)).ok().map(Parsed::Template),
        Form::Expression => machinery::parse_expr(source).ok().map(Parsed::Expression),
    }
}

/// A name from outside of a text that the text looks up.
pub(crate) struct Mention {
    /// The first name of the lookup.
    pub(crate) root: String,
    /// The key of the first name, if it is a literal, and the position of its end in the text.
    pub(crate) key: Option<(String, usize)>,
    /// The part that can be looked up outside of the text. It is the whole lookup, or only its root if the rest needs
    /// names of the text.
    pub(crate) lookup: String,
    /// The whole lookup as text: `app.workers`. None if one of its keys is computed.
    spelt: Option<String>,
    /// The range of the whole lookup in the text.
    pub(crate) range: Range<usize>,
    /// Whether the text always reaches it, and needs it to exist.
    pub(crate) is_certain: bool,
}

impl Mention {
    /// Whether it, or a value that contains it, is in `asked`.
    pub(crate) fn is_among(&self, asked: &[String]) -> bool {
        asked.iter().any(|asked| is_at(self.spelt.as_deref().unwrap_or(&self.root), asked))
    }
}

/// Returns all names that a text looks up, in any branch.
pub(crate) fn mentions(text: &str, form: Form) -> Vec<Mention> {
    let Some(parsed) = parse(text, form) else { return Vec::new() };
    let names = parsed.names(HashSet::new());
    let mention = |named: &Named<'_>| {
        let lookup = named.lookup.and_then(|_| text.get(named.range.clone())).unwrap_or(named.root);
        Mention {
            root: named.root.to_owned(),
            key: named.lookup.and_then(first_key),
            lookup: lookup.to_owned(),
            spelt: named.spelt.clone(),
            range: named.range.clone(),
            is_certain: named.path.is_empty() && !names.is_optional(named),
        }
    };
    names.values.iter().map(mention).collect()
}

/// Returns the key that a lookup reads from its root, and the position of its end.
fn first_key(lookup: &Expr<'_>) -> Option<(String, usize)> {
    let (inner, key, end) = match lookup {
        Expr::GetAttr(attribute) => {
            (&attribute.expr, Some(attribute.name.to_owned()), attribute.span().end_offset)
        }
        Expr::GetItem(item) => {
            let key = item.subscript_expr.as_const().and_then(|key| key.as_str().map(str::to_owned));
            (&item.expr, key, item.span().end_offset)
        }
        _ => return None,
    };
    match inner {
        Expr::Var(_) => Some((key?, end as usize)),
        inner => first_key(inner),
    }
}

/// Returns the values in an expression that may be missing: `x is defined`, `x.y | default(…)`.
pub(crate) fn optional(expression: &str) -> Vec<String> {
    let parsed = parse(expression, Form::Expression);
    let names = parsed.as_ref().map(|parsed| parsed.names(HashSet::new()).optional);
    names.unwrap_or_default().into_iter().collect()
}

impl Names<'_> {
    /// Whether the template allows that the value, or a value that contains it, is missing.
    pub(super) fn is_optional(&self, value: &Named<'_>) -> bool {
        let spelt = value.spelt.as_deref().unwrap_or(value.root);
        self.optional.iter().any(|asked| is_at(spelt, asked))
    }
}

/// Whether a lookup is `asked` or one of its keys.
fn is_at(spelt: &str, asked: &str) -> bool {
    spelt.strip_prefix(asked).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

impl<'t> Parsed<'t> {
    /// Returns its names. `own` are the names that it gets from the including template.
    pub(super) fn names(&'t self, own: HashSet<String>) -> Names<'t> {
        let mut survey = Survey {
            found: Names::default(),
            outer: own,
            own: vec![HashSet::new()],
            late: Vec::new(),
            path: Vec::new(),
        };
        match self {
            Self::Template(statement) => {
                survey.late = made_at_top(std::slice::from_ref(statement));
                survey.statement(statement);
            }
            Self::Expression(expression) => survey.expression(expression),
        }
        survey.found
    }
}

/// Names that have a meaning everywhere.
const ALWAYS: [&str; 5] = ["self", "super", "caller", "varargs", "kwargs"];

struct Survey<'t> {
    found: Names<'t>,
    /// Names of the including template.
    outer: HashSet<String>,
    /// Names that the template itself defines: by `set`, loops, macros, `with`, imports.
    own: Vec<HashSet<&'t str>>,
    /// Names that the template defines anywhere outside of loops and macros. A macro that is called later can use them.
    late: Vec<&'t str>,
    path: Vec<Condition<'t>>,
}

impl<'t> Survey<'t> {
    fn is_own(&self, name: &str) -> bool {
        ALWAYS.contains(&name) || self.outer.contains(name) || self.own.iter().any(|own| own.contains(name))
    }

    fn bind(&mut self, target: &'t Expr<'t>) {
        match target {
            Expr::Var(var) => self.bind_name(var.id),
            Expr::List(list) => list.items.iter().for_each(|item| self.bind(item)),
            Expr::Tuple(tuple) => tuple.items.iter().for_each(|item| self.bind(item)),
            // For `ns.x = …`, the namespace is looked up.
            other => self.expression(other),
        }
    }

    fn bind_name(&mut self, name: &'t str) {
        if let Some(own) = self.own.last_mut() {
            own.insert(name);
        }
    }

    /// Runs `work`. Names that it defines end with it.
    fn scoped(&mut self, work: impl FnOnce(&mut Self)) {
        self.own.push(HashSet::new());
        work(self);
        self.own.pop();
    }

    /// Runs `work`, whose findings are reached only under `condition`. The condition is open if it needs names that the
    /// template itself defines.
    fn under(&mut self, condition: Condition<'t>, work: impl FnOnce(&mut Self)) {
        let length = self.path.len();
        self.suppose(condition);
        work(self);
        self.path.truncate(length);
    }

    fn suppose(&mut self, condition: Condition<'t>) {
        match condition {
            // Add each part on its own: one may be known although the other is not.
            Condition::Is(Expr::BinOp(both), true) if is_and(both.op) => {
                self.suppose(Condition::Is(&both.left, true));
                self.suppose(Condition::Is(&both.right, true));
            }
            Condition::Is(Expr::BinOp(either), false) if is_or(either.op) => {
                self.suppose(Condition::Is(&either.left, false));
                self.suppose(Condition::Is(&either.right, false));
            }
            Condition::Is(Expr::UnaryOp(not), wanted)
                if matches!(not.op, machinery::ast::UnaryOpKind::Not) =>
            {
                self.suppose(Condition::Is(&not.expr, !wanted));
            }
            Condition::Is(expression, _) | Condition::Walks(expression, _) if self.needs_own(expression) => {
                self.path.push(Condition::Open);
            }
            condition => self.path.push(condition),
        }
    }

    fn needs_own(&self, expression: &Expr<'t>) -> bool {
        match expression {
            Expr::Var(var) => self.is_own(var.id),
            other => parts(other).into_iter().any(|part| self.needs_own(part)),
        }
    }

    fn body(&mut self, statements: &'t [Stmt<'t>]) {
        statements.iter().for_each(|statement| self.statement(statement));
    }

    fn statement(&mut self, statement: &'t Stmt<'t>) {
        match statement {
            Stmt::Template(template) => self.body(&template.children),
            Stmt::EmitExpr(emit) => self.expression(&emit.expr),
            Stmt::EmitRaw(_) => {}
            Stmt::ForLoop(turns) => self.turns(turns),
            Stmt::IfCond(choice) => {
                self.expression(&choice.expr);
                self.under(Condition::Is(&choice.expr, true), |this| this.body(&choice.true_body));
                self.under(Condition::Is(&choice.expr, false), |this| this.body(&choice.false_body));
            }
            Stmt::WithBlock(with) => self.scoped(|this| {
                for (target, value) in &with.assignments {
                    this.expression(value);
                    this.bind(target);
                }
                this.body(&with.body);
            }),
            Stmt::Set(set) => {
                self.expression(&set.expr);
                self.bind(&set.target);
            }
            Stmt::SetBlock(set) => {
                set.filter.iter().for_each(|filter| self.expression(filter));
                self.scoped(|this| this.body(&set.body));
                self.bind(&set.target);
            }
            Stmt::AutoEscape(escape) => self.scoped(|this| {
                this.expression(&escape.enabled);
                this.body(&escape.body);
            }),
            Stmt::FilterBlock(block) => self.scoped(|this| {
                this.expression(&block.filter);
                this.body(&block.body);
            }),
            Stmt::Block(block) => self.scoped(|this| this.body(&block.body)),
            Stmt::Import(import) => {
                self.expression(&import.expr);
                self.bind(&import.name);
            }
            Stmt::FromImport(import) => {
                self.expression(&import.expr);
                for (name, alias) in &import.names {
                    self.bind(alias.as_ref().unwrap_or(name));
                }
            }
            Stmt::Extends(extends) => self.expression(&extends.name),
            Stmt::Include(include) => {
                self.expression(&include.name);
                self.include(&include.name);
            }
            Stmt::Macro(definition) => {
                self.bind_name(definition.name);
                self.definition(definition);
            }
            Stmt::CallBlock(block) => {
                self.call(&block.call, block.call.span());
                self.definition(&block.macro_decl);
            }
            Stmt::Do(action) => self.call(&action.call, action.call.span()),
        }
    }

    fn turns(&mut self, turns: &'t ForLoop<'t>) {
        self.expression(&turns.iter);
        self.scoped(|this| {
            this.bind_name("loop");
            this.bind(&turns.target);
            turns.filter_expr.iter().for_each(|filter| this.expression(filter));
            // A filter of the loop may leave no item.
            let filtered = turns.filter_expr.as_ref().map(|_| Condition::Open);
            this.under(Condition::Walks(&turns.iter, true), |this| match filtered {
                Some(open) => this.under(open, |this| this.body(&turns.body)),
                None => this.body(&turns.body),
            });
        });
        self.scoped(|this| {
            this.under(Condition::Walks(&turns.iter, false), |this| this.body(&turns.else_body));
        });
    }

    /// Surveys a macro. Only rendering can decide whether it is called.
    fn definition(&mut self, definition: &'t Macro<'t>) {
        definition.defaults.iter().for_each(|value| self.expression(value));
        self.scoped(|this| {
            for index in 0..this.late.len() {
                this.bind_name(this.late[index]);
            }
            definition.args.iter().for_each(|argument| this.bind(argument));
            this.under(Condition::Open, |this| this.body(&definition.body));
        });
    }

    fn include(&mut self, name: &'t Expr<'t>) {
        let Some(name) = name.as_const().and_then(|name| name.as_str().map(str::to_owned)) else { return };
        let mut own = self.outer.clone();
        own.extend(self.own.iter().flatten().map(|name| (*name).to_owned()));
        self.found.includes.push(Included { name, path: self.path.clone(), own });
    }

    fn expression(&mut self, expression: &'t Expr<'t>) {
        match expression {
            Expr::Var(_) | Expr::GetAttr(_) | Expr::GetItem(_) => self.lookup(expression),
            Expr::Filter(filter) => {
                let may_miss = matches!(filter.name, "default" | "d");
                filter.expr.iter().for_each(|operand| self.operand(operand, may_miss));
                self.known(Sort::Filter, filter.name, filter.span());
                self.named_by_arguments(filter.name, &filter.args);
                self.arguments(&filter.args);
            }
            Expr::Test(test) => {
                self.operand(&test.expr, matches!(test.name, "defined" | "undefined"));
                self.known(Sort::Test, test.name, test.span());
                self.arguments(&test.args);
            }
            Expr::Call(call) => self.call(call, call.span()),
            Expr::IfExpr(choice) => {
                self.expression(&choice.test_expr);
                self.under(Condition::Is(&choice.test_expr, true), |this| this.expression(&choice.true_expr));
                if let Some(otherwise) = &choice.false_expr {
                    self.under(Condition::Is(&choice.test_expr, false), |this| this.expression(otherwise));
                }
            }
            Expr::BinOp(both) if is_and(both.op) || is_or(both.op) => {
                self.expression(&both.left);
                self.under(Condition::Is(&both.left, is_and(both.op)), |this| this.expression(&both.right));
            }
            other => parts(other).into_iter().for_each(|part| self.expression(part)),
        }
    }

    /// Surveys the operand of a filter or test. `may_miss` if the filter or test is for values that may be missing.
    fn operand(&mut self, operand: &'t Expr<'t>, may_miss: bool) {
        self.found.optional.extend(spelt(operand).filter(|_| may_miss));
        self.expression(operand);
    }

    /// Surveys a value with its keys: `app`, `app.workers`, `app['workers']`.
    fn lookup(&mut self, expression: &'t Expr<'t>) {
        match root(expression) {
            Some((name, _)) if self.is_own(name) || FUNCTIONS.contains(&name) => {}
            Some((name, start)) => {
                let end = (expression.span().end_offset as usize).max(start);
                self.found.values.push(Named {
                    root: name,
                    spelt: spelt(expression),
                    lookup: Some(expression).filter(|_| !self.needs_own(expression)),
                    range: start..end,
                    path: self.path.clone(),
                });
            }
            None => parts(expression).into_iter().for_each(|part| self.expression(part)),
        }
        self.subscripts(expression);
    }

    /// Surveys the expressions that compute the keys of a lookup.
    fn subscripts(&mut self, expression: &'t Expr<'t>) {
        match expression {
            Expr::GetAttr(attribute) if root(expression).is_some() => self.subscripts(&attribute.expr),
            Expr::GetItem(item) if root(expression).is_some() => {
                self.subscripts(&item.expr);
                self.expression(&item.subscript_expr);
            }
            _ => {}
        }
    }

    fn call(&mut self, call: &'t machinery::ast::Call<'t>, span: Span) {
        match &call.expr {
            Expr::Var(function) if self.is_own(function.id) => {}
            Expr::Var(function) => {
                self.known(Sort::Function, function.id, function.span());
                let texts: Vec<_> =
                    call.args.iter().filter_map(|value| argument_value(value).as_const()).collect();
                if let [plugin, what] = &texts[..]
                    && let Some(help) = looked_up(function.id, plugin.as_str(), what.as_str())
                    && let Some(unknown) = self.found.unknown.last_mut()
                {
                    unknown.help = Some(help);
                }
            }
            Expr::GetAttr(method) => {
                let own = root(&method.expr).is_some_and(|(name, _)| self.is_own(name));
                if !own {
                    let start = method.span().end_offset.saturating_sub(method.name.len() as u32);
                    self.known(Sort::Method, method.name, Span { start_offset: start, ..span });
                }
                self.expression(&method.expr);
            }
            other => self.expression(other),
        }
        self.arguments(&call.args);
    }

    fn arguments(&mut self, arguments: &'t [CallArg<'t>]) {
        arguments.iter().for_each(|argument| self.expression(argument_value(argument)));
    }

    /// Surveys arguments that are names: `map("upper")` names a filter, `select("odd")` and similar ones a test.
    fn named_by_arguments(&mut self, filter: &str, arguments: &'t [CallArg<'t>]) {
        let (sort, index) = match filter {
            "map" => (Sort::Filter, 0),
            "select" | "reject" => (Sort::Test, 0),
            "selectattr" | "rejectattr" => (Sort::Test, 1),
            _ => return,
        };
        if let Some(CallArg::Pos(Expr::Const(name))) = arguments.get(index)
            && let Some(text) = name.value.as_str()
        {
            // Mark the text without its quote.
            let span = name.span();
            self.known(sort, text, Span { start_offset: span.start_offset + 1, ..span });
        }
    }

    /// Records a name that does not exist.
    fn known(&mut self, sort: Sort, name: &str, span: Span) {
        let known: &[&str] = match sort {
            Sort::Filter => FILTERS,
            Sort::Test => TESTS,
            Sort::Function => FUNCTIONS,
            Sort::Method => &[],
        };
        if known.contains(&name) {
            return;
        }
        let nearest = || did_you_mean(name, known.iter().copied());
        let help = match sort {
            Sort::Filter => foreign_terms::filter(name).or_else(nearest),
            Sort::Test => foreign_terms::test(name).or_else(nearest),
            Sort::Function => {
                foreign_terms::name(name).or_else(|| foreign_terms::filter(name)).or_else(nearest)
            }
            Sort::Method => foreign_terms::method(name),
        };
        let start = span.start_offset as usize;
        self.found.unknown.push(TemplateError {
            message: format!("there is no {} `{name}`", sort.name()),
            help: help.or_else(|| sort.list()),
            range: Some(start..start + name.len()),
            ..TemplateError::default()
        });
    }
}

/// The use of a name.
#[derive(Clone, Copy)]
enum Sort {
    Filter,
    Test,
    Function,
    Method,
}

impl Sort {
    fn name(self) -> &'static str {
        match self {
            Self::Filter => "filter",
            Self::Test => "test",
            Self::Function => "function",
            Self::Method => "method",
        }
    }

    fn list(self) -> Option<String> {
        match self {
            Self::Filter => there_are(words(FILTERS)),
            Self::Test => there_are(words(TESTS)),
            Self::Function => there_are(FUNCTIONS.iter().copied()),
            Self::Method => Some("values have no methods; a filter is written `x | upper`".to_owned()),
        }
    }
}

/// Returns the names of a table that are words, without operators and abbreviations.
fn words(names: &[&'static str]) -> impl Iterator<Item = &'static str> {
    names.iter().copied().filter(|name| name.len() > 2 && name.starts_with(|c: char| c.is_ascii_alphabetic()))
}

/// Returns help for `lookup('env', 'HOME')`.
fn looked_up(function: &str, plugin: Option<&str>, what: Option<&str>) -> Option<String> {
    matches!(function, "lookup" | "query").then(|| foreign_terms::lookup(plugin?, what?)).flatten()
}

/// Returns the names that statements define for later statements.
fn made_at_top<'t>(statements: &'t [Stmt<'t>]) -> Vec<&'t str> {
    fn name<'t>(target: &'t Expr<'t>) -> Vec<&'t str> {
        match target {
            Expr::Var(var) => vec![var.id],
            Expr::List(list) => list.items.iter().flat_map(name).collect(),
            Expr::Tuple(tuple) => tuple.items.iter().flat_map(name).collect(),
            _ => Vec::new(),
        }
    }
    let made = |statement: &'t Stmt<'t>| match statement {
        Stmt::Template(template) => made_at_top(&template.children),
        Stmt::IfCond(choice) => {
            made_at_top(&choice.true_body).into_iter().chain(made_at_top(&choice.false_body)).collect()
        }
        Stmt::Set(set) => name(&set.target),
        Stmt::SetBlock(set) => name(&set.target),
        Stmt::Import(import) => name(&import.name),
        Stmt::FromImport(import) => {
            import.names.iter().flat_map(|(own, alias)| name(alias.as_ref().unwrap_or(own))).collect()
        }
        Stmt::Macro(definition) => vec![definition.name],
        _ => Vec::new(),
    };
    statements.iter().flat_map(made).collect()
}

fn is_and(op: machinery::ast::BinOpKind) -> bool {
    matches!(op, machinery::ast::BinOpKind::ScAnd)
}

fn is_or(op: machinery::ast::BinOpKind) -> bool {
    matches!(op, machinery::ast::BinOpKind::ScOr)
}

/// Returns the first name of a lookup, and its position.
fn root<'t>(expression: &Expr<'t>) -> Option<(&'t str, usize)> {
    match expression {
        Expr::Var(var) => Some((var.id, var.span().start_offset as usize)),
        Expr::GetAttr(attribute) => root(&attribute.expr),
        Expr::GetItem(item) => root(&item.expr),
        _ => None,
    }
}

/// Returns the usual spelling of a lookup. None if one of its keys is computed.
fn spelt(expression: &Expr<'_>) -> Option<String> {
    match expression {
        Expr::Var(var) => Some(var.id.to_owned()),
        Expr::GetAttr(attribute) => Some(format!("{}.{}", spelt(&attribute.expr)?, attribute.name)),
        Expr::GetItem(item) => Some(format!("{}.{}", spelt(&item.expr)?, item.subscript_expr.as_const()?)),
        _ => None,
    }
}

fn argument_value<'b, 't>(argument: &'b CallArg<'t>) -> &'b Expr<'t> {
    match argument {
        CallArg::Pos(value)
        | CallArg::Kwarg(_, value)
        | CallArg::PosSplat(value)
        | CallArg::KwargSplat(value) => value,
    }
}

/// Returns the direct parts of an expression.
fn parts<'b, 't>(expression: &'b Expr<'t>) -> Vec<&'b Expr<'t>> {
    let values = |arguments: &'b [CallArg<'t>]| arguments.iter().map(argument_value);
    match expression {
        Expr::Var(_) | Expr::Const(_) => Vec::new(),
        Expr::Slice(slice) => {
            let bounds = [&slice.start, &slice.stop, &slice.step];
            std::iter::once(&slice.expr).chain(bounds.into_iter().flatten()).collect()
        }
        Expr::UnaryOp(unary) => vec![&unary.expr],
        Expr::BinOp(both) => vec![&both.left, &both.right],
        Expr::Compare(chain) => {
            std::iter::once(&chain.expr).chain(chain.ops.iter().map(|op| &op.expr)).collect()
        }
        Expr::IfExpr(choice) => {
            [&choice.test_expr, &choice.true_expr].into_iter().chain(&choice.false_expr).collect()
        }
        Expr::Filter(filter) => filter.expr.iter().chain(values(&filter.args)).collect(),
        Expr::Test(test) => std::iter::once(&test.expr).chain(values(&test.args)).collect(),
        Expr::GetAttr(attribute) => vec![&attribute.expr],
        Expr::GetItem(item) => vec![&item.expr, &item.subscript_expr],
        Expr::Call(call) => std::iter::once(&call.expr).chain(values(&call.args)).collect(),
        Expr::List(list) => list.items.iter().collect(),
        Expr::Tuple(tuple) => tuple.items.iter().collect(),
        Expr::Map(map) => map.keys.iter().chain(&map.values).collect(),
    }
}
