//! Precedence: which definition of a variable, or of a connection's property, applies to a host.
//!
//! The order is: inventory < group < inner group < host < `--set`. Within one level a file overrides the files that it
//! includes. Maps are merged by key; other values are replaced. Unequal definitions without an order between them are
//! an error.

use std::collections::{HashMap, HashSet};

use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Span};
use crate::source::ids::{GroupId, Table};
use crate::syntax::value_tree::{Entry, Shape, Tree};

/// The level of a definition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Level {
    /// The whole inventory.
    Inventory,
    /// A group.
    Group(GroupId),
    /// A host, or several hosts of one node.
    Host,
    /// `--set`.
    Set,
}

/// The definitions of one level in one file.
#[derive(Clone, Debug)]
pub(crate) struct Layer {
    pub(crate) level: Level,
    pub(crate) file: FileId,
    pub(crate) entries: Vec<Entry>,
}

/// The order of layers: the nesting of groups and the includes of files.
#[derive(Clone, Debug, Default)]
pub(crate) struct Precedence {
    /// For each group, the groups that contain it.
    pub(crate) outer: Table<GroupId, HashSet<GroupId>>,
    /// For each file, the files that it includes, directly or indirectly.
    pub(crate) includes: HashMap<FileId, HashSet<FileId>>,
}

impl Precedence {
    /// Whether `a` overrides `b`.
    pub(crate) fn nearer(&self, a: &Layer, b: &Layer) -> bool {
        match (a.level, b.level) {
            (Level::Group(inner), Level::Group(outer)) if inner != outer => {
                self.outer.get(inner).is_some_and(|outers| outers.contains(&outer))
            }
            (of_a, of_b) if rank(of_a) != rank(of_b) => rank(of_a) > rank(of_b),
            _ => self.includes.get(&a.file).is_some_and(|included| included.contains(&b.file)),
        }
    }
}

fn rank(level: Level) -> u8 {
    match level {
        Level::Inventory => 0,
        Level::Group(_) => 1,
        Level::Host => 2,
        Level::Set => 3,
    }
}

/// One definition and its layer.
#[derive(Clone, Copy)]
struct Candidate<'a> {
    layer: &'a Layer,
    entry: &'a Entry,
}

/// Merges the layers of one host. Returns every name with the winning value.
pub(crate) fn merge(layers: &[&Layer], precedence: &Precedence, diagnostics: &mut Diagnostics) -> Vec<Entry> {
    let candidates = layers
        .iter()
        .flat_map(|layer| layer.entries.iter().map(|entry| Candidate { layer, entry }))
        .collect();
    let mut merger = Merger { precedence, diagnostics, what: "variable" };
    merger.keys(candidates)
}

struct Merger<'a> {
    precedence: &'a Precedence,
    diagnostics: &'a mut Diagnostics,
    what: &'static str,
}

impl Merger<'_> {
    fn keys(&mut self, candidates: Vec<Candidate<'_>>) -> Vec<Entry> {
        let mut order: Vec<&str> = Vec::new();
        let mut by_key: HashMap<&str, Vec<Candidate<'_>>> = HashMap::new();
        for candidate in candidates {
            let list = by_key.entry(&candidate.entry.key).or_insert_with(|| {
                order.push(&candidate.entry.key);
                Vec::new()
            });
            list.push(candidate);
        }
        order.iter().filter_map(|key| self.key(by_key.get(key)?)).collect()
    }

    fn key(&mut self, candidates: &[Candidate<'_>]) -> Option<Entry> {
        let [first, rest @ ..] = candidates else { return None };
        if rest.is_empty() {
            return Some(first.entry.clone());
        }
        let nearest = self.nearest(candidates);
        let winner = **nearest.first()?;
        if nearest.iter().all(|candidate| candidate.entry.value.shape() == Shape::Map) {
            return Some(self.maps(winner, candidates));
        }
        if let Some(other) = nearest.iter().find(|other| !other.entry.value.same(&winner.entry.value)) {
            self.undecided(winner.entry, other.entry);
        }
        Some(winner.entry.clone())
    }

    /// Merges maps key by key. A definition that is not a map hides all maps that it overrides.
    fn maps(&mut self, winner: Candidate<'_>, candidates: &[Candidate<'_>]) -> Entry {
        let hides = |of: &Candidate<'_>| {
            candidates.iter().any(|other| {
                other.entry.value.shape() != Shape::Map && self.precedence.nearer(other.layer, of.layer)
            })
        };
        let visible: Vec<&Candidate<'_>> = candidates.iter().filter(|candidate| !hides(candidate)).collect();
        let mut inner = Vec::new();
        for candidate in visible {
            if let Tree::Map(entries, _) = &candidate.entry.value {
                inner.extend(entries.iter().map(|entry| Candidate { layer: candidate.layer, entry }));
            }
        }
        let value = Tree::Map(self.keys(inner).into(), winner.entry.value.at());
        Entry { key: winner.entry.key.clone(), at: winner.entry.at, value }
    }

    fn nearest<'c>(&self, candidates: &'c [Candidate<'c>]) -> Vec<&'c Candidate<'c>> {
        let beaten = |candidate: &Candidate<'_>| {
            candidates.iter().any(|other| self.precedence.nearer(other.layer, candidate.layer))
        };
        candidates.iter().filter(|candidate| !beaten(candidate)).collect()
    }

    fn undecided(&mut self, one: &Entry, other: &Entry) {
        self.diagnostics.push(
            Diagnostic::error(
                Code::Precedence,
                format!("two definitions of `{}` differ, and neither overrides the other", one.key),
            )
            .label(one.at, "one")
            .label(other.at, "the other")
            .help(format!("define the {} in a group inside both, or at the host", self.what)),
        );
    }
}

/// Returns every definition of `path`, the nearest first, and whether it applies.
pub(crate) fn definitions<'a>(
    layers: &[&'a Layer],
    precedence: &Precedence,
    path: &[&str],
) -> Vec<(&'a Layer, &'a Entry, bool)> {
    let mut found: Vec<(&Layer, &Entry)> =
        layers.iter().filter_map(|layer| lookup(&layer.entries, path).map(|entry| (*layer, entry))).collect();
    // There are few definitions of one name. A simple selection by nearness works for a partial order.
    let mut sorted: Vec<(&Layer, &Entry)> = Vec::with_capacity(found.len());
    while !found.is_empty() {
        let next = found
            .iter()
            .position(|(layer, _)| !found.iter().any(|(other, _)| precedence.nearer(other, layer)))
            .unwrap_or(0);
        sorted.push(found.remove(next));
    }
    let merged = sorted.first().is_some_and(|(_, entry)| entry.value.shape() == Shape::Map);
    let mut hidden = false;
    sorted
        .into_iter()
        .enumerate()
        .map(|(index, (layer, entry))| {
            hidden |= merged && entry.value.shape() != Shape::Map;
            (layer, entry, if merged { !hidden } else { index == 0 })
        })
        .collect()
}

fn lookup<'a>(entries: &'a [Entry], path: &[&str]) -> Option<&'a Entry> {
    let (first, rest) = path.split_first()?;
    let folded = crate::template::fold(first);
    let entry = entries.iter().find(|entry| crate::template::fold(&entry.key) == folded)?;
    match (rest, &entry.value) {
        ([], _) => Some(entry),
        (_, Tree::Map(inner, _)) => lookup(inner, rest),
        _ => None,
    }
}

/// Checks that a variable, or a key of a map, has the same shape in all definitions.
pub(crate) fn shapes<'a>(layers: impl Iterator<Item = &'a Layer>, diagnostics: &mut Diagnostics) {
    let mut seen: HashMap<String, (Shape, Span)> = HashMap::new();
    for layer in layers {
        for entry in &layer.entries {
            shape_of(&entry.key, entry, &mut seen, diagnostics);
        }
    }
}

fn shape_of(
    path: &str,
    entry: &Entry,
    seen: &mut HashMap<String, (Shape, Span)>,
    diagnostics: &mut Diagnostics,
) {
    let shape = entry.value.shape();
    if shape != Shape::Open {
        match seen.get(path) {
            Some((first, at)) if *first != shape => diagnostics.push(
                Diagnostic::error(
                    Code::Shape,
                    format!("`{}` is {} here and {} elsewhere", entry.key, shape.name(), first.name()),
                )
                .label(entry.at, shape.name())
                .label(*at, first.name())
                .help("use one shape for all definitions; a list of one item is `x { - \"a\" }`"),
            ),
            Some(_) => {}
            None => {
                seen.insert(path.to_owned(), (shape, entry.at));
            }
        }
    }
    match &entry.value {
        Tree::Map(inner, _) => {
            inner.iter().for_each(|key| shape_of(&format!("{path}.{}", key.key), key, seen, diagnostics));
        }
        Tree::List(items, _) => {
            let mut of_items = HashMap::new();
            for item in items {
                if let Tree::Map(inner, _) = item {
                    inner.iter().for_each(|key| shape_of(&key.key, key, &mut of_items, diagnostics));
                }
            }
        }
        Tree::Leaf(_) => {}
    }
}
