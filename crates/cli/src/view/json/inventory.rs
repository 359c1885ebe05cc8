//! The hosts, groups, rollouts and variables of an inventory.

use std::time::Duration;

use converge_lang::inventory::{Description, GroupDescription, HostDescription};
use converge_lang::{Definition, Explanation, Transport};
use converge_model::catalog::DriftMode;
use converge_model::{Become, HostName};
use serde::Serialize;
use serde_json::Value;

use super::facts::parsed;

/// The whole inventory.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Inventory<'a> {
    project: &'a str,
    hosts: Vec<Host<'a>>,
    groups: Vec<Group<'a>>,
    rollouts: Vec<Rollout<'a>>,
}

/// A host.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Host<'a> {
    name: &'a str,
    groups: &'a [String],
    connection: Connection<'a>,
    drift: Policy<'a>,
    after: Vec<&'a str>,
    #[serde(flatten)]
    place: Written<'a>,
}

/// The place of a node in a file.
#[derive(Serialize)]
struct Written<'a> {
    file: Option<&'a str>,
    line: Option<usize>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Connection<'a> {
    transport: &'static str,
    root: Option<&'a str>,
    address: Option<&'a str>,
    user: Option<&'a str>,
    port: Option<u16>,
    key: Option<&'a str>,
    jump: Option<&'a str>,
    r#become: Become,
}

/// The drift policy of a host.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Policy<'a> {
    mode: DriftMode,
    every_seconds: Option<u64>,
    splay_seconds: Option<u64>,
    cron: Option<&'a str>,
    zone: Option<&'a str>,
    windows: Vec<String>,
    max_share: Option<String>,
    fight_after: Option<u32>,
    fight_within_seconds: Option<u64>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Group<'a> {
    name: &'a str,
    hosts: Vec<&'a str>,
    groups: &'a [String],
    #[serde(flatten)]
    place: Written<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct Rollout<'a> {
    name: &'a str,
    hosts: Vec<&'a str>,
    canary_count: Option<u32>,
    canary_hosts: Vec<&'a str>,
    batch: Option<String>,
    max_failures: Option<String>,
    wait_ms: u64,
    gates: Vec<&'static str>,
    retries: u32,
    every_ms: u64,
    #[serde(flatten)]
    place: Written<'a>,
}

/// A variable of a host, and the source of its value.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) struct Variable<'a> {
    host: &'a str,
    variable: &'a str,
    value: Option<Value>,
    definitions: Vec<OneDefinition<'a>>,
}

#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
struct OneDefinition<'a> {
    key: &'a str,
    level: &'a str,
    file: Option<&'a str>,
    line: Option<usize>,
    written: &'a str,
    wins: bool,
}

impl<'a> From<&'a Description> for Inventory<'a> {
    fn from(description: &'a Description) -> Self {
        Self {
            project: &description.project,
            hosts: description.hosts.iter().map(Host::from).collect(),
            groups: description.groups.iter().map(Group::from).collect(),
            rollouts: description.rollouts.iter().map(Rollout::from).collect(),
        }
    }
}

impl<'a> From<&'a HostDescription> for Host<'a> {
    fn from(host: &'a HostDescription) -> Self {
        Self {
            name: host.name.as_str(),
            groups: &host.groups,
            connection: Connection::from(&host.connection),
            drift: Policy::from(&host.drift),
            after: names(&host.after),
            place: Written::from(host.place.as_str()),
        }
    }
}

impl<'a> From<&'a converge_lang::Connection> for Connection<'a> {
    fn from(connection: &'a converge_lang::Connection) -> Self {
        let (transport, root) = match &connection.transport {
            Transport::Ssh => ("ssh", None),
            Transport::Local { root } => ("local", root.as_deref()),
        };
        Self {
            transport,
            root,
            address: connection.address.as_deref(),
            user: connection.user.as_deref(),
            port: connection.port,
            key: connection.key.as_deref(),
            jump: connection.jump.as_deref(),
            r#become: connection.escalation,
        }
    }
}

impl<'a> From<&'a converge_lang::DriftPolicy> for Policy<'a> {
    fn from(policy: &'a converge_lang::DriftPolicy) -> Self {
        let seconds = |time: Option<Duration>| time.map(|time| time.as_secs());
        Self {
            mode: policy.mode,
            every_seconds: seconds(policy.every),
            splay_seconds: seconds(policy.splay),
            cron: policy.cron.as_deref(),
            zone: policy.zone.as_deref(),
            windows: policy.windows.iter().map(ToString::to_string).collect(),
            max_share: policy.max_share.map(share),
            fight_after: policy.fight_after,
            fight_within_seconds: seconds(policy.fight_within),
        }
    }
}

impl<'a> From<&'a GroupDescription> for Group<'a> {
    fn from(group: &'a GroupDescription) -> Self {
        Self {
            name: &group.name,
            hosts: names(&group.hosts),
            groups: &group.groups,
            place: Written::from(group.place.as_str()),
        }
    }
}

impl<'a> From<&'a converge_lang::Rollout> for Rollout<'a> {
    fn from(rollout: &'a converge_lang::Rollout) -> Self {
        let (canary_count, canary_hosts) = match &rollout.canary {
            None => (None, Vec::new()),
            Some(converge_lang::Canary::Count(count)) => (Some(*count), Vec::new()),
            Some(converge_lang::Canary::Hosts(hosts)) => (None, names(hosts)),
        };
        Self {
            name: &rollout.name,
            hosts: names(&rollout.hosts),
            canary_count,
            canary_hosts,
            batch: rollout.batch.map(share),
            max_failures: rollout.max_failures.map(share),
            wait_ms: rollout.wait,
            gates: rollout.gates.iter().map(|gate| gate.word()).collect(),
            retries: rollout.retries,
            every_ms: rollout.every,
            place: Written::from(rollout.place.as_str()),
        }
    }
}

impl<'a> Host<'a> {
    /// Returns the variables of a host, one object each.
    pub(crate) fn variables(&self, explanations: &'a [Explanation]) -> Vec<Variable<'a>> {
        explanations.iter().map(|explanation| Variable::new(self.name, explanation)).collect()
    }
}

impl<'a> Variable<'a> {
    /// Creates a variable of a host.
    pub(crate) fn new(host: &'a str, explanation: &'a Explanation) -> Self {
        Self {
            host,
            variable: &explanation.variable,
            value: explanation.value.as_deref().map(parsed),
            definitions: explanation.definitions.iter().map(OneDefinition::from).collect(),
        }
    }
}

impl<'a> From<&'a Definition> for OneDefinition<'a> {
    fn from(definition: &'a Definition) -> Self {
        let file = definition.file.as_deref();
        Self {
            key: &definition.key,
            level: &definition.level,
            file,
            line: file.map(|_| definition.line),
            written: &definition.written,
            wins: definition.wins,
        }
    }
}

impl<'a> From<&'a str> for Written<'a> {
    /// Parses `file:line`.
    fn from(place: &'a str) -> Self {
        let found = place.rsplit_once(':');
        Self { file: found.map(|(file, _)| file), line: found.and_then(|(_, line)| line.parse().ok()) }
    }
}

/// Shows a share as `3` or `10%`.
fn share(share: converge_lang::Share) -> String {
    match share {
        converge_lang::Share::Count(count) => count.to_string(),
        converge_lang::Share::Percent(percent) => format!("{percent}%"),
    }
}

fn names(hosts: &[HostName]) -> Vec<&str> {
    hosts.iter().map(HostName::as_str).collect()
}
