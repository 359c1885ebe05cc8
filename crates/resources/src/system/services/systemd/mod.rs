//! The units of systemd: states and jobs over its D-Bus interface (org.freedesktop.systemd1(5)). It uses the system
//! bus. For root on a host without a bus, it uses systemd's own socket. A look starts no process.
//!
//! Each conversation has its own connection. Making one takes less than a millisecond, and on an open one signals
//! would pile up.

pub mod clock;
mod dbus;
mod unit_files;

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::system::backend::Backend;
use crate::system::files::Files;
use crate::system::processes::{Command, Finished, Processes};
use crate::system::services::clock::Clock;
use crate::system::services::{Active, Enabled, Ended, Load, Open, UnitError, UnitState, Units, Verb};
use clock::SystemdClock;
use dbus::{Bus, BusError, Call, Kind, Message};
use unit_files::UnitFiles;

/// The units of the running systemd.
pub struct Systemd {
    files: Arc<Files>,
    processes: Arc<dyn Processes>,
    /// When this run began.
    began: SystemTime,
}

/// The units of a host without systemd. Changed unit files need no action there.
pub struct NoUnits;

/// The units of a folder that stands for a host. As without systemd, but it is no error that no unit runs.
pub struct FolderUnits;

/// The row of systemd. Its mark is the one of sd_booted(3).
pub const BACKEND: Backend<Open> = Backend {
    name: "systemd",
    marks: &["/run/systemd/system"],
    open: Some(|parts| Box::new(Systemd::new(parts.files, parts.processes))),
};

const BUS_SOCKET: &str = "/run/dbus/system_bus_socket";
const PEER_SOCKET: &str = "/run/systemd/private";

const SYSTEMD: &str = "org.freedesktop.systemd1";
const MANAGER_PATH: &str = "/org/freedesktop/systemd1";
const MANAGER: &str = "org.freedesktop.systemd1.Manager";
const UNIT: &str = "org.freedesktop.systemd1.Unit";
const SERVICE: &str = "org.freedesktop.systemd1.Service";
const PROPERTIES: &str = "org.freedesktop.DBus.Properties";

/// The type of the answer to `ListUnitsByNames`: name, description, load, active, sub, followed, object, job, its
/// type, its object.
const LISTED: &str = "a(ssssssouso)";

/// The timeout of a job. Most units have shorter limits of their own, but some have none.
const JOB: Duration = Duration::from_secs(15 * 60);

/// How long a service is watched right after its start.
const MOMENT: Duration = Duration::from_millis(300);

/// The timeout for reading all unit files again.
const RELOAD: Duration = Duration::from_secs(120);

/// A unit in systemd's list.
struct Listed {
    /// Its own name. For an alias, the name of the unit behind it.
    name: String,
    load: Load,
    active: Active,
    object: String,
}

/// The value of `ExecMainCode` for a process that ended by itself: CLD_EXITED of waitid(2).
const EXITED: u32 = 1;

impl Systemd {
    /// Returns the units of this machine. `files` are its own, not those of a folder.
    pub fn new(files: Arc<Files>, processes: Arc<dyn Processes>) -> Self {
        Self { files, processes, began: SystemTime::now() }
    }

    /// Returns the output of a fast program. Empty if it fails.
    fn ask<W: Into<String>>(&self, words: impl IntoIterator<Item = W>) -> String {
        let command = Command { timeout: Duration::from_secs(10), ..Command::new(words) };
        match self.processes.run(&command, &mut |_| {}) {
            Ok(finished) if finished.success() => String::from_utf8_lossy(&finished.output).into_owned(),
            _ => String::new(),
        }
    }

    fn connect(&self) -> Result<Bus, UnitError> {
        let bus = match Bus::join(Path::new(BUS_SOCKET)) {
            Err(BusError::Io(error)) if is_absent(&error) && rustix::process::geteuid().is_root() => {
                Bus::peer(Path::new(PEER_SOCKET))
            }
            other => other,
        };
        bus.map_err(unreachable)
    }

    fn run_job(&self, verb: Verb, unit: &str, method: &str) -> Result<(), UnitError> {
        let fail = |why: String| failed(verb, unit, why);
        let mut bus = self.connect()?;
        self.take_note_of_files(&mut bus, unit)?;
        listen(&mut bus).map_err(unreachable)?;
        if verb != Verb::Stop {
            // systemd does not start a unit that failed too often before this call. For other units the call has no
            // effect.
            let _ = bus.call(&manager(&bus, "ResetFailedUnit").text(unit));
        }
        bus.allow(JOB);
        let answer = bus.call(&manager(&bus, method).text(unit).text("replace"));
        let job = answer.and_then(|job| Ok(job.values("o")?.text()?.to_owned()));
        let result = wait(&mut bus, &job.map_err(|error| fail(error.to_string()))?);
        match result.map_err(|error| fail(error.to_string()))?.as_str() {
            "done" | "skipped" if matches!(verb, Verb::Start | Verb::Restart) => {
                self.watch(&mut bus, verb, unit)
            }
            "done" | "skipped" => Ok(()),
            result => Err(fail(self.why(&mut bus, unit, &format!("the job ended as {result}")))),
        }
    }

    /// Watches a service that cannot report when it is ready. systemd counts its start as successful as soon as there
    /// is a process. If it ends right away, the run must know now, because only now can the cause be restored.
    fn watch(&self, bus: &mut Bus, verb: Verb, unit: &str) -> Result<(), UnitError> {
        let end = Instant::now() + MOMENT;
        bus.allow(MOMENT + JOB);
        let object = match list(bus, &[unit.to_owned()]).map_err(unreachable)?.pop() {
            Some(listed) if listed.name.ends_with(".service") => listed.object,
            _ => return Ok(()),
        };
        let kind =
            get(bus, &object, SERVICE, "Type").and_then(|kind| Ok(inside(&kind, "s")?.text()?.to_owned()));
        while matches!(kind.as_deref(), Ok("simple" | "exec" | "idle")) && Instant::now() < end {
            let active = get(bus, &object, UNIT, "ActiveState").map_err(unreachable)?;
            let active = inside(&active, "s").and_then(|mut active| active.text()).map(active_of);
            if matches!(active, Ok(Active::Failed | Active::Activating)) {
                return Err(failed(verb, unit, self.why(bus, unit, "it ended right after its start")));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// Makes systemd read the unit files, if it has not seen the current files of `unit`.
    fn take_note_of_files(&self, bus: &mut Bus, unit: &str) -> Result<(), UnitError> {
        let listed = list(bus, &[unit.to_owned()]).map_err(unreachable)?.pop();
        let Some(listed) = listed else { return Ok(()) };
        let changed = get(bus, &listed.object, UNIT, "NeedDaemonReload")
            .and_then(|message| Ok(inside(&message, "b")?.number()? != 0));
        if listed.load == Load::NotFound || changed.unwrap_or(false) {
            reload(bus).map_err(|error| UnitError::Reload(error.to_string()))?;
        }
        Ok(())
    }

    /// Returns `what` with the reason that the unit reports: `exit-code`, `timeout`, `start-limit-hit`.
    fn why(&self, bus: &mut Bus, unit: &str, what: &str) -> String {
        let details = list(bus, &[unit.to_owned()]).ok().and_then(|mut listed| {
            let message = get(bus, &listed.pop()?.object, SERVICE, "Result").ok()?;
            let text = inside(&message, "s").ok()?.text().ok()?.to_owned();
            (text != "success").then_some(text)
        });
        match details {
            Some(details) => format!("{what} ({details})"),
            None => what.to_owned(),
        }
    }

    fn change_files(&self, verb: Verb, unit: &str) -> Result<(), UnitError> {
        let fail = |error: BusError| failed(verb, unit, error.to_string());
        let mut bus = self.connect()?;
        bus.allow(RELOAD);
        let own = list(&mut bus, &[unit.to_owned()]).ok().and_then(|mut listed| listed.pop());
        let own = own.map_or_else(|| unit.to_owned(), |listed| listed.name);
        if matches!(verb, Verb::Enable | Verb::Disable) && self.is_script(&own)? {
            return self.change_script(verb, &own);
        }
        let name = [own];
        match verb {
            Verb::Enable => {
                let call = manager(&bus, "EnableUnitFiles").texts(&name).flag(false).flag(false);
                let answer = bus.call(&call).map_err(fail)?;
                let carries = answer.values("ba(sss)").and_then(|mut values| values.number());
                if carries == Ok(0) {
                    return Err(failed(verb, unit, "it has no [Install] section".to_owned()));
                }
            }
            Verb::Mask => {
                drop(
                    bus.call(&manager(&bus, "MaskUnitFiles").texts(&name).flag(false).flag(false))
                        .map_err(fail)?,
                );
            }
            Verb::Unmask => {
                // It may be masked until the next boot, permanently, or both.
                for runtime in [true, false] {
                    let call = manager(&bus, "UnmaskUnitFiles").texts(&[unit]).flag(runtime);
                    drop(bus.call(&call).map_err(fail)?);
                }
            }
            _ => drop(bus.call(&manager(&bus, "DisableUnitFiles").texts(&name).flag(false)).map_err(fail)?),
        }
        reload(&mut bus).map_err(|error| UnitError::Reload(error.to_string()))
    }

    fn is_script(&self, unit: &str) -> Result<bool, UnitError> {
        UnitFiles::read(&self.files).and_then(|files| files.is_script(unit)).map_err(UnitError::Files)
    }

    fn change_script(&self, verb: Verb, unit: &str) -> Result<(), UnitError> {
        let script = unit.trim_end_matches(".service");
        let words = ["/usr/lib/systemd/systemd-sysv-install", verb.word(), script];
        match self.processes.run(&Command::new(words), &mut |_| {}) {
            Ok(finished) if finished.success() => Ok(()),
            Ok(Finished { output, .. }) => {
                Err(failed(verb, unit, String::from_utf8_lossy(&output).trim().to_owned()))
            }
            Err(error) => Err(failed(verb, unit, error.to_string())),
        }
    }

    /// Returns what systemd reports of loadable units beyond its list.
    fn describe(&self, bus: &mut Bus, listed: &[Listed]) -> Result<Vec<UnitState>, BusError> {
        let files = UnitFiles::read(&self.files)?;
        let mut states = Vec::with_capacity(listed.len());
        for unit in listed {
            let enabled = match unit.load {
                Load::NotFound => Enabled::No,
                _ => files.enabled(&unit.name)?,
            };
            let invocation = self.exported_invocation(&unit.name);
            let (load, active) = (unit.load, unit.active);
            states.push(UnitState { load, active, enabled, invocation, ..UnitState::default() });
        }
        self.add_invocations(bus, listed, &mut states)?;
        add_parts(bus, listed, &mut states)?;
        add_revivals(bus, listed, &mut states)?;
        add_staleness(bus, listed, &mut states)?;
        Ok(states)
    }

    /// Returns the invocation id that systemd exports for the journal. Empty if there is none.
    fn exported_invocation(&self, unit: &str) -> String {
        let link = Path::new("/run/systemd/units").join(format!("invocation:{unit}"));
        let target = self.files.entry(&link).ok().flatten().and_then(|entry| entry.target);
        target
            .and_then(|target| target.to_str().map(str::to_owned))
            .filter(|id| is_id(id))
            .unwrap_or_default()
    }

    /// Asks for the invocation ids of running units without an exported id: timers, sockets, targets.
    fn add_invocations(
        &self,
        bus: &mut Bus,
        listed: &[Listed],
        states: &mut [UnitState],
    ) -> Result<(), BusError> {
        let places = places(states, |state| state.active != Active::Inactive && state.invocation.is_empty());
        for (place, message) in ask(bus, listed, &places, UNIT, "InvocationID")? {
            let bytes = inside(&message, "ay")?.bytes()?;
            let id: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
            states[place].invocation = if is_id(&id) { id } else { String::new() };
        }
        Ok(())
    }
}

impl Units for Systemd {
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError> {
        let mut states = vec![UnitState::default(); units.len()];
        let (places, names): (Vec<_>, Vec<_>) =
            units.iter().cloned().enumerate().filter(|(_, unit)| can_be_loaded(unit)).unzip();
        let mut bus = self.connect()?;
        let listed = list(&mut bus, &names).map_err(unreachable)?;
        for (place, state) in places.into_iter().zip(self.describe(&mut bus, &listed).map_err(unreachable)?) {
            states[place] = state;
        }
        // A template itself is never loaded; it has only a file.
        let files = UnitFiles::read(&self.files).map_err(UnitError::Files)?;
        for (state, unit) in states.iter_mut().zip(units).filter(|(_, unit)| is_template(unit)) {
            if files.has(unit).map_err(UnitError::Files)? {
                let enabled = files.enabled(unit).map_err(UnitError::Files)?;
                *state = UnitState { load: Load::Loaded, enabled, ..UnitState::default() };
            }
        }
        Ok(states)
    }

    fn act(&self, verb: Verb, unit: &str) -> Result<(), UnitError> {
        match verb {
            Verb::Start => self.run_job(verb, unit, "StartUnit"),
            Verb::Stop => self.run_job(verb, unit, "StopUnit"),
            Verb::Restart => self.run_job(verb, unit, "RestartUnit"),
            Verb::Reload => self.run_job(verb, unit, "ReloadOrRestartUnit"),
            Verb::Enable | Verb::Disable | Verb::Mask | Verb::Unmask => self.change_files(verb, unit),
        }
    }

    fn ended(&self, unit: &str) -> Option<Ended> {
        let mut bus = self.connect().ok()?;
        let listed = list(&mut bus, &[unit.to_owned()]).ok()?.pop()?;
        if listed.active == Active::Active {
            return None;
        }
        let mut time = |interface: &str, name: &str| {
            let microseconds =
                inside(&get(&mut bus, &listed.object, interface, name).ok()?, "t").ok()?.long().ok()?;
            (microseconds > 0).then(|| Duration::from_micros(microseconds))
        };
        let (started, exited) = (
            time(SERVICE, "ExecMainStartTimestampMonotonic")?,
            time(SERVICE, "ExecMainExitTimestampMonotonic")?,
        );
        // A job first ends the active state of the unit, and then the process.
        let left = time(UNIT, "ActiveExitTimestampMonotonic");
        if exited < started || left.is_some_and(|left| started < left && left < exited) {
            return None;
        }
        let code =
            inside(&get(&mut bus, &listed.object, SERVICE, "ExecMainCode").ok()?, "i").ok()?.number().ok()?;
        Some(Ended { after: exited - started, by_signal: code != EXITED })
    }

    fn reload_files(&self) -> Result<(), UnitError> {
        reload(&mut self.connect()?).map_err(|error| UnitError::Reload(error.to_string()))
    }

    fn journal(&self, unit: &str, lines: u32) -> String {
        let asked = self.ask(["systemctl", "show", "--property=InvocationID,ExecMainPID", unit]);
        self.ask(journal_words(unit, lines, self.began, &asked))
    }

    fn clock(&self) -> Option<Box<dyn Clock + '_>> {
        Some(Box::new(SystemdClock::new(&self.files, &*self.processes)))
    }
}

/// Returns the command for the last lines of a unit's journal since `began`, limited to its last invocation if that
/// is known. Earlier lines may hold old secrets that no masker knows any more. `shown` is systemd's output about the
/// unit.
fn journal_words(unit: &str, lines: u32, began: SystemTime, shown: &str) -> Vec<String> {
    let property = |name: &str| shown.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_default();
    let (invocation, main) = (property("InvocationID="), property("ExecMainPID="));
    let since = began.duration_since(UNIX_EPOCH).unwrap_or_default();
    let mut words = vec![
        "journalctl".to_owned(),
        "--no-pager".to_owned(),
        "--quiet".to_owned(),
        "--output=short".to_owned(),
        format!("--lines={lines}"),
        format!("--since=@{}.{:06}", since.as_secs(), since.subsec_micros()),
    ];
    if is_id(invocation) {
        // The lines of the unit itself, and those of systemd about it.
        let own = format!("_SYSTEMD_INVOCATION_ID={invocation}");
        words.extend([own, "+".to_owned(), format!("INVOCATION_ID={invocation}")]);
        // The last lines of a process that has ended since: a late journal knows only its process number.
        if main.parse().is_ok_and(|number: u32| number > 0) {
            words.extend(["+".to_owned(), format!("_PID={main}")]);
        }
    } else {
        words.push(format!("--unit={unit}"));
    }
    words
}

impl Units for NoUnits {
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError> {
        if units.is_empty() { Ok(Vec::new()) } else { Err(UnitError::Unsupported) }
    }

    fn act(&self, _: Verb, _: &str) -> Result<(), UnitError> {
        Err(UnitError::Unsupported)
    }

    fn ended(&self, _: &str) -> Option<Ended> {
        None
    }

    fn reload_files(&self) -> Result<(), UnitError> {
        Ok(())
    }

    fn journal(&self, _: &str, _: u32) -> String {
        String::new()
    }

    fn clock(&self) -> Option<Box<dyn Clock + '_>> {
        None
    }
}

impl Units for FolderUnits {
    fn states(&self, units: &[String]) -> Result<Vec<UnitState>, UnitError> {
        Ok(vec![UnitState::default(); units.len()])
    }

    fn act(&self, _: Verb, _: &str) -> Result<(), UnitError> {
        Err(UnitError::Unsupported)
    }

    fn ended(&self, _: &str) -> Option<Ended> {
        None
    }

    fn reload_files(&self) -> Result<(), UnitError> {
        Ok(())
    }

    fn journal(&self, _: &str, _: u32) -> String {
        String::new()
    }

    fn clock(&self) -> Option<Box<dyn Clock + '_>> {
        None
    }
}

/// Whether no process listens at a socket: it is missing, or was left behind.
fn is_absent(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused)
}

fn unreachable(error: BusError) -> UnitError {
    match error {
        BusError::Io(error) => UnitError::Unreachable(error),
        other => UnitError::Unreachable(io::Error::other(other.to_string())),
    }
}

fn failed(verb: Verb, unit: &str, why: String) -> UnitError {
    UnitError::Failed { verb: verb.word().to_owned(), unit: unit.to_owned(), why }
}

fn destination(bus: &Bus) -> Option<&'static str> {
    bus.is_routed().then_some(SYSTEMD)
}

fn manager<'a>(bus: &Bus, method: &'a str) -> Call<'a> {
    Call::new(destination(bus), MANAGER_PATH, MANAGER, method)
}

fn property<'a>(bus: &Bus, object: &'a str, interface: &str, name: &str) -> Call<'a> {
    Call::new(destination(bus), object, PROPERTIES, "Get").text(interface).text(name)
}

fn get(bus: &mut Bus, object: &str, interface: &str, name: &str) -> Result<Message, BusError> {
    bus.call(&property(bus, object, interface, name))
}

/// Returns the value of a property, if it has the type in `signature`.
fn inside<'a>(message: &'a Message, signature: &str) -> Result<dbus::Values<'a>, dbus::Malformed> {
    let mut values = message.values("v")?;
    values.variant(signature)?;
    Ok(values)
}

/// Returns the places of the states for which `which` returns true.
fn places(states: &[UnitState], which: impl Fn(&UnitState) -> bool) -> Vec<usize> {
    states.iter().enumerate().filter(|(_, state)| which(state)).map(|(place, _)| place).collect()
}

/// Returns the places of the running services.
fn services(listed: &[Listed], states: &[UnitState]) -> Vec<usize> {
    let running = places(states, |state| state.active == Active::Active);
    running.into_iter().filter(|place| listed[*place].name.ends_with(".service")).collect()
}

/// Returns a property of the units at `places`, asked for together. Units without it are left out.
fn ask(
    bus: &mut Bus,
    listed: &[Listed],
    places: &[usize],
    interface: &str,
    name: &str,
) -> Result<Vec<(usize, Message)>, BusError> {
    let calls: Vec<_> =
        places.iter().map(|place| property(bus, &listed[*place].object, interface, name)).collect();
    let answers = places.iter().copied().zip(bus.calls(&calls)?);
    Ok(answers.filter_map(|(place, answer)| Some((place, answer.ok()?))).collect())
}

/// Adds the parts of running services that the service also pulls in. `PartOf=` alone does not mean that the part
/// runs.
fn add_parts(bus: &mut Bus, listed: &[Listed], states: &mut [UnitState]) -> Result<(), BusError> {
    for (place, message) in ask(bus, listed, &services(listed, states), UNIT, "ConsistsOf")? {
        states[place].parts = inside(&message, "as")?.texts()?;
    }
    let composed = places(states, |state| !state.parts.is_empty());
    let mut pulled = vec![Vec::new(); states.len()];
    for name in ["Wants", "Requires"] {
        for (place, message) in ask(bus, listed, &composed, UNIT, name)? {
            pulled[place].extend(inside(&message, "as")?.texts()?);
        }
    }
    for (state, pulled) in states.iter_mut().zip(&pulled) {
        state.parts.retain(|part| pulled.contains(part));
    }
    Ok(())
}

/// Adds how long ago systemd restarted services automatically.
fn add_revivals(bus: &mut Bus, listed: &[Listed], states: &mut [UnitState]) -> Result<(), BusError> {
    let mut revived = Vec::new();
    for (place, message) in ask(bus, listed, &services(listed, states), SERVICE, "NRestarts")? {
        if inside(&message, "u")?.number()? > 0 {
            revived.push(place);
        }
    }
    let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
    let now = Duration::new(u64::try_from(now.tv_sec).unwrap_or(0), u32::try_from(now.tv_nsec).unwrap_or(0));
    for (place, message) in ask(bus, listed, &revived, UNIT, "ActiveEnterTimestampMonotonic")? {
        let since = Duration::from_micros(inside(&message, "t")?.long()?);
        states[place].revived = Some(now.saturating_sub(since));
    }
    Ok(())
}

/// Adds for each unit with a file whether the file changed since systemd read it.
fn add_staleness(bus: &mut Bus, listed: &[Listed], states: &mut [UnitState]) -> Result<(), BusError> {
    let places = places(states, |state| state.load != Load::NotFound);
    for (place, message) in ask(bus, listed, &places, UNIT, "NeedDaemonReload")? {
        states[place].stale = inside(&message, "b")?.number()? != 0;
    }
    Ok(())
}

/// Returns the units of these names in the same order. Each name must be valid.
fn list(bus: &mut Bus, names: &[String]) -> Result<Vec<Listed>, BusError> {
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let answer = bus.call(&manager(bus, "ListUnitsByNames").texts(names))?;
    let listed = answer.values(LISTED)?.each(8, |unit| {
        let name = unit.text()?.to_owned();
        let (_, load, active) = (unit.text()?, unit.text()?, unit.text()?);
        let (load, active) = (load_of(load), active_of(active));
        let _ = (unit.text()?, unit.text()?);
        let object = unit.text()?.to_owned();
        let _ = (unit.number()?, unit.text()?, unit.text()?);
        Ok(Listed { name, load, active, object })
    })?;
    if listed.len() == names.len() {
        Ok(listed)
    } else {
        Err(BusError::Refused(format!(
            "expected the states of {} units, found {}",
            names.len(),
            listed.len()
        )))
    }
}

fn load_of(word: &str) -> Load {
    match word {
        "not-found" => Load::NotFound,
        "masked" => Load::Masked,
        "bad-setting" | "error" => Load::Bad,
        _ => Load::Loaded,
    }
}

fn active_of(word: &str) -> Active {
    match word {
        "active" | "reloading" | "refreshing" => Active::Active,
        "activating" => Active::Activating,
        "deactivating" => Active::Deactivating,
        "failed" => Active::Failed,
        _ => Active::Inactive,
    }
}

/// Subscribes to the ends of jobs.
fn listen(bus: &mut Bus) -> Result<(), BusError> {
    if bus.is_routed() {
        const BUS: &str = "org.freedesktop.DBus";
        let rule = format!("type='signal',sender='{SYSTEMD}',interface='{MANAGER}',member='JobRemoved'");
        bus.call(&Call::new(Some(BUS), "/org/freedesktop/DBus", BUS, "AddMatch").text(&rule))?;
    }
    bus.call(&manager(bus, "Subscribe")).map(drop)
}

/// Waits for the end of the job and returns its result.
fn wait(bus: &mut Bus, job: &str) -> Result<String, BusError> {
    loop {
        let signal = bus.signal()?;
        if signal.kind != Kind::Signal || signal.member != "JobRemoved" {
            continue;
        }
        let mut values = signal.values("uoss")?;
        let (_, path, _) = (values.number()?, values.text()?, values.text()?);
        if path == job {
            return Ok(values.text()?.to_owned());
        }
    }
}

/// Makes systemd read all unit files again, and waits until it has.
fn reload(bus: &mut Bus) -> Result<(), BusError> {
    bus.allow(RELOAD);
    bus.call(&manager(bus, "Reload")).map(drop)
}

/// Whether systemd can load a unit of this name: it is valid and not a template.
fn can_be_loaded(unit: &str) -> bool {
    crate::system::services::is_unit_name(unit) && !is_template(unit)
}

fn is_template(unit: &str) -> bool {
    unit.contains("@.")
}

fn is_id(text: &str) -> bool {
    text.len() == 32
        && text.bytes().all(|byte| byte.is_ascii_hexdigit())
        && text.bytes().any(|byte| byte != b'0')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_journal_is_asked_for_what_came_since_the_run_began() {
        let check = |shown: &str, words: &str| {
            let began = UNIX_EPOCH + Duration::from_micros(1_700_000_000_000_042);
            let asked = journal_words("app.service", 20, began, shown).join(" ");
            let usual = "journalctl --no-pager --quiet --output=short --lines=20 --since=@1700000000.000042";
            assert_eq!(asked, format!("{usual} {words}"));
        };
        check("", "--unit=app.service");
        check("InvocationID=\nExecMainPID=0\n", "--unit=app.service");
        let id = "0123456789abcdef0123456789abcdef";
        let own = format!("_SYSTEMD_INVOCATION_ID={id} + INVOCATION_ID={id}");
        check(&format!("ExecMainPID=0\nInvocationID={id}\n"), &own);
        check(&format!("ExecMainPID=4711\nInvocationID={id}\n"), &format!("{own} + _PID=4711"));
    }
}
