//! Builds the agent that the command-line tool embeds and uploads; `CONVERGE_AGENT` names it when the tool is compiled.

#[path = "../fleet/build-agent.rs"]
mod build_agent;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    for source in build_agent::SOURCES {
        println!("cargo::rerun-if-changed={}", root.join(source).display());
    }
    println!("cargo::rerun-if-changed=../fleet/build-agent.rs");
    match root.canonicalize().map_err(|error| error.to_string()).and_then(|root| build_agent::build(&root)) {
        Ok(agent) => {
            println!("cargo::rustc-env=CONVERGE_AGENT={}", agent.display());
            ExitCode::SUCCESS
        }
        Err(error) => {
            println!("cargo::error={}", error.replace('\n', "\ncargo::error="));
            ExitCode::FAILURE
        }
    }
}
