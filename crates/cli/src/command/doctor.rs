//! `converge doctor`.

use std::fmt::Write as _;
use std::fs;
use std::process::{Command, Stdio};

use clap::Args;
use converge_engine::StateFolder;
use converge_fleet::Fleet;
use converge_model::exit;

use crate::agents::{agents, described};
use crate::arguments::ReachArguments;
use crate::failure::Failure;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::paint::{ADDED, FAILED, paint};
use crate::view::text::harmless;

/// Check that this machine has what Converge needs
///
/// Contacts no host.
#[derive(Debug, Args)]
pub(crate) struct DoctorArgs {
    #[command(flatten)]
    reach: ReachArguments,
}

/// The result of a check: a message for people in both cases.
type Finding = Result<String, String>;

impl DoctorArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let findings = [
            ("ssh", ssh()),
            ("ssh-config", self.ssh_config()),
            ("agents", Ok(agents().iter().map(described).collect::<Vec<_>>().join("; "))),
            ("sockets", sockets(&self.reach)),
            ("state", state()),
        ];
        let mut out = String::new();
        for (what, finding) in &findings {
            if screen.is_json() {
                screen.print_json(&document(what, finding));
                continue;
            }
            let (mark, words) = match finding {
                Ok(words) => (paint(ADDED, "ok     "), words),
                Err(words) => (paint(FAILED, "problem"), words),
            };
            let _ = writeln!(out, "{mark}  {what:10}  {}", harmless(words));
        }
        screen.print(&out);
        Ok(if findings.iter().all(|(_, finding)| finding.is_ok()) { exit::OK } else { exit::ERROR })
    }

    fn ssh_config(&self) -> Finding {
        match &self.reach.ssh_config {
            None => Ok("the user's own".to_owned()),
            Some(path) => match fs::read(path) {
                Ok(_) => Ok(path.display().to_string()),
                Err(error) => Err(format!("failed to read {}: {error}", path.display())),
            },
        }
    }
}

fn document<'a>(check: &'a str, finding: &'a Finding) -> Document<'a> {
    let (Ok(message) | Err(message)) = finding;
    Document::Doctor { check, ok: finding.is_ok(), message }
}

fn ssh() -> Finding {
    let run = Command::new("ssh").arg("-V").stdin(Stdio::null()).output();
    let output = run.map_err(|error| format!("failed to run ssh: {error}; install the OpenSSH client"))?;
    // ssh prints its version on standard error.
    let version = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(version) } else { Err(format!("`ssh -V` failed: {version}")) }
}

fn sockets(reach: &ReachArguments) -> Finding {
    match crate::visit::fleet(&ReachArguments {
        ssh_config: None,
        ask_become_pass: false,
        become_pass_fd: None,
        ..reach.clone()
    }) {
        Ok(Fleet { .. }) => Ok("connections can be kept".to_owned()),
        Err(Failure::Message { message, .. }) => Err(message),
        Err(Failure::Drawn) => Err(String::new()),
    }
}

fn state() -> Finding {
    let folder = StateFolder::of_user().map_err(|error| error.to_string())?;
    let probe = folder.path().join(format!("doctor.{}", std::process::id()));
    let written = fs::write(&probe, b"").and_then(|()| fs::remove_file(&probe));
    match written {
        Ok(()) => Ok(folder.path().display().to_string()),
        Err(error) => Err(format!("failed to write in {}: {error}", folder.path().display())),
    }
}
