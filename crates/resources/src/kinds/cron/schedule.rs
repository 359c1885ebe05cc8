//! The schedule of a cron job: crontab(5), with cron's own checks.

use std::fmt;

use converge_model::ParamProblem;

use crate::wish::Reader;

/// The schedule as written in the file.
pub(super) enum Schedule {
    /// `@daily`.
    Special(String),
    /// The five fields.
    Fields([String; 5]),
}

/// A field: its range of numbers, and the names for some of them.
pub(super) struct Field {
    pub(super) name: &'static str,
    pub(super) doc: &'static str,
    range: (u8, u8),
    names: &'static [&'static str],
}

/// The special words instead of the fields.
pub(super) const SPECIAL: [&str; 8] =
    ["reboot", "yearly", "annually", "monthly", "weekly", "daily", "midnight", "hourly"];

/// The fields in line order. The first name stands for the first number of the range.
pub(super) const FIELDS: [Field; 5] = [
    Field { name: "minute", doc: "Minute, 0 to 59; default: every minute", range: (0, 59), names: &[] },
    Field { name: "hour", doc: "Hour, 0 to 23; default: every hour", range: (0, 23), names: &[] },
    Field { name: "day", doc: "Day of the month, 1 to 31; default: every day", range: (1, 31), names: &[] },
    Field {
        name: "month",
        doc: "Month, 1 to 12 or `jan` to `dec`; default: every month",
        range: (1, 12),
        names: &["jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec"],
    },
    Field {
        name: "weekday",
        doc: "Day of the week, 0 to 7 or `sun` to `sat` (0 and 7 are Sunday); default: every day",
        range: (0, 7),
        names: &["sun", "mon", "tue", "wed", "thu", "fri", "sat"],
    },
];

impl Schedule {
    /// Reads and checks `special` and the five fields.
    pub(super) fn decode(params: &mut Reader<'_>) -> Self {
        let special = params.text("special");
        let written = FIELDS.each_ref().map(|field| params.has(field.name));
        let fields = FIELDS.each_ref().map(|field| {
            let text = params.text(field.name).unwrap_or_else(|| "*".to_owned());
            if let Err(why) = field.check(&text) {
                params.problem(ParamProblem::new(field.name, why));
            }
            text
        });
        let Some(special) = special else { return Self::Fields(fields) };
        if written.contains(&true) {
            params.problem(ParamProblem::new("special", "must not be set together with the five fields"));
        }
        if !SPECIAL.contains(&special.as_str()) {
            params.problem(ParamProblem::new("special", format!("must be one of {}", SPECIAL.join(", "))));
        }
        Self::Special(special)
    }
}

impl fmt::Display for Schedule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Special(word) => write!(f, "@{word}"),
            Self::Fields(fields) => write!(f, "{}", fields.join(" ")),
        }
    }
}

impl Field {
    /// Checks a list of `*`, `N` and `N-M`. `*` and `N-M` may have a step.
    fn check(&self, text: &str) -> Result<(), String> {
        text.split(',').try_for_each(|item| self.check_item(item).map_err(|why| format!("{text:?}: {why}")))
    }

    fn check_item(&self, item: &str) -> Result<(), String> {
        let (range, step) = match item.split_once('/') {
            Some((range, step)) => (range, Some(step)),
            None => (item, None),
        };
        let single = match range.split_once('-') {
            _ if range == "*" => false,
            Some((from, to)) => {
                let (from, to) = (self.number(from)?, self.number(to)?);
                if from > to {
                    return Err(format!("{range} must end after its start"));
                }
                false
            }
            None => self.number(range).map(|_| true)?,
        };
        match step.map(str::parse::<u8>) {
            None => Ok(()),
            Some(_) if single => Err(format!("{item} must have a range before its step")),
            Some(Ok(step)) if step > 0 && step <= self.range.1 => Ok(()),
            Some(_) => Err(format!("{item} must have a step from 1 to {}", self.range.1)),
        }
    }

    fn number(&self, text: &str) -> Result<u8, String> {
        let (from, to) = self.range;
        if let Some(at) = self.names.iter().position(|name| name.eq_ignore_ascii_case(text)) {
            return Ok(from + at as u8);
        }
        let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
        let number = digits.then(|| text.parse::<u8>().ok()).flatten().filter(|n| (from..=to).contains(n));
        number.ok_or_else(|| format!("{text:?} must be from {from} to {to}"))
    }
}
