//! A project that was read completely: hosts with their variables, blocks with their hosts, modules, secrets.

pub(crate) mod assets;
pub(crate) mod blocks;
pub(crate) mod declarations;
pub(crate) mod hosts;
pub(crate) mod library;
pub(crate) mod loader;
pub(crate) mod module;
mod overrides;
pub(crate) mod precedence;
pub(crate) mod rollouts;
pub(crate) mod secrets;

use std::collections::{BTreeSet, HashMap};
use std::sync::{Arc, OnceLock};

use converge_model::HostName;

use crate::project::assets::{AssetRoot, Assets};
use crate::project::blocks::Blocks;
use crate::project::declarations::Declarations;
use crate::project::hosts::Membership;
use crate::project::library::{Library, library};
use crate::project::loader::Loader;
use crate::project::overrides::set;
use crate::project::precedence::{Layer, Precedence};
use crate::project::secrets::Secrets;
use crate::settings::rollout::Rollout;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files};
use crate::source::ids::{GroupId, HostId, Table, VariableId};
use crate::syntax::value_tree::Entry;
use crate::template::fold;

/// All data of a project, read and checked as far as possible without a host.
pub(crate) struct Data {
    pub(crate) loader: Loader,
    pub(crate) files: Arc<Files>,
    pub(crate) project: String,
    pub(crate) declarations: Declarations,
    pub(crate) membership: Membership,
    pub(crate) precedence: Precedence,
    pub(crate) blocks: Blocks,
    pub(crate) rollouts: Vec<Rollout>,
    pub(crate) assets: Arc<Assets>,
    pub(crate) library: Library,
    pub(crate) secrets: Secrets,
    tables: Table<HostId, OnceLock<Arc<Variables>>>,
    /// The variables of hosts that have no layers of their own, by their groups.
    shared: std::sync::Mutex<HashMap<BTreeSet<GroupId>, Arc<Variables>>>,
}

/// The variables of a host, after precedence.
#[derive(Default)]
pub(crate) struct Variables {
    pub(crate) entries: Table<VariableId, Entry>,
    /// Indices by the folded key.
    by_name: HashMap<String, VariableId>,
}

impl Variables {
    fn new(entries: Vec<Entry>) -> Self {
        let entries: Table<VariableId, Entry> = entries.into_iter().collect();
        let by_name = entries.entries().map(|(id, entry)| (fold(&entry.key), id)).collect();
        Self { entries, by_name }
    }

    /// Returns the variable with a name as in expressions.
    pub(crate) fn find(&self, name: &str) -> Option<VariableId> {
        self.by_name.get(&fold(name)).copied()
    }
}

impl Data {
    /// Returns the variables of a host.
    pub(crate) fn table(&self, host: HostId) -> Arc<Variables> {
        Arc::clone(self.tables[host].get_or_init(|| self.build_table(host, &mut Diagnostics::default())))
    }

    /// Merges the definitions of one host and reports contradictions.
    pub(crate) fn build_table(&self, host: HostId, diagnostics: &mut Diagnostics) -> Arc<Variables> {
        let of_host = &self.membership.hosts[host];
        let own = &self.declarations.hosts[of_host.node].vars;
        let layers = self.membership.layers_of(host, &self.declarations.vars, own);
        let build = |diagnostics: &mut Diagnostics| {
            Arc::new(Variables::new(precedence::merge(&layers, &self.precedence, diagnostics)))
        };
        if !own.is_empty() {
            return build(diagnostics);
        }
        let known = || self.shared.lock().ok()?.get(&of_host.groups).cloned();
        if let Some(table) = known() {
            return table;
        }
        let table = build(diagnostics);
        if let Ok(mut shared) = self.shared.lock() {
            shared.insert(of_host.groups.clone(), Arc::clone(&table));
        }
        table
    }

    /// Returns the layers of a host's variables, for `explain`.
    pub(crate) fn var_layers(&self, host: HostId) -> Vec<&Layer> {
        let own = &self.declarations.hosts[self.membership.hosts[host].node].vars;
        self.membership.layers_of(host, &self.declarations.vars, own)
    }

    /// Returns the host called `name`.
    pub(crate) fn host(&self, name: &HostName) -> Option<HostId> {
        self.membership.host(name.as_str())
    }
}

/// Reads a project. The result is complete even if there are mistakes, so that all of them can be found.
pub(crate) fn load(loader: &Loader, entry: &str, sets: &[(String, String)]) -> (Data, Diagnostics) {
    let mut diagnostics = Diagnostics::default();
    let mut files = Files::default();
    let sources = &*loader.sources;
    let mut declarations = declarations::read(loader, entry, &mut files, &mut diagnostics);
    set(&mut declarations, sets, &mut files, &mut diagnostics);
    let membership = hosts::build(&declarations, &mut diagnostics);
    shapes(&declarations, &mut diagnostics);
    let precedence = Precedence { outer: membership.outer.clone(), includes: declarations.includes.clone() };
    let assets = Assets::new(AssetRoot::Folder(String::new()), &loader.sources, &mut files, &mut diagnostics);
    let library = library(loader, &declarations.blocks, &mut files, &mut diagnostics);
    let secrets = Secrets::load(&declarations.secrets, sources, &mut diagnostics);
    let blocks = Blocks::select(&declarations.blocks, &membership, &mut diagnostics);
    let rollouts = rollouts::read(&declarations.blocks, &blocks, &membership, &files, &mut diagnostics);
    blocks.refuse_cycle(&declarations.blocks, &mut diagnostics);
    let tables = membership.hosts.iter().map(|_| OnceLock::new()).collect();
    let data = Data {
        loader: loader.clone(),
        project: declarations.project.clone().unwrap_or_else(|| entry.to_owned()),
        files: Arc::new(files),
        declarations,
        membership,
        precedence,
        blocks,
        rollouts,
        assets: Arc::new(assets),
        library,
        secrets,
        tables,
        shared: std::sync::Mutex::default(),
    };
    for host in data.membership.hosts.ids() {
        let table = data.build_table(host, &mut diagnostics);
        // The data is not shared yet, so the cell is empty.
        let _ = data.tables[host].set(table);
    }
    if data.membership.hosts.is_empty() && !diagnostics.has_errors() {
        let report = Diagnostic::error(Code::Inventory, "the inventory defines no host")
            .help("write `host \"web1\"`, or `host \"here\"` with `connection \"local\"`");
        diagnostics.push(report);
    }
    (data, diagnostics)
}

fn shapes(declarations: &Declarations, diagnostics: &mut Diagnostics) {
    let of_hosts = declarations.hosts.iter().flat_map(|host| &host.vars);
    precedence::shapes(declarations.vars.iter().chain(of_hosts), diagnostics);
}
