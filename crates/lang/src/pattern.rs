//! Host patterns: `"web & eu" "lb*" "!web-eu-07"`, in `on`, `members`, `after` and on the command line.
//!
//! Which hosts and groups there are is the [`Universe`]'s to say; where a pattern was written is the caller's.

/// Patterns as written: the arguments of one node, or the parts between the commas of one command-line option.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    terms: Vec<Term>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    text: String,
}

/// The hosts and groups that a pattern chooses from.
pub(crate) trait Universe {
    /// All hosts, in the order written.
    fn hosts(&self) -> &[String];
    /// All groups.
    fn groups(&self) -> Vec<&str>;
    /// The places in [`Universe::hosts`] of the hosts of `group`, those of inner groups included; none if there is no
    /// such group.
    fn members(&self, group: &str) -> Option<Vec<usize>>;
}

/// What a pattern chose.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    /// Places in [`Universe::hosts`], ascending.
    pub(crate) hosts: Vec<usize>,
    /// Worth a note of `check`: an empty group, an empty `a & b`. The place of the argument, and the words.
    pub(crate) notes: Vec<(usize, String)>,
}

/// A pattern that cannot be read, or names what is not there.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PatternError {
    /// The place of the argument at fault.
    pub(crate) argument: usize,
    /// What is wrong, as a lowercase fragment.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) help: Option<String>,
}

impl Pattern {
    /// Reads the arguments of a node.
    pub(crate) fn parse<S: AsRef<str>>(arguments: &[S]) -> Result<Self, PatternError> {
        let _ = arguments;
        Ok(Self { arguments: Vec::new() })
    }

    /// Reads a pattern of the command line, where commas part the arguments.
    pub(crate) fn parse_line(text: &str) -> Result<Self, PatternError> {
        let _ = text;
        Ok(Self { arguments: Vec::new() })
    }

    /// The hosts that match; every mistake of the pattern otherwise.
    pub(crate) fn select(&self, universe: &dyn Universe) -> Result<Selected, Vec<PatternError>> {
        let _ = universe;
        Ok(Selected::default())
    }
}
