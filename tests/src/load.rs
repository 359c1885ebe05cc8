//! HTTP requests of users: a single one, or a steady load that keeps every failure.

use std::io::{self, Read, Write};
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// How long an answer may take. A restart delays requests, but must not lose them.
const PATIENCE: Duration = Duration::from_secs(60);
/// The longest answer that is read, in bytes.
const LIMIT: u64 = 1 << 20;

/// The target of requests.
#[derive(Clone, Debug)]
pub struct Site {
    /// Address and port.
    pub address: String,
    /// The requested host name.
    pub host: String,
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Answer {
    /// The status.
    pub status: u16,
    /// Headers and body, as text.
    pub text: String,
}

impl Site {
    /// Returns the site `host` on port 80 of `address`.
    #[must_use]
    pub fn new(address: &str, host: &str) -> Self {
        Self { address: format!("{address}:80"), host: host.to_owned() }
    }

    /// Opens a connection.
    ///
    /// # Errors
    /// If the site does not answer.
    pub fn connect(&self) -> io::Result<TcpStream> {
        let address = self.address.to_socket_addrs()?.next().ok_or(io::ErrorKind::InvalidInput)?;
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        Ok(stream)
    }

    /// Requests a path on a new connection.
    ///
    /// # Errors
    /// If there is no complete answer.
    pub fn get(&self, path: &str) -> io::Result<Answer> {
        self.request(&format!("GET {path} HTTP/1.0\r\nHost: {}\r\n\r\n", self.host))
    }

    /// Sends a form.
    ///
    /// # Errors
    /// If there is no complete answer.
    pub fn post(&self, path: &str, form: &str) -> io::Result<Answer> {
        let (host, length) = (&self.host, form.len());
        let kind = "application/x-www-form-urlencoded";
        self.request(&format!(
            "POST {path} HTTP/1.0\r\nHost: {host}\r\nContent-Type: {kind}\r\nContent-Length: {length}\r\n\r\n{form}"
        ))
    }

    fn request(&self, request: &str) -> io::Result<Answer> {
        let mut stream = self.connect()?;
        stream.write_all(request.as_bytes())?;
        let mut bytes = Vec::new();
        stream.take(LIMIT).read_to_end(&mut bytes)?;
        let text = String::from_utf8_lossy(&bytes).into_owned();
        let status = text.split(' ').nth(1).and_then(|status| status.parse().ok());
        status.map(|status| Answer { status, text }).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

/// A steady load: one request after the other for each user, until it is stopped.
#[derive(Debug)]
pub struct Load {
    stop: Arc<AtomicBool>,
    users: Vec<JoinHandle<Tally>>,
}

/// The results of a load.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Requests answered with 200.
    pub answered: usize,
    /// The failures of the others, each with its time.
    pub failures: Vec<String>,
    /// The longest time of an answer.
    pub longest: Duration,
}

impl Load {
    /// Starts the load with `users` at every site.
    #[must_use]
    pub fn start(sites: &[Site], path: &str, users: usize) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let user = |site: &Site| {
            let (site, path, stop) = (site.clone(), path.to_owned(), Arc::clone(&stop));
            std::thread::spawn(move || ask_until(&stop, &site, &path))
        };
        let users = sites.iter().flat_map(|site| (0..users).map(move |_| site)).map(user).collect();
        Self { stop, users }
    }

    /// Stops the load.
    #[must_use]
    pub fn stop(self) -> Tally {
        self.stop.store(true, Ordering::Relaxed);
        self.users.into_iter().filter_map(|user| user.join().ok()).fold(Tally::default(), Tally::and)
    }
}

impl Tally {
    fn and(mut self, other: Self) -> Self {
        self.answered += other.answered;
        self.failures.extend(other.failures);
        self.longest = self.longest.max(other.longest);
        self
    }
}

fn ask_until(stop: &AtomicBool, site: &Site, path: &str) -> Tally {
    let (began, mut tally) = (Instant::now(), Tally::default());
    while !stop.load(Ordering::Relaxed) {
        let asked = Instant::now();
        match site.get(path) {
            Ok(answer) if answer.status == 200 => tally.answered += 1,
            Ok(answer) => tally.failures.push(format!("{:?} {site:?}: {}", began.elapsed(), answer.text)),
            Err(error) => tally.failures.push(format!("{:?} {site:?}: {error}", began.elapsed())),
        }
        tally.longest = tally.longest.max(asked.elapsed());
    }
    tally
}
