//! The agent that is uploaded: one static program that needs nothing of a host.

#[path = "../../build-agent.rs"]
mod build_agent;

use std::path::PathBuf;
use std::process::{Command, Stdio};

use converge_fleet::{Agent, BUILT};
use converge_model::wire::{self, FromAgent, MAGIC};

use crate::support::{local, scratch, skipped, workspace};

pub(crate) fn built() -> PathBuf {
    for source in build_agent::SOURCES {
        assert!(workspace().join(source).exists(), "{source}");
    }
    build_agent::build(&workspace()).unwrap_or_else(|error| panic!("{error}"))
}

/// The types of the program headers of an x86-64 ELF file.
fn segments(elf: &[u8]) -> Vec<u32> {
    let word = |at: usize| u16::from_le_bytes(elf[at..at + 2].try_into().unwrap()) as usize;
    let start = u64::from_le_bytes(elf[32..40].try_into().unwrap()) as usize;
    let (size, count) = (word(54), word(56));
    (0..count).map(|n| u32::from_le_bytes(elf[start + n * size..][..4].try_into().unwrap())).collect()
}

#[test]
fn it_is_small_static_and_starts_where_there_is_nothing() {
    const PT_INTERP: u32 = 3;
    let agent = built();
    let bytes = std::fs::read(&agent).unwrap();
    // A tenth of a megabyte above what it has: who adds more than that says so here.
    assert!(bytes.len() <= 3_750_000, "{} bytes", bytes.len());
    assert!(!segments(&bytes).contains(&PT_INTERP), "it wants a dynamic linker");

    if !rustix::process::geteuid().is_root() {
        return skipped("only root can chroot");
    }
    let empty = scratch();
    std::fs::copy(&agent, empty.path().join("agent")).unwrap();
    let output = Command::new("chroot")
        .arg(empty.path())
        .arg("/agent")
        .env_clear()
        .env("PATH", std::env::var_os("PATH").unwrap())
        .stdin(Stdio::null())
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let (magic, frame) = output.stdout.split_at(MAGIC.len());
    assert_eq!(magic, MAGIC);
    let FromAgent::Hello(hello) = wire::read(&mut &frame[..]).unwrap() else { panic!("no hello") };
    assert_eq!(hello.agent, Agent::new(BUILT, bytes).digest());
}

#[tokio::test]
async fn it_says_what_this_machine_is() {
    let scratch = scratch();
    let agent = Agent::new(BUILT, std::fs::read(built()).unwrap());
    let facts = local(scratch.path(), agent).facts().await.unwrap();
    assert_eq!(facts.kernel.name, "Linux");
}
