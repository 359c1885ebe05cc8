//! Notifications: sends the daemon's news to a web address or to a program.
//!
//! Each target has its own queue and thread. A full queue drops new notifications and counts them. So a slow target
//! delays neither the daemon nor another target. A notification is the news as JSON, with a line for people in
//! `text`. It has names of resources and no values.

use std::collections::VecDeque;
use std::fmt;
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

use converge_model::{Address, HostState};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};

use crate::events::{Listener, News, NewsKind, responses, span};
pub use crate::target::TargetError;
use crate::target::{Failed, TIMEOUT};
pub use crate::webhook::Webhook;

/// The most notifications that wait for a target.
const QUEUE: usize = 256;
/// How often a notification is tried. The tries take two minutes, in which most restarted services are back.
const TRIES: u32 = 8;
/// The pause after the first failure. It doubles after each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// How long the end waits for the current delivery.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// The most resources that a line for people names.
const NAMED: usize = 10;

/// The target of notifications.
#[derive(Clone)]
pub enum Target {
    /// A web address that takes them as POST requests.
    Webhook(Webhook),
    /// A program that receives each notification as one line on its standard input.
    Command(Vec<String>),
}

/// The result of a notification, with its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `webhook` or `command`.
    pub target: &'static str,
    /// The name of the target, without parts that may be secret.
    pub name: String,
    /// The result.
    pub outcome: DeliveryOutcome,
}

/// The result of a notification.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The target accepted it.
    Delivered,
    /// All tries failed. The reason is that of the last try.
    Failed(String),
    /// The queue was full.
    Dropped,
}

impl DeliveryOutcome {
    /// `delivered`, `failed` or `dropped`.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Failed(_) => "failed",
            Self::Dropped => "dropped",
        }
    }
}

impl Target {
    /// Creates a target from a program and its arguments.
    ///
    /// # Errors
    /// [`TargetError::Command`] if there is no program.
    pub fn command(words: Vec<String>) -> Result<Self, TargetError> {
        if words.first().is_none_or(String::is_empty) {
            Err(TargetError::Command)
        } else {
            Ok(Self::Command(words))
        }
    }

    const fn word(&self) -> &'static str {
        match self {
            Self::Webhook(_) => "webhook",
            Self::Command(_) => "command",
        }
    }
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Webhook(webhook) => webhook.fmt(f),
            Self::Command(words) => f.write_str(words.first().map_or("", String::as_str)),
        }
    }
}

/// Sends the news that people need to all targets.
pub struct Notifier {
    project: String,
    lines: Vec<Line>,
}

/// A target and its queue. A thread serves the queue.
struct Line {
    target: Arc<Target>,
    queue: Arc<Queue>,
    report: Report,
}

/// Receives the results of notifications. It is called from any thread.
pub type Report = Arc<dyn Fn(&Delivery) + Send + Sync>;

impl Notifier {
    /// Starts to send the news of `project` to `targets`. `report` receives the result of each notification.
    ///
    /// # Errors
    /// If the system cannot create a thread.
    pub fn start(project: &str, targets: Vec<Target>, report: &Report) -> io::Result<Self> {
        let line = |target: Target| {
            let (target, queue) = (Arc::new(target), Arc::new(Queue::default()));
            let server = Server { target: target.clone(), queue: queue.clone(), report: report.clone() };
            thread::Builder::new().name("notify".to_owned()).spawn(move || server.work())?;
            Ok(Line { target, queue, report: report.clone() })
        };
        let lines = targets.into_iter().map(line).collect::<io::Result<_>>()?;
        Ok(Self { project: project.to_owned(), lines })
    }
}

impl Listener for Notifier {
    fn hear(&mut self, news: &News) {
        let Some(what) = text(news) else { return };
        let text = format!("{}: {what}", self.project);
        let Ok(body) = serde_json::to_string(&Notice { news, project: &self.project, text }) else { return };
        for line in &self.lines {
            if !line.queue.push(body.clone()) {
                (line.report)(&delivery(&line.target, DeliveryOutcome::Dropped));
            }
        }
    }
}

/// At the end, waiting notifications are tried once, for a limited time. So a dead receiver does not delay the end of
/// the daemon.
impl Drop for Notifier {
    fn drop(&mut self) {
        self.lines.iter().for_each(|line| line.queue.close());
        let deadline = Instant::now() + END_PATIENCE;
        for line in &self.lines {
            for _ in line.queue.wait_for_end(deadline) {
                (line.report)(&delivery(&line.target, DeliveryOutcome::Dropped));
            }
        }
    }
}

/// The news, and a line for people. Many services show `text` as it is.
#[derive(Serialize)]
struct Notice<'a> {
    #[serde(flatten)]
    news: &'a News,
    /// The name of the project, because a receiver may serve several projects.
    project: &'a str,
    text: String,
}

/// Returns a line for people. None if the news is not important enough to notify.
fn text(news: &News) -> Option<String> {
    let what = match &news.watch {
        NewsKind::DriftFound { resources } => format!("drift: {}", responses(resources, named)),
        NewsKind::Corrected { addresses } => format!("corrected {}", list(addresses)),
        NewsKind::Failed { state, why, addresses } => failure(*state, why, addresses),
        NewsKind::Recovered { addresses } if addresses.is_empty() => {
            "recovered: as it was last applied".to_owned()
        }
        NewsKind::Recovered { addresses } => format!("recovered: {}", list(addresses)),
        NewsKind::Fight { address, corrections, within } => format!(
            "{address} was corrected {corrections} times within {}, and is left alone until it is as it was applied: \
             something else changes it",
            span(*within)
        ),
        NewsKind::TooManyDrifted { drifted, of } => format!(
            "{drifted} of {of} hosts drifted: nothing is corrected until there are fewer; `converge drift` shows the drift, \
             `converge apply` undoes it"
        ),
        NewsKind::CorrectionGoesOn { drifted, of } => {
            format!("no more than {drifted} of {of} hosts drifted: drift is corrected again")
        }
        NewsKind::InventoryBroken { mistakes } => {
            format!("the inventory has mistakes, and the daemon uses the last valid one: {}", some(mistakes))
        }
        NewsKind::InventoryReloaded { hosts, mended: true } => {
            format!("the inventory is valid again, and used for {hosts} hosts")
        }
        NewsKind::MemoryBroken { why } => {
            format!("nothing is corrected, because the daemon cannot write its state: {why}")
        }
        NewsKind::MemoryMended => "the daemon can write its state, and corrects drift again".to_owned(),
        NewsKind::Started { .. }
        | NewsKind::Looked { .. }
        | NewsKind::TickSkipped { .. }
        | NewsKind::InventoryReloaded { mended: false, .. }
        | NewsKind::Stopping => return None,
    };
    let host = news.host.as_ref().map(|host| format!("{host}: ")).unwrap_or_default();
    let shown = matches!(news.watch, NewsKind::DriftFound { .. } | NewsKind::Failed { .. });
    let more = news.run.as_ref().filter(|_| shown).map(|run| format!(" (`converge history {run}` shows it)"));
    Some(host + &what + &more.unwrap_or_default())
}

/// Returns what failed. The reasons name their resources.
fn failure(state: HostState, why: &[String], addresses: &[Address]) -> String {
    let what = if why.is_empty() { list(addresses) } else { some(why) };
    if what.is_empty() { state.word().to_owned() } else { format!("{}: {what}", state.word()) }
}

/// Returns the first line of the first reason, and how many more reasons there are.
fn some(why: &[String]) -> String {
    let first = why.first().and_then(|first| first.lines().next()).unwrap_or_default();
    match why.len() {
        0 | 1 => first.to_owned(),
        many => format!("{first} (and {} more)", many - 1),
    }
}

fn list(addresses: &[Address]) -> String {
    named(&addresses.iter().collect::<Vec<_>>())
}

fn named(addresses: &[&Address]) -> String {
    let some: Vec<_> = addresses.iter().take(NAMED).map(|address| address.as_str()).collect();
    match addresses.len() {
        0..=NAMED => some.join(", "),
        many => format!("{} and {} more", some.join(", "), many - NAMED),
    }
}

fn delivery(target: &Target, outcome: DeliveryOutcome) -> Delivery {
    Delivery { target: target.word(), name: target.to_string(), outcome }
}

/// The notifications that wait for a target.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bodies: VecDeque<String>,
    is_closed: bool,
    /// Whether the thread that takes notifications out has ended.
    is_left: bool,
}

impl Queue {
    /// Adds a notification. Returns whether there was room.
    fn push(&self, body: String) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.bodies.len() < QUEUE && !waiting.is_closed;
        if has_room {
            waiting.bodies.push_back(body);
        }
        self.changed.notify_all();
        has_room
    }

    /// Returns the next notification. None at the end.
    fn take(&self) -> Option<String> {
        let mut waiting = self.lock();
        loop {
            match waiting.bodies.pop_front() {
                Some(body) => return Some(body),
                None if waiting.is_closed => {
                    waiting.is_left = true;
                    self.changed.notify_all();
                    return None;
                }
                None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits until the thread has handled all notifications, until `deadline` at most. Returns the notifications that
    /// are left, which are not handled any more.
    fn wait_for_end(&self, deadline: Instant) -> VecDeque<String> {
        let mut waiting = self.lock();
        while !waiting.is_left
            && let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
        {
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        std::mem::take(&mut waiting.bodies)
    }

    /// Waits for `pause`. Returns whether the queue was closed meanwhile or before.
    fn ends_within(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut waiting = self.lock();
        while !waiting.is_closed {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn close(&self) {
        self.lock().is_closed = true;
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The thread that serves a target.
struct Server {
    target: Arc<Target>,
    queue: Arc<Queue>,
    report: Report,
}

impl Server {
    fn work(self) {
        let runtime = Builder::new_current_thread().enable_all().build();
        while let Some(body) = self.queue.take() {
            let outcome = match &runtime {
                Ok(runtime) => self.deliver(runtime, &body),
                Err(error) => DeliveryOutcome::Failed(error.to_string()),
            };
            (self.report)(&delivery(&self.target, outcome));
        }
    }

    /// Tries until the target accepts the notification or there are no tries left. At the end of the daemon it does
    /// not try again.
    fn deliver(&self, runtime: &Runtime, body: &str) -> DeliveryOutcome {
        let mut pause = PAUSE;
        for tried in 1.. {
            let failed = match &*self.target {
                Target::Webhook(webhook) => webhook.post(body),
                Target::Command(words) => runtime.block_on(call(words, body)),
            };
            match failed {
                Ok(()) => return DeliveryOutcome::Delivered,
                Err(Failed { why, is_final, after })
                    if is_final || tried == TRIES || self.queue.ends_within(pause.max(after)) =>
                {
                    return DeliveryOutcome::Failed(why);
                }
                Err(_) => pause *= 2,
            }
        }
        DeliveryOutcome::Delivered
    }
}

/// Runs a program with a notification on its standard input. After the timeout, the program and its children are
/// killed.
async fn call(words: &[String], body: &str) -> Result<(), Failed> {
    let Some((program, arguments)) = words.split_first() else {
        return Err(Failed::now("there is no program"));
    };
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(Failed::now)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match tokio::time::timeout(TIMEOUT, fed(&mut child, body)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(Failed::now(status)),
        Ok(Err(error)) => Err(Failed::now(error)),
        Err(_) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(Failed::now(format_args!("it took longer than {} seconds", TIMEOUT.as_secs())))
        }
    }
}

async fn fed(child: &mut Child, body: &str) -> io::Result<std::process::ExitStatus> {
    if let Some(mut input) = child.stdin.take() {
        // The program may not read its input, which is no error.
        let _ = input.write_all(format!("{body}\n").as_bytes()).await;
    }
    child.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::events::{Drifted, Response};
    use converge_model::{HostName, RunId};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;
    use std::thread::JoinHandle;

    fn news(watch: NewsKind) -> News {
        let host = HostName::new("web1").ok();
        News { version: 1, at: jiff::Timestamp::UNIX_EPOCH, host, run: None, watch }
    }

    fn corrected() -> News {
        news(NewsKind::Corrected { addresses: vec![Address::new(None, "file", "/etc/motd")] })
    }

    fn reporting() -> (Report, mpsc::Receiver<Delivery>) {
        let (sender, receiver) = mpsc::channel();
        let sender = Mutex::new(sender);
        (Arc::new(move |delivery: &Delivery| drop(sender.lock().unwrap().send(delivery.clone()))), receiver)
    }

    /// Starts a server that answers each connection with one of `answers`. Returns its address, and the received
    /// heads and bodies.
    fn server(answers: &'static [&'static str]) -> (String, JoinHandle<Vec<(String, String)>>) {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = format!("http://{}/hook/s3cret-path", listener.local_addr().unwrap());
        let serve = move || {
            let mut asked = Vec::new();
            for answer in answers {
                let (stream, _) = listener.accept().unwrap();
                let mut reader = BufReader::new(stream);
                let (mut head, mut length) = (String::new(), 0);
                while !head.ends_with("\r\n\r\n") {
                    let start = head.len();
                    reader.read_line(&mut head).unwrap();
                    if let Some(number) = head[start..].to_lowercase().strip_prefix("content-length:") {
                        length = number.trim().parse().unwrap();
                    }
                }
                let mut body = vec![0; length];
                reader.read_exact(&mut body).unwrap();
                let close = "Content-Length: 0\r\nConnection: close\r\n\r\n";
                write!(reader.get_mut(), "HTTP/1.1 {answer}\r\n{close}").unwrap();
                asked.push((head, String::from_utf8(body).unwrap()));
            }
            asked
        };
        (address, thread::spawn(serve))
    }

    #[test]
    fn a_webhook_hears_what_happened_and_is_tried_again() {
        let (address, server) = server(&["503 Busy", "204 Fine"]);
        let webhook = Webhook::new(&address, "Authorization: Bearer canary\nX-Team: ops\n").unwrap();
        let (report, deliveries) = reporting();
        let mut notifier = Notifier::start("shop", vec![Target::Webhook(webhook)], &report).unwrap();
        notifier.hear(&corrected());
        let delivery = deliveries.recv().unwrap();
        assert_eq!(delivery.outcome, DeliveryOutcome::Delivered);
        assert!(!format!("{delivery:?}").contains("s3cret") && !format!("{delivery:?}").contains("canary"));
        let asked = server.join().unwrap();
        assert_eq!(asked[0], asked[1]);
        let (head, body) = &asked[0];
        assert!(head.starts_with("POST /hook/s3cret-path HTTP/1.1\r\n"), "{head}");
        assert!(head.to_lowercase().contains("authorization: bearer canary\r\n"), "{head}");
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["text"], "shop: web1: corrected file[/etc/motd]");
        assert_eq!((&body["event"], &body["addresses"][0]), (&"corrected".into(), &"file[/etc/motd]".into()));
    }

    #[test]
    fn who_refuses_or_sends_elsewhere_is_not_asked_again() {
        for answer in [&["403 No"] as &[_], &["302 Elsewhere\r\nLocation: http://127.0.0.1:1/"]] {
            let (address, server) = server(answer);
            let (report, deliveries) = reporting();
            let targets = vec![Target::Webhook(Webhook::new(&address, "").unwrap())];
            let mut notifier = Notifier::start("shop", targets, &report).unwrap();
            notifier.hear(&corrected());
            let outcome = deliveries.recv().unwrap().outcome;
            assert!(
                matches!(&outcome, DeliveryOutcome::Failed(why) if why.contains("it answered")),
                "{outcome:?}"
            );
            assert_eq!(server.join().unwrap().len(), 1);
        }
    }

    #[test]
    fn a_command_hears_it_on_its_input() {
        let temp = tempfile::tempdir().unwrap();
        let path = temp.path().join("heard").display().to_string();
        let words = ["sh", "-c", "cat >> \"$0\"", &path].map(str::to_owned).to_vec();
        let (report, deliveries) = reporting();
        let mut notifier = Notifier::start("shop", vec![Target::command(words).unwrap()], &report).unwrap();
        notifier.hear(&corrected());
        notifier.hear(&news(NewsKind::TickSkipped { skipped: 1 }));
        let failed = NewsKind::Failed {
            state: HostState::Unreachable,
            why: vec!["no route".into()],
            addresses: vec![],
        };
        notifier.hear(&news(failed));
        drop(notifier);
        assert_eq!(deliveries.try_iter().filter(|d| d.outcome == DeliveryOutcome::Delivered).count(), 2);
        let heard = std::fs::read_to_string(path).unwrap();
        let texts = heard
            .lines()
            .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()["text"].clone());
        assert_eq!(
            texts.collect::<Vec<_>>(),
            ["shop: web1: corrected file[/etc/motd]", "shop: web1: unreachable: no route"]
        );
    }

    #[test]
    fn a_target_that_is_stuck_holds_no_other_up() {
        let temp = tempfile::tempdir().unwrap();
        let gate = temp.path().join("gate");
        rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let stuck = ["sh", "-c", "read line < \"$0\"", gate.to_str().unwrap()].map(str::to_owned).to_vec();
        let (report, deliveries) = reporting();
        let mut notifier = Notifier::start("shop", vec![Target::command(stuck).unwrap()], &report).unwrap();
        let began = Instant::now();
        (0..QUEUE + 50).for_each(|_| notifier.hear(&corrected()));
        assert!(began.elapsed() < TIMEOUT / 2);
        assert_eq!(deliveries.recv().unwrap().outcome, DeliveryOutcome::Dropped);
        // Lets the running delivery finish, so that the end does not wait for it.
        notifier.lines[0].queue.lock().bodies.clear();
        let mut open = std::fs::OpenOptions::new().read(true).write(true).open(&gate).unwrap();
        open.write_all(b"go\n").unwrap();
        drop(notifier);
    }

    #[test]
    fn a_person_reads_what_happened_what_is_done_about_it_and_where_there_is_more() {
        let check = |watch: NewsKind, expected: &str| {
            let run = RunId::new("20261121T030000-3f9a01bc").ok();
            assert_eq!(text(&News { run, ..news(watch) }).unwrap_or_default(), expected);
        };
        let shown = " (`converge history 20261121T030000-3f9a01bc` shows it)";
        let file = |name: &str| Address::new(None, "file", name);
        let drifted =
            |name: &str, response| Drifted { address: file(name), properties: Vec::new(), response };
        let resources = vec![
            drifted("/a", Response::Reports),
            drifted("/b", Response::Corrects),
            drifted("/c", Response::Reports),
        ];
        check(
            NewsKind::DriftFound { resources },
            &format!("web1: drift: corrects file[/b]; reports file[/a], file[/c]{shown}"),
        );
        let many = (0..30).map(|n| file(&n.to_string())).collect();
        let ten: Vec<_> = (0..10).map(|n| format!("file[{n}]")).collect();
        check(
            NewsKind::Corrected { addresses: many },
            &format!("web1: corrected {} and 20 more", ten.join(", ")),
        );
        let why =
            vec!["file[/a]: no space left\nand much output".to_owned(), "file[/b]: the same".to_owned()];
        let (state, addresses) = (HostState::Failed, vec![file("/a"), file("/b")]);
        check(
            NewsKind::Failed { state, why, addresses },
            &format!("web1: failed: file[/a]: no space left (and 1 more){shown}"),
        );
        let fight = "web1: file[/a] was corrected 3 times within 1 day, and is left alone until it is as it was applied: \
                     something else changes it";
        check(NewsKind::Fight { address: file("/a"), corrections: 3, within: 86_400 }, fight);
        let mended = "web1: the inventory is valid again, and used for 3 hosts";
        check(NewsKind::InventoryReloaded { hosts: 3, mended: true }, mended);
        check(NewsKind::InventoryReloaded { hosts: 3, mended: false }, "");
    }
}
