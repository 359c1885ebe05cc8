//! The settings of drift: what the daemon does about it, and when it looks. They are merged property by property, by
//! precedence. The daemon turns them into times, because it knows clocks and time zones.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use converge_model::catalog::DriftMode;
use serde::{Serialize, Serializer};

use crate::settings::rollout::Share;

/// The daemon's settings for a host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct DriftPolicy {
    /// The interval between looks; in seconds if shown as data. None means: the daemon's own setting.
    #[serde(serialize_with = "seconds")]
    pub every: Option<Duration>,
    /// The time over which the looks of several hosts are spread.
    #[serde(serialize_with = "seconds")]
    pub splay: Option<Duration>,
    /// The action of the daemon on drift.
    pub mode: DriftMode,
    /// The schedule of looks, as a line of cron. It wins over `every`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cron: Option<String>,
    /// The time zone of `cron` and of the windows, by its IANA name. None means: the daemon's own zone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub zone: Option<String>,
    /// The times at which drift may be corrected. An empty list means: always.
    #[serde(rename = "window", skip_serializing_if = "Vec::is_empty")]
    pub windows: Vec<Window>,
    /// The number of drifted hosts above which the daemon corrects nothing any more.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub max_share: Option<Share>,
    /// The number of corrections of a resource within `fight_within` after which the daemon leaves it alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fight_after: Option<u32>,
    /// The period in which corrections of one resource are counted; in seconds if shown as data.
    #[serde(serialize_with = "seconds", skip_serializing_if = "Option::is_none")]
    pub fight_within: Option<Duration>,
}

/// Returns a drift mode by its name.
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

/// A time of day on some days of the week, in local time: `mon-fri 22:00-05:00`. If the end is before the start, it
/// ends on the next day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Window {
    /// The days on which it starts, from Monday.
    pub days: [bool; 7],
    /// The start, in minutes after midnight.
    pub from: u16,
    /// The end, in minutes after midnight, at most 1440.
    pub to: u16,
}

/// The error for a text that is not a window: the mistake, as a fragment.
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
            times.split_once('-').ok_or_else(|| WindowError(format!("`{times}` is not a span of time")))?;
        let (from, to) = (minutes(from)?, minutes(to)?);
        if from == to || from == MINUTES {
            return Err(WindowError(format!("`{times}` begins and ends at the same time")));
        }
        Ok(Self { days, from, to })
    }
}

fn days(text: &str) -> Result<[bool; 7], WindowError> {
    let day = |name: &str| {
        let found = DAYS.iter().position(|day| *day == name.trim().to_ascii_lowercase());
        found.ok_or_else(|| WindowError(format!("`{name}` is not a day of the week")))
    };
    let mut days = [false; 7];
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (day(first)?, day(last)?);
        // A range may cross the end of the week, such as Saturday to Monday.
        (0..=(last + 7 - first) % 7).for_each(|more| days[(first + more) % 7] = true);
    }
    Ok(days)
}

fn minutes(text: &str) -> Result<u16, WindowError> {
    let number = |digits: &str| digits.parse::<u16>().ok().filter(|_| digits.len() == 2);
    let parsed = text.split_once(':').and_then(|(hours, minutes)| Some((number(hours)?, number(minutes)?)));
    match parsed {
        Some((hours, minutes)) if minutes < 60 && hours * 60 + minutes <= MINUTES => Ok(hours * 60 + minutes),
        _ => Err(WindowError(format!("`{text}` is not a time of the day"))),
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
        check("sometimes", "`sometimes` is not a span of time");
        check("2:00-4:00", "`2:00` is not a time of the day");
        check("02:00-24:01", "`24:01` is not a time of the day");
        check("02:60-04:00", "`02:60` is not a time of the day");
        check("02:00-02:00", "`02:00-02:00` begins and ends at the same time");
        check("24:00-02:00", "`24:00-02:00` begins and ends at the same time");
        check("someday 02:00-03:00", "`someday` is not a day of the week");
    }
}
