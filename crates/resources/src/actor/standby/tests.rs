//! Tests of the notes for a revert, and of the revert.

use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::Path;
use std::sync::{Arc, Mutex};

use super::*;
use crate::actor::revert::{Taken, revert};
use crate::actor::{Actor, Attributes, Journal, Undo};
use crate::contents::Contents;
use crate::system::accounts::Accounts;
use crate::system::fake::World;
use crate::system::files::adorned;
use crate::system::firewall::Firewall;
use crate::system::packages::Allowance;
use crate::system::packages::Packages;
use crate::system::processes::local::LocalProcesses;
use crate::system::processes::{Finished, ProcessError, Processes};
use crate::system::receipts::Receipts;
use crate::system::services::Units;
use converge_model::Digest;

/// A host below a temporary root, with the notes for a revert. Programs note there how they were called.
struct Bench {
    folder: tempfile::TempDir,
    world: World,
    undo: Undo,
}

struct NoAgent;

impl Contents for NoAgent {
    fn open(&self, _: Digest) -> Result<Box<dyn io::Read + '_>, ApplyError> {
        Err(ApplyError::new("there is none"))
    }
}

impl Journal for NoAgent {
    fn temporary(&self, _: &Path) -> Result<(), ApplyError> {
        Ok(())
    }
}

impl Bench {
    fn new(lenient: bool) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for name in ["host", "store", "state/armed"] {
            fs::create_dir_all(folder.path().join(name)).unwrap();
        }
        let world = World::new(&folder.path().join("host")).unwrap();
        let mut undo = Undo::in_store(Files::new(folder.path().join("store")).unwrap());
        let armed = folder.path().join("state/armed");
        undo.stand_by(Some(Standby::begin(armed, vec![folder.path().join("host/trace")], lenient).unwrap()));
        undo.begin(0, true);
        Self { folder, world, undo }
    }

    fn at(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn act<T>(
        &mut self,
        sensitive: bool,
        work: impl FnOnce(&mut Actor<'_>) -> Result<T, ApplyError>,
    ) -> Result<T, ApplyError> {
        let mut actor = Actor {
            system: &self.world,
            contents: &NoAgent,
            journal: &NoAgent,
            output: &mut |_| {},
            undo: &mut self.undo,
            sensitive,
            timeout: None,
            allowance: &Allowance::default(),
            unforeseen: &mut Vec::new(),
        };
        work(&mut actor)
    }

    fn write(&mut self, path: &str, text: &str) {
        let done = self.act(false, |actor| {
            actor.write_text(path.as_ref(), text.as_bytes(), &Attributes::default(), |_, _| Ok(()))
        });
        done.unwrap();
    }

    /// Reverts as a timer or a boot does. Returns the words that `systemctl` got.
    fn revert(&self, at_boot: bool) -> String {
        let machine = Machine::new(&self.world);
        revert(&machine, &self.at("state"), at_boot).unwrap();
        machine.told.into_inner().unwrap()
    }
}

/// The machine, with a `systemctl` that notes its words.
struct Machine<'a> {
    world: &'a World,
    real: LocalProcesses,
    told: Mutex<String>,
}

impl<'a> Machine<'a> {
    fn new(world: &'a World) -> Self {
        let real = LocalProcesses::new(Arc::new(Files::new("/").unwrap()));
        Self { world, real, told: Mutex::default() }
    }
}

impl System for Machine<'_> {
    fn files(&self) -> &Files {
        self.world.files()
    }
    fn accounts(&self) -> &dyn Accounts {
        self.world.accounts()
    }
    fn packages(&self) -> &dyn Packages {
        self.world.packages()
    }
    fn units(&self) -> &dyn Units {
        self.world.units()
    }
    fn firewall(&self) -> &'static dyn Firewall {
        self.world.firewall()
    }
    fn processes(&self) -> &dyn Processes {
        self
    }
    fn receipts(&self) -> &Receipts {
        self.world.receipts()
    }
}

impl Processes for Machine<'_> {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        if command.program() != "systemctl" {
            return self.real.run(command, output);
        }
        self.told.lock().unwrap().push_str(&(command.words[1..].join(" ") + "\n"));
        Ok(Finished { code: Some(0), signal: None, output: Vec::new() })
    }
}

#[test]
fn everything_that_was_replaced_comes_back_with_its_owner_and_mode() {
    let mut bench = Bench::new(false);
    let at = |path: &str| bench.folder.path().join("host").join(path);
    let (odd, old, link, dir) = (at("etc/it's a $file"), at("etc/old"), at("etc/link"), at("etc/dir"));
    fs::write(&odd, "odd\n").unwrap();
    fs::write(&old, "old\n").unwrap();
    fs::set_permissions(&old, fs::Permissions::from_mode(0o4750)).unwrap();
    std::os::unix::fs::chown(&old, Some(0), Some(0)).unwrap_or(());
    fs::set_permissions(&old, fs::Permissions::from_mode(0o4750)).unwrap();
    adorned::adorn(&odd);
    symlink("old", &link).unwrap();
    fs::create_dir(&dir).unwrap();
    fs::set_permissions(&dir, fs::Permissions::from_mode(0o701)).unwrap();
    fs::write(at("trace"), "x").unwrap();
    let owner = fs::metadata(&old).unwrap().uid();

    bench.write("/etc/it's a $file", "new\n");
    bench.write("/etc/old", "new\n");
    bench.write("/etc/old", "newer\n");
    bench.write("/etc/made", "new\n");
    bench.act(false, |actor| actor.remove("/etc/dir".as_ref())).unwrap();
    bench.act(false, |actor| actor.link("/etc/link".as_ref(), "made".as_ref())).unwrap();
    bench.act(false, |actor| actor.make_folder("/etc/more".as_ref(), &Attributes::default())).unwrap();
    let mode = Attributes { mode: Some(0o600), ..Attributes::default() };
    bench.act(false, |actor| actor.set_attributes("/etc/passwd".as_ref(), &mode)).unwrap();
    let before = fs::metadata(at_host(&bench, "etc/passwd")).unwrap().mode();
    assert_eq!(before & 0o777, 0o600);

    bench.revert(false);
    let at = |path: &str| at_host(&bench, path);
    assert_eq!(fs::read_to_string(&odd).unwrap(), "odd\n");
    adorned::assert_adorned(&odd);
    assert_eq!(fs::read_to_string(&old).unwrap(), "old\n");
    let found = fs::metadata(&old).unwrap();
    assert_eq!((found.mode() & 0o7777, found.uid()), (0o4750, owner));
    assert_eq!(fs::read_link(&link).unwrap(), Path::new("old"));
    assert_eq!(fs::metadata(&dir).unwrap().mode() & 0o777, 0o701);
    assert_eq!(fs::metadata(at("etc/passwd")).unwrap().mode() & 0o777, 0o644);
    for gone in ["etc/made", "etc/more", "trace"] {
        assert!(!at(gone).exists(), "{gone}");
    }
    assert!(bench.at("state/reverted").exists() && !bench.at("state/armed").exists());
    assert!(!bench.at("state/reverted/1").exists(), "no copy stays");
    let left: Vec<_> = fs::read_dir(at("etc")).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    assert!(!left.iter().any(|name| name.to_string_lossy().contains("converge")), "{left:?}");
}

fn at_host(bench: &Bench, path: &str) -> PathBuf {
    bench.folder.path().join("host").join(path)
}

#[test]
fn units_are_brought_back_and_told_again_but_at_boot_no_unit_is_waited_for() {
    let check = |at_boot: bool, told: &str| {
        let mut bench = Bench::new(false);
        for unit in ["nftables.service", "ssh.service", "web.service"] {
            bench.world.unit(unit);
        }
        bench.act(false, |actor| actor.unit(Verb::Enable, "nftables.service", Some(Verb::Disable))).unwrap();
        bench.act(false, |actor| actor.unit(Verb::Start, "nftables.service", Some(Verb::Stop))).unwrap();
        for unit in ["ssh.service", "nftables.service", "ssh.service"] {
            bench.act(false, |actor| actor.unit(Verb::Restart, unit, None)).unwrap();
        }
        bench.undo.begin(1, false);
        bench.act(false, |actor| actor.unit(Verb::Start, "web.service", Some(Verb::Stop))).unwrap();
        assert_eq!(bench.revert(at_boot), told);
    };
    check(false, "stop nftables.service\ndisable nftables.service\nrestart ssh.service\n");
    check(true, "--no-block stop nftables.service\n--no-block disable nftables.service\n");
}

#[test]
fn a_command_is_reverted_by_another_with_what_it_reads() {
    let mut bench = Bench::new(false);
    let out = bench.at("out").display().to_string();
    let mut back = Command::new(["tee", &out]);
    back.input = Some(crate::wish::Text::Plain("table inet converge\n".to_owned()));
    bench.act(false, |actor| actor.keep_command(back)).unwrap();
    bench.act(false, |actor| actor.note_again(&Command::new(["cp", &out, &format!("{out}.again")]))).unwrap();
    bench.revert(false);
    assert_eq!(fs::read_to_string(bench.at("out.again")).unwrap(), "table inet converge\n");
}

#[test]
fn what_only_this_process_can_restore_is_not_changed_unless_that_is_accepted() {
    let check = |lenient: bool, text: &str| {
        let mut bench = Bench::new(lenient);
        fs::write(at_host(&bench, "etc/key"), "old").unwrap();
        let written = bench.act(true, |actor| {
            actor.write_text("/etc/key".as_ref(), b"new", &Attributes::default(), |_, _| Ok(()))
        });
        assert_eq!(written.is_ok(), lenient);
        assert_eq!(fs::read_to_string(at_host(&bench, "etc/key")).unwrap(), text);
    };
    check(false, "old");
    check(true, "new");
}

#[test]
fn once_the_revert_has_begun_nothing_more_is_changed() {
    let mut bench = Bench::new(false);
    bench.write("/etc/a", "new\n");
    bench.revert(false);
    let late = bench.act(false, |actor| {
        actor.write_text("/etc/b".as_ref(), b"new", &Attributes::default(), |_, _| Ok(()))
    });
    assert!(late.is_err() && !at_host(&bench, "etc/b").exists() && !at_host(&bench, "etc/a").exists());
}

#[test]
fn a_note_is_added_behind_those_before_it_and_none_is_written_again() {
    let mut bench = Bench::new(false);
    let back = bench.at("state/armed/back");
    let read = || (fs::metadata(&back).unwrap().ino(), fs::read(&back).unwrap());
    let mut before = read();
    for number in 0..5 {
        bench.write(&format!("/etc/{number}"), "new\n");
        let now = read();
        assert_eq!(now.0, before.0, "the same file");
        let added = now.1.strip_prefix(&before.1[..]).unwrap();
        assert_eq!(added.iter().filter(|byte| **byte == b'\n').count(), 1);
        before = now;
    }
}

#[test]
fn half_a_note_is_cut_off_before_the_next_and_passed_over_by_the_revert() {
    let mut bench = Bench::new(false);
    let half = |bench: &Bench| {
        let mut file = fs::OpenOptions::new().append(true).open(bench.at("state/armed/back")).unwrap();
        file.write_all(br#"{"change":[{"gone":{"path":"/etc/never"#).unwrap();
    };
    bench.write("/etc/one", "new\n");
    half(&bench);
    bench.write("/etc/two", "new\n");
    half(&bench);
    bench.revert(false);
    assert!(bench.at("state/reverted").exists());
    assert!(["etc/one", "etc/two"].iter().all(|path| !at_host(&bench, path).exists()));
}

#[test]
fn a_revert_that_was_killed_anywhere_is_finished_by_the_next() {
    let killed_after = |steps: usize| -> bool {
        let mut bench = Bench::new(false);
        let at = |path: &str| bench.folder.path().join("host").join(path);
        let (old, link, dir) = (at("etc/old"), at("etc/link"), at("etc/dir"));
        fs::write(&old, "old\n").unwrap();
        symlink("old", &link).unwrap();
        fs::create_dir(&dir).unwrap();
        bench.world.unit("ssh.service");
        let out = bench.at("out").display().to_string();
        bench.write("/etc/old", "new\n");
        bench.write("/etc/made", "new\n");
        bench.act(false, |actor| actor.remove("/etc/dir".as_ref())).unwrap();
        bench.act(false, |actor| actor.link("/etc/link".as_ref(), "made".as_ref())).unwrap();
        bench.act(false, |actor| actor.make_folder("/etc/more".as_ref(), &Attributes::default())).unwrap();
        let mut back = Command::new(["tee", &out]);
        back.input = Some(crate::wish::Text::Plain("table\n".to_owned()));
        bench.act(false, |actor| actor.keep_command(back)).unwrap();
        bench.act(false, |actor| actor.unit(Verb::Restart, "ssh.service", None)).unwrap();

        let machine = Machine::new(&bench.world);
        let taken = Taken::take(&bench.at("state")).unwrap().unwrap();
        let backs = taken.backs().unwrap();
        backs[..steps].iter().for_each(|back| taken.restore_one(&machine, back, false).unwrap());
        let is_last = steps == backs.len();
        drop(taken);
        assert!(bench.at("state/reverting").exists(), "after step {steps}");
        let told = bench.revert(false);
        assert!(bench.at("state/reverted").exists() && !bench.at("state/reverting").exists(), "step {steps}");
        assert_eq!(told, "restart ssh.service\n");
        assert_eq!(fs::read_to_string(at_host(&bench, "etc/old")).unwrap(), "old\n");
        assert_eq!(fs::read_link(at_host(&bench, "etc/link")).unwrap(), Path::new("old"));
        assert!(at_host(&bench, "etc/dir").is_dir());
        assert_eq!(fs::read_to_string(&out).unwrap(), "table\n");
        for gone in ["etc/made", "etc/more"] {
            assert!(!at_host(&bench, gone).exists(), "{gone}");
        }
        !is_last
    };
    let mut steps = 0;
    while killed_after(steps) {
        steps += 1;
    }
    assert!(steps > 6, "{steps}");
}

#[test]
fn what_cannot_be_restored_is_named_and_left_with_its_copies() {
    let mut bench = Bench::new(false);
    fs::create_dir(at_host(&bench, "etc/gone")).unwrap();
    fs::write(at_host(&bench, "etc/gone/x"), "old").unwrap();
    bench.write("/etc/gone/x", "new");
    bench.write("/etc/other", "new");
    fs::remove_dir_all(at_host(&bench, "etc/gone")).unwrap();
    fs::write(at_host(&bench, "etc/gone"), "in the way").unwrap();
    bench.revert(false);
    let log = fs::read_to_string(bench.at("state/revert-failed/log")).unwrap();
    let told: Vec<_> = log.lines().filter(|line| line.starts_with("failed to restore ")).collect();
    assert_eq!(told.len(), 1, "{log}");
    assert!(told[0].contains(&at_host(&bench, "etc/gone/x").display().to_string()), "{log}");
    assert_eq!(fs::read_to_string(bench.at("state/revert-failed/1")).unwrap(), "old");
    assert!(!at_host(&bench, "etc/other").exists(), "the rest is restored all the same");
}

#[test]
fn accounts_come_back_whole() {
    let mut bench = Bench::new(false);
    let before = fs::read(at_host(&bench, "etc/passwd")).unwrap();
    let shadow = fs::metadata(at_host(&bench, "etc/shadow")).unwrap().mode();
    let add = crate::system::accounts::AccountChange::AddUser {
        name: "ada".into(),
        user: crate::system::accounts::UserChange::default(),
    };
    bench.act(false, |actor| actor.change_accounts(&add)).unwrap();
    assert_ne!(fs::read(at_host(&bench, "etc/passwd")).unwrap(), before);
    bench.revert(true);
    assert_eq!(fs::read(at_host(&bench, "etc/passwd")).unwrap(), before);
    assert_eq!(fs::metadata(at_host(&bench, "etc/shadow")).unwrap().mode(), shadow);
}

#[test]
fn a_command_is_run_again_with_its_variables_and_in_its_folder() {
    let mut bench = Bench::new(false);
    let out = bench.at("out").display().to_string();
    let mut again = Command::new(["sh", "-c", "printf '%s %s' \"$TOKEN\" \"$(pwd)\" >\"$0\"", &out]);
    again.folder = Some("/usr".into());
    again.environment =
        vec![("TOKEN".to_owned(), crate::wish::Text::Secret(converge_model::Secret::new("canary")))];
    bench.act(false, |actor| actor.note_again(&again)).unwrap();
    assert!(!fs::read_to_string(bench.at("state/armed/back")).unwrap().contains("canary"));
    bench.revert(false);
    assert_eq!(fs::read_to_string(&out).unwrap(), "canary /usr");
    let left = fs::read_dir(bench.at("state/reverted")).unwrap().count();
    assert_eq!(left, 1, "nothing but the log stays");
}

#[test]
fn a_revert_in_the_folder_of_a_user_leads_nowhere_else_whatever_they_put_there() {
    let mut bench = Bench::new(false);
    let (home, victim) = (at_host(&bench, "home/ada"), bench.at("victim"));
    fs::create_dir_all(&home).unwrap();
    fs::write(&victim, "root only").unwrap();
    fs::set_permissions(&victim, fs::Permissions::from_mode(0o600)).unwrap();
    fs::write(home.join("rc"), "old").unwrap();
    std::os::unix::fs::chown(&home, Some(1000), None).unwrap_or(());
    std::os::unix::fs::chown(home.join("rc"), Some(1000), None).unwrap_or(());
    let before = fs::metadata(&victim).unwrap();
    bench.write("/home/ada/rc", "new");
    let temporary = home.join(crate::system::files::temporary_name("rc".as_ref()));
    let done = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            while !done.load(std::sync::atomic::Ordering::Relaxed) {
                let _ = symlink(&victim, &temporary);
                let _ = fs::remove_file(home.join("rc")).and_then(|()| symlink(&victim, home.join("rc")));
            }
        });
        for _ in 0..200 {
            let machine = Machine::new(&bench.world);
            // It may fail, but it must not write elsewhere.
            let _ = Taken::take(&bench.at("state")).unwrap().map(|taken| {
                taken.backs().unwrap().iter().for_each(|back| drop(taken.restore_one(&machine, back, false)));
            });
        }
        done.store(true, std::sync::atomic::Ordering::Relaxed);
    });
    let after = fs::metadata(&victim).unwrap();
    assert_eq!(fs::read_to_string(&victim).unwrap(), "root only");
    assert_eq!((after.uid(), after.mode()), (before.uid(), before.mode()));
}
