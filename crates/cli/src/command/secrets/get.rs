//! `converge secrets get`.

use std::io::{self, Write};

use clap::Args;
use converge_engine::secrets::Vault;
use converge_model::exit;

use super::which::{Which, failed};
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;

/// Print the value of a secret
///
/// A newline is printed after the value.
#[derive(Debug, Args)]
pub(super) struct GetArgs {
    /// Name of the secret, as in (secret)"shop/db-password"
    name: String,
    #[command(flatten)]
    which: Which,
}

impl GetArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let path = self.which.path(&mut screen)?;
        let secrets = Vault::read(&path, &self.which.identities()).map_err(failed)?;
        let Some(value) = secrets.get(&self.name) else {
            return Err(Failure::new(format!("there is no secret {} in {}", self.name, path.display()))
                .help("`converge secrets list` shows the names"));
        };
        if screen.is_json() {
            let value = str::from_utf8(value.expose()).map_err(|_| {
                Failure::new(format!("{} is not UTF-8 text, which JSON cannot hold", self.name))
                    .help("leave --json out")
            })?;
            screen.print_json(&Document::Secret { name: &self.name, value });
            return Ok(exit::OK);
        }
        // Bypass the screen, because its removal of colours would change the value.
        let mut out = io::stdout().lock();
        let printed =
            out.write_all(value.expose()).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush());
        printed.map_err(|error| Failure::new(format!("failed to print the value: {error}")))?;
        Ok(exit::OK)
    }
}
