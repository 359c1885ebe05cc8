//! `converge watch`.

use std::collections::HashMap;
use std::env;
use std::ffi::OsString;
use std::io::{IsTerminal as _, Write as _, stdin};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use clap::Args;
use converge_engine::secrets::Identities;
use converge_engine::{Project, StateFolder, Stop, start};
use converge_fleet::Fleet;
use converge_history::Recorder;
use converge_lang::diagnostic::{FileId, Files, Severity};
use converge_lang::{Diagnostics, Inventory, Loaded, Transport};
use converge_model::{Digest, Event, EventKind, HostName, HostPlan, exit};
use converge_server::http::{Health, Site};
use converge_server::install::{FOLDER, Unit};
use converge_server::metrics::Metrics;
use converge_server::notify::{Delivery, DeliveryOutcome, Notifier, Report, Target, Webhook};
use converge_server::{Charge, Listener, MemoryError, News, NewsKind, Pace, Reading, WatchError};
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::agents::agents;
use crate::arguments::{FleetArguments, HistoryArguments, HostArguments, StrictArguments, duration};
use crate::failure::{Failure, LOCKED};
use crate::interrupt::{Ends, listen};
use crate::project::{Opened, find, loader};
use crate::view::Screen;
use crate::view::human::watch::news as words;
use crate::view::json::{self, Document};
use crate::view::text::harmless;
use crate::visit::{done_once, fleet_options, recorder, seen_facts, warn};

/// Look for drift on schedule, and correct it if the inventory says so
///
/// The node `drift` of the inventory sets when the daemon checks a host, and
/// whether it corrects drift:
///
///   drift every="30m" mode="correct"
///
/// The daemon corrects only changes on the host; changes of the inventory wait for
/// an apply. It reads the inventory again if the files change, and immediately on
/// SIGHUP. While the inventory has mistakes, the daemon uses the last valid one.
/// SIGTERM or Ctrl-C ends the daemon after the running steps.
#[derive(Debug, Args)]
#[command(verbatim_doc_comment)]
pub(crate) struct WatchArgs {
    /// Interval of checks if the inventory sets none
    #[arg(long, value_name = "TIME", default_value = "30m", value_parser = duration)]
    every: Duration,
    /// Check all hosts once and exit, with the exit codes of apply, or 2 if drift is left
    #[arg(long)]
    once: bool,
    /// Serve /metrics, /healthz and /readyz: `9180` answers this machine, `0.0.0.0:9180` all clients
    #[arg(long, value_name = "ADDRESS", value_parser = socket)]
    listen: Option<SocketAddr>,
    /// Send notifications of drift, corrections and failures to this URL, as JSON
    ///
    /// CONVERGE_WEBHOOK_HEADERS holds the headers of the request, one per line.
    #[arg(long, value_name = "URL", env = "CONVERGE_WEBHOOK", hide_env_values = true)]
    webhook: Vec<String>,
    /// Run this program for each notification; its input is a line of JSON
    #[arg(long, value_name = "PROGRAM")]
    notify: Vec<String>,
    /// Write a systemd unit that runs the daemon with the other options given here, and exit
    #[arg(long, conflicts_with = "once")]
    install: bool,
    #[command(flatten)]
    strict: StrictArguments,
    #[command(flatten)]
    fleet: FleetArguments,
    #[command(flatten)]
    history: HistoryArguments,
}

impl WatchArgs {
    pub(crate) fn run(self, mut screen: Screen) -> Result<u8, Failure> {
        // Show mistakes in the usual way before the daemon starts.
        let FleetArguments { project: asked, hosts, reach } = self.fleet.clone();
        let opened = Opened::checked(&asked, &mut screen)?;
        opened.hosts(&hosts, &mut screen)?;
        if self.install {
            return install(&opened, &mut screen);
        }
        let metrics = Metrics::new(env!("CARGO_PKG_VERSION"));
        let notifier = self.notifier(&opened.name(), &metrics)?;
        let owner = opened.owner();
        let folder = StateFolder::of_user()?.path().join("watch").join(Digest::of(owner.as_bytes()).short());
        let project = find(&asked)?;
        // These identities have asked for the passphrase already. So it is not asked for again.
        let identities = opened.identities.clone();
        let options = fleet_options(&reach)?;
        let recorder = recorder(&opened, self.history.retention(), &mut screen).map(Arc::new);
        let (stop_sender, stop) = watch::channel(Stop::No);
        let (reread_sender, reread) = watch::channel(());
        let hangup = Hangup::of(self.once, stop_sender.clone(), reread_sender);
        let look = screen.look();
        let voice = screen.voice();
        let teller = Teller { screen, plans: HashMap::new(), recorder: recorder.clone() };
        let charge = Charge {
            read: Arc::new(move || read(&project, identities.clone(), &asked.sets, &hosts)),
            fleet: Box::new(move || Fleet::new(agents(), options.clone())),
            folder,
            every: self.every,
            pace: if self.once { Pace::Once } else { Pace::Scheduled },
            reread,
            listeners: vec![Box::new(teller), Box::new(notifier)],
            recorder: recorder.clone(),
            site: Site { metrics, health: Health::default(), names: vec![this_machine()] },
            listen: self.listen,
            strict: self.strict.is_strict,
        };
        let runtime = Runtime::new()?;
        let ended = runtime.block_on(async {
            let signals =
                [tokio::spawn(listen(stop_sender, voice, Ends::Steps)), tokio::spawn(hangup.listen())];
            let ended = converge_server::run(charge, stop).await;
            signals.iter().for_each(JoinHandle::abort);
            ended
        });
        // No other part uses the recorder now. So close it: that writes the rest and closes the database.
        let left = recorder.and_then(Arc::into_inner).and_then(Recorder::close);
        if let Some(trouble) = left {
            warn(&mut Screen::new(look), &trouble);
        }
        match ended {
            Ok(code) => Ok(code),
            Err(WatchError::Memory(error @ MemoryError::Held)) => {
                let failure = Failure::from(error).help("stop the other daemon first");
                Err(failure.code(LOCKED).exit(exit::LOCKED))
            }
            Err(WatchError::Memory(error @ MemoryError::Unknown { .. })) => Err(Failure::from(error).help(
                "move it away; the daemon then checks all hosts, and corrects again where it gave up a fight",
            )),
            Err(error) => Err(error.into()),
        }
    }
}

impl WatchArgs {
    /// Returns the notifier for all targets of the options.
    fn notifier(&self, project: &str, metrics: &Metrics) -> Result<Notifier, Failure> {
        let headers = env::var("CONVERGE_WEBHOOK_HEADERS").unwrap_or_default();
        let webhooks =
            self.webhook.iter().map(|address| Webhook::new(address, &headers).map(Target::Webhook));
        let programs = self.notify.iter().map(|program| Target::command(vec![program.clone()]));
        let targets = webhooks.chain(programs).collect::<Result<_, _>>()?;
        let metrics = metrics.clone();
        let report: Report = Arc::new(move |delivery: &Delivery| {
            metrics.notified(delivery.target, delivery.outcome.word());
            let why = match &delivery.outcome {
                DeliveryOutcome::Delivered => return,
                DeliveryOutcome::Failed(why) => why,
                DeliveryOutcome::Dropped => {
                    "too many notifications wait for it, or the daemon ended before it answered"
                }
            };
            let _ = writeln!(
                anstream::stderr(),
                "failed to notify {}: {}",
                harmless(&delivery.name),
                harmless(why)
            );
        });
        Ok(Notifier::start(project, targets, &report)?)
    }
}

/// The effect of SIGHUP. A daemon reads its project again. With a terminal or for a single pass, it means that the
/// terminal is gone, so the run stops.
enum Hangup {
    Stop(watch::Sender<Stop>),
    Reread(watch::Sender<()>),
}

impl Hangup {
    fn of(is_once: bool, stop: watch::Sender<Stop>, reread: watch::Sender<()>) -> Self {
        if is_once || stdin().is_terminal() { Self::Stop(stop) } else { Self::Reread(reread) }
    }

    async fn listen(self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else { return };
        while hangup.recv().await.is_some() {
            match &self {
                Self::Stop(stop) => {
                    stop.send_replace(Stop::AfterStep);
                }
                Self::Reread(reread) => reread.send_replace(()),
            }
        }
    }
}

/// Writes the unit that starts the daemon with the current arguments.
fn install(opened: &Opened, screen: &mut Screen) -> Result<u8, Failure> {
    let by = start::by();
    if by.starts_with("root@") && env::var("SUDO_USER").is_ok_and(|user| !["", "root"].contains(&&*user)) {
        let help = "for you: sudo --preserve-env=HOME,USER,PATH converge watch --install; for root: with SUDO_USER= \
                    in front";
        return Err(Failure::new("the daemon would run as root, with root's keys and history").help(help));
    }
    let variables = [
        "XDG_STATE_HOME",
        "CONVERGE_SSH_CONFIG",
        "CONVERGE_IDENTITY",
        "CONVERGE_KEEP_HISTORY",
        "CONVERGE_KEEP_RUNS",
        "SSL_CERT_FILE",
        "SSL_CERT_DIR",
    ];
    let set = variables.iter().filter_map(|name| Some(((*name).to_owned(), env::var(name).ok()?)));
    let local = |host: &HostName| {
        matches!(opened.inventory.connection(host).transport, Transport::Local { root: None })
    };
    let mut unit = Unit {
        project: opened.name(),
        program: env::current_exe()?,
        arguments: lasting(env::args_os().skip(1))?,
        folder: env::current_dir()?,
        user: by.split('@').next().unwrap_or_default().to_owned(),
        writes: vec![StateFolder::of_user()?.path().to_owned()],
        environment: set.collect(),
        environment_file: PathBuf::new(),
        manages_this_machine: opened.inventory.hosts().any(local),
    };
    let name = unit.name();
    unit.environment_file = Path::new("/etc/converge").join(&name).with_extension("env");
    let written = unit.write(Path::new(FOLDER)).map_err(|error| {
        Failure::new(format!("failed to write {name} in {FOLDER}: {error}")).help("run it as root")
    })?;
    if screen.is_json() {
        screen.print_json(&Document::Written { file: &written, added: None });
        return Ok(exit::OK);
    }
    let text = format!(
        "wrote {}\n`systemctl daemon-reload && systemctl enable --now {name}` starts it\n\
         write secrets such as CONVERGE_WEBHOOK to {}, for root alone\n",
        written.display(),
        unit.environment_file.display()
    );
    screen.print(&text);
    Ok(exit::OK)
}

/// Returns the arguments for the unit. All users can read the unit, so no secret may be in them. No user can be asked
/// when it runs.
fn lasting(given: impl Iterator<Item = OsString>) -> Result<Vec<String>, Failure> {
    let mut arguments = Vec::new();
    for argument in given {
        let argument = argument.into_string().map_err(|argument| {
            Failure::new(format!("an argument in a unit must be UTF-8, found {}", argument.display()))
        })?;
        let option = argument.split('=').next().unwrap_or_default();
        match option {
            "--install" => continue,
            "--webhook" => {
                return Err(Failure::new("all users can read the unit, and a web address may hold a secret")
                    .help("omit --webhook, and write CONVERGE_WEBHOOK to the file that --install names"));
            }
            "--ask-become-pass" | "--become-pass-fd" => {
                return Err(Failure::new(format!("{option} needs a user, and the daemon runs without one"))
                    .help("let the login of the daemon become root without a password"));
            }
            _ => arguments.push(argument),
        }
    }
    Ok(arguments)
}

/// Returns the name of this machine.
fn this_machine() -> String {
    let by = start::by();
    by.rsplit('@').next().unwrap_or_default().to_owned()
}

/// Parses an address to listen on. A port alone is on the loopback.
fn socket(text: &str) -> Result<SocketAddr, String> {
    let port = text.strip_prefix(':').unwrap_or(text);
    let loopback = port.parse().map(|port: u16| SocketAddr::from(([127, 0, 0, 1], port)));
    loopback.or_else(|_| text.parse()).map_err(|_| "write it as `9180` or `127.0.0.1:9180`".to_owned())
}

/// Reads the project with all its mistakes.
fn read(
    project: &Project,
    identities: Arc<Identities>,
    sets: &[(String, String)],
    hosts: &HostArguments,
) -> Reading {
    let (loader, sources) = loader(project, identities);
    let Loaded { inventory, mut diagnostics, files, .. } = loader.load(&project.entry, sets);
    let mut read = names(&files);
    if let Some(inventory) = &inventory {
        diagnostics.extend(inventory.check());
        read.extend(inventory.secret_files().map(str::to_owned));
    }
    let mut selected = Vec::new();
    let inventory = match inventory {
        Some(inventory) if !diagnostics.has_errors() => select(&inventory, hosts)
            .map(|hosts| {
                selected = hosts;
                Arc::new(inventory)
            })
            .map_err(|diagnostics| mistakes(&diagnostics, &files)),
        _ => Err(mistakes(&diagnostics, &files)),
    };
    let owner = project.owner(inventory.as_ref().map_or("", |inventory| inventory.project()));
    Reading {
        project: project.clone(),
        sources,
        hosts: selected,
        files: read,
        seen: seen_facts(&owner),
        done_once: done_once(&owner),
        inventory,
    }
}

fn select(inventory: &Inventory, hosts: &HostArguments) -> Result<Vec<HostName>, Diagnostics> {
    match hosts.limit.as_slice() {
        [] => Ok(inventory.hosts().cloned().collect()),
        patterns => inventory.select(patterns),
    }
}

/// Returns the files that were read, without those that come with Converge.
fn names(files: &Files) -> Vec<String> {
    let all = (0..).map_while(|id| files.get(FileId(id)));
    all.map(|file| file.name.clone()).filter(|name| !name.starts_with(['-', '('])).collect()
}

fn mistakes(diagnostics: &Diagnostics, files: &Files) -> Vec<String> {
    let errors = diagnostics.iter().filter(|diagnostic| diagnostic.severity == Severity::Error);
    let told = errors.map(|diagnostic| {
        match diagnostic.labels.first().and_then(|(span, _)| files.location(*span)) {
            Some((file, line, column)) => format!("{} ({file}:{line}:{column})", diagnostic.message),
            None => diagnostic.message.clone(),
        }
    });
    told.collect()
}

/// The screen as a receiver of the daemon's news.
struct Teller {
    screen: Screen,
    /// The plans of hosts that drifted, until they are reported.
    plans: HashMap<HostName, HostPlan>,
    /// The recorder of the daemon's runs.
    recorder: Option<Arc<Recorder>>,
}

impl Listener for Teller {
    fn hear(&mut self, news: &News) {
        if let Some(trouble) = self.recorder.as_ref().and_then(|recorder| recorder.trouble()) {
            warn(&mut self.screen, &trouble);
        }
        let found = matches!(news.watch, NewsKind::DriftFound { .. });
        let plan = news.host.as_ref().filter(|_| found).and_then(|host| self.plans.remove(host));
        if self.screen.is_json() {
            self.screen.print(&json::news(news));
        } else {
            let text = words(news, plan.as_ref(), self.screen.detail());
            self.screen.print(&text);
        }
        if let NewsKind::InventoryBroken { mistakes } = &news.watch {
            let lines: String = mistakes.iter().map(|mistake| format!("  {}\n", harmless(mistake))).collect();
            self.screen
                .say(&format!("the inventory has mistakes; the daemon uses the last valid one:\n{lines}"));
        }
    }

    fn event(&mut self, event: &Event) {
        if self.screen.is_json() {
            self.screen.print(&json::event(event));
        }
        if let (EventKind::Planned { plan, .. }, Some(host)) = (&event.kind, &event.host) {
            self.plans.insert(host.clone(), plan.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_unit_holds_what_lasts_and_no_secret() {
        let given = |words: &[&str]| lasting(words.iter().map(OsString::from)).ok();
        assert_eq!(given(&["watch", "--install", "--every", "5m"]).unwrap(), ["watch", "--every", "5m"]);
        for secret in ["--webhook", "--webhook=https://chat.example/s3cr3t", "--ask-become-pass"] {
            assert_eq!(given(&["watch", "--install", secret]), None, "{secret}");
        }
        let broken = std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]);
        assert!(lasting([broken].into_iter()).is_err());
    }
}
