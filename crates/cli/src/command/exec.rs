//! `converge exec`.

use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use converge_engine::Errand;
use converge_model::AdHoc;
use converge_model::ad_hoc::SCRIPT_LIMIT;

use crate::ad_hoc::AdHocVisit;
use crate::arguments::{HistoryArguments, HostArguments, ProjectArguments, ReachArguments, duration};
use crate::failure::Failure;
use crate::foreign_options::shell_word;
use crate::output_folder::OutputFolder;
use crate::project::Opened;
use crate::view::Screen;

/// The longest command, in bytes. Together with a script it fits into one frame.
const COMMAND_LIMIT: usize = 256 * 1024;

/// Run a command on hosts, and show what it printed
///
/// If the command is one word, the host's shell runs it (`/bin/sh -c`). Several
/// words are a program and its arguments; no shell is used:
///
///   converge exec web -- uptime
///   converge exec 'web & !web3' -- 'ls /srv | wc -l'
///   converge exec web site.kdl --script fix.sh -- --dry-run
///
/// The command runs as the account that an apply would use (`become`), in `/`, with
/// a clean environment, no input and no terminal. Exec takes no lock on
/// a host. If another run has the lock, exec says so. The command is ended at its
/// timeout, at Ctrl-C, or when its connection ends.
///
/// At the end, hosts with the same output are shown together. With -v, and for a
/// single host at a terminal, each line is shown immediately. Secrets of the
/// project are masked, as in a plan. A host sends at most 16 MiB and at most
/// 100 000 lines; a remark replaces each line over 64 KiB. The history keeps the
/// run, with the last 64 KiB of each host. With --output, the file HOST.truncated
/// says how many lines the host did not send.
///
/// Exit codes: 3 if the command failed on a host, 4 if a host was unreachable and
/// the command failed on no host.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct ExecArgs {
    /// Hosts, as for --limit: names, groups, ranges, `*`, `a & b`, `!not`; separated by commas
    #[arg(value_name = "PATTERN")]
    pattern: String,
    #[command(flatten)]
    project: ProjectArguments,
    /// The command, after `--`; with --script, the arguments of the script
    #[arg(value_name = "COMMAND", last = true)]
    command: Vec<String>,
    /// Run the command on at most N hosts at a time, in the order of the inventory; default: no limit
    #[arg(long, value_name = "N", value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000))]
    serial: Option<usize>,
    /// Run this script with the interpreter of its `#!` line, or with `/bin/sh`; hosts do not store the script
    #[arg(long, value_name = "FILE")]
    script: Option<PathBuf>,
    /// Timeout of the command; default: none
    #[arg(long, value_name = "TIME", value_parser = duration)]
    timeout: Option<Duration>,
    /// Write HOST.stdout, HOST.stderr and HOST.exit for each host into this new or empty folder
    #[arg(long, value_name = "DIR")]
    output: Option<PathBuf>,
    #[command(flatten)]
    reach: ReachArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl ExecArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let errand = self.errand(&mut screen)?;
        let opened = Opened::reachable(&self.project, &mut screen)?;
        let hosts = opened.hosts(&HostArguments { limit: vec![self.pattern] }, &mut screen)?;
        let visit = AdHocVisit {
            errand,
            hosts,
            serial: self.serial.unwrap_or(usize::MAX),
            files: self.output.map(OutputFolder::create).transpose()?,
            keep: self.history.retention(),
        };
        visit.run(&opened, &self.reach, screen)
    }

    /// Returns the command to run.
    fn errand(&self, screen: &mut Screen) -> Result<Errand, Failure> {
        let script = self.script.as_deref().map(read).transpose()?;
        if self.command.is_empty() && script.is_none() {
            return Err(self.without_command());
        }
        if self.command.iter().map(String::len).sum::<usize>() > COMMAND_LIMIT {
            let message = format!("the command is longer than {} KiB", COMMAND_LIMIT / 1024);
            return Err(Failure::new(message).help("put the command into a file, and run that with --script"));
        }
        if script.is_none()
            && let Some(word) = shell_syntax(&self.command)
        {
            let help = "to use the shell of the host, quote the whole line as one word";
            screen.warn(
                &format!("no shell reads `{word}`: {} gets it as an argument", self.command[0]),
                Some(help),
            );
        }
        let name =
            self.script.as_deref().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
        let timeout = self.timeout.filter(|time| !time.is_zero()).map(|time| time.as_millis() as u64);
        let asked = AdHoc { words: self.command.clone(), script, timeout };
        Ok(Errand::Exec { asked, script: name, quote: |word| shell_word(word) })
    }

    /// Returns the failure with the line to type. If INVENTORY is not an inventory, the user probably meant it as the
    /// command.
    fn without_command(&self) -> Failure {
        let pattern = shell_word(&self.pattern);
        let failure = Failure::new("exec needs a command, after `--`");
        failure.help(match &self.project.inventory {
            Some(word) if !word.exists() => {
                format!("write `converge exec {pattern} -- {}`", shell_word(&word.to_string_lossy()))
            }
            _ => format!("write `converge exec {pattern} -- uptime`"),
        })
    }
}

/// Returns a word that has a meaning only for a shell, not for a program.
fn shell_syntax(words: &[String]) -> Option<&str> {
    const SYNTAX: [&str; 8] = ["|", "||", "&&", "&", ">", ">>", "<", "2>&1"];
    words.iter().skip(1).map(String::as_str).find(|word| SYNTAX.contains(word))
}

fn read(path: &Path) -> Result<Vec<u8>, Failure> {
    let mut text = Vec::new();
    let read = File::open(path).and_then(|file| file.take(SCRIPT_LIMIT as u64 + 1).read_to_end(&mut text));
    read.map_err(|error| Failure::new(format!("failed to read {}: {error}", path.display())))?;
    match text.len() {
        0..=SCRIPT_LIMIT => Ok(text),
        _ => Err(Failure::new(format!("{} is larger than {} KiB", path.display(), SCRIPT_LIMIT / 1024))
            .help("copy it to the hosts with a `file` resource, and run that file")),
    }
}
