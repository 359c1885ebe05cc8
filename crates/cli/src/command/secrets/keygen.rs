//! `converge secrets keygen`.

use std::path::{Path, PathBuf};

use clap::Args;
use converge_engine::secrets::{Recipient, keygen, own_key};
use converge_model::exit;

use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::harmless;

/// Make a key of your own, and print the public key
///
/// The key is written to ~/.config/converge/identities, where converge finds it,
/// and only you can read it. Other people put the public key into their lists
/// of recipients. You do not need this if you have an ed25519 or RSA ssh key.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct KeygenArgs {
    /// Write the key to this file
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

impl KeygenArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        if let Some((path, recipient)) = own_key().filter(|_| self.output.is_none()) {
            show("you have a key in", &path, &recipient, &mut screen);
            return Ok(exit::OK);
        }
        let (path, recipient) = keygen(self.output.as_deref()).map_err(|error| {
            let failure =
                Failure::new(format!("failed to make a key in {}: {}", error.path.display(), error.why));
            error.help.into_iter().fold(failure, Failure::help)
        })?;
        show("wrote the key to", &path, &recipient, &mut screen);
        Ok(exit::OK)
    }
}

fn show(words: &str, path: &Path, recipient: &Recipient, screen: &mut Screen) {
    if screen.is_json() {
        return screen.print_json(&Document::Key { recipient: &recipient.to_string(), file: path });
    }
    screen.say(&format!("{words} {}; its public key:\n", harmless(&path.display().to_string())));
    screen.print(&format!("{recipient}\n"));
}
