//! The news of the daemon as text: one line each. The differences are below new drift.

use converge_model::{Address, HostPlan};
use converge_server::{News, NewsKind, responses, span};

use super::Detail;
use super::drift::drift;
use crate::view::paint::{ADDED, CHANGED, FAILED, FAINT, STRONG, paint};
use crate::view::text::{count, harmless, seconds};

/// Returns the text of `news`. `plan` has the details of new drift. Looks without findings are shown only with `-v`.
pub(crate) fn news(news: &News, plan: Option<&HostPlan>, detail: Detail) -> String {
    let Some(words) = words(&news.watch, detail) else { return String::new() };
    let at = paint(FAINT, format_args!("{:.0}", news.at));
    let host = news.host.as_ref().map(|host| format!("{}  ", paint(STRONG, harmless(host.as_str()))));
    let line = format!("{at}  {}{words}\n", host.unwrap_or_default());
    line + &plan.map(|plan| drift(plan, detail)).unwrap_or_default()
}

fn words(kind: &NewsKind, detail: Detail) -> Option<String> {
    Some(match kind {
        NewsKind::Started { hosts } => format!("watching {}", count(*hosts as usize, "host")),
        NewsKind::Looked { state, corrective, pending, took } => {
            if detail != Detail::Full {
                return None;
            }
            let word = state.word();
            format!("looked: {word}, {corrective} drifted, {pending} pending   {}", seconds(*took))
        }
        NewsKind::DriftFound { resources } => {
            format!("{}: {}", paint(CHANGED, "drift"), responses(resources, named))
        }
        NewsKind::Corrected { addresses } => format!("{} {}", paint(ADDED, "corrected"), list(addresses)),
        NewsKind::Failed { state, why, .. } => {
            let why: Vec<_> = why.iter().map(|why| harmless(why)).collect();
            format!("{}: {}", paint(FAILED, state.word()), why.join("; "))
        }
        NewsKind::Recovered { addresses } if addresses.is_empty() => {
            format!("{}: as it was last applied", paint(ADDED, "recovered"))
        }
        NewsKind::Recovered { addresses } => format!("{}: {}", paint(ADDED, "recovered"), list(addresses)),
        NewsKind::Fight { address, corrections, within } => format!(
            "{}: {} was corrected {corrections} times within {}, and is left alone",
            paint(FAILED, "fight"),
            harmless(address.as_str()),
            span(*within)
        ),
        NewsKind::TooManyDrifted { drifted, of } => {
            let words = format!("{drifted} of {of} hosts drifted");
            format!("{}: nothing is corrected until there are fewer", paint(FAILED, words))
        }
        NewsKind::TickSkipped { skipped } => {
            format!("still at work: its turn is skipped ({skipped} so far)")
        }
        NewsKind::InventoryBroken { mistakes } => {
            let words = count(mistakes.len(), "mistake");
            format!("{}: {words}; the daemon uses the last valid one", paint(FAILED, "inventory broken"))
        }
        NewsKind::CorrectionGoesOn { drifted, of } => {
            let words = format!("no more than {drifted} of {of} hosts drifted");
            format!("{words}: {}", paint(ADDED, "drift is corrected again"))
        }
        NewsKind::MemoryBroken { why } => format!(
            "{}: {}; nothing is corrected until it can be written",
            paint(FAILED, "memory broken"),
            harmless(why)
        ),
        NewsKind::MemoryMended => {
            format!("{}: drift is corrected again", paint(ADDED, "memory written"))
        }
        NewsKind::InventoryReloaded { hosts, .. } => {
            format!("inventory read again, watching {}", count(*hosts as usize, "host"))
        }
        NewsKind::Stopping => "stopping after the running steps".to_owned(),
    })
}

fn list(addresses: &[Address]) -> String {
    named(&addresses.iter().collect::<Vec<_>>())
}

fn named(addresses: &[&Address]) -> String {
    addresses.iter().map(|address| harmless(address.as_str())).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::HostName;
    use converge_server::{Drifted, Response};

    fn check(kind: NewsKind, expected: &str) {
        let told = News {
            version: 1,
            at: "2026-03-29T01:00:00.5Z".parse().unwrap(),
            host: Some(HostName::new("web1").unwrap()),
            run: None,
            watch: kind,
        };
        let text = news(&told, None, Detail::Usual);
        assert_eq!(anstream::adapter::strip_str(&text).to_string(), expected);
    }

    #[test]
    fn news_is_a_line() {
        let one = |name: &str, response: Response| Drifted {
            address: Address::new(None, "file", name),
            properties: Vec::new(),
            response,
        };
        let motd = || Address::new(None, "file", "/etc/motd");
        let resources =
            vec![one("/a", Response::Corrects), one("/b", Response::Reports), one("/c", Response::Corrects)];
        check(
            NewsKind::DriftFound { resources },
            "2026-03-29T01:00:00Z  web1  drift: corrects file[/a], file[/c]; reports file[/b]\n",
        );
        check(
            NewsKind::Fight { address: motd(), corrections: 3, within: 86400 },
            "2026-03-29T01:00:00Z  web1  fight: file[/etc/motd] was corrected 3 times within 1 day, and is left alone\n",
        );
        check(
            NewsKind::Recovered { addresses: Vec::new() },
            "2026-03-29T01:00:00Z  web1  recovered: as it was last applied\n",
        );
        let state = converge_model::HostState::InSync;
        check(NewsKind::Looked { state, corrective: 0, pending: 0, took: 9 }, "");
    }
}
