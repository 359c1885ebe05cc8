//! `cargo xtask testbed`: starts test hosts for manual use. They stay up until the user takes them down.

use std::process::ExitCode;
use std::time::Instant;

use clap::Subcommand;
use converge_tests::testbed::{Error, Lifetime, Testbed, together};

use crate::say;

/// The default bed.
const HAND: &str = "hand";

/// Boots real Debian hosts on this machine, to try things on.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    action: Action,
    /// Name of the bed: hosts on a network of their own.
    #[arg(long, global = true, default_value = HAND)]
    bed: String,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// Boots hosts: a count (`3` for h1, h2 and h3) or their names; running hosts are not changed.
    Up {
        #[arg(required = true, value_name = "COUNT|NAME")]
        hosts: Vec<String>,
    },
    /// Ends all hosts of the bed.
    Down {
        /// End every bed that no other process uses.
        #[arg(long)]
        all: bool,
    },
    /// Shows every bed with its hosts.
    Status,
    /// Gives hosts a fresh disk and boots them; without names, all.
    Reset {
        #[arg(value_name = "NAME")]
        hosts: Vec<String>,
    },
    /// Opens a shell on a host as `admin`, or runs a command there.
    Ssh {
        name: String,
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        command: Vec<String>,
    },
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    let bed = &arguments.bed;
    match arguments.action {
        Action::Up { hosts } => up(bed, &hosts)?,
        Action::Down { all: true } => down_all()?,
        Action::Down { all: false } => down(bed)?,
        Action::Status => status()?,
        Action::Reset { hosts } => reset(bed, &hosts)?,
        Action::Ssh { name, command } => return ssh(bed, &name, &command),
    }
    Ok(ExitCode::SUCCESS)
}

fn up(bed: &str, hosts: &[String]) -> Result<(), Error> {
    let started = Instant::now();
    let names = host_names(hosts);
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let testbed = Testbed::kept(bed, &names)?;
    show(&testbed);
    let config = testbed.ssh_config_path();
    say(format_args!("\nUp after {:.1} s. Reach them with", started.elapsed().as_secs_f64()));
    say(format_args!("    ssh -F {} {}", config.display(), names.first().unwrap_or(&"HOST")));
    say(format_args!("    export CONVERGE_SSH_CONFIG={}", config.display()));
    Ok(())
}

/// Returns the names of the hosts. A single number is a count.
fn host_names(words: &[String]) -> Vec<String> {
    match words {
        [count] if count.bytes().all(|byte| byte.is_ascii_digit()) => {
            (1..=count.parse().unwrap_or(u16::MAX)).map(|number| format!("h{number}")).collect()
        }
        names => names.to_vec(),
    }
}

fn down(bed: &str) -> Result<(), Error> {
    match Testbed::find(bed)? {
        Some(testbed) => testbed.down(),
        None => {
            say(format_args!("no bed {bed} is up"));
            Ok(())
        }
    }
}

fn down_all() -> Result<(), Error> {
    for testbed in Testbed::all()? {
        let name = testbed.name().to_owned();
        match testbed.down() {
            Err(error @ Error::InUse { .. }) => say(error),
            other => {
                other?;
                say(format_args!("{name}: down"));
            }
        }
    }
    Ok(())
}

fn status() -> Result<(), Error> {
    let beds = Testbed::all()?;
    if beds.is_empty() {
        say("no bed is up");
    }
    beds.iter().for_each(show);
    Ok(())
}

fn show(testbed: &Testbed) {
    let lifetime = match testbed.lifetime() {
        Lifetime::Kept => "until taken down",
        Lifetime::Process => "until its process ends",
    };
    say(format_args!("{} ({lifetime})  {}", testbed.name(), testbed.ssh_config_path().display()));
    for host in testbed.hosts() {
        let state = if host.is_running() { "up" } else { "off" };
        say(format_args!("    {:<12} {:<14} {state}", host.name(), host.address()));
    }
}

fn reset(bed: &str, names: &[String]) -> Result<(), Error> {
    let testbed = Testbed::kept(bed, &[])?;
    let hosts = match names {
        [] => testbed.hosts().iter().collect::<Vec<_>>(),
        names => names.iter().map(|name| testbed.host(name)).collect::<Result<_, _>>()?,
    };
    together(&hosts, |host| host.reset())
}

fn ssh(bed: &str, name: &str, words: &[String]) -> Result<ExitCode, Error> {
    let unknown = || Error::UnknownHost { host: name.to_owned(), bed: bed.to_owned() };
    let testbed = Testbed::find(bed)?.ok_or_else(unknown)?;
    let code = testbed.host(name)?.attach(words)?;
    Ok(ExitCode::from(code))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_single_number_is_a_count() {
        let check = |words: &[&str], expected: &[&str]| {
            let words: Vec<String> = words.iter().map(|&word| word.to_owned()).collect();
            assert_eq!(host_names(&words), expected);
        };
        check(&["3"], &["h1", "h2", "h3"]);
        check(&["web1", "db1"], &["web1", "db1"]);
        check(&["1", "2"], &["1", "2"]);
        check(&["0"], &[]);
    }
}
