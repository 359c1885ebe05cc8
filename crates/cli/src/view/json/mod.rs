//! `--json`: one object per line, for programs. The format is public and documented in docs/json.md. So it has its
//! own types here: the model's types may change with the code, and these may only get new fields. A test compares
//! them with the page and with docs/json-samples.jsonl.

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

/// The version of the format. Within a version, fields and types are added. None is renamed or removed.
const VERSION: u16 = 2;

/// Replaces a value that holds a secret.
const SECRET: &str = "********";

/// Whether `--json` was given. It is global, because a failure may end the process when there is no screen.
static CHOSEN: AtomicBool = AtomicBool::new(false);

/// Makes failures JSON from now on.
pub(crate) fn choose() {
    CHOSEN.store(true, Ordering::Relaxed);
}

/// Whether failures are shown as JSON.
pub(crate) fn is_chosen() -> bool {
    CHOSEN.load(Ordering::Relaxed)
}

/// Returns an event of a run as one line.
pub(crate) fn event(event: &Event) -> String {
    versioned(&event::Line::from(event))
}

/// Returns a document as one line.
pub(crate) fn document(document: &Document<'_>) -> String {
    versioned(document)
}

/// Returns news of the daemon as one line. The server defines their form, because notifications have the same one.
pub(crate) fn news(news: &News) -> String {
    line(news)
}

/// An object with the version of the format before its fields.
#[derive(Serialize)]
struct Versioned<'a, T> {
    version: u16,
    #[serde(flatten)]
    line: &'a T,
}

fn versioned<T: Serialize>(object: &T) -> String {
    line(&Versioned { version: VERSION, line: object })
}

/// Returns `value` as one line of JSON. Characters that could control a terminal are written as escapes like
/// `\u202e`, which parse to the same text.
fn line(value: &impl Serialize) -> String {
    // Plain data with string keys can always be serialised.
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

/// Returns None for an empty text.
fn text(text: &str) -> Option<&str> {
    (!text.is_empty()).then_some(text)
}

/// Converts the model's time in milliseconds since the epoch. None for 0, which old records have.
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
