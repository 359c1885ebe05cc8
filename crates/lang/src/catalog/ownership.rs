//! Each thing has one owner: equal resources are merged, and two resources with the same claim are an error.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use converge_model::claim::Extent;
use converge_model::{Address, Claim};

use crate::catalog::entry::{Entry, Parts, id, is_vague};
use crate::expand::walk::Declared;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::{EntryId, KindId, Table};

/// Completes a once-claim: its key becomes the address and the key from the kind.
pub(super) fn name_once(claim: &mut Claim, address: &Address) {
    if let Some(key) = claim.as_once() {
        *claim = Claim::once(format!("{address} {key}"));
    }
}

/// Merges equal resources of different bodies. Two resources with one address and different parameters are an error.
pub(super) fn unite(
    entries: Vec<Entry>,
    parts: &Parts<'_>,
    diagnostics: &mut Diagnostics,
) -> Table<EntryId, Entry> {
    let mut kept: Table<EntryId, Entry> = Table::default();
    let mut by_name: HashMap<(KindId, Arc<str>), Vec<EntryId>> = HashMap::new();
    let mut by_address: HashMap<Address, EntryId> = HashMap::new();
    for entry in entries {
        let key = entry.declared.name.clone().map(|name| (entry.declared.kind, name));
        let known = key.as_ref().and_then(|key| by_name.get(key)).into_iter().flatten();
        let same_id = |other: &Entry| id(&other.declared) == id(&entry.declared);
        let equal = known.copied().find(|other| same(&kept[*other], &entry) && same_id(&kept[*other]));
        if let Some(first) = equal.filter(|first| !kept[*first].bodies.contains(&entry.declared.body)) {
            if let Some(address) = &entry.address {
                by_address.entry(address.clone()).or_insert(first);
            }
            absorb(&mut kept[first], entry);
            continue;
        }
        if let Some(first) = entry.address.as_ref().and_then(|address| by_address.get(address)).copied() {
            if !(is_vague(&entry) || is_vague(&kept[first])) {
                diagnostics.push(twice(&kept[first], &entry, parts));
            }
            continue;
        }
        let address = entry.address.clone();
        let id = kept.push(entry);
        address.into_iter().for_each(|address| {
            by_address.insert(address, id);
        });
        key.into_iter().for_each(|key| by_name.entry(key).or_default().push(id));
    }
    kept
}

/// Adds the module calls that led to two conflicting resources.
fn calls(report: Diagnostic, declared: &[&Declared]) -> Diagnostic {
    let calls = declared.iter().filter_map(|declared| declared.called);
    calls.fold(report, |report, call| report.context(call, "called here"))
}

/// Whether two resources of one kind have the same parameters.
fn same(first: &Entry, second: &Entry) -> bool {
    Arc::ptr_eq(&first.lowered, &second.lowered) || first.lowered.params == second.lowered.params
}

fn absorb(into: &mut Entry, entry: Entry) {
    into.bodies.extend(entry.bodies);
    into.modules.extend(entry.modules);
    if let Some(address) = entry.address.filter(|address| Some(address) != into.address.as_ref()) {
        into.aliases.push(address);
    }
    let (options, other) = (&mut into.declared.options, entry.declared.options);
    options.after.extend(other.after);
    options.notify.extend(other.notify);
    options.tags.extend(other.tags);
    options.sensitive |= other.sensitive;
    options.may_fail &= other.may_fail;
    into.declared.maybe &= entry.declared.maybe;
}

fn twice(first: &Entry, second: &Entry, parts: &Parts<'_>) -> Diagnostic {
    let shown = second.address.as_ref().map_or("", Address::as_str);
    let report = Diagnostic::error(Code::Duplicate, format!("`{shown}` is declared twice"))
        .label(second.declared.at, "and again here")
        .label(first.declared.at, "declared here");
    let kind = &parts.data.library.kinds[second.declared.kind].schema.name;
    let report = calls(report, &[&second.declared, &first.declared]);
    report.help(match same(first, second) {
        true => "one body declares it twice; remove one of them".to_owned(),
        false => format!("a resource cannot override another one: use a variable for the value that differs, or give one an `id`: `{kind} … id=\"other\"`"),
    })
}

/// Reports two owners of one thing; the error shows both.
pub(super) fn claims(entries: &Table<EntryId, Entry>, diagnostics: &mut Diagnostics) {
    let mut named: HashMap<(&str, &str), EntryId> = HashMap::new();
    let mut paths: BTreeMap<&str, Vec<(EntryId, &Claim)>> = BTreeMap::new();
    let sure = entries.entries().filter(|(_, entry)| !entry.declared.maybe);
    for (id, entry) in sure {
        for claim in &entry.claims {
            match claim {
                Claim::Named { space, name } => match named.get(&(space.as_str(), name.as_str())) {
                    Some(first) if *first != id => {
                        diagnostics.push(conflict(&entries[*first], entry, &claim.key()));
                    }
                    _ => {
                        named.insert((space, name), id);
                    }
                },
                Claim::Path { path, .. } => paths.entry(path).or_default().push((id, claim)),
            }
        }
    }
    for (path, here) in &paths {
        for (at, (second, claim)) in here.iter().enumerate() {
            let clash = here[..at].iter().find(|(first, other)| first != second && claim.conflicts(other));
            if let Some((first, _)) = clash {
                diagnostics.push(conflict(&entries[*first], &entries[*second], &format!("path:{path}")));
            }
        }
        let absent =
            here.iter().find(|(_, claim)| matches!(claim, Claim::Path { extent: Extent::Absence, .. }));
        if let Some((first, claim)) = absent {
            let below = format!("{}/", path.trim_end_matches('/'));
            let inside = paths.range(below.as_str()..).take_while(|(path, _)| path.starts_with(&below));
            let clash = inside.flat_map(|(_, there)| there).find(|(_, other)| claim.conflicts(other));
            if let Some((second, other)) = clash {
                diagnostics.push(conflict(&entries[*first], &entries[*second], &other.key()));
            }
        }
    }
}

fn conflict(first: &Entry, second: &Entry, key: &str) -> Diagnostic {
    let shown =
        |entry: &Entry| entry.address.as_ref().map_or_else(|| "a resource".to_owned(), |a| format!("`{a}`"));
    let report =
        Diagnostic::error(Code::Claim, format!("{} and {} both own {key}", shown(first), shown(second)))
            .label(first.declared.at, "first owner")
            .label(second.declared.at, "second owner")
            .help("remove one of them; `line`, `block` and `ini` can edit a `file` that has no `content`");
    calls(report, &[&second.declared, &first.declared])
}
