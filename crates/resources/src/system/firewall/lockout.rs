//! Whether a policy lets the next connection of a run in: exact, and the same for all back ends. Only rules in a back
//! end's own words are not read.

use super::policy::{Action, Direction, Network, Ordered, Policy, Verdict};
use crate::access::Peer;

/// What a policy does with a new connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Admission {
    /// It comes in.
    In,
    /// It does not.
    Out,
    /// It comes in only if a raw rule lets it in, and those are not read.
    OnlyRaw,
    /// It depends on the interface that it comes in by, which is not known.
    Unknown,
}

/// Whether something is so.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fit {
    Yes,
    No,
    Unknown,
}

impl Policy {
    /// What the policy does with a new connection of `peer` over TCP: the first rule that is about it decides, then what
    /// becomes of packets that no rule names.
    pub fn admits(&self, peer: &Peer) -> Admission {
        if peer.from.is_loopback() {
            return Admission::In;
        }
        let mut is_known = true;
        for ordered in self.ordered(Direction::In) {
            match ordered.fits(peer) {
                Fit::Yes => return self.outcome(is_known, ordered.lets_in()),
                Fit::No => {}
                // Whatever this rule does, the connection may have the same end without it.
                Fit::Unknown => is_known = false,
            }
        }
        self.outcome(is_known, self.input == Action::Accept)
    }

    fn outcome(&self, is_known: bool, lets_in: bool) -> Admission {
        match (is_known, lets_in) {
            (false, _) => Admission::Unknown,
            (true, true) => Admission::In,
            (true, false) if self.raw.iter().any(|raw| raw.chain == "input") => Admission::OnlyRaw,
            (true, false) => Admission::Out,
        }
    }
}

impl Ordered<'_> {
    fn lets_in(&self) -> bool {
        matches!(self.rule.verdict, Verdict::Act(Action::Accept) | Verdict::Limit(_))
    }

    fn fits(&self, peer: &Peer) -> Fit {
        let rule = self.rule;
        let among = |networks: &[Network], address| {
            networks.is_empty() || networks.iter().any(|network| network.has(address))
        };
        let is_tcp = !rule.names_ports()
            || self.tcp.iter().any(|ports| ports.has(peer.port))
            || rule.protocols.iter().any(|protocol| protocol == "tcp" || protocol == "6");
        if !is_tcp || !among(&rule.from, peer.from) || !among(&rule.to, peer.to) {
            return Fit::No;
        }
        match &peer.interface {
            _ if rule.interfaces.is_empty() => Fit::Yes,
            None => Fit::Unknown,
            Some(interface) if rule.interfaces.iter().any(|pattern| is_named(pattern, interface)) => Fit::Yes,
            Some(_) => Fit::No,
        }
    }
}

/// Whether a pattern is of an interface: a final `*` stands for any text.
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
        Rule {
            verdict,
            direction: Direction::In,
            services: Vec::new(),
            tcp: Vec::new(),
            udp: Vec::new(),
            protocols: Vec::new(),
            from: Vec::new(),
            to: Vec::new(),
            interfaces: Vec::new(),
            out_interfaces: Vec::new(),
            log: false,
            comment: None,
        }
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
    fn an_interface_decides_if_it_is_known() {
        let ssh = || to_port(accept(), "22");
        check(&[by(ssh(), "eth0")], "10.0.0.9", Admission::In);
        check(&[by(ssh(), "eth*")], "10.0.0.9", Admission::In);
        check(&[by(ssh(), "wg0")], "10.0.0.9", Admission::Out);
        let policy = Policy { input: Action::Drop, rules: vec![by(ssh(), "eth0")], ..Policy::default() };
        let unknown = Peer { interface: None, ..peer("10.0.0.9") };
        assert_eq!(policy.admits(&unknown), Admission::Unknown);
    }

    #[test]
    fn an_open_policy_lets_in_and_raw_rules_are_not_read() {
        assert_eq!(Policy::default().admits(&peer("10.0.0.9")), Admission::In);
        let raw = vec![Raw { chain: "input".into(), text: "tcp dport 22 accept".into() }];
        let policy = Policy { input: Action::Reject, raw, ..Policy::default() };
        assert_eq!(policy.admits(&peer("10.0.0.9")), Admission::OnlyRaw);
    }
}
