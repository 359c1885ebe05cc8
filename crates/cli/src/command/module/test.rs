//! `converge module test`: runs the cases of modules without a host, and their examples on a host.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use converge_engine::secrets::Identities;
use converge_lang::{Case, CaseOutcome, Loader, case};
use converge_model::exit;
use converge_resources::diff;

use super::trial;
use crate::arguments::ReachArguments;
use crate::failure::Failure;
use crate::project;
use crate::view::Screen;
use crate::view::json::Document;
use crate::view::paint::{ADDED, FAILED, paint};
use crate::view::text::{count, harmless};

/// Test modules: compare the resources that they produce with the expected ones
///
/// A case is a file modules/NAME/cases/CASE.kdl. It holds the body of an `on`
/// block. The file CASE.expected lists the resources that the body must produce.
/// The examples in the module's README (code blocks marked `kdl`) must load, too.
///
/// With --host, applies every example of the README to that host. Afterwards, all
/// resources must be in sync. This changes the host: use one that you can throw away.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct TestArgs {
    /// Modules to test; default: all of the project
    #[arg(value_name = "NAME")]
    names: Vec<String>,
    /// Write the resulting resources as the expected ones; review them before you commit
    #[arg(long, conflicts_with = "host")]
    update: bool,
    /// Apply the examples of the README to this host
    #[arg(long, value_name = "HOST")]
    host: Option<String>,
    /// User to log in as; default: what ssh_config says
    #[arg(long, value_name = "USER", requires = "host")]
    user: Option<String>,
    /// Program to become root with: none, sudo, doas or su
    #[arg(long = "become", value_name = "HOW", requires = "host", default_value = "sudo")]
    how: String,
    #[command(flatten)]
    reach: ReachArguments,
}

impl TestArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        let project = super::project()?;
        // Modules have no secrets of their own, so no keys are needed.
        let (loader, _) = project::loader(&project, Arc::new(Identities::only(Vec::new())));
        let modules = Modules { root: project.root.clone(), loader };
        let names = if self.names.is_empty() { modules.names()? } else { self.names.clone() };
        names.iter().try_for_each(|name| modules.known(name))?;
        if let Some(host) = self.host {
            let place = trial::Place { host, user: self.user, how: self.how };
            let examples = modules.examples_of(&names)?;
            return trial::run(&project.root, &place, &examples, &self.reach, screen);
        }
        let mut tally = Tally::default();
        for name in &names {
            for path in modules.cases(name)? {
                let verdict = modules.case(&path, self.update)?;
                tally.show(name, &case_name(&path), verdict, &mut screen);
            }
            for (example, text) in modules.examples(name)?.into_iter().enumerate() {
                let verdict = modules.example(name, &text);
                tally.show(name, &format!("README example {}", example + 1), verdict, &mut screen);
            }
        }
        tally.finish(&mut screen)
    }
}

/// The modules of a project.
struct Modules {
    root: PathBuf,
    loader: Loader,
}

/// The result of one case.
enum Verdict {
    Passed,
    Written,
    Failed(String),
}

/// The largest file of a case, in bytes.
const LIMIT: u64 = 1 << 20;

impl Modules {
    fn names(&self) -> Result<Vec<String>, Failure> {
        let mut names = match self.loader.sources.list("modules") {
            Ok(names) => names,
            Err(error) => {
                return Err(Failure::new(format!(
                    "failed to read the folder modules of {}: {error}",
                    self.root.display()
                ))
                .help("`converge module new NAME` starts a module"));
            }
        };
        names.retain(|name| self.root.join("modules").join(name).join("module.kdl").is_file());
        names.sort();
        Ok(names)
    }

    fn known(&self, name: &str) -> Result<(), Failure> {
        match self.names()?.iter().any(|known| known == name) {
            true => Ok(()),
            false => {
                let place = self.root.join("modules").display().to_string();
                Err(Failure::new(format!("there is no module {name} in {place}"))
                    .help(format!("`converge module new {name}` starts one")))
            }
        }
    }

    /// Returns the cases of a module, sorted by name, as paths in the project.
    fn cases(&self, name: &str) -> Result<Vec<String>, Failure> {
        let folder = format!("modules/{name}/cases");
        if !self.root.join(&folder).is_dir() {
            return Ok(Vec::new());
        }
        let names =
            self.loader.sources.list(&folder).map_err(|error| Failure::new(format!("{folder}: {error}")))?;
        let mut cases: Vec<_> = names
            .iter()
            .filter(|name| name.ends_with(".kdl"))
            .map(|name| format!("{folder}/{name}"))
            .collect();
        cases.sort();
        Ok(cases)
    }

    fn case(&self, path: &str, update: bool) -> Result<Verdict, Failure> {
        let text = self.text(path)?;
        let outcome = match Case::read(path, &text) {
            Ok(case) => case.run(&self.loader),
            Err(report) => return Ok(Verdict::Failed(report)),
        };
        match outcome {
            CaseOutcome::Refused => Ok(Verdict::Passed),
            CaseOutcome::Broken(report) => Ok(Verdict::Failed(report)),
            CaseOutcome::Resources(text) => self.compare(Path::new(path), &text, update),
        }
    }

    fn compare(&self, case: &Path, text: &str, update: bool) -> Result<Verdict, Failure> {
        let path = case.with_extension("expected");
        let expected =
            if self.root.join(&path).is_file() { self.text(&path.to_string_lossy())? } else { String::new() };
        match diff::unified(expected.as_bytes(), text.as_bytes()) {
            _ if expected == text => Ok(Verdict::Passed),
            _ if update => {
                fs::write(self.root.join(&path), text)?;
                Ok(Verdict::Written)
            }
            difference => {
                Ok(Verdict::Failed(difference.map(|difference| difference.unified).unwrap_or_default()))
            }
        }
    }

    /// Returns the runnable examples in a module's README: its fences of plain `kdl`.
    fn examples(&self, name: &str) -> Result<Vec<String>, Failure> {
        let path = format!("modules/{name}/README.md");
        if !self.root.join(&path).is_file() {
            return Ok(Vec::new());
        }
        Ok(case::examples(&self.text(&path)?))
    }

    fn examples_of(&self, names: &[String]) -> Result<Vec<trial::Example>, Failure> {
        let mut examples = Vec::new();
        for name in names {
            for (place, body) in self.examples(name)?.into_iter().enumerate() {
                examples.push(trial::Example { title: format!("{name}, example {}", place + 1), body });
            }
        }
        Ok(examples)
    }

    fn example(&self, name: &str, text: &str) -> Verdict {
        let outcome =
            Case::read(&format!("modules/{name}/README.md"), text).map(|case| case.run(&self.loader));
        match outcome {
            Ok(CaseOutcome::Broken(report)) | Err(report) => Verdict::Failed(report),
            Ok(_) => Verdict::Passed,
        }
    }

    fn text(&self, path: &str) -> Result<String, Failure> {
        let bytes = self
            .loader
            .sources
            .read(path, LIMIT)
            .map_err(|error| Failure::new(format!("{path}: {error}")))?;
        String::from_utf8(bytes.to_vec()).map_err(|_| Failure::new(format!("{path}: it is not UTF-8 text")))
    }
}

fn case_name(path: &str) -> String {
    Path::new(path).file_stem().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// The number of cases with each result.
#[derive(Default)]
struct Tally {
    passed: usize,
    written: usize,
    failed: usize,
}

impl Tally {
    fn show(&mut self, module: &str, case: &str, verdict: Verdict, screen: &mut Screen) {
        let (outcome, style, report) = match &verdict {
            Verdict::Passed => ("passed", ADDED, None),
            Verdict::Written => ("written", ADDED, None),
            Verdict::Failed(report) => ("failed", FAILED, Some(report.as_str())),
        };
        match verdict {
            Verdict::Passed => self.passed += 1,
            Verdict::Written => self.written += 1,
            Verdict::Failed(_) => self.failed += 1,
        }
        if screen.is_json() {
            return screen.print_json(&Document::ModuleCase { module, case, outcome, report });
        }
        screen.print(&format!("{} {}: {}\n", paint(style, outcome), harmless(module), harmless(case)));
        for line in report.unwrap_or_default().lines() {
            screen.print(&format!("    {}\n", harmless(line)));
        }
    }

    fn finish(&self, screen: &mut Screen) -> Result<u8, Failure> {
        let all = self.passed + self.written + self.failed;
        if all == 0 {
            return Err(Failure::new("there are no cases to test")
                .help("a case is a file modules/NAME/cases/CASE.kdl: the body of an `on` block"));
        }
        if !screen.is_json() {
            let cases = count(all, "case");
            screen.print(&format!(
                "{cases}: {} passed, {} written, {} failed\n",
                self.passed, self.written, self.failed
            ));
        }
        Ok(if self.failed == 0 { exit::OK } else { exit::ERROR })
    }
}
