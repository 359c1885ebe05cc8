//! The table `inet converge`: the script that replaces it, what is listed of it, and what nft says of a new one.

use std::time::Duration;

use crate::actor::{Actor, ApplyError};
use crate::system::processes::Command;
use crate::view::{LookError, Seen, View};
use crate::wish::Text;

/// The program.
pub(super) const NFT: &str = "nft";

/// The script that takes the table away. The first line makes it where it is missing: what is not there cannot be
/// deleted.
pub(super) const GONE: &str = "table inet converge\ndelete table inet converge\n";

/// How long nft may take.
const TIME: Duration = Duration::from_secs(60);

/// The script that puts a table with these rules in the place of the one that is there.
pub(super) fn script(rules: &str) -> String {
    format!(
        "# Written by Converge, which owns this table and no other.\n{GONE}table inet converge {{\n{}\n}}\n",
        rules.trim_end()
    )
}

/// Whether `rules` close what they open and nothing else, so that they end up in the table.
pub(super) fn stays_inside(rules: &str) -> bool {
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

/// The table as it is in the kernel, without what moves by itself; none where there is none, or no nft.
pub(super) fn live(view: &View<'_>) -> Result<Option<String>, LookError> {
    let Seen::Known(listed) = view.ask(&command(&["-s", "list", "table", "inet", "converge"], None))? else {
        return Ok(None);
    };
    let text = String::from_utf8_lossy(&listed.output);
    match listed.success() {
        true => Ok(Some(settled(&text))),
        false if text.contains("No such file or directory") => Ok(None),
        false => Err(LookError::Other(format!("failed to list the table inet converge: {}", first(&text)))),
    }
}

/// Why nft refuses the script, in its own words; none where it takes it, or is not there to ask.
pub(super) fn refusal(view: &View<'_>, script: &[u8]) -> Result<Option<String>, LookError> {
    let asked = view.ask(&command(&["-c", "-f", "-"], Some(script)))?;
    Ok(asked.known().filter(|asked| !asked.success()).map(|asked| {
        let text = String::from_utf8_lossy(&asked.output).replace("/dev/stdin:", "line ");
        text.trim_end().to_owned()
    }))
}

/// Runs the script, in one transaction. How it is taken back is noted first, by putting the table `before` in its place:
/// a policy may cut the host off at once.
pub(super) fn load(actor: &mut Actor<'_>, script: &[u8], before: Option<&str>) -> Result<(), ApplyError> {
    let back = format!("{GONE}{}", before.unwrap_or_default());
    actor.keep_command(command(&["-f", "-"], Some(back.as_bytes())))?;
    actor.run(&command(&["-f", "-"], Some(script))).map(drop)
}

fn command(words: &[&str], input: Option<&[u8]>) -> Command {
    let input = input.map(|input| Text::Plain(String::from_utf8_lossy(input).into_owned()));
    Command { input, timeout: TIME, ..Command::new([NFT].iter().chain(words).copied()) }
}

fn first(text: &str) -> &str {
    text.lines().next().unwrap_or("nothing was said")
}

/// A stateless listing without the elements that rules or time put into sets.
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
