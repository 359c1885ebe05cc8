//! The agents that the command-line tool carries beside its own: the folder that its build script reads.

#[path = "../../embed-agents.rs"]
mod embed_agents;

use std::path::Path;

use converge_fleet::{PLATFORMS, Platform};
use embed_agents::listed;

use crate::support::scratch;

/// The first bytes of a program for a processor.
fn header(machine: u16) -> Vec<u8> {
    let mut elf = [b"\x7fELF\x02\x01\x01".as_slice(), &[0; 9], &[2, 0]].concat();
    elf.extend(machine.to_le_bytes());
    elf
}

/// The list of the agents in a folder with one file, or what is wrong with it.
fn list(name: &str, bytes: &[u8]) -> Result<String, String> {
    let folder = scratch();
    std::fs::write(folder.path().join(name), bytes).unwrap();
    let shown = folder.path().display().to_string();
    let listed = listed(Path::new("/built"), Some(folder.path()));
    listed.map(|text| text.replace(&shown, "F")).map_err(|error| error.replace(&shown, "F"))
}

#[test]
fn every_build_carries_its_own_agent() {
    let own = "[\n    (&converge_fleet::PLATFORMS[0], include_bytes!(\"/built\").as_slice()),\n]\n";
    assert_eq!(listed(Path::new("/built"), None).unwrap(), own);
    assert_eq!(listed(Path::new("/built"), Some(scratch().path())).unwrap(), own);
}

#[test]
fn further_agents_come_in_the_order_of_the_table() {
    let folder = scratch();
    for platform in PLATFORMS[1..].iter().rev() {
        std::fs::write(folder.path().join(platform.file), header(platform.elf_machine)).unwrap();
    }
    let text = listed(Path::new("/built"), Some(folder.path())).unwrap();
    let rows: Vec<_> = text.lines().filter(|line| line.contains("include_bytes")).collect();
    assert_eq!(rows.len(), PLATFORMS.len());
    for (row, platform) in rows.iter().zip(&PLATFORMS).skip(1) {
        let at = PLATFORMS.iter().position(|other| other == platform).unwrap();
        assert!(row.contains(&format!("PLATFORMS[{at}]")) && row.contains(platform.file), "{row}");
    }
}

#[test]
fn a_file_that_is_no_agent_is_an_error() {
    let arm = Platform::of("Linux", "aarch64").unwrap();
    let check = |name, bytes: &[u8], told: &str| assert_eq!(list(name, bytes).unwrap_err(), told);
    check(
        "README",
        b"",
        "F/README must be named for a platform: converge-agent-aarch64-linux, converge-agent-riscv64-linux",
    );
    check(
        arm.file,
        b"#!/bin/sh\n",
        "F/converge-agent-aarch64-linux must be a program (ELF), found something else",
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
    let list = |folder: &str| listed(Path::new("/built"), Some(Path::new(folder))).unwrap_err();
    assert_eq!(list("agents"), "CONVERGE_AGENTS must be an absolute path, found agents");
    let told = list("/nonexistent/agents");
    assert!(told.starts_with("failed to read /nonexistent/agents, which CONVERGE_AGENTS names: "), "{told}");
}
