//! Runs that are killed at random moments, agent, controller or both, and hosts that lose their power: the next run
//! leaves what a run that nothing happened to leaves.
//!
//! `CONVERGE_KILLS=100` asks for so many kills on each host; `CONVERGE_SEED` for other moments.

use std::collections::BTreeMap;
use std::thread;
use std::time::Duration;

use converge_tests::project::Project;
use converge_tests::testbed::{Host, Snapshot, Testbed};
use rustix::process::Signal;

use crate::support::{Course, Told, agent, on_hosts, root};

const INVENTORY: &str = include_str!("../../data/kills/inventory.kdl");
const HOSTS: [&str; 5] = ["h1", "h2", "h3", "h4", "h5"];
/// The kills on each host; a power cut comes after them.
const KILLS: u64 = 5;

/// Packages with a version in both states, and one package of each state, in a repository on the host.
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
# What counts here is the file of the job, not that it runs.
ln -s /bin/true /usr/sbin/cron
build kills-common 1; build kills-common 2; build kills-a 1; build kills-b 1
"#;

/// What package tools keep for themselves, and Converge.
const OWN: [&str; 7] = [
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
        thread::scope(|scope| {
            for (number, host) in (0_u64..).zip(testbed.hosts()) {
                scope.spawn(move || Subject::new(testbed, host, number).ordeal());
            }
        });
    });
}

/// A host that is taken from one state to the other, again and again.
struct Subject<'a> {
    host: &'a Host,
    project: Project,
    random: Random,
    /// What a clean run leaves, by state, and how many events it tells.
    clean: BTreeMap<&'static str, (Left, usize)>,
}

/// What a run leaves on a host.
#[derive(Debug, PartialEq)]
struct Left {
    /// The disk, without times and what programs keep for themselves.
    disk: Snapshot,
    /// What the service read when it started, what is mounted, what the kernel was set to, and who Converge says made
    /// what.
    running: String,
}

impl<'a> Subject<'a> {
    fn new(testbed: &'a Testbed, host: &'a Host, number: u64) -> Self {
        let project = Project::new(&INVENTORY.replace("HOST", host.name()), Some(testbed)).unwrap();
        let seed = std::env::var("CONVERGE_SEED").map_or(7, |seed| seed.parse().unwrap());
        Self { host, project, random: Random::new(seed * 1000 + number), clean: BTreeMap::new() }
    }

    fn ordeal(mut self) {
        root(self.host, REPOSITORY);
        // The second time each state is reached from the other one, as after each kill.
        for state in ["a", "b", "a", "b"] {
            let events = self.settle(state).events.len();
            self.clean.insert(state, (self.left(), events));
        }
        let kills = std::env::var("CONVERGE_KILLS").map_or(KILLS, |kills| kills.parse().unwrap());
        for round in 0..kills {
            let state = if round.is_multiple_of(2) { "a" } else { "b" };
            let how = [Kill::Agent, Kill::Controller, Kill::Both][self.random.below(3)];
            self.round(state, how);
        }
        let state = if kills.is_multiple_of(2) { "a" } else { "b" };
        self.round(state, Kill::Power);
    }

    /// A run to `state` that is killed at a random moment, and one that is not.
    fn round(&mut self, state: &'static str, how: Kill) {
        let events = self.clean[state].1;
        let (after, delay) =
            (1 + self.random.below(events), Duration::from_millis(self.random.below(60) as u64));
        let moment =
            format!("{}: {how:?} to {state}, {delay:?} after event {after} of {events}", self.host.name());
        let mut course = Course::start(self.project.command().args(Self::words(state)));
        course.until_events(after);
        // A moment between two events, which no event could tell.
        thread::sleep(delay);
        self.kill(how, &course);
        course.reap();
        // An agent without its controller ends its step first.
        root(self.host, "timeout 60 flock /var/lib/converge/lock true");
        let told = self.settle(state);
        let left = self.left();
        let clean = &self.clean[state].0;
        let differences: Vec<_> = left
            .disk
            .changes_since(&clean.disk)
            .iter()
            .map(ToString::to_string)
            .filter(|change| is_of_interest(change))
            .collect();
        assert_eq!(differences, Vec::<String>::new(), "{moment}: {told}");
        assert_eq!(left.running, clean.running, "{moment}: {told}");
    }

    fn kill(&self, how: Kill, course: &Course) {
        if matches!(how, Kill::Agent | Kill::Both) {
            // It may have ended by itself.
            let agent = agent(self.host).unwrap_or_default();
            root(self.host, &format!("kill -9 {agent} 2>/dev/null || true"));
        }
        match how {
            Kill::Agent => {}
            Kill::Controller | Kill::Both => course.signal(Signal::KILL),
            Kill::Power => {
                self.host.cut_power().unwrap();
                course.signal(Signal::KILL);
                self.host.power_on().unwrap();
            }
        }
    }

    fn words(state: &str) -> [String; 5] {
        ["apply", "--yes", "--json", "--set", &format!("state={state}")].map(str::to_owned)
    }

    /// Applies to the end, and expects that nothing is left to do.
    fn settle(&self, state: &str) -> Told {
        let told = Course::start(self.project.command().args(Self::words(state))).end();
        assert_eq!(told.code, 0, "{told}");
        let set = format!("state={state}");
        let plan = ["plan", "--detailed-exitcode", "--json", "--set", &set];
        let again = Course::start(self.project.command().args(plan)).end();
        assert_eq!(again.code, 0, "{again}\nafter {told}");
        told
    }

    fn left(&self) -> Left {
        let running = "cat /run/app.started; findmnt -no OPTIONS /srv/scratch; sysctl -n net.core.somaxconn; \
            systemctl is-active app; systemctl list-units --state=failed --plain --no-legend; ls /var/lib/converge; \
            python3 -c \"import json; [print(key, entry['address'], entry['origin']) \
            for key, entry in json.load(open('/var/lib/converge/ledger'))['entries'].items()]\"";
        Left { disk: self.host.snapshot().unwrap().without_times(), running: root(self.host, running) }
    }
}

fn is_of_interest(change: &str) -> bool {
    !OWN.iter().any(|path| change.contains(path))
}

/// Who dies.
#[derive(Clone, Copy, Debug)]
enum Kill {
    Agent,
    Controller,
    Both,
    Power,
}

/// A sequence of numbers that a seed determines (splitmix64, Steele et al. 2014).
struct Random(u64);

impl Random {
    fn new(seed: u64) -> Self {
        Self(seed)
    }

    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % limit as u64) as usize
    }
}
