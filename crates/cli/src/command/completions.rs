//! `converge completions`.

use clap::{Args, CommandFactory};
use clap_complete::Shell;
use converge_model::exit;

use crate::failure::Failure;
use crate::view::Screen;

/// Write the completions of a shell
///
/// For bash: `converge completions bash > ~/.local/share/bash-completion/completions/converge`.
#[derive(Debug, Args)]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

impl Arguments {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let mut script = Vec::new();
        let mut command = crate::arguments::Arguments::command();
        clap_complete::generate(self.shell, &mut command, "converge", &mut script);
        screen.print(&String::from_utf8_lossy(&script));
        Ok(exit::OK)
    }
}
