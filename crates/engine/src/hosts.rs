//! The interface from the engine to the hosts of a run: a trait, and its implementation with a fleet. This file also
//! converts an inventory's connection settings into the fleet's.

use std::collections::HashMap;
use std::future::Future;
use std::path::{Path, PathBuf};

use converge_fleet::{
    Ask, CompileError, Fleet, Host, HostError, Prepared, Reach, SshSettings, Target, Traffic,
};
use converge_lang::{Connection, Inventory, Transport};
use converge_model::{AdHoc, Answer, Digest, Facts, HostName, HostPlan, HostReport, Masker, Ran};

/// Makes the desired state of a host from its facts.
pub type Compile = Box<dyn FnOnce(&Facts) -> Result<Prepared, CompileError> + Send>;

/// The requests of a run to its hosts.
pub trait Hosts: Send + Sync + 'static {
    /// Looks at a host. Changes nothing.
    fn look(
        &self,
        host: &HostName,
        ask: Ask,
        compile: Compile,
    ) -> impl Future<Output = Result<HostPlan, HostError>> + Send;

    /// Seconds by which the clock of a host was ahead at the last contact. Negative if it is behind.
    fn skew(&self, host: &HostName) -> i64;

    /// Carries out the plan with the digest `token`.
    fn act(
        &self,
        host: &HostName,
        ask: Ask,
        token: Digest,
        compile: Compile,
    ) -> impl Future<Output = Result<HostReport, HostError>> + Send;
}

/// Makes the masker of a host from its facts, before a command runs there. The masker removes secrets from the
/// output.
pub type Learn = Box<dyn FnOnce(&Facts) -> Masker + Send>;

/// Requests to hosts without catalogs.
pub trait AdHocHosts: Send + Sync + 'static {
    /// Runs a command. Returns None if the run was stopped before the command began.
    fn exec(
        &self,
        host: &HostName,
        ask: Ask,
        asked: AdHoc,
        learn: Learn,
    ) -> impl Future<Output = Result<Option<Ran>, HostError>> + Send;

    /// Asks whether a host answers.
    fn ping(&self, host: &HostName, ask: Ask) -> impl Future<Output = Result<Answer, HostError>> + Send;
}

/// The hosts of an inventory, reached through a fleet.
pub struct FleetHosts(HashMap<HostName, Host>);

impl FleetHosts {
    /// Creates `hosts` of `inventory`. If a rollout has gates, creates all hosts, because gates may run on any of
    /// them. The project is in `root`. Connects to no host yet.
    pub fn new(fleet: &Fleet, inventory: &Inventory, root: &Path, hosts: &[HostName]) -> Self {
        let host = |name: &HostName| fleet.host(target(name, &inventory.connection(name), root));
        let has_gates = inventory.rollouts().iter().any(|rollout| !rollout.gates.is_empty());
        let beside = inventory.hosts().filter(|_| has_gates);
        Self(hosts.iter().chain(beside).map(|name| (name.clone(), host(name))).collect())
    }

    /// Returns the facts of a host.
    pub async fn facts(&self, host: &HostName) -> Result<Facts, HostError> {
        self.get(host)?.facts().await
    }

    /// Returns the cost of the conversations with a host so far. Zero for a host that is not in the run.
    pub fn traffic(&self, host: &HostName) -> Traffic {
        self.0.get(host).map(Host::traffic).unwrap_or_default()
    }

    /// Ends the connections that are not kept for later runs.
    pub async fn close(self) {
        for host in self.0.into_values() {
            host.close().await;
        }
    }

    fn get(&self, host: &HostName) -> Result<&Host, HostError> {
        self.0.get(host).ok_or_else(|| HostError::Start(format!("{host} is not one of the run's hosts")))
    }
}

impl Hosts for FleetHosts {
    async fn look(&self, host: &HostName, ask: Ask, compile: Compile) -> Result<HostPlan, HostError> {
        self.get(host)?.look(&ask, compile).await.map(|(_, plan)| plan)
    }

    fn skew(&self, host: &HostName) -> i64 {
        self.0.get(host).map(Host::skew).unwrap_or_default()
    }

    async fn act(
        &self,
        host: &HostName,
        ask: Ask,
        token: Digest,
        compile: Compile,
    ) -> Result<HostReport, HostError> {
        self.get(host)?.act(&ask, token, compile).await
    }
}

impl AdHocHosts for FleetHosts {
    async fn exec(
        &self,
        host: &HostName,
        ask: Ask,
        asked: AdHoc,
        learn: Learn,
    ) -> Result<Option<Ran>, HostError> {
        self.get(host)?.exec(&ask, asked, learn).await
    }

    async fn ping(&self, host: &HostName, ask: Ask) -> Result<Answer, HostError> {
        self.get(host)?.ping(&ask).await
    }
}

/// Returns the fleet's settings for a host. Relative paths start at `project`, the folder of the project.
pub fn target(name: &HostName, connection: &Connection, project: &Path) -> Target {
    let (reach, root) = match &connection.transport {
        Transport::Local { root } => (Reach::Local, root.as_ref().map(|root| project.join(root))),
        Transport::Ssh => (Reach::Ssh(ssh(name, connection, project)), None),
    };
    Target { name: name.clone(), reach, escalation: connection.escalation, root }
}

fn ssh(name: &HostName, connection: &Connection, project: &Path) -> SshSettings {
    SshSettings {
        address: connection.address.clone().unwrap_or_else(|| name.to_string()),
        user: connection.user.clone(),
        port: connection.port,
        key: connection.key.as_deref().map(|key| key_file(key, project, std::env::home_dir())),
        jump: connection.jump.clone(),
    }
}

/// Returns the file that `key=` names: below the user's home if it starts with `~/`, otherwise absolute or relative
/// to the project.
fn key_file(key: &str, project: &Path, home: Option<PathBuf>) -> PathBuf {
    match (key.strip_prefix("~/"), home) {
        (Some(rest), Some(home)) => home.join(rest),
        _ => project.join(key),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_the_users_the_systems_or_the_projects() {
        let check = |key: &str, file: &str| {
            let found = key_file(key, Path::new("/project"), Some("/home/ada".into()));
            assert_eq!(found, Path::new(file));
        };
        check("~/.ssh/id", "/home/ada/.ssh/id");
        check("/etc/key", "/etc/key");
        check("keys/id", "/project/keys/id");
        check("~bob/id", "/project/~bob/id");
    }

    #[test]
    fn a_host_without_an_address_is_reached_by_its_name() {
        let name = HostName::new("web1").unwrap();
        let found = target(&name, &Connection::default(), Path::new("/p"));
        assert!(matches!(found.reach, Reach::Ssh(SshSettings { address, .. }) if address == "web1"));
        let local = Transport::Local { root: Some("sandbox".to_owned()) };
        let found = target(&name, &Connection { transport: local, ..Connection::default() }, Path::new("/p"));
        assert_eq!((found.reach, found.root), (Reach::Local, Some("/p/sandbox".into())));
    }
}
