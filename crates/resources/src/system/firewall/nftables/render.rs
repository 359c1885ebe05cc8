//! A policy as the rules of one table, in the syntax of nft(8). A rule becomes one line per address family that it
//! names and per protocol with ports. If it names no address, the line matches both IPv4 and IPv6.

use std::fmt::Write as _;

use crate::system::firewall::policy::{
    Action, Direction, Limit, Log, Masquerade, Network, Ordered, Policy, PortForward, Ports, Rule, Verdict,
};

const REFUSE: &str = "reject with icmpx port-unreachable";
/// Without these ICMP messages, connections of a host do not work.
const ICMP: &str = "icmp type { destination-unreachable, time-exceeded, parameter-problem } accept";
const ICMP_V6: &str =
    "icmpv6 type { destination-unreachable, packet-too-big, time-exceeded, parameter-problem } accept";
/// IPv6 finds neighbours by these messages. Without them it does not work.
const NEIGHBOURS: &str = "icmpv6 type { nd-router-solicit, nd-router-advert, nd-neighbor-solicit, nd-neighbor-advert, \
                          mld-listener-query } ip6 hoplimit { 1, 255 } accept";

/// Renders the sets and chains of the policy.
pub(super) fn rules(policy: &Policy) -> String {
    let mut text = Rules { policy, text: String::new() };
    text.table();
    text.input();
    text.forward();
    text.output();
    text.prerouting();
    text.postrouting();
    text.text
}

struct Rules<'a> {
    policy: &'a Policy,
    text: String,
}

/// The conditions of a line beside its rule: the keyword for interfaces, and a single family.
#[derive(Clone, Copy)]
struct Way {
    word: &'static str,
    only: Option<Family>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Family {
    V4,
    V6,
}

const IN: Way = Way { word: "iifname", only: None };
const OUT: Way = Way { word: "oifname", only: None };

impl Rules<'_> {
    /// Adds a line within a chain.
    fn line(&mut self, line: &str) {
        // Ignored: writing to a string cannot fail.
        let _ = writeln!(self.text, "        {line}");
    }

    fn open(&mut self, chain: &str, hook: &str) {
        let _ = writeln!(self.text, "    chain {chain} {{");
        self.line(hook);
    }

    fn close(&mut self) {
        self.text.push_str("    }\n");
    }

    fn raw(&mut self, chain: &str) {
        for raw in self.policy.raw.iter().filter(|raw| raw.chain == chain) {
            self.line(&raw.text);
        }
    }

    fn has_raw(&self, chain: &str) -> bool {
        self.policy.raw.iter().any(|raw| raw.chain == chain)
    }

    fn table(&mut self) {
        for raw in self.policy.raw.iter().filter(|raw| raw.chain == "table") {
            let _ = writeln!(self.text, "    {}", raw.text);
        }
        let limits = self.policy.rules.iter().filter_map(|rule| match &rule.verdict {
            Verdict::Limit(limit) => Some(limit),
            Verdict::Act(_) => None,
        });
        for (place, limit) in (1..).zip(limits).filter(|(_, limit)| limit.per_address) {
            for (family, address) in [("ip", "ipv4_addr"), ("ip6", "ipv6_addr")] {
                let _ = writeln!(
                    self.text,
                    "    set limit_{place}_{family} {{ type {address}; size 65535; flags dynamic; timeout {}s; }}",
                    limit.memory()
                );
            }
        }
    }

    /// Begins a chain of the filter. `policy` is for packets that match no rule.
    fn filter(&mut self, hook: &str, policy: Action) {
        let word = if policy == Action::Accept { "accept" } else { "drop" };
        self.open(hook, &format!("type filter hook {hook} priority filter; policy {word};"));
        self.line("ct state established,related accept");
    }

    /// Ends a chain of the filter.
    fn rest(&mut self, policy: Action) {
        if self.policy.logs_rest && policy != Action::Accept {
            self.line(&log(&self.policy.log));
        }
        if policy == Action::Reject {
            self.line(REFUSE);
        }
        self.close();
    }

    fn input(&mut self) {
        let policy = self.policy;
        self.filter("input", policy.input);
        for line in ["iifname \"lo\" accept", "ct state invalid drop", ICMP, ICMP_V6, NEIGHBOURS] {
            self.line(line);
        }
        self.line("udp sport 67 udp dport 68 accept");
        self.line("ip6 saddr fe80::/10 udp dport 546 accept");
        if policy.ping {
            self.line("icmp type echo-request accept");
            self.line("icmpv6 type echo-request accept");
        }
        self.raw("input");
        self.ordered(Direction::In, IN);
        self.rest(policy.input);
    }

    fn forward(&mut self) {
        let policy = self.policy;
        let rules = policy.ordered(Direction::Forward);
        let routes = policy.masquerades.len() + policy.port_forwards.len() + rules.len() > 0;
        if !routes && policy.forward == Action::Accept && !self.has_raw("forward") {
            return;
        }
        self.filter("forward", policy.forward);
        self.line(ICMP_V6);
        if !policy.port_forwards.is_empty() {
            self.line("ct status dnat accept");
        }
        for interface in &policy.containers {
            self.line(&format!("iifname \"{interface}\" accept"));
            self.line(&format!("oifname \"{interface}\" accept"));
        }
        self.raw("forward");
        self.ordered(Direction::Forward, IN);
        for masquerade in &policy.masquerades {
            self.rule(&leaving(masquerade).at(0, &[]), OUT, "accept");
        }
        self.rest(policy.forward);
    }

    fn output(&mut self) {
        let policy = self.policy;
        let has_rules = policy.rules.iter().any(|rule| rule.direction == Direction::Out);
        if policy.output == Action::Accept && !has_rules && !self.has_raw("output") {
            return;
        }
        self.filter("output", policy.output);
        for line in ["oifname \"lo\" accept", "meta l4proto { icmp, icmpv6 } accept"] {
            self.line(line);
        }
        self.line("udp sport 68 udp dport 67 accept");
        self.line("ip6 saddr fe80::/10 udp dport 547 accept");
        self.raw("output");
        self.ordered(Direction::Out, OUT);
        self.rest(policy.output);
    }

    fn prerouting(&mut self) {
        if self.policy.port_forwards.is_empty() && !self.has_raw("prerouting") {
            return;
        }
        self.open("prerouting", "type nat hook prerouting priority dstnat; policy accept;");
        self.raw("prerouting");
        for forward in &self.policy.port_forwards {
            let (family, only) = if forward.to.is_ipv6() { ("ip6", Family::V6) } else { ("ip", Family::V4) };
            let way = Way { only: Some(only), ..IN };
            self.rule(&arriving(forward).at(0, &[]), way, &format!("dnat {family} to {}", end(forward)));
        }
        self.close();
    }

    fn postrouting(&mut self) {
        if self.policy.masquerades.is_empty() && !self.has_raw("postrouting") {
            return;
        }
        self.open("postrouting", "type nat hook postrouting priority srcnat; policy accept;");
        self.raw("postrouting");
        for masquerade in &self.policy.masquerades {
            self.rule(&leaving(masquerade).at(0, &[]), OUT, "masquerade");
        }
        self.close();
    }

    fn ordered(&mut self, direction: Direction, way: Way) {
        for ordered in self.policy.ordered(direction) {
            match &ordered.rule.verdict {
                Verdict::Act(action) => {
                    self.logged(&ordered, way);
                    self.rule(&ordered, way, verdict(*action));
                }
                Verdict::Limit(limit) => {
                    self.limit(&ordered, limit, way);
                    self.logged(&ordered, way);
                    self.rule(&ordered, way, "drop");
                }
            }
        }
    }

    /// Logs everything that a rule matches, including services that another rule decides.
    fn logged(&mut self, ordered: &Ordered<'_>, way: Way) {
        if ordered.rule.log {
            let whole = ordered.rule.at(ordered.limit, &[]);
            self.rule(&whole, way, &log(&self.policy.log));
        }
    }

    fn limit(&mut self, ordered: &Ordered<'_>, limit: &Limit, way: Way) {
        let rate =
            format!("limit rate {}/{} burst {} packets", limit.count, limit.unit.word(), limit.burst());
        if !limit.per_address {
            return self.rule(ordered, way, &format!("ct state new {rate} accept"));
        }
        let place = ordered.limit;
        let v4 = format!("ct state new update @limit_{place}_ip {{ ip saddr {rate} }} accept");
        let v6 = format!(
            "ct state new update @limit_{place}_ip6 {{ ip6 saddr & ffff:ffff:ffff:ffff:: {rate} }} accept"
        );
        self.rule(ordered, Way { only: Some(Family::V4), ..way }, &v4);
        self.rule(ordered, Way { only: Some(Family::V6), ..way }, &v6);
    }

    /// Adds the lines of a rule, each with its verdict.
    fn rule(&mut self, ordered: &Ordered<'_>, way: Way, verdict: &str) {
        let rule = ordered.rule;
        let comment = rule.comment.as_ref().filter(|text| !text.is_empty());
        let comment = comment.map(|text| format!(" comment \"{text}\"")).unwrap_or_default();
        for family in families(rule, way.only) {
            let ends = [
                by(way.word, &rule.interfaces),
                by("oifname", &rule.out_interfaces),
                at(family, "saddr", &rule.from),
                at(family, "daddr", &rule.to),
            ];
            let ends = ends.concat();
            for what in about(ordered) {
                self.line(&format!("{ends}{what}{verdict}{comment}"));
            }
        }
    }
}

/// Returns a rule for packets that leave by the interface of a masquerade.
fn leaving(masquerade: &Masquerade) -> Rule {
    let interfaces = vec![masquerade.interface.clone()];
    Rule {
        interfaces,
        from: masquerade.from.clone(),
        ..Rule::new(Verdict::Act(Action::Accept), Direction::Forward)
    }
}

/// Returns a rule for packets that arrive at the ports of a port forward.
fn arriving(forward: &PortForward) -> Rule {
    Rule {
        tcp: forward.tcp.clone(),
        udp: forward.udp.clone(),
        from: forward.from.clone(),
        interfaces: forward.interfaces.clone(),
        comment: forward.comment.clone(),
        ..Rule::new(Verdict::Act(Action::Accept), Direction::Forward)
    }
}

/// Formats the target of a port forward: `10.0.0.5:80`, `[2001:db8::7]:80`, `2001:db8::7`.
fn end(forward: &PortForward) -> String {
    let host = &forward.to_text;
    match forward.to_port {
        None => host.clone(),
        Some(port) if forward.to.is_ipv6() => format!("[{host}]:{port}"),
        Some(port) => format!("{host}:{port}"),
    }
}

/// Returns the families that a rule matches. None stands for both.
fn families(rule: &Rule, only: Option<Family>) -> Vec<Option<Family>> {
    if rule.from.is_empty() && rule.to.is_empty() {
        return vec![only];
    }
    let names = |family: Family, networks: &[Network]| {
        networks.is_empty() || networks.iter().any(|one| one.is_v6() == (family == Family::V6))
    };
    let is_about = |family: &Family| {
        only.is_none_or(|only| only == *family) && names(*family, &rule.from) && names(*family, &rule.to)
    };
    [Family::V4, Family::V6].into_iter().filter(is_about).map(Some).collect()
}

/// Returns the match of each line of a rule: ports of a protocol, protocols, or everything.
fn about(ordered: &Ordered<'_>) -> Vec<String> {
    if !ordered.rule.names_ports() {
        return vec![String::new()];
    }
    let ports = |protocol: &str, ports: &[&Ports]| {
        let texts: Vec<_> = ports.iter().map(|ports| ports.text()).collect();
        (!texts.is_empty()).then(|| format!("{protocol} dport {} ", set(&texts)))
    };
    let protocols: Vec<_> = ordered.rule.protocols.iter().map(String::as_str).collect();
    let protocols = (!protocols.is_empty()).then(|| format!("meta l4proto {} ", set(&protocols)));
    [ports("tcp", &ordered.tcp), ports("udp", &ordered.udp), protocols].into_iter().flatten().collect()
}

/// Formats one item, or a set of items without duplicates.
fn set(items: &[&str]) -> String {
    if let [one] = items {
        return (*one).to_owned();
    }
    let mut unique: Vec<&str> = Vec::new();
    for item in items {
        if !unique.contains(item) {
            unique.push(item);
        }
    }
    format!("{{ {} }}", unique.join(", "))
}

fn by(word: &str, interfaces: &[String]) -> String {
    match interfaces {
        [] => String::new(),
        [one] => format!("{word} \"{one}\" "),
        several => format!("{word} {{ \"{}\" }} ", several.join("\", \"")),
    }
}

fn at(family: Option<Family>, end: &str, networks: &[Network]) -> String {
    let Some(family) = family else { return String::new() };
    let own = networks.iter().filter(|one| one.is_v6() == (family == Family::V6)).map(Network::text);
    let own: Vec<_> = own.collect();
    if own.is_empty() {
        return String::new();
    }
    let word = if family == Family::V6 { "ip6" } else { "ip" };
    format!("{word} {end} {} ", set(&own))
}

fn verdict(action: Action) -> &'static str {
    match action {
        Action::Accept => "accept",
        Action::Drop => "drop",
        Action::Reject => REFUSE,
    }
}

fn log(log: &Log) -> String {
    format!("limit rate {} log prefix \"{}\" level {}", log.rate, log.prefix, log.level)
}
