//! What a body says once its names are known: which kinds and modules, which parameters, what is a loop, what a condition.
//! What is left is to be evaluated on each host.

use std::sync::{Arc, LazyLock};

use converge_model::{Scalar, Type};

use crate::schema::types::{Input, Limits};
use crate::source::diagnostic::Span;
use crate::source::ids::{ChildId, ConstantId, KindId, ModuleId, ParamId};
use crate::syntax::parse::{Literal, Written};

/// A part of what stands in braces: of a body, of a resource, of a map. `T` is what there is beside loops and conditions.
pub(crate) enum Statement<T> {
    /// `for`.
    For(Loop, Vec<Self>),
    /// `when`, in braces or beside the only thing that hangs on it.
    When(Test, Vec<Self>),
    /// Something that is there.
    One(T),
}

/// What a `for` walks.
pub(crate) struct Loop {
    /// One name, or two for the key and the value; folded.
    pub(crate) names: Vec<Arc<str>>,
    /// The expression.
    pub(crate) list: Expression,
}

/// An expression, and where it is written.
pub(crate) struct Expression {
    pub(crate) text: Arc<str>,
    pub(crate) written: Written,
}

/// What a `when` asks.
pub(crate) enum Test {
    /// Something that is the same on every host; what is wrong holds nowhere.
    Known(bool),
    /// It was broken before it was read.
    Broken,
    Expression(Expression),
}

/// What stands in a body.
pub(crate) enum Item {
    Resource(KindId, Binding),
    Call(ModuleId, Binding),
    /// Something of an unknown name, which has been said.
    Unknown,
}

/// What is written for a schema.
pub(crate) struct Binding {
    /// Where the node stands.
    pub(crate) at: Span,
    /// Arguments and properties first, then what stands in the braces.
    pub(crate) members: Vec<Statement<Member>>,
    /// Whether something in it is wrong, which has been said.
    pub(crate) is_broken: bool,
    /// Whether it is the same on every host.
    pub(crate) constant: Option<ConstantId>,
}

/// A part of what is written for a schema.
pub(crate) enum Member {
    Argument(ParamId, Argument),
    Child(ChildId, Binding),
    Option(OptionName, Vec<Written>, Span),
    /// A key that is in no table.
    Free(Key),
    /// The map that other parameters are taken from.
    With(Written),
}

/// One place where a parameter is written.
pub(crate) struct Argument {
    pub(crate) form: Form,
    pub(crate) at: Span,
    /// Its values, where it has some; else as `at`.
    pub(crate) value_at: Span,
}

/// How a parameter is written.
pub(crate) enum Form {
    /// As values: arguments, a property, the items in the braces of a list.
    Values(Vec<Term>),
    /// As a command, of which it is not known whether a shell reads it.
    Line(Written),
    /// As keys in braces.
    Keys(Vec<Statement<Key>>),
}

/// One value.
pub(crate) enum Term {
    /// It is the same on every host, and of its parameter's type.
    Constant(Scalar, Span),
    /// It is to be evaluated.
    Open(Written),
}

/// A key of a map.
pub(crate) struct Key {
    pub(crate) key: Arc<str>,
    pub(crate) at: Span,
    pub(crate) value: KeyValue,
}

/// What is written for a key.
pub(crate) enum KeyValue {
    One(Term),
    /// Several arguments, or items in braces.
    List(Vec<Self>),
    /// Keys of its own.
    Keys(Vec<Statement<Key>>),
}

/// An option that every resource has, whatever its kind.
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

    /// The option of this name.
    pub(crate) fn of(name: &str) -> Option<Self> {
        Self::ALL.iter().find(|(own, _)| *own == name).map(|(_, option)| *option)
    }

    /// As it is written.
    pub(crate) fn name(self) -> &'static str {
        Self::ALL.iter().find(|(_, option)| *option == self).map_or("", |(name, _)| name)
    }

    /// Whether it takes one value alone.
    pub(crate) fn is_single(self) -> bool {
        !matches!(self, Self::After | Self::Notify | Self::Tags)
    }

    /// What its values are called, where they are texts that name something.
    pub(crate) fn names(self) -> Option<&'static str> {
        match self {
            Self::After => Some("`after`"),
            Self::Notify => Some("`notify`"),
            Self::Tags => Some("a tag"),
            Self::Id => Some("an address"),
            _ => None,
        }
    }

    /// The type of its value, if that is not a text that names something.
    pub(crate) fn ty(self) -> Type {
        match self {
            Self::Sensitive | Self::MayFail => Type::Bool,
            Self::Retries => Type::Int,
            Self::Timeout => Type::Duration,
            _ => Type::Text,
        }
    }

    /// What its type allows.
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
    /// Where it stands.
    pub(crate) fn at(&self) -> Option<Span> {
        match self {
            Self::Resource(_, binding) | Self::Call(_, binding) => Some(binding.at),
            Self::Unknown => None,
        }
    }
}

impl Binding {
    /// What is written for a parameter outside of loops and conditions.
    pub(crate) fn argument(&self, param: ParamId) -> Option<&Argument> {
        self.plain().find_map(|member| match member {
            Member::Argument(id, argument) if *id == param => Some(argument),
            _ => None,
        })
    }

    /// What is written for an option outside of loops and conditions.
    pub(crate) fn option(&self, option: OptionName) -> impl Iterator<Item = &Written> {
        let values = move |member| match member {
            &Member::Option(name, ref values, _) if name == option => Some(values),
            _ => None,
        };
        self.plain().filter_map(values).flatten()
    }

    /// Calls `with` for each part, those in loops and conditions too; what children hold is their own.
    pub(crate) fn each(&self, with: &mut impl FnMut(&Member)) {
        each(&self.members, with);
    }

    /// Whether it is the same on every host.
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
    /// Whether it is the same on every host.
    pub(crate) fn is_constant(&self) -> bool {
        matches!(self, Self::Constant(..))
    }
}

impl KeyValue {
    /// Whether it is the same on every host.
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
