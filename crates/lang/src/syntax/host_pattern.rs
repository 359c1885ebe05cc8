//! Host patterns: `"web & eu" "lb*" "!web-eu-07"`, in `on`, `members`, `after` and on the command line.
//!
//! The [`Universe`] knows the hosts and groups; the caller knows where the pattern is written.

use std::ops::Range;

use crate::source::ids::{HostId, Id};
use crate::source::suggest::did_you_mean;
use crate::syntax::name_range;

/// The most names of one sort in a message.
const FEW: usize = 8;

/// A pattern: the arguments of one node, or the comma-separated parts of one command-line option.
///
/// A host matches if it matches an argument without `!` and no argument with `!`. Without any argument of the first
/// sort, all hosts match.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Pattern {
    arguments: Vec<Argument>,
}

/// The hosts and groups from which a pattern selects.
pub(crate) trait Universe {
    /// Returns all hosts, in the order written.
    fn hosts(&self) -> &[String];
    /// Returns all groups.
    fn groups(&self) -> Vec<&str>;
    /// Returns the hosts of `group`, including those of inner groups. None if there is no such group.
    fn members(&self, group: &str) -> Option<Vec<HostId>>;
    /// Returns the host called `host` as an index into [`Universe::hosts`].
    fn host(&self, host: &str) -> Option<HostId> {
        self.hosts().iter().position(|name| name == host).map(HostId::new)
    }
}

/// The hosts that a pattern selected.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Selected {
    /// The hosts, in ascending order.
    pub(crate) hosts: Vec<HostId>,
    /// Notes for `check`: an empty group, an empty `a & b`. Each is the index of the argument and the text.
    pub(crate) notes: Vec<(usize, String)>,
}

/// A pattern that cannot be parsed, or that names something unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub(crate) struct PatternError {
    /// The index of the wrong argument.
    pub(crate) argument: usize,
    /// The mistake, as a lowercase fragment.
    pub(crate) message: String,
    /// Advice for the user.
    pub(crate) help: Option<String>,
}

/// `a & b & !c`, or `!a` alone.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    negated: bool,
    terms: Vec<Term>,
    written: String,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Term {
    negated: bool,
    text: String,
}

/// Returns the terms of an argument without their `!`, and their positions in it.
pub(crate) fn terms(argument: &str) -> impl Iterator<Item = (Range<usize>, &str)> {
    argument.split('&').map(move |term| {
        let name = term.trim().trim_start_matches('!').trim();
        let start = name.as_ptr().addr() - argument.as_ptr().addr();
        (start..start + name.len(), name)
    })
}

/// For each host, whether it is selected.
type Chosen = Vec<bool>;

impl Pattern {
    /// Parses the arguments of a node.
    pub(crate) fn parse<S: AsRef<str>>(arguments: &[S]) -> Result<Self, PatternError> {
        if arguments.is_empty() {
            return Err(fault(0, "a pattern is missing", Some("`\"*\"` is every host".to_owned())));
        }
        let read = |(index, text): (usize, &S)| Argument::read(index, text.as_ref());
        Ok(Self { arguments: arguments.iter().enumerate().map(read).collect::<Result<_, _>>()? })
    }

    /// Parses a pattern of the command line. Commas separate the arguments, except commas in brackets, which belong to
    /// a range.
    pub(crate) fn parse_line(text: &str) -> Result<Self, PatternError> {
        let mut depth = 0_i32;
        let comma = |c: char| {
            depth += i32::from(c == '[') - i32::from(c == ']');
            c == ',' && depth <= 0
        };
        Self::parse(&text.split(comma).collect::<Vec<_>>())
    }

    /// Returns the hosts that match, or every mistake of the pattern.
    pub(crate) fn select(&self, universe: &dyn Universe) -> Result<Selected, Vec<PatternError>> {
        let all = universe.hosts().len();
        let mut selected = vec![self.arguments.iter().all(|argument| argument.negated); all];
        let mut notes = Vec::new();
        let mut errors = Vec::new();
        // Apply arguments with `!` last: their position among the others has no meaning.
        let indices =
            |negated: bool| (0..self.arguments.len()).filter(move |i| self.arguments[*i].negated == negated);
        for index in indices(false).chain(indices(true)) {
            let argument = &self.arguments[index];
            let chosen = argument.chosen(universe, index, &mut notes, &mut errors);
            selected
                .iter_mut()
                .zip(chosen)
                .filter(|(_, hit)| *hit)
                .for_each(|(host, _)| *host = !argument.negated);
        }
        match errors.is_empty() {
            true => {
                Ok(Selected { hosts: (0..all).filter(|i| selected[*i]).map(HostId::new).collect(), notes })
            }
            false => Err(errors),
        }
    }
}

impl Argument {
    fn read(index: usize, text: &str) -> Result<Self, PatternError> {
        let mut terms = text.split('&').map(|term| Term::read(index, term)).collect::<Result<Vec<_>, _>>()?;
        // `!a` alone removes hosts from the other arguments. In `a & !b` the `!` belongs to its term.
        let negated = matches!(&terms[..], [term] if term.negated);
        if negated {
            terms[0].negated = false;
        }
        if !negated && terms.iter().all(|term| term.negated) {
            let help = "name the hosts to exclude from: `* & !a & !b`, or write each as a separate argument";
            return Err(fault(index, format!("`{text}` has only `!` terms"), Some(help.to_owned())));
        }
        Ok(Self { negated, terms, written: text.trim().to_owned() })
    }

    fn chosen(
        &self,
        universe: &dyn Universe,
        index: usize,
        notes: &mut Vec<(usize, String)>,
        errors: &mut Vec<PatternError>,
    ) -> Chosen {
        let mut chosen = vec![true; universe.hosts().len()];
        for term in &self.terms {
            match term.chosen(universe, index) {
                Ok(hits) => chosen.iter_mut().zip(hits).for_each(|(host, hit)| *host &= hit != term.negated),
                Err(error) => errors.push(error),
            }
        }
        if errors.is_empty() && !chosen.contains(&true) {
            let what = if self.terms.len() > 1 { "matches no host" } else { "is a group without hosts" };
            notes.push((index, format!("`{}` {what}", self.written)));
        }
        chosen
    }
}

impl Term {
    fn read(index: usize, text: &str) -> Result<Self, PatternError> {
        let trimmed = text.trim();
        let (negated, text) = match trimmed.strip_prefix('!') {
            Some(rest) => (true, rest.trim_start()),
            None => (false, trimmed),
        };
        if text.is_empty() {
            return Err(fault(index, "a name is missing in the pattern", None));
        }
        if text.starts_with('!') {
            return Err(fault(index, format!("`!{text}` has one `!` too many"), None));
        }
        let blank = text.contains(char::is_whitespace);
        if blank && !text.contains('[') {
            let parts: Vec<_> = text.split_whitespace().collect();
            let help = format!("both: `{}`; either: `\"{}\"`", parts.join(" & "), parts.join("\" \""));
            return Err(fault(index, format!("a blank in `{text}`"), Some(help)));
        }
        if text.contains(',') && !text.contains('[') {
            let help = format!("write `\"{}\"`", text.replace(',', "\" \""));
            return Err(fault(index, format!("a comma in `{text}`"), Some(help)));
        }
        Ok(Self { negated, text: text.to_owned() })
    }

    fn chosen(&self, universe: &dyn Universe, index: usize) -> Result<Chosen, PatternError> {
        let names =
            name_range::expand(&self.text).map_err(|error| fault(index, error.message, error.help))?;
        let mut chosen = vec![false; universe.hosts().len()];
        for name in names {
            let hits = if name.contains('*') { globbed(universe, &name) } else { named(universe, &name) };
            let hits = hits.ok_or_else(|| missing(universe, index, &name))?;
            hits.into_iter()
                .for_each(|host| chosen.get_mut(host.index()).into_iter().for_each(|hit| *hit = true));
        }
        Ok(chosen)
    }
}

/// Returns the host or the hosts of the group `name`. None if neither exists.
fn named(universe: &dyn Universe, name: &str) -> Option<Vec<HostId>> {
    universe.members(name).or_else(|| universe.host(name).map(|host| vec![host]))
}

/// Returns the hosts whose name, or whose group's name, matches `glob`. None if nothing matches.
fn globbed(universe: &dyn Universe, glob: &str) -> Option<Vec<HostId>> {
    let hosts = universe.hosts().iter().enumerate().filter(|(_, host)| matches(glob, host));
    let hosts = hosts.map(|(index, _)| HostId::new(index));
    let groups: Vec<_> = universe.groups().into_iter().filter(|group| matches(glob, group)).collect();
    let found: Vec<_> =
        hosts.chain(groups.iter().flat_map(|group| universe.members(group).unwrap_or_default())).collect();
    (glob == "*" || !groups.is_empty() || !found.is_empty()).then_some(found)
}

fn missing(universe: &dyn Universe, index: usize, name: &str) -> PatternError {
    if name.contains('*') {
        return fault(index, format!("no host and no group matches `{name}`"), all(universe));
    }
    let names = universe.hosts().iter().map(String::as_str).chain(universe.groups());
    let every = || (name == "all").then(|| "every host is `\"*\"`".to_owned());
    let help = every().or_else(|| did_you_mean(name, names)).or_else(|| all(universe));
    fault(index, format!("no host and no group is called `{name}`"), help)
}

/// Returns help that names a few groups and a few hosts.
fn all(universe: &dyn Universe) -> Option<String> {
    let hosts = universe.hosts().iter().map(String::as_str).collect();
    let all: Vec<_> = few("group", universe.groups()).into_iter().chain(few("host", hosts)).collect();
    (!all.is_empty()).then(|| all.join("; "))
}

fn few(what: &str, names: Vec<&str>) -> Option<String> {
    let quoted: Vec<_> = names.iter().take(FEW).map(|name| format!("`{name}`")).collect();
    match &quoted[..] {
        [] => None,
        [only] => Some(format!("the only {what} is {only}")),
        _ if names.len() > FEW => Some(format!("there are {what}s {}, …", quoted.join(", "))),
        _ => Some(format!("the {what}s are {}", quoted.join(", "))),
    }
}

/// Whether `name` matches `glob`, in which `*` stands for any text. Takes at most the product of the lengths.
pub(crate) fn matches(glob: &str, name: &str) -> bool {
    let mut parts = glob.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else {
        return false;
    };
    let mut parts: Vec<_> = parts.collect();
    let Some(last) = parts.pop() else {
        return rest.is_empty();
    };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}

fn fault(argument: usize, message: impl Into<String>, help: Option<String>) -> PatternError {
    PatternError { argument, message: message.into(), help }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Site {
        hosts: Vec<String>,
        groups: Vec<(&'static str, Vec<usize>)>,
    }

    impl Universe for Site {
        fn hosts(&self) -> &[String] {
            &self.hosts
        }
        fn groups(&self) -> Vec<&str> {
            self.groups.iter().map(|(name, _)| *name).collect()
        }
        fn members(&self, group: &str) -> Option<Vec<HostId>> {
            let (_, members) = self.groups.iter().find(|(name, _)| *name == group)?;
            Some(members.iter().copied().map(HostId::new).collect())
        }
    }

    fn site() -> Site {
        Site {
            hosts: ["web1", "web2", "web3", "db1", "db2", "lb1"].map(String::from).to_vec(),
            groups: vec![("web", vec![0, 1, 2]), ("eu", vec![0, 3]), ("db", vec![3, 4]), ("cache", vec![])],
        }
    }

    fn names(selected: &Selected) -> String {
        let site = site();
        selected.hosts.iter().map(|host| site.hosts[host.index()].as_str()).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn a_pattern_chooses_its_hosts() {
        let check = |arguments: &[&str], hosts: &str| {
            let selected = Pattern::parse(arguments).unwrap().select(&site()).unwrap();
            assert_eq!((names(&selected).as_str(), selected.notes), (hosts, vec![]), "{arguments:?}");
        };
        check(&["*"], "web1 web2 web3 db1 db2 lb1");
        check(&["web"], "web1 web2 web3");
        check(&["web1", "lb1"], "web1 lb1");
        check(&["lb1", "web1", "web1"], "web1 lb1");
        check(&["web & eu"], "web1");
        check(&["web&!eu"], "web2 web3");
        check(&["!eu & web"], "web2 web3");
        check(&["web & eu", "lb*", "!web1"], "lb1");
        check(&["!web1", "web"], "web2 web3");
        check(&["!web"], "db1 db2 lb1");
        check(&["!web", "!db1"], "db2 lb1");
        check(&["web[1..2]"], "web1 web2");
        check(&["web[1, 3] & eu"], "web1");
        check(&["*1"], "web1 db1 lb1");
        check(&["w*b"], "web1 web2 web3");
        check(&["!web*"], "db1 db2 lb1");
    }

    #[test]
    fn the_command_line_parts_arguments_with_commas() {
        let check = |text: &str, hosts: &str| {
            assert_eq!(names(&Pattern::parse_line(text).unwrap().select(&site()).unwrap()), hosts, "{text}");
        };
        check("web,!web2", "web1 web3");
        check("web[1,3], lb1", "web1 web3 lb1");
        check("web & eu,db2", "web1 db2");
    }

    #[test]
    fn what_matches_nothing_is_a_note_if_it_is_declared() {
        let check = |arguments: &[&str], note: (usize, &str)| {
            let selected = Pattern::parse(arguments).unwrap().select(&site()).unwrap();
            assert_eq!(selected.notes, [(note.0, note.1.to_owned())], "{arguments:?}");
        };
        check(&["cache"], (0, "`cache` is a group without hosts"));
        check(&["web1", "web & db"], (1, "`web & db` matches no host"));
    }

    #[test]
    fn a_pattern_that_cannot_be_meant_is_an_error() {
        let check = |arguments: &[&str], index: usize, message: &str, help: Option<&str>| {
            let error = match Pattern::parse(arguments) {
                Ok(pattern) => pattern.select(&site()).expect_err("selects").remove(0),
                Err(error) => error,
            };
            assert_eq!(
                (error.argument, error.message.as_str(), error.help.as_deref()),
                (index, message, help)
            );
        };
        check(&["web1", "wep1"], 1, "no host and no group is called `wep1`", Some("did you mean `web1`?"));
        check(&["web & bd"], 0, "no host and no group is called `bd`", Some("did you mean `db`?"));
        check(
            &["mail*"],
            0,
            "no host and no group matches `mail*`",
            Some(
                "the groups are `web`, `eu`, `db`, `cache`; the hosts are `web1`, `web2`, `web3`, `db1`, `db2`, `lb1`",
            ),
        );
        check(&["web[2..4]"], 0, "no host and no group is called `web4`", Some("did you mean `web`?"));
        check(&["web[4..2]"], 0, "`4..2` counts down", Some("write `[2..4]`"));
        check(&["web,db"], 0, "a comma in `web,db`", Some("write `\"web\" \"db\"`"));
        check(&["web db"], 0, "a blank in `web db`", Some("both: `web & db`; either: `\"web\" \"db\"`"));
        check(&["web & "], 0, "a name is missing in the pattern", None);
        check(&["!!web"], 0, "`!!web` has one `!` too many", None);
        check(
            &["!a & !b"],
            0,
            "`!a & !b` has only `!` terms",
            Some("name the hosts to exclude from: `* & !a & !b`, or write each as a separate argument"),
        );
        check(&[], 0, "a pattern is missing", Some("`\"*\"` is every host"));
    }

    #[test]
    fn every_unknown_name_is_reported() {
        let errors = Pattern::parse(&["x & y", "z"]).unwrap().select(&site()).unwrap_err();
        assert_eq!(errors.len(), 3);
    }

    #[test]
    fn a_star_stands_for_any_text() {
        let check = |glob: &str, name: &str, expected: bool| {
            assert_eq!(matches(glob, name), expected, "{glob} {name}")
        };
        check("a*", "a", true);
        check("*a", "ba", true);
        check("a*b*c", "a1b2c", true);
        check("a*b*c", "acb", false);
        check("ab*ba", "aba", false);
        check("**", "x", true);
        check("a", "ab", false);
        check("*é*", "café!", true);
    }
}
