//! `converge secrets`: the commands, one file each. The engine opens and seals the files. The language parses them.

mod edit;
mod get;
mod keygen;
mod list;
mod rekey;
mod set;
mod which;
mod workspace;

use clap::{Args, Subcommand};

use crate::failure::Failure;
use crate::view::Screen;

/// Keep the secrets of inventories in encrypted files
///
/// A file of secrets is KDL, encrypted with age. It is named in an inventory,
/// as in `secrets "../secrets/production.age"`, and its values are read by
/// their path: (secret)"shop/db-password".
///
/// The file secrets/recipients lists the keys that may open these files: one age
/// recipient or public ssh key (ssh-ed25519, ssh-rsa) per line. A list for one file
/// alone is secrets/production.age.recipients. A changed list takes effect when set,
/// edit or rekey writes the file.
///
/// Files are opened with the keys given by --identity or CONVERGE_IDENTITY,
/// those in ~/.config/converge/identities, and ~/.ssh/id_ed25519 and id_rsa.
///
/// To begin: `converge secrets keygen`, then `converge secrets set NAME`.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct SecretsArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Set(set::SetArgs),
    Get(get::GetArgs),
    List(list::ListArgs),
    Edit(edit::EditArgs),
    Rekey(rekey::RekeyArgs),
    Keygen(keygen::KeygenArgs),
}

impl SecretsArgs {
    pub(crate) fn run(self, screen: Screen) -> Result<u8, Failure> {
        match self.command {
            Command::Set(arguments) => arguments.run(screen),
            Command::Get(arguments) => arguments.run(screen),
            Command::List(arguments) => arguments.run(screen),
            Command::Edit(arguments) => arguments.run(screen),
            Command::Rekey(arguments) => arguments.run(screen),
            Command::Keygen(arguments) => arguments.run(screen),
        }
    }
}
