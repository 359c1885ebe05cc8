//! The names of mistakes: what scripts match, and what the reader of several messages steers by.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// What sort of mistake a diagnostic tells.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Its name, which stays: `lang::undefined`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// An address that nothing has.
    Address = "lang::address",
    /// An annotation such as `(file)` where there is none, or one that does not exist.
    Annotation = "lang::annotation",
    /// A demand that a module makes of its parameters.
    Assert = "lang::assert",
    /// One thing with two owners.
    Claim = "lang::claim",
    /// Two keys that are one in an expression.
    Clash = "lang::clash",
    /// A command whose words cannot be told apart.
    Command = "lang::command",
    /// A setting of a connection.
    Connection = "lang::connection",
    /// Something that needs itself.
    Cycle = "lang::cycle",
    /// Something that is given twice.
    Doubled = "lang::doubled",
    /// A setting of drift.
    Drift = "lang::drift",
    /// A name that is defined twice.
    Duplicate = "lang::duplicate",
    /// A name without a value.
    Empty = "lang::empty",
    /// A pattern that matches nothing.
    EmptyMatch = "lang::empty-match",
    /// A variable of the environment that is not set.
    Env = "lang::env",
    /// A secret where others can read it.
    Exposed = "lang::exposed",
    /// Facts where they cannot be used.
    Facts = "lang::facts",
    /// Something that is written in another form than it has.
    Form = "lang::form",
    /// What cannot be the name of a group.
    GroupName = "lang::group-name",
    /// A file that would take a parser too deep.
    Guard = "lang::guard",
    /// What cannot be the name of a host, or is none.
    HostName = "lang::host-name",
    /// An `include` that leads nowhere.
    Include = "lang::include",
    /// An inventory without hosts, or none.
    Inventory = "lang::inventory",
    /// More of something than there may be.
    Limit = "lang::limit",
    /// Pieces of a module that do not go together.
    Merge = "lang::merge",
    /// Something that stands where it means nothing.
    Misplaced = "lang::misplaced",
    /// A parameter that must be there.
    Missing = "lang::missing",
    /// A module that cannot be one.
    Module = "lang::module",
    /// A notification that nothing can act on.
    Notify = "lang::notify",
    /// A number that does not fit.
    Number = "lang::number",
    /// Two names of one machine.
    OneAddress = "lang::one-address",
    /// What a kind says of its parameters.
    Params = "lang::params",
    /// A path that leads out of its folder.
    Path = "lang::path",
    /// A pattern of hosts.
    Pattern = "lang::pattern",
    /// Definitions of which none is nearer.
    Precedence = "lang::precedence",
    /// A range of names.
    Range = "lang::range",
    /// A file that cannot be read.
    Read = "lang::read",
    /// A name that means something else.
    Reserved = "lang::reserved",
    /// A host in two rollouts.
    Rollout = "lang::rollout",
    /// A kind that needs a whole system.
    Root = "lang::root",
    /// A secret where none may be.
    Secret = "lang::secret",
    /// A file of secrets.
    Secrets = "lang::secrets",
    /// A selection that chooses nothing.
    Selection = "lang::selection",
    /// A `--set` that sets nothing.
    Set = "lang::set",
    /// Definitions of one name that differ in shape.
    Shape = "lang::shape",
    /// Signs of a shell that no shell reads.
    Shell = "lang::shell",
    /// What is no KDL.
    Syntax = "lang::syntax",
    /// A tag with a comma.
    Tag = "lang::tag",
    /// A template or an expression.
    Template = "lang::template",
    /// A value of another type.
    Type = "lang::type",
    /// A name that nothing defines.
    Undefined = "lang::undefined",
    /// A name that is in no table.
    Unknown = "lang::unknown",
    /// A file that is no text.
    Utf8 = "lang::utf8",
    /// A word that another tool has for something.
    Word = "lang::word",
    /// A schedule of the daemon.
    Schedule = "drift::schedule",
}

impl Code {
    /// Whether a part of the project could not be read, so that what is said of the rest may be wrong.
    pub(crate) const fn is_blind(self) -> bool {
        use Code::{Guard, Include, Limit, Read, Secrets, Syntax, Utf8};
        matches!(self, Syntax | Guard | Read | Utf8 | Include | Secrets | Limit)
    }
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
