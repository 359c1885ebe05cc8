//! Tools from PyPI that Converge is compared with. Each has its own virtual environment in the cache of the test
//! hosts.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use super::Error;
use super::base::{TOOLS, cache};
use super::bed::remove_folder;
use super::command::{Ran, run, tool};
use super::progress;

/// Written last, so that an environment without it is incomplete.
const COMPLETE: &str = "complete";

/// Returns the folder with the programs of `requirement`, like `ansible==12.3.0`. Installs it first if it is missing.
///
/// # Errors
/// [`Error::Unavailable`] if it cannot be installed.
pub fn python_tool(requirement: &str) -> Result<PathBuf, Error> {
    let tools = cache().join(TOOLS);
    let folder = tools.join(requirement.replace("==", "-"));
    fs::create_dir_all(&tools).map_err(Error::file(&tools))?;
    let lock = folder.with_added_extension("lock");
    let file = File::create(&lock).map_err(Error::file(&lock))?;
    file.lock().map_err(Error::file(&lock))?;
    if !folder.join(COMPLETE).exists() {
        progress(&format!("installing {requirement} in {} (once)", folder.display()));
        remove_folder(&folder)?;
        install(requirement, &folder)
            .map_err(|error| Error::Unavailable(format!("{requirement} cannot be installed: {error}")))?;
        fs::write(folder.join(COMPLETE), "").map_err(Error::file(&folder))?;
    }
    Ok(folder.join("bin"))
}

fn install(requirement: &str, folder: &Path) -> Result<(), Error> {
    run(tool("python3").args(["-m", "venv"]).arg(folder)).and_then(Ran::ok)?;
    let options = ["-m", "pip", "install", "--quiet", "--disable-pip-version-check"];
    run(tool(folder.join("bin/python")).args(options).arg(requirement)).and_then(Ran::ok)?;
    Ok(())
}
