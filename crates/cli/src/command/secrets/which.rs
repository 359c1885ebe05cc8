//! Finds the file of secrets for a command, and explains its errors.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use converge_engine::secrets::{Identities, Vault, VaultError};

use crate::arguments::{IdentityArguments, ProjectArguments};
use crate::failure::Failure;
use crate::project;
use crate::view::Screen;
use crate::view::text::{count, harmless};

/// A file of secrets.
#[derive(Debug, Args)]
pub(super) struct Which {
    /// File of secrets; default: the one that the inventory of the project names
    file: Option<PathBuf>,
    #[command(flatten)]
    identity: IdentityArguments,
}

impl Which {
    /// Returns the path of the file.
    pub(super) fn path(&self, screen: &mut Screen) -> Result<PathBuf, Failure> {
        match &self.file {
            Some(file) => Ok(file.clone()),
            None => one(named(screen)?),
        }
    }

    /// Returns the keys that may open it.
    pub(super) fn identities(&self) -> Arc<Identities> {
        project::identities(&self.identity)
    }
}

fn one(mut paths: Vec<PathBuf>) -> Result<PathBuf, Failure> {
    match paths.len() {
        1 => Ok(paths.remove(0)),
        _ => {
            let names: Vec<_> = paths.iter().map(|path| path.display().to_string()).collect();
            let message = format!("the inventory names several files of secrets: {}", names.join(", "));
            Err(Failure::new(message).help("name one of them after the name of the secret"))
        }
    }
}

/// Returns all files that the inventory of the nearest project names: at least one. They are not opened and may not
/// exist.
pub(super) fn named(screen: &mut Screen) -> Result<Vec<PathBuf>, Failure> {
    let project = project::find(&ProjectArguments::default()).map_err(|_| {
        Failure::new("found no converge.kdl here or above, so you must name the file of secrets")
    })?;
    let (loader, _) = project::loader(&project, Arc::new(Identities::only(Vec::new())));
    let loaded = loader.load(&project.entry, &[]);
    let Some(inventory) = loaded.inventory else {
        screen.diagnostics(&loaded.diagnostics, &loaded.files);
        return Err(Failure::Drawn);
    };
    let here = env::current_dir().unwrap_or_default();
    let paths: Vec<_> = inventory.secret_files().map(|path| from(&here, &project.root.join(path))).collect();
    match paths.is_empty() {
        true => Err(Failure::new("the inventory names no file of secrets")
            .help("write `secrets \"secrets.age\"` at the top of the inventory, or name a file")),
        false => Ok(paths),
    }
}

fn from(here: &Path, path: &Path) -> PathBuf {
    path.strip_prefix(here).unwrap_or(path).to_owned()
}

/// Converts an error with its help.
pub(super) fn failed(error: VaultError) -> Failure {
    let failure = Failure::new(error.to_string());
    match error.help() {
        Some(help) => failure.help(help),
        None => failure,
    }
}

/// Reports a new list of recipients, and the number of recipients of a written file.
pub(super) fn written(
    vault: &Vault,
    new_list: Option<PathBuf>,
    recipients: usize,
    what: &str,
    screen: &mut Screen,
) {
    if let Some(list) = new_list {
        let list = harmless(&list.display().to_string());
        screen.say(&format!(
            "created {list} with your own key; add the keys of all users who may open these secrets\n"
        ));
    }
    let path = harmless(&vault.path().display().to_string());
    screen.say(&format!("{path}: {what}, for {}\n", count(recipients, "recipient")));
}
