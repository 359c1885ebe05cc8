//! What a policy of nftables does to the next connection of this run, as far as its lines tell: it is read as the module
//! `firewall` writes it. What is not understood is taken for something that lets in.

use std::net::IpAddr;

/// The longest environment of a process that is read, in bytes.
const ENVIRONMENT_LIMIT: u64 = 128 * 1024;
/// How many processes up the session is looked for.
const ANCESTORS: usize = 8;

/// Where a run comes from, and the port that it comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Peer {
    from: IpAddr,
    port: u16,
}

impl Peer {
    /// As sshd told the session that the agent runs in; sudo keeps that to itself, so its caller is asked.
    pub(super) fn of_session() -> Option<Self> {
        let own = std::env::var("SSH_CONNECTION").ok();
        let above = || of_process(rustix::process::getppid()?.as_raw_nonzero().get());
        own.or_else(above).and_then(|words| Self::of(&words))
    }

    /// As sshd writes it: `10.0.0.9 52100 10.0.0.1 22`.
    fn of(connection: &str) -> Option<Self> {
        let words: Vec<&str> = connection.split(' ').collect();
        let [from, _, _, port] = words[..] else { return None };
        Some(Self { from: from.parse::<IpAddr>().ok()?.to_canonical(), port: port.trim().parse().ok()? })
    }

    /// Says that `rules` let the next connection not in; none where a line of theirs does.
    pub(super) fn shut_out_by(&self, rules: &str) -> Option<String> {
        let input = rules.lines().map(str::trim).skip_while(|line| !line.starts_with("chain input"));
        let input: Vec<&str> = input.take_while(|line| *line != "}").collect();
        let closed = input.iter().any(|line| line.contains("policy drop"));
        let verdict = input.iter().skip(1).find_map(|line| self.verdict(line));
        let Self { from, port } = self;
        (!verdict.unwrap_or(!closed || input.is_empty()))
            .then(|| format!("no rule is seen to let in {from}, where this run comes from, at port {port}"))
    }

    /// Whether a line lets the connection in, or keeps it out; none where it says nothing about it.
    fn verdict(&self, line: &str) -> Option<bool> {
        let line = line.split(" comment ").next().unwrap_or(line);
        let words: Vec<&str> = line.split([' ', ',', '{', '}']).filter(|word| !word.is_empty()).collect();
        let lets_in = words.contains(&"accept");
        let keeps_out = words.iter().any(|word| matches!(*word, "drop" | "reject"));
        let other = ["policy", "established", "invalid", "icmp", "icmpv6", "udp", "\"lo\""];
        if lets_in == keeps_out || words.iter().any(|word| other.contains(&word.trim_end_matches(';'))) {
            return None;
        }
        if words.contains(&"l4proto") && !words.contains(&"tcp") {
            return None;
        }
        let named = |word: &str| -> Vec<&str> {
            let at = words.iter().position(|one| *one == word);
            let after = at.map(|at| &words[at + 1..]).unwrap_or_default();
            after
                .iter()
                .take_while(|word| word.starts_with(|c: char| c.is_ascii_hexdigit()))
                .copied()
                .collect()
        };
        // A word such as `accept` may begin like a number; what is no port or address is not looked at.
        let ports: Vec<_> = named("dport").into_iter().filter_map(range).collect();
        let from: Vec<_> = named("saddr").into_iter().filter_map(network).collect();
        let family = if self.from.is_ipv4() { "ip6" } else { "ip" };
        let fits = (ports.is_empty() || ports.iter().any(|(low, high)| (low..=high).contains(&&self.port)))
            && (from.is_empty() || from.iter().any(|(base, bits)| holds(*base, *bits, self.from)))
            && !words.contains(&family);
        // To be kept out for sure, everything in the line must be understood.
        let is_plain =
            !words.iter().any(|word| word.starts_with('@') || matches!(*word, "limit" | "daddr" | "iifname"));
        (fits && (lets_in || is_plain)).then_some(lets_in)
    }
}

/// What `SSH_CONNECTION` is in `process`, or in the nearest one above it that has it.
fn of_process(mut process: i32) -> Option<String> {
    use std::io::Read;
    for _ in 0..ANCESTORS {
        let mut environment = Vec::new();
        if let Ok(file) = std::fs::File::open(format!("/proc/{process}/environ")) {
            file.take(ENVIRONMENT_LIMIT).read_to_end(&mut environment).ok()?;
        }
        let mut all = environment.split(|byte| *byte == 0);
        if let Some(found) = all.find_map(|one| one.strip_prefix(b"SSH_CONNECTION=")) {
            return String::from_utf8(found.to_vec()).ok();
        }
        let status = std::fs::read_to_string(format!("/proc/{process}/stat")).ok()?;
        process = status.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()?;
    }
    None
}

/// `22`, `8000-8010`.
fn range(word: &str) -> Option<(u16, u16)> {
    let (low, high) = word.split_once('-').unwrap_or((word, word));
    Some((low.parse().ok()?, high.parse().ok()?))
}

/// `10.0.0.0/8`, `2001:db8::1`: an address and how many of its bits count.
fn network(word: &str) -> Option<(IpAddr, u32)> {
    let (base, bits) = word.split_once('/').unwrap_or((word, "128"));
    Some((base.parse().ok()?, bits.parse().ok()?))
}

fn holds(base: IpAddr, bits: u32, one: IpAddr) -> bool {
    match (base, one) {
        (IpAddr::V4(base), IpAddr::V4(one)) => {
            let rest = 32_u32.saturating_sub(bits);
            (u32::from(base) ^ u32::from(one)).checked_shr(rest).unwrap_or(0) == 0
        }
        (IpAddr::V6(base), IpAddr::V6(one)) => {
            let rest = 128_u32.saturating_sub(bits);
            (u128::from(base) ^ u128::from(one)).checked_shr(rest).unwrap_or(0) == 0
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_line_that_is_about_the_run_decides() {
        let check = |from: &str, lines: &str, let_in: bool| {
            let peer = Peer::of(&format!("{from} 52100 192.0.2.1 22")).unwrap();
            let rules = format!(
                "    chain input {{\n        type filter hook input priority filter; policy drop;\n\
                 ct state established,related accept\n        iifname \"lo\" accept\n        ct state invalid drop\n\
                 icmpv6 type {{ nd-router-solicit }} accept\n        udp sport 67 udp dport 68 accept\n{lines}\n    }}\n\
                 chain forward {{\n        tcp dport 22 accept\n    }}\n"
            );
            assert_eq!(peer.shut_out_by(&rules).is_none(), let_in, "{from}: {lines}");
        };
        check("10.0.0.9", "tcp dport 22 accept", true);
        check("2001:db8::9", "tcp dport 22 accept", true);
        check("10.0.0.9", "tcp dport { 80, 443 } accept", false);
        check("10.0.0.9", "tcp dport { 80, 20-30 } accept comment \"all drop by\"", true);
        check("10.0.0.9", "", false);
        check("10.0.0.9", "ip saddr 10.0.0.0/8 tcp dport 22 accept", true);
        check("10.0.0.9", "ip saddr { 10.0.0.8, 10.0.0.9 } tcp dport 22 accept", true);
        check("10.0.0.9", "ip saddr 10.0.0.0/29 tcp dport 22 accept", false);
        check("11.0.0.9", "ip saddr { 10.0.0.0/8, 192.168.0.0/16 } tcp dport 22 accept", false);
        check("2001:db8::9", "ip6 saddr 2001:db8::/64 tcp dport 22 accept", true);
        check("10.0.0.9", "ip6 saddr 2001:db8::/64 tcp dport 22 accept", false);
        check("10.0.0.9", "ip saddr 10.0.0.0/8 drop\ntcp dport 22 accept", false);
        check("10.0.0.9", "ip saddr 11.0.0.0/8 drop\ntcp dport 22 accept", true);
        check("10.0.0.9", "meta l4proto gre accept", false);
        check(
            "10.0.0.9",
            "tcp dport 22 ct state new update @limit_1_ip { ip saddr limit rate 3/minute } accept\ntcp dport 22 drop",
            true,
        );
        check("10.0.0.9", "ip saddr @banned drop\ntcp dport 22 accept", true);
        check("::ffff:10.0.0.9", "ip saddr 10.0.0.9 accept", true);
        let before = "table inet converge {\n chain early {\n type filter hook prerouting priority raw; policy accept;\n }\n";
        let input = "chain input {\n type filter hook input priority filter; policy drop;\n }\n";
        let told = Peer::of("10.0.0.9 1 10.0.0.1 2222").unwrap().shut_out_by(&format!("{before}{input}}}\n"));
        let expected = "no rule is seen to let in 10.0.0.9, where this run comes from, at port 2222";
        assert_eq!(told.as_deref(), Some(expected), "whatever other chains let in");
    }

    #[test]
    fn a_session_is_found_above_a_process_that_does_not_know_of_it() {
        use std::io::BufRead;
        use std::process::{Command, Stdio};
        let connection = "10.0.0.9 52100 192.0.2.1 22";
        let mut session = Command::new("sh")
            .args(["-c", "env -u SSH_CONNECTION sleep 60 & echo $!; wait"])
            .env("SSH_CONNECTION", connection)
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        std::io::BufReader::new(session.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let own = i32::try_from(session.id()).unwrap();
        let found = [own, line.trim().parse().unwrap()].map(of_process);
        Command::new("kill").arg(line.trim()).status().unwrap();
        session.wait().unwrap();
        assert_eq!(found, [Some(connection.to_owned()), Some(connection.to_owned())]);
    }

    #[test]
    fn an_open_policy_shuts_nobody_out() {
        let peer = Peer::of("10.0.0.9 1 10.0.0.1 22").unwrap();
        assert_eq!(
            peer.shut_out_by("chain input {\n type filter hook input priority filter; policy accept;\n}\n"),
            None
        );
        assert_eq!(peer.shut_out_by("set a { }\n"), None);
        assert_eq!(Peer::of("nonsense"), None);
    }
}
