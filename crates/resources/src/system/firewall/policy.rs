//! The policy of a packet filter, as rules that belong to no back end: what they match, and their order. A back end
//! renders them. [`Policy::admits`](super::lockout) reads them.

use std::net::IpAddr;
use std::str::FromStr;

/// The packet policy of a host.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// The action on packets to the host that match no rule.
    pub input: Action,
    /// The action on packets from the host that match no rule.
    pub output: Action,
    /// The action on packets through the host that match no rule.
    pub forward: Action,
    /// Whether the host answers pings.
    pub ping: bool,
    /// Interfaces whose forwarded packets are left to the tables of Docker and similar programs. A final `*` stands
    /// for any text.
    pub containers: Vec<String>,
    /// Whether packets that match no rule are logged before they are dropped or rejected.
    pub logs_rest: bool,
    /// How packets are logged.
    pub log: Log,
    /// The rules, in written order.
    pub rules: Vec<Rule>,
    /// Packets that leave with the host's own address.
    pub masquerades: Vec<Masquerade>,
    /// Ports of the host that lead to other hosts.
    pub port_forwards: Vec<PortForward>,
    /// Rules in the back end's own syntax. They come before all other rules of their chain.
    pub raw: Vec<Raw>,
}

/// The action on a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// The packet is accepted.
    #[default]
    Accept,
    /// The packet is dropped without an answer.
    Drop,
    /// The packet is dropped with an answer.
    Reject,
}

/// How packets are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// The text before each line.
    pub prefix: String,
    /// The maximum rate of lines per rule: `10/minute`.
    pub rate: String,
    /// The level: `info`.
    pub level: String,
}

/// The direction of the packets that a rule matches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Packets to the host.
    In,
    /// Packets from the host.
    Out,
    /// Packets that the host forwards.
    Forward,
}

/// The effect of a rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// The action on every packet.
    Act(Action),
    /// New connections are accepted up to this rate. All others are dropped.
    Limit(Limit),
}

/// The rate at which new connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// The number per unit.
    pub count: u32,
    /// The unit.
    pub unit: Unit,
    /// How many may come at once. None: as many as `count`.
    pub burst: Option<u32>,
    /// Whether each address has its own rate. For IPv6, each /64 has one.
    pub per_address: bool,
}

/// A unit of time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// A second.
    Second,
    /// A minute.
    Minute,
    /// An hour.
    Hour,
    /// A day.
    Day,
}

/// A rule. An empty list matches everything.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// The effect.
    pub verdict: Verdict,
    /// The packets that it matches.
    pub direction: Direction,
    /// Services, by name with their ports.
    pub services: Vec<Service>,
    /// TCP ports.
    pub tcp: Vec<Ports>,
    /// UDP ports.
    pub udp: Vec<Ports>,
    /// Protocols without ports: `gre`.
    pub protocols: Vec<String>,
    /// The source networks.
    pub from: Vec<Network>,
    /// The target networks.
    pub to: Vec<Network>,
    /// The interfaces by which packets come in, or by which they leave if they come from the host. A final `*` stands
    /// for any text.
    pub interfaces: Vec<String>,
    /// The interfaces by which forwarded packets leave.
    pub out_interfaces: Vec<String>,
    /// Whether packets are logged.
    pub log: bool,
    /// The comment that the back end shows with it.
    pub comment: Option<String>,
}

/// A name for ports.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Service {
    /// The name.
    pub name: String,
    /// Its TCP ports.
    pub tcp: Vec<Ports>,
    /// Its UDP ports.
    pub udp: Vec<Ports>,
}

/// Packets that leave by an interface with its address.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Masquerade {
    /// The interface.
    pub interface: String,
    /// The networks behind the host. Empty: all.
    pub from: Vec<Network>,
}

/// A port of the host that leads to another host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PortForward {
    /// TCP ports of this host.
    pub tcp: Vec<Ports>,
    /// UDP ports of this host.
    pub udp: Vec<Ports>,
    /// The other host.
    pub to: IpAddr,
    /// The other host, as it was written.
    pub to_text: String,
    /// Its port. None: the same port.
    pub to_port: Option<u16>,
    /// The source networks.
    pub from: Vec<Network>,
    /// The interfaces by which the packets come in.
    pub interfaces: Vec<String>,
    /// The comment that the back end shows with it.
    pub comment: Option<String>,
}

/// A rule in the back end's own syntax.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Its place: the name of a chain, or `table`.
    pub chain: String,
    /// The rule.
    pub text: String,
}

/// A port or a range of ports, with its written text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    low: u16,
    high: u16,
    text: String,
}

/// An address or a network, with its written text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
    text: String,
}

/// A rule at its place in a chain, with the ports that it matches there.
pub struct Ordered<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The number of a limit among the limits, from 1.
    pub limit: usize,
    /// Its TCP ports.
    pub tcp: Vec<&'a Ports>,
    /// Its UDP ports.
    pub udp: Vec<&'a Ports>,
}

impl Policy {
    /// Returns the rules of a direction in their order. Rules that name a source come first. Within both parts the
    /// order is: drop, reject, limit, accept. Forwarded packets follow the written order.
    pub fn ordered(&self, direction: Direction) -> Vec<Ordered<'_>> {
        let of = |rule: &&Rule| rule.direction == direction;
        if direction == Direction::Forward {
            return self.rules.iter().filter(of).map(|rule| rule.at(0, &[])).collect();
        }
        let limited = self.limited();
        let limits = self.rules.iter().filter(|rule| matches!(rule.verdict, Verdict::Limit(_)));
        let number =
            |rule: &Rule| limits.clone().position(|one| std::ptr::eq(one, rule)).map_or(0, |at| at + 1);
        let mut rules: Vec<_> = self.rules.iter().filter(of).collect();
        // The sort is stable: rules of the same rank keep their written order.
        rules.sort_by_key(|rule| (!rule.is_specific(), rule.verdict.rank()));
        let at = |rule: &'_ Rule| -> (usize, &[&str]) {
            let is_open =
                rule.verdict == Verdict::Act(Action::Accept) && !rule.is_specific() && rule.to.is_empty();
            (number(rule), if is_open { &limited } else { &[] })
        };
        rules
            .into_iter()
            .map(|rule| {
                let (limit, without) = at(rule);
                rule.at(limit, without)
            })
            .collect()
    }

    /// Returns the services of a limit without addresses and interfaces. The limit replaces an `accept` of the same
    /// services.
    fn limited(&self) -> Vec<&str> {
        let plain = self.rules.iter().filter(|rule| {
            matches!(rule.verdict, Verdict::Limit(_)) && !rule.is_specific() && rule.to.is_empty()
        });
        plain.flat_map(|rule| rule.services.iter().map(|service| service.name.as_str())).collect()
    }
}

impl Verdict {
    fn rank(&self) -> u8 {
        match self {
            Self::Act(Action::Drop) => 0,
            Self::Act(Action::Reject) => 1,
            Self::Limit(_) => 2,
            Self::Act(Action::Accept) => 3,
        }
    }
}

impl Rule {
    /// Makes a rule that matches every packet of a direction.
    pub fn new(verdict: Verdict, direction: Direction) -> Self {
        Self {
            verdict,
            direction,
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

    /// Whether it names a source.
    pub fn is_specific(&self) -> bool {
        !(self.from.is_empty() && self.interfaces.is_empty())
    }

    /// Whether it names ports or protocols.
    pub fn names_ports(&self) -> bool {
        !(self.services.is_empty() && self.tcp.is_empty() && self.udp.is_empty() && self.protocols.is_empty())
    }

    /// Returns the rule at its place, with its ports except those of the services `without`.
    pub fn at(&self, limit: usize, without: &[&str]) -> Ordered<'_> {
        let services = || self.services.iter().filter(|one| !without.contains(&one.name.as_str()));
        Ordered {
            rule: self,
            limit,
            tcp: services().flat_map(|service| &service.tcp).chain(&self.tcp).collect(),
            udp: services().flat_map(|service| &service.udp).chain(&self.udp).collect(),
        }
    }
}

impl Ports {
    /// Parses `22` or `8000-8010`. Leading zeros are refused, because a packet filter may read the number as octal.
    pub fn read(text: &str) -> Option<Self> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (number(low)?, number(high)?);
        (low <= high).then(|| Self { low, high, text: text.to_owned() })
    }

    /// Whether the range includes the port.
    pub fn has(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }

    /// Returns the written text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// Parses a number in decimal digits without leading zeros.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

impl Network {
    /// Parses `10.0.0.0/8` or `2001:db8::1`. Leading zeros of the prefix length are refused, as for ports.
    pub fn read(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), number)?;
        (bits <= most).then(|| Self { base, bits, text: text.to_owned() })
    }

    /// Whether it is an IPv6 network.
    pub fn is_v6(&self) -> bool {
        self.base.is_ipv6()
    }

    /// Whether it includes the address.
    pub fn has(&self, address: IpAddr) -> bool {
        let differ = match (self.base, address) {
            (IpAddr::V4(base), IpAddr::V4(one)) => {
                (u32::from(base) ^ u32::from(one)).checked_shr(32 - u32::from(self.bits)).unwrap_or(0) != 0
            }
            (IpAddr::V6(base), IpAddr::V6(one)) => {
                (u128::from(base) ^ u128::from(one)).checked_shr(128 - u32::from(self.bits)).unwrap_or(0) != 0
            }
            _ => true,
        };
        !differ
    }

    /// Returns the written text.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Unit {
    /// Parses a unit, like `minute`.
    pub fn read(word: &str) -> Option<Self> {
        let all = [Self::Second, Self::Minute, Self::Hour, Self::Day];
        all.into_iter().find(|unit| unit.word() == word)
    }

    /// Returns its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Returns its length in seconds.
    pub fn seconds(self) -> u32 {
        match self {
            Self::Second => 1,
            Self::Minute => 60,
            Self::Hour => 3600,
            Self::Day => 86400,
        }
    }
}

impl Limit {
    /// Parses a rate, like `30/minute`.
    pub fn read(rate: &str, burst: Option<u32>, per_address: bool) -> Option<Self> {
        let (count, unit) = rate.split_once('/')?;
        let count = count.parse().ok().filter(|count| *count > 0)?;
        Some(Self { count, unit: Unit::read(unit)?, burst, per_address })
    }

    /// Returns how many may come at once.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(self.count)
    }

    /// Returns how long an address is remembered, in seconds: until a whole burst is allowed again, and at least a
    /// minute. If it were forgotten earlier, the address would get a new burst too early.
    pub fn memory(&self) -> u64 {
        (u64::from(self.unit.seconds()) * (u64::from(self.burst() / self.count) + 1)).max(60)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_has_its_addresses() {
        let check = |network: &str, address: &str, has: bool| {
            assert_eq!(
                Network::read(network).unwrap().has(address.parse().unwrap()),
                has,
                "{network} {address}"
            );
        };
        check("10.0.0.0/8", "10.255.0.1", true);
        check("10.0.0.0/8", "11.0.0.1", false);
        check("10.0.0.9", "10.0.0.9", true);
        check("10.0.0.9", "10.0.0.8", false);
        check("0.0.0.0/0", "192.0.2.1", true);
        check("0.0.0.0/0", "2001:db8::1", false);
        check("2001:db8::/32", "2001:db8:7::1", true);
        check("::/0", "2001:db8::1", true);
        for wrong in ["10.0.0.0/33", "::/129", "x", "10.0.0.0/", "10.0.0.0/010"] {
            assert_eq!(Network::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn ports_are_one_or_a_range() {
        let ports = Ports::read("8000-8010").unwrap();
        assert_eq!([7999, 8000, 8010, 8011].map(|port| ports.has(port)), [false, true, true, false]);
        assert!(Ports::read("22").unwrap().has(22));
        for wrong in ["70000", "30-20", "x", "", "022", "+22", "8-010"] {
            assert_eq!(Ports::read(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn an_address_is_remembered_until_it_may_have_a_whole_burst_again() {
        let check = |rate: &str, burst: Option<u32>, seconds: u64| {
            assert_eq!(Limit::read(rate, burst, true).unwrap().memory(), seconds, "{rate} {burst:?}");
        };
        check("30/minute", None, 120);
        check("3/minute", Some(9), 240);
        check("100/second", Some(200), 60);
        check("1/day", None, 172_800);
    }
}
