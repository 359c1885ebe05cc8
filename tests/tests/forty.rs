//! Forty resources of most kinds on three hosts: they become in sync and stay so. The cost of a look is counted, not
//! measured in time.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use converge_tests::project::{Ended, FORTY, Project};
use converge_tests::testbed::{Host, Snapshot, Testbed, or_skip};

/// The hosts of the group `forty`.
const HOSTS: [&str; 3] = ["h1", "h2", "h3"];
/// The bed of the tests that only look: they share one host that is in sync.
const BED: &str = "test-forty";
/// The most bytes of a look in both directions, with the login and all lower network layers.
const WIRE_LIMIT: u64 = 20 * 1024;

fn forty(testbed: &Testbed) -> Project {
    Project::forty(HOSTS.len(), testbed).unwrap()
}

/// Returns a shared host on which all of `project` is in sync, and the project.
fn converged(project: impl Fn(&Testbed) -> Project) -> Option<(Testbed, Project)> {
    let testbed = or_skip(Testbed::kept(BED, &["h1"]))?;
    let project = project(&testbed);
    let apply = converge(&project, &["apply", "--yes", "--limit", "h1"]);
    assert_eq!(apply.code, 0, "{apply}");
    Some((testbed, project))
}

fn converge(project: &Project, arguments: &[&str]) -> Ended {
    project.converge(arguments).unwrap()
}

/// Looks at `h1` over a new connection. The look must find nothing to do.
fn look(project: &Project) -> Ended {
    let arguments = ["plan", "--detailed-exitcode", "--limit", "h1", "--keep-connections", "0", "-v"];
    let plan = converge(project, &arguments);
    assert_eq!(plan.code, 0, "{plan}");
    plan
}

fn snapshots(testbed: &Testbed) -> Vec<Snapshot> {
    testbed.hosts().iter().map(|host| host.snapshot().unwrap()).collect()
}

/// Returns the changes since `before`, without Converge's own cache and state.
fn changes(testbed: &Testbed, before: &[Snapshot]) -> Vec<String> {
    let hosts = testbed.hosts().iter().zip(before);
    let changes = hosts.flat_map(|(host, before)| host.changes_since(before).unwrap());
    changes.map(|change| change.to_string()).filter(|change| !is_our_own(change)).collect()
}

fn is_our_own(change: &str) -> bool {
    let own = ["/var/cache/converge", "/var/lib/converge", "/var/cache ", "/var/lib "];
    own.iter().any(|path| change.contains(path))
}

#[test]
fn forty_resources_converge_on_three_hosts_and_stay() {
    let Some(testbed) = or_skip(Testbed::up(&HOSTS)) else { return };
    let project = forty(&testbed);
    let fresh = snapshots(&testbed);
    let plan = converge(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 2, "{plan}");
    assert_eq!(changes(&testbed, &fresh), Vec::<String>::new(), "a plan writes nothing: {plan}");

    let apply = converge(&project, &["apply", "--yes"]);
    assert_eq!(apply.code, 0, "{apply}");

    let converged = snapshots(&testbed);
    let plan = converge(&project, &["plan", "--detailed-exitcode"]);
    assert_eq!(plan.code, 0, "{plan}");
    let in_sync = format!("{} resources in sync", HOSTS.len() * FORTY);
    assert!(plan.stdout.contains(&in_sync), "{in_sync}: {plan}");
    let again = converge(&project, &["apply", "--yes"]);
    assert_eq!(again.code, 0, "{again}");
    assert_eq!(changes(&testbed, &converged), Vec::<String>::new(), "a second apply does nothing: {again}");
}

#[test]
fn a_look_sends_and_receives_little() {
    let Some((testbed, project)) = converged(forty) else { return };
    let host = testbed.host("h1").unwrap();
    look(&project);
    let before = on_the_wire(host);
    look(&project);
    let cost = on_the_wire(host) - before;
    assert!(cost <= WIRE_LIMIT, "{cost} bytes for a look at {FORTY} resources");
}

/// Returns all bytes of the host's network so far, including Ethernet frames.
fn on_the_wire(host: &Host) -> u64 {
    let line = "cat /sys/class/net/host0/statistics/[rt]x_bytes";
    host.exec_root(line).unwrap().ok().unwrap().lines().map(|count| count.parse::<u64>().unwrap()).sum()
}

#[test]
fn a_thousand_resources_take_as_many_exchanges_as_forty() {
    let Some((testbed, forty)) = converged(forty) else { return };
    let few = exchanges(&look(&forty));
    drop((testbed, forty));
    let Some((_testbed, thousand)) = converged(|bed| Project::thousand(bed).unwrap()) else {
        return;
    };
    let plan = look(&thousand);
    assert!(plan.stdout.contains("1000 resources in sync"), "{plan}");
    // The two exchanges are the command that starts the agent, and the catalog after its hello.
    assert_eq!((few, exchanges(&plan)), (2, 2));
}

/// Returns how often a run had to wait for an answer of `h1`, without the login.
fn exchanges(plan: &Ended) -> u32 {
    let line = plan.stderr.lines().find_map(|line| line.strip_prefix("h1  ")).unwrap();
    line.split_once(" exchanges").unwrap().0.parse().unwrap()
}

#[test]
fn a_look_starts_no_process() {
    let Some((testbed, project)) = converged(forty) else { return };
    let host = testbed.host("h1").unwrap();
    let trace = Trace::start(host);
    look(&project);
    assert_eq!(trace.started_by_the_agent(), Vec::<String>::new());
}

/// Traces the processes that a host's sshd starts, and their children.
struct Trace<'a> {
    host: &'a Host,
    sshd: String,
}

impl<'a> Trace<'a> {
    fn start(host: &'a Host) -> Self {
        let root = |line: &str| host.exec_root(line).unwrap().ok().unwrap();
        root("command -v strace || (apt-get -q update && apt-get -q -y install strace)");
        let sshd = root("systemctl show -P MainPID ssh");
        root(&format!(
            "strace -f -qq -e trace=execve,clone,clone3,fork,vfork -o /tmp/trace -p {sshd} >/dev/null 2>&1 </dev/null & \
             until grep -q '^TracerPid:.[1-9]' /proc/{sshd}/status; do kill -0 $! || exit 1; done"
        ));
        Self { host, sshd }
    }

    /// Ends the trace. Returns the calls that started a process, by the agent and its children.
    fn started_by_the_agent(self) -> Vec<String> {
        let end = format!(
            "kill $(sed -n 's/^TracerPid:.//p' /proc/{0}/status); \
             until grep -q '^TracerPid:.0' /proc/{0}/status; do :; done; cat /tmp/trace",
            self.sshd
        );
        let trace = self.host.exec_root(&end).unwrap().ok().unwrap();
        // The agent is started in its folder, with its digest as the name.
        let is_digest = |name: &str| name.len() == 64 && name.bytes().all(|byte| byte.is_ascii_hexdigit());
        let program = |line: &str| line.split_once(" execve(\"./")?.1.split('"').next().map(str::to_owned);
        let is_agent = |line: &&str| program(line).is_some_and(|name| is_digest(&name));
        let own = trace.lines().skip_while(|line| !is_agent(line));
        assert!(trace.lines().any(|line| is_agent(&line)), "no agent: {trace}");
        // Everything after the agent's start belongs to the agent, because no other process of this login is left.
        let starts = own.skip(1).filter(|line| !line.contains("CLONE_THREAD"));
        starts
            .filter(|line| line.contains("exec") || line.contains("fork(") || line.contains(" clone"))
            .map(str::to_owned)
            .collect()
    }
}
