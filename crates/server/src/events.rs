//! The daemon's news: one enum for the terminal, `--json`, the metrics and the notifications. The steps of the
//! daemon's runs are reported by their own events (`converge_model::event`). Both are lines of the same stream. The
//! daemon's lines have the type `watch`.
//!
//! The JSON form is public: docs/json.md describes it. [`VERSION`] is its version. Fields are added and never
//! renamed:
//! `{"type":"watch","version":2,"at":"2026-03-29T01:00:00Z","host":"web1","run":"…","event":"corrected","addresses":["file[/etc/motd]"]}`.

use converge_model::{Address, Event, HostName, HostState, RunId};
use jiff::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the format. It is the version of `--json`.
pub const VERSION: u16 = 2;

/// One message of the daemon.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "type", rename = "watch")]
pub struct News {
    /// The version of the format.
    pub version: u16,
    /// The time by the controller's clock.
    pub at: Timestamp,
    /// The host that the news is about. None if it is about the daemon itself.
    pub host: Option<HostName>,
    /// The id of the run that found it.
    pub run: Option<RunId>,
    /// The kind, with its details.
    #[serde(flatten)]
    pub watch: NewsKind,
}

/// The kind of news, with its details. It never has a value of a resource, only addresses and names of properties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "event", rename_all = "kebab-case")]
pub enum NewsKind {
    /// The daemon starts to watch this number of hosts.
    Started {
        /// How many hosts have a mode other than `ignore`.
        hosts: u32,
    },
    /// A look at a host, or an act on it, ended. Every tick that is not skipped ends in one of these.
    Looked {
        /// The state of the host. `Pending` after a look without an act, if something differs.
        state: HostState,
        /// How many resources have drifted.
        #[serde(rename = "drifted")]
        corrective: u32,
        /// How many resources wait for an apply, because the inventory is new there.
        pending: u32,
        /// The duration in milliseconds, by the monotonic clock.
        #[serde(rename = "took-ms")]
        took: u64,
    },
    /// Resources drifted since the last look at the host, or drifted in another way than then.
    DriftFound {
        /// The resources, and the response to each.
        resources: Vec<Drifted>,
    },
    /// Drift was corrected.
    Corrected {
        /// The resources.
        addresses: Vec<Address>,
    },
    /// A look or a correction failed, or the host could not be reached.
    Failed {
        /// The state in which the host's run ended.
        state: HostState,
        /// The reasons, as parts of sentences.
        why: Vec<String>,
        /// The resources whose steps failed.
        addresses: Vec<Address>,
    },
    /// The host is in its last applied state again, after drift that was only reported, a fight, or a failure.
    Recovered {
        /// The resources that had drifted.
        addresses: Vec<Address>,
    },
    /// A resource was corrected too often. It is not corrected any more.
    Fight {
        /// The resource.
        address: Address,
        /// How often it was corrected.
        corrections: u32,
        /// Within how many seconds.
        #[serde(rename = "within-seconds")]
        within: u64,
    },
    /// Too many hosts drifted at the same time. Nothing is corrected until there are fewer.
    TooManyDrifted {
        /// How many hosts have something to correct.
        drifted: u32,
        /// The number of hosts that it is compared with.
        #[serde(rename = "hosts")]
        of: u32,
    },
    /// There are fewer drifted hosts: correction continues.
    CorrectionGoesOn {
        /// How many hosts still have something to correct.
        drifted: u32,
        /// The number of hosts that it is compared with.
        #[serde(rename = "hosts")]
        of: u32,
    },
    /// A look at the host was due while its last run was still active.
    TickSkipped {
        /// How many ticks of this host were skipped so far.
        skipped: u64,
    },
    /// The inventory has mistakes. The last valid one is still used.
    InventoryBroken {
        /// The mistakes, as parts of sentences.
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
    /// The daemon cannot write its memory. It looks at hosts, and corrects nothing until it can write again.
    MemoryBroken {
        /// The reason, as a part of a sentence.
        why: String,
    },
    /// The daemon can write its memory again.
    MemoryMended,
    /// The daemon ends after the running steps.
    Stopping,
}

/// A resource that drifted.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Drifted {
    /// Its address.
    pub address: Address,
    /// The properties that changed.
    pub properties: Vec<String>,
    /// The daemon's response.
    pub response: Response,
}

/// The daemon's response to a resource that drifted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Response {
    /// It is corrected now.
    Corrects,
    /// It is only reported, because of its mode.
    Reports,
    /// It will be corrected in the next maintenance window.
    WaitsForWindow,
    /// The inventory is new there, so an apply decides.
    WaitsForApply,
    /// It was corrected too often.
    GaveUp,
    /// Too many hosts drifted at the same time.
    TooManyDrifted,
    /// A host before this one is not in sync.
    WaitsForHost,
    /// The daemon could not record the correction.
    CannotRemember,
}

impl Response {
    /// All responses, in the order for reports.
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

    /// The words before the resources.
    pub const fn words(self) -> &'static str {
        match self {
            Self::Corrects => "corrects",
            Self::Reports => "reports",
            Self::WaitsForWindow => "waits for a window with",
            Self::WaitsForApply => "waits for an apply with",
            Self::WaitsForHost => "waits for another host with",
            Self::GaveUp => "leaves alone",
            Self::TooManyDrifted => "does not correct (too many hosts drifted)",
            Self::CannotRemember => "does not correct (the daemon cannot write its state)",
        }
    }
}

/// Lists the resources by response for people: `corrects file[/a]; reports file[/b]`. `named` makes the list of
/// addresses for each response.
pub fn responses(resources: &[Drifted], named: impl Fn(&[&Address]) -> String) -> String {
    let part = |response: &Response| {
        let these = resources.iter().filter(|one| one.response == *response);
        let these: Vec<_> = these.map(|one| &one.address).collect();
        (!these.is_empty()).then(|| format!("{} {}", response.words(), named(&these)))
    };
    Response::ALL.iter().filter_map(part).collect::<Vec<_>>().join("; ")
}

/// Returns a number of seconds in the largest unit that divides it: `1 day`, `2 days`, `3 h`, `5 min`, `45 s`.
pub fn span(seconds: u64) -> String {
    match seconds {
        86_400 => "1 day".to_owned(),
        days if days > 0 && days.is_multiple_of(86_400) => format!("{} days", days / 86_400),
        hours if hours > 0 && hours.is_multiple_of(3600) => format!("{} h", hours / 3600),
        minutes if minutes > 0 && minutes.is_multiple_of(60) => format!("{} min", minutes / 60),
        seconds => format!("{seconds} s"),
    }
}

/// A receiver of the news.
pub trait Listener: Send {
    /// Receives news. A slow receiver delays the daemon.
    fn hear(&mut self, news: &News);

    /// Receives an event of one of the daemon's runs. The events of a run come before the news that follow from it.
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
