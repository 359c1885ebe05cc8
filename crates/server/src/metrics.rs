//! The daemon's metrics in the text format of OpenMetrics. They are computed from its news and the events of its
//! runs.
//!
//! Names follow the conventions of Prometheus: the prefix `converge_`, the unit and `_total` at the end. The metrics
//! learn the hosts from the news. When the inventory is read again, each host comes back with its next look. `http`
//! serves the text.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use converge_model::{Event, EventKind, HostName, HostState, RunId, exit};
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::encoding::text::encode;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::Registry;

use crate::events::{Listener, News, NewsKind};

/// Upper bounds of the durations of runs, in seconds: a look over an open connection to a long upgrade.
const SECONDS: [f64; 11] = [0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0, 300.0, 1800.0];

/// The metrics. A clone shares the same values: one clone listens, another one is served.
#[derive(Clone)]
pub struct Metrics(Arc<Shared>);

struct Shared {
    registry: Registry,
    runs: Family<OfRun, Counter>,
    durations: Family<OfVerb, Histogram>,
    hosts: Family<OfState, Gauge>,
    drifted: Family<OfHost, Gauge>,
    pending: Family<OfHost, Gauge>,
    corrections: Family<OfHost, Counter>,
    fights: Family<OfHost, Counter>,
    successes: Family<OfHost, Gauge>,
    skipped: Counter,
    stops: Counter,
    valid: Gauge,
    written: Gauge,
    notifications: Family<OfNotification, Counter>,
    seen: Mutex<Seen>,
}

/// The state that is needed for counting.
#[derive(Default)]
struct Seen {
    /// The verbs of the active runs.
    verbs: HashMap<RunId, String>,
    /// The state in which each host ended last.
    states: HashMap<HostName, HostState>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfRun {
    verb: String,
    result: &'static str,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfVerb {
    verb: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfState {
    state: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfHost {
    host: String,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct OfNotification {
    target: &'static str,
    result: &'static str,
}

impl Metrics {
    /// Creates the metrics of a daemon with this version of Converge.
    pub fn new(version: &str) -> Self {
        let mut shared = Shared {
            registry: Registry::with_prefix("converge"),
            runs: Family::default(),
            durations: Family::new_with_constructor(|| Histogram::new(SECONDS)),
            hosts: Family::default(),
            drifted: Family::default(),
            pending: Family::default(),
            corrections: Family::default(),
            fights: Family::default(),
            successes: Family::default(),
            skipped: Counter::default(),
            stops: Counter::default(),
            valid: Gauge::default(),
            written: Gauge::default(),
            notifications: Family::default(),
            seen: Mutex::default(),
        };
        shared.register(version);
        // A daemon does not start with mistakes in the inventory.
        shared.valid.set(1);
        shared.written.set(1);
        Self(Arc::new(shared))
    }

    /// Returns all metrics as text.
    pub fn text(&self) -> String {
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _ = encode(&mut text, &self.0.registry);
        text
    }

    /// Counts a notification. `target` is `webhook` or `command`; `result` is `delivered`, `failed` or `dropped`.
    pub fn notified(&self, target: &'static str, result: &'static str) {
        self.0.notifications.get_or_create(&OfNotification { target, result }).inc();
    }
}

impl Listener for Metrics {
    fn hear(&mut self, news: &News) {
        self.0.hear(news);
    }

    fn event(&mut self, event: &Event) {
        self.0.event(event);
    }
}

impl Shared {
    fn register(&mut self, version: &str) {
        let of = &mut self.registry;
        of.register("build", "Version of Converge", Info::new(vec![("version", version.to_owned())]));
        of.register("runs", "Runs that ended, by verb and result", self.runs.clone());
        let help = "Duration of runs in seconds, by verb";
        of.register("run_duration_seconds", help, self.durations.clone());
        of.register("hosts", "Hosts, by the state in which their last run ended", self.hosts.clone());
        let help = "Resources that had drifted at the last look and were not corrected";
        of.register("drifted_resources", help, self.drifted.clone());
        let help = "Resources that are pending: they wait for an apply";
        of.register("pending_resources", help, self.pending.clone());
        of.register("corrections", "Resources that were corrected", self.corrections.clone());
        let help = "Resources that are no longer corrected, because they drifted again and again";
        of.register("fights", help, self.fights.clone());
        let help = "Time of the last look at the host that completed";
        of.register("last_success_timestamp_seconds", help, self.successes.clone());
        let help = "Looks that were skipped, because the last run was still at work";
        of.register("ticks_skipped", help, self.skipped.clone());
        let help = "Number of times that corrections stopped, because too many hosts had drifted at once";
        of.register("correction_stops", help, self.stops.clone());
        let help = "1 if the inventory in the files is valid, 0 if it has mistakes";
        of.register("inventory_valid", help, self.valid.clone());
        let help = "1 if the daemon can write its state, 0 if it cannot and corrects nothing";
        of.register("memory_written", help, self.written.clone());
        of.register("notifications", "Notifications, by target and result", self.notifications.clone());
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn event(&self, event: &Event) {
        match &event.kind {
            EventKind::RunStarted { verb, .. } => {
                self.seen().verbs.insert(event.run.clone(), verb.clone());
            }
            EventKind::HostFinished { report } => self.ended(&report.host, report.state),
            EventKind::RunFinished { exit, took, .. } => {
                let verb = self.seen().verbs.remove(&event.run).unwrap_or_default();
                let seconds = *took as f64 / 1000.0;
                self.durations.get_or_create(&OfVerb { verb: verb.clone() }).observe(seconds);
                self.runs.get_or_create(&OfRun { verb, result: result(*exit) }).inc();
            }
            _ => {}
        }
    }

    fn ended(&self, host: &HostName, state: HostState) {
        let before = self.seen().states.insert(host.clone(), state);
        if let Some(before) = before {
            self.hosts.get_or_create(&of_state(before)).dec();
        }
        self.hosts.get_or_create(&of_state(state)).inc();
    }

    fn hear(&self, news: &News) {
        let host = || OfHost { host: news.host.as_ref().map(ToString::to_string).unwrap_or_default() };
        match &news.watch {
            NewsKind::Looked { state, corrective, pending, .. } => {
                if is_success(*state) {
                    self.drifted.get_or_create(&host()).set(i64::from(*corrective));
                    self.pending.get_or_create(&host()).set(i64::from(*pending));
                    self.successes.get_or_create(&host()).set(news.at.as_second());
                }
            }
            NewsKind::Corrected { addresses } => {
                self.corrections.get_or_create(&host()).inc_by(addresses.len() as u64);
                let drifted = self.drifted.get_or_create(&host());
                drifted.set((drifted.get() - addresses.len() as i64).max(0));
            }
            NewsKind::Fight { .. } => drop(self.fights.get_or_create(&host()).inc()),
            NewsKind::TickSkipped { .. } => drop(self.skipped.inc()),
            NewsKind::TooManyDrifted { .. } => drop(self.stops.inc()),
            NewsKind::InventoryBroken { .. } => drop(self.valid.set(0)),
            NewsKind::InventoryReloaded { .. } => {
                self.valid.set(1);
                self.forget();
            }
            NewsKind::MemoryBroken { .. } => drop(self.written.set(0)),
            NewsKind::MemoryMended => drop(self.written.set(1)),
            NewsKind::Started { .. }
            | NewsKind::CorrectionGoesOn { .. }
            | NewsKind::DriftFound { .. }
            | NewsKind::Failed { .. }
            | NewsKind::Recovered { .. }
            | NewsKind::Stopping => {}
        }
    }

    /// Forgets the hosts, because some of them may be gone. Counters are kept.
    fn forget(&self) {
        self.seen().states.clear();
        self.hosts.clear();
        self.drifted.clear();
        self.pending.clear();
        self.successes.clear();
    }
}

/// Whether the look at a host in this state succeeded.
const fn is_success(state: HostState) -> bool {
    matches!(state, HostState::InSync | HostState::Pending | HostState::Changed)
}

fn of_state(state: HostState) -> OfState {
    let word = serde_json::to_value(state).ok();
    OfState { state: word.and_then(|word| Some(word.as_str()?.to_owned())).unwrap_or_default() }
}

const fn result(code: u8) -> &'static str {
    match code {
        exit::OK | exit::PENDING => "ok",
        exit::UNREACHABLE => "unreachable",
        exit::LOCKED => "locked",
        exit::STALE => "stale",
        exit::INTERRUPTED => "interrupted",
        _ => "failed",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{Address, HostReport, event::VERSION};

    fn news(host: &str, watch: NewsKind) -> News {
        let host = HostName::new(host).ok();
        News {
            version: crate::events::VERSION,
            at: "2026-03-29T01:00:00Z".parse().unwrap(),
            host,
            run: None,
            watch,
        }
    }

    fn run(id: &str, verb: &str, host: &str, state: HostState, exit: u8) -> Vec<Event> {
        let name = HostName::new(host).unwrap();
        let (verb, by) = (verb.to_owned(), String::new());
        let report =
            HostReport { host: name.clone(), state, results: Vec::new(), in_sync: 0, problems: Vec::new() };
        let kinds = [
            (None, EventKind::RunStarted { verb, hosts: 1, by, at: 0 }),
            (Some(name), EventKind::HostFinished { report }),
            (None, EventKind::RunFinished { states: Vec::new(), changed: 0, exit, took: 1500 }),
        ];
        let run = RunId::new(id).unwrap();
        let event = |(host, kind)| Event { version: VERSION, run: run.clone(), host, sequence: 0, kind };
        kinds.map(event).to_vec()
    }

    fn check(metrics: &Metrics, lines: &[&str]) {
        let text = metrics.text();
        for line in lines {
            assert!(text.lines().any(|found| found == *line), "{line} is not in\n{text}");
        }
    }

    #[test]
    fn runs_are_counted_by_what_they_were_for() {
        let mut metrics = Metrics::new("1.2.3");
        let mut events = run("a", "drift", "web1", HostState::Pending, 0);
        events.extend(run("b", "apply", "web1", HostState::Changed, 0));
        events.extend(run("c", "drift", "web2", HostState::Unreachable, 4));
        events.iter().for_each(|event| metrics.event(event));
        check(
            &metrics,
            &[
                "converge_build_info{version=\"1.2.3\"} 1",
                "converge_runs_total{verb=\"drift\",result=\"ok\"} 1",
                "converge_runs_total{verb=\"drift\",result=\"unreachable\"} 1",
                "converge_run_duration_seconds_bucket{le=\"2.5\",verb=\"apply\"} 1",
                "converge_run_duration_seconds_count{verb=\"drift\"} 2",
                "converge_hosts{state=\"changed\"} 1",
                "converge_hosts{state=\"pending\"} 0",
                "converge_hosts{state=\"unreachable\"} 1",
                "converge_inventory_valid 1",
                "# EOF",
            ],
        );
    }

    #[test]
    fn drift_is_there_until_it_is_corrected() {
        let mut metrics = Metrics::new("1");
        let looked = |state, corrective| NewsKind::Looked { state, corrective, pending: 1, took: 5 };
        metrics.hear(&news("web1", looked(HostState::Pending, 3)));
        check(&metrics, &["converge_drifted_resources{host=\"web1\"} 3"]);
        let addresses = vec![Address::new(None, "file", "/a"), Address::new(None, "file", "/b")];
        metrics.hear(&news("web1", NewsKind::Corrected { addresses }));
        metrics.hear(&news("web1", looked(HostState::Unreachable, 0)));
        metrics.hear(&news("web1", NewsKind::TickSkipped { skipped: 7 }));
        metrics.hear(&news("", NewsKind::InventoryBroken { mistakes: Vec::new() }));
        check(
            &metrics,
            &[
                "converge_drifted_resources{host=\"web1\"} 1",
                "converge_pending_resources{host=\"web1\"} 1",
                "converge_corrections_total{host=\"web1\"} 2",
                "converge_last_success_timestamp_seconds{host=\"web1\"} 1774746000",
                "converge_ticks_skipped_total 1",
                "converge_inventory_valid 0",
            ],
        );
        metrics.hear(&news("", NewsKind::InventoryReloaded { hosts: 1, mended: true }));
        check(&metrics, &["converge_inventory_valid 1", "converge_corrections_total{host=\"web1\"} 2"]);
        assert!(!metrics.text().contains("converge_drifted_resources{"), "a host may be gone");
    }
}
