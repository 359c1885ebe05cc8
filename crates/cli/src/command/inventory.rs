//! `converge inventory`.

use std::fmt::Write as _;

use clap::Args;
use converge_lang::Transport;
use converge_lang::inventory::{Description, GroupDescription, HostDescription};
use converge_model::{Become, exit};

use crate::arguments::ProjectArguments;
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;
use crate::view::json::{self, Document};
use crate::view::paint::{FAINT, STRONG, paint};
use crate::view::text::{count, fold_names, harmless};

/// Show the hosts and groups of an inventory
#[derive(Debug, Args)]
pub(crate) struct InventoryArgs {
    #[command(flatten)]
    project: ProjectArguments,
    /// Show a tree of groups
    #[arg(long, conflicts_with = "json")]
    graph: bool,
}

impl InventoryArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let opened = Opened::readable(&self.project, &mut screen)?;
        let description = Description { project: opened.name(), ..opened.inventory.describe() };
        match (screen.is_json(), self.graph) {
            (true, _) => screen.print_json(&Document::Inventory(json::Inventory::from(&description))),
            (false, true) => screen.print(&graph(&description)),
            (false, false) => screen.print(&table(&description)),
        }
        Ok(exit::OK)
    }
}

fn table(description: &Description) -> String {
    let Description { project, hosts, groups, rollouts } = description;
    let (of_hosts, of_groups) = (count(hosts.len(), "host"), count(groups.len(), "group"));
    let mut out = format!("{}  {of_hosts}, {of_groups}\n", paint(STRONG, harmless(project)));
    for group in groups {
        let members = fold_names(group.hosts.iter().map(|host| host.as_str()));
        let members = if members.is_empty() { "(empty)".to_owned() } else { members };
        let _ = writeln!(out, "  group {}  {members}", harmless(&group.name));
    }
    for host in hosts {
        let _ = writeln!(out, "  host {}  {}", host.name, paint(FAINT, reached(host)));
    }
    for rollout in rollouts {
        let members = fold_names(rollout.hosts.iter().map(|host| host.as_str()));
        let _ = writeln!(out, "  rollout {}  {members}", harmless(&rollout.name));
    }
    out
}

/// Describes how a host is reached.
pub(super) fn reached(host: &HostDescription) -> String {
    let connection = &host.connection;
    let mut words = match &connection.transport {
        Transport::Local { root: None } => "local".to_owned(),
        Transport::Local { root: Some(root) } => format!("local in {}", harmless(root)),
        Transport::Ssh => {
            let user = connection.user.as_ref().map(|user| format!("{user}@")).unwrap_or_default();
            let port = connection.port.map(|port| format!(":{port}")).unwrap_or_default();
            let address = connection.address.clone().unwrap_or_else(|| host.name.to_string());
            format!("ssh {}", harmless(&format!("{user}{address}{port}")))
        }
    };
    if let Some(jump) = &connection.jump {
        let _ = write!(words, " through {}", harmless(jump));
    }
    let escalation = Become::ALL.iter().find(|(_, how)| *how == connection.escalation);
    if let Some((name, _)) = escalation.filter(|(_, how)| *how != Become::None) {
        let _ = write!(words, ", {name}");
    }
    if !host.after.is_empty() {
        let _ = write!(words, ", after {}", fold_names(host.after.iter().map(|host| host.as_str())));
    }
    words
}

fn graph(description: &Description) -> String {
    let mut out = format!("{}\n", paint(STRONG, harmless(&description.project)));
    let inner: Vec<&String> = description.groups.iter().flat_map(|group| &group.groups).collect();
    let outermost = description.groups.iter().filter(|group| !inner.contains(&&group.name));
    let mut nodes: Vec<Node> = outermost.map(Node::Group).collect();
    nodes.extend(
        description
            .hosts
            .iter()
            .filter(|host| host.groups.is_empty())
            .map(|host| Node::Host(host.name.as_str())),
    );
    branches(&mut out, description, &nodes, "", &mut Vec::new());
    out
}

enum Node<'a> {
    Group(&'a GroupDescription),
    Host(&'a str),
}

/// Draws `nodes` below `indent`. `above` has the groups on the path, to prevent endless trees.
fn branches<'a>(
    out: &mut String,
    description: &'a Description,
    nodes: &[Node<'a>],
    indent: &str,
    above: &mut Vec<&'a str>,
) {
    for (place, node) in nodes.iter().enumerate() {
        let is_last = place + 1 == nodes.len();
        let (branch, below) = if is_last { ("└── ", "    ") } else { ("├── ", "│   ") };
        match node {
            Node::Host(name) => {
                let _ = writeln!(out, "{indent}{branch}{name}");
            }
            Node::Group(group) => {
                let _ = writeln!(out, "{indent}{branch}{}", paint(STRONG, harmless(&group.name)));
                if above.contains(&group.name.as_str()) {
                    continue;
                }
                above.push(&group.name);
                branches(out, description, &inside(description, group), &format!("{indent}{below}"), above);
                above.pop();
            }
        }
    }
}

/// Returns the groups directly inside a group, and its hosts that are in none of them.
fn inside<'a>(description: &'a Description, group: &'a GroupDescription) -> Vec<Node<'a>> {
    let inner: Vec<_> =
        description.groups.iter().filter(|other| group.groups.contains(&other.name)).collect();
    let own = group.hosts.iter().filter(|host| !inner.iter().any(|group| group.hosts.contains(host)));
    let hosts: Vec<_> = own.map(|host| Node::Host(host.as_str())).collect();
    inner.into_iter().map(Node::Group).chain(hosts).collect()
}
