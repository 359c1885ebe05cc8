//! The inventory: what a project's files say of all hosts, before a host has been reached.

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

/// The most resources that all hosts of a project have together.
const ALL_RESOURCES: usize = 5_000_000;
/// How many hosts tell about how many that will be.
const SAMPLED: usize = 16;

impl Loader {
    /// Reads the inventory at `entry`: a file, a folder whose `converge.kdl` names one, or a folder of `.kdl` files.
    /// `sets` are the `--set` options, name (dotted for a key of a map) and value.
    ///
    /// The diagnostics hold every mistake that can be seen without looking at what a host is made of; there is an
    /// inventory unless one of them is an error.
    pub fn load(&self, entry: &str, sets: &[(String, String)]) -> Loaded {
        let (data, mut diagnostics) = project::load(self, entry, sets);
        let files = Arc::clone(&data.files);
        let data = Arc::new(data);
        let hosts = host_settings::all(&data, &mut diagnostics);
        let resolved = Resolved::new(Arc::clone(&data), &mut diagnostics);
        let inventory = Inventory { data, compiler: Compiler::new(resolved), hosts };
        if !diagnostics.has_errors() {
            return Loaded { inventory: Some(inventory), mistaken: None, diagnostics, files };
        }
        // All mistakes in one run: but where a file could not be read, the rest would be guesses.
        let is_blind = diagnostics.iter().any(|diagnostic| diagnostic.code.is_blind());
        if !is_blind {
            diagnostics.extend(inventory.check());
        }
        let mistaken = (!is_blind).then_some(inventory);
        Loaded { inventory: None, mistaken, diagnostics, files }
    }

    /// The name of the project at `entry`, as [`Inventory::project`] gives it, whatever mistakes its files hold.
    pub fn project_name(&self, entry: &str) -> String {
        let (mut files, mut ignored) = (Files::default(), Diagnostics::default());
        let declarations = declarations::read(self, entry, &mut files, &mut ignored);
        declarations.project.unwrap_or_else(|| entry.to_owned())
    }

    /// All modules, by name: the built-in ones and those below the project's `modules/`.
    pub fn modules(&self) -> (Vec<ModuleInfo>, Diagnostics) {
        let mut diagnostics = Diagnostics::default();
        let library = whole_library(self, &mut Files::default(), &mut diagnostics);
        (library.by_name().map(|module| library.modules[module].info()).collect(), diagnostics)
    }
}

/// What came of reading a project.
pub struct Loaded {
    /// The inventory; none where a mistake is in the way.
    pub inventory: Option<Inventory>,
    /// The inventory where mistakes are in the way, but every file could be read: it says which hosts and variables there
    /// are. Nothing is to be planned with it.
    pub mistaken: Option<Inventory>,
    /// Every mistake, and every note.
    pub diagnostics: Diagnostics,
    /// The files that the diagnostics (also those of the inventory's own methods) point into.
    pub files: Arc<Files>,
}

/// What the files of a project say.
pub struct Inventory {
    data: Arc<Data>,
    compiler: Compiler,
    hosts: Table<HostId, HostSettings>,
}

impl Inventory {
    /// The files that its diagnostics point into.
    pub fn files(&self) -> &Arc<Files> {
        &self.data.files
    }

    /// The name of the project: `project` in `converge.kdl`, else the path of the inventory.
    pub fn project(&self) -> &str {
        &self.data.project
    }

    /// Every host, in the order in which they are defined.
    pub fn hosts(&self) -> impl ExactSizeIterator<Item = &HostName> {
        self.data.membership.hosts.iter().map(|host| &host.name)
    }

    /// Every group with its hosts, those of groups inside it included.
    pub fn groups(&self) -> impl Iterator<Item = (&str, Vec<&HostName>)> {
        let membership = &self.data.membership;
        membership.groups.iter().map(|group| {
            (&*group.name, group.hosts.iter().map(|host| &membership.hosts[*host].name).collect())
        })
    }

    /// The hosts that `patterns` (as after `--limit`: commas separate, `!` excludes) match, in the order of the
    /// inventory. No match is an error.
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

    /// Whether each part of `selection` chooses something on one of `hosts`, as far as it can be known before they have
    /// spoken. What is not there is an error with the nearest name.
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

    /// How to reach a host; the default for one that is not of this inventory.
    pub fn connection(&self, host: &HostName) -> Connection {
        self.settings(host).map(|settings| settings.connection.clone()).unwrap_or_default()
    }

    /// What the daemon does about a host.
    pub fn drift(&self, host: &HostName) -> DriftPolicy {
        self.settings(host).map(|settings| settings.drift.clone()).unwrap_or_default()
    }

    /// Whether a block asks for anything on a host, as far as that is known without its facts.
    pub fn asks_for_anything(&self, host: &HostName) -> bool {
        let blocks = self.data.host(host).map(|host| self.data.blocks.of(host).iter());
        blocks.into_iter().flatten().any(|block| !self.data.declarations.blocks[*block].body.is_empty())
    }

    /// The hosts that must be done before `host` may start (`after=` on `on`).
    pub fn waits_for(&self, host: &HostName) -> Vec<HostName> {
        let Some(host) = self.data.host(host) else { return Vec::new() };
        self.names(&self.data.blocks.waits_for(host))
    }

    /// The rollouts, in the order written. No host is in two.
    pub fn rollouts(&self) -> &[Rollout] {
        &self.data.rollouts
    }

    /// Every definition of a variable of a host and which one won. An unknown name is an error with the nearest one.
    pub fn explain(&self, host: &HostName, variable: &str) -> Result<Explanation, Diagnostics> {
        explain::explain(&self.data, host, variable)
    }

    /// All variables of a host, in alphabetical order; none for a host that is not of this inventory. A variable whose value
    /// is a mistake is left out, and is among the diagnostics.
    pub fn explain_all(&self, host: &HostName) -> (Vec<Explanation>, Diagnostics) {
        self.data.host(host).map(|host| explain::explain_all(&self.data, host)).unwrap_or_default()
    }

    /// The inventory as data, for `converge inventory`.
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

    /// Everything that can be known without a host: the mistakes of all hosts, and the notes.
    ///
    /// What [`Loader::load`] has said is not said again.
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

    /// Two names with one address are most likely one machine: what they ask for would meet there. Each address is told once.
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
            let message = format!("{} have one address: {address}", names(hosts));
            let help = "two names of one machine are an error of the run that meets both";
            let report = Diagnostic::warning(Code::OneAddress, message).label(hosts[1].at, "this name");
            diagnostics.push(report.help(help));
        }
    }

    /// Says that all hosts together have more resources than a run can hold, as far as a sample of them tells. What each
    /// host has of each other grows with the square of the hosts, and would take minutes to find out one by one.
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
            let message = format!("{hosts} hosts have about {about} resources, over {ALL_RESOURCES} in all");
            let at = self.data.declarations.blocks.iter().next().map(|block| block.at);
            let report = Diagnostic::error(Code::Limit, message)
                .help("what lists all hosts on each host is one `file` whose template walks `hosts`");
            at.into_iter().fold(report, |report, at| report.label(at, "among these"))
        })
    }

    /// The catalog of `host`. The diagnostics are those of this host alone; there is a catalog unless one is an error.
    ///
    /// Where `facts` has none of the host itself, what depends on them is left out; where it has none of another host
    /// that the catalog reads, that is an error which names it.
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

    /// What a rollout does around `host` at `moment`, in order. There is something unless one of the diagnostics is an
    /// error.
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

    /// The files of the project that were read, with their digests: inventories, modules, templates, and secrets as
    /// they are encrypted. What is sent to hosts is not among them; its digests are in the catalogs.
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

    /// The files of secrets that the inventory names, as paths of the project; they need not be there.
    pub fn secret_files(&self) -> impl Iterator<Item = &str> {
        self.data.declarations.secrets.iter().map(|(path, _)| path.as_str())
    }

    /// All secrets of the project that can be decrypted here, whichever hosts they are for: what output is masked by that no
    /// catalog has a part in.
    pub fn secrets(&self) -> SecretTable {
        let mut table = SecretTable::default();
        for value in self.data.secrets.values() {
            table.add(Secret::new(value));
        }
        table
    }

    /// The files of secrets that cannot be decrypted here, as paths of the project.
    pub fn locked_secrets(&self) -> impl Iterator<Item = &str> {
        self.data.secrets.locked()
    }

    /// Everything that the project names, and where.
    pub(crate) fn index(&self) -> Index {
        Resolved::index(Arc::clone(&self.data))
    }

    /// What is known of something, in a line.
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

/// An inventory as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Description {
    /// The project.
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
    /// The groups that it is in, from the innermost outwards.
    pub groups: Vec<String>,
    /// How to reach it.
    pub connection: Connection,
    /// What the daemon does about it.
    pub drift: DriftPolicy,
    /// The hosts that must be done before it.
    pub after: Vec<HostName>,
    /// Where it is defined: file and line.
    pub place: String,
}

/// A group as data.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct GroupDescription {
    /// Its name.
    pub name: String,
    /// Its hosts, those of inner groups included.
    pub hosts: Vec<HostName>,
    /// The groups directly inside it.
    pub groups: Vec<String>,
    /// Where it is first defined: file and line.
    pub place: String,
}

/// "`a`, `b` and `c`"; of many hosts the first ones, and how many more there are.
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
