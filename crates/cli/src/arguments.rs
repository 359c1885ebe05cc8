//! The options that several commands share, as the user writes them. Nothing here reads a file or a terminal. The
//! commands resolve the options.

use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use converge_history::Retention;
use converge_lang::Selection;
use converge_model::wire::Guard;

/// Which project.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct ProjectArguments {
    /// Inventory: a .kdl file or a folder; default: as in converge.kdl
    ///
    /// The converge.kdl is the nearest one, in this folder or above it.
    #[arg(value_name = "INVENTORY")]
    pub(crate) inventory: Option<PathBuf>,
    /// Override a variable; takes precedence over all files (`--set limits.open_files=4096`)
    #[arg(long = "set", value_name = "NAME=VALUE", value_parser = assignment)]
    pub(crate) sets: Vec<(String, String)>,
    #[command(flatten)]
    pub(crate) identity: IdentityArguments,
}

/// Which private keys, beside those at the usual places.
#[derive(Clone, Debug, Default, Args)]
pub(crate) struct IdentityArguments {
    /// File with an age or ssh key that opens secrets; tried before your other keys
    #[arg(
        id = "identity",
        long,
        value_name = "FILE",
        env = "CONVERGE_IDENTITY",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) files: Vec<PathBuf>,
}

/// Which hosts of which project, and how they are reached.
#[derive(Clone, Debug, Args)]
pub(crate) struct FleetArguments {
    #[command(flatten)]
    pub(crate) project: ProjectArguments,
    #[command(flatten)]
    pub(crate) hosts: HostArguments,
    #[command(flatten)]
    pub(crate) reach: ReachArguments,
}

/// The subject of a run.
#[derive(Clone, Debug, Args)]
pub(crate) struct RunArguments {
    #[command(flatten)]
    pub(crate) fleet: FleetArguments,
    #[command(flatten)]
    pub(crate) again: AgainArguments,
    #[command(flatten)]
    pub(crate) resources: ResourceArguments,
    #[command(flatten)]
    pub(crate) strict: StrictArguments,
}

/// The fate of a host with a resource that cannot be planned.
#[derive(Clone, Copy, Debug, Default, Args)]
pub(crate) struct StrictArguments {
    /// Skip a host if one of its resources cannot be planned; default: skip the later resources of its `on`
    #[arg(id = "strict", long = "strict", hide_short_help = true)]
    pub(crate) is_strict: bool,
}

/// Which hosts.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct HostArguments {
    /// Only these hosts: names, groups, ranges, `*`, `!not`
    ///
    /// Commas separate patterns; `a & b` means the hosts that match both.
    #[arg(short, long, value_name = "PATTERN")]
    pub(crate) limit: Vec<String>,
}

/// Which hosts, by what became of them.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct AgainArguments {
    /// Only hosts that failed in an earlier run: its id (or the first characters), or `last`
    #[arg(long, value_name = "RUN")]
    pub(crate) failed_from: Option<String>,
}

/// How long runs are kept.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "History")]
pub(crate) struct HistoryArguments {
    /// Time that the history keeps runs; it always keeps the last 100 runs
    #[arg(long, value_name = "TIME", default_value = "90d", value_parser = duration, env = "CONVERGE_KEEP_HISTORY", hide_env_values = true, hide_short_help = true)]
    keep_history: Duration,
    /// Maximum number of runs in the history
    #[arg(long, value_name = "N", default_value_t = Retention::default().runs, env = "CONVERGE_KEEP_RUNS", hide_env_values = true, hide_short_help = true)]
    keep_runs: u32,
}

/// Which resources.
#[derive(Clone, Debug, Default, Args)]
#[command(next_help_heading = "Selection")]
pub(crate) struct ResourceArguments {
    /// Only resources with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',')]
    tags: Vec<String>,
    /// Skip resources with one of these tags
    #[arg(long, value_name = "TAG", value_delimiter = ',', hide_short_help = true)]
    skip_tags: Vec<String>,
    /// Only this resource or module, as in `service[nginx]`
    #[arg(long, value_name = "ADDRESS")]
    only: Vec<String>,
    /// Skip this resource or module
    #[arg(long, value_name = "ADDRESS", hide_short_help = true)]
    skip: Vec<String>,
}

/// The protection against a lock-out.
#[derive(Clone, Copy, Debug, Args)]
#[command(next_help_heading = "Access")]
pub(crate) struct GuardArguments {
    /// Time for a new login after a step that could lock you out; without a login, the host reverts it
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = window, hide_short_help = true)]
    confirm_timeout: Duration,
    /// Allow steps that could cause a lock-out, even if the host cannot revert them by itself
    #[arg(long, hide_short_help = true)]
    accept_irreversible: bool,
}

/// How hosts are reached.
#[derive(Clone, Debug, Args)]
#[command(next_help_heading = "Connections")]
pub(crate) struct ReachArguments {
    /// Maximum number of hosts that are connected at a time
    #[arg(long, value_name = "N", default_value_t = 256, value_parser = clap::builder::RangedU64ValueParser::<usize>::new().range(1..=10_000), hide_short_help = true)]
    pub(crate) parallel: usize,
    /// Use this ssh_config in place of your own
    #[arg(
        long,
        value_name = "FILE",
        env = "CONVERGE_SSH_CONFIG",
        hide_env_values = true,
        hide_short_help = true
    )]
    pub(crate) ssh_config: Option<PathBuf>,
    /// Time that connections stay open after a run; 0 closes them
    #[arg(long, value_name = "TIME", default_value = "60s", value_parser = duration, hide_short_help = true)]
    pub(crate) keep_connections: Duration,
    /// Ask for the password of sudo, doas or su on the hosts
    #[arg(long, conflicts_with = "become_pass_fd", hide_short_help = true)]
    pub(crate) ask_become_pass: bool,
    /// Read the password of sudo, doas or su from this file descriptor
    #[arg(long, value_name = "N", hide_short_help = true)]
    pub(crate) become_pass_fd: Option<u32>,
}

impl HistoryArguments {
    /// Returns the limits for the history.
    pub(crate) fn retention(&self) -> Retention {
        Retention { age: self.keep_history, runs: self.keep_runs }
    }
}

impl ResourceArguments {
    /// Returns the selection of resources.
    pub(crate) fn selection(&self) -> Selection {
        let Self { tags, skip_tags, only, skip } = self.clone();
        Selection { tags, skip_tags, only, skip }
    }
}

impl GuardArguments {
    /// Returns the settings of the guard.
    pub(crate) fn guard(self) -> Guard {
        let seconds = self.confirm_timeout.as_secs() as u32;
        Guard { seconds, accept_irreversible: self.accept_irreversible }
    }
}

/// Parses the time for the confirmation: long enough for a login, short enough to wait for.
fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    if (5..=3600).contains(&window.as_secs()) { Ok(window) } else { Err("must be from 5s to 1h".to_owned()) }
}

fn assignment(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.to_owned(), value.to_owned())),
        _ => Err("write it as NAME=VALUE".to_owned()),
    }
}

/// Parses a time with its unit: `90s`, `5m`, `1h`, `7d`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, unit) = text.split_at(digits);
    let factor = match unit {
        "s" => 1,
        "m" => 60,
        "h" => 3600,
        "d" => 24 * 3600,
        "" if number == "0" => 1,
        _ => return Err("write a time as `90s`, `5m`, `1h` or `7d`, or 0".to_owned()),
    };
    let number: u32 = number.parse().map_err(|_| "the number is missing or too large".to_owned())?;
    Ok(Duration::from_secs(u64::from(number) * factor))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_have_a_unit() {
        let check = |text: &str, seconds: Option<u64>| {
            assert_eq!(duration(text).ok(), seconds.map(Duration::from_secs), "{text}");
        };
        check("0", Some(0));
        check("90s", Some(90));
        check("5m", Some(300));
        check("2h", Some(7200));
        check("7d", Some(604_800));
        check("90", None);
        check("s", None);
        check("5 m", None);
        check("99999999999s", None);
    }

    #[test]
    fn an_assignment_may_hold_another_sign() {
        assert_eq!(assignment("a.b=c=d"), Ok(("a.b".to_owned(), "c=d".to_owned())));
        assert!(assignment("a").is_err() && assignment("=a").is_err());
    }
}
