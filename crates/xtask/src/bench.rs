//! `cargo xtask bench`: measures runs that change nothing and compares them with a plain login. All rows are measured
//! in one session and in turns, so that other load on the machine affects all alike. First it measures acts that
//! change much: [`acts`].
//!
//! Times depend on the machine and are never part of the tests. Numbers that can be counted are tested in
//! `tests/tests/forty.rs` and `crates/fleet/tests/hosts/cost.rs`.

mod acts;

use std::fs;
use std::io;
use std::path::PathBuf;
use std::process::{Command, ExitCode, Stdio};
use std::time::{Duration, Instant};

use converge_tests::act;
use converge_tests::project::Project;
use converge_tests::testbed::{self, Testbed, python_tool};

use crate::say;
use crate::test::{cargo, release_binary, root};

/// How long connections are kept for rows that need an open one.
const KEPT: &str = "10m";

/// Measures runs that change nothing against logins, on test hosts of its own.
#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Number of measurements of each row, after one warm-up.
    #[arg(long, default_value_t = 15)]
    rounds: usize,
    /// Number of hosts in the rows of several hosts.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u16).range(1..=100))]
    hosts: u16,
    /// Key exchange of all logins; default: the one that ssh and sshd agree on.
    #[arg(long, value_name = "NAME")]
    key_exchange: Option<String>,
    /// Also measure Ansible on the same resources.
    #[arg(long)]
    peers: bool,
    /// Measure acts in a folder alone, and boot no hosts.
    #[arg(long)]
    acts: bool,
    /// Agent for the acts; default: a new build.
    #[arg(long, value_name = "PATH")]
    agent: Option<PathBuf>,
    /// File for all single measurements.
    #[arg(long, default_value = "target/bench.csv")]
    csv: PathBuf,
}

/// Why nothing could be measured.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Error {
    #[error("{0}")]
    Testbed(#[from] testbed::Error),
    #[error("{0}")]
    Act(#[from] act::Error),
    #[error("{0}: {1}")]
    Start(String, io::Error),
    #[error("{0}: {1}")]
    Failed(String, String),
    #[error("failed to write {0}: {1}")]
    Csv(String, io::Error),
}

pub(crate) fn run(arguments: Arguments) -> Result<ExitCode, Error> {
    acts::measure(arguments.agent.clone())?;
    if arguments.acts {
        return Ok(ExitCode::SUCCESS);
    }
    finish("cargo build --release", cargo().args(["build", "--release", "--package", "converge-cli"]))?;
    let names: Vec<String> = (1..=arguments.hosts).map(|number| format!("h{number}")).collect();
    let testbed = Testbed::up(&names.iter().map(String::as_str).collect::<Vec<_>>())?;
    let bench = Bench::new(&testbed, names, arguments)?;
    bench.converge_hosts()?;
    let rows = bench.rows()?;
    bench.describe()?;
    let measured = bench.measure(&rows)?;
    table(&rows, &measured);
    bench.write_csv(&rows, &measured)?;
    Ok(ExitCode::SUCCESS)
}

/// One measured row: programs that run at the same time, until the last one has ended.
struct Row {
    name: String,
    /// The index of the row that it is compared with.
    floor: usize,
    programs: Vec<Words>,
}

/// The hosts, their projects, and the options.
struct Bench {
    forty: Project,
    thousand: Project,
    names: Vec<String>,
    ssh_config: PathBuf,
    arguments: Arguments,
}

impl Bench {
    fn new(testbed: &Testbed, names: Vec<String>, arguments: Arguments) -> Result<Self, Error> {
        let written = |error| Error::Start("failed to write a project".to_owned(), error);
        let forty = Project::forty(names.len(), testbed).map_err(written)?;
        let thousand = Project::thousand(testbed).map_err(written)?;
        let exchange = arguments.key_exchange.iter().map(|name| format!("KexAlgorithms {name}\n"));
        let config =
            exchange.collect::<String>() + &format!("Include {}\n", testbed.ssh_config_path().display());
        forty.write("ssh_config", config).map_err(written)?;
        let ssh_config = forty.path("ssh_config");
        Ok(Self { forty, thousand, names, ssh_config, arguments })
    }

    /// Brings the hosts in sync, so that every later run changes nothing.
    fn converge_hosts(&self) -> Result<(), Error> {
        for project in [&self.forty, &self.thousand] {
            for arguments in [&["apply", "--yes"][..], &["plan", "--detailed-exitcode"]] {
                finish("converge", self.converge(project).args(arguments))?;
            }
        }
        Ok(())
    }

    fn rows(&self) -> Result<Vec<Row>, Error> {
        let many = self.names.len();
        let first = &self.names[..1];
        let plan = |name: &str, floor, project: &Project, hosts: &str, keep: &str| {
            let program = Words::of(&self.converge(project));
            let words = ["plan", "--limit", hosts, "--keep-connections", keep];
            row(name, floor, vec![program.with(&words)])
        };
        let all = "forty";
        let mut rows = vec![
            row("ssh HOST true", 0, self.logins(first)),
            plan("plan, 40 resources", 0, &self.forty, "h1", "0"),
            plan("plan, 1000 resources", 0, &self.thousand, "h1", "0"),
            plan("plan, 40 resources, kept connection", 0, &self.forty, "h1", KEPT),
            plan("plan, 1000 resources, kept connection", 0, &self.thousand, "h1", KEPT),
            row(&format!("ssh HOST true, {many} at once"), 5, self.logins(&self.names)),
            plan(&format!("plan, 40 resources, {many} hosts"), 5, &self.forty, all, "0"),
            plan(&format!("plan, 40 resources, {many} hosts, kept connections"), 5, &self.forty, all, KEPT),
        ];
        if self.arguments.peers {
            rows.push(row(
                "ansible-playbook --check, the same 40, kept connection",
                0,
                vec![self.ansible()?],
            ));
        }
        Ok(rows)
    }

    fn converge(&self, project: &Project) -> Command {
        let mut command = project.program(release_binary());
        command.env("CONVERGE_SSH_CONFIG", &self.ssh_config);
        command
    }

    /// Returns a login command for each of `hosts`.
    fn logins(&self, hosts: &[String]) -> Vec<Words> {
        let ssh = Words::of(self.forty.program("ssh").arg("-F").arg(&self.ssh_config));
        hosts.iter().map(|host| ssh.with(&[host, "true"])).collect()
    }

    /// Returns Ansible in the configuration that its users recommend: pipelining, and connections that stay open
    /// between tasks and runs.
    fn ansible(&self) -> Result<Words, Error> {
        let programs = python_tool("ansible==12.3.0")?;
        let mut ansible = self.forty.program(programs.join("ansible-playbook"));
        ansible.arg("playbook.yml").args(["--check", "--inventory", "h1,"]);
        ansible.arg(format!("--ssh-common-args=-F {}", self.ssh_config.display()));
        ansible.env("LC_ALL", "C.UTF-8").env("ANSIBLE_PYTHON_INTERPRETER", "/usr/bin/python3");
        ansible.env("ANSIBLE_PIPELINING", "true");
        ansible.env("ANSIBLE_SSH_ARGS", "-o ControlMaster=auto -o ControlPersist=60s");
        Ok(Words::of(&ansible))
    }

    /// Prints the versions and settings that the figures depend on.
    fn describe(&self) -> Result<(), Error> {
        let mut login = self.forty.program("ssh");
        let seen = login.arg("-v").arg("-F").arg(&self.ssh_config).args(["h1", "true"]).output();
        let seen = seen.map_err(|error| Error::Start("ssh".to_owned(), error))?;
        let told = String::from_utf8_lossy(&seen.stderr).into_owned();
        let after =
            |mark: &str| told.lines().find_map(|line| line.split_once(mark).map(|(_, rest)| rest.to_owned()));
        let unknown = || "unknown".to_owned();
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        say(format_args!("key exchange: {}", after("kex: algorithm: ").unwrap_or_else(unknown)));
        say(format_args!("client: {}", told.lines().next().unwrap_or_default()));
        say(format_args!("server: {}", after("remote software version ").unwrap_or_else(unknown)));
        say(format_args!("cores, for both sides: {cores}; load: {}", load()));
        Ok(())
    }

    /// Measures every row once per round. The first round is a warm-up and does not count.
    fn measure(&self, rows: &[Row]) -> Result<Vec<Vec<Duration>>, Error> {
        let mut measured = vec![Vec::new(); rows.len()];
        for round in 0..=self.arguments.rounds {
            for (row, measured) in rows.iter().zip(&mut measured) {
                let took = time(row)?;
                (round > 0).then(|| measured.push(took));
            }
        }
        say(format_args!("load at the end: {}", load()));
        Ok(measured)
    }

    fn write_csv(&self, rows: &[Row], measured: &[Vec<Duration>]) -> Result<(), Error> {
        let path = root().join(&self.arguments.csv);
        let lines = rows.iter().zip(measured).flat_map(|(row, measured)| {
            let line = |(round, took): (usize, &Duration)| {
                format!("\"{}\",{},{:.1}\n", row.name, round + 1, milliseconds(*took))
            };
            measured.iter().enumerate().map(line)
        });
        let text = "what,round,milliseconds\n".to_owned() + &lines.collect::<String>();
        fs::write(&path, text).map_err(|error| Error::Csv(path.display().to_string(), error))?;
        say(format_args!("\nEvery measurement: {}", path.display()));
        Ok(())
    }
}

/// A command that can be started many times.
struct Words {
    words: Vec<std::ffi::OsString>,
    environment: Vec<(std::ffi::OsString, std::ffi::OsString)>,
    folder: Option<PathBuf>,
}

impl Words {
    fn of(command: &Command) -> Self {
        let words = std::iter::once(command.get_program()).chain(command.get_args());
        let set = command.get_envs().filter_map(|(name, value)| Some((name.to_owned(), value?.to_owned())));
        Self {
            words: words.map(ToOwned::to_owned).collect(),
            environment: set.collect(),
            folder: command.get_current_dir().map(ToOwned::to_owned),
        }
    }

    fn with(&self, more: &[&str]) -> Self {
        let words = self.words.iter().cloned().chain(more.iter().map(Into::into)).collect();
        Self { words, environment: self.environment.clone(), folder: self.folder.clone() }
    }

    fn command(&self) -> Command {
        let mut command = Command::new(&self.words[0]);
        command.args(&self.words[1..]).env_clear().envs(self.environment.iter().cloned());
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        if let Some(folder) = &self.folder {
            command.current_dir(folder);
        }
        command
    }
}

fn row(name: &str, floor: usize, programs: Vec<Words>) -> Row {
    Row { name: name.to_owned(), floor, programs }
}

/// Measures how long a row takes: all of its programs run at the same time, and each must succeed.
fn time(row: &Row) -> Result<Duration, Error> {
    let start = |error| Error::Start(row.name.clone(), error);
    let mut commands: Vec<Command> = row.programs.iter().map(Words::command).collect();
    let began = Instant::now();
    let running: Vec<_> = commands.iter_mut().map(Command::spawn).collect::<Result<_, _>>().map_err(start)?;
    for mut child in running {
        let status = child.wait().map_err(start)?;
        if !status.success() {
            return Err(Error::Failed(row.name.clone(), status.to_string()));
        }
    }
    Ok(began.elapsed())
}

fn finish(name: &str, command: &mut Command) -> Result<(), Error> {
    let ended = command.output().map_err(|error| Error::Start(name.to_owned(), error))?;
    if ended.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&ended.stdout).into_owned() + &String::from_utf8_lossy(&ended.stderr);
    Err(Error::Failed(name.to_owned(), said))
}

fn table(rows: &[Row], measured: &[Vec<Duration>]) {
    say(format_args!("\n{:<56} {:>9} {:>9} {:>9} {:>8}", "", "median", "best", "worst", "x floor"));
    for (row, all) in rows.iter().zip(measured) {
        let ratio = median(all).as_secs_f64() / median(&measured[row.floor]).as_secs_f64();
        let best = all.iter().min().copied().unwrap_or_default();
        let worst = all.iter().max().copied().unwrap_or_default();
        let [middle, best, worst] = [median(all), best, worst].map(milliseconds);
        say(format_args!("{:<56} {middle:>6.0} ms {best:>6.0} ms {worst:>6.0} ms {ratio:>8.2}", row.name));
    }
}

fn median(all: &[Duration]) -> Duration {
    let mut sorted = all.to_vec();
    sorted.sort_unstable();
    match sorted.len() {
        0 => Duration::ZERO,
        count if count % 2 == 1 => sorted[count / 2],
        count => (sorted[count / 2 - 1] + sorted[count / 2]) / 2,
    }
}

fn milliseconds(time: Duration) -> f64 {
    time.as_secs_f64() * 1000.0
}

fn load() -> String {
    let read = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    read.split_whitespace().take(3).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_stands_in_the_middle() {
        let check = |seconds: &[u64], expected: Duration| {
            assert_eq!(
                median(&seconds.iter().copied().map(Duration::from_secs).collect::<Vec<_>>()),
                expected
            );
        };
        check(&[], Duration::ZERO);
        check(&[3], Duration::from_secs(3));
        check(&[9, 1, 2], Duration::from_secs(2));
        check(&[4, 1, 2, 9], Duration::from_secs(3));
    }

    #[test]
    fn a_row_ends_with_its_last_program_and_fails_with_any() {
        let words = |program: &str| Words::of(&Command::new(program));
        assert!(time(&row("two", 0, vec![words("true"), words("true")])).is_ok());
        assert!(matches!(time(&row("two", 0, vec![words("true"), words("false")])), Err(Error::Failed(..))));
        assert!(matches!(time(&row("none", 0, vec![words("no-such-program")])), Err(Error::Start(..))));
    }

    #[test]
    fn words_keep_where_and_how_a_program_runs() {
        let mut command = Command::new("echo");
        command.arg("a").env("NAME", "value").current_dir("/");
        let again = Words::of(&command).with(&["b"]).command();
        assert_eq!(again.get_args().collect::<Vec<_>>(), ["a", "b"]);
        assert_eq!(again.get_current_dir(), Some(std::path::Path::new("/")));
        assert!(again.get_envs().any(|(name, value)| name == "NAME" && value == Some("value".as_ref())));
    }
}
