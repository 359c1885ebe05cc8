//! `converge secrets edit`.

use std::env;
use std::io::{self, BufRead, IsTerminal};
use std::path::Path;
use std::process::{Command, ExitStatus};

use clap::Args;
use converge_engine::secrets::Vault;
use converge_lang::SecretsText;
use converge_model::{Secret, exit};
use rustix::process::{Pid, Signal, kill_process};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{SignalKind, signal};

use super::which::{Which, failed, written};
use super::workspace::Workspace;
use crate::failure::Failure;
use crate::prompt;
use crate::view::Screen;

/// Open a file of secrets in your editor
///
/// The editor is $VISUAL, else $EDITOR, else vi. The decrypted text is in
/// a folder that only you can read. If there is a /dev/shm, the folder is there, in
/// memory. The folder is removed when the editor ends. The new text is encrypted if it is
/// valid; otherwise converge asks whether to edit it again.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(super) struct EditArgs {
    #[command(flatten)]
    which: Which,
}

/// The text of a new file.
const EXAMPLE: &str = "\
// Secrets, as KDL. This one is read by (secret)\"shop/db-password\":
//
// shop {
//     db-password \"…\"
// }
";

impl EditArgs {
    pub(super) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let vault = Vault::lock(&self.which.path(&mut screen)?).map_err(failed)?;
        let identities = self.which.identities();
        let before = vault.text(&identities).map_err(failed)?.unwrap_or_else(|| Secret::new(EXAMPLE));
        let new_list = vault.first_list(&identities).map_err(failed)?;
        let workspace = Workspace::new(&name(vault.path()), &before).map_err(no_workspace)?;
        let outcome = edited(&workspace, &before, &mut screen);
        workspace.close().map_err(no_workspace)?;
        match outcome? {
            None => screen.say("nothing was changed\n"),
            Some(text) => {
                let recipients = vault.write(text.text(), &identities).map_err(failed)?;
                written(&vault, new_list, recipients, "written", &mut screen);
            }
        }
        Ok(exit::OK)
    }
}

fn no_workspace(error: io::Error) -> Failure {
    Failure::new(format!("failed to keep the decrypted text in a private folder: {error}"))
}

/// Returns a name like `production.kdl`, so that an editor knows the syntax.
fn name(path: &Path) -> String {
    format!("{}.kdl", path.file_stem().unwrap_or_default().to_string_lossy())
}

/// Returns the edited text. None if it is unchanged.
fn edited(
    workspace: &Workspace,
    before: &Secret,
    screen: &mut Screen,
) -> Result<Option<SecretsText>, Failure> {
    loop {
        let status = run_editor(workspace.file())?;
        if !status.success() {
            return Err(Failure::new(format!("the editor ended with {status}, so nothing was changed")));
        }
        let text = workspace.text().map_err(no_workspace)?;
        if text == *before {
            return Ok(None);
        }
        let (read, mistakes) = SecretsText::parse(text);
        if mistakes.is_empty() {
            return Ok(Some(read));
        }
        mistakes.iter().for_each(|mistake| screen.say(&format!("{mistake}\n")));
        if !go_back(screen) {
            return Err(Failure::new("the edited text is not valid, so nothing was changed"));
        }
    }
}

fn go_back(screen: &mut Screen) -> bool {
    if !io::stdin().is_terminal() {
        return false;
    }
    prompt::forget_what_was_typed();
    screen.say("Go back to the editor, or give up the changes? [B/g] ");
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).is_ok_and(|read| read > 0)
        && !answer.trim().starts_with(['g', 'G'])
}

fn run_editor(file: &Path) -> Result<ExitStatus, Failure> {
    let set = |name: &str| env::var(name).ok().filter(|value| !value.trim().is_empty());
    let editor = set("VISUAL").or_else(|| set("EDITOR")).unwrap_or_else(|| "vi".to_owned());
    let runtime = Builder::new_current_thread().enable_all().build()?;
    // The variable may contain arguments, as in `code --wait`.
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(format!("{editor} \"$@\"")).arg(&editor).arg(file);
    wait(&runtime, command)
        .map_err(|error| Failure::new(format!("failed to run the editor {editor}: {error}")))
}

/// Runs the editor to its end. An interrupt key is handled by the editor. A signal that ends this process ends the
/// editor first, so that the folder can be removed.
fn wait(runtime: &Runtime, mut command: Command) -> io::Result<ExitStatus> {
    runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut quit = signal(SignalKind::quit())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut hangup = signal(SignalKind::hangup())?;
        let mut child = command.spawn()?;
        let id = i32::try_from(child.id()).ok().and_then(Pid::from_raw);
        let mut ended = tokio::task::spawn_blocking(move || child.wait());
        loop {
            tokio::select! {
                status = &mut ended => return status.map_err(io::Error::other)?,
                _ = interrupt.recv() => {}
                _ = quit.recv() => {}
                _ = terminate.recv() => end(id),
                _ = hangup.recv() => end(id),
            }
        }
    })
}

fn end(editor: Option<Pid>) {
    if let Some(id) = editor {
        let _ = kill_process(id, Signal::TERM);
    }
}
