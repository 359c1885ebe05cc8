//! Opens the project of a command: reads its files and shows its mistakes.

use std::env;
use std::sync::Arc;

use converge_engine::modules::BUILTIN;
use converge_engine::secrets::Identities;
use converge_engine::{Project, ProjectSources, UsedProject};
use converge_lang::diagnostic::{Files, Severity};
use converge_lang::{Analysis, Diagnostics, Inventory, Loaded, Loader, MemorySources};
use converge_model::{HostName, KindInfo};

use crate::arguments::{HostArguments, IdentityArguments, ProjectArguments};
use crate::failure::{Failure, PROJECT};
use crate::memory_limit;
use crate::prompt;
use crate::view::{Screen, text};

/// A valid project.
pub(crate) struct Opened {
    /// The folder and the inventory.
    pub(crate) project: Project,
    /// Its files.
    pub(crate) sources: Arc<ProjectSources>,
    /// The keys that opened its secrets.
    pub(crate) identities: Arc<Identities>,
    /// The inventory.
    pub(crate) inventory: Arc<Inventory>,
    /// The warnings and notes from reading.
    pub(crate) diagnostics: Diagnostics,
}

impl Opened {
    /// Reads the project. If it has mistakes, shows them and fails.
    pub(crate) fn new(arguments: &ProjectArguments, screen: &mut Screen) -> Result<Self, Failure> {
        Self::read(arguments)?.map_err(|(diagnostics, files)| {
            screen.diagnostics(&diagnostics, &files);
            Failure::Drawn
        })
    }

    /// Reads the project. Returns the mistakes if it has no usable inventory.
    pub(crate) fn read(
        arguments: &ProjectArguments,
    ) -> Result<Result<Self, (Diagnostics, Arc<Files>)>, Failure> {
        let (opened, Loaded { inventory, diagnostics, files, .. }) = Self::load(arguments)?;
        Ok(match inventory {
            Some(inventory) if !diagnostics.has_errors() => Ok(opened(inventory, diagnostics)),
            _ => Err((diagnostics, files)),
        })
    }

    /// Reads the project. Also returns a function that makes a value of this type from an inventory.
    fn load(
        arguments: &ProjectArguments,
    ) -> Result<(impl FnOnce(Inventory, Diagnostics) -> Self, Loaded), Failure> {
        let project = find(arguments)?;
        let identities = identities(&arguments.identity);
        let (loader, sources) = loader(&project, identities.clone());
        let loaded = memory_limit::bounded(|| loader.load(&project.entry, &arguments.sets));
        let opened = |inventory, diagnostics| Self {
            project,
            sources,
            identities,
            inventory: Arc::new(inventory),
            diagnostics,
        };
        Ok((opened, loaded))
    }

    /// Reads the project for commands that only need its hosts and variables. Mistakes elsewhere do not prevent the
    /// answer; a line reports them.
    pub(crate) fn readable(arguments: &ProjectArguments, screen: &mut Screen) -> Result<Self, Failure> {
        Self::despite_mistakes(arguments, screen, |_| true, "`converge check` shows them")
    }

    /// Reads the project for commands that connect to hosts without a plan. Mistakes in bodies are a warning. A mistake in a
    /// host or its connection is an error: it would lead to another place than its author meant.
    pub(crate) fn reachable(arguments: &ProjectArguments, screen: &mut Screen) -> Result<Self, Failure> {
        let help =
            "`converge check` shows them; until then, output masks only the values in files of secrets";
        Self::despite_mistakes(arguments, screen, |loaded| loaded.is_reachable, help)
    }

    /// Reads the project. Warns of mistakes if `is_enough` accepts the rest, and shows them otherwise.
    fn despite_mistakes(
        arguments: &ProjectArguments,
        screen: &mut Screen,
        is_enough: fn(&Loaded) -> bool,
        help: &str,
    ) -> Result<Self, Failure> {
        let (opened, loaded) = Self::load(arguments)?;
        let is_enough = is_enough(&loaded);
        if let Some(inventory) = loaded.inventory {
            return Ok(opened(inventory, loaded.diagnostics));
        }
        match loaded.mistaken.filter(|_| is_enough) {
            Some(inventory) => {
                let errors = loaded.diagnostics.iter().filter(|found| found.severity == Severity::Error);
                let message = format!("the project has {}", text::count(errors.count(), "mistake"));
                screen.warn(&message, Some(help));
                Ok(opened(inventory, loaded.diagnostics))
            }
            None => {
                screen.diagnostics(&loaded.diagnostics, &loaded.files);
                Err(Failure::Drawn)
            }
        }
    }

    /// Reads the project and checks everything that needs no host. Shows warnings.
    pub(crate) fn checked(arguments: &ProjectArguments, screen: &mut Screen) -> Result<Self, Failure> {
        let opened = Self::new(arguments, screen)?;
        let diagnostics = opened.all_diagnostics();
        let failed = diagnostics.has_errors();
        let mut shown = Diagnostics::default();
        let loud = diagnostics.iter().filter(|diagnostic| diagnostic.severity > Severity::Note);
        loud.for_each(|diagnostic| shown.push(diagnostic.clone()));
        screen.diagnostics(&shown, opened.inventory.files());
        if failed { Err(Failure::Drawn) } else { Ok(opened) }
    }

    /// Returns the name of the project on hosts and in the history.
    pub(crate) fn owner(&self) -> String {
        self.project.owner(self.inventory.project())
    }

    /// Returns the entry for the list of last used projects.
    pub(crate) fn used(&self) -> UsedProject {
        UsedProject { owner: self.owner(), inventory: self.project.root.join(&self.project.entry) }
    }

    /// Returns all diagnostics that need no host.
    pub(crate) fn all_diagnostics(&self) -> Diagnostics {
        let mut all = self.diagnostics.clone();
        all.extend(memory_limit::bounded(|| self.inventory.check()));
        all
    }

    /// Returns the name of the project for people.
    pub(crate) fn name(&self) -> String {
        name(&self.project, &self.inventory)
    }

    /// Returns the selected hosts. Without a selection, these are all hosts.
    pub(crate) fn hosts(
        &self,
        arguments: &HostArguments,
        screen: &mut Screen,
    ) -> Result<Vec<HostName>, Failure> {
        let hosts = match arguments.limit.as_slice() {
            [] => self.inventory.hosts().cloned().collect(),
            patterns => self.inventory.select(patterns).map_err(|diagnostics| {
                screen.diagnostics(&diagnostics, self.inventory.files());
                Failure::Drawn
            })?,
        };
        match hosts.is_empty() {
            true => Err(Failure::new("the inventory has no hosts").help("define one: host \"web1\"")),
            false => Ok(hosts),
        }
    }
}

/// Returns a project's name for people: its name, otherwise that of its inventory or folder.
pub(crate) fn name(project: &Project, inventory: &Inventory) -> String {
    let folder = project.root.file_name().unwrap_or_default().to_string_lossy();
    match inventory.project() {
        "" => folder.into_owned(),
        name => name.to_owned(),
    }
}

/// Reads and checks the current files of a project.
pub(crate) fn analyse(arguments: &ProjectArguments) -> Result<(Project, Analysis), Failure> {
    let project = find(arguments)?;
    let (loader, _) = loader(&project, identities(&arguments.identity));
    let open = MemorySources::new();
    let analysis = memory_limit::bounded(|| Analysis::new(&loader, &project.entry, &arguments.sets, open));
    Ok((project, analysis))
}

/// Returns the project that the arguments name.
pub(crate) fn find(arguments: &ProjectArguments) -> Result<Project, Failure> {
    let here = env::current_dir().map_err(|error| Failure::new(format!("the current folder: {error}")))?;
    Project::find(arguments.inventory.as_deref(), &here).map_err(|error| {
        let failure = Failure::new(error.to_string()).code(PROJECT);
        error.help().into_iter().fold(failure, Failure::help)
    })
}

/// Returns the keys that open secrets. The user is asked for a passphrase on the terminal when it is needed.
pub(crate) fn identities(arguments: &IdentityArguments) -> Arc<Identities> {
    Arc::new(Identities::of_user(arguments.files.clone(), Arc::new(prompt::passphrase)))
}

/// Returns the loader of a project: for its files, all kinds and the built-in modules.
pub(crate) fn loader(project: &Project, identities: Arc<Identities>) -> (Loader, Arc<ProjectSources>) {
    let sources = Arc::new(ProjectSources::new(project.root.clone(), identities));
    let loader = Loader::new(sources.clone(), kinds(), BUILTIN.to_vec());
    (loader, sources)
}

/// Every kind of resource.
pub(crate) fn kinds() -> Vec<&'static dyn KindInfo> {
    converge_resources::registry().map(|kind| kind as &dyn KindInfo).collect()
}
