//! The signals that stop a run. The first one ends it after the running steps, the second one gives them up. If the
//! process still does not end, for example because it waits for a reader of its output, this module ends it.

use std::process;
use std::time::Duration;

use converge_engine::Stop;
use converge_engine::run::STOPPING;
use converge_model::exit;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

use crate::view::voice::Voice;

/// How long a run may take to end after the second signal.
const END: Duration = Duration::from_secs(10);

/// The part of a run that the first interrupt ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ends {
    /// Hosts end the running steps.
    Steps,
    /// Hosts end their commands.
    Commands,
}

impl Ends {
    /// Returns the message for the first interrupt.
    fn words(self, in_hand: &str) -> String {
        match self {
            Self::Steps => {
                let minutes = STOPPING.as_secs() / 60;
                format!(
                    "stopping after the running steps{in_hand}, within {minutes} min; Ctrl-C again abandons them"
                )
            }
            Self::Commands => "stopping: the hosts end their commands; Ctrl-C again abandons them".to_owned(),
        }
    }

    /// Returns the message for the second interrupt.
    const fn abandoned(self) -> &'static str {
        match self {
            Self::Steps => "abandoned; the hosts end their running steps by themselves",
            Self::Commands => "abandoned; the hosts end their commands by themselves",
        }
    }
}

/// Handles the signals: the first one stops the run after the running steps, the second one at once.
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
