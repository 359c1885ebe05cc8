//! What the daemon tells: one enum, for the terminal, `--json`, the metrics and the notifications alike. What its runs
//! do step by step is told by their own events (`converge_model::event`); both are lines of the same stream, and those of
//! the daemon are of the type `watch`.
//!
//! The JSON form is public: docs/json.md describes it. It is versioned by [`VERSION`]; fields are added, never renamed:
//! `{"type":"watch","version":2,"at":"2026-03-29T01:00:00Z","host":"web1","run":"…","event":"corrected","addresses":["file[/etc/motd]"]}`.

use converge_model::{Address, Event, HostName, HostState, RunId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format: that of `--json`.
pub const VERSION: u16 = 2;

/// One thing that the daemon tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "watch")]
pub struct News {
    /// The version of the format.
    pub version: u16,
    /// When, by the controller's clock.
    pub at: Timestamp,
    /// The host that it speaks of; none where it is the daemon itself.
    pub host: Option<HostName>,
    /// The run in which it showed, as the history knows it.
    pub run: Option<RunId>,
    /// What happened.
    #[serde(flatten)]
    pub watch: NewsKind,
}

/// What happened. Nothing in it holds a value of a resource: addresses and names of properties alone.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NewsKind {
    /// The daemon watches so many hosts from now on.
    Started {
        /// How many of them have a mode other than `ignore`.
        hosts: u32,
    },
    /// A look at a host ended, or an act on it. Every tick that is not skipped ends in one of these.
    Looked {
        /// How. `Pending` after a look alone where something differs.
        state: HostState,
        /// How many resources drifted: the host moved.
        #[serde(rename = "drifted")]
        corrective: u32,
        /// How many wait for an apply: the inventory asks for something new.
        pending: u32,
        /// Milliseconds, by the monotonic clock.
        #[serde(rename = "took-ms")]
        took: u64,
    },
    /// Resources drifted that had not when the host was last looked at, or otherwise than then.
    DriftFound {
        /// The resources, and what is done about each.
        resources: Vec<Drifted>,
    },
    /// Drift was put back.
    Corrected {
        /// The resources.
        addresses: Vec<Address>,
    },
    /// A look or a correction failed, or the host was not reached.
    Failed {
        /// How the run of the host ended.
        state: HostState,
        /// Why, as fragments.
        why: Vec<String>,
        /// The resources whose steps failed.
        addresses: Vec<Address>,
    },
    /// The host is as it was last applied again, after drift that was only reported, a fight, or a failure.
    Recovered {
        /// The resources that had drifted.
        addresses: Vec<Address>,
    },
    /// A resource was corrected again and again, and is left alone from now on.
    Fight {
        /// The resource.
        address: Address,
        /// How often it was corrected.
        corrections: u32,
        /// Within how many seconds.
        #[serde(rename = "within-seconds")]
        within: u64,
    },
    /// Too many hosts drifted at once: nothing is corrected until there are fewer.
    TooManyDrifted {
        /// On how many hosts something is to be put back.
        drifted: u32,
        /// Of how many.
        #[serde(rename = "hosts")]
        of: u32,
    },
    /// There are fewer: correction goes on.
    CorrectionGoesOn {
        /// On how many hosts something is to be put back still.
        drifted: u32,
        /// Of how many.
        #[serde(rename = "hosts")]
        of: u32,
    },
    /// It was time to look at the host, and the last run was still at work there.
    TickSkipped {
        /// How many ticks of this host were skipped so far.
        skipped: u64,
    },
    /// The inventory has mistakes. The last good one stays in force.
    InventoryBroken {
        /// The mistakes, as fragments.
        mistakes: Vec<String>,
    },
    /// The inventory was read again.
    InventoryReloaded {
        /// How many hosts it has.
        hosts: u32,
        /// Whether it had mistakes before.
        #[serde(default)]
        mended: bool,
    },
    /// What the daemon remembers cannot be written down: hosts are looked at, and nothing is put back until it can.
    MemoryBroken {
        /// Why, as a fragment.
        why: String,
    },
    /// It can again.
    MemoryMended,
    /// The daemon ends after the steps in hand.
    Stopping,
}

/// A resource that drifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drifted {
    /// Its address.
    pub address: Address,
    /// The properties that moved.
    pub properties: Vec<String>,
    /// What is done about it.
    pub response: Response,
}

/// What the daemon does about a resource that drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It is put back now.
    Corrects,
    /// It is reported: its mode says so.
    Reports,
    /// It would be put back, outside a maintenance window it is not.
    WaitsForWindow,
    /// The inventory asks for something new there: an apply decides.
    WaitsForApply,
    /// It was corrected again and again.
    GaveUp,
    /// Too many hosts drifted at once.
    TooManyDrifted,
    /// A host that comes before this one is not as it should be.
    WaitsForHost,
    /// The daemon could not remember that it put it back.
    CannotRemember,
}

impl Response {
    /// All of them, in the order in which people want to read of them.
    pub const ALL: [Self; 8] = [
        Self::Corrects,
        Self::Reports,
        Self::WaitsForWindow,
        Self::WaitsForApply,
        Self::WaitsForHost,
        Self::GaveUp,
        Self::TooManyDrifted,
        Self::CannotRemember,
    ];

    /// What is said before the resources.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Corrects => "puts back",
            Self::Reports => "reports",
            Self::WaitsForWindow => "waits for a window with",
            Self::WaitsForApply => "waits for an apply with",
            Self::WaitsForHost => "waits for another host with",
            Self::GaveUp => "leaves alone",
            Self::TooManyDrifted => "leaves, as too many hosts drifted,",
            Self::CannotRemember => "leaves, as it cannot remember what it does,",
        }
    }
}

/// The resources by what is done about them, as a person reads it: `puts back file[/a]; reports file[/b]`. Of each, `named`
/// makes a list.
pub fn responses(resources: &[Drifted], named: impl Fn(&[&Address]) -> String) -> String {
    let part = |response: &Response| {
        let these = resources.iter().filter(|one| one.response == *response);
        let these: Vec<_> = these.map(|one| &one.address).collect();
        (!these.is_empty()).then(|| format!("{} {}", response.words(), named(&these)))
    };
    Response::ALL.iter().filter_map(part).collect::<Vec<_>>().join("; ")
}

/// A span of seconds in the largest unit that fits: `1 day`, `2 days`, `3 h`, `5 min`, `45 s`.
pub fn span(seconds: u64) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        days if days > 0 && days.is_multiple_of(86_400) => format!("{} days", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3600) => format!("{} h", hours / 3600),
        minutes if minutes > 0 && minutes.is_multiple_of(60) => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

/// Who hears the news.
pub trait Listener: Send {
    /// Something happened. Whoever is slow holds the daemon up.
    fn hear(&mut self, news: &News);

    /// Something happened in a run of the daemon's. The events of a run come before the news that follow from it.
    fn event(&mut self, _event: &Event) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn news_reads_well_as_json() {
        let news = News {
            version: VERSION,
            at: "2026-03-29T01:00:00Z".parse().unwrap(),
            host: Some(HostName::new("web1").unwrap()),
            run: None,
            watch: NewsKind::DriftFound {
                resources: vec![Drifted {
                    address: Address::new(None, "file", "/etc/motd"),
                    properties: vec!["content".to_owned()],
                    response: Response::WaitsForWindow,
                }],
            },
        };
        let json = serde_json::to_string(&news).unwrap();
        assert_eq!(
            json,
            r#"{"type":"watch","version":2,"at":"2026-03-29T01:00:00Z","host":"web1","run":null,"event":"drift-found","resources":[{"address":"file[/etc/motd]","properties":["content"],"response":"waits-for-window"}]}"#
        );
        assert_eq!(serde_json::from_str::<News>(&json).unwrap(), news);
    }

    #[test]
    fn nothing_takes_news_for_an_event_of_a_run() {
        let stopping = News {
            version: VERSION,
            at: Timestamp::UNIX_EPOCH,
            host: None,
            run: None,
            watch: NewsKind::Stopping,
        };
        let json = serde_json::to_string(&stopping).unwrap();
        assert!(serde_json::from_str::<Event>(&json).is_err());
    }
}
