//! `converge secrets list`.

use clap::Args;
use converge_engine::secrets::Vault;
use converge_model::exit;

use super::which::{Which, failed};
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::harmless;

/// Print the names of all secrets in a file, without their values
#[derive(Debug, Args)]
pub(super) struct ListArgs {
    #[command(flatten)]
    which: Which,
}

impl ListArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let path = self.which.path(&mut screen)?;
        let secrets = Vault::read(&path, &self.which.identities()).map_err(failed)?;
        for name in secrets.names() {
            match screen.is_json() {
                true => screen.print_json(&Document::SecretName { name }),
                false => screen.print(&format!("{}\n", harmless(name))),
            }
        }
        Ok(exit::OK)
    }
}
