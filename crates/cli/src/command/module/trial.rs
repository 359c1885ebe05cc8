//! The examples of modules on a real host: each is applied, and must leave nothing to do.

use std::fs;
use std::path::Path;
use std::time::Duration;

use converge_engine::Goal;
use converge_lang::Selection;
use converge_model::exit;
use converge_model::wire::Guard;

use crate::arguments::{ProjectArguments, ReachArguments};
use crate::failure::Failure;
use crate::project::Opened;
use crate::view::Screen;
use crate::visit::{Terms, Visit};

/// Where examples are tried.
pub(super) struct Place {
    /// The host, as ssh knows it.
    pub(super) host: String,
    /// Who logs in there; none: as ssh says.
    pub(super) user: Option<String>,
    /// How that login becomes root.
    pub(super) how: String,
}

/// An example of a README.
pub(super) struct Example {
    /// What it is called on the screen.
    pub(super) title: String,
    /// The body of an `on` block.
    pub(super) body: String,
}

/// Tries the examples one after the other, with the modules of the project in `root`.
pub(super) fn run(
    root: &Path,
    place: &Place,
    examples: &[Example],
    reach: &ReachArguments,
    screen: Screen,
) -> Result<u8, Failure> {
    if examples.is_empty() {
        return Err(
            Failure::new("there are no examples to try").help("an example is a fence of `kdl` in the README")
        );
    }
    let look = screen.look();
    let folder = tempfile::tempdir()?;
    for part in ["modules", "files", "templates"] {
        copy(&root.join(part), &folder.path().join(part))?;
    }
    for example in examples {
        let inventory = folder.path().join("inventory.kdl");
        fs::write(&inventory, place.inventory(&example.body))?;
        let mut said = Screen::new(look);
        said.say(&format!("{}\n", example.title));
        let arguments = ProjectArguments { inventory: Some(inventory), ..ProjectArguments::default() };
        for goal in [Goal::Apply, Goal::Plan { detailed: true }] {
            let mut screen = Screen::new(look);
            let opened = Opened::checked(&arguments, &mut screen)?;
            let hosts = opened.inventory.hosts().cloned().collect();
            let terms = Terms { goal, yes: true, keep: None, guard: Guard::default(), wait: Duration::ZERO };
            let visit = Visit { terms, hosts, selection: Selection::default(), strict: false };
            let code = visit.run(&opened, reach, screen)?;
            if code != exit::OK {
                said.say(&format!("{}: {}\n", example.title, why(goal)));
                return Ok(code);
            }
        }
    }
    Ok(exit::OK)
}

const fn why(goal: Goal) -> &'static str {
    match goal {
        Goal::Apply => "it cannot be applied",
        _ => "applied, and yet something is left to do",
    }
}

impl Place {
    fn inventory(&self, body: &str) -> String {
        let user = self.user.as_ref().map(|user| format!("user={user:?} ")).unwrap_or_default();
        let (host, how) = (&self.host, &self.how);
        format!("connection {user}become={how:?}\nhost {host:?}\non {host:?} {{\n{body}}}\n")
    }
}

/// Copies a folder of files and folders; one that is not there is none.
fn copy(from: &Path, to: &Path) -> Result<(), Failure> {
    if !from.is_dir() {
        return Ok(());
    }
    fs::create_dir_all(to)?;
    for entry in fs::read_dir(from)? {
        let entry = entry?;
        let (path, target) = (entry.path(), to.join(entry.file_name()));
        if path.is_dir() {
            copy(&path, &target)?;
        } else {
            fs::copy(&path, &target)?;
        }
    }
    Ok(())
}
