//! The inventory: what the files of a project define for all hosts, before a host was reached.

use std::collections::HashMap;
use std::sync::Arc;

use converge_model::{Digest, HostName, Secret, SecretTable};
use rayon::iter::{IntoParallelIterator, IntoParallelRefIterator, ParallelIterator};
use serde::Serialize;

use crate::catalog::compile::{self, Compiled};
use crate::catalog::compiler::Compiler;
use crate::catalog::gates::{self, Gate};
use crate::catalog::selection::{Choices, Selection};
use crate::evaluate::explain::{self, Explanation};
use crate::evaluate::facts::{FactsOf, NoFacts};
use crate::evaluate::host_settings::{self, HostSettings};
use crate::project::declarations;
use crate::project::hosts::Host;
use crate::project::library::whole_library;
use crate::project::loader::Loader;
use crate::project::module::ModuleInfo;
use crate::project::{self, Data};
use crate::resolve::Resolved;
use crate::resolve::symbol::Symbol;
use crate::resolve::uses::Index;
use crate::settings::connection::{Connection, Transport};
use crate::settings::drift::DriftPolicy;
use crate::settings::rollout::{Moment, Rollout};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, FileId, Files};
use crate::source::ids::{GroupId, HostId, Id, Table};
use crate::syntax::host_pattern::Pattern;

/// The most resources of all hosts of a project together.
const ALL_RESOURCES: usize = 5_000_000;
/// The number of hosts in the sample for that limit.
const SAMPLED: usize = 16;

impl Loader {
    /// Reads the inventory at `entry`: a file, a folder whose `converge.kdl` names one, or a folder of `.kdl` files.
    /// `sets` are the `--set` options: name (with dots for a key of a map) and value.
    ///
    /// The diagnostics have every mistake that can be found without compiling a host. There is an inventory unless one
    /// of them is an error.
    pub fn load(&self, entry: &str, sets: &[(String, String)]) -> Loaded {
        let (data, mut diagnostics) = project::load(self, entry, sets);
        let files = Arc::clone(&data.files);
        let data = Arc::new(data);
        let hosts = host_settings::all(&data, &mut diagnostics);
        // From here on, mistakes are in bodies.
        let is_reachable = !diagnostics.has_errors();
        let resolved = Resolved::new(Arc::clone(&data), &mut diagnostics);
        let inventory = Inventory { data, compiler: Compiler::new(resolved), hosts };
        if !diagnostics.has_errors() {
            return Loaded { inventory: Some(inventory), mistaken: None, is_reachable, diagnostics, files };
        }
        // Report all mistakes in one run. But if a file could not be read, further mistakes would be guesses.
        let is_blind = diagnostics.iter().any(|diagnostic| diagnostic.code.is_blind());
        if !is_blind {
            diagnostics.extend(inventory.check());
        }
        let mistaken = (!is_blind).then_some(inventory);
        Loaded { inventory: None, mistaken, is_reachable, diagnostics, files }
    }

    /// Returns the name of the project at `entry`, as [`Inventory::project`] does. Mistakes in its files are ignored.
    pub fn project_name(&self, entry: &str) -> String {
        let (mut files, mut ignored) = (Files::default(), Diagnostics::default());
        let declarations = declarations::read(self, entry, &mut files, &mut ignored);
        declarations.project.unwrap_or_else(|| entry.to_owned())
    }

    /// Returns all modules by name: the built-in ones and those in the project's `modules/`.
    pub fn modules(&self) -> (Vec<ModuleInfo>, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let library = whole_library(self, &mut Files::default(), &mut diagnostics);
        (library.by_name().map(|module| library.modules[module].info()).collect(), diagnostics)
    }
}

/// The result of reading a project.
pub struct Loaded {
    /// The inventory. None if a mistake prevents it.
    pub inventory: Option<Inventory>,
    /// The inventory of a project with mistakes, if every file could be read. It lists hosts and variables. It must not
    /// be used to make a plan.
    pub mistaken: Option<Inventory>,
    /// Whether all hosts, connections and variables are as they are written: any mistakes are in bodies.
    pub is_reachable: bool,
    /// All mistakes and notes.
    pub diagnostics: Diagnostics,
    /// The files that the diagnostics refer to. The diagnostics of the inventory's methods refer to them, too.
    pub files: Arc<Files>,
}

/// The definitions in the files of a project.
pub struct Inventory {
    data: Arc<Data>,
    compiler: Compiler,
    hosts: Table<HostId, HostSettings>,
}

impl Inventory {
    /// Returns the files that its diagnostics refer to.
    pub fn files(&self) -> &Arc<Files> {
        &self.data.files
    }

    /// Returns the name of the project: `project` in `converge.kdl`, else the path of the inventory.
    pub fn project(&self) -> &str {
        &self.data.project
    }

    /// Returns all hosts, in the order of their definitions.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &HostName> {
        self.data.membership.hosts.iter().map(|host| &host.name)
    }

    /// Returns every group with its hosts, including hosts of inner groups.
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&HostName>)> {
        let membership = &self.data.membership;
        membership.groups.iter().map(|group| {
            (&*group.name, group.hosts.iter().map(|host| &membership.hosts[*host].name).collect())
        })
    }

    /// Returns the hosts that match `patterns`, in the order of the inventory. Patterns are written as after `--limit`:
    /// commas separate, `!` excludes. It is an error if no host matches.
    pub fn select(&self, patterns: &[String]) -> Result<Vec<HostName>, Diagnostics> {
        let mut diagnostics = Diagnostics::default();
        let membership = &self.data.membership;
        let line = patterns.join(",");
        match Pattern::parse_line(&line)
            .map_err(|error| vec![error])
            .and_then(|pattern| pattern.select(membership))
        {
            Ok(selected) if selected.hosts.is_empty() => {
                let report = Diagnostic::error(Code::EmptyMatch, format!("`{line}` matches 0 hosts"));
                diagnostics.push(report.help("`converge inventory` lists hosts and groups"));
            }
            Ok(selected) => {
                return Ok(self.names(&selected.hosts));
            }
            Err(errors) => {
                for error in errors {
                    diagnostics.push(Diagnostic::error(Code::Pattern, error.message).maybe_help(error.help));
                }
            }
        }
        Err(diagnostics)
    }

    /// Checks that each part of `selection` selects something on one of `hosts`, as far as this is known without facts.
    /// A name that does not exist is an error with the nearest name.
    pub fn choose(&self, selection: &Selection, hosts: &[HostName]) -> Result<(), Diagnostics> {
        if selection.is_everything() {
            return Ok(());
        }
        let facts: Arc<dyn FactsOf> = Arc::new(NoFacts);
        let compiled: Vec<Choices> = hosts
            .par_iter()
            .filter_map(|host| self.compile(host, &facts, selection).0)
            .map(|compiled| compiled.choices)
            .collect();
        let mut choices = Choices::default();
        compiled.into_iter().for_each(|of_host| choices.add(of_host));
        let mut diagnostics = Diagnostics::default();
        choices.missing(selection).into_iter().for_each(|report| diagnostics.push(report));
        if diagnostics.is_empty() { Ok(()) } else { Err(diagnostics) }
    }

    /// Returns how to reach a host. A host that is not in this inventory gets the default.
    pub fn connection(&self, host: &HostName) -> Connection {
        self.settings(host).map(|settings| settings.connection.clone()).unwrap_or_default()
    }

    /// Returns the daemon's settings for a host.
    pub fn drift(&self, host: &HostName) -> DriftPolicy {
        self.settings(host).map(|settings| settings.drift.clone()).unwrap_or_default()
    }

    /// Whether a block has resources for a host, as far as this is known without its facts.
    pub fn asks_for_anything(&self, host: &HostName) -> bool {
        let blocks = self.data.host(host).map(|host| self.data.blocks.of(host).iter());
        blocks.into_iter().flatten().any(|block| !self.data.declarations.blocks[*block].body.is_empty())
    }

    /// Returns the hosts that must be finished before `host` starts (`after=` on `on`).
    pub fn waits_for(&self, host: &HostName) -> Vec<HostName> {
        let Some(host) = self.data.host(host) else { return Vec::new() };
        self.names(&self.data.blocks.waits_for(host))
    }

    /// Returns the rollouts, in the order written. A host is in at most one.
    pub fn rollouts(&self) -> &[Rollout] {
        &self.data.rollouts
    }

    /// Returns every definition of a host's variable, and the one that wins. An unknown name is an error with the
    /// nearest name.
    pub fn explain(&self, host: &HostName, variable: &str) -> Result<Explanation, Diagnostics> {
        explain::explain(&self.data, host, variable)
    }

    /// Returns all variables of a host in alphabetical order; none for a host outside this inventory. A variable with a
    /// mistake is left out and reported in the diagnostics.
    pub fn explain_all(&self, host: &HostName) -> (Vec<Explanation>, Diagnostics) {
        self.data.host(host).map(|host| explain::explain_all(&self.data, host)).unwrap_or_default()
    }

    /// Returns the inventory as data, for `converge inventory`.
    pub fn describe(&self) -> Description {
        let membership = &self.data.membership;
        let name = |group: &GroupId| membership.groups[*group].name.to_string();
        let hosts = membership.hosts.entries().map(|(id, host)| HostDescription {
            name: host.name.clone(),
            groups: membership.groups_of(id).iter().map(name).collect(),
            connection: self.hosts[id].connection.clone(),
            drift: self.hosts[id].drift.clone(),
            after: self.names(&self.data.blocks.waits_for(id)),
            place: self.data.files.line(host.at),
        });
        let groups = membership.groups.iter().map(|group| GroupDescription {
            name: group.name.to_string(),
            hosts: group.hosts.iter().map(|host| membership.hosts[*host].name.clone()).collect(),
            groups: group.inner.iter().map(name).collect(),
            place: self.data.files.line(group.at),
        });
        Description {
            project: self.data.project.clone(),
            hosts: hosts.collect(),
            groups: groups.collect(),
            rollouts: self.data.rollouts.clone(),
        }
    }

    /// Returns everything that can be found without facts: the mistakes of all hosts, and the notes.
    ///
    /// Diagnostics of [`Loader::load`] are not repeated.
    pub fn check(&self) -> Diagnostics {
        let facts: Arc<dyn FactsOf> = Arc::new(NoFacts);
        if let Some(report) = self.too_much() {
            let mut diagnostics = Diagnostics::default();
            diagnostics.push(report);
            return diagnostics;
        }
        let hosts: Vec<HostId> = self.data.membership.hosts.ids().collect();
        let of_hosts: Vec<Diagnostics> = hosts
            .into_par_iter()
            .map(|host| {
                let mut own = compile::check(&self.compiler, host, &self.hosts[host], &facts).1;
                for moment in Moment::ALL {
                    own.extend(gates::compile(&self.compiler, host, moment, &self.hosts, &facts).1);
                }
                own
            })
            .collect();
        let mut diagnostics = Diagnostics::default();
        of_hosts.into_iter().for_each(|own| diagnostics.extend(own));
        self.data.secrets.check(&mut diagnostics);
        self.warn_of_shared_addresses(&mut diagnostics);
        diagnostics
    }

    /// Warns if two names have one address: probably they are one machine, and their resources would conflict. Reports
    /// each address once.
    fn warn_of_shared_addresses(&self, diagnostics: &mut Diagnostics) {
        let mut indices: HashMap<(String, Option<u16>, Option<&str>), usize> = HashMap::new();
        let mut addresses: Vec<(String, Vec<&Host>)> = Vec::new();
        for (host, settings) in self.data.membership.hosts.iter().zip(&self.hosts) {
            let connection = &settings.connection;
            if connection.transport != Transport::Ssh {
                continue;
            }
            let address = connection.address.clone().unwrap_or_else(|| host.name.to_string());
            let key = (address.clone(), connection.port, connection.jump.as_deref());
            let index = *indices.entry(key).or_insert(addresses.len());
            if index == addresses.len() {
                addresses.push((address, Vec::new()));
            }
            addresses[index].1.push(host);
        }
        for (address, hosts) in addresses.iter().filter(|(_, hosts)| hosts.len() > 1) {
            let message = format!("{} have the same address: {address}", names(hosts));
            let help = "a run that includes both names of one machine fails";
            let report = Diagnostic::warning(Code::OneAddress, message).label(hosts[1].at, "this name");
            diagnostics.push(report.help(help));
        }
    }

    /// Returns an error if all hosts together have more resources than a run can hold, estimated from a sample. If each
    /// host reads all others, the work grows with the square of the hosts. Checking each one would take minutes.
    fn too_much(&self) -> Option<Diagnostic> {
        let hosts = self.data.membership.hosts.len();
        if hosts < SAMPLED * SAMPLED {
            return None;
        }
        let facts: Arc<dyn FactsOf> = Arc::new(NoFacts);
        let of_sample: usize = (0..SAMPLED)
            .into_par_iter()
            .map(|sample| {
                let host = HostId::new(sample * hosts / SAMPLED);
                compile::check(&self.compiler, host, &self.hosts[host], &facts).0
            })
            .sum();
        let about = of_sample / SAMPLED * hosts;
        (about > ALL_RESOURCES).then(|| {
            let message =
                format!("{hosts} hosts have about {about} resources; the maximum is {ALL_RESOURCES}");
            let at = self.data.declarations.blocks.iter().next().map(|block| block.at);
            let report = Diagnostic::error(Code::Limit, message)
                .help("to list all hosts on each host, write one `file` whose template loops over `hosts`");
            at.into_iter().fold(report, |report, at| report.label(at, "among these"))
        })
    }

    /// Returns the catalog of `host`. The diagnostics are only those of this host. There is a catalog unless one is an
    /// error.
    ///
    /// If `facts` has no facts of the host itself, resources that depend on them are left out. If facts of another host
    /// are missing that the catalog reads, an error names that host.
    pub fn compile(
        &self,
        host: &HostName,
        facts: &Arc<dyn FactsOf>,
        selection: &Selection,
    ) -> (Option<Compiled>, Diagnostics) {
        match self.data.host(host) {
            Some(host) => compile::compile(&self.compiler, host, &self.hosts[host], facts, selection),
            None => {
                let mut diagnostics = Diagnostics::default();
                let message = format!("the inventory has no host `{host}`");
                diagnostics.push(Diagnostic::error(Code::HostName, message));
                (None, diagnostics)
            }
        }
    }

    /// Returns the actions of a rollout around `host` at `moment`, in order. There is a result unless one of the
    /// diagnostics is an error.
    pub fn gates(
        &self,
        host: &HostName,
        moment: Moment,
        facts: &Arc<dyn FactsOf>,
    ) -> (Option<Vec<Gate>>, Diagnostics) {
        match self.data.host(host) {
            Some(host) => gates::compile(&self.compiler, host, moment, &self.hosts, facts),
            None => (Some(Vec::new()), Diagnostics::default()),
        }
    }

    /// Returns the project files that were read, with their digests: inventories, modules, templates, and encrypted
    /// secrets. Files for hosts are not included; the catalogs have their digests.
    pub fn inputs(&self) -> Vec<(String, Digest)> {
        let files = (0..).map_while(|id| self.data.files.get(FileId(id)));
        let own =
            files.filter(|file| !file.name.starts_with("--set") && !file.name.starts_with("(built in)"));
        let mut inputs: Vec<(String, Digest)> =
            own.map(|file| (file.name.clone(), Digest::of(file.text.as_bytes()))).collect();
        for (path, _) in &self.data.declarations.secrets {
            let digest = self.data.loader.sources.digest(path);
            inputs.extend(digest.ok().map(|(digest, _)| (path.clone(), digest)));
        }
        inputs
    }

    /// Returns the files of secrets that the inventory names, as paths of the project. They may not exist.
    pub fn secret_files(&self) -> impl Iterator<Item = &str> {
        self.data.declarations.secrets.iter().map(|(path, _)| path.as_str())
    }

    /// Returns all secrets of the project that can be decrypted here, of all hosts. They are for masking output that
    /// belongs to no catalog.
    pub fn secrets(&self) -> SecretTable {
        let mut table = SecretTable::default();
        for value in self.data.secrets.values() {
            table.add(Secret::new(value));
        }
        table
    }

    /// Returns the files of secrets that cannot be decrypted here, as paths of the project.
    pub fn locked_secrets(&self) -> impl Iterator<Item = &str> {
        self.data.secrets.locked()
    }

    /// Returns all names in the project, and their places.
    pub(crate) fn index(&self) -> Index {
        Resolved::index(Arc::clone(&self.data))
    }

    /// Returns one line of documentation for a symbol.
    pub(crate) fn doc(&self, symbol: &Symbol) -> String {
        let library = &self.data.library;
        let schema = |path: &str| {
            let mut path = path.split('.');
            let name = path.next()?;
            let of_kind = library.kind(name).map(|kind| &library.kinds[kind].schema);
            let of_module = || library.module(name).map(|module| &library.modules[module].schema);
            path.try_fold(of_kind.or_else(of_module)?, |schema, child| {
                schema.child(child).map(|child| &schema.children[child])
            })
        };
        let doc = match symbol {
            Symbol::Kind(name) => {
                library.kind(name).map(|kind| library.kinds[kind].info.schema().summary.clone())
            }
            Symbol::Module(name) => {
                library.module(name).map(|module| library.modules[module].summary.clone())
            }
            Symbol::Parameter { of, name } => schema(of).and_then(|schema| {
                let param = schema.param(name).map(|param| schema.params[param].doc.clone());
                param.or_else(|| schema.child(name).map(|child| schema.children[child].doc.clone()))
            }),
            Symbol::Host(name) => self.data.membership.host(name).map(|host| {
                let groups = self.data.membership.groups_of(host);
                let groups: Vec<&str> =
                    groups.iter().map(|group| &*self.data.membership.groups[*group].name).collect();
                groups.join(", ")
            }),
            Symbol::Group(name) => self.data.membership.group(name).map(|group| {
                let hosts = self.data.membership.groups[group].hosts.len();
                if hosts == 1 { "1 host".to_owned() } else { format!("{hosts} hosts") }
            }),
            Symbol::Option(_) | Symbol::Variable { .. } => None,
        };
        doc.unwrap_or_default()
    }

    fn settings(&self, host: &HostName) -> Option<&HostSettings> {
        self.hosts.get(self.data.host(host)?)
    }

    fn names(&self, hosts: &[HostId]) -> Vec<HostName> {
        hosts.iter().map(|host| self.data.membership.hosts[*host].name.clone()).collect()
    }
}

/// An inventory as data, for output.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The name of the project.
    pub project: String,
    /// The hosts.
    pub hosts: Vec<HostDescription>,
    /// The groups.
    pub groups: Vec<GroupDescription>,
    /// The rollouts.
    pub rollouts: Vec<Rollout>,
}

/// A host as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct HostDescription {
    /// Its name.
    pub name: HostName,
    /// The groups of the host, from the innermost to the outermost.
    pub groups: Vec<String>,
    /// Its connection.
    pub connection: Connection,
    /// The daemon's settings for it.
    pub drift: DriftPolicy,
    /// The hosts that must be finished before it.
    pub after: Vec<HostName>,
    /// The place of its definition: file and line.
    pub place: String,
}

/// A group as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Its hosts, including those of inner groups.
    pub hosts: Vec<HostName>,
    /// The groups directly inside it.
    pub groups: Vec<String>,
    /// The place of its first definition: file and line.
    pub place: String,
}

/// Returns "`a`, `b` and `c`". Of many hosts it names the first ones and the number of the others.
fn names(hosts: &[&Host]) -> String {
    const NAMED: usize = 4;
    let mut names: Vec<_> = hosts.iter().take(NAMED).map(|host| format!("`{}`", host.name)).collect();
    let last = match hosts.len().saturating_sub(NAMED) {
        0 => names.pop().unwrap_or_default(),
        more => format!("{more} more hosts"),
    };
    format!("{} and {last}", names.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_are_compiled_from_several_threads() {
        fn is_shared<T: Send + Sync>() {}
        is_shared::<Inventory>();
        is_shared::<Loader>();
    }
}
