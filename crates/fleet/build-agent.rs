// Builds the agent: the static program that is uploaded to hosts. Shared, as source, by the build script of `cli`,
// which embeds it, and by the tests of this crate; so it uses the standard library alone.
//
// The nested build has a target folder of its own, `target/agent`, shared by `build`, `check` and `clippy`: the second
// of them finds it built. It takes no lock that the outer cargo holds while build scripts run, and nothing of the
// outer build's flags reaches it.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::Command;

/// What the agent is built for.
pub(crate) const TARGET: &str = "x86_64-unknown-linux-gnu";
/// What the agent is built from, below the root of the workspace: a change there means another agent.
pub(crate) const SOURCES: [&str; 5] =
    ["Cargo.toml", "Cargo.lock", "crates/model", "crates/resources", "crates/agent"];

/// Builds the agent of the workspace at `root`, and says where it is.
///
/// The error says what the nested cargo said.
pub(crate) fn build(root: &Path) -> Result<PathBuf, String> {
    let folder = root.join("target/agent");
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.current_dir(root).args(["build", "--quiet", "--package", "converge-agent", "--profile", "agent"]);
    // With an explicit target the flags do not reach build scripts and macros, which cannot be static.
    cargo.args(["--bin", "converge-agent", "--target", TARGET, "--target-dir"]).arg(&folder);
    for (name, _) in std::env::vars_os().filter(|(name, _)| inherited_flag(name)) {
        cargo.env_remove(name);
    }
    // Packed, what moves with the program is told in a fiftieth of the room; glibc reads that since 2.36.
    cargo.env("RUSTFLAGS", "-C target-feature=+crt-static -C link-arg=-Wl,-z,pack-relative-relocs");
    let output = cargo.output().map_err(|error| format!("failed to start cargo: {error}"))?;
    if !output.status.success() {
        return Err(format!("failed to build the agent:\n{}", String::from_utf8_lossy(&output.stderr)));
    }
    Ok(folder.join(TARGET).join("agent/converge-agent"))
}

/// Whether a variable says how the outer build is done; where cargo finds its home and its registries stays.
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
