//! The HTTP server of the daemon: its metrics and its health. It has no other pages, changes nothing and asks for no
//! login. It listens on the loopback unless the user sets another address.
//!
//! The `Host` header of a request names the requested machine. On the loopback, unknown names are refused. So a page
//! in a browser on this machine cannot read the metrics under its own name. On another address, every client that
//! reaches it may ask, under any name: an alias, a balancer, a container.

use std::collections::HashMap;
use std::io;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use axum::Router;
use axum::extract::{Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE, HOST};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{AbortHandle, Id, JoinSet};

use crate::events::{Listener, News, NewsKind};
use crate::metrics::Metrics;

/// The most connections at the same time. One more replaces the connection whose last request is the oldest.
const CONNECTIONS: usize = 64;
/// How long the head of a request may take to arrive.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// The largest head, in bytes, and the most headers.
const HEAD_SIZE: usize = 16 * 1024;
const HEADERS: usize = 64;
/// How long unfinished answers may take when the server ends.
const END_PATIENCE: Duration = Duration::from_secs(5);
/// After this time without a sign of life, the daemon counts as stuck.
const PULSE: Duration = Duration::from_secs(60);

/// The health of the daemon, as it reports it. A clone shares the same state.
#[derive(Clone)]
pub struct Health(Arc<Pulse>);

struct Pulse {
    began: Instant,
    /// Milliseconds from `began` to the last sign of life.
    last: AtomicU64,
    is_ready: AtomicBool,
}

impl Default for Health {
    fn default() -> Self {
        let (last, is_ready) = (AtomicU64::new(0), AtomicBool::new(false));
        Self(Arc::new(Pulse { began: Instant::now(), last, is_ready }))
    }
}

impl Health {
    /// Records a sign of life. Call it in every round of the daemon's loop.
    pub fn beat(&self) {
        self.0.last.store(self.0.began.elapsed().as_millis() as u64, Ordering::Relaxed);
    }

    fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.0.last.load(Ordering::Relaxed));
        self.0.began.elapsed().saturating_sub(last) < PULSE
    }

    fn is_ready(&self) -> bool {
        self.0.is_ready.load(Ordering::Relaxed)
    }
}

/// The daemon is ready from the first inventory to its end. Any news is a sign of life.
impl Listener for Health {
    fn hear(&mut self, news: &News) {
        match news.watch {
            NewsKind::Started { .. } => self.0.is_ready.store(true, Ordering::Relaxed),
            NewsKind::Stopping => self.0.is_ready.store(false, Ordering::Relaxed),
            _ => {}
        }
        self.beat();
    }
}

/// The served metrics and health, and the allowed names.
#[derive(Clone)]
pub struct Site {
    /// The metrics, at `/metrics`.
    pub metrics: Metrics,
    /// The health, at `/healthz` and `/readyz`.
    pub health: Health,
    /// Names of this machine that `Host` may have on the loopback, besides `localhost` and the loopback addresses.
    pub names: Vec<String>,
}

/// Serves `site` on `listener` until `end` is ready. Unfinished answers get some time.
///
/// # Errors
/// If the socket has no address. An error of one connection ends only that connection.
pub async fn serve(listener: TcpListener, site: Site, end: impl Future<Output = ()>) -> io::Result<()> {
    let mut app = router(site.clone());
    if listener.local_addr()?.ip().to_canonical().is_loopback() {
        app = app.layer(from_fn_with_state(Arc::new(Names(site.names)), known_host));
    }
    let mut seats = Seats::default();
    let mut connections = JoinSet::new();
    let (stop, stopping) = tokio::sync::watch::channel(());
    tokio::pin!(end);
    loop {
        tokio::select! {
            () = &mut end => break,
            Some(ended) = connections.join_next_with_id() => {
                seats.leave(ended.map_or_else(|error| error.id(), |(id, ())| id));
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    seats.make_room();
                    let (mark, mut stopping) = (seats.mark(), stopping.clone());
                    let app = app.clone().layer(from_fn_with_state(mark.clone(), note_request));
                    let connection = connections.spawn(async move {
                        let stop = async move { stopping.changed().await.map_or((), drop) };
                        answer(stream, app, stop).await;
                    });
                    seats.take(connection, mark);
                }
                // The likely error is too many open files: wait until other connections end.
                Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
            },
        }
    }
    drop(listener);
    drop(stop);
    let _ =
        tokio::time::timeout(END_PATIENCE, async { while connections.join_next().await.is_some() {} }).await;
    Ok(())
}

/// The served connections. An idle connection loses its place to a new one.
#[derive(Default)]
struct Seats {
    taken: HashMap<Id, (AbortHandle, Mark)>,
    requests: Arc<AtomicU64>,
}

/// The number of a connection's last request, among all requests.
#[derive(Clone)]
struct Mark {
    last: Arc<AtomicU64>,
    requests: Arc<AtomicU64>,
}

impl Mark {
    fn renew(&self) {
        self.last.store(self.requests.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }
}

impl Seats {
    /// Creates the mark of a new connection.
    fn mark(&self) -> Mark {
        let mark = Mark { last: Arc::default(), requests: self.requests.clone() };
        mark.renew();
        mark
    }

    fn take(&mut self, connection: AbortHandle, mark: Mark) {
        self.taken.insert(connection.id(), (connection, mark));
    }

    fn leave(&mut self, connection: Id) {
        self.taken.remove(&connection);
    }

    fn make_room(&mut self) {
        while self.taken.len() >= CONNECTIONS {
            let idlest = self.taken.values().min_by_key(|(_, mark)| mark.last.load(Ordering::Relaxed));
            let Some(id) = idlest.map(|(connection, _)| connection.id()) else { return };
            if let Some((connection, _)) = self.taken.remove(&id) {
                connection.abort();
            }
        }
    }
}

async fn note_request(State(mark): State<Mark>, request: Request, next: Next) -> Response {
    mark.renew();
    next.run(request).await
}

async fn answer(stream: TcpStream, app: Router, stop: impl Future<Output = ()>) {
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(HEAD_PATIENCE);
    server.max_buf_size(HEAD_SIZE).max_headers(HEADERS);
    let connection = server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(app));
    tokio::pin!(connection, stop);
    tokio::select! {
        _ = connection.as_mut() => {}
        () = &mut stop => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

fn router(site: Site) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthy))
        .route("/readyz", get(ready))
        .with_state(site)
}

async fn metrics(State(site): State<Site>) -> Response {
    let kind = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    ([(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], site.metrics.text()).into_response()
}

async fn healthy(State(site): State<Site>) -> Response {
    told(site.health.is_alive(), "the daemon does not respond")
}

async fn ready(State(site): State<Site>) -> Response {
    told(site.health.is_ready(), "the daemon is starting or stopping")
}

fn told(is_so: bool, otherwise: &'static str) -> Response {
    let (code, text) =
        if is_so { (StatusCode::OK, "ok") } else { (StatusCode::SERVICE_UNAVAILABLE, otherwise) };
    (code, [(CACHE_CONTROL, "no-store")], format!("{text}\n")).into_response()
}

/// The names under which the daemon may be asked on the loopback.
struct Names(Vec<String>);

impl Names {
    /// Whether all `Host` headers of a request have known names. A request without one is allowed, because every
    /// browser sends it.
    fn know(&self, headers: &HeaderMap) -> bool {
        headers.get_all(HOST).iter().all(|host| host.to_str().is_ok_and(|host| self.knows(host)))
    }

    fn knows(&self, host: &str) -> bool {
        let name = without_port(host);
        match name.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>() {
            // A page of another site never has an address of the loopback.
            Ok(address) => address.to_canonical().is_loopback(),
            Err(_) => {
                name.eq_ignore_ascii_case("localhost")
                    || self.0.iter().any(|known| known.eq_ignore_ascii_case(name))
            }
        }
    }

    /// Returns the answer for a request with an unknown name.
    fn refusal(&self) -> String {
        let known: String = self.0.iter().map(|name| format!(", {name}")).collect();
        format!(
            "the `Host` header must be a loopback address or one of localhost{known}; \
             to allow any name, listen on another address\n"
        )
    }
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|byte| byte.is_ascii_digit()) && !name.ends_with(':') => name,
        _ => host,
    }
}

async fn known_host(State(names): State<Arc<Names>>, request: Request, next: Next) -> Response {
    if names.know(request.headers()) {
        return next.run(request).await;
    }
    (StatusCode::MISDIRECTED_REQUEST, names.refusal()).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::SocketAddr;
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::sync::oneshot;
    use tokio::task::JoinHandle;

    struct Running {
        address: SocketAddr,
        health: Health,
        end: oneshot::Sender<()>,
        server: JoinHandle<io::Result<()>>,
    }

    async fn running() -> Running {
        running_on("127.0.0.1:0").await
    }

    async fn running_on(address: &str) -> Running {
        let listener = TcpListener::bind(address).await.unwrap();
        let (address, health) = (listener.local_addr().unwrap(), Health::default());
        let site = Site {
            metrics: Metrics::new("1.2.3"),
            health: health.clone(),
            names: vec!["ops.example".to_owned()],
        };
        let (end, ended) = oneshot::channel();
        let server = tokio::spawn(serve(listener, site, async { drop(ended.await) }));
        Running { address, health, end, server }
    }

    async fn send(address: SocketAddr, request: &str) -> String {
        let mut stream = TcpStream::connect(address).await.unwrap();
        // A client that is refused early may find the connection closed.
        let _ = stream.write_all(request.as_bytes()).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        String::from_utf8(answer).unwrap()
    }

    async fn get(address: SocketAddr, path: &str, host: &str) -> (String, String) {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        let answer = send(address, &request).await;
        let code = answer.split_whitespace().nth(1).unwrap_or_default().to_owned();
        (code, answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned()).unwrap_or_default())
    }

    fn news(watch: NewsKind) -> News {
        News { version: 1, at: jiff::Timestamp::UNIX_EPOCH, host: None, run: None, watch }
    }

    #[tokio::test]
    async fn three_addresses_answer_and_no_other() {
        let Running { address, mut health, end, server } = running().await;
        let (code, text) = get(address, "/metrics", "localhost").await;
        assert_eq!(code, "200");
        assert!(text.contains("converge_build_info{version=\"1.2.3\"} 1"), "{text}");
        assert_eq!(get(address, "/healthz", "localhost").await.0, "200");
        assert_eq!(get(address, "/readyz", "localhost").await.0, "503");
        health.hear(&news(NewsKind::Started { hosts: 1 }));
        assert_eq!(get(address, "/readyz", "localhost").await, ("200".to_owned(), "ok\n".to_owned()));
        health.hear(&news(NewsKind::Stopping));
        assert_eq!(get(address, "/readyz", "localhost").await.0, "503");
        for path in ["/", "/metrics/", "/../etc/passwd", "/health"] {
            assert_eq!(get(address, path, "localhost").await.0, "404", "{path}");
        }
        let post =
            send(address, "POST /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await;
        assert!(post.starts_with("HTTP/1.1 405"), "{post}");
        end.send(()).unwrap();
        server.await.unwrap().unwrap();
    }

    #[tokio::test]
    async fn only_who_means_this_machine_is_answered() {
        let running = running().await;
        let address = running.address;
        let own = address.to_string();
        for host in ["localhost", "localhost:9", "127.0.0.1", own.as_str(), "[::1]:80", "OPS.example:80"] {
            assert_eq!(get(address, "/healthz", host).await.0, "200", "{host}");
        }
        for host in ["evil.example", "10.0.0.1", "localhost.evil.example", "", "[::2]", "localhost:80:80"] {
            assert_ne!(get(address, "/healthz", host).await.0, "200", "{host}");
        }
        let refused = get(address, "/metrics", "evil.example").await;
        assert!(refused.0 == "421" && refused.1.contains("one of localhost, ops.example;"), "{refused:?}");
        assert!(send(address, "GET /healthz HTTP/1.0\r\n\r\n").await.contains("200 OK"));
        let twice = "GET /healthz HTTP/1.1\r\nHost: localhost\r\nHost: x\r\nConnection: close\r\n\r\n";
        assert!(!send(address, twice).await.contains("200 OK"));
    }

    #[tokio::test]
    async fn beyond_the_loopback_it_is_asked_by_any_name() {
        let running = running_on("0.0.0.0:0").await;
        let local = SocketAddr::from(([127, 0, 0, 1], running.address.port()));
        for host in ["prometheus-target", "converge.monitoring.svc:80", "10.0.0.1", "localhost"] {
            assert_eq!(get(local, "/metrics", host).await.0, "200", "{host}");
        }
    }

    #[tokio::test]
    async fn a_large_head_is_refused() {
        let running = running().await;
        let address = running.address;
        let long =
            format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\nX: {}\r\n\r\n", "x".repeat(HEAD_SIZE));
        let many = format!("GET /healthz HTTP/1.1\r\nHost: localhost\r\n{}\r\n", "X: y\r\n".repeat(HEADERS));
        for request in [long, many] {
            assert!(send(address, &request).await.starts_with("HTTP/1.1 431"));
        }
    }

    /// Connects `count` clients that have sent `request` and keep their connections open.
    async fn holding(address: SocketAddr, count: usize, request: &[u8], answered: bool) -> Vec<TcpStream> {
        let mut held = Vec::new();
        for _ in 0..count {
            let mut stream = TcpStream::connect(address).await.unwrap();
            stream.write_all(request).await.unwrap();
            if answered {
                let mut first = [0; 16];
                stream.read_exact(&mut first).await.unwrap();
            }
            held.push(stream);
        }
        held
    }

    #[tokio::test]
    async fn clients_that_hold_their_connections_keep_no_client_out() {
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let unread = b"GET /metrics HTTP/1.1\r\nHost: localhost\r\n\r\n".repeat(40);
        for (held, answered) in [(&request[..], true), (b"", false), (b"GET /", false), (&unread, false)] {
            let running = running().await;
            let address = running.address;
            // The timeout is shorter than the one that ends a silent connection.
            let served = tokio::time::timeout(HEAD_PATIENCE / 2, async {
                let held = holding(address, CONNECTIONS + 6, held, answered).await;
                (get(address, "/healthz", "localhost").await.0, held.len())
            });
            assert_eq!(served.await, Ok(("200".to_owned(), CONNECTIONS + 6)), "{held:?}");
        }
    }

    #[tokio::test]
    async fn a_client_that_asks_keeps_its_connection() {
        let running = running().await;
        let request = b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n";
        let mut busy = holding(running.address, 1, request, true).await.remove(0);
        for _ in 0..3 {
            let _held = holding(running.address, CONNECTIONS - 1, request, true).await;
            busy.write_all(request).await.unwrap();
            let mut answer = [0; 15];
            busy.read_exact(&mut answer).await.unwrap();
        }
    }

    #[tokio::test]
    async fn an_end_waits_for_no_silent_client() {
        let Running { address, end, server, .. } = running().await;
        let silent = TcpStream::connect(address).await.unwrap();
        assert_eq!(get(address, "/healthz", "localhost").await.0, "200");
        end.send(()).unwrap();
        server.await.unwrap().unwrap();
        assert!(TcpStream::connect(address).await.is_err());
        drop(silent);
    }

    #[test]
    fn who_is_quiet_for_long_is_stuck() {
        let health = Health::default();
        assert!(health.is_alive());
        let long_ago = Instant::now().checked_sub(2 * PULSE);
        let pulse = Pulse {
            began: long_ago.unwrap_or_else(Instant::now),
            last: AtomicU64::new(0),
            is_ready: AtomicBool::new(true),
        };
        let stuck = Health(Arc::new(pulse));
        assert!(long_ago.is_none() || !stuck.is_alive());
        stuck.beat();
        assert!(stuck.is_alive());
    }
}
