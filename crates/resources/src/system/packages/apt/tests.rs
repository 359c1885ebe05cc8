//! Tests of the commands for apt, and of how its output is parsed. apt itself is tested on real hosts.

use std::sync::Mutex;

use super::*;
use crate::system::processes::ProcessError;

const STATUS: &str = "Package: dpkg\nStatus: install ok installed\nArchitecture: amd64\nVersion: 1.21\n\n\
    Package: curl\nStatus: install ok installed\nArchitecture: amd64\nVersion: 7.80\n\n";

type Answer = Box<dyn Fn(&Command) -> (i32, &'static str) + Send + Sync>;

/// Records the command lines, and answers as a test defines.
struct Script {
    lines: Mutex<Vec<String>>,
    answer: Answer,
}

impl Processes for Script {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        self.lines.lock().unwrap().push(command.words.join(" "));
        let (code, said) = (self.answer)(command);
        output(said.as_bytes());
        Ok(Finished { code: Some(code), signal: None, output: said.into() })
    }
}

struct Host {
    folder: tempfile::TempDir,
    script: Arc<Script>,
    apt: Apt,
}

fn host(status: &str, answer: impl Fn(&Command) -> (i32, &'static str) + Send + Sync + 'static) -> Host {
    let folder = tempfile::tempdir().unwrap();
    for below in ["var/lib/dpkg", "var/lib/apt/lists/partial", "etc/apt/sources.list.d"] {
        std::fs::create_dir_all(folder.path().join(below)).unwrap();
    }
    std::fs::write(folder.path().join("var/lib/dpkg/status"), status).unwrap();
    let script = Arc::new(Script { lines: Mutex::default(), answer: Box::new(answer) });
    let processes: Arc<dyn Processes> = script.clone();
    let apt = Apt::new(Arc::new(Files::new(folder.path()).unwrap()), processes);
    Host { folder, script, apt }
}

impl Host {
    /// Returns the command lines so far, without the options of every run of apt-get.
    fn lines(&self) -> Vec<String> {
        let settled = SETTLED[..SETTLED.len() - 1].join(" ") + " ";
        self.script.lines.lock().unwrap().iter().map(|line| line.replace(&settled, "")).collect()
    }

    fn age(&self, path: &str, seconds: u64) {
        let file = std::fs::File::open(self.folder.path().join(path)).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds)).unwrap();
    }
}

fn request(name: &str, goal: PackageGoal) -> PackageRequest {
    PackageRequest::new(name, goal)
}

#[test]
fn one_run_installs_and_removes() {
    let host = host(STATUS, |_| (0, ""));
    let requests = [
        request("rsync", PackageGoal::Present),
        PackageRequest { downgrade: true, ..request("curl", PackageGoal::Version("7.7*".into())) },
        request("telnet", PackageGoal::Absent { purge: false }),
        PackageRequest { hold: Some(true), ..request("nginx", PackageGoal::Latest) },
    ];
    host.apt.transact(&requests, &Allowance::default(), &mut |_| {}).unwrap();
    assert_eq!(
        host.lines(),
        [
            "apt-get --simulate --allow-downgrades --allow-change-held-packages install -- rsync curl=7.7* nginx telnet-",
            "apt-get --allow-downgrades --allow-change-held-packages install -- rsync curl=7.7* nginx telnet-",
            "apt-mark hold nginx",
        ]
    );
}

#[test]
fn what_is_asked_differently_runs_by_itself_and_in_order() {
    let host = host(STATUS, |_| (0, ""));
    host.age("etc/apt/sources.list.d", 60);
    let requests = [
        PackageRequest { recommends: Some(false), refresh: true, ..request("a", PackageGoal::Present) },
        PackageRequest { hold: Some(false), ..request("b", PackageGoal::Kept) },
        request("c", PackageGoal::Present),
        request("d", PackageGoal::Absent { purge: true }),
    ];
    host.apt.transact(&requests, &Allowance::default(), &mut |_| {}).unwrap();
    assert_eq!(
        host.lines(),
        [
            "apt-get --quiet -o DPkg::Lock::Timeout=60 update",
            "apt-cache --quiet showpkg -- a",
            "apt-cache --quiet showpkg -- c",
            "apt-get --simulate --no-install-recommends install -- a d-",
            "apt-get --simulate --allow-change-held-packages install -- c",
            "apt-mark unhold b",
            "apt-get --no-install-recommends install -- a d-",
            "apt-get --simulate --allow-change-held-packages install -- c",
            "apt-get --allow-change-held-packages install -- c",
            "apt-get purge -- d",
        ]
    );
}

#[test]
fn a_hold_alone_changes_no_package() {
    let host = host(STATUS, |_| (0, ""));
    let kept = PackageRequest { hold: Some(true), ..request("curl", PackageGoal::Kept) };
    host.apt.transact(&[kept], &Allowance::default(), &mut |_| {}).unwrap();
    assert_eq!(host.lines(), ["apt-mark hold curl"]);
}

#[test]
fn a_broken_database_is_repaired_first_and_said_to_be() {
    let broken = STATUS.replace(
        "install ok installed\nArchitecture: amd64\nVersion: 7",
        "install ok unpacked\nArchitecture: amd64\nVersion: 7",
    );
    let host = host(&broken, |_| (0, ""));
    let mut said = Vec::new();
    assert_eq!(host.apt.simulate(&[request("x", PackageGoal::Present)]).unwrap(), Simulation::default());
    host.apt
        .transact(&[request("x", PackageGoal::Present)], &Allowance::default(), &mut |line| {
            said.extend_from_slice(line)
        })
        .unwrap();
    assert_eq!(host.lines()[0], "dpkg --force-confdef --force-confold --configure -a");
    assert!(String::from_utf8(said).unwrap().contains("interrupted"));
}

#[test]
fn what_was_cut_off_while_it_was_unpacked_is_unpacked_again_or_removed() {
    let line = |status: &str, goal: PackageGoal| {
        let host =
            host(&format!("Package: x\nStatus: {status}\nArchitecture: all\nVersion: 1\n\n"), |_| (0, ""));
        host.apt.transact(&[request("x", goal)], &Allowance::default(), &mut |_| {}).unwrap();
        host.lines().pop().unwrap()
    };
    let half = "install reinstreq half-installed";
    assert!(line(half, PackageGoal::Present).contains("--reinstall"));
    assert!(line(half, PackageGoal::Version("1".into())).contains("--reinstall"));
    let removal = line(half, PackageGoal::Absent { purge: false });
    assert!(removal.contains("--force-remove-reinstreq") && !removal.contains("--reinstall"), "{removal}");
    assert!(!line("install ok installed", PackageGoal::Latest).contains("--reinstall"));
}

#[test]
fn nothing_can_ask() {
    let host = host(STATUS, |command| {
        let has = |name: &str, value: &str| {
            command.environment.iter().any(|(n, v)| n == name && v.expose() == value.as_bytes())
        };
        assert!(has("DEBIAN_FRONTEND", "noninteractive") && has("NEEDRESTART_MODE", "l"));
        (0, "")
    });
    host.apt.transact(&[request("x", PackageGoal::Present)], &Allowance::default(), &mut |_| {}).unwrap();
}

#[test]
fn a_simulation_tells_what_comes_and_what_goes() {
    let host = host(STATUS, |_| {
        (
            0,
            "Reading package lists...\nRemv sudo [1.9.13p3-1+deb12u4]\n\
             Inst libcurl4 (7.88.1-10 Debian:12.15/oldstable, Debian-Security:12 [amd64])\n\
             Inst curl [7.80] (7.88.1-10 Debian:12.15/oldstable [amd64]) []\n\
             Inst libc6:i386 (2.36-9 Debian:12.15/oldstable [i386])\n\
             Conf curl (7.88.1-10 Debian:12.15/oldstable [amd64])\nPurg old [1]\nInst broken\n",
        )
    });
    let simulation = host.apt.simulate(&[request("curl", PackageGoal::Latest)]).unwrap();
    let installed: Vec<_> = simulation.installed.iter().map(|(n, v)| format!("{n} {v}")).collect();
    assert_eq!(installed, ["libcurl4 7.88.1-10", "curl 7.88.1-10", "libc6:i386 2.36-9"]);
    assert_eq!(simulation.removed, ["sudo", "old"]);
    assert_eq!(host.lines(), ["apt-get --simulate install -- curl"]);
}

#[test]
fn what_is_in_no_list_is_left_out_and_named() {
    let host = host(STATUS, |command| match command.words.last().map(String::as_str) {
        Some("rsync") => (0, "Inst rsync (3.2 Debian:12 [amd64])\n"),
        _ => (
            100,
            "E: Unable to locate package nosuch\nE: Unable to locate package foo.ar\n\
             E: Couldn't find any package by glob 'foo.ar'\nE: Version '1.2' for 'curl' was not found\n\
             E: Package 'mail-transport-agent' has no installation candidate\n",
        ),
    });
    let requests = [
        request("rsync", PackageGoal::Present),
        request("nosuch", PackageGoal::Present),
        request("foo.ar", PackageGoal::Present),
        request("curl", PackageGoal::Version("1.2".into())),
        request("mail-transport-agent", PackageGoal::Present),
        PackageRequest { refresh: true, ..request("later", PackageGoal::Present) },
    ];
    let simulation = host.apt.simulate(&requests).unwrap();
    assert_eq!(simulation.unknown, ["later", "nosuch", "foo.ar", "curl", "mail-transport-agent"]);
    assert_eq!(simulation.installed, [("rsync".to_owned(), "3.2".to_owned())]);
}

#[test]
fn a_transaction_that_cannot_be_says_why() {
    let said = "The following packages have unmet dependencies:\n exim4 : Depends: x\n\
                E: Unable to correct problems, you have held broken packages.\n";
    let host = host(STATUS, move |_| (100, said));
    let check = |error: PackageError| {
        let message = "apt-get ended with 100: The following packages have unmet dependencies: exim4 : Depends: x; \
                       Unable to correct problems, you have held broken packages.";
        assert_eq!(error.to_string(), message);
    };
    check(host.apt.simulate(&[request("exim4", PackageGoal::Present)]).unwrap_err());
    check(
        host.apt
            .transact(&[request("exim4", PackageGoal::Present)], &Allowance::default(), &mut |_| {})
            .unwrap_err(),
    );
}

#[test]
fn the_lists_are_read_without_a_process_unless_the_sources_are_newer() {
    let host =
        host(STATUS, |_| (0, "curl:\n  Installed: 7.80\n  Candidate: 8.0\nnosuch:\n  Candidate: (none)\n"));
    let list = "Package: curl\nArchitecture: amd64\nVersion: 7.90\n\n";
    let lists = host.folder.path().join("var/lib/apt/lists");
    std::fs::write(lists.join("x_main_binary-amd64_Packages"), list).unwrap();
    host.age("etc/apt/sources.list.d", 60);
    let names = ["curl".to_owned(), "curl:amd64".to_owned(), "nosuch".to_owned()];
    let read = host.apt.candidates(&names).unwrap();
    assert_eq!(
        read.into_iter().collect::<Vec<_>>(),
        [("curl".into(), "7.90".into()), ("curl:amd64".into(), "7.90".into())]
    );
    assert!(host.lines().is_empty() && !host.apt.upkeep().unwrap().sources_newer);

    std::fs::write(host.folder.path().join("etc/apt/sources.list.d/x.sources"), "").unwrap();
    host.age("var/lib/apt/lists", 60);
    host.age("var/lib/apt/lists/partial", 60);
    assert!(host.apt.upkeep().unwrap().sources_newer);
    assert_eq!(host.apt.candidates(&names).unwrap().get("curl").map(String::as_str), Some("8.0"));
    assert_eq!(host.lines(), ["apt-cache --quiet policy -- curl curl:amd64 nosuch"]);
}

#[test]
fn lists_that_were_never_fetched_have_no_age() {
    let host = host(STATUS, |_| (0, ""));
    assert!(host.apt.upkeep().unwrap().lists_age.is_some());
    std::fs::remove_dir(host.folder.path().join("var/lib/apt/lists/partial")).unwrap();
    assert_eq!(host.apt.upkeep().unwrap().lists_age, None);
}

#[test]
fn one_source_alone_must_be_fetched_whole() {
    let host = host(STATUS, |_| (0, ""));
    host.apt.refresh(Some(Path::new("/etc/apt/sources.list.d/x.sources")), &mut |_| {}).unwrap();
    let line = &host.lines()[0];
    assert!(
        line.contains("sourcelist=/etc/apt/sources.list.d/x.sources") && line.contains("Error-Mode=any"),
        "{line}"
    );
}

#[test]
fn a_host_without_dpkg_has_no_packages() {
    let host = host(STATUS, |_| (0, ""));
    std::fs::remove_file(host.folder.path().join("var/lib/dpkg/status")).unwrap();
    assert!(matches!(host.apt.installed(), Err(PackageError::Unsupported)));
}

/// Returns the error that stops a transaction if apt prints `said` after the refresh, and the command lines.
fn stopped(said: &'static str, allow: impl Fn(&mut Allowance)) -> (Option<String>, Vec<String>) {
    let host = host(STATUS, move |command| match command.words.iter().any(|word| word == "--simulate") {
        true => (0, said),
        false => (0, ""),
    });
    let requests = [PackageRequest { refresh: true, ..request("new", PackageGoal::Present) }];
    let mut allowed = Allowance::on("amd64");
    allowed.allow(&requests, &Simulation::default());
    allow(&mut allowed);
    let done = host.apt.transact(&requests, &allowed, &mut |_| {});
    (done.err().map(|error| error.to_string()), host.lines())
}

#[test]
fn a_transaction_stops_before_it_removes_what_the_plan_does_not_name() {
    let remove = "Remv postfix [3.7]\nInst new (1 Debian:12 [all])\n";
    let (why, lines) = stopped(remove, |_| {});
    assert_eq!(
        why.as_deref(),
        Some(
            "it would remove postfix, which the plan does not name; no package changed: plan again, \
             and apply the new plan"
        )
    );
    assert_eq!(lines.last().map(String::as_str), Some("apt-get --simulate install -- new"));
    let (why, lines) = stopped(remove, |allowed| allowed.allow_removal(&["postfix".to_owned()]));
    assert_eq!((why, lines.last().map(String::as_str)), (None, Some("apt-get install -- new")));
    assert_eq!(stopped("Remv curl [7]\nInst curl [7] (8 Debian:12 [amd64])\n", |_| {}).0, None);
    let (why, _) =
        stopped("Purg openssh-server [1:9]\n", |allowed| allowed.keep_ways_in(&["openssh-server"]));
    let why = why.unwrap();
    assert!(
        why.starts_with("it would remove openssh-server,") && why.contains("no user can log in"),
        "{why}"
    );
    assert!(
        stopped("Remv libc6:i386 [2]\n", |allowed| allowed.allow_removal(&["libc6".to_owned()])).0.is_some()
    );
}

#[test]
fn unneeded_packages_stay_where_the_plan_does_not_name_them() {
    let said = "Remv libold1 [1]\nRemv libold2 [1]\n";
    // A broken database that cannot be repaired does not allow more, either.
    let broken = STATUS
        .replace("install ok installed\nArchitecture: amd64\nVersion: 7", "install ok unpacked\nVersion: 7");
    for status in [STATUS, &broken] {
        let host = host(status, move |_| (0, said));
        let mut allowed = Allowance::default();
        allowed.allow_removal(&["libold1".to_owned()]);
        let error = host.apt.remove_unneeded(&allowed, &mut |_| {}).unwrap_err();
        assert!(error.to_string().contains("would remove libold2,"), "{error}");
        assert_eq!(host.lines().last().map(String::as_str), Some("apt-get --simulate autoremove --"));
        allowed.allow_removal(&["libold2".to_owned()]);
        host.apt.remove_unneeded(&allowed, &mut |_| {}).unwrap();
    }
}

#[test]
fn a_failure_says_why_in_the_words_of_dpkg() {
    let check = |said: &str, expected: &str| {
        let message = failure("apt-get", Some(100), said).to_string();
        assert_eq!(message, format!("apt-get ended with 100: {expected}"));
    };
    let sub = "E: Sub-process /usr/bin/dpkg returned an error code (1)\n";
    check(
        &format!(
            "Unpacking cowsay (3.03) ...\ndpkg: error processing archive /x/cowsay.deb (--unpack):\n trying to overwrite \
             '/usr/games/cowsay', which is also in package blocker 1\nErrors were encountered while processing:\n \
             /x/cowsay.deb\n{sub}"
        ),
        "dpkg: error processing archive /x/cowsay.deb (--unpack): trying to overwrite '/usr/games/cowsay', which is also in \
         package blocker 1; Sub-process /usr/bin/dpkg returned an error code (1)",
    );
    check(
        "dpkg: error processing archive /x/a.deb (--unpack):\n cannot copy extracted data for './b': failed to write (No space \
         left on device)\n",
        "dpkg: error processing archive /x/a.deb (--unpack): cannot copy extracted data for './b': failed to write (No space left \
         on device)",
    );
    check(
        "dpkg: error processing package badpkg (--configure):\n installed badpkg package post-installation script subprocess \
         returned error exit status 1\n",
        "dpkg: error processing package badpkg (--configure): installed badpkg package post-installation script subprocess \
         returned error exit status 1",
    );
    check(" indented\nlast words\n\n", "last words");
    let many =
        "dpkg: error processing package some-package (--configure):\n dependency problems\n".repeat(1000);
    assert!(failure("apt-get", None, &many).to_string().len() < 2 * REASONS);
}

#[test]
fn a_name_that_is_only_provided_is_never_left_to_apt() {
    let said = "Package: default-mta\nVersions: \n\nReverse Depends: \n  mailx,default-mta\nDependencies: \nProvides: \n\
                Reverse Provides: \npostfix 3.7 (= )\nexim4-daemon-light 4.96 (= )\npostfix 3.6 (= )\n";
    let host = host(STATUS, move |command| match command.words[2].as_str() {
        "showpkg" => (0, said),
        _ => (0, ""),
    });
    let requests = [PackageRequest { refresh: true, ..request("default-mta", PackageGoal::Present) }];
    let error = host.apt.transact(&requests, &Allowance::default(), &mut |_| {}).unwrap_err().to_string();
    assert_eq!(
        error,
        "default-mta is a virtual package, provided by exim4-daemon-light, postfix; declare one of them"
    );
    assert!(host.lines().iter().all(|line| !line.contains("install")), "{:?}", host.lines());
}

#[test]
fn unneeded_packages_are_those_after_all_that_is_planned() {
    let host = host(STATUS, |command| match command.words.iter().any(|word| word == "--auto-remove") {
        true if command.words.iter().any(|word| word == "broken-") => (100, "E: Broken packages\n"),
        true => (0, "Remv old [1]\nRemv libold [1]\n"),
        false => (0, "Remv libstale [1]\n"),
    });
    let check = |requests: &[PackageRequest], expected: &[&str]| {
        assert_eq!(host.apt.unneeded(requests).unwrap(), expected, "{requests:?}");
    };
    let gone = |name: &str| request(name, PackageGoal::Absent { purge: false });
    check(&[], &["libstale"]);
    check(&[gone("old")], &["old", "libold"]);
    check(&[PackageRequest { refresh: true, ..request("new", PackageGoal::Present) }], &["libstale"]);
    check(&[gone("broken")], &["libstale"]);
    assert_eq!(host.lines()[1], "apt-get --simulate --auto-remove install -- old-");
}
