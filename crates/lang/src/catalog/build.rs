//! Builds the catalog from declared resources: merges equal ones, then sets addresses, claims, dependencies and order.

use std::sync::Arc;

use converge_model::catalog::{Body, DriftMode, NotifyHow};
use converge_model::{
    Address, Catalog, Cell, Notify, Options as ModelOptions, ParamProblem, Resource, Scalar, Secret,
    SecretTable, Tree, Value,
};

use crate::catalog::entry::{Entry, Parts, is_module, is_vague};
use crate::catalog::lower::Lowered;
use crate::catalog::order;
use crate::catalog::ownership::{claims, name_once, unite};
use crate::catalog::references::{References, Referent};
use crate::catalog::selection::{Choices, Selection};
use crate::expand::options::{Named, how};
use crate::expand::walk::Declared;
use crate::project::library::Kind;
use crate::source::content::Contents;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{EntryId, Table};

/// A catalog and its contents.
pub(crate) struct Built {
    pub(crate) catalog: Catalog,
    pub(crate) contents: Contents,
    pub(crate) choices: Choices,
}

/// The resources of a host without duplicates, with their owners and their order: everything for the catalog.
pub(crate) struct Arranged<'a> {
    parts: Parts<'a>,
    entries: Table<EntryId, Entry>,
    edges: Edges,
    order: Vec<EntryId>,
    secrets: SecretTable,
    contents: Contents,
}

/// Orders the resources of a host. Returns `None` if there are mistakes.
pub(crate) fn arrange<'a>(mut parts: Parts<'a>, diagnostics: &mut Diagnostics) -> Option<Arranged<'a>> {
    let mut secrets = SecretTable::default();
    let mut contents = Contents::default();
    parts.secrets.iter().for_each(|secret| {
        secrets.add(Secret::new(secret.as_bytes()));
    });
    let mut declared = std::mem::take(&mut parts.declared);
    declared.sort_by(|a, b| a.position.cmp(&b.position));
    let mut entries: Vec<Entry> = Vec::with_capacity(declared.len());
    for declared in declared {
        if let Some(entry) = entry(declared, &parts, &mut secrets, &mut contents, diagnostics) {
            entries.push(entry);
        }
    }
    let entries = unite(entries, &parts, diagnostics);
    claims(&entries, diagnostics);
    let edges = edges(&entries, &parts, diagnostics);
    let order = match order::sort(&edges.after) {
        Ok(order) => order,
        Err(cycle) => {
            diagnostics.push(cycle_report(&entries, &cycle));
            return None;
        }
    };
    if diagnostics.has_errors() {
        return None;
    }
    if size(&entries) > converge_model::wire::CATALOG_LIMIT {
        let message = format!("the catalog is larger than {} MiB", converge_model::wire::CATALOG_LIMIT >> 20);
        diagnostics.push(
            Diagnostic::error(Code::Limit, message)
                .label(parts.data.membership.hosts[parts.host].at, "of this host")
                .help("keep long strings in `content`: it is sent separately from the catalog"),
        );
        return None;
    }
    Some(Arranged { parts, entries, edges, order, secrets, contents })
}

impl Arranged<'_> {
    /// Returns the number of resources.
    pub(crate) fn len(&self) -> usize {
        self.entries.len()
    }

    /// Builds the catalog.
    pub(crate) fn build(self, selection: &Selection) -> Built {
        let Self { parts, entries, edges, order, secrets, contents } = self;
        let choices = choices(&entries, &parts, selection);
        let resources = in_order(entries, &order, &edges, &parts, selection);
        let catalog = Catalog {
            host: parts.data.membership.hosts[parts.host].name.clone(),
            project: parts.data.project.clone(),
            resources,
            bodies: parts.bodies.into_iter().map(|name| Body { name }).collect(),
            settled: Vec::new(),
            secrets,
        };
        Built { catalog, contents, choices }
    }
}

/// Returns what a selection could select. The work is skipped if there is no selection.
fn choices(entries: &Table<EntryId, Entry>, parts: &Parts<'_>, selection: &Selection) -> Choices {
    if selection.is_everything() {
        return Choices::default();
    }
    let addresses = entries.iter().flat_map(|entry| entry.address.iter().chain(&entry.aliases));
    let tags = entries.iter().flat_map(|entry| &entry.declared.options.tags);
    Choices {
        addresses: addresses.map(ToString::to_string).chain(parts.dropped.iter().cloned()).collect(),
        modules: parts.bodies.iter().filter(|body| !body.starts_with("on ")).cloned().collect(),
        tags: tags.map(|tag| tag.to_string()).chain(parts.dropped_tags.iter().cloned()).collect(),
        is_open: parts.has_unknown_names || entries.iter().any(is_vague),
        // Resources that a condition left out count as selected, although there is nothing to do.
        is_met: entries.iter().any(|entry| entry.declared.maybe || selected(entry, selection))
            || selection.only.iter().any(|only| parts.dropped.contains(only))
            || selection.tags.iter().any(|tag| parts.dropped_tags.contains(tag)),
    }
}

/// Estimates the size of the parameters in bytes. The rest of a catalog is small in comparison.
fn size(entries: &Table<EntryId, Entry>) -> usize {
    fn scalars(list: &[Scalar]) -> usize {
        list.iter().map(|scalar| if let Scalar::Text(text) = scalar { text.len() + 2 } else { 10 }).sum()
    }
    fn map(map: &[(String, Vec<Scalar>)]) -> usize {
        map.iter().map(|(key, list)| key.len() + scalars(list)).sum()
    }
    fn tree(entries: &[(String, Tree)]) -> usize {
        entries.iter().map(|(key, value)| key.len() + branch(value)).sum()
    }
    fn branch(value: &Tree) -> usize {
        match value {
            Tree::Scalar(scalar) => scalars(std::slice::from_ref(scalar)),
            Tree::List(items) => items.iter().map(branch).sum::<usize>() + 2,
            Tree::Map(entries) => tree(entries) + 2,
        }
    }
    let cell = |cell: &Cell| match cell {
        Cell::Scalar(scalar) => scalars(std::slice::from_ref(scalar)),
        Cell::List(list) => scalars(list),
        Cell::Map(entries) => map(entries),
        Cell::Content(_) => 40,
        Cell::Tree(entries) => tree(entries),
    };
    let value = |value: &Value| match value {
        Value::Scalar(scalar) => scalars(std::slice::from_ref(scalar)),
        Value::List(list) => scalars(list),
        Value::Map(entries) => map(entries),
        Value::Content(_) => 40,
        Value::Tree(entries) => tree(entries),
        Value::Rows(rows) => rows.iter().flat_map(|row| &row.0).map(|(key, c)| key.len() + cell(c)).sum(),
    };
    let params = entries.iter().flat_map(|entry| &entry.lowered.params.0);
    params.map(|(key, of)| key.len() + value(of)).sum::<usize>() + entries.len() * 100
}

fn entry(
    declared: Declared,
    parts: &Parts<'_>,
    secrets: &mut SecretTable,
    contents: &mut Contents,
    diagnostics: &mut Diagnostics,
) -> Option<Entry> {
    let kind = &parts.data.library.kinds[declared.kind];
    if parts.in_folder && kind.info.schema().whole_system {
        let report = Diagnostic::error(Code::Root, format!("`{}` needs a whole system", kind.schema.name))
            .label(declared.at, "in a folder")
            .help("the connection has `root=`: a folder that stands for `/`");
        diagnostics.push(declared.called.into_iter().fold(report, Diagnostic::called));
    }
    let lowered = parts
        .lowered
        .get(declared.constant, || Lowered::of(kind, &declared.given, !declared.failed, secrets));
    contents.add(&lowered.contents);
    let (mut claims, mut suffix) = (Vec::new(), None);
    match &lowered.checked {
        None => {}
        Some(Ok(checked)) => {
            for warning in &checked.warnings {
                let report = Diagnostic::warning(Code::Exposed, warning.message.clone());
                diagnostics.push(located(report, warning, &declared, kind));
            }
            (claims, suffix) = (checked.claims.clone(), checked.suffix.as_deref());
        }
        Some(Err(problems)) => {
            for problem in problems {
                let report = Diagnostic::error(Code::Params, problem.sentence());
                diagnostics.push(located(report, problem, &declared, kind));
            }
            return None;
        }
    }
    let shown = match (&declared.options.id, &declared.name, suffix) {
        (Some(id), _, _) => Some(id.text.to_string()),
        (None, Some(name), Some(suffix)) => {
            Some(format!("{name}: {}", suffix.trim_start_matches([':', ' '])))
        }
        (None, name, _) => name.as_ref().map(|name| name.to_string()),
    };
    let address = shown.map(|shown| Address::new(declared.module.as_deref(), &kind.schema.name, &shown));
    if let Some(address) = &address {
        claims.iter_mut().for_each(|claim| name_once(claim, address));
    }
    Some(Entry {
        address,
        aliases: Vec::new(),
        lowered: Arc::clone(&lowered),
        claims,
        bodies: vec![declared.body],
        modules: declared.module.iter().cloned().collect(),
        declared,
    })
}

/// Returns the report of a kind with the span of the parameter and the module calls that led there.
fn located(report: Diagnostic, problem: &ParamProblem, declared: &Declared, kind: &Kind) -> Diagnostic {
    let param = problem.param.as_deref().and_then(|name| kind.schema.param(name));
    let argument = param.and_then(|param| declared.given.params[param].as_ref());
    let given = argument.map(|argument| argument.given.clone()).unwrap_or_default();
    let report = report
        .label(argument.map_or(declared.at, |argument| argument.at), "here")
        .maybe_help(problem.help.clone());
    declared.called.into_iter().fold(report.given(given.spans()), Diagnostic::called)
}

/// The resources that each entry waits for and notifies.
struct Edges {
    after: Table<EntryId, Vec<EntryId>>,
    notify: Table<EntryId, Vec<(EntryId, NotifyHow)>>,
}

fn edges(entries: &Table<EntryId, Entry>, parts: &Parts<'_>, diagnostics: &mut Diagnostics) -> Edges {
    let references = References::new(entries, parts);
    let mut edges = Edges { after: Table::default(), notify: Table::default() };
    for entry in entries {
        let mut after = Vec::new();
        for named in &entry.declared.options.after {
            // A module that waits as a whole does not make its own resources wait for each other.
            let found = resolve(&references, &named.text, named, diagnostics);
            after.extend(found.into_iter().flat_map(Referent::all));
        }
        after.sort_unstable();
        after.dedup();
        edges.after.push(after);
        let mut notify = Vec::new();
        for named in &entry.declared.options.notify {
            let (address, how) = how(&named.text);
            let Some(found) = resolve(&references, address, named, diagnostics) else { continue };
            for target in references.notifiable(found, named, diagnostics) {
                if !notify.contains(&(target, how)) {
                    notify.push((target, how));
                }
            }
        }
        edges.notify.push(notify);
    }
    edges
}

fn resolve(
    references: &References<'_>,
    address: &str,
    named: &Named,
    diagnostics: &mut Diagnostics,
) -> Option<Referent> {
    match references.find(address, named.within.as_deref()) {
        Ok(found) => found,
        Err(help) => {
            diagnostics.push(
                Diagnostic::error(Code::Address, format!("there is no `{address}` on this host"))
                    .label(named.at, "named here")
                    .maybe_help(help),
            );
            None
        }
    }
}

fn cycle_report(entries: &Table<EntryId, Entry>, cycle: &[EntryId]) -> Diagnostic {
    let shown =
        |entry: EntryId| entries[entry].address.as_ref().map_or_else(String::new, ToString::to_string);
    let mut path: Vec<String> = cycle.iter().map(|entry| shown(*entry)).collect();
    path.extend(cycle.first().map(|entry| shown(*entry)));
    let mut report =
        Diagnostic::error(Code::Cycle, format!("resources wait for each other: {}", path.join(" -> ")));
    for (index, entry) in cycle.iter().enumerate() {
        let declared = &entries[*entry].declared;
        let span: Span = declared.options.after.first().map_or(declared.at, |named| named.at);
        report = report.label(span, format!("waits for {}", path[index + 1]));
    }
    report.help("leave one `after` out; resources run in the order written")
}

/// Returns the entries as resources in their final order.
fn in_order(
    entries: Table<EntryId, Entry>,
    order: &[EntryId],
    edges: &Edges,
    parts: &Parts<'_>,
    selection: &Selection,
) -> Vec<Resource> {
    let mut positions: Table<EntryId, u32> = order.iter().map(|_| 0).collect();
    order.iter().enumerate().for_each(|(position, id)| positions[*id] = position as u32);
    let mut entries: Table<EntryId, Option<Entry>> = entries.into_iter().map(Some).collect();
    let mut resources = Vec::with_capacity(order.len());
    for id in order {
        let Some(entry) = entries[*id].take() else { continue };
        let kind = &parts.data.library.kinds[entry.declared.kind].schema.name;
        let mut after: Vec<u32> = edges.after[*id].iter().map(|need| positions[*need]).collect();
        after.sort_unstable();
        let notify = edges.notify[*id].iter();
        let notify = notify.map(|(target, how)| Notify { target: positions[*target], how: *how }).collect();
        let options = options(&entry, parts.drift, selection);
        resources.push(Resource {
            // In a check some names are unknown. Such a catalog is never used.
            address: entry.address.unwrap_or_else(|| Address::new(None, kind, "?")),
            aliases: entry.aliases,
            kind: kind.clone(),
            params: Arc::try_unwrap(entry.lowered)
                .map_or_else(|shared| shared.params.clone(), |own| own.params),
            claims: entry.claims,
            bodies: entry.bodies,
            after,
            notify,
            options,
        });
    }
    resources
}

fn options(entry: &Entry, drift: DriftMode, selection: &Selection) -> ModelOptions {
    let options = &entry.declared.options;
    ModelOptions {
        selected: selected(entry, selection),
        may_fail: options.may_fail,
        sensitive: options.sensitive,
        retries: options.retries.map_or(0, |(retries, _)| retries),
        timeout: options.timeout.map(|(timeout, _)| timeout),
        drift: options.drift.unwrap_or(drift),
    }
}

fn selected(entry: &Entry, selection: &Selection) -> bool {
    let tagged =
        |tags: &[String]| entry.declared.options.tags.iter().any(|tag| tags.iter().any(|t| **t == **tag));
    let named = |name: &String| {
        let addresses = entry.address.iter().chain(&entry.aliases);
        addresses.map(Address::as_str).any(|address| address == name)
            || entry.modules.iter().any(|module| is_module(module, name))
    };
    (selection.tags.is_empty() || tagged(&selection.tags))
        && !tagged(&selection.skip_tags)
        && (selection.only.is_empty() || selection.only.iter().any(named))
        && !selection.skip.iter().any(named)
}
