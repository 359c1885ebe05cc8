//! The module `firewall` on real hosts: which connections get through, which ones stay open, and what is restored.
#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// How long to wait for a dropped packet. The kernel opens a connection at once, even on a busy machine.
const PATIENCE: Duration = Duration::from_secs(2);
/// How long a reachable program may take to answer.
const ANSWER: Duration = Duration::from_secs(30);

/// A server that sends back each line, on the given ports.
const ECHO: &str = r#"
import selectors, socketserver, sys
class Echo(socketserver.StreamRequestHandler):
    def handle(self):
        for line in self.rfile:
            self.wfile.write(line)
class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True
    request_queue_size = 64
ready = selectors.DefaultSelector()
for port in sys.argv[1:]:
    ready.register(Server(("", int(port)), Echo), selectors.EVENT_READ)
while True:
    for key, _ in ready.select():
        key.fileobj.handle_request()
"#;

/// A host with the policy under test, its echo server on 9000 and 9001, and the project.
struct Trial<'a> {
    host: &'a Host,
    project: Project,
}

impl<'a> Trial<'a> {
    fn on(testbed: &'a Testbed) -> Self {
        let host = testbed.host("h1").unwrap();
        let trial = Self { host, project: Project::new("", Some(testbed)).unwrap() };
        trial.serve();
        trial
    }

    fn serve(&self) {
        let line = format!(
            "cat >/run/echo.py <<'END'\n{ECHO}\nEND\nsystemd-run --quiet --unit=echo python3 /run/echo.py 9000 9001\n\
             until python3 -c 'import socket; [socket.create_connection((\"127.0.0.1\", p)) for p in (9000, 9001)]' \
             2>/dev/null; do :; done"
        );
        self.root(&line);
    }

    fn root(&self, line: &str) -> String {
        self.host.exec_root(line).unwrap().ok().unwrap()
    }

    /// Sets this policy in the inventory.
    fn ask(&self, policy: &str) {
        let inventory = format!(
            "connection user=\"admin\" become=\"sudo\"\nhost \"h1\"\non \"h1\" {{ firewall {{ {policy} }} }}\n"
        );
        self.project.write("project/inventory.kdl", inventory).unwrap();
    }

    fn converge(&self, arguments: &[&str], code: i32) -> Ended {
        let ended = self.project.converge(arguments).unwrap();
        assert_eq!(ended.code, code, "{arguments:?}: {ended}");
        ended
    }

    /// Applies the policy and checks that nothing is left to do.
    fn apply(&self, policy: &str) {
        self.ask(policy);
        self.converge(&["apply", "--yes"], 0);
        self.in_sync();
    }

    fn in_sync(&self) {
        self.converge(&["plan", "--detailed-exitcode"], 0);
    }

    fn connect(&self, port: u16) -> Option<Line> {
        let address: SocketAddr = format!("{}:{port}", self.host.address()).parse().unwrap();
        let stream = TcpStream::connect_timeout(&address, PATIENCE).ok()?;
        stream.set_read_timeout(Some(ANSWER)).unwrap();
        Some(Line(BufReader::new(stream)))
    }
}

/// A connection to the echo server.
struct Line(BufReader<TcpStream>);

impl Line {
    /// Whether a sent line comes back.
    fn stands(&mut self) -> bool {
        let mut answer = String::new();
        let said = self.0.get_mut().write_all(b"still there?\n");
        said.and_then(|()| self.0.read_line(&mut answer)).is_ok_and(|_| answer == "still there?\n")
    }
}

/// Whether `from` gets through to the port of `to`.
fn reaches(from: &Host, to: &Host, port: u16) -> bool {
    let code = format!("import socket; socket.create_connection((\"{}\", {port}), timeout=2)", to.address());
    from.exec_root(&format!("python3 -c '{code}'")).unwrap().status.success()
}

#[test]
fn a_policy_lets_through_whom_it_names_and_cuts_no_connection_off() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let trial = Trial::on(&testbed);
    let other = testbed.host("h2").unwrap();
    let foreign = "nft list table ip nat; nft list table inet f2b-table; nft list table inet filter";
    trial.root(
        "nft add table ip nat; nft 'add chain ip nat DOCKER { type nat hook prerouting priority dstnat; }'
         nft 'add rule ip nat DOCKER tcp dport 8080 counter dnat to 172.17.0.2:80'
         nft add table inet f2b-table; nft 'add set inet f2b-table addr-set-sshd { type ipv4_addr; }'
         nft 'add element inet f2b-table addr-set-sshd { 192.0.2.9 }'
         nft add table inet filter",
    );
    let before = trial.root(foreign);

    trial.apply("allow \"ssh\"; allow tcp=9000");
    let mut line = trial.connect(9000).unwrap();
    assert!(line.stands());
    assert!(trial.connect(9001).is_none(), "a port that no rule names is open");

    // An open connection stays open, although the new policy would not accept it again.
    let narrow = format!("allow \"ssh\"; allow tcp=9000 from=\"{}\"", other.address());
    trial.apply(&narrow);
    assert!(line.stands(), "a connection was cut off");
    assert!(trial.connect(9000).is_none(), "a new connection came through");
    assert!(reaches(other, trial.host, 9000), "the one who is named does not come through");
    assert!(!reaches(other, trial.host, 9001));

    // Applying the same policy again changes nothing, not even handles.
    let listing = trial.root("nft -a list table inet converge");
    trial.converge(&["apply", "--yes"], 0);
    assert_eq!(trial.root("nft -a list table inet converge"), listing);
    assert_eq!(trial.root(foreign), before, "another's table was touched");
    assert!(line.stands());

    trial.ask("allow \"ssh\"; raw \"tcp dport acept\"");
    let refused = trial.converge(&["apply", "--yes"], 3);
    assert!(format!("{refused}").contains("nft refuses the policy"), "{refused}");
    assert_eq!(trial.root("nft -a list table inet converge"), listing, "a refused policy left a trace");

    trial.apply("state \"absent\"");
    assert!(trial.connect(9001).is_some_and(|mut line| line.stands()));
    assert_eq!(trial.root(foreign), before);
}

#[test]
fn a_policy_survives_a_boot_and_comes_back_after_a_flush() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let trial = Trial::on(&testbed);
    trial.apply("allow \"ssh\"; allow tcp=9000");
    trial.host.reboot().unwrap();
    trial.serve();
    assert!(trial.connect(9000).is_some());
    assert!(trial.connect(9001).is_none(), "after a boot the host is open");
    trial.in_sync();

    trial.root("nft flush ruleset");
    let plan = trial.converge(&["plan", "--detailed-exitcode"], 2);
    assert!(plan.stdout.contains("+\t\ttcp dport 9000 accept"), "{plan}");
    trial.converge(&["apply", "--yes"], 0);
    assert!(trial.connect(9001).is_none());
    trial.in_sync();

    trial.root("nft add rule inet converge input tcp dport 9001 accept");
    let plan = trial.converge(&["plan", "--detailed-exitcode"], 2);
    assert!(plan.stdout.contains("-\t\ttcp dport 9001 accept"), "{plan}");
    trial.converge(&["apply", "--yes"], 0);
    assert!(trial.connect(9001).is_none());
    trial.in_sync();

    // The default nftables.conf flushes all tables.
    for verb in ["start", "restart", "reload"] {
        trial.root(&format!("systemctl {verb} nftables"));
        assert!(trial.connect(9001).is_none(), "nftables.service took the policy away");
    }
    trial.in_sync();
}

#[test]
fn what_is_too_much_is_dropped_and_no_address_uses_up_the_rate_of_another() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let trial = Trial::on(&testbed);
    let other = testbed.host("h2").unwrap();
    trial.apply("allow \"ssh\"; limit tcp=9000 rate=\"3/hour\"; limit tcp=9001 rate=\"2/hour\" per=\"all\"");
    let through = |port| (0..5).filter(|_| trial.connect(port).is_some()).count();
    assert_eq!(through(9000), 3);
    assert!(reaches(other, trial.host, 9000));
    assert_eq!(through(9001), 2);
    assert!(!reaches(other, trial.host, 9001));
    // The counters of rate limits are no drift.
    trial.in_sync();
}

#[test]
fn a_port_of_a_gateway_leads_to_another_host() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let trial = Trial::on(&testbed);
    let other = testbed.host("h2").unwrap();
    let lead = format!("port-forward tcp=9100 to=\"{}\" to-port=22", other.address());
    trial.apply(&format!("allow \"ssh\"; masquerade \"host0\"; {lead}"));
    let mut line = String::new();
    trial.connect(9100).unwrap().0.read_line(&mut line).unwrap();
    assert!(line.starts_with("SSH-"), "{line}");
}

/// Gives a host an IPv6 address, and servers of both families on 9000 and 9001.
fn six(host: &Host, address: &str) {
    let servers = "import socket, signal; both = [socket.create_server((\"::\", port), family=socket.AF_INET6, \
                   dualstack_ipv6=True) for port in (9000, 9001)]; signal.pause()";
    let line = format!(
        "ip -6 addr add {address}/64 dev host0 nodad; systemd-run --quiet --unit=six python3 -c '{servers}'
         timeout 60 sh -c 'until [ \"$(ss -Hltn \"sport >= :9000 and sport <= :9001\" | wc -l)\" = 2 ]; do sleep 0.1; done'"
    );
    host.exec_root(&line).unwrap().ok().unwrap();
}

/// Whether `from`, or a network behind it, gets through to an address.
fn gets_to(from: &Host, within: &str, address: &str, port: u16) -> bool {
    let code = format!("import socket; socket.create_connection((\"{address}\", {port}), timeout=3)");
    from.exec_root(&format!("{within} python3 -c '{code}'")).unwrap().status.success()
}

#[test]
fn both_families_both_directions_and_a_network_behind_the_host() {
    let Some(testbed) = or_skip(Testbed::up(&["h1", "h2"])) else { return };
    let (host, other) = (testbed.host("h1").unwrap(), testbed.host("h2").unwrap());
    let trial = Trial { host, project: Project::new("", Some(&testbed)).unwrap() };
    six(host, "fd00:77::11");
    six(other, "fd00:77::12");
    trial.root(
        "ip netns add lan; ip link add lan0 type veth peer name eth0 netns lan
         ip addr add 192.168.77.1/24 dev lan0; ip link set lan0 up
         ip -n lan addr add 192.168.77.2/24 dev eth0; ip -n lan link set eth0 up
         ip -n lan route add default via 192.168.77.1
         systemd-run --quiet --unit=lan ip netns exec lan python3 -m http.server 9001
         timeout 60 sh -c 'until ip netns exec lan ss -Hltn \"sport = :9001\" | grep -q .; do sleep 0.1; done'",
    );
    trial.apply(
        "default in=\"drop\" out=\"drop\"
         allow \"ssh\"
         allow tcp=9000 from=\"fd00:77::12\"
         allow tcp=9000 to=\"fd00:77::12\" direction=\"out\"
         raw \"set friends { type ipv4_addr; elements = { 192.0.2.1, 192.0.2.2 }; }\" chain=\"table\"
         raw \"ip saddr @friends tcp dport 9001 accept\"
         masquerade \"host0\" from=\"192.168.77.0/24\"
         port-forward tcp=9100 to=\"192.168.77.2\" to-port=9001
         log #true",
    );
    other.exec_root(&format!("ip route add 192.168.77.0/24 via {}", host.address())).unwrap().ok().unwrap();
    // The neighbour cache is empty, so the hosts must find each other again although other packets are dropped.
    for one in [host, other] {
        one.exec_root("ip -6 neigh flush all").unwrap().ok().unwrap();
    }
    let check = |from: &Host, within: &str, address: &str, port: u16, through: bool| {
        assert_eq!(
            gets_to(from, within, address, port),
            through,
            "{} {within} to {address} {port}",
            from.name()
        );
    };
    check(other, "", "fd00:77::11", 9000, true);
    check(other, "", "fd00:77::11", 9001, false);
    check(other, "", host.address(), 9000, false);
    check(host, "", "fd00:77::12", 9000, true);
    check(host, "", "fd00:77::12", 9001, false);
    check(host, "", other.address(), 9000, false);
    check(host, "ip netns exec lan", other.address(), 9000, true);
    check(other, "", host.address(), 9100, true);
    check(other, "", "192.168.77.2", 9001, false);
    trial.in_sync();
    let friends = trial.root("nft list set inet converge friends");
    assert!(
        friends.contains("192.0.2.2") && trial.root("nft list ruleset").contains("log prefix"),
        "{friends}"
    );
}
