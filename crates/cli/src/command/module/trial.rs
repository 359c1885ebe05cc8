//! The examples of modules on a real host. Each one is applied; a second plan must then be empty.

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

/// The host for the examples.
pub(super) struct Place {
    /// The host, as ssh knows it.
    pub(super) host: String,
    /// The account for the login. None: the account that ssh uses.
    pub(super) user: Option<String>,
    /// The program that the login uses to become root.
    pub(super) how: String,
}

/// An example of a README.
pub(super) struct Example {
    /// Its title on the screen.
    pub(super) title: String,
    /// The body of an `on` block.
    pub(super) body: String,
}

/// Tries the examples in order, with the modules of the project in `root`.
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
        Goal::Apply => "failed to apply",
        _ => "applied, but not in sync afterwards",
    }
}

impl Place {
    fn inventory(&self, body: &str) -> String {
        let user = self.user.as_ref().map(|user| format!("user={user:?} ")).unwrap_or_default();
        let (host, how) = (&self.host, &self.how);
        format!("connection {user}become={how:?}\nhost {host:?}\non {host:?} {{\n{body}}}\n")
    }
}

/// Copies a folder with its subfolders. A missing folder is skipped.
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
