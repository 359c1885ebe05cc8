//! `--json`: the events as they are, one a line. Their format and its version are the model's.

use std::fmt::Write as _;

use converge_model::Event;
use serde::Serialize;

use super::text::steers;

/// An event as one line of JSON.
pub(crate) fn event(event: &Event) -> String {
    line(event)
}

/// `value` as one line of JSON in which nothing steers a terminal: what could is written as `\u202e`, which reads back
/// as the same text.
pub(crate) fn line(value: &impl Serialize) -> String {
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
            "{\"version\":1,\"run\":\"20260101T000000-00000000\",\"host\":null,\"sequence\":0,\"output\":\
             {\"address\":\"command[x]\",\"line\":\"a\\u001b[2J\\n\\u202eb\\u009b\"}}\n"
        );
        assert_eq!(serde_json::from_str::<Event>(&text).unwrap(), sent);
    }
}
