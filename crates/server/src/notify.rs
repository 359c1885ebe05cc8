//! Notifications: what the daemon found and did, told to a web address or to a program.
//!
//! Each target has a queue and a thread of its own. A full queue drops what comes, and counts it: no target, however slow,
//! holds the daemon or another target up. What is told are the daemon's news as JSON with a line for people in `text`;
//! they hold names of resources and no values.

use std::collections::VecDeque;
use std::fmt::{self, Write as _};
use std::io;
use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use converge_model::{Address, Secret};
use rustix::process::{Pid, Signal, kill_process_group};
use serde::Serialize;
use tokio::io::AsyncWriteExt;
use tokio::process::{Child, Command};
use tokio::runtime::{Builder, Runtime};
use ureq::http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use ureq::http::{Uri, uri::Scheme};

use crate::events::{Listener, News, NewsKind};

/// How many notifications wait for a target at most.
const QUEUE: usize = 256;
/// How often a notification is tried.
const TRIES: u32 = 5;
/// How long after the first failure it is tried again; twice as long after each further one.
const PAUSE: Duration = Duration::from_secs(1);
/// How long a try may take.
const TIMEOUT: Duration = Duration::from_secs(20);
/// How long what waits at the end is still delivered.
const END_PATIENCE: Duration = Duration::from_secs(10);
/// How many resources a line for people names.
const NAMED: usize = 10;

/// Whom notifications go to.
#[derive(Clone)]
pub enum Target {
    /// A web address that takes them as POST requests.
    Webhook(Webhook),
    /// A program that takes each as one line on its standard input.
    Command(Vec<String>),
}

/// A web address.
#[derive(Clone)]
pub struct Webhook {
    address: Uri,
    headers: Vec<(HeaderName, Arc<Secret>)>,
}

/// A target makes no sense. No message holds more of an address than its host: the rest may be a secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TargetError {
    /// It is no address.
    #[error("the web address for notifications is not one")]
    Address,
    /// It is not encrypted, and leads to another machine.
    #[error("notifications go to {0} unencrypted")]
    Plain(String),
    /// A header is not `NAME: VALUE`.
    #[error("a header for notifications is not NAME: VALUE")]
    Header,
    /// The words of a command cannot be told apart, or there are none.
    #[error("the command for notifications is empty")]
    Command,
}

impl TargetError {
    /// What to do about it.
    pub const fn help(&self) -> &'static str {
        match self {
            Self::Address => "write it as https://host/path",
            Self::Plain(_) => "use https; only this machine itself is told over http",
            Self::Header => "write it as `Authorization: Bearer …`, one a line",
            Self::Command => "name a program and its arguments",
        }
    }
}

/// How a notification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// `webhook` or `command`.
    pub target: &'static str,
    /// Which one, without what may be a secret.
    pub name: String,
    /// How.
    pub outcome: DeliveryOutcome,
}

/// How a notification ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeliveryOutcome {
    /// The target took it.
    Delivered,
    /// It was tried often enough: why the last time failed.
    Failed(String),
    /// There was no room for it.
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

impl Webhook {
    /// A web address, with headers as `NAME: VALUE`, one a line, whose values are secrets.
    ///
    /// # Errors
    /// [`TargetError`] where the address is none, or leads to another machine unencrypted.
    pub fn new(address: &str, headers: &str) -> Result<Self, TargetError> {
        let address: Uri = address.trim().parse().map_err(|_| TargetError::Address)?;
        let host = address.host().ok_or(TargetError::Address)?;
        let is_here = matches!(host, "localhost" | "127.0.0.1" | "[::1]");
        match address.scheme() {
            Some(scheme) if *scheme == Scheme::HTTPS || (*scheme == Scheme::HTTP && is_here) => {}
            Some(scheme) if *scheme == Scheme::HTTP => return Err(TargetError::Plain(host.to_owned())),
            _ => return Err(TargetError::Address),
        }
        let lines = headers.lines().filter(|line| !line.trim().is_empty());
        let headers = lines.map(header).collect::<Result<_, _>>()?;
        Ok(Self { address, headers })
    }
}

fn header(line: &str) -> Result<(HeaderName, Arc<Secret>), TargetError> {
    let (name, value) = line.split_once(':').ok_or(TargetError::Header)?;
    let name = name.trim().parse().map_err(|_| TargetError::Header)?;
    HeaderValue::from_str(value.trim()).map_err(|_| TargetError::Header)?;
    Ok((name, Arc::new(Secret::new(value.trim().as_bytes().to_vec()))))
}

impl Target {
    /// A program and its arguments.
    ///
    /// # Errors
    /// [`TargetError::Command`] where there is none.
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
            Self::Webhook(webhook) => f.write_str(webhook.address.host().unwrap_or_default()),
            Self::Command(words) => f.write_str(words.first().map_or("", String::as_str)),
        }
    }
}

/// Tells the news that people want to hear to all targets.
pub struct Notifier(Vec<Line>);

/// A target, its queue, and who serves it.
struct Line {
    target: Arc<Target>,
    queue: Arc<Queue>,
    report: Report,
    thread: Option<JoinHandle<()>>,
}

/// Who hears how notifications ended; called from any thread.
pub type Report = Arc<dyn Fn(&Delivery) + Send + Sync>;

impl Notifier {
    /// Begins to serve `targets`. `report` hears how each notification ended.
    ///
    /// # Errors
    /// Where the system gives no thread.
    pub fn start(targets: Vec<Target>, report: &Report) -> io::Result<Self> {
        let line = |target: Target| {
            let (target, queue) = (Arc::new(target), Arc::new(Queue::default()));
            let server = Server { target: target.clone(), queue: queue.clone(), report: report.clone() };
            let thread = thread::Builder::new().name("notify".to_owned()).spawn(move || server.work())?;
            Ok(Line { target, queue, report: report.clone(), thread: Some(thread) })
        };
        targets.into_iter().map(line).collect::<io::Result<_>>().map(Self)
    }
}

impl Listener for Notifier {
    fn hear(&mut self, news: &News) {
        let Some(text) = text(news) else { return };
        let Ok(body) = serde_json::to_string(&Notice { news, text }) else { return };
        for line in &self.0 {
            if !line.queue.push(body.clone()) {
                (line.report)(&delivery(&line.target, DeliveryOutcome::Dropped));
            }
        }
    }
}

/// What waits at the end is tried once, as long as that does not take too long.
impl Drop for Notifier {
    fn drop(&mut self) {
        self.0.iter().for_each(|line| line.queue.close());
        for line in &mut self.0 {
            if let Some(thread) = line.thread.take() {
                let _ = thread.join();
            }
        }
    }
}

/// The news, and what a person reads of it: many services show `text` as it is.
#[derive(Serialize)]
struct Notice<'a> {
    #[serde(flatten)]
    news: &'a News,
    text: String,
}

/// A line for people; none for what nobody is to be woken by.
fn text(news: &News) -> Option<String> {
    let what = match &news.watch {
        NewsKind::DriftFound { resources } => {
            format!("drift found: {}", named(resources.iter().map(|drifted| &drifted.address)))
        }
        NewsKind::Corrected { addresses } => format!("drift corrected: {}", named(addresses)),
        NewsKind::Failed { state, why, addresses } => {
            let mut text = state.word().to_owned();
            if !addresses.is_empty() {
                let _ = write!(text, ": {}", named(addresses));
            }
            if let Some(first) = why.first() {
                let _ = write!(text, ": {first}");
            }
            text
        }
        NewsKind::Recovered { addresses } if addresses.is_empty() => "recovered".to_owned(),
        NewsKind::Recovered { addresses } => format!("recovered: {}", named(addresses)),
        NewsKind::Fight { address, corrections, within } => format!(
            "{address} was put back {corrections} times within {} minutes and is left alone now",
            within.div_ceil(60)
        ),
        NewsKind::TooManyDrifted { drifted, of } => {
            format!("{drifted} of {of} hosts drifted at once: nothing is put back")
        }
        NewsKind::InventoryBroken { mistakes } => {
            let first = mistakes.first().map_or("", String::as_str);
            format!("the inventory has mistakes, the last good one stays in force: {first}")
        }
        NewsKind::Started { .. }
        | NewsKind::Looked { .. }
        | NewsKind::TickSkipped { .. }
        | NewsKind::InventoryReloaded { .. }
        | NewsKind::Stopping => return None,
    };
    Some(match &news.host {
        Some(host) => format!("{host}: {what}"),
        None => what,
    })
}

fn named<'a>(addresses: impl IntoIterator<Item = &'a Address>) -> String {
    let all: Vec<_> = addresses.into_iter().map(Address::as_str).collect();
    match all.len() {
        0..=NAMED => all.join(", "),
        many => format!("{} and {} more", all[..NAMED].join(", "), many - NAMED),
    }
}

fn delivery(target: &Target, outcome: DeliveryOutcome) -> Delivery {
    Delivery { target: target.word(), name: target.to_string(), outcome }
}

/// What waits for a target.
#[derive(Default)]
struct Queue {
    state: Mutex<Waiting>,
    changed: Condvar,
}

#[derive(Default)]
struct Waiting {
    bodies: VecDeque<String>,
    /// When it was closed.
    closed: Option<Instant>,
}

impl Queue {
    /// Puts a notification in; whether there was room.
    fn push(&self, body: String) -> bool {
        let mut waiting = self.lock();
        let has_room = waiting.bodies.len() < QUEUE && waiting.closed.is_none();
        if has_room {
            waiting.bodies.push_back(body);
        }
        self.changed.notify_all();
        has_room
    }

    /// The next one; none at the end, or once the end takes too long.
    fn take(&self) -> Option<String> {
        let mut waiting = self.lock();
        loop {
            let is_late = waiting.closed.is_some_and(|closed| closed.elapsed() > END_PATIENCE);
            match waiting.bodies.pop_front() {
                Some(_) if is_late => return None,
                Some(body) => return Some(body),
                None if waiting.closed.is_some() => return None,
                None => waiting = self.changed.wait(waiting).unwrap_or_else(PoisonError::into_inner),
            }
        }
    }

    /// Waits; whether the end came meanwhile, or before.
    fn ends_within(&self, pause: Duration) -> bool {
        let deadline = Instant::now() + pause;
        let mut waiting = self.lock();
        while waiting.closed.is_none() {
            let Some(left) = deadline.checked_duration_since(Instant::now()).filter(|left| !left.is_zero())
            else {
                return false;
            };
            waiting = self.changed.wait_timeout(waiting, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        true
    }

    fn close(&self) {
        self.lock().closed.get_or_insert_with(Instant::now);
        self.changed.notify_all();
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who serves a target, on a thread of its own.
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

    /// Tries until it is taken, or was tried often enough. At the end nothing is tried again.
    fn deliver(&self, runtime: &Runtime, body: &str) -> DeliveryOutcome {
        let mut pause = PAUSE;
        for tried in 1.. {
            let failed = match &*self.target {
                Target::Webhook(webhook) => post(webhook, body),
                Target::Command(words) => runtime.block_on(call(words, body)),
            };
            match failed {
                Ok(()) => return DeliveryOutcome::Delivered,
                Err(Failed { why, is_final })
                    if is_final || tried == TRIES || self.queue.ends_within(pause) =>
                {
                    return DeliveryOutcome::Failed(why);
                }
                Err(_) => pause *= 2,
            }
        }
        DeliveryOutcome::Delivered
    }
}

/// A try that failed.
struct Failed {
    why: String,
    /// Whether there is no use in another one.
    is_final: bool,
}

fn failed(why: impl ToString) -> Failed {
    Failed { why: why.to_string(), is_final: false }
}

fn post(to: &Webhook, body: &str) -> Result<(), Failed> {
    // No redirections: the headers are for this address alone.
    let agent = ureq::Agent::config_builder()
        .timeout_global(Some(TIMEOUT))
        .http_status_as_error(false)
        .max_redirects(0)
        .max_redirects_will_error(false)
        .user_agent("converge")
        .build()
        .new_agent();
    let mut request = agent.post(&to.address).header(CONTENT_TYPE, "application/json");
    for (name, value) in &to.headers {
        let mut value = HeaderValue::from_bytes(value.expose()).map_err(failed)?;
        value.set_sensitive(true);
        request = request.header(name, value);
    }
    match request.send(body) {
        Ok(answer) if answer.status().is_success() => Ok(()),
        Ok(answer) => {
            let code = answer.status();
            // It will not like the same better later, unless it says so.
            let is_final = (code.is_client_error() && !matches!(code.as_u16(), 408 | 425 | 429))
                || code.is_redirection();
            Err(Failed { why: format!("it answered {code}"), is_final })
        }
        Err(error) => Err(failed(error)),
    }
}

/// Runs a program with a notification on its standard input. It and what it started are killed when it takes too long.
async fn call(words: &[String], body: &str) -> Result<(), Failed> {
    let Some((program, arguments)) = words.split_first() else { return Err(failed("there is no program")) };
    let mut command = std::process::Command::new(program);
    command
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0);
    let mut child = Command::from(command).kill_on_drop(true).spawn().map_err(failed)?;
    let group = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
    match tokio::time::timeout(TIMEOUT, fed(&mut child, body)).await {
        Ok(Ok(status)) if status.success() => Ok(()),
        Ok(Ok(status)) => Err(failed(status)),
        Ok(Err(error)) => Err(failed(error)),
        Err(_) => {
            if let Some(group) = group {
                let _ = kill_process_group(group, Signal::KILL);
            }
            Err(failed(format_args!("it took longer than {} seconds", TIMEOUT.as_secs())))
        }
    }
}

async fn fed(child: &mut Child, body: &str) -> io::Result<std::process::ExitStatus> {
    if let Some(mut input) = child.stdin.take() {
        // A program may well not want to know.
        let _ = input.write_all(format!("{body}\n").as_bytes()).await;
    }
    child.wait().await
}

#[cfg(test)]
mod tests {
    use super::*;
    use converge_model::{HostName, HostState};
    use std::io::{BufRead, BufReader, Read, Write};
    use std::net::TcpListener;
    use std::sync::mpsc;

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

    /// A server that gives these answers, one a connection; what it was asked, head and body.
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
        let mut notifier = Notifier::start(vec![Target::Webhook(webhook)], &report).unwrap();
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
        assert_eq!(body["text"], "web1: drift corrected: file[/etc/motd]");
        assert_eq!(body["watch"]["corrected"]["addresses"][0], "file[/etc/motd]");
    }

    #[test]
    fn who_refuses_or_sends_elsewhere_is_not_asked_again() {
        for answer in [&["403 No"] as &[_], &["302 Elsewhere\r\nLocation: http://127.0.0.1:1/"]] {
            let (address, server) = server(answer);
            let (report, deliveries) = reporting();
            let targets = vec![Target::Webhook(Webhook::new(&address, "").unwrap())];
            let mut notifier = Notifier::start(targets, &report).unwrap();
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
        let mut notifier = Notifier::start(vec![Target::command(words).unwrap()], &report).unwrap();
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
            ["web1: drift corrected: file[/etc/motd]", "web1: unreachable: no route"]
        );
    }

    #[test]
    fn a_target_that_is_stuck_holds_nobody_up() {
        let temp = tempfile::tempdir().unwrap();
        let gate = temp.path().join("gate");
        rustix::fs::mknodat(rustix::fs::CWD, &gate, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        let stuck = ["sh", "-c", "read line < \"$0\"", gate.to_str().unwrap()].map(str::to_owned).to_vec();
        let (report, deliveries) = reporting();
        let mut notifier = Notifier::start(vec![Target::command(stuck).unwrap()], &report).unwrap();
        let began = Instant::now();
        (0..QUEUE + 50).for_each(|_| notifier.hear(&corrected()));
        assert!(began.elapsed() < TIMEOUT / 2);
        assert_eq!(deliveries.recv().unwrap().outcome, DeliveryOutcome::Dropped);
        // Lets the one that is at work through, so that the end does not wait for it.
        notifier.0[0].queue.lock().bodies.clear();
        let mut open = std::fs::OpenOptions::new().read(true).write(true).open(&gate).unwrap();
        open.write_all(b"go\n").unwrap();
        drop(notifier);
    }

    #[test]
    fn targets_that_make_no_sense_are_refused_without_telling_secrets() {
        let check = |address: &str, headers: &str, error: TargetError| {
            let refused = Webhook::new(address, headers).err().unwrap();
            assert_eq!(refused, error, "{address} {headers}");
            assert!(!refused.to_string().contains("s3cret"), "{refused}");
        };
        check("http://hooks.example/s3cret", "", TargetError::Plain("hooks.example".to_owned()));
        check("ftp://localhost/s3cret", "", TargetError::Address);
        check("s3cret", "", TargetError::Address);
        check("https://hooks.example/", "s3cret", TargetError::Header);
        check("https://hooks.example/", "A: s3cret\r\u{1}", TargetError::Header);
        assert!(Webhook::new("https://hooks.example/s3cret", "A: b").is_ok());
        assert!(Target::command(vec![]).is_err() && Target::command(vec![String::new()]).is_err());
    }

    #[test]
    fn a_long_list_is_cut() {
        let addresses: Vec<_> = (0..30).map(|n| Address::new(None, "file", &n.to_string())).collect();
        let text = text(&news(NewsKind::Corrected { addresses })).unwrap();
        assert!(text.ends_with("file[9] and 20 more"), "{text}");
    }
}
