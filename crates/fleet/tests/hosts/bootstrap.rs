//! The start of the agent on difficult hosts.

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;
use std::process::Command;

use converge_fleet::{Agent, BUILT, BootstrapError, Fleet, Host, HostError, Options, Packed, Reach};

use crate::sshd::Sshd;
use crate::support::{local, options, quoted, scratch, script, skipped, target, tiny};

async fn failure(host: &Host) -> BootstrapError {
    match host.facts().await {
        Err(HostError::Bootstrap(error)) => error,
        other => panic!("{other:?}"),
    }
}

/// A server whose logins print text before the command, or run it with another shell.
fn forcing(command: &str) -> Option<Sshd> {
    Sshd::start(&format!("ForceCommand {command}"))
}

/// A file system at `path` as long as the value exists. None if the test may not mount.
struct Mounted<'a>(&'a Path);

impl<'a> Mounted<'a> {
    fn new(path: &'a Path, options: &str) -> Option<Self> {
        std::fs::create_dir(path).unwrap();
        let mounted = Command::new("mount").args(["-t", "tmpfs", "-o", options, "tmpfs"]).arg(path).status();
        if mounted.is_ok_and(|status| status.success()) {
            return Some(Self(path));
        }
        skipped("no right to mount");
        None
    }
}

impl Drop for Mounted<'_> {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0).status();
    }
}

/// This machine, with these folders for the agent.
fn with_folders(scratch: &Path, folders: &[&Path]) -> Host {
    let agent_folders = folders.iter().map(|folder| folder.display().to_string()).collect();
    let options = Options { agent_folders, ..options(scratch) };
    Fleet::new(tiny(), options).unwrap().host(target(Reach::Local))
}

fn agents(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect()
}

#[tokio::test]
async fn this_machine_says_what_it_is_and_keeps_the_agent() {
    let scratch = scratch();
    let host = local(scratch.path(), tiny());
    assert_eq!(host.facts().await.unwrap().kernel.name, "Linux");
    host.facts().await.unwrap();
    assert_eq!(host.traffic().uploads, 1);
    assert!(host.skew().abs() <= 1, "{}", host.skew());
    let folder = scratch.path().join("agent");
    assert_eq!(agents(&folder), [tiny().digest().to_string()]);
    assert_eq!(std::fs::metadata(&folder).unwrap().permissions().mode() & 0o777, 0o700);
}

#[tokio::test]
async fn every_login_shell_starts_it() {
    for shell in ["sh", "bash", "dash", "zsh", "fish", "tcsh", "busybox sh"] {
        let program = shell.split(' ').next().unwrap();
        let found = Command::new("sh").args(["-c", &format!("command -v {program} >/dev/null")]).status();
        if !found.unwrap().success() {
            println!("skipped: {shell} is not on this machine");
            continue;
        }
        let Some(sshd) = forcing(&format!("{shell} -c \"$SSH_ORIGINAL_COMMAND\"")) else { return };
        sshd.host(tiny()).facts().await.unwrap_or_else(|error| panic!("{shell}: {error}"));
    }
}

#[tokio::test]
async fn what_a_login_prints_is_skipped_up_to_a_limit() {
    let noisy = |bytes: usize| {
        forcing(&format!(
            "sh -c 'head -c {bytes} /dev/zero; echo Welcome; exec sh -c \"$SSH_ORIGINAL_COMMAND\"'"
        ))
    };
    let (Some(loud), Some(deafening)) = (noisy(10_000), noisy(100_000)) else { return };
    loud.host(tiny()).facts().await.unwrap();
    let error = failure(&deafening.host(tiny())).await;
    assert!(matches!(error, BootstrapError::Noise(_)), "{error}");
    assert!(error.help().is_some());
}

#[tokio::test]
async fn a_cache_that_was_tampered_with_is_not_executed() {
    let scratch = scratch();
    local(scratch.path(), tiny()).facts().await.unwrap();
    let cached = scratch.path().join("agent").join(tiny().digest().to_string());
    let touched = scratch.path().join("touched");
    std::fs::write(&cached, format!("#!/bin/sh\ntouch {}\n", quoted(&touched))).unwrap();
    let host = local(scratch.path(), tiny());
    host.facts().await.unwrap();
    assert_eq!(host.traffic().uploads, 1);
    assert!(!touched.exists());
}

#[tokio::test]
async fn an_agent_that_is_not_what_was_sent_is_sent_once_more_and_then_refused() {
    let scratch = scratch();
    std::fs::write(scratch.path().join("real"), tiny().bytes().unwrap()).unwrap();
    std::fs::set_permissions(scratch.path().join("real"), PermissionsExt::from_mode(0o755)).unwrap();
    let host = local(scratch.path(), script(&format!("exec {}", quoted(&scratch.path().join("real")))));
    let error = failure(&host).await;
    assert!(matches!(error, BootstrapError::Tampered), "{error}");
    assert_eq!(host.traffic().uploads, 2);
}

#[tokio::test]
async fn folders_that_cannot_hold_it_are_passed_over() {
    let scratch = scratch();
    let at = |name: &str| scratch.path().join(name);
    let (noexec, full, link) = (at("noexec"), at("full"), at("link"));
    let Some(_noexec) = Mounted::new(&noexec, "noexec,size=100m") else { return };
    // There is room for the packed agent, but not for the unpacked one.
    let Some(_full) = Mounted::new(&full, &format!("size={}", tiny().gzip().len() + 65_536)) else { return };
    symlink(scratch.path(), &link).unwrap();
    let host = with_folders(scratch.path(), &[&noexec, &link, &full, &at("good")]);
    host.facts().await.unwrap();
    assert_eq!(agents(&at("good")).len(), 1);
    assert_eq!((agents(&noexec).len(), agents(&full).len(), host.traffic().uploads), (0, 0, 2));

    let error = failure(&with_folders(scratch.path(), &[&noexec, &link])).await;
    let told = error.to_string();
    assert!(told.contains("noexec:noexec") && told.contains("link:link"), "{told}");
}

#[tokio::test]
async fn the_newest_three_agents_stay() {
    let scratch = scratch();
    let folder = scratch.path().join("agent");
    std::fs::create_dir(&folder).unwrap();
    for age in 1..=5 {
        let old = std::fs::File::create(folder.join(format!("old{age}"))).unwrap();
        old.set_modified(std::time::SystemTime::now() - std::time::Duration::from_secs(age * 1000)).unwrap();
    }
    local(scratch.path(), tiny()).facts().await.unwrap();
    let left = agents(&folder);
    assert_eq!(left.len(), 3, "{left:?}");
    assert!([&tiny().digest().to_string(), "old1", "old2"].iter().all(|name| left.iter().any(|l| l == name)));
}

#[tokio::test]
async fn uploads_that_meet_do_not_disturb_each_other() {
    let scratch = scratch();
    let hosts: Vec<_> = (0..4).map(|_| local(scratch.path(), tiny())).collect();
    let mut tasks = tokio::task::JoinSet::new();
    for host in hosts {
        tasks.spawn(async move { host.facts().await.map(|_| ()) });
    }
    assert!(tasks.join_all().await.iter().all(Result::is_ok));
    assert_eq!(agents(&scratch.path().join("agent")).len(), 1);
}

/// A server whose sessions find these programs before the real ones.
fn pretending(programs: &[(&str, &str)]) -> Option<(tempfile::TempDir, Sshd)> {
    let folder = scratch();
    for (name, text) in programs {
        let path = folder.path().join(name);
        std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
        std::fs::set_permissions(&path, PermissionsExt::from_mode(0o755)).unwrap();
    }
    let command = format!("PATH={}:$PATH exec sh -c \"$SSH_ORIGINAL_COMMAND\"", folder.path().display());
    Some((folder, forcing(&command)?))
}

#[tokio::test]
async fn another_processor_is_named_before_anything_is_sent() {
    let uname = ("uname", "if [ $1 = -m ];then echo riscv64;else echo Linux;fi");
    let Some((_programs, sshd)) = pretending(&[uname]) else { return };
    let host = sshd.host(tiny());
    let error = failure(&host).await;
    assert!(matches!(&error, BootstrapError::WrongArch { arch, .. } if arch == "riscv64"), "{error}");
    assert_eq!(host.traffic().uploads, 0);
}

#[tokio::test]
async fn a_host_without_tools_takes_the_agent_all_the_same() {
    // This host has no `head -c`. A host without `sha256sum` too would be a better test, but `command -v` of the
    // shell itself decides that.
    let Some((_programs, sshd)) = pretending(&[("head", "exit 1")]) else { return };
    let small = script("printf '\\0converge-agent\\001'; exit 0");
    let host = sshd.host(small);
    let error = host.facts().await.unwrap_err();
    assert!(matches!(error, HostError::Session(_)), "the magic was reached: {error}");
}

/// Returns the bytes sent to a host that runs these programs instead of its own, and the agent.
async fn sent(programs: &[(&str, &str)]) -> Option<(u64, Agent)> {
    let (_programs, sshd) = pretending(programs)?;
    let host = sshd.host(tiny());
    host.facts().await.unwrap();
    assert_eq!(host.traffic().uploads, 1);
    Some((host.traffic().up, tiny()))
}

/// The most bytes of the rest of a first contact: the command.
const COMMAND: u64 = 4096;

#[tokio::test]
async fn the_agent_is_sent_compressed_and_plain_where_there_is_no_gzip() {
    let Some((packed, agent)) = sent(&[]).await else { return };
    let gzip = agent.gzip().len() as u64;
    assert!(packed > gzip && packed <= gzip + COMMAND, "{packed} bytes for {gzip}");

    // The exit code of a shell for a command that it cannot find.
    let Some((plain, agent)) = sent(&[("gzip", "exit 127")]).await else { return };
    let size = agent.size() as u64;
    assert!(plain > size && plain <= size + COMMAND, "{plain} bytes for {size}");
    assert!(gzip * 2 < size, "{gzip} of {size} bytes");
}

#[tokio::test]
async fn the_agent_is_unpacked_where_head_counts_no_bytes() {
    let Some((_programs, sshd)) = pretending(&[("head", "exit 1")]) else { return };
    let small = script("printf '\\0converge-agent\\001'; exit 0");
    let wire = small.gzip().len() as u64;
    let host = sshd.host(small);
    let error = host.facts().await.unwrap_err();
    assert!(matches!(error, HostError::Session(_)), "the magic was reached: {error}");
    assert!(host.traffic().up <= wire + COMMAND);
}

#[tokio::test]
async fn an_upload_that_is_damaged_does_not_run() {
    let scratch = scratch();
    let touched = scratch.path().join("touched");
    let made = script(&format!("touch {}", quoted(&touched)));
    let other = script(&format!("touch {} ", quoted(&touched)));
    let check = async |gzip: &[u8], programs: &str| {
        let packed = Packed {
            platform: BUILT,
            size: made.size(),
            digest: made.digest(),
            sha256: made.sha256().to_owned().leak(),
            gzip: gzip.to_vec().leak(),
        };
        let host = local(scratch.path(), Agent::from(&packed));
        let error = failure(&host).await;
        assert!(matches!(error, BootstrapError::Nowhere(_)), "{programs}: {error}");
        assert!(!touched.exists(), "{programs}");
        assert_eq!(agents(&scratch.path().join("agent")), Vec::<String>::new(), "{programs}");
    };
    let mut torn = made.gzip().to_vec();
    let middle = torn.len() / 2;
    torn[middle] ^= 0xff;
    check(&torn, "a flipped byte").await;
    check(other.gzip(), "another program").await;
    check(b"no gzip", "not packed").await;
}

#[tokio::test]
async fn a_command_that_ends_says_why() {
    let Some(sshd) = forcing("echo 'This account is closed.' >&2; exit 7") else { return };
    let told = failure(&sshd.host(tiny())).await.to_string();
    assert!(told.contains('7') && told.contains("This account is closed."), "{told}");
}
