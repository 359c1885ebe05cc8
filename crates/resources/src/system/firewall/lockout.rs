//! Whether a policy admits the next connection of a run. The answer is exact if the interface of that connection is
//! known, and is the same for all back ends. Only rules in a back end's own syntax are not read.

use std::net::IpAddr;

use super::policy::{Action, Direction, Network, Ordered, Policy, PortForward, Verdict};
use crate::access::Peer;

/// The effect of a policy on a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It is admitted.
    In,
    /// It is not admitted.
    Out,
    /// It is admitted only if a raw rule admits it, and raw rules are not read.
    OnlyRaw,
    /// It depends on the interface of the connection, which is not known.
    Unknown,
}

/// Whether a rule matches.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Unknown,
}

impl Policy {
    /// Returns the effect of the policy on a new TCP connection of `peer`. The first matching rule decides, then the
    /// default for other packets. A port forward to another host does not admit to this one.
    pub fn admits(&self, peer: &Peer) -> Admission {
        if peer.from.is_loopback() || peer.from == peer.to {
            return Admission::In;
        }
        let away = self.port_forwards.iter().map(|forward| (forward.fits(peer), false));
        let ordered = self.ordered(Direction::In);
        let rules = ordered.iter().map(|ordered| (ordered.fits(peer), ordered.lets_in()));
        let rest = (Fit::Yes, self.input == Action::Accept);
        // A rule that may match gives two possible results. The answer is known only if both are the same.
        let mut ends = Vec::new();
        for (fit, lets_in) in away.chain(rules).chain([rest]) {
            match fit {
                Fit::No => {}
                Fit::Unknown => ends.push(lets_in),
                Fit::Yes => {
                    ends.push(lets_in);
                    break;
                }
            }
        }
        match ends.iter().all(|end| *end == ends[0]) {
            false => Admission::Unknown,
            true if ends[0] => Admission::In,
            true if self.raw.iter().any(|raw| raw.chain == "input") => Admission::OnlyRaw,
            true => Admission::Out,
        }
    }
}

impl PortForward {
    fn fits(&self, peer: &Peer) -> Fit {
        let is_about = self.to.is_ipv4() == peer.from.is_ipv4()
            && self.tcp.iter().any(|ports| ports.has(peer.port))
            && among(&self.from, peer.from);
        if is_about { by_interface(&self.interfaces, peer) } else { Fit::No }
    }
}

impl Ordered<'_> {
    fn lets_in(&self) -> bool {
        matches!(self.rule.verdict, Verdict::Act(Action::Accept) | Verdict::Limit(_))
    }

    fn fits(&self, peer: &Peer) -> Fit {
        let rule = self.rule;
        let is_tcp = !rule.names_ports()
            || self.tcp.iter().any(|ports| ports.has(peer.port))
            || rule.protocols.iter().any(|protocol| is_tcp(protocol));
        if is_tcp && among(&rule.from, peer.from) && among(&rule.to, peer.to) {
            by_interface(&rule.interfaces, peer)
        } else {
            Fit::No
        }
    }
}

/// Whether a protocol is TCP, by name or number.
fn is_tcp(protocol: &str) -> bool {
    protocol.eq_ignore_ascii_case("tcp") || protocol.parse() == Ok(6)
}

fn among(networks: &[Network], address: IpAddr) -> bool {
    networks.is_empty() || networks.iter().any(|network| network.has(address))
}

fn by_interface(interfaces: &[String], peer: &Peer) -> Fit {
    match &peer.interface {
        _ if interfaces.is_empty() => Fit::Yes,
        None => Fit::Unknown,
        Some(interface) if interfaces.iter().any(|pattern| is_named(pattern, interface)) => Fit::Yes,
        Some(_) => Fit::No,
    }
}

/// Whether a pattern matches an interface. A final `*` stands for any text.
fn is_named(pattern: &str, interface: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(start) => interface.starts_with(start),
        None => pattern == interface,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::system::firewall::policy::{Limit, Ports, Raw, Rule, Service};

    fn rule(verdict: Verdict) -> Rule {
        Rule::new(verdict, Direction::In)
    }

    fn accept() -> Rule {
        rule(Verdict::Act(Action::Accept))
    }

    fn drop() -> Rule {
        rule(Verdict::Act(Action::Drop))
    }

    fn from(rule: Rule, network: &str) -> Rule {
        Rule { from: Network::read(network).into_iter().collect(), ..rule }
    }

    fn to_port(rule: Rule, ports: &str) -> Rule {
        Rule { tcp: Ports::read(ports).into_iter().collect(), ..rule }
    }

    fn by(rule: Rule, interface: &str) -> Rule {
        Rule { interfaces: vec![interface.to_owned()], ..rule }
    }

    fn peer(from: &str) -> Peer {
        let to = if from.contains(':') { "2001:db8::1" } else { "192.0.2.1" };
        let [from, to] = [from, to].map(|address| address.parse().unwrap());
        Peer { from, to, port: 22, interface: Some("eth0".to_owned()) }
    }

    fn check(rules: &[Rule], from: &str, expected: Admission) {
        let policy = Policy { input: Action::Drop, rules: rules.to_vec(), ..Policy::default() };
        assert_eq!(policy.admits(&peer(from)), expected, "{from}: {rules:?}");
    }

    #[test]
    fn the_first_rule_that_is_about_the_connection_decides() {
        check(&[to_port(accept(), "22")], "10.0.0.9", Admission::In);
        check(&[to_port(accept(), "20-30")], "2001:db8::9", Admission::In);
        check(&[to_port(accept(), "80")], "10.0.0.9", Admission::Out);
        check(&[], "10.0.0.9", Admission::Out);
        check(&[], "127.0.0.1", Admission::In);
        check(&[], "192.0.2.1", Admission::In);
        check(&[from(to_port(accept(), "22"), "10.0.0.0/8")], "10.0.0.9", Admission::In);
        check(&[from(to_port(accept(), "22"), "10.0.0.0/29")], "10.0.0.9", Admission::Out);
        check(&[from(to_port(accept(), "22"), "2001:db8::/64")], "2001:db8::9", Admission::In);
        check(&[from(to_port(accept(), "22"), "2001:db8::/64")], "10.0.0.9", Admission::Out);
        check(&[to_port(accept(), "22"), from(drop(), "10.0.0.0/8")], "10.0.0.9", Admission::Out);
        check(&[to_port(accept(), "22"), from(drop(), "11.0.0.0/8")], "10.0.0.9", Admission::In);
        check(&[to_port(accept(), "22"), to_port(drop(), "22")], "10.0.0.9", Admission::Out);
        check(&[from(accept(), "10.0.0.0/8"), to_port(drop(), "22")], "10.0.0.9", Admission::In);
        let udp = Rule { udp: Ports::read("22").into_iter().collect(), ..accept() };
        check(&[udp], "10.0.0.9", Admission::Out);
        let gre = Rule { protocols: vec!["gre".to_owned()], ..accept() };
        check(&[gre], "10.0.0.9", Admission::Out);
        let elsewhere =
            Rule { to: Network::read("192.0.2.7").into_iter().collect(), ..to_port(accept(), "22") };
        check(&[elsewhere], "10.0.0.9", Admission::Out);
        let out = Rule { direction: Direction::Out, ..to_port(accept(), "22") };
        check(&[out], "10.0.0.9", Admission::Out);
    }

    #[test]
    fn a_limit_lets_in_and_takes_the_place_of_an_accept_of_the_same() {
        let ssh =
            Service { name: "ssh".into(), tcp: Ports::read("22").into_iter().collect(), udp: Vec::new() };
        let of_ssh = |rule: Rule| Rule { services: vec![ssh.clone()], ..rule };
        let limit = || of_ssh(rule(Verdict::Limit(Limit::read("3/minute", None, true).unwrap())));
        check(&[limit()], "10.0.0.9", Admission::In);
        check(&[of_ssh(accept()), from(limit(), "11.0.0.0/8")], "10.0.0.9", Admission::In);
        let policy = Policy { rules: vec![of_ssh(accept()), limit()], ..Policy::default() };
        let ordered = policy.ordered(Direction::In);
        assert_eq!(
            ordered.iter().map(|one| (one.limit, one.tcp.len())).collect::<Vec<_>>(),
            [(1, 1), (0, 0)]
        );
    }

    #[test]
    fn tcp_is_known_by_each_of_its_names() {
        for name in ["tcp", "TCP", "6", "06"] {
            let by_protocol = |rule: Rule| Rule { protocols: vec![name.to_owned()], ..rule };
            check(&[by_protocol(accept())], "10.0.0.9", Admission::In);
            check(&[to_port(accept(), "22"), by_protocol(drop())], "10.0.0.9", Admission::Out);
        }
    }

    #[test]
    fn a_port_that_leads_to_another_host_does_not_lead_to_this_one() {
        let away = |port: &str, interfaces: &[&str]| Policy {
            input: Action::Accept,
            port_forwards: vec![PortForward {
                tcp: Ports::read(port).into_iter().collect(),
                udp: Vec::new(),
                to: [10, 0, 0, 5].into(),
                to_text: "10.0.0.5".into(),
                to_port: None,
                from: Vec::new(),
                interfaces: interfaces.iter().map(|name| (*name).to_owned()).collect(),
                comment: None,
            }],
            ..Policy::default()
        };
        assert_eq!(away("22", &[]).admits(&peer("10.0.0.9")), Admission::Out);
        assert_eq!(away("22", &["eth0"]).admits(&peer("10.0.0.9")), Admission::Out);
        assert_eq!(away("22", &["wg0"]).admits(&peer("10.0.0.9")), Admission::In);
        assert_eq!(away("80", &[]).admits(&peer("10.0.0.9")), Admission::In);
        assert_eq!(away("22", &[]).admits(&peer("2001:db8::9")), Admission::In);
    }

    #[test]
    fn an_interface_decides_if_it_is_known() {
        let ssh = || to_port(accept(), "22");
        check(&[by(ssh(), "eth0")], "10.0.0.9", Admission::In);
        check(&[by(ssh(), "eth*")], "10.0.0.9", Admission::In);
        check(&[by(ssh(), "wg0")], "10.0.0.9", Admission::Out);
        let policy = Policy { input: Action::Drop, rules: vec![by(ssh(), "eth0")], ..Policy::default() };
        let unknown = Peer { interface: None, ..peer("10.0.0.9") };
        assert_eq!(policy.admits(&unknown), Admission::Unknown);
        // Both possible results are the same.
        let dropped = by(to_port(drop(), "22"), "eth0");
        let policy = Policy { input: Action::Drop, rules: vec![dropped], ..Policy::default() };
        assert_eq!(policy.admits(&unknown), Admission::Out);
    }

    #[test]
    fn an_open_policy_lets_in_and_raw_rules_are_not_read() {
        assert_eq!(Policy::default().admits(&peer("10.0.0.9")), Admission::In);
        let raw = vec![Raw { chain: "input".into(), text: "tcp dport 22 accept".into() }];
        let policy = Policy { input: Action::Reject, raw, ..Policy::default() };
        assert_eq!(policy.admits(&peer("10.0.0.9")), Admission::OnlyRaw);
    }
}
