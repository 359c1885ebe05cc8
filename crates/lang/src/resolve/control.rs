//! `for` and `when`: recognises them and checks their forms.

use std::sync::Arc;

use crate::resolve::mistakes::no_boolean;
use crate::resolve::resolver::Resolver;
use crate::resolve::scope::Names;
use crate::resolve::statement::{Loop, Statement, Test};
use crate::source::diagnostic::{Code, Diagnostic, Span};
use crate::syntax::parse::{Literal, Node, Origin, Written};
use crate::syntax::value_tree::is_taken;
use crate::template::{fold, optional};

/// The sort of a node.
pub(super) enum Flow {
    For,
    When,
    Other,
}

impl Flow {
    /// Returns the sort of a node in a body.
    pub(super) fn of(node: &Node) -> Self {
        match &*node.name {
            "for" => Self::For,
            "when" => Self::When,
            _ => Self::Other,
        }
    }

    /// Returns the sort of a node among parameters or keys. There `for` and `when` need braces.
    pub(super) fn among_members(node: &Node) -> Self {
        if node.children.is_some() { Self::of(node) } else { Self::Other }
    }
}

impl Resolver<'_> {
    /// Resolves nodes to statements. `flow` recognises loops and conditions; `one` resolves other nodes.
    pub(super) fn statements<T>(
        &mut self,
        nodes: &[Node],
        flow: fn(&Node) -> Flow,
        one: &mut impl FnMut(&mut Self, &Node) -> Option<Statement<T>>,
    ) -> Vec<Statement<T>> {
        let mut statements = Vec::with_capacity(nodes.len());
        for node in nodes {
            match flow(node) {
                Flow::For => {
                    let walked = self.walked(node);
                    let body =
                        self.below_loop(walked.as_ref(), |this| this.statements(node.body(), flow, one));
                    // A wrong loop is left out.
                    statements.extend(walked.map(|walked| Statement::For(walked, body)));
                }
                Flow::When => {
                    let test = self.test(node.args.first(), node.at);
                    let body = self.below_test(&test, |this| this.statements(node.body(), flow, one));
                    statements.push(Statement::When(test, body));
                }
                Flow::Other => statements.extend(one(self, node)),
            }
        }
        statements
    }

    /// Resolves `node` under its own `when`, if it has one: as a property, or as a child without braces.
    pub(super) fn guarded<T>(&mut self, node: &Node, item: impl FnOnce(&mut Self) -> T) -> Statement<T> {
        let child = node.body().iter().find(|child| &*child.name == "when" && child.children.is_none());
        let written = match (node.prop("when"), child) {
            (Some(property), None) => Some(&property.value),
            (None, Some(child)) => child.args.first(),
            (Some(property), Some(child)) => {
                let report = Diagnostic::given_twice("when", child.at, property.at);
                self.refuse(report.help("both must hold: `when=\"a and b\"`"));
                Some(&property.value)
            }
            (None, None) => return Statement::One(item(self)),
        };
        let at = child.map_or(node.at, |child| child.at);
        let test = self.test(written, at);
        let item = self.below_test(&test, item);
        Statement::When(test, vec![Statement::One(item)])
    }

    /// Runs `work` inside a loop. The names of the loop are in scope. Values that its list tests may be missing.
    fn below_loop<T>(&mut self, walked: Option<&Loop>, work: impl FnOnce(&mut Self) -> T) -> T {
        let Some(Loop { names, list }) = walked else {
            return self.seeing(Names::open(&self.scope), work);
        };
        let names: Vec<String> = names.iter().map(|name| name.to_string()).collect();
        let scope = Names::within(names.iter().cloned().chain(["loop".to_owned()]).collect(), &self.scope);
        let outer = self.locals.len();
        self.locals.extend(names);
        let done = self.asking(&list.text, |this| this.seeing(scope, work));
        self.locals.truncate(outer);
        done
    }

    /// Runs `work` inside a condition. Values that the condition tests may be missing.
    fn below_test<T>(&mut self, test: &Test, work: impl FnOnce(&mut Self) -> T) -> T {
        match test {
            Test::Expression(expression) => self.asking(&expression.text, work),
            Test::Known(_) | Test::Broken => work(self),
        }
    }

    fn asking<T>(&mut self, expression: &str, work: impl FnOnce(&mut Self) -> T) -> T {
        let outer = self.asked.len();
        self.asked.extend(optional(expression));
        let done = work(self);
        self.asked.truncate(outer);
        done
    }

    fn test(&mut self, written: Option<&Written>, at: Span) -> Test {
        let Some(written) = written else {
            let report =
                Diagnostic::error(Code::Form, "`when` needs a condition").label(at, "without a condition");
            self.refuse(report);
            return Test::Known(false);
        };
        match (&written.literal, written.origin) {
            (Literal::Broken, _) => Test::Broken,
            (Literal::Bool(value), _) => Test::Known(*value),
            (Literal::Text(_), Origin::Plain | Origin::Expr) => {
                self.expression(written, "when").map_or(Test::Known(false), Test::Expression)
            }
            _ => {
                self.refuse(no_boolean("another value", written.at));
                Test::Known(false)
            }
        }
    }

    fn walked(&mut self, node: &Node) -> Option<Loop> {
        let names = self.names(node)?;
        let Some(written) = node.prop("in").map(|property| &property.value) else {
            self.refuse(form(node, "`for` needs a list: `for \"x\" in=\"colours\"`"));
            return None;
        };
        if let Some(other) = node.props.iter().find(|property| &*property.key != "in") {
            let report = Diagnostic::error(Code::Unknown, format!("`for` has no property `{}`", other.key));
            self.refuse(report.label(other.value.at, "unknown"));
            return None;
        }
        match (&written.literal, written.origin) {
            (Literal::Text(_), Origin::Plain | Origin::Expr) => {
                Some(Loop { names, list: self.expression(written, "in")? })
            }
            _ => {
                self.refuse(form(node, "`in` must be an expression"));
                None
            }
        }
    }

    fn names(&mut self, node: &Node) -> Option<Vec<Arc<str>>> {
        let mut names = Vec::new();
        for arg in &node.args {
            match arg.plain_text() {
                Some(name) if is_taken(name) => {
                    let report = Diagnostic::error(
                        Code::Reserved,
                        format!("`{name}` cannot be the name of a loop variable"),
                    );
                    self.refuse(report.label(arg.at, "reserved in expressions"));
                    return None;
                }
                Some(name) => names.push(fold(name).into()),
                None => {
                    self.refuse(form(node, "the names of a loop must be plain strings"));
                    return None;
                }
            }
        }
        if !matches!(names.len(), 1 | 2) {
            self.refuse(form(node, "`for` needs one name, or two names for a map"));
            return None;
        }
        Some(names)
    }
}

fn form(node: &Node, message: &str) -> Diagnostic {
    Diagnostic::error(Code::Form, message)
        .label(node.at, "here")
        .help("write `for \"x\" in=\"colours\" { … }` or `for \"key\" \"value\" in=\"limits\" { … }`")
}
