//! The signals that stop a run: the first ends it after the steps in hand, the second abandons them. Where even that
//! does not end the process, because it waits for a reader of its output for instance, it is ended from here.

use std::process;
use std::time::Duration;

use converge_engine::Stop;
use converge_engine::run::STOPPING;
use converge_model::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::view::voice::Voice;

/// How long an abandoned run may take to end.
const END: Duration = Duration::from_secs(10);

/// What the first interruption ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Hosts end the steps in hand.
    Steps,
    /// Hosts end their commands.
    Commands,
}

impl Ends {
    /// What is said of it.
    fn words(self, in_hand: &str) -> String {
        match self {
            Self::Steps => {
                let minutes = STOPPING.as_secs() / 60;
                format!(
                    "stopping after the steps in hand{in_hand}, within {minutes} min; Ctrl-C again abandons them"
                )
            }
            Self::Commands => "stopping: the hosts end what they run; Ctrl-C again abandons them".to_owned(),
        }
    }

    /// What is said once it is abandoned.
    const fn abandoned(self) -> &'static str {
        match self {
            Self::Steps => "abandoned; the hosts end the step in hand by themselves",
            Self::Commands => "abandoned; the hosts end what they run by themselves",
        }
    }
}

/// Turns the first interruption into a stop after the steps in hand, and the second into one at once.
pub(crate) async fn listen(stop: watch::Sender<Stop>, voice: Voice, ends: Ends) {
    let (Ok(mut interrupt), Ok(mut terminate)) =
        (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
    else {
        return;
    };
    let mut told = async || {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    };
    told().await;
    stop.send_replace(Stop::AfterStep);
    voice.stopping(&ends.words(&voice.in_hand()));
    told().await;
    stop.send_replace(Stop::Now);
    voice.stopping(ends.abandoned());
    let _ = tokio::time::timeout(END, told()).await;
    end();
}

#[expect(clippy::exit, reason = "a run that is stuck, in a write for instance, cannot be asked to end")]
fn end() {
    process::exit(i32::from(exit::INTERRUPTED));
}
