//! Packages by apt. Installed and available packages are read from files. `apt-get -s` simulates a transaction, and
//! one run of `apt-get` carries it out.
//!
//! No program ever asks a question: not debconf, not for configuration files (the host's own stay), not needrestart.
//! needrestart only lists services, so that none restarts that the plan does not name.

pub mod dpkg;
pub mod lists;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use rustix::process::{Flock, FlockType};

use crate::system::backend::Backend;
use crate::system::files::Files;
use crate::system::packages::apt::dpkg::Database;
use crate::system::packages::apt::lists::Lists;
use crate::system::packages::{
    Allowance, EntryPackages, Features, Manager, Open, PackageError, PackageGoal, PackageRequest,
    PackageTable, Packages, Providers, Simulation, Upkeep, resolve,
};
use crate::system::processes::{Command, Finished, Processes};
use crate::wish::Text;

/// The packages of a host with dpkg and apt.
pub struct Apt {
    files: Arc<Files>,
    processes: Arc<dyn Processes>,
    lists: Mutex<Option<Read>>,
    patience: Duration,
    /// Until when a look waits for transactions of other programs. The first one that it meets sets the time.
    deadline: OnceLock<Instant>,
}

/// Lists that were read, with the time of the host's lists at that moment.
struct Read {
    mark: Option<SystemTime>,
    lists: Option<Arc<Lists>>,
}

/// How long to wait for the lock of another transaction.
const PATIENCE: Duration = Duration::from_secs(600);

/// The interval at which a held lock is checked again.
const GLANCE: Duration = Duration::from_millis(100);

/// How long a look waits in total for running transactions. A state that it reads meanwhile would soon be wrong, and
/// half a transaction looks like an interrupted one.
const LOOK_PATIENCE: Duration = Duration::from_secs(20);

/// The timeout of a transaction.
const TRANSACTION: Duration = Duration::from_secs(1800);

/// How much of apt's output is parsed, in bytes.
const SAID: usize = 4 * 1024 * 1024;

impl Apt {
    /// Returns the packages of the host with these files and processes.
    pub fn new(files: Arc<Files>, processes: Arc<dyn Processes>) -> Self {
        Self { files, processes, lists: Mutex::new(None), patience: PATIENCE, deadline: OnceLock::new() }
    }

    fn database(&self) -> Result<Database, PackageError> {
        self.let_end();
        Database::read(&self.files)?.ok_or(PackageError::Unsupported)
    }

    /// Waits until a transaction of another program ends. Example: one whose agent was killed continues alone.
    fn let_end(&self) {
        while self.holder(&CHANGE_LOCKS).is_some()
            && Instant::now() < *self.deadline.get_or_init(|| Instant::now() + LOOK_PATIENCE)
        {
            std::thread::sleep(GLANCE);
        }
    }

    /// Returns when the lists were last refreshed. apt makes and removes files in one of these folders each time.
    fn fetched(&self) -> io::Result<Option<SystemTime>> {
        let lists = self.files.modified(Path::new("/var/lib/apt/lists"))?;
        let partial = self.files.modified(Path::new("/var/lib/apt/lists/partial"))?;
        // Without that folder, apt has never refreshed here. An image may have an empty folder for the lists.
        Ok(partial.and(lists.max(partial)))
    }

    /// Returns when the sources were last changed.
    fn sources_changed(&self) -> io::Result<Option<SystemTime>> {
        let folder = Path::new("/etc/apt/sources.list.d");
        let mut newest =
            self.files.modified(Path::new("/etc/apt/sources.list"))?.max(self.files.modified(folder)?);
        let names = match self.files.list(folder) {
            Ok(names) => names,
            Err(error) if error.kind() == io::ErrorKind::NotFound => Vec::new(),
            Err(error) => return Err(error),
        };
        for name in names {
            newest = newest.max(self.files.modified(&folder.join(name))?);
        }
        Ok(newest)
    }

    /// Returns the lists as apt would use them. They are read again only if they changed. None if apt must be asked.
    fn lists(&self, architecture: &str) -> Result<Option<Arc<Lists>>, PackageError> {
        let mark = self.fetched()?;
        if self.sources_changed()? > mark {
            return Ok(None);
        }
        let mut known = self.lists.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(read) = known.as_ref().filter(|read| read.mark == mark) {
            return Ok(read.lists.clone());
        }
        let lists = Lists::read(&self.files, architecture)?.map(Arc::new);
        *known = Some(Read { mark, lists: lists.clone() });
        Ok(lists)
    }

    /// Runs a command of the package manager. Returns how it ended, and its output.
    fn run(
        &self,
        words: Vec<String>,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(Finished, String), PackageError> {
        let mut command = Command::new(words);
        command.environment =
            ENVIRONMENT.map(|(name, value)| (name.to_owned(), Text::Plain(value.to_owned()))).to_vec();
        command.timeout = TRANSACTION;
        let mut said = Vec::new();
        let finished = self.processes.run(&command, &mut |line| {
            if said.len() + line.len() <= SAID {
                said.extend_from_slice(line);
            }
            output(line);
        });
        let finished = finished.map_err(|error| PackageError::Failed { what: error.to_string() })?;
        Ok((finished, String::from_utf8_lossy(&said).into_owned()))
    }

    /// Like [`Apt::run`], but a failure is an error.
    fn must(&self, words: Vec<String>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        let program = words.first().cloned().unwrap_or_default();
        let (finished, said) = self.run(words, output)?;
        if finished.success() { Ok(()) } else { Err(failure(&program, finished.code, &said)) }
    }

    /// Like [`Apt::must`]. For a package in no list, the error names the most similar one.
    fn install(&self, words: Vec<String>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        let (finished, said) = self.run(words, output)?;
        if finished.success() {
            return Ok(());
        }
        let architecture = self.database()?.architecture;
        let lists = self.lists(&architecture)?;
        let nearest = unknown_names(&said).into_iter().find_map(|name| lists.as_ref()?.nearest(name));
        Err(match (failure("apt-get", finished.code, &said), nearest) {
            (PackageError::Failed { what }, Some(name)) => {
                PackageError::Failed { what: format!("{what}; is {name} meant?") }
            }
            (error, _) => error,
        })
    }

    /// Adds what one batch would do. Packages in no list are left out of it.
    fn simulate_batch(&self, mut batch: Batch<'_>, into: &mut Simulation) -> Result<(), PackageError> {
        loop {
            let words = batch.install();
            if words.is_empty() {
                return Ok(());
            }
            let (finished, said) =
                self.run(apt_get(&["--simulate"], &batch.options(), &words), &mut |_| {})?;
            if finished.success() {
                said.lines().for_each(|line| read_step(line, into));
                return Ok(());
            }
            let unknown = unknown_names(&said);
            let before = batch.requests.len();
            batch.requests.retain(|request| !unknown.contains(&request.name.as_str()));
            if batch.requests.len() == before {
                return Err(failure("apt-get", finished.code, &said));
            }
            into.unknown.extend(unknown.into_iter().map(str::to_owned));
        }
    }

    fn simulate_autoremove(&self) -> Result<Simulation, PackageError> {
        let (finished, said) = self.run(autoremove(&["--simulate"]), &mut |_| {})?;
        if !finished.success() {
            return Err(failure("apt-get", finished.code, &said));
        }
        let mut simulation = Simulation::default();
        said.lines().for_each(|line| read_step(line, &mut simulation));
        Ok(simulation)
    }

    /// Compares what a batch would do now with what is allowed. For packages in no list, the transaction itself
    /// reports the error.
    fn check_batch(&self, batch: &Batch<'_>, allowed: &Allowance) -> Result<(), PackageError> {
        let mut simulation = Simulation::default();
        self.simulate_batch(batch.clone(), &mut simulation)?;
        allowed.check(&simulation)
    }

    /// Waits until none of the locks at `paths` is held, and reports a holder.
    fn wait_for(&self, paths: &[&str], output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        let started = Instant::now();
        let mut told = None;
        while let Some(holder) = self.holder(paths) {
            let waited = started.elapsed();
            if waited >= self.patience {
                return Err(PackageError::Locked { holder, waited });
            }
            if told.is_none_or(|at: Instant| at.elapsed() > Duration::from_secs(30)) {
                output(format!("waiting for {holder}, which holds the package lock\n").as_bytes());
                told = Some(Instant::now());
            }
            std::thread::sleep(GLANCE);
        }
        Ok(())
    }

    /// Returns the holder of the first held lock at `paths`.
    fn holder(&self, paths: &[&str]) -> Option<String> {
        paths.iter().find_map(|path| self.holder_of(path))
    }

    /// Returns the holder of the lock at `path`: name and process number. A lock that cannot be read is left to apt.
    fn holder_of(&self, path: &str) -> Option<String> {
        let file = self.files.open(Path::new(path)).ok()?;
        let lock = rustix::process::fcntl_getlk(&file, &Flock::from(FlockType::WriteLock)).ok()??;
        let Some(pid) = lock.pid else { return Some("another process".to_owned()) };
        let pid = pid.as_raw_nonzero();
        let name = std::fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        let name = if name.trim().is_empty() { "process" } else { name.trim() };
        Some(format!("{name} ({pid})"))
    }
}

/// Turns off all questions; the defaults are used. The programs ucf and needrestart read the variables whose names
/// begin with `UCF` and `NEEDRESTART`.
const ENVIRONMENT: [(&str, &str); 6] = [
    ("DEBIAN_FRONTEND", "noninteractive"),
    ("DEBCONF_NONINTERACTIVE_SEEN", "true"),
    ("APT_LISTCHANGES_FRONTEND", "none"),
    ("UCF_FORCE_CONFFOLD", "1"),
    ("NEEDRESTART_MODE", "l"),
    ("NEEDRESTART_UI", "NeedRestart::UI::stdio"),
];

/// The locks of programs that change packages: that of apt, and that of dpkg. dpkg keeps its lock if the apt-get that
/// started it is killed.
const CHANGE_LOCKS: [&str; 2] = ["/var/lib/dpkg/lock-frontend", "/var/lib/dpkg/lock"];
const LISTS_LOCK: &str = "/var/lib/apt/lists/lock";

/// The row of apt.
pub const BACKEND: Backend<Open> = Backend {
    name: "apt",
    marks: &["/usr/bin/apt-get"],
    open: Some(|parts| Box::new(Apt::new(parts.files, parts.processes))),
};

static MANAGER: Manager = Manager {
    name: "apt",
    features: Features::ALL,
    sources: &[
        "/etc/apt/sources.list",
        "/etc/apt/sources.list.d",
        "/etc/apt/preferences",
        "/etc/apt/preferences.d",
    ],
    entry: EntryPackages { server: &["openssh-server"], escalation: &["sudo"] },
    is_name: dpkg::is_name,
    matches: dpkg::matches,
    compare: dpkg::compare,
};

impl Packages for Apt {
    fn manager(&self) -> &'static Manager {
        &MANAGER
    }

    fn installed(&self) -> Result<Arc<PackageTable>, PackageError> {
        Ok(Arc::new(self.database()?.packages))
    }

    fn upkeep(&self) -> Result<Upkeep, PackageError> {
        let database = self.database()?;
        let fetched = self.fetched()?;
        Ok(Upkeep {
            interrupted: database.interrupted,
            busy: self.holder(&CHANGE_LOCKS),
            leftovers: database.leftovers,
            lists_age: fetched.map(|at| at.elapsed().unwrap_or(Duration::ZERO)),
            sources_newer: self.sources_changed()? > fetched,
        })
    }

    fn architecture(&self) -> Result<String, PackageError> {
        Ok(self.database()?.architecture)
    }

    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError> {
        let database = self.database()?;
        let Some(lists) = self.lists(&database.architecture)? else {
            let words = ["apt-cache", "--quiet", "policy", "--"].map(str::to_owned);
            let (_, said) =
                self.run(words.into_iter().chain(names.iter().cloned()).collect(), &mut |_| {})?;
            return Ok(policies(&said));
        };
        let candidate = |name: &String| {
            let installed = database.packages.get(name).map(|installed| installed.version.as_str());
            let plain = name.strip_suffix(&format!(":{}", database.architecture)).unwrap_or(name);
            Some((name.clone(), lists.candidate(plain, installed)?.to_owned()))
        };
        Ok(names.iter().filter_map(candidate).collect())
    }

    fn providers(&self, name: &str) -> Result<Providers, PackageError> {
        let installed = self.database()?.provided.remove(name).unwrap_or_default();
        let words = ["apt-cache", "--quiet", "showpkg", "--", name].map(str::to_owned);
        let (_, said) = self.run(words.to_vec(), &mut |_| {})?;
        Ok(Providers { installed, offered: reverse_provides(&said) })
    }

    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError> {
        let mut simulation = Simulation::default();
        if self.database()?.interrupted {
            // The result with a broken database cannot be computed before it is repaired.
            return Ok(simulation);
        }
        let (later, now): (Vec<_>, Vec<_>) = requests.iter().partition(|request| request.refresh);
        simulation.unknown.extend(later.into_iter().map(|request| request.name.clone()));
        for batch in Batch::of(now) {
            self.simulate_batch(batch, &mut simulation)?;
        }
        Ok(simulation)
    }

    fn transact(
        &self,
        requests: &[PackageRequest],
        allowed: &Allowance,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError> {
        let database = self.make_ready(output)?;
        if requests.iter().any(|request| request.refresh) {
            self.refresh(None, output)?;
        }
        // All of this comes before the first batch, so that a refused transaction changes nothing.
        let resolved = if requests.iter().any(|request| request.refresh) {
            resolve(self, requests)?
        } else {
            requests.to_vec()
        };
        let mut batches = Batch::of(resolved.iter().collect());
        batches.iter_mut().for_each(|batch| batch.mend(&database));
        batches.iter().try_for_each(|batch| self.check_batch(batch, allowed))?;
        let named = |wanted: fn(&PackageRequest) -> bool| -> Vec<String> {
            requests.iter().filter(|request| wanted(request)).map(|request| request.name.clone()).collect()
        };
        self.mark("unhold", named(|request| request.hold == Some(false)), output)?;
        for (place, batch) in batches.iter().enumerate() {
            let words = batch.install();
            if !words.is_empty() {
                if place > 0 {
                    self.check_batch(batch, allowed)?;
                }
                self.install(apt_get(&[], &batch.options(), &words), output)?;
            }
        }
        let purged = named(|request| request.goal == PackageGoal::Absent { purge: true });
        if !purged.is_empty() {
            self.must(purge(&purged), output)?;
        }
        self.mark("hold", named(|request| request.hold == Some(true)), output)
    }

    fn unneeded(&self, after: &[PackageRequest]) -> Result<Vec<String>, PackageError> {
        if self.database()?.interrupted {
            return Ok(Vec::new());
        }
        // The content of refreshed lists is not known.
        let requests = after.iter().filter(|request| !request.refresh).collect();
        let batch = Batch { requests, ..Batch::default() };
        let words = batch.install();
        if words.is_empty() {
            return Ok(self.simulate_autoremove()?.removed);
        }
        let options = [batch.options(), vec!["--auto-remove"]].concat();
        let (finished, said) = self.run(apt_get(&["--simulate"], &options, &words), &mut |_| {})?;
        // The steps of the requests themselves report what is not possible.
        if finished.success() { Ok(removals(&said)) } else { Ok(self.simulate_autoremove()?.removed) }
    }

    fn remove_unneeded(
        &self,
        allowed: &Allowance,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError> {
        self.make_ready(output)?;
        allowed.check(&self.simulate_autoremove()?)?;
        self.must(autoremove(&[]), output)
    }

    fn refresh(&self, only: Option<&Path>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        self.wait_for(&[LISTS_LOCK], output)?;
        let mut words =
            ["apt-get", "--quiet", "-o", "DPkg::Lock::Timeout=60", "update"].map(str::to_owned).to_vec();
        if let Some(only) = only {
            let options = [
                format!("Dir::Etc::sourcelist={}", only.display()),
                "Dir::Etc::sourceparts=-".to_owned(),
                "APT::Get::List-Cleanup=0".to_owned(),
                "APT::Update::Error-Mode=any".to_owned(),
            ];
            words.extend(options.into_iter().flat_map(|option| ["-o".to_owned(), option]));
        }
        self.must(words, output)
    }
}

impl Apt {
    /// Waits for the locks, and repairs what a dead transaction left. Returns the database after that.
    fn make_ready(&self, output: &mut dyn FnMut(&[u8])) -> Result<Database, PackageError> {
        self.wait_for(&CHANGE_LOCKS, output)?;
        let database = self.database()?;
        if !database.interrupted {
            return Ok(database);
        }
        output(b"an earlier transaction was interrupted: repairing the package database\n");
        // If something cannot be repaired, apt-get reports it afterwards.
        self.run(repair(), output)?;
        self.database()
    }

    fn mark(&self, how: &str, names: Vec<String>, output: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        if names.is_empty() {
            return Ok(());
        }
        let words = ["apt-mark".to_owned(), how.to_owned()];
        self.must(words.into_iter().chain(names).collect(), output)
    }
}

/// Requests that one run of apt-get can carry out: they agree about recommended packages.
#[derive(Clone, Default)]
struct Batch<'a> {
    recommends: Option<bool>,
    requests: Vec<&'a PackageRequest>,
    /// Whether an installed package was interrupted while it was unpacked. apt counts its version as installed and
    /// would leave it so.
    reinstall: bool,
    /// Whether a package to remove was interrupted. Without force, dpkg requires that it is first installed
    /// completely.
    force: bool,
}

impl<'a> Batch<'a> {
    /// Groups requests into batches, with removals in the first one. Usually there is one batch.
    fn of(requests: Vec<&'a PackageRequest>) -> Vec<Self> {
        let mut batches: Vec<Self> = Vec::new();
        let (removals, others): (Vec<_>, Vec<_>) =
            requests.into_iter().partition(|request| matches!(request.goal, PackageGoal::Absent { .. }));
        for request in others {
            match batches.iter_mut().find(|batch| batch.recommends == request.recommends) {
                Some(batch) => batch.requests.push(request),
                None => {
                    let (recommends, requests) = (request.recommends, vec![request]);
                    batches.push(Self { recommends, requests, ..Self::default() });
                }
            }
        }
        match batches.first_mut() {
            Some(batch) => batch.requests.extend(removals),
            None => {
                batches.push(Self { recommends: None, requests: removals, reinstall: false, force: false })
            }
        }
        batches
    }

    /// Returns the arguments of `apt-get install`: `NAME`, `NAME=VERSION`, `NAME-`.
    fn install(&self) -> Vec<String> {
        let word = |request: &&PackageRequest| match &request.goal {
            PackageGoal::Present | PackageGoal::Latest => Some(request.name.clone()),
            PackageGoal::Version(version) => Some(format!("{}={version}", request.name)),
            PackageGoal::Absent { .. } => Some(format!("{}-", request.name)),
            PackageGoal::Kept => None,
        };
        self.requests.iter().filter_map(word).collect()
    }

    /// Lets packages that are half-installed in `database` be unpacked again, or removed as they are.
    fn mend(&mut self, database: &Database) {
        let is_half = |name: &str| database.packages.get(name).is_some_and(|installed| !installed.whole);
        let half = || self.requests.iter().filter(|one| is_half(&one.name));
        self.reinstall = half().any(|one| one.goal.installs());
        self.force = half().any(|one| matches!(one.goal, PackageGoal::Absent { .. }));
    }

    fn options(&self) -> Vec<&'static str> {
        let mut options = Vec::new();
        if self.reinstall {
            options.push("--reinstall");
        }
        if self.force {
            options.extend(["-o", "Dpkg::Options::=--force-remove-reinstreq"]);
        }
        match self.recommends {
            Some(true) => options.push("--install-recommends"),
            Some(false) => options.push("--no-install-recommends"),
            None => {}
        }
        if self.requests.iter().any(|request| request.downgrade) {
            options.push("--allow-downgrades");
        }
        if self.requests.iter().any(|request| request.hold.is_some()) {
            options.push("--allow-change-held-packages");
        }
        options
    }
}

/// The options of every run of apt-get: no questions, keep the host's own configuration files, no progress bar. It
/// waits a short time if another program takes the lock at the last moment.
const SETTLED: [&str; 11] = [
    "--yes",
    "--quiet",
    "-o",
    "DPkg::Lock::Timeout=60",
    "-o",
    "Dpkg::Use-Pty=0",
    "-o",
    "Dpkg::Options::=--force-confdef",
    "-o",
    "Dpkg::Options::=--force-confold",
    "install",
];

fn apt_get(first: &[&str], options: &[&str], words: &[String]) -> Vec<String> {
    let fixed = ["apt-get"].iter().chain(first).chain(options).chain(&SETTLED).chain(&["--"]);
    fixed.map(|word| (*word).to_owned()).chain(words.iter().cloned()).collect()
}

/// Returns the command that purges packages: the configuration of removed packages, and all of installed ones.
fn purge(names: &[String]) -> Vec<String> {
    other("purge", apt_get(&[], &[], names))
}

fn autoremove(first: &[&str]) -> Vec<String> {
    other("autoremove", apt_get(first, &[], &[]))
}

/// Returns the words of another command of apt-get than `install`.
fn other(verb: &str, mut words: Vec<String>) -> Vec<String> {
    words.iter_mut().filter(|word| *word == "install").for_each(|word| *word = verb.to_owned());
    words
}

fn repair() -> Vec<String> {
    ["dpkg", "--force-confdef", "--force-confold", "--configure", "-a"].map(str::to_owned).to_vec()
}

/// Parses a line of a simulation: `Inst NAME [OLD] (NEW ORIGIN [ARCHITECTURE])`, `Remv NAME [OLD]`, `Purg NAME
/// [OLD]`.
fn read_step(line: &str, into: &mut Simulation) {
    let Some((verb, rest)) = line.split_once(' ') else { return };
    let name = rest.split(' ').next().unwrap_or_default();
    match verb {
        "Inst" => {
            let version = rest.split_once('(').and_then(|(_, new)| new.split([' ', ')']).next());
            into.installed.extend(version.map(|version| (name.to_owned(), version.to_owned())));
        }
        "Remv" | "Purg" => into.removed.push(name.to_owned()),
        _ => {}
    }
}

fn removals(said: &str) -> Vec<String> {
    let mut simulation = Simulation::default();
    said.lines().for_each(|line| read_step(line, &mut simulation));
    simulation.removed
}

/// Returns the packages that apt reports as in no list, or not in the asked version.
fn unknown_names(said: &str) -> Vec<&str> {
    let unknown = |line: &'_ str| -> Option<(usize, usize)> {
        let error = line.strip_prefix("E: ")?;
        let offset = line.len() - error.len();
        let quoted = |text: &str, after: &str| {
            let start = text.find(after)? + after.len();
            let end = start + text[start..].find('\'')?;
            Some((offset + start, offset + end))
        };
        if let Some(name) = error.strip_prefix("Unable to locate package ") {
            return Some((line.len() - name.len(), line.len()));
        }
        if error.ends_with("has no installation candidate") {
            return quoted(error, "Package '");
        }
        if error.ends_with("was not found") { quoted(error, "' for '") } else { None }
    };
    said.lines().filter_map(|line| unknown(line).map(|(start, end)| line[start..end].trim())).collect()
}

/// Returns the providers in the output of `apt-cache showpkg`: `NAME VERSION (= PROVIDED)`.
fn reverse_provides(said: &str) -> Vec<String> {
    let lines = said.lines().skip_while(|line| line.trim_end() != "Reverse Provides:").skip(1);
    let names: BTreeSet<_> = lines.filter_map(|line| line.split_whitespace().next()).collect();
    names.into_iter().map(str::to_owned).collect()
}

/// Returns the candidates in the output of `apt-cache policy`.
fn policies(said: &str) -> BTreeMap<String, String> {
    let mut candidates = BTreeMap::new();
    let mut name = None;
    for line in said.lines() {
        if !line.starts_with(' ') {
            name = line.strip_suffix(':');
        } else if let (Some(name), Some(version)) = (name, line.trim().strip_prefix("Candidate: "))
            && version != "(none)"
        {
            candidates.insert(name.to_owned(), version.to_owned());
        }
    }
    candidates
}

/// Returns why a run failed, in the program's own words.
fn failure(program: &str, code: Option<i32>, said: &str) -> PackageError {
    let how = code.map_or("was ended by a signal".to_owned(), |code| format!("ended with {code}"));
    let words = match reasons(said) {
        words if words.is_empty() => {
            said.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or_default().to_owned()
        }
        words => words.join("; "),
    };
    let what =
        if words.is_empty() { format!("{program} {how}") } else { format!("{program} {how}: {words}") };
    PackageError::Failed { what }
}

/// Returns the errors of apt and dpkg, each with the indented lines after it, which give the reason.
fn reasons(said: &str) -> Vec<String> {
    let mut reasons: Vec<String> = Vec::new();
    let (mut room, mut explains) = (REASONS, false);
    for line in said.lines() {
        let is_reason = line.starts_with("dpkg: error") || line.starts_with(UNMET);
        let reason = line.strip_prefix("E: ").or(is_reason.then_some(line));
        let detail = line.strip_prefix(' ').filter(|_| explains).map(str::trim);
        explains = reason.is_some() || detail.is_some();
        let Some(text) = reason.or(detail).filter(|text| !text.is_empty() && text.len() <= room) else {
            continue;
        };
        room -= text.len();
        match reasons.last_mut().filter(|_| detail.is_some()) {
            Some(last) if last.ends_with(':') => last.push_str(&format!(" {text}")),
            Some(last) => last.push_str(&format!(", {text}")),
            None => reasons.push(text.to_owned()),
        }
    }
    reasons
}

/// The line of apt before the list of conflicts.
const UNMET: &str = "The following packages have unmet dependencies:";

/// The most bytes of reasons in an error: a transaction may fail on a thousand packages.
const REASONS: usize = 2000;

#[cfg(test)]
mod tests;
