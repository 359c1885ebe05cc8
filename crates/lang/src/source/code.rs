//! The codes of mistakes. Scripts match them, and users search for them.

use std::fmt;

macro_rules! codes {
    ($($(#[$doc:meta])* $name:ident = $text:literal,)*) => {
        /// The kind of mistake in a diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[$doc])* $name,)*
        }

        impl Code {
            /// Returns its name, which never changes: `lang::undefined`.
            pub const fn as_str(self) -> &'static str {
                match self {
                    $(Self::$name => $text,)*
                }
            }
        }
    };
}

codes! {
    /// No resource has this address.
    Address = "lang::address",
    /// An annotation such as `(file)` that does not exist or is not allowed here.
    Annotation = "lang::annotation",
    /// An assertion of a module about its parameters failed.
    Assert = "lang::assert",
    /// Two resources own the same thing.
    Claim = "lang::claim",
    /// Two keys are the same name in an expression.
    Clash = "lang::clash",
    /// A command cannot be split into words.
    Command = "lang::command",
    /// A wrong setting of a connection.
    Connection = "lang::connection",
    /// Something depends on itself.
    Cycle = "lang::cycle",
    /// Something is given twice.
    Doubled = "lang::doubled",
    /// A wrong setting of drift.
    Drift = "lang::drift",
    /// A name is defined twice.
    Duplicate = "lang::duplicate",
    /// A name has no value.
    Empty = "lang::empty",
    /// A pattern matches nothing.
    EmptyMatch = "lang::empty-match",
    /// A variable of the environment is not set.
    Env = "lang::env",
    /// A secret would be readable by other users.
    Exposed = "lang::exposed",
    /// Facts cannot be used here.
    Facts = "lang::facts",
    /// Something is written in the wrong form.
    Form = "lang::form",
    /// A text cannot be the name of a group.
    GroupName = "lang::group-name",
    /// A file is nested too deep for the parser.
    Guard = "lang::guard",
    /// A text cannot be the name of a host, or no host has this name.
    HostName = "lang::host-name",
    /// An `include` names nothing.
    Include = "lang::include",
    /// The inventory is missing or has no hosts.
    Inventory = "lang::inventory",
    /// A limit is exceeded.
    Limit = "lang::limit",
    /// Parts of a module contradict each other.
    Merge = "lang::merge",
    /// Something has no meaning at this place.
    Misplaced = "lang::misplaced",
    /// A required parameter is missing.
    Missing = "lang::missing",
    /// A module is wrong.
    Module = "lang::module",
    /// A notification has no resource that can act.
    Notify = "lang::notify",
    /// A number is not allowed.
    Number = "lang::number",
    /// Two host names have one address.
    OneAddress = "lang::one-address",
    /// The kind rejects its parameters.
    Params = "lang::params",
    /// A path leads out of its folder.
    Path = "lang::path",
    /// A wrong pattern of hosts.
    Pattern = "lang::pattern",
    /// Several definitions contradict each other, and none has precedence.
    Precedence = "lang::precedence",
    /// A wrong range of names.
    Range = "lang::range",
    /// A file cannot be read.
    Read = "lang::read",
    /// A name is reserved for something else.
    Reserved = "lang::reserved",
    /// A host is in two rollouts.
    Rollout = "lang::rollout",
    /// A kind needs a whole system.
    Root = "lang::root",
    /// A secret is not allowed here.
    Secret = "lang::secret",
    /// A wrong file of secrets.
    Secrets = "lang::secrets",
    /// A selection selects nothing.
    Selection = "lang::selection",
    /// A `--set` sets nothing.
    Set = "lang::set",
    /// Definitions of one name differ in shape.
    Shape = "lang::shape",
    /// Shell characters in a command that no shell reads.
    Shell = "lang::shell",
    /// A text is not KDL.
    Syntax = "lang::syntax",
    /// A tag contains a comma.
    Tag = "lang::tag",
    /// A wrong template or expression.
    Template = "lang::template",
    /// A value has the wrong type.
    Type = "lang::type",
    /// A name is not defined.
    Undefined = "lang::undefined",
    /// A name is not in the schema.
    Unknown = "lang::unknown",
    /// A file is not UTF-8 text.
    Utf8 = "lang::utf8",
    /// A word of another tool.
    Word = "lang::word",
    /// A wrong schedule of the daemon.
    Schedule = "drift::schedule",
}

impl Code {
    /// Whether a part of the project could not be read, so that other reports may be wrong.
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
