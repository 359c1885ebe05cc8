//! Computes when a host is due and when drift may be corrected there. It takes the policy and the current time and
//! returns times. It never waits and never reads the clock.

use std::str::FromStr;
use std::time::Duration;

use converge_lang::{DriftPolicy, Window};
use converge_model::{Digest, HostName};
use croner::Cron;
use jiff::civil::{Time, Weekday};
use jiff::tz::TimeZone;
use jiff::{SignedDuration, Timestamp, ToSpan, Zoned};

/// The shortest time between two looks at a host.
const SHORTEST: Duration = Duration::from_secs(1);

/// The schedule of one host.
#[derive(Clone, Debug)]
pub struct Schedule {
    rule: Rule,
    /// The delay of this host relative to other hosts.
    offset: SignedDuration,
    zone: TimeZone,
    windows: Vec<Window>,
}

#[derive(Clone, Debug)]
enum Rule {
    /// At multiples of this time since the epoch, so that a restarted daemon keeps the same times.
    Every(SignedDuration),
    Cron(Box<Cron>),
}

/// Why a policy has no valid schedule.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ScheduleError {
    /// This machine's database does not have the zone.
    #[error("there is no time zone `{0}`")]
    Zone(String),
    /// The line of cron is invalid, or its times never come.
    #[error("the cron line `{0}` matches no time in the future")]
    Cron(String),
}

impl Schedule {
    /// Creates the schedule of `host` from its policy. `every` is used if the policy does not say.
    ///
    /// # Errors
    /// [`ScheduleError`] if the zone is unknown here or the line of cron never comes true.
    pub fn new(host: &HostName, policy: &DriftPolicy, every: Duration) -> Result<Self, ScheduleError> {
        let zone = match &policy.zone {
            None => TimeZone::system(),
            Some(name) => TimeZone::get(name).map_err(|_| ScheduleError::Zone(name.clone()))?,
        };
        let rule = match &policy.cron {
            None => Rule::Every(signed(policy.every.unwrap_or(every).max(SHORTEST))),
            Some(line) => {
                let cron = Cron::from_str(line).map_err(|_| ScheduleError::Cron(line.clone()))?;
                Rule::Cron(Box::new(cron))
            }
        };
        let schedule =
            Self { rule, offset: offset(host, policy.splay), zone, windows: policy.windows.clone() };
        match schedule.next(Timestamp::UNIX_EPOCH) {
            Some(_) => Ok(schedule),
            None => Err(ScheduleError::Cron(policy.cron.clone().unwrap_or_default())),
        }
    }

    /// Returns the first due time after `now`. None if there is no other.
    pub fn next(&self, now: Timestamp) -> Option<Timestamp> {
        // Compute without the offset, and add it at the end.
        let from = now.checked_sub(self.offset).ok()?;
        let due = match &self.rule {
            Rule::Every(every) => {
                let (from, every) = (from.as_millisecond(), every.as_millis() as i64);
                Timestamp::from_millisecond((from.div_euclid(every) + 1) * every).ok()?
            }
            Rule::Cron(cron) => {
                cron.find_next_occurrence(&from.to_zoned(self.zone.clone()), false).ok()?.timestamp()
            }
        };
        due.checked_add(self.offset).ok()
    }

    /// Returns the first due time of a new host: soon, with its usual offset.
    pub fn first(&self, now: Timestamp) -> Timestamp {
        now.checked_add(self.offset).unwrap_or(now)
    }

    /// Whether drift may be corrected at `now`.
    pub fn is_open(&self, now: Timestamp) -> bool {
        let local = now.to_zoned(self.zone.clone());
        self.windows.is_empty() || self.windows.iter().any(|window| contains(window, &local))
    }

    /// Returns when the next window opens after `now`. None if there are no windows.
    pub fn opening(&self, now: Timestamp) -> Option<Timestamp> {
        let today = now.to_zoned(self.zone.clone()).date();
        let days = (0..=7_i64).filter_map(|ahead| today.checked_add(ahead.days()).ok());
        let opens = days.flat_map(|day| {
            let windows = self.windows.iter().filter(move |window| begins_on(window, day.weekday()));
            windows.filter_map(move |window| {
                Some(day.to_datetime(time(window.from)?).to_zoned(self.zone.clone()).ok()?.timestamp())
            })
        });
        opens.filter(|opens| *opens > now).min()
    }
}

fn signed(duration: Duration) -> SignedDuration {
    SignedDuration::try_from(duration).unwrap_or(SignedDuration::MAX)
}

/// Returns the host's part of the splay. It is always the same, on every machine.
fn offset(host: &HostName, splay: Option<Duration>) -> SignedDuration {
    let millis = splay.map_or(0, |splay| splay.as_millis() as u64);
    let digest = Digest::of(host.as_str().as_bytes());
    let number = digest.as_bytes().iter().take(8).fold(0_u64, |number, byte| number << 8 | u64::from(*byte));
    SignedDuration::from_millis((number % millis.max(1)) as i64)
}

fn contains(window: &Window, local: &Zoned) -> bool {
    let minute = local.hour() as u16 * 60 + local.minute() as u16;
    let today = begins_on(window, local.weekday());
    if window.from < window.to {
        return today && (window.from..window.to).contains(&minute);
    }
    let yesterday = begins_on(window, local.weekday().previous());
    (today && minute >= window.from) || (yesterday && minute < window.to)
}

fn begins_on(window: &Window, day: Weekday) -> bool {
    window.days[usize::from(day.to_monday_zero_offset().unsigned_abs())]
}

fn time(minute: u16) -> Option<Time> {
    Time::new((minute / 60) as i8, (minute % 60) as i8, 0, 0).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(text: &str) -> Timestamp {
        text.parse().unwrap()
    }

    fn schedule(policy: DriftPolicy) -> Result<Schedule, ScheduleError> {
        Schedule::new(&HostName::new("web1").unwrap(), &policy, Duration::from_secs(1800))
    }

    fn cron(line: &str) -> DriftPolicy {
        let zone = Some("Europe/Berlin".to_owned());
        DriftPolicy { cron: Some(line.to_owned()), zone, ..DriftPolicy::default() }
    }

    /// Checks the due times of `policy` after `from`.
    fn check(policy: DriftPolicy, from: &str, expected: &[&str]) {
        let schedule = schedule(policy).unwrap();
        let mut now = at(from);
        for due in expected {
            now = schedule.next(now).unwrap();
            assert_eq!(now, at(due));
        }
    }

    #[test]
    fn intervals_keep_the_beat_whenever_the_daemon_was_started() {
        let every =
            |seconds| DriftPolicy { every: Some(Duration::from_secs(seconds)), ..DriftPolicy::default() };
        check(
            DriftPolicy::default(),
            "2026-01-01T10:07:03Z",
            &["2026-01-01T10:30:00Z", "2026-01-01T11:00:00Z"],
        );
        check(every(600), "2026-01-01T10:10:00Z", &["2026-01-01T10:20:00Z", "2026-01-01T10:30:00Z"]);
        check(every(0), "2026-01-01T10:10:00Z", &["2026-01-01T10:10:01Z"]);
        let berlin = DriftPolicy { zone: Some("Europe/Berlin".to_owned()), ..every(3600) };
        check(berlin, "2026-10-25T00:30:00Z", &["2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"]);
    }

    #[test]
    fn a_line_of_cron_means_the_clock_on_the_wall() {
        check(cron("0 3 * * *"), "2026-01-01T10:00:00Z", &["2026-01-02T02:00:00Z", "2026-01-03T02:00:00Z"]);
        check(cron("0 3 * * *"), "2026-07-01T10:00:00Z", &["2026-07-02T01:00:00Z"]);
        check(
            cron("*/20 8-9 * * mon"),
            "2026-01-05T08:30:00Z",
            &["2026-01-05T08:40:00Z", "2026-01-12T07:00:00Z"],
        );
    }

    #[test]
    fn a_clock_that_is_set_back_or_forward_brings_each_due_time_once() {
        // The time 2:30 does not exist on the first day, and comes twice on the second.
        let spring = schedule(cron("30 2 * * *")).unwrap();
        let first = spring.next(at("2026-03-28T12:00:00Z")).unwrap();
        let second = spring.next(first).unwrap();
        assert!(first >= at("2026-03-29T01:00:00Z") && first <= at("2026-03-29T01:30:00Z"), "{first}");
        assert_eq!(second, at("2026-03-30T00:30:00Z"));
        check(cron("30 2 * * *"), "2026-10-24T12:00:00Z", &["2026-10-25T00:30:00Z", "2026-10-26T01:30:00Z"]);
    }

    #[test]
    fn hosts_are_spread_and_each_is_always_late_by_the_same() {
        let policy = || DriftPolicy { splay: Some(Duration::from_secs(300)), ..DriftPolicy::default() };
        let due = |name: &str| {
            let host = HostName::new(name).unwrap();
            let schedule = Schedule::new(&host, &policy(), Duration::from_secs(1800)).unwrap();
            let (first, second) =
                (schedule.next(at("2026-01-01T09:50:00Z")).unwrap(), at("2026-01-01T10:10:00Z"));
            assert_eq!(schedule.next(second).unwrap().duration_since(first), SignedDuration::from_mins(30));
            assert_eq!(schedule.first(second).duration_since(second), schedule.offset);
            first
        };
        let dues: std::collections::BTreeSet<_> = (1..=20).map(|n| due(&format!("web{n}"))).collect();
        assert_eq!(dues.len(), 20);
        let latest = at("2026-01-01T10:05:00Z");
        assert!(dues.iter().all(|due| *due >= at("2026-01-01T10:00:00Z") && *due < latest), "{dues:?}");
        assert_eq!(due("web1"), due("web1"));
    }

    #[test]
    fn windows_go_over_midnight_and_over_the_end_of_the_week() {
        let check = |windows: &[&str], now: &str, open: bool, opening: Option<&str>| {
            let windows = windows.iter().map(|text| text.parse().unwrap()).collect();
            let zone = Some("Europe/Berlin".to_owned());
            let schedule = schedule(DriftPolicy { windows, zone, ..DriftPolicy::default() }).unwrap();
            assert_eq!(schedule.is_open(at(now)), open, "{now}");
            assert_eq!(schedule.opening(at(now)), opening.map(at), "{now}");
        };
        check(&[], "2026-01-05T00:00:00Z", true, None);
        // A Monday, 2:00 in Berlin.
        let monday = "2026-01-05T01:00:00Z";
        check(&["02:00-04:00"], monday, true, Some("2026-01-06T01:00:00Z"));
        check(&["sun 22:00-05:00"], monday, true, Some("2026-01-11T21:00:00Z"));
        check(&["mon 22:00-05:00"], monday, false, Some("2026-01-05T21:00:00Z"));
        check(&["mon 02:01-24:00"], monday, false, Some("2026-01-05T01:01:00Z"));
        check(&["tue 00:00-24:00", "sat 01:00-02:00"], monday, false, Some("2026-01-05T23:00:00Z"));
        check(&["mon 00:00-02:00"], monday, false, Some("2026-01-11T23:00:00Z"));
    }

    #[test]
    fn what_never_comes_and_zones_that_are_nowhere_are_errors() {
        let policy = |zone: &str, line: &str| DriftPolicy { zone: Some(zone.to_owned()), ..cron(line) };
        let error = |policy| schedule(policy).unwrap_err().to_string();
        assert_eq!(error(policy("Europe/Atlantis", "0 3 * * *")), "there is no time zone `Europe/Atlantis`");
        assert!(error(policy("UTC", "0 3 30 2 *")).contains("`0 3 30 2 *` matches no time in the future"));
        assert!(schedule(policy("UTC", "@daily")).is_ok());
    }
}
