// The agents that the command-line tool carries: the one that its build makes, and the files of one folder. The build
// script of `cli` and the tests of this crate include this file as source.

#[path = "src/agent/gzip.rs"]
mod gzip;
#[expect(unreachable_pub, reason = "the crate exports what is a part here")]
#[path = "src/agent/platform.rs"]
mod platform;

use std::fs;
use std::path::{Path, PathBuf};

use flate2::Compression;
use platform::{BUILT, PLATFORMS, Platform};
use sha2::{Digest as _, Sha256};

/// Variable that names the folder when the tool is compiled.
pub(crate) const FOLDER: &str = "CONVERGE_AGENTS";

/// The position of the two bytes with the processor in an ELF file.
const MACHINE: std::ops::Range<usize> = 18..20;

/// Packs the agents into the folder `out`: `built`, and those in `folder`. Returns the text of a Rust array of
/// `Packed` agents. The code that includes it needs `Packed`, `PLATFORMS` and `Digest` in scope.
///
/// The error says what is wrong with the folder. The person who compiles the tool reads it.
pub(crate) fn embedded(built: &Path, folder: Option<&Path>, out: &Path) -> Result<String, String> {
    let others = folder.map_or(Ok(Vec::new()), others)?;
    let all = [(BUILT, built.to_owned())].into_iter().chain(others);
    let rows: Vec<_> = all.map(|(platform, path)| row(platform, &path, out)).collect::<Result<_, _>>()?;
    Ok(format!("[\n{}]\n", rows.concat()))
}

/// Packs one agent and returns its row in the array.
fn row(platform: &Platform, path: &Path, out: &Path) -> Result<String, String> {
    let program = fs::read(path).map_err(|error| format!("failed to read {}: {error}", path.display()))?;
    let packed = out.join(platform.file).with_extension("gz");
    let written = fs::write(&packed, gzip::packed(&program, Compression::best()));
    written.map_err(|error| format!("failed to write {}: {error}", packed.display()))?;
    let row = PLATFORMS.iter().position(|row| row == platform).unwrap_or_default();
    let sha256: String = Sha256::digest(&program).iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(format!(
        "    Packed {{\n        platform: &PLATFORMS[{row}],\n        size: {},\n        \
         digest: Digest::from_bytes({:?}),\n        sha256: {sha256:?},\n        gzip: \
         include_bytes!({packed:?}),\n    }},\n",
        program.len(),
        blake3::hash(&program).as_bytes(),
    ))
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

/// Returns the platform of the agent at `path`. The file name and the ELF header must name the same platform.
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
        // All platforms of the table are 64-bit and little-endian.
        Some(&[low, high]) if program.starts_with(b"\x7fELF\x02\x01") => u16::from_le_bytes([low, high]),
        _ => return Err(format!("{shown} must be a program of 64 bits (ELF), found something else")),
    };
    if machine == platform.elf_machine {
        return Ok(platform);
    }
    let found = PLATFORMS.iter().find(|row| row.elf_machine == machine);
    let found = found.map_or(format!("ELF machine {machine}"), |row| row.machines.join("/"));
    let expected = platform.machines.join("/");
    Err(format!("{shown} must be a program for {} on {expected}, found {found}", platform.system))
}
