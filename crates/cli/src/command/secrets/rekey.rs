//! `converge secrets rekey`.

use std::path::{Path, PathBuf};

use clap::Args;
use converge_engine::secrets::{Identities, Vault};
use converge_model::exit;

use super::which::{failed, named, written};
use crate::arguments::IdentityArguments;
use crate::failure::Failure;
use crate::project;
use crate::view::Screen;

/// Encrypt files of secrets again, for the current list of recipients
///
/// A person who was taken off the list can still open old copies: give the
/// secrets new values, too.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct RekeyArgs {
    /// Files of secrets; default: all that the inventory of the project names
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    #[command(flatten)]
    identity: IdentityArguments,
}

impl RekeyArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let identities = project::identities(&self.identity);
        let files = if self.files.is_empty() { named(&mut screen)? } else { self.files };
        files.iter().try_for_each(|file| rekey(file, &identities, &mut screen))?;
        Ok(exit::OK)
    }
}

fn rekey(file: &Path, identities: &Identities, screen: &mut Screen) -> Result<(), Failure> {
    let vault = Vault::lock(file).map_err(failed)?;
    let Some(text) = vault.text(identities).map_err(failed)? else {
        return Err(Failure::new(format!("there is no {}", file.display())));
    };
    let recipients = vault.write(&text, identities).map_err(failed)?;
    written(&vault, None, recipients, "encrypted again", screen);
    Ok(())
}
