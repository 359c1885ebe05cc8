//! The results of `exec` and `ping` on a host.

use converge_model::ad_hoc::{Answer, Exit, Ran};
use serde::Serialize;

use super::plan::Holder;

/// A command that ended.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Ended<'a> {
    ended: &'static str,
    exit_code: Option<i32>,
    signal: Option<i32>,
    why: Option<&'a str>,
    lines: u64,
    took_ms: u64,
}

/// A host that answers.
#[derive(Serialize)]
#[serde(rename_all = "kebab-case")]
pub(super) struct Answered<'a> {
    user: &'a str,
    login: Option<&'a str>,
    busy: Option<Holder<'a>>,
    took_ms: u64,
}

impl<'a> From<&'a Ran> for Ended<'a> {
    fn from(ran: &'a Ran) -> Self {
        let (ended, exit_code, signal, why) = match &ran.exit {
            Exit::Code(code) => ("exited", Some(*code), None, None),
            Exit::Signal(signal) => ("signal", None, Some(*signal), None),
            Exit::TimedOut => ("timed-out", None, None, None),
            Exit::Stopped => ("stopped", None, None, None),
            Exit::NotStarted(why) => ("not-started", None, None, Some(why.as_str())),
        };
        Self { ended, exit_code, signal, why, lines: ran.lines, took_ms: ran.took }
    }
}

impl<'a> From<&'a Answer> for Answered<'a> {
    fn from(answer: &'a Answer) -> Self {
        let busy = answer.busy.as_ref().map(Holder::from);
        Self { user: &answer.user, login: answer.login.as_deref(), busy, took_ms: answer.took }
    }
}
