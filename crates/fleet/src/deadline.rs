//! The deadline of an act. The controller computes it from the catalog alone, so a host cannot delay it. A ping does
//! not change it, and a step extends it once for each time that the step may run.

use std::collections::{HashMap, HashSet};
use std::time::{Duration, Instant};

use converge_model::{Address, Catalog};

/// How often a resource may start a step: its own, its notified action, and that action again after a failure.
const STARTS: u8 = 3;
/// The slowest connection that the controller waits for when it sends content, in bytes per second.
const SLOWEST: u64 = 64 * 1024;

/// How long the parts of an act may take.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// The time between steps: the look before the first one, and the pause between two.
    pub(crate) look: Duration,
    /// One attempt at a step of any resource. A resource can set a longer timeout.
    pub(crate) step: Duration,
    /// The end of an agent that was told to stop and has no running step.
    pub(crate) stop: Duration,
}

/// The deadline of one act.
pub(crate) struct Deadline {
    limits: Limits,
    began: Instant,
    until: Instant,
    steps: HashMap<Address, Allowed>,
    in_hand: HashSet<Address>,
    is_stopping: bool,
}

/// The time that a resource may still use.
struct Allowed {
    time: Duration,
    starts: u8,
}

impl Deadline {
    /// Creates the deadline of an act under `catalog` that begins `now`. The look has twice its time, because it may
    /// first have to settle what an earlier run left.
    pub(crate) fn new(catalog: &Catalog, limits: Limits, now: Instant) -> Self {
        let step = |options: &converge_model::Options| {
            let own = options.timeout.map_or(Duration::ZERO, Duration::from_millis);
            own.saturating_add(limits.step).saturating_mul(options.retries.saturating_add(1))
        };
        let resources = catalog.resources.iter();
        let allowed = |resource: &converge_model::Resource| {
            (resource.address.clone(), Allowed { time: step(&resource.options), starts: STARTS })
        };
        Self {
            limits,
            began: now,
            until: later(now, limits.look * 2),
            steps: resources.map(allowed).collect(),
            in_hand: HashSet::new(),
            is_stopping: false,
        }
    }

    /// When the controller gives up the host.
    pub(crate) fn until(&self) -> Instant {
        self.until
    }

    /// Returns what was not done in time, and after how many seconds.
    pub(crate) fn missed(&self, now: Instant) -> (String, u64) {
        let mut steps: Vec<&str> = self.in_hand.iter().map(Address::as_str).collect();
        steps.sort_unstable();
        let what = steps.first().map_or("the act", |step| step);
        (what.to_owned(), now.saturating_duration_since(self.began).as_secs())
    }

    /// Call when a step begins.
    pub(crate) fn started(&mut self, address: &Address, now: Instant) {
        let Some(allowed) = self.steps.get_mut(address).filter(|allowed| allowed.starts > 0) else { return };
        allowed.starts -= 1;
        let time = allowed.time;
        self.in_hand.insert(address.clone());
        self.extend(now, time);
    }

    /// Call when a step ends. A look at everything may come next.
    pub(crate) fn finished(&mut self, address: &Address, now: Instant) {
        if !self.in_hand.remove(address) {
            return;
        }
        self.extend(now, self.limits.look);
        self.hasten(now);
    }

    /// Extends the deadline for content of `length` bytes that is sent.
    pub(crate) fn sends(&mut self, length: u64) {
        self.until = later(self.until, Duration::from_secs(length / SLOWEST));
    }

    /// Call when the agent was told to stop after the running steps.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.is_stopping = true;
        self.hasten(now);
    }

    fn extend(&mut self, now: Instant, time: Duration) {
        self.until = self.until.max(later(now, time));
    }

    fn hasten(&mut self, now: Instant) {
        if self.is_stopping && self.in_hand.is_empty() {
            self.until = self.until.min(later(now, self.limits.stop));
        }
    }
}

/// Returns `time` after `at`, limited to one year so that the sum cannot overflow.
fn later(at: Instant, time: Duration) -> Instant {
    const LATEST: Duration = Duration::from_secs(365 * 24 * 3600);
    at + time.min(LATEST)
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::catalog::Body;
    use converge_model::{HostName, Options, Params, Resource, SecretTable};

    const LIMITS: Limits = Limits {
        look: Duration::from_secs(600),
        step: Duration::from_secs(7200),
        stop: Duration::from_secs(30),
    };

    fn address(name: &str) -> Address {
        Address::new(None, "command", name)
    }

    fn catalog(resources: &[(&str, Options)]) -> Catalog {
        let resource = |(name, options): &(&str, Options)| Resource {
            address: address(name),
            aliases: Vec::new(),
            kind: "command".into(),
            params: Params::default(),
            claims: Vec::new(),
            bodies: vec![0],
            after: Vec::new(),
            notify: Vec::new(),
            options: options.clone(),
        };
        Catalog {
            host: HostName::new("web1").unwrap(),
            project: "shop".into(),
            resources: resources.iter().map(resource).collect(),
            bodies: vec![Body { name: "on \"web\"".into() }],
            settled: Vec::new(),
            secrets: SecretTable::default(),
        }
    }

    fn seconds(deadline: &Deadline) -> u64 {
        deadline.until().duration_since(deadline.began).as_secs()
    }

    fn after(deadline: &Deadline, seconds: u64) -> Instant {
        deadline.began + Duration::from_secs(seconds)
    }

    #[test]
    fn a_deadline_is_that_of_the_look_until_a_step_begins() {
        let mut deadline = Deadline::new(&catalog(&[("a", Options::default())]), LIMITS, Instant::now());
        assert_eq!(seconds(&deadline), 1200);
        deadline.started(&address("elsewhere"), after(&deadline, 10));
        assert_eq!(seconds(&deadline), 1200, "a step that is not in the catalog moves nothing");
        deadline.started(&address("a"), after(&deadline, 10));
        assert_eq!(seconds(&deadline), 7210);
        assert_eq!(deadline.missed(after(&deadline, 7210)), ("command[a]".to_owned(), 7210));
    }

    #[test]
    fn a_deadline_grows_with_what_a_resource_says_of_itself() {
        let slow = Options { timeout: Some(3_600_000), retries: 1, ..Options::default() };
        let mut deadline = Deadline::new(&catalog(&[("a", slow)]), LIMITS, Instant::now());
        deadline.started(&address("a"), after(&deadline, 0));
        assert_eq!(seconds(&deadline), 2 * (3600 + 7200));
        let endless = Options { timeout: Some(u64::MAX), retries: u32::MAX, ..Options::default() };
        let mut deadline = Deadline::new(&catalog(&[("a", endless)]), LIMITS, Instant::now());
        deadline.started(&address("a"), after(&deadline, 0));
        assert!(seconds(&deadline) > 1_000_000);
    }

    #[test]
    fn a_deadline_is_not_pushed_away_by_a_host_that_repeats_itself() {
        let two = catalog(&[("a", Options::default()), ("b", Options::default())]);
        let mut deadline = Deadline::new(&two, LIMITS, Instant::now());
        for second in (0..1_000_000).step_by(100) {
            let now = after(&deadline, second);
            if now >= deadline.until() {
                break;
            }
            for name in ["a", "b", "c"] {
                deadline.started(&address(name), now);
                deadline.finished(&address(name), now);
            }
        }
        assert!(seconds(&deadline) <= 6 * (7200 + 600) + 1200, "{}", seconds(&deadline));
    }

    #[test]
    fn a_deadline_leaves_time_for_content_on_a_slow_line() {
        let mut deadline = Deadline::new(&catalog(&[]), LIMITS, Instant::now());
        deadline.sends(64 * 1024 * 100);
        assert_eq!(seconds(&deadline), 1300);
    }

    #[test]
    fn a_deadline_is_near_once_the_agent_is_told_to_stop_and_no_step_is_in_hand() {
        let mut deadline = Deadline::new(&catalog(&[("a", Options::default())]), LIMITS, Instant::now());
        deadline.started(&address("a"), after(&deadline, 0));
        deadline.stop(after(&deadline, 5));
        assert_eq!(seconds(&deadline), 7200, "the step in hand has its time");
        deadline.finished(&address("a"), after(&deadline, 100));
        assert_eq!(seconds(&deadline), 130);
        let mut idle = Deadline::new(&catalog(&[]), LIMITS, Instant::now());
        idle.stop(after(&idle, 5));
        assert_eq!(seconds(&idle), 35);
    }
}
