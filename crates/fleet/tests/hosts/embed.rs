//! The additional agents that the command-line tool carries: the folder that its build script reads.

#[path = "../../embed-agents.rs"]
mod embed_agents;

use std::path::Path;

use converge_fleet::{Agent, BUILT, PLATFORMS, Packed, Platform};
use embed_agents::embedded;

use crate::support::scratch;

/// The first bytes of a program for a processor.
fn header(machine: u16) -> Vec<u8> {
    let mut elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[2, 0]].concat();
    elf.extend(machine.to_le_bytes());
    elf
}

/// Returns the array of the agents: a built one, and those in a folder.
fn list(folder: Option<&Path>) -> Result<String, String> {
    let out = scratch();
    let built = out.path().join("built");
    std::fs::write(&built, header(62)).unwrap();
    let listed = embedded(&built, folder, out.path())?;
    Ok(listed.replace(&out.path().display().to_string(), "OUT"))
}

/// Returns a built agent as it is embedded and sent.
pub(crate) fn packed(built: &Path) -> Vec<u8> {
    let out = scratch();
    embedded(built, None, out.path()).unwrap();
    std::fs::read(out.path().join("converge-agent-x86_64-linux.gz")).unwrap()
}

/// Returns the error for a folder that holds one file.
fn mistake(name: &str, bytes: &[u8]) -> String {
    let folder = scratch();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    list(Some(folder.path())).unwrap_err().replace(&folder.path().display().to_string(), "F")
}

#[test]
fn every_build_carries_its_own_agent() {
    let own = list(None).unwrap();
    assert_eq!(list(Some(scratch().path())).unwrap(), own);
    let agent = Agent::new(BUILT, header(62));
    let has = |text: &str| assert!(own.contains(text), "{text} is in {own}");
    has("platform: &PLATFORMS[0],");
    has("size: 20,");
    has(&format!("from_bytes({:?})", agent.digest().as_bytes()));
    has(&format!("sha256: \"{}\"", agent.sha256()));
    has("include_bytes!(\"OUT/converge-agent-x86_64-linux.gz\")");
}

#[test]
fn an_agent_is_packed_alike_in_every_build_and_can_be_unpacked() {
    let folder = scratch();
    let built = folder.path().join("built");
    std::fs::write(&built, header(62)).unwrap();
    let gzip: &'static [u8] = packed(&built).leak();
    assert_eq!(packed(&built), gzip);
    let of = Agent::new(BUILT, header(62));
    let agent = Packed { platform: BUILT, size: of.size(), digest: of.digest(), sha256: "", gzip };
    assert_eq!(Agent::from(&agent).bytes().unwrap(), header(62));
}

#[test]
fn further_agents_come_in_the_order_of_the_table() {
    let folder = scratch();
    for platform in PLATFORMS[1..].iter().rev() {
        std::fs::write(folder.path().join(platform.file), header(platform.elf_machine)).unwrap();
    }
    let text = list(Some(folder.path())).unwrap();
    let places = PLATFORMS.iter().enumerate().flat_map(|(row, platform)| {
        [format!("platform: &PLATFORMS[{row}],"), format!("OUT/{}.gz", platform.file)]
    });
    let places: Vec<_> =
        places.map(|words| text.find(&words).unwrap_or_else(|| panic!("{words}: {text}"))).collect();
    assert!(places.is_sorted(), "{text}");
}

#[test]
fn a_file_that_is_no_agent_is_an_error() {
    let arm = Platform::of("Linux", "aarch64").unwrap();
    let check = |name, bytes: &[u8], told: &str| assert_eq!(mistake(name, bytes), told);
    check(
        "README",
        b"",
        "F/README must be named for a platform: converge-agent-aarch64-linux, converge-agent-riscv64-linux",
    );
    check(
        arm.file,
        b"#!/bin/sh\n",
        "F/converge-agent-aarch64-linux must be a program of 64 bits (ELF), found something else",
    );
    check(
        arm.file,
        &header(62),
        "F/converge-agent-aarch64-linux must be a program for Linux on aarch64/arm64, found x86_64/amd64",
    );
    check(
        arm.file,
        &header(8),
        "F/converge-agent-aarch64-linux must be a program for Linux on aarch64/arm64, found ELF machine 8",
    );
    check(
        PLATFORMS[0].file,
        &header(62),
        "F/converge-agent-x86_64-linux must not be there: the build makes this agent itself",
    );
}

#[test]
fn a_folder_that_cannot_be_read_is_named() {
    let told = |folder: &str| list(Some(Path::new(folder))).unwrap_err();
    assert_eq!(told("agents"), "CONVERGE_AGENTS must be an absolute path, found agents");
    let told = told("/nonexistent/agents");
    assert!(told.starts_with("failed to read /nonexistent/agents, which CONVERGE_AGENTS names: "), "{told}");
}
