//! The plans of all hosts in one: a step that is the same on several hosts is shown once. This file decides which
//! hosts a step is shown for, and the order. [`plan`](super::plan) and [`outline`](super::outline) write the lines of
//! a step.
//!
//! Steps are grouped by their hosts. Within one set of hosts they keep the order in which they are carried out.

use std::cmp::Reverse;
use std::collections::HashMap;

use converge_model::{Address, Blocked, Step};

/// The plans of the hosts so far.
#[derive(Debug, Default)]
pub(super) struct Merged {
    /// The indexes of the entries, in the order of the steps.
    order: Vec<usize>,
    entries: Vec<Entry>,
    known: HashMap<Key, usize>,
}

/// Identifies a step of a plan.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Key {
    section: usize,
    address: Address,
    is_action: bool,
    /// How many steps with the same address come before it on one host.
    nth: usize,
}

/// A step of some hosts.
#[derive(Debug)]
struct Entry {
    key: Key,
    /// Whether it is carried out on at least one host. A host that cannot be applied does not count.
    counts: bool,
    /// The step on groups of hosts, by its whole text.
    variants: HashMap<String, Variant>,
}

/// A step on some hosts.
#[derive(Debug)]
struct Variant {
    line: Line,
    hosts: Vec<usize>,
}

/// One shown item of a resource.
#[derive(Clone, Debug)]
pub(super) enum Line {
    /// A step, and the addresses of the steps that it waits for.
    Step(Box<Step>, Vec<Address>),
    /// A resource that waits for another one that cannot be planned.
    Skipped(Blocked),
}

/// A line for a set of hosts.
pub(super) struct Shown<'a> {
    /// The section of the plan, as it was passed to [`Merged::add`].
    pub(super) section: usize,
    pub(super) line: &'a Line,
    /// The host whose name is in the line, if each host of the set has its own name there.
    pub(super) named: Option<usize>,
}

/// Hosts, and the lines that belong to exactly these hosts.
pub(super) type Set<'a> = (Vec<usize>, Vec<Shown<'a>>);

impl Line {
    fn address(&self) -> &Address {
        match self {
            Self::Step(step, _) => &step.address,
            Self::Skipped(blocked) => &blocked.address,
        }
    }

    fn is_action(&self) -> bool {
        matches!(self, Self::Step(step, _) if step.change.verb == converge_model::Verb::Act)
    }
}

impl Merged {
    /// Adds the lines of the host at index `place`, in order. Each has its section and its whole text. `counts`:
    /// whether its steps are carried out.
    pub(super) fn add(&mut self, place: usize, counts: bool, lines: Vec<(usize, String, Line)>) {
        let mut seen: HashMap<Key, usize> = HashMap::new();
        let mut after = None;
        for (section, text, line) in lines {
            let (address, is_action) = (line.address().clone(), line.is_action());
            let mut key = Key { section, address, is_action, nth: 0 };
            let count = seen.entry(key.clone()).or_default();
            key.nth = *count;
            *count += 1;
            let at = self.entry(key, after);
            self.entries[at].counts |= counts;
            let variants = &mut self.entries[at].variants;
            variants.entry(text).or_insert_with(|| Variant { line, hosts: Vec::new() }).hosts.push(place);
            after = Some(at);
        }
    }

    /// Returns the index of the entry `key`. A new one is added after the entry `after`.
    fn entry(&mut self, key: Key, after: Option<usize>) -> usize {
        if let Some(at) = self.known.get(&key) {
            return *at;
        }
        let at = self.entries.len();
        let behind = after.and_then(|after| self.order.iter().position(|one| *one == after));
        self.order.insert(behind.map_or(0, |behind| behind + 1), at);
        self.known.insert(key.clone(), at);
        self.entries.push(Entry { key, counts: false, variants: HashMap::new() });
        at
    }

    /// Returns the lines, grouped by their hosts. `names` has the names of all hosts, by index.
    pub(super) fn sets(&self, names: &[&str]) -> Vec<Set<'_>> {
        let mut sets: Vec<Set<'_>> = Vec::new();
        let mut places: HashMap<Vec<usize>, usize> = HashMap::new();
        for (_, hosts, shown) in self.shown(names) {
            let at = *places.entry(hosts.clone()).or_insert_with(|| {
                sets.push((hosts, Vec::new()));
                sets.len() - 1
            });
            sets[at].1.push(shown);
        }
        sets.sort_by_key(|(hosts, _)| order(hosts));
        for (_, lines) in &mut sets {
            lines.sort_by_key(|line| line.section);
        }
        sets
    }

    /// Returns the variants of all entries, with their index in the order and their hosts. Variants that differ only
    /// in the name of their host are merged.
    fn shown(&self, names: &[&str]) -> Vec<(usize, Vec<usize>, Shown<'_>)> {
        let mut shown = Vec::new();
        let mut alone: HashMap<_, Vec<(usize, usize, &Line)>> = HashMap::new();
        for (place, entry) in self.order.iter().map(|at| &self.entries[*at]).enumerate() {
            for (text, Variant { line, hosts }) in &entry.variants {
                let section = entry.key.section;
                if let [host] = hosts.as_slice() {
                    let key = (entry.key.without_name(names[*host]), without_name(text, names[*host]));
                    alone.entry(key).or_default().push((place, *host, line));
                } else {
                    shown.push((place, hosts.clone(), Shown { section, line, named: None }));
                }
            }
        }
        for (((section, ..), _), mut all) in alone {
            all.sort_unstable_by_key(|(_, host, _)| *host);
            let place = all.iter().map(|(place, ..)| *place).min().unwrap_or_default();
            let (_, first, line) = all[0];
            let named = (all.len() > 1).then_some(first);
            let hosts = all.into_iter().map(|(_, host, _)| host).collect();
            shown.push((place, hosts, Shown { section, line, named }));
        }
        shown.iter_mut().for_each(|(_, hosts, _)| hosts.sort_unstable());
        shown.sort_by_key(|(place, hosts, _)| (*place, hosts.first().copied()));
        shown
    }

    /// Returns the steps that are carried out, each one once for all its hosts.
    pub(super) fn steps(&self) -> impl Iterator<Item = &Step> {
        self.entries.iter().filter(|entry| entry.counts).filter_map(|entry| {
            entry.variants.values().find_map(|variant| match &variant.line {
                Line::Step(step, _) => Some(&**step),
                Line::Skipped(_) => None,
            })
        })
    }
}

impl Key {
    /// Returns the key with [`HOST`] instead of the host's name.
    fn without_name(&self, name: &str) -> (usize, String, bool, usize) {
        (self.section, without_name(self.address.as_str(), name), self.is_action, self.nth)
    }
}

/// Returns the sort key of a set of hosts: its first host; then the larger set comes first.
pub(super) fn order(hosts: &[usize]) -> (Option<usize>, Reverse<usize>) {
    (hosts.first().copied(), Reverse(hosts.len()))
}

/// Replaces the name of a host in a line for several hosts.
pub(super) const HOST: &str = "HOST";

/// Replaces `name` with [`HOST`] in `text`, if it is a whole word.
pub(super) fn without_name(text: &str, name: &str) -> String {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '-' || c == '_';
    let mut out = String::with_capacity(text.len());
    let mut end = 0;
    for (at, _) in text.match_indices(name) {
        let is_word = !text[..at].ends_with(is_part) && !text[at + name.len()..].starts_with(is_part);
        out.push_str(&text[end..at]);
        out.push_str(if is_word { HOST } else { name });
        end = at + name.len();
    }
    out + &text[end..]
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::plan::Drift;
    use converge_model::{Change, Verb};

    fn line(address: &str, text: &str) -> (usize, String, Line) {
        let step = Step {
            resource: 0,
            address: Address::new(None, "file", address),
            kind: String::new(),
            change: Change::new(Verb::Create),
            because: Vec::new(),
            owed: false,
            drift: Drift::default(),
            guarded: false,
            warning: None,
        };
        (0, text.to_owned(), Line::Step(Box::new(step), Vec::new()))
    }

    fn shown(merged: &Merged, names: &[&str]) -> Vec<String> {
        let sets = merged.sets(names).into_iter();
        sets.map(|(hosts, lines)| {
            let lines = lines.iter().map(|shown| {
                let sign = if shown.named.is_some() { "*" } else { "" };
                format!("{}{sign}", shown.line.address())
            });
            format!("{hosts:?} {}", lines.collect::<Vec<_>>().join(" "))
        })
        .collect()
    }

    #[test]
    fn hosts_share_the_steps_that_are_the_same_on_them() {
        let mut merged = Merged::default();
        merged.add(0, true, vec![line("/a", "a"), line("/b", "one"), line("/c", "c")]);
        merged.add(1, true, vec![line("/a", "a"), line("/b", "two"), line("/c", "c")]);
        merged.add(2, true, vec![line("/a", "a"), line("/c", "c"), line("/d", "d")]);
        let expected = ["[0, 1, 2] file[/a] file[/c]", "[0] file[/b]", "[1] file[/b]", "[2] file[/d]"];
        assert_eq!(shown(&merged, &["x", "y", "z"]), expected);
        assert_eq!(merged.steps().count(), 4);
    }

    #[test]
    fn steps_that_differ_in_the_name_of_the_host_alone_are_one() {
        let mut merged = Merged::default();
        merged.add(0, true, vec![line("/a", "+web1.example.org"), line("/b", "+web1")]);
        merged.add(1, true, vec![line("/a", "+web2.example.org"), line("/b", "+web1")]);
        merged.add(
            2,
            true,
            vec![line("/a", "+web3.example.org"), line("/b", "+web1"), line("/own/web3", "x")],
        );
        merged.add(
            3,
            true,
            vec![line("/a", "+web4.example.org"), line("/b", "+web1"), line("/own/web4", "x")],
        );
        let expected = ["[0, 1, 2, 3] file[/a]* file[/b]", "[2, 3] file[/own/web3]*"];
        assert_eq!(shown(&merged, &["web1", "web2", "web3", "web4"]), expected);
        assert_eq!(
            without_name("web1 web11 my-web1 web1.x web1web1", "web1"),
            "HOST web11 my-web1 HOST.x web1web1"
        );
    }

    #[test]
    fn a_step_stands_where_it_is_carried_out_on_each_host() {
        let mut merged = Merged::default();
        merged.add(0, true, vec![line("/b", "b")]);
        merged.add(1, true, vec![line("/a", "a"), line("/b", "b"), line("/c", "c")]);
        merged.add(2, true, vec![line("/a", "a"), line("/b", "b"), line("/c", "c")]);
        let order: Vec<_> = merged.order.iter().map(|at| merged.entries[*at].key.address.as_str()).collect();
        assert_eq!(order, ["file[/a]", "file[/b]", "file[/c]"]);
    }
}
