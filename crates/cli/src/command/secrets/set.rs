//! `converge secrets set`.

use std::io::{self, IsTerminal, Read};

use clap::Args;
use converge_engine::secrets::Vault;
use converge_lang::SECRETS_LIMIT;
use converge_model::secret::SHORTEST_MASKED;
use converge_model::{Secret, exit};

use super::which::{Which, failed, written};
use crate::failure::Failure;
use crate::prompt;
use crate::view::Screen;
use crate::view::text::harmless;

/// Set a secret, from standard input or a hidden prompt
///
/// The value is never part of a command line, where other users could see it.
/// Without a terminal, the value is the whole standard input without its last
/// newline:
///   openssl rand -hex 16 | converge secrets set shop/db-password
///   converge secrets set tls/key < key.pem
///
/// A missing file is created. If there is no list of recipients, the list
/// secrets/recipients is created with your own key.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct SetArgs {
    /// Name of the secret, as in (secret)"shop/db-password"
    name: String,
    #[command(flatten)]
    which: Which,
}

impl SetArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let vault = Vault::lock(&self.which.path(&mut screen)?).map_err(failed)?;
        let identities = self.which.identities();
        let secrets = vault.secrets(&identities).map_err(failed)?;
        let value = value(&self.name)?;
        let changed = secrets.with(&self.name, &value).map_err(|error| {
            Failure::new(error.to_string()).help("a name is words with `/` between them: shop/db-password")
        })?;
        let new_list = vault.first_list(&identities).map_err(failed)?;
        let recipients = vault.write(changed.text(), &identities).map_err(failed)?;
        written(&vault, new_list, recipients, &format!("{} is set", harmless(&self.name)), &mut screen);
        if value.expose().len() < SHORTEST_MASKED {
            screen.say(&format!(
                "the value is very short: output does not mask values under {SHORTEST_MASKED} bytes\n"
            ));
        }
        Ok(exit::OK)
    }
}

fn value(name: &str) -> Result<Secret, Failure> {
    let value = if io::stdin().is_terminal() { typed(name)? } else { piped()? };
    match value.expose().is_empty() {
        true => Err(Failure::new("the value is empty, so nothing was set")),
        false => Ok(value),
    }
}

fn typed(name: &str) -> Result<Secret, Failure> {
    let ask = |question: &str| {
        prompt::silently(question)
            .map_err(|error| Failure::new(format!("failed to ask for the value: {error}")))
    };
    let value = ask(&format!("Value of {}: ", harmless(name)))?;
    match value == ask("Once more: ")? {
        true => Ok(value),
        false => Err(Failure::new("the two values differ, so nothing was set")),
    }
}

fn piped() -> Result<Secret, Failure> {
    let mut bytes = Vec::with_capacity(SECRETS_LIMIT + 1);
    let read = io::stdin().lock().take(SECRETS_LIMIT as u64 + 1).read_to_end(&mut bytes);
    let end = if bytes.ends_with(b"\r\n") { 2 } else { usize::from(bytes.ends_with(b"\n")) };
    bytes.truncate(bytes.len() - end);
    let value = Secret::new(bytes);
    read.map_err(|error| Failure::new(format!("failed to read the value from standard input: {error}")))?;
    Ok(value)
}
