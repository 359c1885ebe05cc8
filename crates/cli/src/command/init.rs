//! `converge init`: creates a project from a host and a login, which it asks for at a terminal. The texts of the
//! files are here. The language checks them before they are written.

mod gitignore;

use std::fs::{self, File, OpenOptions};
use std::io::{self, BufRead, IsTerminal, Read, Write as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::PossibleValuesParser;
use converge_engine::modules::BUILTIN;
use converge_lang::diagnostic::{Files, Severity};
use converge_lang::{Diagnostics, Loader, MemorySources, quoted};
use converge_model::{Become, exit};

use crate::arguments::{FleetArguments, HostArguments, ProjectArguments, ReachArguments};
use crate::command::{check, plan};
use crate::failure::{ARGUMENTS, Failure};
use crate::foreign_options::shell_word;
use crate::project;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::text::{count, harmless};

/// Start a project: a converge.kdl, an inventory with one host, a .gitignore
///
/// At a terminal, asks for the missing options. Then runs check and plan, and exits
/// with their code. Writes nothing if a converge.kdl or an inventory.kdl exists.
/// Adds missing lines to an existing .gitignore.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct InitArgs {
    /// Folder of the project; created if it does not exist
    #[arg(default_value = ".")]
    folder: PathBuf,
    #[command(flatten)]
    answers: Answers,
    /// Write and check the project, but contact no host
    #[arg(long)]
    no_plan: bool,
    #[command(flatten)]
    reach: ReachArguments,
}

/// The host and how it is reached, as far as the user has said it.
#[derive(Clone, Debug, Default, Args)]
struct Answers {
    /// Host as ssh knows it, or a range such as `web[1..3]`
    #[arg(long, value_name = "NAME")]
    host: Option<String>,
    /// Address to connect to; default: the name of the host
    #[arg(long, requires = "host")]
    address: Option<String>,
    /// User to log in as; default: what ssh_config says
    #[arg(long)]
    user: Option<String>,
    /// Program to become root with; default: sudo, or none with `--user root`
    #[arg(long = "become", value_name = "HOW", value_parser = PossibleValuesParser::new(Become::ALL.map(|(name, _)| name)))]
    escalation: Option<String>,
    /// Manage the folder `sandbox` of the project in place of a host, without ssh
    #[arg(long = "local", conflicts_with_all = ["address", "user", "escalation"])]
    is_local: bool,
}

/// The files of a project: each name with its text.
type ProjectFiles = [(&'static str, String); 3];

impl InitArgs {
    pub(crate) fn run(mut self, mut screen: Screen) -> Result<u8, Failure> {
        refuse_existing(&self.folder)?;
        let ignored = existing_gitignore(&self.folder)?;
        let name = project_name(&self.folder);
        // The user cannot correct a wrong option by an answer, so check the options first.
        right_files(&self.answers, &name, &mut screen)?;
        match io::stdin().is_terminal() && io::stderr().is_terminal() {
            true => self.answers.ask(&name, &mut screen)?,
            false => self.require_host()?,
        }
        let files = right_files(&self.answers, &name, &mut screen)?;
        let lacking = ignored.map(|text| gitignore::missing(&text, self.answers.is_local));
        write(&self.folder, &files, lacking.as_deref(), &mut screen)?;
        self.try_it(screen)
    }

    fn require_host(&self) -> Result<(), Failure> {
        if self.answers.host.is_some() || self.answers.is_local {
            return Ok(());
        }
        let line = self.command_line("init");
        let help = format!("write `{line} --host web1 --user admin --become sudo`, or `{line} --local`");
        Err(Failure::new("without a terminal, `--host` must be given").help(help).code(ARGUMENTS))
    }

    /// Runs check and plan, and prints the next steps.
    fn try_it(self, screen: Screen) -> Result<u8, Failure> {
        let project = ProjectArguments { inventory: Some(self.folder.clone()), ..Default::default() };
        let look = screen.look();
        let mut code = check::check(project.clone(), screen)?;
        if !self.no_plan {
            let (hosts, reach) = (HostArguments::default(), self.reach.clone());
            code = plan::plan(FleetArguments { project, hosts, reach }, Screen::new(look))?;
        }
        let next = if code == exit::OK && !self.no_plan { "apply" } else { "plan" };
        Screen::new(look).say(&format!("now: {}\n", harmless(&self.command_line(next))));
        Ok(code)
    }

    /// Returns the line that runs a command on the project.
    fn command_line(&self, command: &str) -> String {
        match self.folder.as_os_str() == "." {
            true => format!("converge {command}"),
            false => format!("converge {command} {}", shell_word(&self.folder.to_string_lossy())),
        }
    }
}

impl Answers {
    /// Asks for the missing answers.
    fn ask(&mut self, project: &str, screen: &mut Screen) -> Result<(), Failure> {
        if !self.is_local {
            let question = "Host, as ssh knows it [none: a sandbox folder on this machine]: ";
            self.ask_until_right(project, question, screen, |answers| &mut answers.host)?;
            self.is_local = self.host.is_none();
        }
        if self.is_local { Ok(()) } else { self.ask_login(project, screen) }
    }

    fn ask_login(&mut self, project: &str, screen: &mut Screen) -> Result<(), Failure> {
        let question = format!("Address for ssh [{}]: ", harmless(self.host()));
        self.ask_until_right(project, &question, screen, |answers| &mut answers.address)?;
        let question = "User to log in as [what ssh_config says]: ";
        self.ask_until_right(project, question, screen, |answers| &mut answers.user)?;
        let ways = Become::ALL.map(|(name, _)| name).join(", ");
        let question = format!("Become root with ({ways}) [{}]: ", self.escalation());
        self.ask_until_right(project, &question, screen, |answers| &mut answers.escalation)
    }

    /// Asks until the language accepts the answer, unless an option answers it. An empty answer means the default.
    fn ask_until_right(
        &mut self,
        project: &str,
        question: &str,
        screen: &mut Screen,
        field: fn(&mut Self) -> &mut Option<String>,
    ) -> Result<(), Failure> {
        if field(self).is_some() {
            return Ok(());
        }
        loop {
            screen.ask(question, || {});
            let mut answers = self.clone();
            *field(&mut answers) = Some(typed_line()?).filter(|answer| !answer.is_empty());
            match mistakes(&answers.files(project)) {
                None => {
                    *self = answers;
                    return Ok(());
                }
                Some((diagnostics, files)) => screen.remarks(&diagnostics, &files),
            }
        }
    }

    fn host(&self) -> &str {
        self.host.as_deref().unwrap_or("here")
    }

    fn escalation(&self) -> &str {
        let usual = if self.user.as_deref() == Some("root") { "none" } else { "sudo" };
        self.escalation.as_deref().unwrap_or(usual)
    }

    /// Returns the files of the project.
    fn files(&self, project: &str) -> ProjectFiles {
        [
            ("converge.kdl", format!("project {}\ninventory \"inventory.kdl\"\n", quoted(project))),
            ("inventory.kdl", self.inventory()),
            (GITIGNORE, gitignore::text(self.is_local)),
        ]
    }

    fn inventory(&self) -> String {
        let connection = match self.is_local {
            true => format!("{LOCAL}connection \"local\" root=\"sandbox\"\n"),
            false => {
                let user = self.user.as_ref().map(|user| format!(" user={}", quoted(user)));
                let escalation = quoted(self.escalation());
                format!("connection{} become={escalation}\n", user.unwrap_or_default())
            }
        };
        let address = self.address.as_ref().map(|address| format!(" address={}", quoted(address)));
        let host = format!("host {}{}\n", quoted(self.host()), address.unwrap_or_default());
        format!("{HEAD}{connection}{host}{BODY}")
    }
}

/// Reads a typed line, without blanks around it.
fn typed_line() -> Result<String, Failure> {
    let mut line = String::new();
    match io::stdin().lock().take(LINE_LIMIT).read_line(&mut line)? {
        0 => Err(Failure::new("the input ended before the question was answered; nothing was written")),
        _ => Ok(line.trim().to_owned()),
    }
}

/// Fails if files of a project exist, except `.gitignore`, which many folders have. A broken symbolic link counts as
/// existing.
fn refuse_existing(folder: &Path) -> Result<(), Failure> {
    let names = Answers::default().files("").map(|(name, _)| name);
    let names: Vec<_> =
        names.iter().filter(|name| **name != GITIGNORE).map(|name| folder.join(name)).collect();
    let existing = names.iter().filter(|path| path.symlink_metadata().is_ok());
    let existing: Vec<_> = existing.map(|path| shown(path)).collect();
    let verb = if existing.len() == 1 { "exists" } else { "exist" };
    match existing.is_empty() {
        true => Ok(()),
        false => Err(Failure::new(format!("{} already {verb}; nothing was written", existing.join(", ")))
            .help("name a new folder: `converge init FOLDER`")),
    }
}

/// Returns the name of the folder.
fn project_name(folder: &Path) -> String {
    let path = folder.canonicalize().or_else(|_| std::path::absolute(folder));
    let name = path.ok().and_then(|path| path.file_name().map(|name| name.to_string_lossy().into_owned()));
    name.unwrap_or_else(|| "project".to_owned())
}

/// Returns the files of the project. Shows the mistakes in them and fails if there are any.
fn right_files(answers: &Answers, project: &str, screen: &mut Screen) -> Result<ProjectFiles, Failure> {
    let files = answers.files(project);
    match mistakes(&files) {
        None => Ok(files),
        Some((diagnostics, files)) => {
            screen.diagnostics(&diagnostics, &files);
            screen.say("nothing was written\n");
            Err(Failure::Drawn)
        }
    }
}

/// Returns the mistakes that the language finds in the files. None if the files can be written.
fn mistakes(files: &ProjectFiles) -> Option<(Diagnostics, Arc<Files>)> {
    let empty = MemorySources::new();
    let sources = files.iter().fold(empty, |sources, (name, text)| sources.file(name, text.as_str()));
    let loaded = Loader::new(Arc::new(sources), project::kinds(), BUILTIN.to_vec()).load("", &[]);
    let checked = loaded.inventory.map(|inventory| inventory.check()).unwrap_or_default();
    let mut errors = Diagnostics::default();
    // Skip notes, because they follow from an error: without a host name, `*` has no hosts.
    let all = loaded.diagnostics.iter().chain(checked.iter());
    all.filter(|found| found.severity == Severity::Error).for_each(|found| errors.push(found.clone()));
    errors.has_errors().then_some((errors, loaded.files))
}

fn write(
    folder: &Path,
    files: &ProjectFiles,
    lacking: Option<&str>,
    screen: &mut Screen,
) -> Result<(), Failure> {
    let failed = |path: &Path, error| Failure::new(format!("failed to write {}: {error}", shown(path)));
    fs::create_dir_all(folder).map_err(|error| failed(folder, error))?;
    for (name, text) in files {
        let path = folder.join(name);
        let added = lacking.filter(|_| *name == GITIGNORE);
        // Another program may have created the file since the check.
        let file = match added {
            Some(_) => OpenOptions::new().append(true).open(&path),
            None => File::create_new(&path),
        };
        let written = file.and_then(|mut file| file.write_all(added.unwrap_or(text).as_bytes()));
        written.map_err(|error| failed(&path, error))?;
        say_written(&path, added, screen);
    }
    Ok(())
}

/// Returns the text of an existing `.gitignore`.
fn existing_gitignore(folder: &Path) -> Result<Option<String>, Failure> {
    let path = folder.join(GITIGNORE);
    if path.symlink_metadata().is_err() {
        return Ok(None);
    }
    if path.is_symlink() {
        let message = format!("{} is a link, which git does not follow; nothing was written", shown(&path));
        return Err(Failure::new(message).help("put a file in its place, or remove it"));
    }
    let mut text = String::new();
    let read = File::open(&path).and_then(|file| file.take(GITIGNORE_LIMIT).read_to_string(&mut text));
    let failed =
        |error: &str| Failure::new(format!("failed to read {}: {error}; nothing was written", shown(&path)));
    match read {
        Err(error) => Err(failed(&error.to_string())),
        Ok(length) if length as u64 == GITIGNORE_LIMIT => Err(failed("it is larger than 1 MiB")),
        Ok(_) => Ok(Some(text)),
    }
}

/// Reports a written file, and how many lines were added to an existing one.
fn say_written(path: &Path, added: Option<&str>, screen: &mut Screen) {
    let lines = added.map(|text| text.trim_start().lines().count());
    match (screen.is_json(), lines) {
        (_, Some(0)) => {}
        (true, _) => screen.print_json(&Document::Written { file: plain(path), added }),
        (false, None) => screen.print(&format!("{}\n", shown(path))),
        (false, Some(lines)) => {
            screen.print(&format!("{} ({} added at its end)\n", shown(path), count(lines, "line")));
        }
    }
}

/// Removes the `./` of the default folder from a path.
fn plain(path: &Path) -> &Path {
    path.strip_prefix(".").unwrap_or(path)
}

fn shown(path: &Path) -> String {
    harmless(&plain(path).display().to_string())
}

/// The file with the patterns that git ignores.
const GITIGNORE: &str = ".gitignore";

/// The size limit of a `.gitignore` that is read, in bytes.
const GITIGNORE_LIMIT: u64 = 1 << 20;

/// The longest line that is read, in bytes: the limit of a terminal's line.
const LINE_LIMIT: u64 = 4096;

const HEAD: &str = "// The hosts, and what they should be. `converge check` finds mistakes, `converge plan` shows what would change.\n";

const LOCAL: &str = "// The folder sandbox stands for /: no root, no ssh. A host over ssh needs `connection user=\"admin\" become=\"sudo\"`.\n";

const BODY: &str = r#"
on "*" {
    directory "/etc/hello" mode="0755"
    file "/etc/hello/motd" mode="0644" {
        content "{{ host.name }} runs {{ facts.os.pretty_name }}.\n"
    }
    // Go on here: `converge docs` lists what a host can have, and `converge docs file` shows the parameters of one.
}
"#;
