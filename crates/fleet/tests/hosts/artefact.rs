//! The agent that is uploaded: one static program that needs nothing on a host.

#[path = "../../build-agent.rs"]
mod build_agent;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use converge_fleet::{Agent, BUILT};
use converge_model::wire::{self, FromAgent, MAGIC};
use converge_tests::act::Stage;

use crate::embed::packed;
use crate::support::{local, scratch, skipped, workspace};

/// The most disk space of the agent on a host, in bytes.
const DISK_LIMIT: usize = 6_000_000;
/// The most bytes of the first contact with a host that has gzip.
const WIRE_LIMIT: usize = 1_700_000;
/// The most memory of the agent for forty resources, in bytes.
const MEMORY_LIMIT: u64 = 8_000_000;
/// The most time from the agent's start to its hello, beyond what a minimal static program needs for its first
/// output.
const START_LIMIT: Duration = Duration::from_millis(15);
/// How many starts are measured. The fastest counts, because other processes disturbed it least.
const STARTS: usize = 20;

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
    let sent = packed(&agent).len();
    println!("{} bytes, {sent} sent", bytes.len());
    assert!(bytes.len() <= DISK_LIMIT, "{} bytes", bytes.len());
    assert!(sent <= WIRE_LIMIT, "{sent} bytes compressed");
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

#[test]
fn it_holds_little_memory() {
    let resident = Stage::files(40).and_then(|stage| stage.resident(&built())).unwrap();
    println!("{resident} bytes resident");
    assert!(resident <= MEMORY_LIMIT, "{resident} bytes");
}

#[test]
fn it_starts_hardly_later_than_a_bare_static_program() {
    let folder = scratch();
    let (bare, agent) = (bare(folder.path()), built());
    let best = |program: &Path| (0..STARTS).map(|_| first_word(program)).min().unwrap();
    let (alone, hello) = (best(&bare), best(&agent));
    println!("{alone:?} for a bare program, {hello:?} to the hello");
    assert!(hello <= alone + START_LIMIT, "{alone:?} for a bare program, {hello:?} to the hello");
}

/// A static program that prints a line.
fn bare(folder: &Path) -> PathBuf {
    let (source, program) = (folder.join("bare.rs"), folder.join("bare"));
    std::fs::write(&source, "fn main() { println!(\"{}\", \"hello \".repeat(8)) }").unwrap();
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.args([
        "-O",
        "-C",
        "panic=abort",
        "-C",
        "target-feature=+crt-static",
        "--target",
        build_agent::TARGET,
    ]);
    assert!(rustc.arg("-o").arg(&program).arg(&source).status().unwrap().success());
    program
}

/// Returns the time from the start of a program to its first output.
fn first_word(program: &Path) -> Duration {
    let started = Instant::now();
    let mut child = Command::new(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    // The magic is the program's first output. The frame after it is the hello.
    let mut said = [0; 64];
    let mut out = child.stdout.take().unwrap();
    let mut heard = 0;
    while heard <= MAGIC.len() {
        match out.read(&mut said[heard..]).unwrap() {
            0 => break,
            more => heard += more,
        }
    }
    let took = started.elapsed();
    drop(child.stdin.take());
    drop(out);
    child.wait().unwrap();
    took
}

#[tokio::test]
async fn it_says_what_this_machine_is() {
    let scratch = scratch();
    let agent = Agent::new(BUILT, std::fs::read(built()).unwrap());
    let facts = local(scratch.path(), agent).facts().await.unwrap();
    assert_eq!(facts.kernel.name, "Linux");
}
