//! nftables. The policy is one table, `inet converge`, which a script replaces in one transaction. nft(8) is the
//! interface to the kernel.

mod render;

use std::time::Duration;

use crate::system::backend::Backend;
use crate::system::firewall::Firewall;
use crate::system::firewall::policy::Policy;
use crate::system::processes::{Command, Finished};
use crate::wish::Text;

/// The packet filter of the kernel, controlled by nft.
pub struct Nftables;

/// The row of nftables.
pub const BACKEND: Backend<&'static dyn Firewall> =
    Backend { name: "nftables", marks: &["/usr/sbin/nft", "/sbin/nft"], open: Some(&Nftables) };

/// The script that removes the table. The first line makes it if it is missing, because a missing table cannot be
/// deleted.
const GONE: &str = "table inet converge\ndelete table inet converge\n";

/// The timeout of nft.
const TIME: Duration = Duration::from_secs(60);

impl Firewall for Nftables {
    fn name(&self) -> &'static str {
        BACKEND.name
    }

    fn file(&self) -> (&'static str, &'static str) {
        ("/etc/converge", "firewall.nft")
    }

    fn program(&self) -> &'static str {
        "nft"
    }

    fn check_file(&self) -> &'static [&'static str] {
        &["nft", "-c", "-f", "%s"]
    }

    fn render(&self, policy: &Policy) -> String {
        script(&render::rules(policy))
    }

    fn render_own(&self, words: &str) -> Option<String> {
        Some(script(words))
    }

    fn list(&self) -> Command {
        command(&["-s", "list", "table", "inet", "converge"], None)
    }

    fn listed(&self, answer: &Finished) -> Result<Option<String>, String> {
        let text = String::from_utf8_lossy(&answer.output);
        match answer.success() {
            true => Ok(Some(settled(&text))),
            false if text.contains("No such file or directory") => Ok(None),
            false => {
                let said = text.lines().next().unwrap_or("nothing was said");
                Err(format!("failed to list the table inet converge: {said}"))
            }
        }
    }

    fn check(&self, file: &[u8]) -> Command {
        command(&["-c", "-f", "-"], Some(file))
    }

    fn refusal(&self, answer: &Finished) -> Option<String> {
        (!answer.success()).then(|| {
            let text = String::from_utf8_lossy(&answer.output).replace("/dev/stdin:", "line ");
            text.trim_end().to_owned()
        })
    }

    fn load(&self, file: Option<&[u8]>) -> Command {
        command(&["-f", "-"], Some(file.unwrap_or(GONE.as_bytes())))
    }

    fn restore(&self, listed: Option<&str>) -> Command {
        let script = format!("{GONE}{}", listed.unwrap_or_default());
        command(&["-f", "-"], Some(script.as_bytes()))
    }
}

/// Returns the script that replaces the table by one with these rules.
fn script(rules: &str) -> String {
    format!(
        "# Written by Converge, which owns this table and no other.\n{GONE}table inet converge {{\n{}\n}}\n",
        rules.trim_end()
    )
}

/// Whether `rules` close exactly what they open, so that they stay inside the table. A backslash at their end would
/// join the next line.
pub fn stays_inside(rules: &str) -> bool {
    if rules.trim_end().ends_with('\\') {
        return false;
    }
    let (mut depth, mut quoted) = (0_u32, false);
    for line in rules.lines() {
        for letter in line.chars() {
            match letter {
                '"' => quoted = !quoted,
                '#' if !quoted => break,
                '{' if !quoted => depth += 1,
                '}' if !quoted => match depth.checked_sub(1) {
                    Some(less) => depth = less,
                    None => return false,
                },
                _ => {}
            }
        }
        if quoted {
            return false;
        }
    }
    depth == 0
}

fn command(words: &[&str], input: Option<&[u8]>) -> Command {
    let input = input.map(|input| Text::Plain(String::from_utf8_lossy(input).into_owned()));
    Command { input, timeout: TIME, ..Command::new(["nft"].iter().chain(words).copied()) }
}

/// Returns a stateless listing without set elements that rules or timeouts add.
fn settled(listing: &str) -> String {
    let (mut kept, mut moves, mut inside) = (String::with_capacity(listing.len()), false, false);
    for line in listing.split_inclusive('\n') {
        let words = line.trim();
        if let Some(flags) = words.strip_prefix("flags ") {
            moves = flags.contains("dynamic") || flags.contains("timeout");
        } else if words == "}" {
            moves = false;
        }
        inside |= moves && words.starts_with("elements = {");
        if !inside {
            kept.push_str(line);
        }
        inside &= !words.ends_with('}');
    }
    kept
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_cannot_lead_out_of_the_table() {
        let check = |rules: &str, inside: bool| assert_eq!(stays_inside(rules), inside, "{rules}");
        check("chain a { tcp dport { 22, 80 } accept comment \"}\" } # }", true);
        check("set a { elements = { 1,\n2 } }", true);
        check("", true);
        check("chain a { log prefix \"# {\" }", true);
        check("# } and {\nchain a { }", true);
        check("}\nflush ruleset\ntable inet x {", false);
        check("chain a {", false);
        check("tcp dport 9 \\", false);
        check("tcp dport { 9, \\\n10 } accept", true);
        check("chain a { log prefix \"x }", false);
    }

    #[test]
    fn what_rate_limits_remember_is_no_change() {
        let listing = "table inet converge {\n\tset seen {\n\t\ttype ipv4_addr\n\t\tflags dynamic,timeout\n\t\ttimeout 1m\n\
                       \t\telements = { 10.0.0.1 limit rate 30/minute,\n\t\t\t     10.0.0.2 limit rate 30/minute }\n\t}\n\n\
                       \tset own {\n\t\ttype ipv4_addr\n\t\telements = { 10.0.0.3 }\n\t}\n}\n";
        let settled = settled(listing);
        assert!(!settled.contains("10.0.0.1") && !settled.contains("10.0.0.2"), "{settled}");
        assert!(settled.contains("elements = { 10.0.0.3 }"), "{settled}");
        assert_eq!(settled.lines().count(), listing.lines().count() - 2);
        assert_eq!(super::settled(&settled), settled);
        for flags in ["dynamic", "timeout", "interval,timeout"] {
            let one = listing.replace("dynamic,timeout", flags);
            assert!(!super::settled(&one).contains("10.0.0.1"), "{flags}");
        }
        let fixed = listing.replace("dynamic,timeout", "interval");
        assert_eq!(super::settled(&fixed), fixed, "only rules and time move elements by themselves");
    }
}
