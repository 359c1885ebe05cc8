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

/// Turns the first interruption into a stop after the steps in hand, and the second into one at once.
pub(crate) async fn listen(stop: watch::Sender<Stop>, voice: Voice) {
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
    let minutes = STOPPING.as_secs() / 60;
    stop.send_replace(Stop::AfterStep);
    voice.stopping(&format!(
        "stopping after the steps in hand{}, within {minutes} min; Ctrl-C again abandons them",
        voice.in_hand()
    ));
    told().await;
    stop.send_replace(Stop::Now);
    voice.stopping("abandoned; the hosts end the step in hand by themselves");
    let _ = tokio::time::timeout(END, told()).await;
    end();
}

#[expect(clippy::exit, reason = "a run that is stuck, in a write for instance, cannot be asked to end")]
fn end() {
    process::exit(i32::from(exit::INTERRUPTED));
}
