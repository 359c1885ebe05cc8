//! `--json`: one object a line, for programs. The format is public and documented in docs/json.md, so its types are
//! here and nowhere else: the model's types may change with the code, these may only grow. A test holds them against
//! the page and against docs/json-samples.jsonl.

mod ad_hoc;
mod change;
mod diagnostic;
mod document;
mod event;
mod facts;
mod inventory;
mod plan;
mod result;
#[cfg(test)]
mod samples;

use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

use converge_model::Event;
use converge_server::News;
use jiff::Timestamp;
use serde::Serialize;

pub(crate) use self::diagnostic::Diagnostic;
pub(crate) use self::document::{Carried, Document, Run};
pub(crate) use self::facts::Facts;
pub(crate) use self::inventory::{Host, Inventory, Variable};
use super::text::steers;

/// The version of the format. Within a version fields and types are added, and none is renamed or removed.
const VERSION: u16 = 2;

/// What stands for a value that holds a secret.
const SECRET: &str = "********";

/// Whether `--json` was given: a failure may end the process where no screen is at hand.
static CHOSEN: AtomicBool = AtomicBool::new(false);

/// From now on failures are told as JSON, too.
pub(crate) fn choose() {
    CHOSEN.store(true, Ordering::Relaxed);
}

/// Whether failures are told as JSON.
pub(crate) fn is_chosen() -> bool {
    CHOSEN.load(Ordering::Relaxed)
}

/// An event of a run as one line.
pub(crate) fn event(event: &Event) -> String {
    versioned(&event::Line::from(event))
}

/// A document as one line.
pub(crate) fn document(document: &Document<'_>) -> String {
    versioned(document)
}

/// News of the daemon as one line. Their form is the server's own: receivers of notifications get the same.
pub(crate) fn news(news: &News) -> String {
    line(news)
}

/// An object, and the version of the format before it.
#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u16,
    #[serde(flatten)]
    line: &'a T,
}

fn versioned<T: Serialize>(object: &T) -> String {
    line(&Versioned { version: VERSION, line: object })
}

/// `value` as one line of JSON in which nothing steers a terminal: what could is written as `\u202e`, which reads back
/// as the same text.
fn line(value: &impl Serialize) -> String {
    // Plain data with text keys always serialises.
    let json = serde_json::to_string(value).unwrap_or_default();
    let mut out = String::with_capacity(json.len() + 1);
    for c in json.chars() {
        if steers(c) {
            let _ = c.encode_utf16(&mut [0; 2]).iter().try_for_each(|unit| write!(out, "\\u{unit:04x}"));
        } else {
            out.push(c);
        }
    }
    out.push('\n');
    out
}

/// A text that is empty where there is none.
fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// A time that the model keeps in milliseconds since the epoch; none for 0, which old records hold.
fn time(milliseconds: u64) -> Option<Timestamp> {
    let milliseconds = i64::try_from(milliseconds).ok().filter(|time| *time > 0)?;
    Timestamp::from_millisecond(milliseconds).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::event::VERSION;
    use converge_model::{Address, EventKind, RunId};

    #[test]
    fn a_line_is_one_event_and_steers_nothing() {
        let sent = Event {
            version: VERSION,
            run: RunId::new("20260101T000000-00000000").unwrap(),
            host: None,
            sequence: 0,
            kind: EventKind::Output {
                address: Address::new(None, "command", "x"),
                line: "a\x1b[2J\n\u{202e}b\u{9b}".to_owned(),
            },
        };
        let text = event(&sent);
        assert_eq!(
            text,
            "{\"version\":2,\"run\":\"20260101T000000-00000000\",\"host\":null,\"sequence\":0,\"type\":\"output\",\
             \"address\":\"command[x]\",\"line\":\"a\\u001b[2J\\n\\u202eb\\u009b\"}\n"
        );
        let read: serde_json::Value = serde_json::from_str(&text).unwrap();
        assert_eq!(read["line"], "a\x1b[2J\n\u{202e}b\u{9b}");
    }
}
