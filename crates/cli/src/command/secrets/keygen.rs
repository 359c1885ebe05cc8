//! `converge secrets keygen`.

use std::path::PathBuf;

use clap::Args;
use converge_engine::secrets::keygen;
use converge_model::exit;

use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::harmless;

/// Make a key of your own, and print its public half
///
/// The key is written to ~/.config/converge/identities, where converge finds it,
/// and only you can read it. Others put its public half into their lists of
/// recipients. You do not need this if you have an ed25519 or RSA ssh key.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct KeygenArgs {
    /// Write the key to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl KeygenArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let (path, recipient) = keygen(self.output.as_deref()).map_err(|error| {
            let failure =
                Failure::new(format!("failed to make a key in {}: {}", error.path.display(), error.why));
            error.help.into_iter().fold(failure, Failure::help)
        })?;
        if screen.is_json() {
            screen.print_json(&Document::Key { recipient: &recipient.to_string(), file: &path });
        } else {
            screen.say(&format!(
                "wrote the key to {}; its public half:\n",
                harmless(&path.display().to_string())
            ));
            screen.print(&format!("{recipient}\n"));
        }
        Ok(exit::OK)
    }
}
