//! Hosts and groups: expands ranges, nests groups, and finds the hosts of a pattern.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use converge_model::HostName;

use crate::project::declarations::{Declarations, DeclaredHost};
use crate::project::precedence::{Layer, Level};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Span};
use crate::source::ids::{DeclaredHostId, GroupId, HostId, Table};
use crate::syntax::host_pattern::{Pattern, Universe};
use crate::syntax::name_range::{self, PairError, RangeError};
use crate::syntax::parse::{Literal, Origin, Written};

/// The most hosts of an inventory.
pub(crate) const HOSTS: usize = 10_000;

/// A host.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) name: HostName,
    pub(crate) at: Span,
    /// `address=`: an address of an expanded range, or a text that may be a template.
    pub(crate) address: Option<Written>,
    /// The node that defines it.
    pub(crate) node: DeclaredHostId,
    /// All groups of the host.
    pub(crate) groups: BTreeSet<GroupId>,
}

/// A group.
#[derive(Debug)]
pub(crate) struct Group {
    pub(crate) name: Arc<str>,
    pub(crate) at: Span,
    /// All hosts in it, including those of inner groups, in the order of the inventory.
    pub(crate) hosts: BTreeSet<HostId>,
    /// The groups directly inside the group.
    pub(crate) inner: BTreeSet<GroupId>,
}

/// All hosts and groups.
#[derive(Debug, Default)]
pub(crate) struct Membership {
    pub(crate) hosts: Table<HostId, Host>,
    pub(crate) groups: Table<GroupId, Group>,
    /// For each group, all groups that contain it, directly or indirectly.
    pub(crate) outer: Table<GroupId, HashSet<GroupId>>,
    names: Vec<String>,
    by_name: HashMap<String, HostId>,
    groups_by_name: HashMap<String, GroupId>,
}

impl Universe for Membership {
    fn hosts(&self) -> &[String] {
        &self.names
    }

    fn groups(&self) -> Vec<&str> {
        self.groups.iter().map(|group| &*group.name).collect()
    }

    fn members(&self, group: &str) -> Option<Vec<HostId>> {
        let group = self.groups_by_name.get(group)?;
        Some(self.groups[*group].hosts.iter().copied().collect())
    }
}

impl Membership {
    /// Returns the host called `name`.
    pub(crate) fn host(&self, name: &str) -> Option<HostId> {
        self.by_name.get(name).copied()
    }

    /// Returns the group called `name`.
    pub(crate) fn group(&self, name: &str) -> Option<GroupId> {
        self.groups_by_name.get(name).copied()
    }

    /// Returns the groups of a host, inner groups first.
    pub(crate) fn groups_of(&self, host: HostId) -> Vec<GroupId> {
        let mut groups: Vec<GroupId> = self.hosts[host].groups.iter().copied().collect();
        groups.sort_by_key(|group| std::cmp::Reverse(self.outer[*group].len()));
        groups
    }

    /// Returns the layers that apply to a host: those of `all` that match, and `own`, the layers of its node.
    pub(crate) fn layers_of<'a>(&self, host: HostId, all: &'a [Layer], own: &'a [Layer]) -> Vec<&'a Layer> {
        let groups = &self.hosts[host].groups;
        let counts = |layer: &&Layer| match layer.level {
            Level::Group(group) => groups.contains(&group),
            Level::Inventory | Level::Host | Level::Set => true,
        };
        all.iter().filter(counts).chain(own).collect()
    }

    /// Returns the hosts that match the arguments of a node. Adds a note for each pattern without a match.
    pub(crate) fn select(&self, patterns: &[Written], diagnostics: &mut Diagnostics) -> Vec<HostId> {
        let Some(texts) = texts(patterns, diagnostics) else { return Vec::new() };
        let errors = match Pattern::parse(&texts).map_err(|error| vec![error]).and_then(|p| p.select(self)) {
            Ok(selected) => {
                for (argument, words) in selected.notes {
                    let note =
                        Diagnostic::note(Code::EmptyMatch, words).label(patterns[argument].at, "no host");
                    diagnostics.push(note);
                }
                return selected.hosts;
            }
            Err(errors) => errors,
        };
        for error in errors {
            let at = patterns.get(error.argument).or(patterns.first()).map(|pattern| pattern.at);
            let report = Diagnostic::error(Code::Pattern, error.message).maybe_help(error.help);
            diagnostics.push(match at {
                Some(at) => report.label(at, "here"),
                None => report,
            });
        }
        Vec::new()
    }
}

/// Returns patterns as plain texts. Templates are not allowed in them.
fn texts(patterns: &[Written], diagnostics: &mut Diagnostics) -> Option<Vec<Arc<str>>> {
    let mut texts = Vec::with_capacity(patterns.len());
    for pattern in patterns {
        match pattern.plain_text() {
            Some(text) if pattern.origin == Origin::Plain && !crate::template::is_template(text) => {
                texts.push(text.clone());
            }
            // The mistake was already reported.
            _ if pattern.literal == Literal::Broken => {}
            _ => diagnostics.push(
                Diagnostic::error(Code::Pattern, "names and patterns of hosts must be plain strings")
                    .label(pattern.at, "not a plain string")
                    .help("use a variable for a value that differs between hosts; write host names in full"),
            ),
        }
    }
    (texts.len() == patterns.len()).then_some(texts)
}

/// Expands ranges and determines the nesting of groups.
pub(crate) fn build(declarations: &Declarations, diagnostics: &mut Diagnostics) -> Membership {
    let mut membership = Membership::default();
    for (node, written) in declarations.hosts.entries() {
        membership.spread(node, written, diagnostics);
    }
    for (id, group) in declarations.groups.entries() {
        membership.add_group(id, group, diagnostics);
    }
    let order = Nesting::read(declarations, &membership).order(declarations, &mut membership, diagnostics);
    for group in order {
        membership.fill(group, declarations, diagnostics);
    }
    membership
}

impl Membership {
    fn spread(&mut self, node: DeclaredHostId, written: &DeclaredHost, diagnostics: &mut Diagnostics) {
        for name in &written.names {
            let Some(texts) = texts(std::slice::from_ref(name), diagnostics) else { continue };
            match spread(&texts[0], name, written.address.as_ref(), diagnostics) {
                Some(hosts) => {
                    if self.hosts.len() + hosts.len() > HOSTS {
                        return too_many(name.at, diagnostics);
                    }
                    for (host, address) in hosts {
                        self.add_host(&host, address, name.at, node, diagnostics);
                    }
                }
                None => continue,
            }
        }
    }

    fn add_host(
        &mut self,
        name: &str,
        address: Option<Written>,
        at: Span,
        node: DeclaredHostId,
        diagnostics: &mut Diagnostics,
    ) {
        let host = match HostName::new(name) {
            Ok(host) => host,
            Err(error) => {
                let report = Diagnostic::error(Code::HostName, error.to_string())
                    .label(at, "in this name")
                    .maybe_help(with_port(name));
                return diagnostics.push(report);
            }
        };
        if let Some(first) = self.by_name.get(name) {
            return diagnostics.push(
                Diagnostic::error(Code::Duplicate, format!("the host `{name}` is defined twice"))
                    .label(at, "and again here")
                    .label(self.hosts[*first].at, "defined here")
                    .help("to put a defined host into another group, write `members` there"),
            );
        }
        let id = self.hosts.push(Host { name: host, at, address, node, groups: BTreeSet::new() });
        self.by_name.insert(name.to_owned(), id);
        self.names.push(name.to_owned());
    }

    fn add_group(
        &mut self,
        id: GroupId,
        written: &crate::project::declarations::DeclaredGroup,
        diagnostics: &mut Diagnostics,
    ) {
        let name = &written.name;
        if let Err(error) = HostName::new(&**name) {
            let message = error.to_string().replace("a host name", "the name of a group");
            diagnostics.push(Diagnostic::error(Code::GroupName, message).label(written.at, "in this name"));
        }
        if let Some(host) = self.by_name.get(&**name) {
            diagnostics.push(
                Diagnostic::error(Code::Duplicate, format!("`{name}` is a group and a host"))
                    .label(written.at, "the group")
                    .label(self.hosts[*host].at, "the host")
                    .help("hosts and groups share one name space"),
            );
        }
        self.groups_by_name.insert(name.to_string(), id);
        self.groups.push(Group {
            name: name.clone(),
            at: written.at,
            hosts: BTreeSet::new(),
            inner: BTreeSet::new(),
        });
        self.outer.push(HashSet::new());
    }

    /// Fills a group. Its inner groups must be filled already.
    fn fill(&mut self, group: GroupId, declarations: &Declarations, diagnostics: &mut Diagnostics) {
        let mut hosts: BTreeSet<HostId> = BTreeSet::new();
        for members in &declarations.groups[group].members {
            hosts.extend(self.select(members, diagnostics));
        }
        let own = |host: &Host| declarations.hosts[host.node].group == Some(group);
        hosts.extend(self.hosts.entries().filter(|(_, host)| own(host)).map(|(id, _)| id));
        for inner in self.groups[group].inner.clone() {
            hosts.extend(&self.groups[inner].hosts);
        }
        for host in &hosts {
            self.hosts[*host].groups.insert(group);
        }
        self.groups[group].hosts = hosts;
    }
}

fn too_many(at: Span, diagnostics: &mut Diagnostics) {
    diagnostics.push(
        Diagnostic::error(Code::Limit, format!("the inventory has more than {HOSTS} hosts"))
            .label(at, "with this node"),
    );
}

/// Returns the names of one argument of `host`, each with its address.
fn spread(
    text: &str,
    name: &Written,
    address: Option<&Written>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(String, Option<Written>)>> {
    // An address with a bracket is a range. Any other address may be a template and is kept.
    let ranged = address.filter(|written| written.plain_text().is_some_and(|text| text.contains('[')));
    let spread = match ranged.and_then(Written::plain_text) {
        Some(addresses) => name_range::expand_pair(text, addresses).map(|pairs| {
            let of = |address: String| {
                ranged.map(|written| Written { literal: Literal::Text(address.into()), ..written.clone() })
            };
            pairs.into_iter().map(|(name, address)| (name, of(address))).collect()
        }),
        None => name_range::expand(text)
            .map(|names| names.into_iter().map(|name| (name, address.cloned())).collect())
            .map_err(PairError::Name),
    };
    let (error, at) = match spread {
        Ok(spread) => return one_address(spread, name, address, diagnostics),
        Err(PairError::Name(error)) => (error, name.at),
        Err(PairError::Address(error)) => (error, address.map_or(name.at, |written| written.at)),
    };
    let RangeError { span, message, help } = error;
    let at = inside(at, &span);
    diagnostics.push(Diagnostic::error(Code::Range, message).label(at, "here").maybe_help(help));
    None
}

/// Refuses one plain address for several hosts.
fn one_address(
    spread: Vec<(String, Option<Written>)>,
    name: &Written,
    address: Option<&Written>,
    diagnostics: &mut Diagnostics,
) -> Option<Vec<(String, Option<Written>)>> {
    let plain = address.and_then(Written::plain_text);
    if let (Some(address), Some(text)) = (address, plain)
        && spread.len() > 1
        && !text.contains('[')
        && !crate::template::is_template(text)
    {
        diagnostics.push(
            Diagnostic::error(Code::Range, format!("{} hosts have the same address", spread.len()))
                .label(address.at, "one")
                .label(name.at, "several")
                .help("give the address a range too: `address=\"10.0.0.[11..30]\"`"),
        );
        return None;
    }
    Some(spread)
}

/// Returns the span of a part of a quoted text.
fn inside(at: Span, part: &std::ops::Range<usize>) -> Span {
    if part.is_empty() || part.end + 2 > at.len {
        at
    } else {
        Span::new(at.file, at.start + 1 + part.start, part.len())
    }
}

/// The nesting of groups, as written and through `members`.
struct Nesting {
    /// For each group, the groups directly inside it, and where this is written.
    inner: Table<GroupId, Vec<(GroupId, Span)>>,
}

impl Nesting {
    fn read(declarations: &Declarations, membership: &Membership) -> Self {
        let mut inner: Table<GroupId, Vec<(GroupId, Span)>> =
            declarations.groups.iter().map(|_| Vec::new()).collect();
        for (id, group) in declarations.groups.entries() {
            for (outer, at) in &group.outer {
                inner[*outer].push((id, *at));
            }
            for member in group.members.iter().flatten() {
                let Some(text) = member.plain_text() else { continue };
                let named = membership.groups.entries().filter(|(_, other)| matches_whole(text, &other.name));
                inner[id]
                    .extend(named.map(|(other, _)| (other, member.at)).filter(|(other, _)| *other != id));
                if matches_exactly(text, &group.name) {
                    inner[id].push((id, member.at));
                }
            }
        }
        Self { inner }
    }

    /// Returns the groups so that each comes after its inner groups. Fills `inner` and `outer` of the membership. A
    /// cycle is reported and cut.
    fn order(
        &self,
        declarations: &Declarations,
        membership: &mut Membership,
        diagnostics: &mut Diagnostics,
    ) -> Vec<GroupId> {
        let mut state: Table<GroupId, State> = self.inner.iter().map(|_| State::New).collect();
        let mut order = Vec::with_capacity(self.inner.len());
        for start in self.inner.ids() {
            // Use an explicit stack instead of recursion: the inventory determines how deep groups nest.
            let mut stack: Vec<(GroupId, usize)> = Vec::new();
            if state[start] == State::New {
                state[start] = State::Open;
                stack.push((start, 0));
            }
            while let Some((group, next)) = stack.last_mut() {
                let Some((inner, at)) = self.inner[*group].get(*next).copied() else {
                    state[*group] = State::Done;
                    order.push(*group);
                    stack.pop();
                    continue;
                };
                *next += 1;
                match state[inner] {
                    State::Done => {
                        membership.groups[*group].inner.insert(inner);
                    }
                    State::New => {
                        membership.groups[*group].inner.insert(inner);
                        state[inner] = State::Open;
                        stack.push((inner, 0));
                    }
                    State::Open => self.cycle(&stack, inner, at, declarations, diagnostics),
                }
            }
        }
        for group in order.iter().rev() {
            let mut above = membership.outer[*group].clone();
            above.insert(*group);
            for inner in membership.groups[*group].inner.clone() {
                membership.outer[inner].extend(&above);
            }
        }
        order
    }

    fn cycle(
        &self,
        stack: &[(GroupId, usize)],
        to: GroupId,
        at: Span,
        declarations: &Declarations,
        diagnostics: &mut Diagnostics,
    ) {
        let from = stack.iter().position(|(group, _)| *group == to).unwrap_or(0);
        let name = |group: GroupId| &declarations.groups[group].name;
        let mut report = Diagnostic::error(Code::Cycle, format!("the group `{}` is inside itself", name(to)))
            .label(
                at,
                format!("`{}` is inside `{}`", name(to), stack.last().map_or("", |(group, _)| name(*group))),
            );
        for pair in stack[from..].windows(2) {
            let edge = self.inner[pair[0].0].iter().find(|(inner, _)| *inner == pair[1].0);
            if let Some((_, at)) = edge {
                report = report.label(*at, format!("`{}` is inside `{}`", name(pair[1].0), name(pair[0].0)));
            }
        }
        diagnostics.push(report);
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    New,
    Open,
    Done,
}

fn matches_exactly(pattern: &str, name: &str) -> bool {
    pattern == name
}

/// Whether a pattern without operators matches a whole name. `*` matches any text.
fn matches_whole(pattern: &str, name: &str) -> bool {
    if pattern.starts_with('!') || pattern.contains('&') {
        return false;
    }
    let mut parts = pattern.split('*');
    let first = parts.next().unwrap_or_default();
    let Some(mut rest) = name.strip_prefix(first) else { return false };
    let mut parts: Vec<&str> = parts.collect();
    let Some(last) = parts.pop() else { return rest.is_empty() };
    for part in parts {
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    rest.ends_with(last)
}
/// Returns help for a name that contains a user or a port: `admin@db1:2222`.
fn with_port(name: &str) -> Option<String> {
    let (user, rest) = name.split_once('@').map_or((None, name), |(user, rest)| (Some(user), rest));
    let (bare, port) = rest.split_once(':').map_or((rest, None), |(bare, port)| (bare, Some(port)));
    let user = user.map(|user| format!(" user=\"{user}\""));
    let port = port.filter(|port| port.parse::<u16>().is_ok()).map(|port| format!(" port={port}"));
    let settings: String = [user, port].into_iter().flatten().collect();
    (!settings.is_empty()).then(|| format!("write `host \"{bare}\" {{ connection{settings} }}`"))
}
