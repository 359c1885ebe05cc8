//! The probe of a `service`: a connection to its address, or an HTTP request. It repeats until the answer is as
//! expected. `apply` decides when to probe. The HTTP is only enough for a health check: version 1.0 without TLS.
//! Addresses must be literal; names are not looked up.

use std::fmt;
use std::fs::File;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use converge_model::{Param, ParamProblem, Type};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use crate::actor::ApplyError;
use crate::system::files::Files;
use crate::wish::{Reader, normal_path};

/// The expected answer of a service.
pub(super) struct Probe {
    at: Place,
    /// The HTTP request. None: a connection is enough.
    request: Option<Request>,
    timeout: Duration,
}

/// The address of the service.
enum Place {
    Tcp(SocketAddr),
    Unix(PathBuf),
}

struct Request {
    path: String,
    host: String,
    /// The expected statuses. Empty: 200 to 399.
    expect: Vec<String>,
}

/// The pause after the first attempt. Each further pause is twice as long, so that the attempts do not fill the
/// service's journal.
const PAUSE: Duration = Duration::from_millis(200);

/// The longest pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(2);

/// The shortest timeout of one attempt.
const SHORTEST: Duration = Duration::from_millis(200);

/// The longest answer that is read, in bytes.
const LIMIT: usize = 16 * 1024;

/// The number of characters of the body that a failure shows.
const SHOWN: usize = 400;

/// The parameters.
pub(super) fn params() -> [Param; 5] {
    [
        Param::new(
            "probe",
            Type::Text,
            "Address that must answer after a start, restart or reload: `127.0.0.1:8080`, `[::1]:8080` or `unix:/run/app.sock`",
        ),
        Param::new(
            "probe-path",
            Type::Text,
            "Path of the HTTP request: `/health`; default: no request, only a connection",
        ),
        Param::new("probe-host", Type::Hostname, "Header `Host` of the HTTP request; default: `localhost`"),
        Param::list("probe-expect", Type::Int, "HTTP statuses that mean success; default: 200 to 399")
            .range(100, 599),
        Param::new(
            "probe-timeout",
            Type::Duration,
            "Timeout of the probe, with a quarter of it for each request; default: 20s",
        )
        .range(100, 3_600_000),
    ]
}

/// Reads the parameters.
pub(super) fn decode(params: &mut Reader<'_>) -> Option<Probe> {
    let path = params.text("probe-path");
    let request = Request {
        host: params.text("probe-host").unwrap_or_else(|| "localhost".to_owned()),
        expect: params.texts("probe-expect"),
        path: path.clone().unwrap_or_default(),
    };
    let timeout = params.duration("probe-timeout").unwrap_or(Duration::from_secs(20));
    let need = |name: &str, of: &str| ParamProblem::new(name, format!("must not be set without `{of}`"));
    if path.is_none() {
        // A module may pass on an empty list.
        let said = [("probe-host", params.has("probe-host")), ("probe-expect", !request.expect.is_empty())];
        for (name, _) in said.iter().filter(|(_, said)| *said) {
            params.problem(need(name, "probe-path"));
        }
    }
    let Some(given) = params.text("probe") else {
        for name in
            ["probe-path", "probe-timeout"].into_iter().filter(|name| params.has(name)).collect::<Vec<_>>()
        {
            params.problem(need(name, "probe"));
        }
        return None;
    };
    let printable = |text: &str| text.bytes().all(|byte| byte.is_ascii_graphic());
    if path.as_ref().is_some_and(|path| !path.starts_with('/') || !printable(path)) {
        let help = "a path starts with `/` and contains no blanks: `/health`";
        params.problem(ParamProblem::new("probe-path", "must be the path of a request").help(help));
    }
    let Some(at) = Place::read(&given) else {
        let help = "write `127.0.0.1:8080`, or `unix:` and a path; host names are not resolved";
        params.problem(
            ParamProblem::new("probe", format!("{given:?} must be an address and a port, or a socket"))
                .help(help),
        );
        return None;
    };
    Some(Probe { at, request: path.is_some().then_some(request), timeout })
}

impl Place {
    fn read(given: &str) -> Option<Self> {
        match given.strip_prefix("unix:") {
            Some(path) => normal_path(path).map(Self::Unix),
            None => given.parse().ok().map(Self::Tcp),
        }
    }

    fn connect(&self, files: &Files, time: Duration) -> io::Result<OwnedFd> {
        match self {
            Self::Tcp(address) => Ok(TcpStream::connect_timeout(address, time)?.into()),
            Self::Unix(path) => connect_unix(&files.outside(path)),
        }
    }
}

/// Connects to the socket at `path`. A full queue is an error at once: the probe must not block.
fn connect_unix(path: &Path) -> io::Result<OwnedFd> {
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None)?;
    rustix::net::connect(&socket, &SocketAddrUnix::new(path)?)?;
    rustix::io::ioctl_fionbio(&socket, false)?;
    Ok(socket)
}

impl Probe {
    /// Repeats the attempt until it succeeds, `alive` fails or the timeout ends. A timeout error has the last answer.
    pub(super) fn until_answered(
        &self,
        files: &Files,
        mut alive: impl FnMut() -> Result<(), ApplyError>,
    ) -> Result<(), ApplyError> {
        let deadline = Instant::now() + self.timeout;
        let mut pause = PAUSE;
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            let Err(why) = self.ask(files, left.min(self.timeout / 4).max(SHORTEST)) else { return Ok(()) };
            alive()?;
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err(ApplyError::new(format!("it does not answer its probe ({self}): {why}")));
            }
            std::thread::sleep(pause.min(left));
            pause = (2 * pause).min(LONGEST_PAUSE);
        }
    }

    /// Makes one attempt. The error describes the unexpected answer.
    fn ask(&self, files: &Files, time: Duration) -> Result<(), String> {
        let deadline = Instant::now() + time;
        let connection = self.at.connect(files, time).map_err(|error| unanswered(&error, "connect"))?;
        let Some(request) = &self.request else { return Ok(()) };
        let answer =
            exchange(connection, &request.text(), deadline).map_err(|error| unanswered(&error, "ask"))?;
        request.judge(&answer)
    }
}

/// Sends `text` and reads until the peer closes, the limit is reached or the deadline passes.
fn exchange(connection: OwnedFd, text: &str, deadline: Instant) -> io::Result<Vec<u8>> {
    let mut connection = File::from(connection);
    let wait = |connection: &File, which| {
        let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
        set_socket_timeout(connection, which, Some(left))
    };
    wait(&connection, Timeout::Send)?;
    connection.write_all(text.as_bytes())?;
    let mut answer = Vec::new();
    let mut piece = [0; 4096];
    while answer.len() < LIMIT && Instant::now() < deadline {
        wait(&connection, Timeout::Recv)?;
        match connection.read(&mut piece) {
            Ok(0) => break,
            Ok(read) => answer.extend_from_slice(&piece[..read]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            // A server that does not close may have sent its whole answer already.
            Err(_) if !answer.is_empty() => break,
            Err(error) => return Err(error),
        }
    }
    Ok(answer)
}

impl Request {
    fn text(&self) -> String {
        let Self { path, host, .. } = self;
        format!(
            "GET {path} HTTP/1.0\r\nHost: {host}\r\nUser-Agent: converge\r\nAccept: */*\r\nConnection: close\r\n\r\n"
        )
    }

    /// Compares the answer with the expected one. The error describes the actual answer.
    fn judge(&self, answer: &[u8]) -> Result<(), String> {
        let mut headers = [httparse::EMPTY_HEADER; 64];
        let mut response = httparse::Response::new(&mut headers);
        let (Ok(httparse::Status::Complete(body)), Some(code)) = (response.parse(answer), response.code)
        else {
            return Err(match answer {
                [] => "the connection was closed without an answer".to_owned(),
                other => format!("the answer is not HTTP: {}", readable(other)),
            });
        };
        let expected = if self.expect.is_empty() {
            (200..400).contains(&code)
        } else {
            self.expect.contains(&code.to_string())
        };
        if expected {
            return Ok(());
        }
        let status = format!("{code} {}", response.reason.unwrap_or_default());
        let body = readable(&answer[body..]);
        Err(if body.is_empty() {
            status.trim_end().to_owned()
        } else {
            format!("{}: {body}", status.trim_end())
        })
    }
}

impl fmt::Display for Probe {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let request = self.request.as_ref().map(|request| format!("GET {} at ", request.path));
        f.write_str(&request.unwrap_or_default())?;
        match &self.at {
            Place::Tcp(address) => write!(f, "{address}"),
            Place::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

fn unanswered(error: &io::Error, what: &str) -> String {
    match error.kind() {
        io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut => "no answer came in time".to_owned(),
        _ => format!("failed to {what}: {error}"),
    }
}

/// The beginning of an external text as one line, with runs of blanks joined.
fn readable(bytes: &[u8]) -> String {
    let text = String::from_utf8_lossy(&bytes[..bytes.len().min(4 * SHOWN)]);
    let plain: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
    let words: Vec<_> = plain.split_whitespace().collect();
    let line = words.join(" ");
    match line.char_indices().nth(SHOWN) {
        Some((end, _)) => format!("{}…", &line[..end]),
        None => line,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, params};
    use converge_model::{Params, Value};
    use std::net::TcpListener;
    use std::os::unix::net::UnixListener;

    /// Answers each request with the next of `answers`, then always with the last.
    fn serve(
        mut accept: impl FnMut() -> Box<dyn ReadWrite> + Send + 'static,
        answers: &'static [&'static str],
    ) {
        std::thread::spawn(move || {
            for at in 0.. {
                let mut stream = accept();
                let _ = stream.read(&mut [0; 1024]);
                let _ = stream.write_all(answers[at.min(answers.len() - 1)].as_bytes());
            }
        });
    }

    trait ReadWrite: Read + Write {}
    impl<T: Read + Write> ReadWrite for T {}

    fn probe(params: &[(&str, Value)]) -> Probe {
        let params = Params(params.iter().map(|(name, value)| ((*name).to_owned(), value.clone())).collect());
        let mut reader = Reader::new(&params, None);
        let probe = decode(&mut reader);
        reader.finish().unwrap();
        probe.unwrap()
    }

    fn ask(at: &str, path: Option<&str>, expect: Option<i64>, timeout: i64) -> Result<(), String> {
        let mut params = vec![("probe", Value::from(at)), ("probe-timeout", timeout.into())];
        params.extend(path.map(|path| ("probe-path", path.into())));
        params.extend(expect.map(|code| ("probe-expect", Value::List(vec![code.into()]))));
        let asked = probe(&params).until_answered(&Files::new(Path::new("/")).unwrap(), || Ok(()));
        asked.map_err(|error| error.message)
    }

    #[test]
    fn a_service_is_asked_until_it_answers_as_expected() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        const DOWN: &str = "HTTP/1.1 503 Service Unavailable\r\n\r\nthe database\n\tis down\x1b[2J\n";
        serve(move || Box::new(listener.accept().unwrap().0), &[DOWN, "", "HTTP/1.1 204 No Content\r\n\r\n"]);
        ask(&at, Some("/health"), None, 10_000).unwrap();
        let why = ask(&at, Some("/health"), Some(200), 300).unwrap_err();
        assert_eq!(why, format!("it does not answer its probe (GET /health at {at}): 204 No Content"));
    }

    #[test]
    fn what_came_instead_is_told_and_cannot_write_on_the_terminal() {
        let check = |answers: &'static [&'static str], told: &str| {
            let folder = tempfile::tempdir().unwrap();
            let path = folder.path().join("s");
            let listener = UnixListener::bind(&path).unwrap();
            serve(move || Box::new(listener.accept().unwrap().0), answers);
            let at = format!("unix:{}", path.display());
            ask(&at, None, None, 300).unwrap();
            let why = ask(&at, Some("/"), None, 300).unwrap_err();
            assert_eq!(why, format!("it does not answer its probe (GET / at {at}): {told}"));
        };
        check(&["HTTP/1.0 500 Oops\r\nServer: x\r\n\r\n<h1>\n  no\x1b[2J\n"], "500 Oops: <h1> no [2J");
        check(&["HTTP/1.1 404\r\n\r\n"], "404");
        check(&[""], "the connection was closed without an answer");
        check(&["SSH-2.0-OpenSSH\r\n"], "the answer is not HTTP: SSH-2.0-OpenSSH");
    }

    #[test]
    fn no_listener_and_a_silent_listener_are_no_answer() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let at = listener.local_addr().unwrap().to_string();
        let why = ask(&at, Some("/"), None, 300).unwrap_err();
        assert!(why.ends_with("no answer came in time"), "{why}");
        drop(listener);
        let why = ask(&at, None, None, 300).unwrap_err();
        assert!(why.contains("failed to connect: Connection refused"), "{why}");
    }

    #[test]
    fn a_service_that_ended_is_not_waited_for() {
        let probe = probe(&[("probe", "unix:/nowhere".into()), ("probe-timeout", 3_600_000.into())]);
        let ended =
            probe.until_answered(&Files::new(Path::new("/")).unwrap(), || Err(ApplyError::new("it ended")));
        assert_eq!(ended.unwrap_err().message, "it ended");
    }

    #[test]
    fn what_cannot_be_asked_is_said_at_once() {
        let trial = Trial::new();
        let check = |more: &[(&str, Value)], problems: usize| {
            let mut params = params([("name", "app".into())]);
            more.iter().for_each(|(name, value)| params.set(name, value.clone()));
            assert_eq!(trial.problems("service", &params).len(), problems, "{more:?}");
        };
        check(&[("probe", "[::1]:80".into()), ("probe-path", "/health?full=1".into())], 0);
        check(&[("probe", "unix:/run/a.sock".into())], 0);
        check(&[("probe", "localhost:80".into())], 1);
        check(&[("probe", "unix:run/a.sock".into())], 1);
        check(&[("probe", "127.0.0.1:80".into()), ("probe-path", "/a b".into())], 1);
        check(&[("probe", "127.0.0.1:80".into()), ("probe-expect", Value::List(vec![200.into()]))], 1);
        check(&[("probe", "127.0.0.1:80".into()), ("probe-expect", Value::List(Vec::new()))], 0);
        check(&[("probe-path", "/".into())], 1);
        check(&[("probe", "127.0.0.1:80".into()), ("running", false.into())], 1);
    }

    #[test]
    fn a_long_answer_is_cut_between_its_letters() {
        let check = |answer: &str, shown: &str| assert_eq!(readable(answer.as_bytes()), shown);
        check(&"ä".repeat(SHOWN), &"ä".repeat(SHOWN));
        check(&"ä".repeat(SHOWN + 1), &format!("{}…", "ä".repeat(SHOWN)));
        check(&format!("{}b", "a \t\n".repeat(SHOWN / 4)), &format!("{}b", "a ".repeat(SHOWN / 4)));
    }
}
