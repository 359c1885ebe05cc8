//! A trial host for the laws. Its files are real, below a root of its own. In memory are packages that bring files,
//! users and running units, units that may die, and commands defined by a test.

mod accounts;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::system::System;
use crate::system::accounts::{AccountTable, Accounts, Group, User};
use crate::system::files::Files;
use crate::system::firewall::{self, Firewall};
use crate::system::packages::apt::dpkg;
use crate::system::packages::{
    Allowance, EntryPackages, Features, Installed, Manager, PackageError, PackageGoal, PackageRequest,
    PackageTable, Packages, Providers, Simulation, Upkeep, is_package_name, resolve,
};
use crate::system::processes::{Command, Finished, ProcessError, Processes};
use crate::system::receipts::Receipts;
use crate::system::services::clock::Clock;
use crate::system::services::systemd::{self, clock::SystemdClock};
use crate::system::services::{Active, Enabled, Ended, Load, UnitError, UnitState, Units, Verb};

/// The trial host. It is shared by reference, and every change is visible at once.
pub struct World {
    files: Files,
    receipts: Receipts,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    installed: PackageTable,
    offers: BTreeMap<String, Offer>,
    news: BTreeMap<String, Offer>,
    leaves: BTreeMap<String, String>,
    complaint: Option<String>,
    answers: BTreeMap<String, Arc<Answer>>,
    units: BTreeMap<String, UnitState>,
    commands: BTreeMap<String, Arc<Deed>>,
    starts: u64,
    broken: BTreeSet<String>,
    breaks_once: BTreeSet<String>,
    ended: BTreeMap<String, Ended>,
    login: Option<String>,
    remote: BTreeMap<String, User>,
    remote_groups: BTreeMap<String, Group>,
    log: Vec<String>,
    unneeded: Vec<String>,
}

/// The effect of a command on the host. Returns the exit code.
pub type Deed = dyn Fn(&World) -> i32 + Send + Sync;

/// The output of a command of the host.
pub type Answer = dyn Fn(&World) -> String + Send + Sync;

/// A package that can be installed.
#[derive(Clone, Default)]
pub struct Offer {
    /// The available version.
    pub version: String,
    /// The packages that it depends on.
    pub depends: Vec<String>,
    /// Names that it provides beside its own.
    pub provides: Vec<String>,
    /// The packages that it conflicts with.
    pub conflicts: Vec<String>,
    /// Files that it brings, with their content. They do not overwrite existing files.
    pub files: Vec<(PathBuf, String)>,
    /// Users that it makes.
    pub users: Vec<String>,
    /// Units that it brings, each with whether the installation starts it.
    pub units: Vec<(String, bool)>,
    /// Whether its installation fails midway.
    pub fails: bool,
}

impl World {
    /// Makes an empty host below `root`, with the users and groups that every system has.
    pub fn new(root: &Path) -> io::Result<Self> {
        for folder in ["etc", "usr/bin", "var/lib", "run", "tmp", "root", "home"] {
            std::fs::create_dir_all(root.join(folder))?;
        }
        let passwd = "root:x:0:0:root:/root:/bin/sh\nnobody:x:65534:65534:nobody:/nonexistent:/bin/false\n";
        std::fs::write(root.join("etc/passwd"), passwd)?;
        std::fs::write(root.join("etc/group"), "root:x:0:\nnogroup:x:65534:\n")?;
        std::fs::write(root.join("etc/shadow"), "root:*:20000:0:99999:7:::\nnobody:*:20000:0:99999:7:::\n")?;
        std::fs::write(root.join("etc/login.defs"), "USERGROUPS_ENAB yes\n")?;
        let receipts = Receipts::in_folder(root.join("var/lib/converge/receipts"));
        Ok(Self { files: Files::new(root)?, receipts, state: Mutex::default() })
    }

    /// Makes a package available.
    pub fn offer(&self, name: &str, offer: Offer) {
        self.state().offers.insert(name.to_owned(), offer);
    }

    /// Installs or removes a package as another program does, with everything that it requires.
    pub fn by_hand(&self, request: PackageRequest) -> Result<(), PackageError> {
        let mut allowed = Allowance::default();
        allowed.allow(std::slice::from_ref(&request), &self.simulate(std::slice::from_ref(&request))?);
        self.transact(&[request], &allowed, &mut |_| {})
    }

    /// Makes a package available in refreshed lists only. Until then, the sources are newer than the lists.
    pub fn offer_next(&self, name: &str, offer: Offer) {
        self.state().news.insert(name.to_owned(), offer);
    }

    /// Once `name` is removed, `dependency` is no longer needed.
    pub fn leaves(&self, name: &str, dependency: &str) {
        self.state().leaves.insert(name.to_owned(), dependency.to_owned());
    }

    /// Marks the package as installed, without anything that it brings.
    pub fn installed(&self, name: &str, version: &str) {
        let installed = Installed { version: version.to_owned(), held: false, whole: true };
        self.state().installed.insert(name.to_owned(), installed);
    }

    /// Marks these packages as no longer needed.
    pub fn unneeded(&self, names: &[&str]) {
        self.state().unneeded = names.iter().map(|name| (*name).to_owned()).collect();
    }

    /// Lets the command with the words `line`, joined by blanks, run `deed`.
    pub fn command(&self, line: &str, deed: impl Fn(&Self) -> i32 + Send + Sync + 'static) {
        self.state().commands.insert(line.to_owned(), Arc::new(deed));
    }

    /// Lets the command `line` print `answer` and succeed.
    pub fn says(&self, line: &str, answer: impl Fn(&Self) -> String + Send + Sync + 'static) {
        self.state().answers.insert(line.to_owned(), Arc::new(answer));
        self.command(line, |_| 0);
    }

    /// Lets later transactions do their work and then end with this error, as if another package caused it.
    pub fn complain(&self, what: &str) {
        self.state().complaint = Some(what.to_owned());
    }

    /// Adds a unit that is loaded but not running.
    pub fn unit(&self, name: &str) {
        self.unit_as(name, UnitState { load: Load::Loaded, ..UnitState::default() });
    }

    /// Adds a unit in this state.
    pub fn unit_as(&self, name: &str, unit: UnitState) {
        self.state().units.insert(name.to_owned(), unit);
    }

    /// Marks the files of `unit` as changed since systemd last read them.
    pub fn touch_unit(&self, name: &str) {
        self.state().units.entry(name.to_owned()).or_default().stale = true;
    }

    /// Lets `unit` fail from now on when it is started or reloaded.
    pub fn break_unit(&self, unit: &str) {
        self.state().broken.insert(unit.to_owned());
    }

    /// Ends the main process of `unit` in this way, and the unit with it.
    pub fn end_unit(&self, unit: &str, ended: Ended) {
        let mut state = self.state();
        state.ended.insert(unit.to_owned(), ended);
        if let Some(known) = state.units.get_mut(unit) {
            known.active = Active::Inactive;
        }
    }

    /// Lets the next start, restart or reload of `unit` fail and stop it.
    pub fn break_once(&self, unit: &str) {
        self.state().breaks_once.insert(unit.to_owned());
    }

    /// Lets the main process of `unit` have ended a moment ago and been restarted automatically.
    pub fn revive_unit(&self, unit: &str) {
        self.state().units.entry(unit.to_owned()).or_default().revived = Some(Duration::ZERO);
    }

    /// Returns everything that was done to the host, in order: `install nginx`, `restart nginx.service`, `run date`.
    pub fn log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Returns all of the log except guards.
    pub fn deeds(&self) -> Vec<String> {
        self.log().into_iter().filter(|line| !line.starts_with("run /bin/sh")).collect()
    }

    /// Writes a file of the host, and makes its folders.
    pub fn write(&self, path: &Path, text: &str) {
        let path = self.files.outside(path);
        let folder = path.parent().unwrap_or(Path::new("/"));
        let written = std::fs::create_dir_all(folder).and_then(|()| std::fs::write(&path, text));
        if let Err(error) = written {
            self.state().log.push(format!("failed to write {}: {error}", path.display()));
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn install(&self, name: &str) -> Result<(), PackageError> {
        let offer = self.state().offers.get(name).cloned();
        let Some(offer) = offer else {
            return Err(PackageError::Failed { what: format!("no package {name} is on offer") });
        };
        for dependency in &offer.depends {
            if !self.state().installed.contains_key(dependency) {
                self.install(dependency)?;
            }
        }
        offer.conflicts.iter().for_each(|other| self.uninstall(other));
        for (path, text) in &offer.files {
            if !self.files.outside(path).exists() {
                self.write(path, text);
            }
        }
        offer.users.iter().for_each(|user| self.add_user(user));
        let whole = !offer.fails;
        let installed = Installed { version: offer.version.clone(), held: false, whole };
        let mut state = self.state();
        state.log.push(format!("install {name}"));
        state.installed.insert(name.to_owned(), installed);
        for (unit, running) in &offer.units {
            let active = if *running { Active::Active } else { Active::Inactive };
            let enabled = if *running { Enabled::Yes } else { Enabled::No };
            let unit_state = UnitState { load: Load::Loaded, active, enabled, ..UnitState::default() };
            state.units.entry(unit.clone()).or_insert(unit_state);
        }
        if whole { Ok(()) } else { Err(PackageError::Failed { what: format!("{name} failed half-way") }) }
    }

    fn add_user(&self, name: &str) {
        let Ok(table) = AccountTable::read(&self.files) else { return };
        if table.users.contains_key(name) {
            return;
        }
        let number = 100 + table.users.len();
        let append = |path: &str, line: String| {
            let path = self.files.outside(Path::new(path));
            let text = std::fs::read_to_string(&path).unwrap_or_default() + &line;
            std::fs::write(path, text)
        };
        let user = append("/etc/passwd", format!("{name}:x:{number}:{number}::/nonexistent:/bin/false\n"));
        let group = append("/etc/group", format!("{name}:x:{number}:\n"));
        let shadow = append("/etc/shadow", format!("{name}:!:20000:0:99999:7:::\n"));
        if let Err(error) = user.and(group).and(shadow) {
            self.state().log.push(format!("failed to add {name}: {error}"));
        }
    }

    fn uninstall(&self, name: &str) {
        let mut state = self.state();
        if state.installed.remove(name).is_none() {
            return;
        }
        state.log.push(format!("remove {name}"));
        if let Some(left) = state.leaves.get(name).cloned() {
            state.unneeded.push(left);
        }
        let offer = state.offers.get(name).cloned().unwrap_or_default();
        for (unit, _) in &offer.units {
            state.units.remove(unit);
        }
        drop(state);
        for (path, _) in &offer.files {
            // Ignored: a test may have removed the file.
            let _ = std::fs::remove_file(self.files.outside(path));
        }
    }
}

impl System for World {
    fn files(&self) -> &Files {
        &self.files
    }
    fn accounts(&self) -> &dyn Accounts {
        self
    }
    fn packages(&self) -> &dyn Packages {
        self
    }
    fn units(&self) -> &dyn Units {
        self
    }
    fn firewall(&self) -> &'static dyn Firewall {
        firewall::backends::DEFAULT
    }
    fn processes(&self) -> &dyn Processes {
        self
    }
    fn receipts(&self) -> &Receipts {
        &self.receipts
    }
}

/// A package manager with all features. It compares versions as texts.
static WORLDLY: Manager = Manager {
    name: "world",
    features: Features::ALL,
    sources: &["/etc/apt/sources.list.d"],
    entry: EntryPackages { server: &["openssh-server"], escalation: &["sudo"] },
    is_name: is_package_name,
    matches: dpkg::matches,
    compare: |one, other| one.cmp(other),
};

impl Packages for World {
    fn manager(&self) -> &'static Manager {
        &WORLDLY
    }

    fn installed(&self) -> Result<Arc<PackageTable>, PackageError> {
        Ok(Arc::new(self.state().installed.clone()))
    }

    fn candidates(&self, names: &[String]) -> Result<BTreeMap<String, String>, PackageError> {
        let state = self.state();
        let version = |name: &String| Some((name.clone(), state.offers.get(name)?.version.clone()));
        Ok(names.iter().filter_map(version).collect())
    }

    fn providers(&self, name: &str) -> Result<Providers, PackageError> {
        let state = self.state();
        let provides = |(_, offer): &(&String, &Offer)| offer.provides.iter().any(|other| other == name);
        let offered: Vec<_> = state.offers.iter().filter(provides).map(|(name, _)| name.clone()).collect();
        let installed = offered.iter().filter(|name| state.installed.contains_key(*name)).cloned().collect();
        Ok(Providers { installed, offered })
    }

    fn simulate(&self, requests: &[PackageRequest]) -> Result<Simulation, PackageError> {
        let state = self.state();
        let mut simulation = Simulation::default();
        let mut todo: Vec<&str> = Vec::new();
        for request in requests.iter().filter(|request| !request.refresh) {
            match request.goal {
                PackageGoal::Absent { .. } if state.installed.contains_key(&request.name) => {
                    simulation.removed.push(request.name.clone());
                }
                PackageGoal::Absent { .. } | PackageGoal::Kept => {}
                _ => todo.push(&request.name),
            }
        }
        while let Some(name) = todo.pop() {
            if simulation.installed.iter().any(|(known, _)| known == name) {
                continue;
            }
            match state.offers.get(name) {
                Some(offer) => {
                    simulation.installed.push((name.to_owned(), offer.version.clone()));
                    let gone = offer.conflicts.iter().filter(|name| state.installed.contains_key(*name));
                    simulation.removed.extend(gone.cloned());
                    let missing = offer.depends.iter().filter(|name| !state.installed.contains_key(*name));
                    todo.extend(missing.map(String::as_str));
                }
                None if requests.iter().any(|request| request.name == name) => {
                    simulation.unknown.push(name.to_owned());
                }
                None => return Err(PackageError::Failed { what: format!("{name} cannot be had") }),
            }
        }
        Ok(simulation)
    }

    fn unneeded(&self, after: &[PackageRequest]) -> Result<Vec<String>, PackageError> {
        let state = self.state();
        let gone = after.iter().filter(|one| matches!(one.goal, PackageGoal::Absent { .. }));
        let left = gone.filter_map(|one| state.leaves.get(&one.name));
        Ok(state.unneeded.iter().chain(left).cloned().collect())
    }

    fn remove_unneeded(&self, allowed: &Allowance, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        allowed.check(&Simulation { removed: self.state().unneeded.clone(), ..Simulation::default() })?;
        let gone = std::mem::take(&mut self.state().unneeded);
        gone.iter().for_each(|name| self.uninstall(name));
        Ok(())
    }

    fn transact(
        &self,
        requests: &[PackageRequest],
        allowed: &Allowance,
        output: &mut dyn FnMut(&[u8]),
    ) -> Result<(), PackageError> {
        if requests.iter().any(|request| request.refresh) {
            self.refresh(None, output)?;
        }
        let fresh: Vec<_> =
            requests.iter().map(|request| PackageRequest { refresh: false, ..request.clone() }).collect();
        let fresh = resolve(self, &fresh)?;
        allowed.check(&self.simulate(&fresh)?)?;
        let mut outcome = Ok(());
        for request in &fresh {
            output(format!("{}\n", request.name).as_bytes());
            let done = match request.goal {
                PackageGoal::Absent { .. } => {
                    self.uninstall(&request.name);
                    Ok(())
                }
                PackageGoal::Kept => Ok(()),
                _ => self.install(&request.name),
            };
            if let (Some(hold), Some(installed)) =
                (request.hold, self.state().installed.get_mut(&request.name))
            {
                installed.held = hold;
            }
            outcome = outcome.and(done);
        }
        let complaint = self.state().complaint.clone();
        outcome.and_then(|()| complaint.map_or(Ok(()), |what| Err(PackageError::Failed { what })))
    }

    fn refresh(&self, _: Option<&Path>, _: &mut dyn FnMut(&[u8])) -> Result<(), PackageError> {
        let mut state = self.state();
        state.log.push("refresh".to_owned());
        let news = std::mem::take(&mut state.news);
        state.offers.extend(news);
        Ok(())
    }

    fn upkeep(&self) -> Result<Upkeep, PackageError> {
        let sources_newer = !self.state().news.is_empty();
        Ok(Upkeep { lists_age: Some(Duration::ZERO), sources_newer, ..Upkeep::default() })
    }

    fn architecture(&self) -> Result<String, PackageError> {
        Ok("amd64".to_owned())
    }
}

impl Units for World {
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError> {
        let state = self.state();
        Ok(units.iter().map(|unit| state.units.get(unit).cloned().unwrap_or_default()).collect())
    }

    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError> {
        let mut state = self.state();
        state.log.push(format!("{} {unit}", verb.word()));
        state.starts += 1;
        let starts = state.starts;
        let broken = state.broken.contains(unit) || state.breaks_once.remove(unit);
        let failed = |why: &str| UnitError::Failed {
            verb: verb.word().to_owned(),
            unit: unit.to_owned(),
            why: why.to_owned(),
        };
        let Some(known) = state.units.get_mut(unit) else { return Err(failed("there is no such unit")) };
        match verb {
            Verb::Start | Verb::Restart | Verb::Reload if broken => {
                known.active = Active::Failed;
                return Err(failed("it failed"));
            }
            Verb::Start | Verb::Restart => {
                known.active = Active::Active;
                known.invocation = format!("{starts:032x}");
            }
            Verb::Reload => {}
            Verb::Stop => known.active = Active::Inactive,
            Verb::Enable => known.enabled = Enabled::Yes,
            Verb::Disable => known.enabled = Enabled::No,
            Verb::Mask => known.load = Load::Masked,
            Verb::Unmask => known.load = Load::Loaded,
        }
        Ok(())
    }

    fn ended(&self, unit: &str) -> Option<Ended> {
        let state = self.state();
        let runs = state.units.get(unit).is_some_and(|known| known.active == Active::Active);
        state.ended.get(unit).copied().filter(|_| !runs)
    }

    fn reload_files(&self) -> Result<(), UnitError> {
        let mut state = self.state();
        state.log.push("daemon-reload".to_owned());
        state.units.values_mut().for_each(|unit| unit.stale = false);
        Ok(())
    }

    fn journal(&self, unit: &str, _: u32) -> String {
        format!("{unit}: a line of its journal\n")
    }

    /// The clock of systemd, if the files of the host show that systemd runs.
    fn clock(&self) -> Option<Box<dyn Clock + '_>> {
        let runs = systemd::BACKEND.marks.iter().any(|mark| self.files.outside(Path::new(mark)).exists());
        runs.then(|| Box::new(SystemdClock::new(&self.files, self)) as Box<dyn Clock + '_>)
    }
}

impl Processes for World {
    fn run(&self, command: &Command, output: &mut dyn FnMut(&[u8])) -> Result<Finished, ProcessError> {
        let line = command.words.join(" ");
        let deed = self.state().commands.get(&line).cloned();
        let code = deed.map_or(127, |deed| deed(self));
        self.state().log.push(format!("run {line}"));
        let answer = self.state().answers.get(&line).cloned();
        let said = answer.map_or_else(|| format!("{line}\n"), |answer| answer(self));
        output(said.as_bytes());
        Ok(Finished { code: Some(code), signal: None, output: said.into_bytes() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_brings_its_files_users_and_units() {
        let root = tempfile::tempdir().unwrap();
        let world = World::new(root.path()).unwrap();
        let offer = Offer {
            version: "1.2".into(),
            depends: vec!["libc".into()],
            files: vec![("/etc/web/conf".into(), "listen 80\n".into())],
            users: vec!["web".into()],
            units: vec![("web.service".into(), true)],
            ..Offer::default()
        };
        world.offer("web", offer);
        world.offer("libc", Offer { version: "2".into(), ..Offer::default() });
        let request = PackageRequest::new("web", PackageGoal::Present);
        world.by_hand(request).unwrap();
        assert_eq!(world.log(), ["install libc", "install web"]);
        assert!(root.path().join("etc/web/conf").exists());
        assert!(world.table().unwrap().users.contains_key("web"));
        let states = world.states(&["web.service".to_owned()]).unwrap();
        assert_eq!(states[0].active, Active::Active);
    }
}
