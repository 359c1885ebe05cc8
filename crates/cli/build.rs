//! Builds the agent that the command-line tool embeds and uploads, and packs it. Also packs the agents in the folder
//! that `CONVERGE_AGENTS` names at compile time. It never searches for another compiler.

#[path = "../fleet/build-agent.rs"]
mod build_agent;
#[path = "../fleet/embed-agents.rs"]
mod embed_agents;

use std::path::{Path, PathBuf};
use std::process::ExitCode;

fn main() -> ExitCode {
    match embed() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            println!("cargo::error={}", error.replace('\n', "\ncargo::error="));
            ExitCode::FAILURE
        }
    }
}

/// Writes `agents.rs`, the list of agents, which `src/agents.rs` includes.
fn embed() -> Result<(), String> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let folder = std::env::var_os(embed_agents::FOLDER).filter(|name| !name.is_empty()).map(PathBuf::from);
    watch(&root, folder.as_deref());
    let root = root.canonicalize().map_err(|error| error.to_string())?;
    let built = build_agent::build(&root)?;
    let out = PathBuf::from(std::env::var_os("OUT_DIR").ok_or("cargo names no OUT_DIR")?);
    let list = embed_agents::embedded(&built, folder.as_deref(), &out)?;
    let path = out.join("agents.rs");
    std::fs::write(&path, list).map_err(|error| format!("failed to write {}: {error}", path.display()))
}

/// Tells cargo the inputs of this build.
fn watch(root: &Path, folder: Option<&Path>) {
    println!("cargo::rerun-if-env-changed={}", embed_agents::FOLDER);
    for source in build_agent::SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    for source in ["build-agent.rs", "embed-agents.rs", "src/agent/gzip.rs", "src/agent/platform.rs"] {
        println!("cargo::rerun-if-changed=../fleet/{source}");
    }
    if let Some(folder) = folder {
        println!("cargo::rerun-if-changed={}", folder.display());
    }
}
