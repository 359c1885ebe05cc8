//! What is done when a host drifts, and when it is looked at: settings that are merged property by property, nearest
//! first. When that comes to is the daemon's, which knows clocks and time zones.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use converge_model::catalog::DriftMode;
use serde::{Serialize, Serializer};

use crate::settings::rollout::Share;

/// What the daemon does about a host, and how often it looks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriftPolicy {
    /// How often to look, in seconds where it is shown as data; none: as the daemon is told.
    #[serde(serialize_with = "seconds")]
    pub every: Option<Duration>,
    /// By how much the looks of several hosts are spread.
    #[serde(serialize_with = "seconds")]
    pub splay: Option<Duration>,
    /// What to do about what drifted.
    pub mode: DriftMode,
    /// When to look, as a line of cron; wins over `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron` and of the windows, by its IANA name; none: that of the daemon.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// When drift may be put back; always where there is none.
    #[serde(rename = "window", skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// How many of the watched hosts may have drifted before nothing is put back any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_share: Option<Share>,
    /// How often a resource is put back within `fight_within` before it is left alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fight_after: Option<u32>,
    /// The time in which corrections of one resource are counted, in seconds where it is shown as data.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub fight_within: Option<Duration>,
}

/// A drift mode by its name.
pub(crate) fn drift_mode(name: &str) -> Option<DriftMode> {
    match name {
        "correct" => Some(DriftMode::Correct),
        "report" => Some(DriftMode::Report),
        "ignore" => Some(DriftMode::Ignore),
        _ => None,
    }
}

fn seconds<S: Serializer>(duration: &Option<Duration>, serializer: S) -> Result<S::Ok, S::Error> {
    match duration {
        Some(duration) => serializer.serialize_some(&duration.as_secs_f64()),
        None => serializer.serialize_none(),
    }
}

/// A time of the day on some days of the week, by a clock on the wall: `mon-fri 22:00-05:00`. One that ends before it
/// begins goes on into the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it begins, from Monday on.
    pub days: [bool; 7],
    /// When it begins, in minutes from midnight.
    pub from: u16,
    /// When it ends, in minutes from midnight, at most 1440.
    pub to: u16,
}

/// A text that is no window: what is wrong with it, as a fragment.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct WindowError(String);

const DAYS: [&str; 7] = ["mon", "tue", "wed", "thu", "fri", "sat", "sun"];
const MINUTES: u16 = 24 * 60;

impl FromStr for Window {
    type Err = WindowError;

    fn from_str(text: &str) -> Result<Self, WindowError> {
        let (days, times) = match text.trim().rsplit_once(' ') {
            Some((days, times)) => (self::days(days)?, times),
            None => ([true; 7], text.trim()),
        };
        let (from, to) =
            times.split_once('-').ok_or_else(|| WindowError(format!("`{times}` is no span of time")))?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == MINUTES {
            return Err(WindowError(format!("`{times}` begins where it ends")));
        }
        Ok(Self { days, from, to })
    }
}

fn days(text: &str) -> Result<[bool; 7], WindowError> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| *day == name.trim().to_ascii_lowercase());
        found.ok_or_else(|| WindowError(format!("`{name}` is no day of the week")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // From Saturday to Monday is over the end of the week.
        (0..=(last + 7 - first) % 7).for_each(|more| days[(first + more) % 7] = true);
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u16, WindowError> {
    let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.len() == 2);
    let parsed = text.split_once(':').and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)));
    match parsed {
        Some((hours, minutes)) if minutes < 60 && hours * 60 + minutes <= MINUTES => Ok(hours * 60 + minutes),
        _ => Err(WindowError(format!("`{text}` is no time of the day"))),
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let days: Vec<_> = DAYS.iter().zip(self.days).filter(|(_, on)| *on).map(|(day, _)| *day).collect();
        if days.len() < DAYS.len() {
            write!(f, "{} ", days.join(","))?;
        }
        let (from, to) = (self.from, self.to);
        write!(f, "{:02}:{:02}-{:02}:{:02}", from / 60, from % 60, to / 60, to % 60)
    }
}

impl Serialize for Window {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_window_is_days_and_a_time_of_the_day() {
        let check = |text: &str, shown: &str| match text.parse::<Window>() {
            Ok(window) => assert_eq!(window.to_string(), shown, "{text}"),
            Err(error) => assert_eq!(error.to_string(), shown, "{text}"),
        };
        check("02:00-04:30", "02:00-04:30");
        check("mon-fri 22:00-05:00", "mon,tue,wed,thu,fri 22:00-05:00");
        check("Sat, Sun 00:00-24:00", "sat,sun 00:00-24:00");
        check("sat-mon 01:00-02:00", "mon,sat,sun 01:00-02:00");
        check("mon,wed-thu 01:00-02:00", "mon,wed,thu 01:00-02:00");
        check("sometimes", "`sometimes` is no span of time");
        check("2:00-4:00", "`2:00` is no time of the day");
        check("02:00-24:01", "`24:01` is no time of the day");
        check("02:60-04:00", "`02:60` is no time of the day");
        check("02:00-02:00", "`02:00-02:00` begins where it ends");
        check("24:00-02:00", "`24:00-02:00` begins where it ends");
        check("someday 02:00-03:00", "`someday` is no day of the week");
    }
}
