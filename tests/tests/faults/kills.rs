//! Runs that are killed at random moments (the agent, the controller or both), and hosts that lose their power. The
//! next run must leave the same result as an undisturbed run.
//!
//! `CONVERGE_KILLS=20` sets the number of kills on each of the five hosts, and `CONVERGE_SEED` chooses other moments.
//! A seed does not repeat the exact moments, because hosts are never equally fast. `docs/robustness.md` has the
//! results.

use std::collections::BTreeMap;
use std::path::Path;
use std::thread;
use std::time::{Duration, Instant};

use converge_tests::project::Project;
use converge_tests::testbed::{Host, Snapshot, Testbed};
use rustix::process::Signal;

use crate::support::{Course, on_hosts, root, until_settled};

const INVENTORY: &str = include_str!("../../data/kills/inventory.kdl");
const HOSTS: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];
/// The number of kills on each host. A power cut follows them.
const KILLS: u64 = 5;
const SEED: u64 = 7;
const STATES: [&str; 2] = ["a", "b"];

/// A repository on the host, with packages that have a version in both states, and one package for each state.
const REPOSITORY: &str = r#"
mkdir -p /srv/repository && cd /srv/repository
build() {
    mkdir -p "build/DEBIAN" "build/usr/share/$1"
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: test\n' "$1" "$2" >build/DEBIAN/control
    echo "$1 $2" >"build/usr/share/$1/text"
    dpkg-deb --build build "$1-$2.deb" >/dev/null && rm -r build
    printf 'Package: %s\nVersion: %s\nArchitecture: all\nMaintainer: Test <test@example.com>\nDescription: test\nFilename: ./%s\nSize: %s\nSHA256: %s\n\n' \
        "$1" "$2" "$1-$2.deb" "$(stat -c %s "$1-$2.deb")" "$(sha256sum <"$1-$2.deb" | cut -d' ' -f1)" >>Packages
}
# Without Debian's own lists apt reads little, and asks no network.
rm -f /etc/apt/sources.list /etc/apt/sources.list.d/*
# What counts here is the file of the job, not that it runs.
ln -s /bin/true /usr/sbin/cron
build kills-common 1; build kills-common 2; build kills-a 1; build kills-b 1
"#;

/// Prints the accounts, the configuration that the service read at its start, the mounts, the kernel settings, and
/// the state of Converge.
const RUNNING: &str = "cat /etc/passwd /etc/group /etc/shadow /etc/gshadow
cat /run/app.started; findmnt -no OPTIONS /srv/scratch; sysctl -n net.core.somaxconn
systemctl is-active app; systemctl list-units --state=failed --plain --no-legend
ls /var/lib/converge; cat /var/lib/converge/ledger";

/// Kills every agent. It is no error if there is none.
const KILL_AGENTS: &str = r#"for p in /proc/[0-9]*; do
    case "$(readlink $p/exe)" in */converge*) kill -9 ${p#/proc/};; esac
done; true"#;

/// Files that the tools for packages and accounts keep for themselves, and files of Converge. Its ledger is compared
/// separately.
const OWN: [&str; 11] = [
    "/etc/group-",
    "/etc/gshadow-",
    "/etc/passwd-",
    "/etc/shadow-",
    "/var/cache/apt",
    "/var/cache/converge",
    "/var/lib/apt",
    "/var/lib/converge",
    "/var/lib/dpkg/status-old",
    "/var/lib/dpkg/triggers",
    "/var/lib/systemd",
];

#[test]
fn runs_that_are_killed_at_random_moments_end_as_if_nothing_had_happened() {
    on_hosts(&HOSTS, |testbed| {
        let interrupted: usize = thread::scope(|scope| {
            let subjects = (0_u64..).zip(testbed.hosts());
            let ordeals: Vec<_> = subjects
                .map(|(number, host)| scope.spawn(move || Subject::new(testbed, host, number).ordeal()))
                .collect();
            ordeals.into_iter().map(|ordeal| ordeal.join().unwrap()).sum()
        });
        eprintln!("the next run found {interrupted} runs that had not ended");
        assert!(interrupted >= HOSTS.len(), "only {interrupted} kills met a run at work");
    });
}

/// A host that is changed from one state to the other, again and again.
struct Subject<'a> {
    host: &'a Host,
    project: Project,
    random: Random,
    clean: BTreeMap<&'static str, Clean>,
    /// How many runs were reported as interrupted.
    interrupted: usize,
}

/// An undisturbed run.
struct Clean {
    left: Left,
    /// The time between each event and the one before.
    gaps: Vec<Duration>,
}

/// The result of a run on a host.
#[derive(Debug, PartialEq)]
struct Left {
    /// The disk, without times.
    disk: Snapshot,
    /// The output of [`RUNNING`].
    running: String,
}

impl<'a> Subject<'a> {
    fn new(testbed: &'a Testbed, host: &'a Host, number: u64) -> Self {
        let project = Project::new(&INVENTORY.replace("HOST", host.name()), Some(testbed)).unwrap();
        let seed = std::env::var("CONVERGE_SEED").map_or(SEED, |seed| seed.parse().unwrap());
        let random = Random(seed * 1000 + number);
        Self { host, project, random, clean: BTreeMap::new(), interrupted: 0 }
    }

    fn ordeal(mut self) -> usize {
        root(self.host, REPOSITORY);
        // From an empty host to the first state. Then each state is reached from the other one, as after each kill.
        self.apply("a").end();
        for state in ["b", "a"] {
            let clean = self.run_clean(state);
            self.clean.insert(state, clean);
        }
        let kills = std::env::var("CONVERGE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
        let states = STATES.iter().rev().cycle();
        for (round, state) in (0..=kills).zip(states) {
            let how = if round == kills {
                Kill::Power
            } else {
                [Kill::Agent, Kill::Controller, Kill::Both][self.random.below(3)]
            };
            self.round(state, how);
            if round % 5 == 0 {
                self.nothing_is_left(state);
            }
        }
        self.interrupted
    }

    fn apply(&self, state: &str) -> Course {
        let set = format!("state={state}");
        let words = ["apply", "--yes", "--json", "--confirm-timeout", "15s", "--set", &set];
        Course::start(self.project.command().args(words))
    }

    fn run_clean(&self, state: &str) -> Clean {
        let mut course = self.apply(state);
        let mut gaps = Vec::new();
        let mut last = Instant::now();
        while course.until_events(gaps.len() + 1) {
            gaps.push(last.elapsed());
            last = Instant::now();
        }
        let told = course.end();
        assert_eq!(told.code, 0, "{told}");
        Clean { left: self.left(), gaps }
    }

    /// Runs to `state` with a kill at a random moment, and then once without.
    fn round(&mut self, state: &'static str, how: Kill) {
        let gaps = &self.clean[state].gaps;
        let (after, delay) = self.random.moment(gaps);
        let moment = format!(
            "{}: {how:?} to {state}, {delay:?} after event {after} of {}",
            self.host.name(),
            gaps.len()
        );
        let mut course = self.apply(state);
        course.until_events(after);
        // This sleep waits for no condition: it is the random moment between two events.
        thread::sleep(delay);
        self.kill(how, course);
        // An agent without its controller ends its step first. The host then reverts what was not confirmed.
        root(self.host, "timeout 60 flock /var/lib/converge/lock true");
        until_settled(self.host);
        let told = self.apply(state).end();
        assert_eq!(told.code, 0, "{moment}: {told}");
        let was_interrupted = told.plan(self.host.name()).interrupted.is_some();
        self.interrupted += usize::from(was_interrupted);
        let (left, clean) = (self.left(), &self.clean[state].left);
        assert_eq!(left.running, clean.running, "{moment}: {told}");
        assert_eq!(differences(&left.disk, &clean.disk), Vec::<String>::new(), "{moment}: {told}");
    }

    fn nothing_is_left(&self, state: &str) {
        let set = format!("state={state}");
        let mut plan = self.project.command();
        let told = Course::start(plan.args(["plan", "--detailed-exitcode", "--json", "--set", &set])).end();
        assert_eq!(told.code, 0, "{told}");
    }

    fn kill(&self, how: Kill, course: Course) {
        if matches!(how, Kill::Agent | Kill::Both) {
            root(self.host, KILL_AGENTS);
        }
        match how {
            Kill::Agent => {
                course.end();
            }
            Kill::Controller | Kill::Both => {
                course.signal(Signal::KILL);
                course.reap();
            }
            Kill::Power => {
                self.host.cut_power().unwrap();
                course.signal(Signal::KILL);
                course.reap();
                self.host.power_on().unwrap();
            }
        }
    }

    fn left(&self) -> Left {
        Left { disk: self.host.snapshot().unwrap().without_times(), running: root(self.host, RUNNING) }
    }
}

fn differences(disk: &Snapshot, clean: &Snapshot) -> Vec<String> {
    let is_own = |path: &Path| OWN.iter().any(|own| path.starts_with(own));
    let is_left_over = |path: &Path| is_own(path) || is_lock_in_the_making(path);
    let changes = disk.changes_since(clean).into_iter().filter(|change| !is_left_over(&change.path));
    changes.map(|change| change.to_string()).collect()
}

/// Whether an account tool made this file to take its lock: `/etc/passwd.2049`, which it then links to
/// `/etc/passwd.lock`. A power cut between the two leaves it, and the next tool ignores it.
fn is_lock_in_the_making(path: &Path) -> bool {
    let is_number = path.extension().is_some_and(|end| end.to_string_lossy().parse::<u32>().is_ok());
    let files = ["/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow"];
    is_number && files.iter().any(|file| path.with_extension("") == Path::new(file))
}

/// The processes to kill.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Agent,
    Controller,
    Both,
    Power,
}

/// A sequence of numbers from a seed (splitmix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    /// Chooses a moment of a run whose events have these gaps: a number of events, and a time after the last of them.
    /// Half of the moments are chosen by events, because most steps are short. The other half is chosen by time,
    /// because some steps are long.
    fn moment(&mut self, gaps: &[Duration]) -> (usize, Duration) {
        let share = |random: &mut Self| random.below(1000) as u32;
        if self.below(2) == 0 {
            let after = 1 + self.below(gaps.len() - 1);
            return (after, gaps[after] * share(self) / 1000);
        }
        let mut rest = gaps.iter().sum::<Duration>() * share(self) / 1000;
        let after = gaps
            .iter()
            .take_while(|gap| rest.checked_sub(**gap).inspect(|left| rest = *left).is_some())
            .count();
        (after, rest)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
