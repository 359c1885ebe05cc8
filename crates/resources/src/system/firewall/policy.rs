//! The policy of a packet filter, as rules that belong to no back end: what they are about, and the order in which they
//! hold. A back end renders them; [`Policy::admits`](super::lockout) reads them.

use std::net::IpAddr;
use std::str::FromStr;

/// What a host does with packets.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Policy {
    /// What becomes of packets to the host that no rule names.
    pub input: Action,
    /// What becomes of packets from the host that no rule names.
    pub output: Action,
    /// What becomes of packets through the host that no rule names.
    pub forward: Action,
    /// Whether the host answers pings.
    pub ping: bool,
    /// Interfaces whose forwarded packets are left to the tables of Docker and its like. A final `*` stands for any text.
    pub containers: Vec<String>,
    /// Whether packets that no rule names are logged before they are dropped or rejected.
    pub logs_rest: bool,
    /// How packets are logged.
    pub log: Log,
    /// The rules, in the order written.
    pub rules: Vec<Rule>,
    /// What leaves under the host's own address.
    pub masquerades: Vec<Masquerade>,
    /// Ports of the host that lead to other hosts.
    pub port_forwards: Vec<PortForward>,
    /// Rules in the back end's own words, which stand before all others of their chain.
    pub raw: Vec<Raw>,
}

/// What becomes of a packet.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Action {
    /// It goes on.
    #[default]
    Accept,
    /// It goes, without an answer.
    Drop,
    /// It goes, with an answer.
    Reject,
}

/// How packets are logged.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Log {
    /// What stands before each line.
    pub prefix: String,
    /// How many lines a rule logs at most: `10/minute`.
    pub rate: String,
    /// The level: `info`.
    pub level: String,
}

/// Which packets a rule is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// Those that come to the host.
    In,
    /// Those that come from it.
    Out,
    /// Those that it passes on.
    Forward,
}

/// What a rule does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// This becomes of every packet.
    Act(Action),
    /// New connections are accepted so often; what is more is dropped.
    Limit(Limit),
}

/// How often new connections are accepted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Limit {
    /// How many a unit.
    pub count: u32,
    /// The unit.
    pub unit: Unit,
    /// How many may come at once. None: as many as `count`.
    pub burst: Option<u32>,
    /// Whether each address has a rate of its own; of IPv6, each /64.
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

/// A rule. Each of its lists is about everything if it is empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// What it does.
    pub verdict: Verdict,
    /// Which packets it is about.
    pub direction: Direction,
    /// Services, by name with their ports.
    pub services: Vec<Service>,
    /// TCP ports.
    pub tcp: Vec<Ports>,
    /// UDP ports.
    pub udp: Vec<Ports>,
    /// Protocols without ports: `gre`.
    pub protocols: Vec<String>,
    /// The networks that packets come from.
    pub from: Vec<Network>,
    /// The networks that they go to.
    pub to: Vec<Network>,
    /// The interfaces that they come in by, or go out by if they come from the host. A final `*` stands for any text.
    pub interfaces: Vec<String>,
    /// The interfaces that forwarded packets go out by.
    pub out_interfaces: Vec<String>,
    /// Whether packets are logged.
    pub log: bool,
    /// What the back end shows beside it.
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

/// What leaves by an interface under its address.
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
    /// Its port. None: the same.
    pub to_port: Option<u16>,
    /// The networks that packets come from.
    pub from: Vec<Network>,
    /// The interfaces that they come in by.
    pub interfaces: Vec<String>,
    /// What the back end shows beside it.
    pub comment: Option<String>,
}

/// A rule in the back end's own words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Raw {
    /// Where it stands: the name of a chain, or `table`.
    pub chain: String,
    /// The rule.
    pub text: String,
}

/// A port, or ports that follow each other; with the text that they were written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ports {
    low: u16,
    high: u16,
    text: String,
}

/// An address, or a network; with the text that it was written as.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Network {
    base: IpAddr,
    bits: u8,
    text: String,
}

/// A rule at its place in a chain, with the ports that it is about there.
pub struct Ordered<'a> {
    /// The rule.
    pub rule: &'a Rule,
    /// The place of a limit among the limits, from 1.
    pub limit: usize,
    /// Its TCP ports.
    pub tcp: Vec<&'a Ports>,
    /// Its UDP ports.
    pub udp: Vec<&'a Ports>,
}

impl Policy {
    /// The rules of a direction, in the order in which they hold: first those that name where packets come from; among
    /// them, and among the others, what is dropped, what is rejected, what is limited, what is accepted. Forwarded packets
    /// follow the order written.
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
        // A stable sort: rules of a rank stay as they were written.
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

    /// The services that a limit without addresses and interfaces is about: it takes the place of an `accept` of the same.
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
    /// A rule about every packet of a direction.
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

    /// Whether it names where packets come from.
    pub fn is_specific(&self) -> bool {
        !(self.from.is_empty() && self.interfaces.is_empty())
    }

    /// Whether it names ports or protocols.
    pub fn names_ports(&self) -> bool {
        !(self.services.is_empty() && self.tcp.is_empty() && self.udp.is_empty() && self.protocols.is_empty())
    }

    /// The rule at its place, about its ports but those of the services `without`.
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
    /// Reads `22` or `8000-8010`. Zeros before a number are refused: a packet filter may take it for an octal one.
    pub fn read(text: &str) -> Option<Self> {
        let (low, high) = text.split_once('-').unwrap_or((text, text));
        let (low, high) = (number(low)?, number(high)?);
        (low <= high).then(|| Self { low, high, text: text.to_owned() })
    }

    /// Whether it is one of them.
    pub fn has(&self, port: u16) -> bool {
        (self.low..=self.high).contains(&port)
    }

    /// The text that they were written as.
    pub fn text(&self) -> &str {
        &self.text
    }
}

/// A number in decimal digits, without zeros before it.
fn number<T: FromStr>(text: &str) -> Option<T> {
    let is_plain = text.bytes().all(|byte| byte.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    text.parse().ok().filter(|_| is_plain)
}

impl Network {
    /// Reads `10.0.0.0/8` or `2001:db8::1`. Zeros before the length of the prefix are refused, as for ports.
    pub fn read(text: &str) -> Option<Self> {
        let (base, bits) = text.split_once('/').map_or((text, None), |(base, bits)| (base, Some(bits)));
        let base: IpAddr = base.parse().ok()?;
        let most = if base.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), number)?;
        (bits <= most).then(|| Self { base, bits, text: text.to_owned() })
    }

    /// Whether it is one of IPv6.
    pub fn is_v6(&self) -> bool {
        self.base.is_ipv6()
    }

    /// Whether it has the address.
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

    /// The text that it was written as.
    pub fn text(&self) -> &str {
        &self.text
    }
}

impl Unit {
    /// Reads `minute`.
    pub fn read(word: &str) -> Option<Self> {
        let all = [Self::Second, Self::Minute, Self::Hour, Self::Day];
        all.into_iter().find(|unit| unit.word() == word)
    }

    /// Its word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Second => "second",
            Self::Minute => "minute",
            Self::Hour => "hour",
            Self::Day => "day",
        }
    }

    /// Its length in seconds.
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
    /// Reads a rate, `30/minute`.
    pub fn read(rate: &str, burst: Option<u32>, per_address: bool) -> Option<Self> {
        let (count, unit) = rate.split_once('/')?;
        let count = count.parse().ok().filter(|count| *count > 0)?;
        Some(Self { count, unit: Unit::read(unit)?, burst, per_address })
    }

    /// How many may come at once.
    pub fn burst(&self) -> u32 {
        self.burst.unwrap_or(self.count)
    }

    /// How long an address is remembered, in seconds: until it may have a whole burst again. One that is forgotten earlier
    /// would get the burst for nothing. At least a minute.
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
