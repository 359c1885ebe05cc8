//! From resources without a place to the catalog: equal ones made one, addresses, claims, who waits for whom, order.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use converge_model::catalog::{Body, DriftMode};
use converge_model::claim::Extent;
use converge_model::{
    Address, Catalog, Cell, Claim, Notify, Options as ModelOptions, ParamProblem, Params, Resource, Scalar,
    Secret, SecretTable, Value,
};

use crate::bodies::{Bodies, Draft};
use crate::compile::Contents;
use crate::connection::Transport;
use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::options::{Named, how};
use crate::order;
use crate::project::{Data, Kind};
use crate::selection::{Choices, Selection};
use crate::settings::HostSettings;
use crate::targets::{Place, Targets};
use crate::values;

/// What the catalog is made from.
pub(crate) struct Parts<'a> {
    pub(crate) data: &'a Data,
    pub(crate) host: usize,
    pub(crate) drafts: Vec<Draft>,
    pub(crate) bodies: Vec<String>,
    pub(crate) dropped: std::collections::BTreeSet<String>,
    pub(crate) dropped_tags: std::collections::BTreeSet<String>,
    pub(crate) has_unknown_names: bool,
    pub(crate) drift: DriftMode,
    /// Whether a folder stands for the whole system.
    pub(crate) in_folder: bool,
    pub(crate) secrets: Vec<Arc<str>>,
}

impl<'a> Parts<'a> {
    /// What walking the bodies of `host` came to, for the host that `settings` are of.
    pub(crate) fn of(
        data: &'a Data,
        bodies: Bodies<'_>,
        host: usize,
        settings: &HostSettings,
        secrets: Vec<Arc<str>>,
    ) -> Self {
        Self {
            data,
            host,
            drafts: bodies.drafts,
            bodies: bodies.names,
            dropped: bodies.dropped,
            dropped_tags: bodies.dropped_tags,
            has_unknown_names: bodies.has_unknown_names,
            drift: settings.drift.mode,
            in_folder: matches!(settings.connection.transport, Transport::Local { root: Some(_) }),
            secrets,
        }
    }
}

/// A resource on its way into the catalog.
pub(crate) struct Entry {
    pub(crate) draft: Draft,
    pub(crate) address: Option<Address>,
    pub(crate) aliases: Vec<Address>,
    params: Params,
    claims: Vec<Claim>,
    bodies: Vec<u32>,
    /// The bodies' own addresses: the modules that it belongs to.
    pub(crate) modules: Vec<Arc<str>>,
}

/// A catalog, and what comes with it.
pub(crate) struct Built {
    pub(crate) catalog: Catalog,
    pub(crate) contents: Contents,
    pub(crate) choices: Choices,
}

/// Builds the catalog; none where there are mistakes.
pub(crate) fn build(
    mut parts: Parts<'_>,
    selection: &Selection,
    diagnostics: &mut Diagnostics,
) -> Option<Built> {
    let mut secrets = SecretTable::default();
    let mut contents = Contents::default();
    parts.secrets.iter().for_each(|secret| {
        secrets.add(Secret::new(secret.as_bytes()));
    });
    let mut drafts = std::mem::take(&mut parts.drafts);
    drafts.sort_by(|a, b| a.place.cmp(&b.place));
    let mut entries: Vec<Entry> = Vec::with_capacity(drafts.len());
    for draft in drafts {
        if let Some(entry) = entry(draft, &parts, &mut secrets, &mut contents, diagnostics) {
            entries.push(entry);
        }
    }
    let entries = unite(entries, &parts, diagnostics);
    claims(&entries, diagnostics);
    let (after, notify) = edges(&entries, &parts, diagnostics);
    let order = match order::sort(&after) {
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
            Diagnostic::error("lang::limit", message)
                .label(parts.data.membership.hosts[parts.host].at, "of this host")
                .help("keep long texts in `content`, which is sent apart from the catalog"),
        );
        return None;
    }
    let choices = choices(&entries, &parts, selection);
    let resources = place(entries, &order, &after, &notify, &parts, selection);
    let catalog = Catalog {
        host: parts.data.membership.hosts[parts.host].name.clone(),
        project: parts.data.project.clone(),
        resources,
        bodies: parts.bodies.into_iter().map(|name| Body { name }).collect(),
        settled: Vec::new(),
        secrets,
    };
    Some(Built { catalog, contents, choices })
}

/// What a selection could choose of the entries. It costs something, so that it is empty where there is none.
fn choices(entries: &[Entry], parts: &Parts<'_>, selection: &Selection) -> Choices {
    if selection.is_everything() {
        return Choices::default();
    }
    let addresses = entries.iter().flat_map(|entry| entry.address.iter().chain(&entry.aliases));
    let tags = entries.iter().flat_map(|entry| &entry.draft.options.tags);
    Choices {
        addresses: addresses.map(ToString::to_string).chain(parts.dropped.iter().cloned()).collect(),
        modules: parts.bodies.iter().filter(|body| !body.starts_with("on ")).cloned().collect(),
        tags: tags.map(|tag| tag.to_string()).chain(parts.dropped_tags.iter().cloned()).collect(),
        is_open: parts.has_unknown_names || entries.iter().any(is_vague),
        // What a condition left out was chosen too, and is nothing.
        is_met: entries.iter().any(|entry| entry.draft.maybe || selected(entry, selection))
            || selection.only.iter().any(|only| parts.dropped.contains(only))
            || selection.tags.iter().any(|tag| parts.dropped_tags.contains(tag)),
    }
}

/// About how many bytes the parameters take: what else is in a catalog is small beside them.
fn size(entries: &[Entry]) -> usize {
    fn scalars(list: &[Scalar]) -> usize {
        list.iter().map(|scalar| if let Scalar::Text(text) = scalar { text.len() + 2 } else { 10 }).sum()
    }
    fn map(map: &[(String, Vec<Scalar>)]) -> usize {
        map.iter().map(|(key, list)| key.len() + scalars(list)).sum()
    }
    let cell = |cell: &Cell| match cell {
        Cell::Scalar(scalar) => scalars(std::slice::from_ref(scalar)),
        Cell::List(list) => scalars(list),
        Cell::Map(entries) => map(entries),
        Cell::Content(_) => 40,
    };
    let value = |value: &Value| match value {
        Value::Scalar(scalar) => scalars(std::slice::from_ref(scalar)),
        Value::List(list) => scalars(list),
        Value::Map(entries) => map(entries),
        Value::Content(_) => 40,
        Value::Rows(rows) => rows.iter().flat_map(|row| &row.0).map(|(key, c)| key.len() + cell(c)).sum(),
    };
    let params = entries.iter().flat_map(|entry| &entry.params.0);
    params.map(|(key, of)| key.len() + value(of)).sum::<usize>() + entries.len() * 100
}

fn entry(
    draft: Draft,
    parts: &Parts<'_>,
    secrets: &mut SecretTable,
    contents: &mut Contents,
    diagnostics: &mut Diagnostics,
) -> Option<Entry> {
    let kind = &parts.data.library.kinds[draft.kind];
    if parts.in_folder && kind.info.schema().whole_system {
        let report = Diagnostic::error("lang::root", format!("`{}` needs a whole system", kind.schema.name))
            .label(draft.at, "in a folder")
            .help("the connection has `root=`: a folder that stands for `/`");
        diagnostics.push(draft.called.into_iter().fold(report, Diagnostic::called));
    }
    let unknown = draft.given.has_unknown();
    let params = values::params(&kind.schema, &draft.given, secrets, contents);
    let mut claims = Vec::new();
    let mut suffix = None;
    if !unknown && !draft.failed {
        match kind.info.check(&params) {
            Ok(checked) => {
                for warning in checked.warnings {
                    let report = Diagnostic::warning("lang::exposed", warning.message.clone());
                    diagnostics.push(placed(report, warning, &draft, kind));
                }
                (claims, suffix) = (checked.claims, checked.suffix);
            }
            Err(problems) => {
                for problem in problems {
                    let report = Diagnostic::error("lang::params", problem.sentence());
                    diagnostics.push(placed(report, problem, &draft, kind));
                }
                return None;
            }
        }
    }
    let shown = match (&draft.options.id, &draft.name, suffix) {
        (Some(id), _, _) => Some(id.text.to_string()),
        (None, Some(name), Some(suffix)) => {
            Some(format!("{name}: {}", suffix.trim_start_matches([':', ' '])))
        }
        (None, name, _) => name.as_ref().map(|name| name.to_string()),
    };
    let address = shown.map(|shown| Address::new(draft.module.as_deref(), &kind.schema.name, &shown));
    if let Some(address) = &address {
        claims.iter_mut().for_each(|claim| name_once(claim, address));
    }
    Some(Entry {
        address,
        aliases: Vec::new(),
        params,
        claims,
        bodies: vec![draft.body],
        modules: draft.module.iter().cloned().collect(),
        draft,
    })
}

/// The report of what a kind says of a resource, with the place of its parameter and the calls that led there.
fn placed(report: Diagnostic, problem: ParamProblem, draft: &Draft, kind: &Kind) -> Diagnostic {
    let param = problem.param.as_deref().and_then(|name| kind.schema.param(name));
    let slot = param.and_then(|param| draft.given.params[param].as_ref());
    let given = slot.map(|slot| slot.given.clone()).unwrap_or_default();
    let report = report.label(slot.map_or(draft.at, |slot| slot.at), "here").maybe_help(problem.help);
    draft.called.into_iter().fold(report.given(given.places()), Diagnostic::called)
}

/// Two resources that do not go together, with the calls of the modules that brought them there.
fn calls(report: Diagnostic, drafts: &[&Draft]) -> Diagnostic {
    let calls = drafts.iter().filter_map(|draft| draft.called);
    calls.fold(report, |report, call| report.context(call, "called here"))
}

/// What runs once for all hosts is known by its address and the key that its kind gives it.
fn name_once(claim: &mut Claim, address: &Address) {
    if let Some(key) = claim.as_once() {
        *claim = Claim::once(format!("{address} {key}"));
    }
}

/// Equal resources of different bodies become one; two that share an address and differ are an error.
fn unite(entries: Vec<Entry>, parts: &Parts<'_>, diagnostics: &mut Diagnostics) -> Vec<Entry> {
    let mut kept: Vec<Entry> = Vec::with_capacity(entries.len());
    let mut by_name: HashMap<(usize, Arc<str>), Vec<usize>> = HashMap::new();
    let mut by_address: HashMap<Address, usize> = HashMap::new();
    for entry in entries {
        let key = entry.draft.name.clone().map(|name| (entry.draft.kind, name));
        let known = key.as_ref().and_then(|key| by_name.get(key)).into_iter().flatten();
        let same_id = |other: &Entry| id(&other.draft) == id(&entry.draft);
        let equal =
            known.copied().find(|place| kept[*place].params == entry.params && same_id(&kept[*place]));
        if let Some(place) = equal.filter(|place| !kept[*place].bodies.contains(&entry.draft.body)) {
            if let Some(address) = &entry.address {
                by_address.entry(address.clone()).or_insert(place);
            }
            absorb(&mut kept[place], entry);
            continue;
        }
        if let Some(first) = entry.address.as_ref().and_then(|address| by_address.get(address)).copied() {
            if !(is_vague(&entry) || is_vague(&kept[first])) {
                diagnostics.push(twice(&kept[first], &entry, parts));
            }
            continue;
        }
        let place = kept.len();
        entry.address.iter().for_each(|address| {
            by_address.insert(address.clone(), place);
        });
        key.into_iter().for_each(|key| by_name.entry(key).or_default().push(place));
        kept.push(entry);
    }
    kept
}

/// Whether its address may turn out to be another one: it may not be there at all, or what its kind adds to the name to tell
/// two of them apart is not known.
pub(crate) fn is_vague(entry: &Entry) -> bool {
    let draft = &entry.draft;
    draft.maybe || id(draft).is_none() && (draft.failed || draft.given.has_unknown())
}

fn id(draft: &Draft) -> Option<&Arc<str>> {
    draft.options.id.as_ref().map(|id| &id.text)
}

fn absorb(into: &mut Entry, entry: Entry) {
    into.bodies.extend(entry.bodies);
    into.modules.extend(entry.modules);
    if let Some(address) = entry.address.filter(|address| Some(address) != into.address.as_ref()) {
        into.aliases.push(address);
    }
    let (options, other) = (&mut into.draft.options, entry.draft.options);
    options.after.extend(other.after);
    options.notify.extend(other.notify);
    options.tags.extend(other.tags);
    options.sensitive |= other.sensitive;
    options.may_fail &= other.may_fail;
    into.draft.maybe &= entry.draft.maybe;
}

fn twice(first: &Entry, second: &Entry, parts: &Parts<'_>) -> Diagnostic {
    let shown = second.address.as_ref().map_or("", Address::as_str);
    let report = Diagnostic::error("lang::duplicate", format!("`{shown}` is declared twice"))
        .label(second.draft.at, "and again here")
        .label(first.draft.at, "declared here");
    let kind = &parts.data.library.kinds[second.draft.kind].schema.name;
    let report = calls(report, &[&second.draft, &first.draft]);
    report.help(match first.params == second.params {
        true => "it stands twice in one body; keep one of them".to_owned(),
        false => format!("no block overrides another: make what differs a variable; if both are meant, give one an `id`: `{kind} … id=\"other\"`"),
    })
}

/// Two owners of one thing are an error that shows both.
fn claims(entries: &[Entry], diagnostics: &mut Diagnostics) {
    let mut named: HashMap<(&str, &str), usize> = HashMap::new();
    let mut paths: BTreeMap<&str, Vec<(usize, &Claim)>> = BTreeMap::new();
    let sure = entries.iter().enumerate().filter(|(_, entry)| !entry.draft.maybe);
    for (place, entry) in sure {
        for claim in &entry.claims {
            match claim {
                Claim::Named { space, name } => match named.get(&(space.as_str(), name.as_str())) {
                    Some(first) if *first != place => {
                        diagnostics.push(conflict(&entries[*first], entry, &claim.key()));
                    }
                    _ => {
                        named.insert((space, name), place);
                    }
                },
                Claim::Path { path, .. } => paths.entry(path).or_default().push((place, claim)),
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
        Diagnostic::error("lang::claim", format!("{} and {} both own {key}", shown(first), shown(second)))
            .label(second.draft.at, "one owner")
            .label(first.draft.at, "the other")
            .help("one thing has one owner; `line`, `block` and `ini` share a file that sets no content");
    calls(report, &[&second.draft, &first.draft])
}

type Edges = (Vec<Vec<usize>>, Vec<Vec<Notify>>);

/// Whom each waits for and notifies, as places in `entries`.
fn edges(entries: &[Entry], parts: &Parts<'_>, diagnostics: &mut Diagnostics) -> Edges {
    let targets = Targets::new(entries, parts);
    let mut after = vec![Vec::new(); entries.len()];
    let mut notify = vec![Vec::new(); entries.len()];
    for (place, entry) in entries.iter().enumerate() {
        for named in &entry.draft.options.after {
            // What a module waits for as a whole never holds back itself.
            let found = resolve(&targets, &named.text, named, diagnostics);
            after[place].extend(found.into_iter().flat_map(Place::all));
        }
        after[place].sort_unstable();
        after[place].dedup();
        for named in &entry.draft.options.notify {
            let (address, how) = how(&named.text);
            let Some(found) = resolve(&targets, address, named, diagnostics) else { continue };
            for target in targets.notifiable(found, named, diagnostics) {
                let target = Notify { target: target as u32, how };
                if !notify[place].contains(&target) {
                    notify[place].push(target);
                }
            }
        }
    }
    (after, notify)
}

fn resolve(
    targets: &Targets<'_>,
    address: &str,
    named: &Named,
    diagnostics: &mut Diagnostics,
) -> Option<Place> {
    match targets.find(address, named.within.as_deref()) {
        Ok(found) => found,
        Err(help) => {
            diagnostics.push(
                Diagnostic::error("lang::address", format!("there is no `{address}` on this host"))
                    .label(named.at, "named here")
                    .maybe_help(help),
            );
            None
        }
    }
}

fn cycle_report(entries: &[Entry], cycle: &[usize]) -> Diagnostic {
    let shown = |place: usize| entries[place].address.as_ref().map_or_else(String::new, ToString::to_string);
    let mut path: Vec<String> = cycle.iter().map(|place| shown(*place)).collect();
    path.extend(cycle.first().map(|place| shown(*place)));
    let mut report =
        Diagnostic::error("lang::cycle", format!("resources wait for each other: {}", path.join(" -> ")));
    for (at, place) in cycle.iter().enumerate() {
        let draft = &entries[*place].draft;
        let span: Span = draft.options.after.first().map_or(draft.at, |named| named.at);
        report = report.label(span, format!("waits for {}", path[at + 1]));
    }
    report.help("leave one `after` out; resources run in the order written")
}

/// Puts the entries in their final order.
fn place(
    entries: Vec<Entry>,
    order: &[usize],
    after: &[Vec<usize>],
    notify: &[Vec<Notify>],
    parts: &Parts<'_>,
    selection: &Selection,
) -> Vec<Resource> {
    let mut places = vec![0_u32; order.len()];
    order.iter().enumerate().for_each(|(at, entry)| places[*entry] = at as u32);
    let mut entries: Vec<Option<Entry>> = entries.into_iter().map(Some).collect();
    let mut resources = Vec::with_capacity(order.len());
    for at in order {
        let Some(entry) = entries[*at].take() else { continue };
        let kind = &parts.data.library.kinds[entry.draft.kind].schema.name;
        let mut after: Vec<u32> = after[*at].iter().map(|need| places[*need]).collect();
        after.sort_unstable();
        let moved = |notify: &Notify| Notify { target: places[notify.target as usize], how: notify.how };
        let options = options(&entry, parts.drift, selection);
        resources.push(Resource {
            // In a check the names of some are unknown; such a catalog is looked at by nobody.
            address: entry.address.unwrap_or_else(|| Address::new(None, kind, "?")),
            aliases: entry.aliases,
            kind: kind.clone(),
            params: entry.params,
            claims: entry.claims,
            bodies: entry.bodies,
            after,
            notify: notify[*at].iter().map(moved).collect(),
            options,
        });
    }
    resources
}

fn options(entry: &Entry, drift: DriftMode, selection: &Selection) -> ModelOptions {
    let options = &entry.draft.options;
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
        |tags: &[String]| entry.draft.options.tags.iter().any(|tag| tags.iter().any(|t| **t == **tag));
    let named = |only: &String| {
        let addresses = entry.address.iter().chain(&entry.aliases);
        addresses.map(Address::as_str).any(|address| address == only)
            || entry.modules.iter().any(|module| is_module(module, only))
    };
    (selection.tags.is_empty() || tagged(&selection.tags))
        && !tagged(&selection.skip_tags)
        && (selection.only.is_empty() || selection.only.iter().any(named))
}

/// Whether `wanted` names the module instance: in full, or by the module alone.
pub(crate) fn is_module(instance: &str, wanted: &str) -> bool {
    instance == wanted || instance.strip_prefix(wanted).is_some_and(|rest| rest.starts_with('['))
}

/// Whether a parameter of a resource is true.
pub(crate) fn is_true(entry: &Entry, param: &str) -> bool {
    matches!(entry.params.get(param), Some(Value::Scalar(Scalar::Bool(true))))
}
