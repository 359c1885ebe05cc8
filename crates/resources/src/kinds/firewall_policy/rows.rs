//! Reads the policy from its parameters and children: `rule "accept" tcp=22`, `raw "…"`.

use converge_model::schema::Child;
use converge_model::{KindSchema, Param, ParamProblem, Type};

use crate::system::firewall;
use crate::system::firewall::policy::{
    Action, Direction, Limit, Log, Masquerade, Network, Policy, PortForward, Ports, Raw, Rule, Service,
    Verdict,
};
use crate::wish::{Reader, RowReader};

const PORTS: &str = "[1-9][0-9]{0,4}(-[1-9][0-9]{0,4})?";
const INTERFACE: &str = "[A-Za-z0-9_.*-]+";
/// Texts between the quotation marks of a back end.
const QUOTED: &str = "[^\"\\\\$\n\r]{1,120}";
const RATE: &str = "[1-9][0-9]*/(second|minute|hour|day)";
const ACTIONS: [&str; 3] = ["accept", "drop", "reject"];
const LEVELS: [&str; 8] = ["emerg", "alert", "crit", "err", "warn", "notice", "info", "debug"];
/// The children. Any of them makes a policy.
const CHILDREN: [&str; 5] = ["rule", "service", "masquerade", "port-forward", "raw"];

/// Adds the parameters and children of a policy to the schema.
pub(super) fn describe(schema: KindSchema) -> KindSchema {
    let action = |name: &str, doc: &str| Param::new(name, Type::Text, doc).one_of(&ACTIONS);
    schema
        .param(action("input", "Verdict for packets to the host that no rule names; default: `drop`"))
        .param(action("output", "Verdict for packets from the host that no rule names; default: `accept`"))
        .param(action("forward", "Verdict for packets through the host that no rule names; default: `drop`"))
        .param(Param::new("ping", Type::Bool, "Answer pings").default(true))
        .param(list("containers", Type::Text, "Interfaces with forwarded packets for other tables to filter, such as those of Docker").pattern(INTERFACE))
        .param(Param::new("log", Type::Bool, "Log packets that no rule names, if they are dropped or rejected").default(false))
        .param(Param::new("log-prefix", Type::Text, "Prefix of each line of the log").pattern(QUOTED).default("converge: "))
        .param(Param::new("log-rate", Type::Text, "Maximum rate of log lines for each rule").pattern(RATE).default("10/minute"))
        .param(Param::new("log-level", Type::Text, "Level of the log lines").one_of(&LEVELS).default("info"))
        .child(rule())
        .child(
            Child::new("service", "A name for ports, for use in rules.")
                .param(Param::new("name", Type::Name, "Name.").argument(0).required())
                .param(list("tcp", Type::Text, "TCP ports and ranges: `8000-8010`.").pattern(PORTS))
                .param(list("udp", Type::Text, "UDP ports and ranges.").pattern(PORTS)),
        )
        .child(unkeyed(
            Child::new("masquerade", "Source address translation for packets that leave by an interface: the host is a gateway.")
                .param(Param::new("interface", Type::Text, "Outgoing interface").argument(0).required().pattern(INTERFACE))
                .param(list("from", Type::Network, "Networks behind the host; default: all")),
        ))
        .child(port_forward())
        .child(unkeyed(
            Child::new("raw", "A rule in the syntax of nftables, which no other back end accepts. Converge does not read it. Raw rules come first in their chain.")
                .param(Param::new("rule", Type::Text, "Rule: `tcp dport 9 counter accept`.").argument(0).required())
                .param(
                    Param::new("chain", Type::Text, "Chain of the rule; `table` for your own sets and chains")
                        .one_of(&["input", "output", "forward", "prerouting", "postrouting", "table"])
                        .default("input"),
                ),
        ))
}

fn rule() -> Child {
    let child = Child::new("rule", "A rule. Rules with `from` or `interface` come before the others; in both groups the order is `drop`, `reject`, `limit`, `accept`. Rules for forwarded packets keep their written order.")
        .param(
            Param::new("action", Type::Text, "Verdict for the packets; `limit` accepts new connections up to `rate` and drops the rest")
                .argument(0)
                .required()
                .one_of(&["accept", "drop", "reject", "limit"]),
        )
        .param(Param::new("direction", Type::Text, "Direction of the packets: to the host, from it, or through it").one_of(&["in", "out", "forward"]).default("in"))
        .param(list("service", Type::Name, "Services by name, each of them a `service` of the policy."))
        .param(list("tcp", Type::Text, "TCP ports and ranges: `8000-8010`.").pattern(PORTS))
        .param(list("udp", Type::Text, "UDP ports and ranges.").pattern(PORTS))
        .param(list("protocol", Type::Name, "Protocols without ports: `gre`, `esp`, `vrrp`.").pattern("[A-Za-z0-9-]+"))
        .param(list("from", Type::Network, "Source addresses and networks of the packets"))
        .param(list("to", Type::Network, "Destination addresses and networks of the packets"))
        .param(list("interface", Type::Text, "Incoming interfaces of the packets; for `direction=\"out\"`, outgoing interfaces").pattern(INTERFACE))
        .param(list("out-interface", Type::Text, "Outgoing interfaces of forwarded packets").pattern(INTERFACE))
        .param(Param::new("log", Type::Bool, "Log the packets.").default(false))
        .param(Param::new("comment", Type::Text, "Text that the back end lists beside the rule.").pattern(QUOTED))
        .param(Param::new("rate", Type::Text, "Maximum rate of new connections for `limit`: `30/minute`").pattern(RATE))
        .param(Param::new("burst", Type::Int, "Maximum number of connections at once for `limit`; default: the number of `rate`").range(1, 10000))
        .param(
            Param::new("per", Type::Text, "Scope of the rate: each source address (IPv6: each /64), or all together")
                .one_of(&["address", "all"])
                .default("address"),
        );
    unkeyed(child)
}

fn port_forward() -> Child {
    let child = Child::new("port-forward", "A port of the host, forwarded to another host.")
        .param(list("tcp", Type::Text, "TCP ports of this host.").pattern(PORTS))
        .param(list("udp", Type::Text, "UDP ports of this host.").pattern(PORTS))
        .param(Param::new("to", Type::Network, "Address of the other host.").required())
        .param(Param::new("to-port", Type::Port, "Port of the other host; default: the same"))
        .param(list("from", Type::Network, "Source addresses and networks of the packets"))
        .param(list("interface", Type::Text, "Incoming interfaces of the packets").pattern(INTERFACE))
        .param(
            Param::new("comment", Type::Text, "Text that the back end lists beside the rule.")
                .pattern(QUOTED),
        );
    unkeyed(child)
}

/// Children without their first argument as a key.
fn unkeyed(child: Child) -> Child {
    Child { keyed: false, ..child }
}

fn list(name: &str, of: Type, doc: &str) -> Param {
    Param::new(name, Type::List(Box::new(of)), doc)
}

/// Whether any parameter belongs to a policy.
pub(super) fn has_policy(params: &Reader<'_>) -> bool {
    CHILDREN.iter().chain(&["input", "output", "forward"]).any(|name| params.has(name))
}

/// Whether parameters are set that do not go with `rules` or with an absent policy.
pub(super) fn says_more(params: &Reader<'_>, policy: &Policy) -> bool {
    has_policy(params) || !policy.ping || policy.logs_rest || !policy.containers.is_empty()
}

/// Reads the policy from the parameters.
pub(super) fn policy(params: &mut Reader<'_>) -> Policy {
    let [input, output, forward] =
        [("input", Action::Drop), ("output", Action::Accept), ("forward", Action::Drop)]
            .map(|(name, usual)| params.text(name).map_or(usual, |word| action(&word)));
    let mut rows = Rows { services: Vec::new(), params };
    rows.services = rows.services();
    Policy {
        input,
        output,
        forward,
        rules: rows.rules(),
        masquerades: rows.masquerades(),
        port_forwards: rows.port_forwards(),
        raw: rows.raw(),
        ping: params.flag("ping").unwrap_or(true),
        containers: params.texts("containers"),
        logs_rest: params.flag("log").unwrap_or(false),
        log: Log {
            prefix: params.text("log-prefix").unwrap_or_else(|| "converge: ".to_owned()),
            rate: params.text("log-rate").unwrap_or_else(|| "10/minute".to_owned()),
            level: params.text("log-level").unwrap_or_else(|| "info".to_owned()),
        },
    }
}

fn action(word: &str) -> Action {
    match word {
        "accept" => Action::Accept,
        "reject" => Action::Reject,
        _ => Action::Drop,
    }
}

/// The children while they are read. Mistakes become problems of the parameters.
struct Rows<'r, 'p> {
    services: Vec<Service>,
    params: &'r mut Reader<'p>,
}

impl Rows<'_, '_> {
    fn services(&mut self) -> Vec<Service> {
        let rows = self.params.rows("service");
        let mut services: Vec<Service> = Vec::new();
        for row in &rows {
            let name = row.plain("name").unwrap_or_default();
            let tcp = self.ports(row, "service", "tcp");
            let udp = self.ports(row, "service", "udp");
            if tcp.is_empty() && udp.is_empty() {
                self.problem("service", &format!("{name:?} must have a port: write `tcp=` or `udp=`"));
            }
            if services.iter().any(|other| other.name == name) {
                self.problem("service", &format!("{name:?} must be declared once"));
            }
            services.push(Service { name, tcp, udp });
        }
        services
    }

    fn rules(&mut self) -> Vec<Rule> {
        let rows = self.params.rows("rule");
        rows.iter().filter_map(|row| self.rule(row)).collect()
    }

    fn rule(&mut self, row: &RowReader) -> Option<Rule> {
        let verdict = self.verdict(row)?;
        let direction = match row.plain("direction").as_deref() {
            Some("out") => Direction::Out,
            Some("forward") => Direction::Forward,
            _ => Direction::In,
        };
        let services = words(row, "service").iter().filter_map(|name| self.service(name)).collect();
        let rule = Rule {
            verdict,
            direction,
            services,
            tcp: self.ports(row, "rule", "tcp"),
            udp: self.ports(row, "rule", "udp"),
            protocols: words(row, "protocol"),
            from: self.networks(row, "rule", "from"),
            to: self.networks(row, "rule", "to"),
            interfaces: words(row, "interface"),
            out_interfaces: words(row, "out-interface"),
            log: row.plain("log").as_deref() == Some("true"),
            comment: row.plain("comment"),
        };
        self.check(row, &rule);
        Some(rule)
    }

    /// Reports parts of a rule that have no effect or another meaning.
    fn check(&mut self, row: &RowReader, rule: &Rule) {
        let is_limit = matches!(rule.verdict, Verdict::Limit(_));
        let has_family = |v6: bool| {
            let of = |all: &[Network]| all.is_empty() || all.iter().any(|one| one.is_v6() == v6);
            of(&rule.from) && of(&rule.to)
        };
        let names_ports = rule.names_ports();
        let wrong = [
            (is_limit && rule.direction != Direction::In, "`limit` must have `direction=\"in\"`"),
            (
                is_limit && !names_ports && words(row, "service").is_empty(),
                "`limit` must name a port: write `tcp=`, `udp=` or `service=`",
            ),
            (
                !is_limit && (row.text("rate").is_some() || row.text("burst").is_some()),
                "`rate` and `burst` must be in a rule with `limit`",
            ),
            (
                rule.direction != Direction::Forward && !rule.out_interfaces.is_empty(),
                "`out-interface` must be in a rule with `direction=\"forward\"`: write `interface`",
            ),
            (
                !has_family(false) && !has_family(true),
                "`from` and `to` must have a common address family: IPv4 or IPv6",
            ),
        ];
        wrong.iter().filter(|(is_so, _)| *is_so).for_each(|(_, message)| self.problem("rule", message));
    }

    fn verdict(&mut self, row: &RowReader) -> Option<Verdict> {
        let word = row.plain("action").unwrap_or_default();
        if word != "limit" {
            return Some(Verdict::Act(action(&word)));
        }
        let burst = row.plain("burst").and_then(|burst| burst.parse().ok());
        let per_address = row.plain("per").as_deref() != Some("all");
        let Some(rate) = row.plain("rate") else {
            self.problem("rule", "`limit` must have a `rate`: `rate=\"30/minute\"`");
            return None;
        };
        let limit = Limit::read(&rate, burst, per_address);
        if limit.is_none() {
            self.problem("rule", &format!("{rate:?} is not a rate: write `rate=\"30/minute\"`"));
        }
        limit.map(Verdict::Limit)
    }

    fn service(&mut self, name: &str) -> Option<Service> {
        let found = self.services.iter().find(|service| service.name == name).cloned();
        if found.is_none() {
            self.problem("rule", &format!("there is no service {name:?}: write `service {name:?} tcp=…`"));
        }
        found
    }

    fn masquerades(&mut self) -> Vec<Masquerade> {
        let rows = self.params.rows("masquerade");
        let masquerade = |row: &RowReader| Masquerade {
            interface: row.plain("interface").unwrap_or_default(),
            from: self.networks(row, "masquerade", "from"),
        };
        rows.iter().map(masquerade).collect()
    }

    fn port_forwards(&mut self) -> Vec<PortForward> {
        let rows = self.params.rows("port-forward");
        rows.iter().filter_map(|row| self.port_forward(row)).collect()
    }

    fn port_forward(&mut self, row: &RowReader) -> Option<PortForward> {
        let to_text = row.plain("to").unwrap_or_default();
        let Ok(to) = to_text.parse() else {
            self.problem("port-forward", &format!("`to` must be one address, not {to_text:?}"));
            return None;
        };
        let tcp = self.ports(row, "port-forward", "tcp");
        let udp = self.ports(row, "port-forward", "udp");
        if tcp.is_empty() && udp.is_empty() {
            self.problem(
                "port-forward",
                "it must name a port, or it would forward every packet: write `tcp=` or `udp=`",
            );
        }
        Some(PortForward {
            tcp,
            udp,
            to,
            to_text,
            to_port: row.plain("to-port").and_then(|port| port.parse().ok()),
            from: self.networks(row, "port-forward", "from"),
            interfaces: words(row, "interface"),
            comment: row.plain("comment"),
        })
    }

    fn raw(&mut self) -> Vec<Raw> {
        let rows = self.params.several_lines(|params| params.rows("raw"));
        let raw = |row: &RowReader| Raw {
            chain: row.plain("chain").unwrap_or_else(|| "input".to_owned()),
            text: row.plain("rule").unwrap_or_default(),
        };
        let raw: Vec<_> = rows.iter().map(raw).collect();
        for one in raw.iter().filter(|one| !firewall::stays_inside(&one.text)) {
            let message = format!("{:?} must stay inside its chain", one.text);
            self.params.problem(ParamProblem::new("raw", message).help(BALANCE));
        }
        raw
    }

    fn ports(&mut self, row: &RowReader, child: &str, param: &str) -> Vec<Ports> {
        let read = |text: String| {
            let ports = Ports::read(&text);
            if ports.is_none() {
                self.problem(child, &format!("{text:?} must be a port (1 to 65535) or a range of ports"));
            }
            ports
        };
        words(row, param).into_iter().filter_map(read).collect()
    }

    fn networks(&mut self, row: &RowReader, child: &str, param: &str) -> Vec<Network> {
        let read = |text: String| {
            let network = Network::read(&text);
            if network.is_none() {
                self.problem(child, &format!("{text:?} must be an address or a network"));
            }
            network
        };
        words(row, param).into_iter().filter_map(read).collect()
    }

    fn problem(&mut self, child: &str, message: &str) {
        self.params.problem(ParamProblem::new(child, message));
    }
}

/// The help for text in a back end's syntax that leaves its place.
pub(super) const BALANCE: &str =
    "close every open brace and quotation mark, and no other; do not end with a backslash";

fn words(row: &RowReader, name: &str) -> Vec<String> {
    row.texts(name).iter().filter_map(|text| String::from_utf8(text.expose().to_vec()).ok()).collect()
}
