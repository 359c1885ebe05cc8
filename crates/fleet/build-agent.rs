// Builds the agent: the static program that the controller uploads to hosts. Two users include this file as source:
// the build script of `cli`, which embeds the agent, and the tests of this crate. So it uses the standard library
// alone.
//
// The nested build has a target folder of its own, `target/agent`. `build`, `check` and `clippy` share it, so the
// agent is built only once. The nested build takes no lock that the outer cargo holds while build scripts run. The
// flags of the outer build do not reach it.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The platform of the agent, as rustc names it.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// The sources of the agent, below the root of the workspace. A change there means another agent.
pub(crate) const SOURCES: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", "crates/model", "crates/resources", "crates/agent"];

/// Builds the agent of the workspace at `root` and returns its path.
///
/// The error contains the output of the nested cargo.
pub(crate) fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/agent");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--package", "converge-agent", "--profile", "agent"]);
    // With an explicit target the flags do not reach build scripts and macros, which cannot be static.
    cargo.args(["--bin", "converge-agent", "--target", TARGET, "--target-dir"]).arg(&folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| inherited_flag(name)) {
        cargo.env_remove(name);
    }
    // Packed relative relocations need a fiftieth of the space. glibc reads them since 2.36.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs");
    let output = cargo.output().map_err(|error| format!("failed to start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed to build the agent:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    let built = folder.join(TARGET).join("agent/converge-agent");
    let finished = folder.join("converge-agent");
    let result = finish(&built, &finished);
    result.map(|()| finished).map_err(|error| format!("failed to finish {}: {error}", built.display()))
}

/// Sections with the tables for unwinding the stack. The agent never unwinds (`panic = "abort"`), but std and the C
/// library bring their tables, and the linker keeps them. Filled with zeros, they cost nothing in the upload;
/// otherwise a tenth of it.
const UNWINDING: [&[u8]; 3] = [b".eh_frame", b".eh_frame_hdr", b".gcc_except_table"];

/// Writes `built` without its unwind tables to `finished`.
fn finish(built: &Path, finished: &Path) -> io::Result<()> {
    let mut program = fs::read(built)?;
    let found = sections(&program).ok_or_else(|| io::Error::other("it is not a 64-bit ELF file"))?;
    for (_, range) in found.iter().filter(|(name, _)| UNWINDING.contains(&name.as_slice())) {
        program.get_mut(range.clone()).ok_or_else(|| io::Error::other("a section ends beyond it"))?.fill(0);
    }
    if fs::read(finished).is_ok_and(|before| before == program) {
        return Ok(());
    }
    // Another build may write this file at the same time, and the program may be running.
    let fresh = finished.with_extension(std::process::id().to_string());
    fs::copy(built, &fresh)?;
    fs::write(&fresh, program)?;
    fs::rename(&fresh, finished)
}

/// The sections of a little-endian 64-bit ELF file: each name, and its range in the file.
fn sections(elf: &[u8]) -> Option<Vec<(Vec<u8>, std::ops::Range<usize>)>> {
    let number = |at: usize, length: usize| {
        let bytes = elf.get(at..at.checked_add(length)?)?;
        Some(bytes.iter().rev().fold(0, |sum: usize, byte| sum << 8 | usize::from(*byte)))
    };
    if !elf.starts_with(b"\x7fELF\x02\x01") {
        return None;
    }
    let (table, size, count, names) = (number(40, 8)?, number(58, 2)?, number(60, 2)?, number(62, 2)?);
    let header = |index: usize| table.checked_add(index * size);
    let names = number(header(names)? + 24, 8)?;
    (0..count)
        .map(|index| {
            let header = header(index)?;
            let name = elf.get(names.checked_add(number(header, 4)?)?..)?.split(|byte| *byte == 0).next()?;
            let (start, length) = (number(header + 24, 8)?, number(header + 32, 8)?);
            Some((name.to_vec(), start..start.checked_add(length)?))
        })
        .collect()
}

/// Whether a variable configures the outer build. Variables for cargo's home and its registries are kept.
fn inherited_flag(name: &OsStr) -> bool {
    let Some(name) = name.to_str() else { return false };
    let kept = ["CARGO", "CARGO_HOME"].contains(&name)
        || ["CARGO_NET_", "CARGO_HTTP_", "CARGO_REGISTR", "CARGO_SOURCE_"]
            .iter()
            .any(|p| name.starts_with(p));
    let build = [
        "CARGO",
        "__CARGO",
        "RUSTC",
        "RUSTFLAGS",
        "RUSTDOC",
        "CLIPPY",
        "MAKEFLAGS",
        "MFLAGS",
        "NEXTEST",
        "LLVM_PROFILE",
    ];
    let script =
        ["TARGET", "HOST", "PROFILE", "OPT_LEVEL", "DEBUG", "NUM_JOBS", "OUT_DIR", "LD_LIBRARY_PATH"];
    !kept && (build.iter().any(|p| name.starts_with(p)) || script.contains(&name))
}
