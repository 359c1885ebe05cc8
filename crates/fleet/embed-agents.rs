// The agents that the command-line tool carries beside the one that its build makes: the files of one folder. Shared, as
// source, by the build script of `cli` and by the tests of this crate; so it uses the standard library alone.

#[expect(unreachable_pub, reason = "the crate exports what is a part here")]
#[path = "src/agent/platform.rs"]
mod platform;

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use platform::{BUILT, PLATFORMS, Platform};

/// Names the folder, where the tool is compiled.
pub(crate) const FOLDER: &str = "CONVERGE_AGENTS";

/// Where the two bytes with the processor are in an ELF file.
const MACHINE: std::ops::Range<usize> = 18..20;

/// The text of a Rust array of the agents: `built`, and those in `folder`, each with its platform.
///
/// The error says what is wrong with the folder, for who compiles the tool.
pub(crate) fn listed(built: &Path, folder: Option<&Path>) -> Result<String, String> {
    let others = folder.map_or(Ok(Vec::new()), others)?;
    let mut text = "[\n".to_owned();
    for (platform, path) in [(BUILT, built.to_owned())].iter().chain(&others) {
        let row = PLATFORMS.iter().position(|row| row == *platform).unwrap_or_default();
        // Writing to a string cannot fail.
        let _ =
            writeln!(text, "    (&converge_fleet::PLATFORMS[{row}], include_bytes!({path:?}).as_slice()),");
    }
    text.push_str("]\n");
    Ok(text)
}

/// The agents in `folder`, in the order of the table.
fn others(folder: &Path) -> Result<Vec<(&'static Platform, PathBuf)>, String> {
    if !folder.is_absolute() {
        return Err(format!("{FOLDER} must be an absolute path, found {}", folder.display()));
    }
    let failed = |error| format!("failed to read {}, which {FOLDER} names: {error}", folder.display());
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).map_err(failed)? {
        let path = entry.map_err(failed)?.path();
        found.push((checked(&path)?, path));
    }
    found.sort_by_key(|(platform, _)| PLATFORMS.iter().position(|row| row == *platform));
    Ok(found)
}

/// The platform of the agent at `path`, which its name and its header say alike.
fn checked(path: &Path) -> Result<&'static Platform, String> {
    let shown = path.display();
    let Some(platform) = PLATFORMS.iter().find(|row| path.file_name().is_some_and(|name| name == row.file))
    else {
        let names: Vec<_> = PLATFORMS.iter().filter(|row| *row != BUILT).map(|row| row.file).collect();
        return Err(format!("{shown} must be named for a platform: {}", names.join(", ")));
    };
    if platform == BUILT {
        return Err(format!("{shown} must not be there: the build makes this agent itself"));
    }
    let program = fs::read(path).map_err(|error| format!("failed to read {shown}: {error}"))?;
    let machine = match program.get(MACHINE) {
        Some(&[low, high]) if program.starts_with(b"\x7fELF") => u16::from_le_bytes([low, high]),
        _ => return Err(format!("{shown} must be a program (ELF), found something else")),
    };
    if machine == platform.elf_machine {
        return Ok(platform);
    }
    let found = PLATFORMS.iter().find(|row| row.elf_machine == machine);
    let found = found.map_or(format!("ELF machine {machine}"), |row| row.machines.join("/"));
    let expected = platform.machines.join("/");
    Err(format!("{shown} must be a program for {} on {expected}, found {found}", platform.system))
}
