//! A packet filter that understands `open tcp PORT` and the rule for all other traffic.

use std::fmt::Write as _;

use crate::system::backend::Backend;
use crate::system::firewall::Firewall;
use crate::system::firewall::policy::{Direction, Policy};
use crate::system::processes::{Command, Finished};
use crate::wish::Text;

pub(super) const BACKEND: Backend<&'static dyn Firewall> =
    Backend { name: "gate", marks: &["/sbin/gate"], open: Some(&Gate) };

struct Gate;

impl Firewall for Gate {
    fn name(&self) -> &'static str {
        "gate"
    }

    fn file(&self) -> (&'static str, &'static str) {
        ("/etc/gate", "converge")
    }

    fn program(&self) -> &'static str {
        "gate"
    }

    fn check_file(&self) -> &'static [&'static str] {
        &["gate", "check", "%s"]
    }

    fn render(&self, policy: &Policy) -> String {
        let mut text = String::new();
        for ports in policy.ordered(Direction::In).iter().flat_map(|ordered| &ordered.tcp) {
            let _ = writeln!(text, "open tcp {}", ports.text());
        }
        let _ = writeln!(text, "else {:?}", policy.input);
        text
    }

    fn render_own(&self, _: &str) -> Option<String> {
        None
    }

    fn list(&self) -> Command {
        Command::new(["gate", "show"])
    }

    fn listed(&self, answer: &Finished) -> Result<Option<String>, String> {
        Ok(answer.success().then(|| String::from_utf8_lossy(&answer.output).into_owned()))
    }

    fn check(&self, file: &[u8]) -> Command {
        with_input("check", file)
    }

    fn refusal(&self, answer: &Finished) -> Option<String> {
        (!answer.success()).then(|| "it is refused".to_owned())
    }

    fn load(&self, file: Option<&[u8]>) -> Command {
        with_input("load", file.unwrap_or_default())
    }

    fn restore(&self, listed: Option<&str>) -> Command {
        with_input("load", listed.unwrap_or_default().as_bytes())
    }
}

fn with_input(verb: &str, input: &[u8]) -> Command {
    let input = Some(Text::Plain(String::from_utf8_lossy(input).into_owned()));
    Command { input, ..Command::new(["gate", verb]) }
}
