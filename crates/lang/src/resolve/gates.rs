//! The bodies of a rollout: its actions around a changed host.

use crate::resolve::control::Flow;
use crate::resolve::resolver::Resolver;
use crate::resolve::statement::{Argument, Binding, Form, Item, Member, Statement, Term};
use crate::settings::rollout::Moment;
use crate::source::ids::KindId;
use crate::syntax::parse::{Node, Written};

/// The bodies of one rollout.
#[derive(Default)]
pub(crate) struct Gates(Vec<(Moment, Vec<Step>)>);

/// A node of a rollout's body.
pub(crate) struct Step {
    /// The host on which it runs, if that is another host.
    pub(crate) at: Option<Written>,
    pub(crate) statement: Statement<Item>,
}

impl Gates {
    /// Returns the actions at a moment.
    pub(crate) fn at(&self, moment: Moment) -> impl Iterator<Item = &Step> {
        self.0.iter().filter(move |(of, _)| *of == moment).flat_map(|(_, steps)| steps)
    }
}

impl Resolver<'_> {
    /// Resolves the bodies of a rollout.
    pub(crate) fn gates(&mut self, rollout: Option<&Node>) -> Gates {
        let bodies = rollout.into_iter().flat_map(Node::body).filter(|node| node.children.is_some());
        let moment = |node: &Node| Moment::ALL.iter().copied().find(|moment| moment.word() == &*node.name);
        let bodies = bodies.filter_map(|node| Some((moment(node)?, node)));
        Gates(bodies.map(|(moment, node)| (moment, self.steps(node.body()))).collect())
    }

    fn steps(&mut self, nodes: &[Node]) -> Vec<Step> {
        let mut steps = Vec::with_capacity(nodes.len());
        for node in nodes {
            let mut node = node.clone();
            let at = node.props.iter().position(|property| &*property.key == "at");
            let at = at.map(|index| node.props.remove(index).value);
            let at = at.map(|written| self.text(&written));
            let statements = self.statements(std::slice::from_ref(&node), Flow::of, &mut |resolver, node| {
                Some(resolver.guarded(node, |resolver| resolver.done_each_time(node)))
            });
            steps.extend(statements.into_iter().map(|statement| Step { at: at.clone(), statement }));
        }
        steps
    }

    /// Resolves a node of such a body. A command without a guard is run each time.
    fn done_each_time(&mut self, node: &Node) -> Item {
        match self.item(node) {
            Item::Resource(kind, binding) => Item::Resource(kind, self.each_time(kind, binding)),
            other => other,
        }
    }

    fn each_time(&mut self, kind: KindId, mut binding: Binding) -> Binding {
        const SAYS_WHEN: [&str; 7] =
            ["creates", "removes", "unless", "only-if", "only-notified", "always", "once"];
        let schema = &self.library.kinds[kind].schema;
        let always = schema.param("always").filter(|_| schema.name == "command");
        let mut says_when = false;
        binding.each(&mut |member| match member {
            Member::Argument(param, _) => {
                says_when |= SAYS_WHEN.contains(&schema.params[*param].name.as_str());
            }
            Member::With(_) => says_when = true,
            _ => {}
        });
        if let Some(param) = always.filter(|_| !says_when) {
            let form = Form::Values(vec![Term::Constant(true.into(), binding.at)]);
            let argument = Argument { form, at: binding.at, value_at: binding.at };
            binding.members.push(Statement::One(Member::Argument(param, argument)));
        }
        binding
    }
}
