//! `converge completions`.

use clap::{Args, Command};
use clap_complete::Shell;
use converge_model::exit;

use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;

/// Write the completions of a shell
///
/// For bash: `converge completions bash > ~/.local/share/bash-completion/completions/converge`.
#[derive(Debug, Args)]
pub(crate) struct CompletionsArgs {
    /// Name of the shell
    shell: Shell,
}

impl CompletionsArgs {
    pub(crate) fn run(self, command: &mut Command, mut screen: Screen) -> Result<u8, Failure> {
        let mut script = Vec::new();
        clap_complete::generate(self.shell, command, "converge", &mut script);
        let script = String::from_utf8_lossy(&script);
        match screen.is_json() {
            true => {
                screen.print_json(&Document::Completions { shell: &self.shell.to_string(), script: &script })
            }
            false => screen.print(&script),
        }
        Ok(exit::OK)
    }
}
