//! `converge docs`.

use std::fs;
use std::io::{self, IsTerminal};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use converge_engine::Project;
use converge_engine::modules::BUILTIN;
use converge_lang::{Loader, MemorySources, ModuleInfo, did_you_mean};
use converge_model::{KindInfo, exit};

use crate::arguments::ProjectArguments;
use crate::failure::Failure;
use crate::project;
use crate::reference;
use crate::view::json::Document;
use crate::view::{Screen, markdown, wrap};

/// Show the reference page of a kind or a module
///
/// Without a name, lists all kinds and modules, with those of the project.
/// `converge docs json` shows the format of `--json`. A terminal shows the page
/// formatted; a pipe or a file gets Markdown.
#[derive(Debug, Args)]
pub(crate) struct DocsArgs {
    /// Kind or module
    name: Option<String>,
    #[command(flatten)]
    project: ProjectArguments,
    /// Write all pages into this folder, without the modules of the project
    #[arg(long, value_name = "DIR", conflicts_with_all = ["name", "inventory"])]
    write: Option<PathBuf>,
}

impl DocsArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        let mut screen = screen.paged();
        if let Some(folder) = &self.write {
            return write_pages(folder);
        }
        let modules = self.modules(&mut screen)?;
        let kinds = project::kinds();
        let Some(name) = &self.name else {
            match screen.is_json() {
                true => summaries(&kinds, &modules).for_each(|line| screen.print_json(&line.into())),
                false => show(&mut screen, &reference::index(&kinds, &modules), wrap::wrapped),
            }
            return Ok(exit::OK);
        };
        let kind = kinds.iter().find(|kind| kind.schema().name == *name);
        let module = modules.iter().find(|module| module.name == *name);
        let page = match (kind, module) {
            (Some(kind), _) => reference::kind(kind.schema()),
            (None, Some(module)) => reference::module(module),
            (None, None) if name == "json" => JSON.to_owned(),
            (None, None) => {
                let names = summaries(&kinds, &modules).map(|line| line.name);
                let meant = did_you_mean(name, names.collect::<Vec<_>>());
                return Err(Failure::new(format!("there is no kind or module called {name}"))
                    .help(meant.unwrap_or_else(|| "`converge docs` lists them all".to_owned())));
            }
        };
        match screen.is_json() {
            true => screen.print_json(&Document::DocsPage { name, markdown: &page }),
            false => show(&mut screen, &page, markdown::rendered),
        }
        Ok(exit::OK)
    }

    /// Returns the modules of the project in the working folder, otherwise the built-in ones.
    fn modules(&self, screen: &mut Screen) -> Result<Vec<ModuleInfo>, Failure> {
        let project = match (project::find(&self.project), &self.project.inventory) {
            (Ok(project), _) => project,
            (Err(failure), Some(_)) => return Err(failure),
            (Err(_), None) => return Ok(builtin()),
        };
        Ok(self.project_modules(&project, screen))
    }

    fn project_modules(&self, project: &Project, screen: &mut Screen) -> Vec<ModuleInfo> {
        let (loader, _) = project::loader(project, project::identities(&self.project.identity));
        let (modules, diagnostics) = loader.modules();
        screen.remarks(&diagnostics, &Default::default());
        modules
    }
}

/// Prints a text: laid out for a terminal, unchanged for a pipe or a file.
fn show(screen: &mut Screen, text: &str, laid_out: fn(&str, usize) -> String) {
    match io::stdout().is_terminal() {
        true => screen.print(&laid_out(text, wrap::width_of(io::stdout()))),
        false => screen.print(text),
    }
}

/// The page about the format of `--json`.
const JSON: &str = include_str!("../../../../docs/json.md");

/// A kind or module in the list.
struct Summary<'a> {
    name: &'a str,
    is: &'static str,
    summary: &'a str,
}

impl<'a> From<Summary<'a>> for Document<'a> {
    fn from(Summary { name, is, summary }: Summary<'a>) -> Self {
        Self::DocsEntry { name, is, summary }
    }
}

fn summaries<'a>(
    kinds: &'a [&'static dyn KindInfo],
    modules: &'a [ModuleInfo],
) -> impl Iterator<Item = Summary<'a>> {
    let kind = |kind: &&'static dyn KindInfo| {
        let schema = kind.schema();
        Summary { name: &schema.name, is: "kind", summary: &schema.summary }
    };
    let module =
        |module: &'a ModuleInfo| Summary { name: &module.name, is: "module", summary: &module.summary };
    kinds.iter().map(kind).chain(modules.iter().map(module))
}

/// Returns the modules that every project has.
pub(crate) fn builtin() -> Vec<ModuleInfo> {
    let sources = Arc::new(MemorySources::new());
    Loader::new(sources, project::kinds(), BUILTIN.to_vec()).modules().0
}

fn write_pages(folder: &Path) -> Result<u8, Failure> {
    let kinds = project::kinds();
    let modules = builtin();
    let pages = kinds
        .iter()
        .map(|kind| (kind.schema().name.as_str(), reference::kind(kind.schema())))
        .chain(modules.iter().map(|module| (module.name.as_str(), reference::module(module))))
        .chain([("README", reference::contents(&kinds, &modules))]);
    fs::create_dir_all(folder)?;
    for (name, page) in pages {
        fs::write(folder.join(format!("{name}.md")), page)?;
    }
    Ok(exit::OK)
}
