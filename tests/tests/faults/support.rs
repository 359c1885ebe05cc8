//! The common parts of the fault tests: runs that are watched while they are active, and their results. Also a gate
//! on the host that blocks a step until the test opens it.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStderr, ChildStdout, Command, Stdio};

use converge_model::{HostState, StepOutcome};
pub(crate) use converge_tests::demand::root;
pub(crate) use converge_tests::json::EventKind;
use converge_tests::json::{Event, Plan, Report};
use converge_tests::project::Project;
use converge_tests::testbed::{Host, Testbed, or_skip};
use rustix::process::{Pid, Signal, kill_process};

/// The connection of most tests.
pub(crate) const SUDO: &str = r#"connection user="admin" become="sudo""#;

/// Gives `test` new hosts with these names.
pub(crate) fn on_hosts(names: &[&str], test: impl FnOnce(&Testbed)) {
    if let Some(testbed) = or_skip(Testbed::up(names)) {
        test(&testbed);
    }
}

/// Gives `test` a new host.
pub(crate) fn on_host(test: impl FnOnce(&Testbed, &Host)) {
    on_hosts(&["h1"], |testbed| test(testbed, &testbed.hosts()[0]));
}

/// Creates a project over all hosts of `testbed`, all with this body.
pub(crate) fn project(testbed: &Testbed, connection: &str, body: &str) -> Project {
    let hosts: String = testbed.hosts().iter().map(|host| format!("host {:?}\n", host.name())).collect();
    let inventory = format!("{connection}\n{hosts}on \"*\" {{\n{body}\n}}\n");
    Project::new(&inventory, Some(testbed)).unwrap()
}

/// Returns how many lines of `program` in the journal contain `pattern`. Waits for the first one, because a log may
/// be slower than its program. Lines are selected by the name that the program gives itself. The journal only guesses
/// the unit of a line, and has none if the writer has ended meanwhile.
pub(crate) fn logged(host: &Host, program: &str, pattern: &str) -> u32 {
    let lines = format!("journalctl --quiet --identifier {program} --grep '{pattern}'");
    root(host, &format!("timeout 30 sh -c \"until {lines} | grep -q .; do sleep 0.1; done\""));
    root(host, &format!("{lines} | wc -l")).parse().unwrap()
}

/// Returns the agent's process id on the host.
pub(crate) fn agent(host: &Host) -> Option<String> {
    let line = r#"for p in /proc/[0-9]*; do case "$(readlink $p/exe)" in */converge*) echo ${p#/proc/};; esac; done"#;
    root(host, line).lines().next().map(str::to_owned)
}

/// Waits, inside the host, until the host has settled the armed changes.
pub(crate) fn until_settled(host: &Host) {
    root(
        host,
        "timeout 60 sh -c 'while [ -e /var/lib/converge/armed ] || [ -e /var/lib/converge/reverting ]; do sleep 0.1; done'",
    );
}

/// The program `gate` on a host. It prints `waiting`, and ends when the test opens the gate. From then on the gate is
/// open.
pub(crate) struct Gate<'a>(&'a Host);

impl<'a> Gate<'a> {
    pub(crate) fn on(host: &'a Host) -> Self {
        let script = "#!/bin/sh\\n[ -e /run/open ] && exit\\necho waiting\\nread _ </run/gate\\n";
        let program = "/usr/local/bin/gate";
        root(host, &format!("mkfifo /run/gate; printf '{script}' >{program}; chmod 755 {program}"));
        Self(host)
    }

    /// Opens the gate for waiting and later programs.
    pub(crate) fn open(&self) {
        root(self.0, "touch /run/open; timeout 20 sh -c 'echo >/run/gate'");
    }

    /// Closes the gate.
    pub(crate) fn close(&self) {
        root(self.0, "rm /run/open");
    }
}

/// A running run.
pub(crate) struct Course {
    child: Child,
    stdout: Lines<BufReader<ChildStdout>>,
    stderr: BufReader<ChildStderr>,
    said: String,
    events: Vec<Event>,
}

/// A finished run and its output. The events were checked: each host's are numbered without a gap. The last event is
/// the end of the run with its exit code.
pub(crate) struct Told {
    pub(crate) code: i32,
    pub(crate) events: Vec<Event>,
    pub(crate) stderr: String,
}

/// Runs `converge apply --yes` to its end.
pub(crate) fn apply(project: &Project) -> Told {
    Course::apply(project).end()
}

/// Runs `converge plan --detailed-exitcode` to its end.
pub(crate) fn plan(project: &Project) -> Told {
    Course::start(project.command().args(["plan", "--detailed-exitcode", "--json"])).end()
}

/// Applies, and checks that this succeeds and that nothing is left to do.
pub(crate) fn converge(project: &Project) -> Told {
    let told = apply(project);
    assert_eq!(told.code, 0, "{told}");
    let again = plan(project);
    assert_eq!(again.code, 0, "{again}");
    told
}

impl Course {
    pub(crate) fn apply(project: &Project) -> Self {
        Self::start(project.command().args(["apply", "--yes", "--json"]))
    }

    pub(crate) fn start(command: &mut Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let stdout = BufReader::new(child.stdout.take().unwrap()).lines();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        Self { child, stdout, stderr, said: String::new(), events: Vec::new() }
    }

    /// Waits until `host` runs a step that waits at the gate.
    pub(crate) fn until_waiting(&mut self, host: &Host) {
        self.until(host, |kind| matches!(kind, EventKind::Output { line, .. } if line == "waiting"));
    }

    /// Waits until `host` sends an event that is `wanted`.
    pub(crate) fn until(&mut self, host: &Host, wanted: impl Fn(&EventKind) -> bool) {
        let of_host = |event: &Event| event.host.as_ref().is_some_and(|name| name.as_str() == host.name());
        while !self.events.last().is_some_and(|event| of_host(event) && wanted(&event.kind)) {
            if !self.next() {
                let mut said = String::new();
                self.stderr.read_to_string(&mut said).unwrap();
                panic!("it ended before that: {said}\n{:#?}", self.events);
            }
        }
    }

    /// Waits until it has sent `count` events. False if it ends with fewer.
    pub(crate) fn until_events(&mut self, count: usize) -> bool {
        while self.events.len() < count && self.next() {}
        self.events.len() >= count
    }

    /// Waits until it prints `words` as a message.
    pub(crate) fn until_said(&mut self, words: &str) {
        while !self.said.contains(words) {
            assert_ne!(self.stderr.read_line(&mut self.said).unwrap(), 0, "it only said {}", self.said);
        }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Returns the id of the run.
    pub(crate) fn run(&self) -> String {
        self.events[0].run.to_string()
    }

    fn next(&mut self) -> bool {
        let Some(line) = self.stdout.next() else { return false };
        let line = line.unwrap();
        match Event::read(&line) {
            Ok(event) => self.events.push(event),
            // A line that is not an event is a message for people.
            Err(words) => self.said.push_str(&words),
        }
        true
    }

    /// Waits for a run that was killed.
    pub(crate) fn reap(mut self) {
        self.child.wait().unwrap();
    }

    pub(crate) fn end(mut self) -> Told {
        while self.next() {}
        self.stderr.read_to_string(&mut self.said).unwrap();
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        let told = Told { code, events: self.events, stderr: self.said };
        told.check();
        told
    }
}

impl Told {
    fn check(&self) {
        let mut next: BTreeMap<_, u64> = BTreeMap::new();
        for event in &self.events {
            let expected = next.entry(event.host.clone()).or_default();
            assert_eq!(event.sequence, *expected, "{event:?} in {self}");
            *expected += 1;
        }
        let runs: Vec<_> = self.events.iter().filter(|event| event.run != self.events[0].run).collect();
        assert!(runs.is_empty(), "of another run: {runs:?}");
        let exit = self.events.last().map(|event| &event.kind);
        assert!(
            matches!(exit, Some(EventKind::RunFinished { exit_code }) if i32::from(*exit_code) == self.code),
            "{self}"
        );
    }

    fn of<'a>(&'a self, host: &str) -> impl Iterator<Item = &'a EventKind> {
        let of_host = move |event: &&Event| event.host.as_ref().is_some_and(|name| name.as_str() == host);
        let found: Vec<_> = self.events.iter().filter(of_host).map(|event| &event.kind).collect();
        found.into_iter()
    }

    pub(crate) fn report<'a>(&'a self, host: &str) -> &'a Report {
        let report = |kind: &'a EventKind| match kind {
            EventKind::HostFinished(report) => Some(report),
            _ => None,
        };
        self.of(host).find_map(report).unwrap_or_else(|| panic!("no end of {host} in {self}"))
    }

    pub(crate) fn plan<'a>(&'a self, host: &str) -> &'a Plan {
        let plan = |kind: &'a EventKind| match kind {
            EventKind::Planned(plan) => Some(plan),
            _ => None,
        };
        self.of(host).find_map(plan).unwrap_or_else(|| panic!("no plan of {host} in {self}"))
    }

    pub(crate) fn state(&self, host: &str) -> HostState {
        self.report(host).state
    }

    /// Returns the results of the steps at `address` on the host.
    pub(crate) fn outcomes<'a>(&'a self, host: &str, address: &str) -> Vec<&'a StepOutcome> {
        let results = self.report(host).results.iter();
        results.filter(|result| result.address.as_str() == address).map(|result| &result.outcome).collect()
    }

    /// Returns the problems of the host as a whole, with their help.
    pub(crate) fn problems(&self, host: &str) -> String {
        let problems = self.report(host).problems.iter();
        let text =
            problems.map(|problem| format!("{}\n{}", problem.message, problem.help.as_deref().unwrap_or("")));
        text.collect::<Vec<_>>().join("\n")
    }
}

impl std::fmt::Display for Told {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        writeln!(f, "exit {}\n{}", self.code, self.stderr)?;
        self.events.iter().try_for_each(|event| writeln!(f, "{} {:?}", event.sequence, event.kind))
    }
}
