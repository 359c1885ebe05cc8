//! The resolved form of a body: kinds and modules, parameters, loops and conditions. Each host evaluates the rest.

use std::sync::{Arc, LazyLock};

use converge_model::{Scalar, Type};

use crate::schema::types::{Input, Limits};
use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ConstantId, KindId, ModuleId, ParamId};
use crate::syntax::parse::{Literal, Written};

/// A statement in braces: in a body, a resource or a map. `T` is the item beside loops and conditions.
pub(crate) enum Statement<T> {
    /// `for`.
    For(Loop, Vec<Self>),
    /// `when`, in braces or at a single item.
    When(Test, Vec<Self>),
    /// An item.
    One(T),
}

/// A `for` loop.
pub(crate) struct Loop {
    /// One name, or two for the key and the value. The names are folded.
    pub(crate) names: Vec<Arc<str>>,
    /// The expression of the list.
    pub(crate) list: Expression,
}

/// An expression and its place.
pub(crate) struct Expression {
    pub(crate) text: Arc<str>,
    pub(crate) written: Written,
}

/// A condition.
pub(crate) enum Test {
    /// A value that is equal on every host. A wrong condition is false.
    Known(bool),
    /// A condition with a mistake that was already reported.
    Broken,
    Expression(Expression),
}

/// An item of a body.
pub(crate) enum Item {
    Resource(KindId, Binding),
    Call(ModuleId, Binding),
    /// An item with an unknown name, which was already reported.
    Unknown,
}

/// The written arguments for a schema.
pub(crate) struct Binding {
    /// The place of the node.
    pub(crate) at: Span,
    /// Arguments and properties first, then the members in the braces.
    pub(crate) members: Vec<Statement<Member>>,
    /// Whether a part of it is wrong. The mistake was already reported.
    pub(crate) is_broken: bool,
    /// Its id, if it is equal on every host.
    pub(crate) constant: Option<ConstantId>,
}

/// One part of a binding.
pub(crate) enum Member {
    Argument(ParamId, Argument),
    Child(ChildId, Binding),
    Option(OptionName, Vec<Written>, Span),
    /// A key that is not in the schema.
    Free(Key),
    /// The map from which other parameters are taken.
    With(Written),
}

/// A parameter that is written at one place.
pub(crate) struct Argument {
    pub(crate) form: Form,
    pub(crate) at: Span,
    /// The place of its values, if it has some; otherwise the same as `at`.
    pub(crate) value_at: Span,
}

/// The form in which a parameter is written.
pub(crate) enum Form {
    /// Values: arguments, a property, or the items in the braces of a list.
    Values(Vec<Term>),
    /// A command. It is not known yet whether a shell runs it.
    Line(Written),
    /// Keys in braces.
    Keys(Vec<Statement<Key>>),
}

/// One value.
pub(crate) enum Term {
    /// A constant, already converted to the type of its parameter.
    Constant(Scalar, Span),
    /// A value that each host evaluates.
    Open(Written),
}

/// A key of a map.
pub(crate) struct Key {
    pub(crate) key: Arc<str>,
    pub(crate) at: Span,
    pub(crate) value: KeyValue,
}

/// The value of a key.
pub(crate) enum KeyValue {
    One(Term),
    /// Several arguments, or items in braces.
    List(Vec<Self>),
    /// Nested keys.
    Keys(Vec<Statement<Key>>),
}

/// An option that every resource has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum OptionName {
    After,
    Notify,
    Id,
    Tags,
    Drift,
    Sensitive,
    Retries,
    Timeout,
    MayFail,
}

impl OptionName {
    const ALL: [(&'static str, Self); 9] = [
        ("after", Self::After),
        ("notify", Self::Notify),
        ("id", Self::Id),
        ("tags", Self::Tags),
        ("drift", Self::Drift),
        ("sensitive", Self::Sensitive),
        ("retries", Self::Retries),
        ("timeout", Self::Timeout),
        ("may-fail", Self::MayFail),
    ];

    /// Returns the option called `name`.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, option)| *option)
    }

    /// Returns the name of the option.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, option)| *option == self).map_or("", |(name, _)| name)
    }

    /// Whether it takes exactly one value.
    pub(crate) fn is_single(self) -> bool {
        !matches!(self, Self::After | Self::Notify | Self::Tags)
    }

    /// Returns the word for its values, if they are names of something.
    pub(crate) fn names(self) -> Option<&'static str> {
        match self {
            Self::After => Some("`after`"),
            Self::Notify => Some("`notify`"),
            Self::Tags => Some("a tag"),
            Self::Id => Some("an address"),
            _ => None,
        }
    }

    /// Returns the type of its value, if that is not a name.
    pub(crate) fn ty(self) -> Type {
        match self {
            Self::Sensitive | Self::MayFail => Type::Bool,
            Self::Retries => Type::Int,
            Self::Timeout => Type::Duration,
            _ => Type::Text,
        }
    }

    /// Returns the limits of its value.
    pub(crate) fn limits(self) -> Limits<'static> {
        static MODES: LazyLock<[String; 3]> =
            LazyLock::new(|| ["correct", "report", "ignore"].map(str::to_owned));
        match self {
            Self::Retries => Limits { min: Some(0), max: Some(100), ..Limits::default() },
            Self::Drift => Limits { one_of: &*MODES, ..Limits::default() },
            _ => Limits::default(),
        }
    }
}

impl Item {
    /// Returns its place.
    pub(crate) fn at(&self) -> Option<Span> {
        match self {
            Self::Resource(_, binding) | Self::Call(_, binding) => Some(binding.at),
            Self::Unknown => None,
        }
    }
}

impl Binding {
    /// Returns the argument for a parameter outside of loops and conditions.
    pub(crate) fn argument(&self, param: ParamId) -> Option<&Argument> {
        self.plain().find_map(|member| match member {
            Member::Argument(id, argument) if *id == param => Some(argument),
            _ => None,
        })
    }

    /// Returns the values of an option outside of loops and conditions.
    pub(crate) fn option(&self, option: OptionName) -> impl Iterator<Item = &Written> {
        let values = move |member| match member {
            &Member::Option(name, ref values, _) if name == option => Some(values),
            _ => None,
        };
        self.plain().filter_map(values).flatten()
    }

    /// Calls `with` for each part, also in loops and conditions. Parts of children are not included.
    pub(crate) fn each(&self, with: &mut impl FnMut(&Member)) {
        each(&self.members, with);
    }

    /// Whether it is equal on every host.
    pub(crate) fn is_constant(&self) -> bool {
        let is_plain =
            |written: &Written| written.literal == Literal::Null || Input::unevaluated(written).is_some();
        let is_argument = |argument: &Argument| match &argument.form {
            Form::Values(terms) => terms.iter().all(Term::is_constant),
            Form::Line(_) => false,
            Form::Keys(keys) => are_constant(keys),
        };
        let is_member = |member: &Member| match member {
            Member::Argument(_, argument) => is_argument(argument),
            Member::Child(_, binding) => binding.is_constant(),
            Member::Option(_, values, _) => values.iter().all(is_plain),
            Member::Free(key) => key.value.is_constant(),
            Member::With(_) => false,
        };
        !self.is_broken
            && self.members.iter().all(|member| matches!(member, Statement::One(member) if is_member(member)))
    }

    fn plain(&self) -> impl Iterator<Item = &Member> {
        self.members.iter().filter_map(|member| match member {
            Statement::One(member) => Some(member),
            _ => None,
        })
    }
}

impl Term {
    /// Whether it is equal on every host.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(..))
    }
}

impl KeyValue {
    /// Whether it is equal on every host.
    pub(crate) fn is_constant(&self) -> bool {
        match self {
            Self::One(term) => term.is_constant(),
            Self::List(items) => items.iter().all(Self::is_constant),
            Self::Keys(keys) => are_constant(keys),
        }
    }
}

fn are_constant(keys: &[Statement<Key>]) -> bool {
    keys.iter().all(|key| matches!(key, Statement::One(key) if key.value.is_constant()))
}

fn each<T>(statements: &[Statement<T>], with: &mut impl FnMut(&T)) {
    for statement in statements {
        match statement {
            Statement::For(_, body) | Statement::When(_, body) => each(body, with),
            Statement::One(item) => with(item),
        }
    }
}
