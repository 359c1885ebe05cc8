//! Webhooks over real connections: https with an authority that only this machine trusts, and receivers that
//! misbehave.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::process::{Command, Output};
use std::sync::{Arc, Mutex, mpsc};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use converge_model::{Address, HostName};
use converge_server::notify::{Delivery, DeliveryOutcome, Notifier, Report, Target, Webhook};
use converge_server::{Listener, News, NewsKind};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

fn news() -> News {
    let addresses = vec![Address::new(None, "file", "/etc/motd")];
    let (host, watch) = (HostName::new("web1").ok(), NewsKind::Corrected { addresses });
    News { version: 1, at: jiff::Timestamp::UNIX_EPOCH, host, run: None, watch }
}

fn notifier(address: &str) -> (Notifier, mpsc::Receiver<Delivery>) {
    let (sender, deliveries) = mpsc::channel();
    let sender = Mutex::new(sender);
    let report: Report =
        Arc::new(move |delivery: &Delivery| drop(sender.lock().unwrap().send(delivery.clone())));
    let targets = vec![Target::Webhook(Webhook::new(address, "").unwrap())];
    (Notifier::start("shop", targets, &report).unwrap(), deliveries)
}

/// A helper that the tests below start as a process. It sends one notification to the address in its environment and
/// prints the result. Without an address it does nothing.
#[test]
fn tells_once() {
    let Ok(address) = std::env::var("WEBHOOK") else { return };
    let (mut notifier, deliveries) = notifier(&address);
    notifier.hear(&news());
    // The notifier does not try again at its end.
    drop(notifier);
    println!("\noutcome {:?}", deliveries.recv().unwrap().outcome);
}

/// Returns the result in a process that trusts the authorities in `file`, or the usual ones.
fn outcome(address: &str, file: Option<&Path>) -> String {
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", "tells_once", "--nocapture"]).env("WEBHOOK", address);
    command.env_remove("SSL_CERT_DIR").env_remove("SSL_CERT_FILE");
    if let Some(file) = file {
        command.env("SSL_CERT_FILE", file);
    }
    let output = command.output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    said.lines().find_map(|line| line.strip_prefix("outcome ").map(str::to_owned)).unwrap_or(said)
}

fn openssl(folder: &Path, line: &str) {
    let words = line.split_whitespace();
    let Output { status, stderr, .. } =
        Command::new("openssl").args(words).current_dir(folder).output().unwrap();
    assert!(status.success(), "{line}: {}", String::from_utf8_lossy(&stderr));
}

/// Creates an authority in `ca.pem`, its certificate for `localhost` in `server.pem`, and the key in `server.key`.
fn make_authority(folder: &Path) {
    let key = "-newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes";
    openssl(folder, &format!("req -x509 {key} -keyout ca.key -out ca.pem -days 2 -subj /CN=Internal"));
    openssl(folder, &format!("req {key} -keyout server.key -out server.csr -subj /CN=localhost"));
    std::fs::write(folder.join("names"), "subjectAltName=DNS:localhost\nbasicConstraints=CA:FALSE\n")
        .unwrap();
    let sign = "x509 -req -in server.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
    openssl(folder, &format!("{sign} -out server.pem"));
}

/// Reads a request and returns its body.
fn request(stream: &mut impl Read) -> Option<String> {
    let mut reader = BufReader::new(stream);
    let mut length = 0;
    loop {
        let mut line = String::new();
        if reader.read_line(&mut line).ok()? == 0 {
            return None;
        }
        if let Some(number) = line.to_lowercase().strip_prefix("content-length:") {
            length = number.trim().parse().ok()?;
        }
        if line == "\r\n" {
            break;
        }
    }
    let mut body = vec![0; length];
    reader.read_exact(&mut body).ok()?;
    String::from_utf8(body).ok()
}

/// Serves `count` connections over TLS. Returns the received bodies.
fn serve_tls(folder: &Path, count: usize) -> (String, JoinHandle<Vec<String>>) {
    let certificates = CertificateDer::pem_file_iter(folder.join("server.pem")).unwrap();
    let certificates = certificates.collect::<Result<_, _>>().unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.join("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
    let config = Arc::new(config.with_no_client_auth().with_single_cert(certificates, key).unwrap());
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("https://localhost:{}/hook", listener.local_addr().unwrap().port());
    let serve = move || {
        let mut bodies = Vec::new();
        for _ in 0..count {
            let (stream, _) = listener.accept().unwrap();
            let mut stream = StreamOwned::new(ServerConnection::new(config.clone()).unwrap(), stream);
            // A client that does not trust the certificate closes the connection.
            if let Some(body) = request(&mut stream) {
                bodies.push(body);
                let _ =
                    stream.write_all(b"HTTP/1.1 204 Fine\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
                stream.conn.send_close_notify();
                let _ = stream.flush();
            }
        }
        bodies
    };
    (address, thread::spawn(serve))
}

#[test]
fn a_server_that_is_vouched_for_by_an_authority_of_this_machine_is_believed_and_no_other_server() {
    let temp = tempfile::tempdir().unwrap();
    make_authority(temp.path());
    let (address, server) = serve_tls(temp.path(), 3);
    assert_eq!(outcome(&address, Some(&temp.path().join("ca.pem"))), "Delivered");
    let refused = outcome(&address, None);
    assert!(refused.contains("UnknownIssuer") && refused.contains("SSL_CERT_FILE"), "{refused}");
    // The certificate is for another name.
    let other = address.replace("localhost", "127.0.0.1");
    let refused = outcome(&other, Some(&temp.path().join("ca.pem")));
    assert!(refused.contains("Failed") && refused.contains("certificate"), "{refused}");
    let bodies = server.join().unwrap();
    assert_eq!(bodies.len(), 1, "what is not believed is told nothing: {bodies:?}");
    assert!(bodies[0].contains("\"project\":\"shop\""), "{bodies:?}");
}

#[test]
fn a_file_of_authorities_that_is_none_is_told() {
    let temp = tempfile::tempdir().unwrap();
    let (missing, empty) = (temp.path().join("missing.pem"), temp.path().join("empty.pem"));
    std::fs::write(&empty, "").unwrap();
    for file in [missing, empty] {
        let refused = outcome("https://localhost:1/", Some(&file));
        assert!(refused.contains("SSL_CERT_FILE and SSL_CERT_DIR hold no certificate"), "{refused}");
    }
}

/// Answers the first connection with `answer`. Returns the stream, which keeps the connection open.
fn answering(answer: &'static [u8]) -> (String, JoinHandle<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}/", listener.local_addr().unwrap());
    let serve = move || {
        let (mut stream, _) = listener.accept().unwrap();
        request(&mut stream).unwrap();
        // A client that has read enough closes the connection.
        let _ = stream.write_all(answer);
        stream
    };
    (address, thread::spawn(serve))
}

#[test]
fn what_a_receiver_answers_beyond_a_code_is_not_waited_for() {
    let endless = b"HTTP/1.1 200 OK\r\nContent-Length: 999999999999\r\n\r\nand so on";
    let (address, server) = answering(endless);
    let (mut notifier, deliveries) = notifier(&address);
    notifier.hear(&news());
    assert_eq!(deliveries.recv().unwrap().outcome, DeliveryOutcome::Delivered);
    drop(server.join().unwrap());
    let head: &[u8] = Vec::leak([b"HTTP/1.1 200 OK\r\n".to_vec(), b"X: y\r\n".repeat(100_000)].concat());
    let (address, server) = answering(head);
    assert!(outcome(&address, None).contains("Failed"));
    drop(server.join().unwrap());
}

#[test]
fn a_receiver_that_is_dead_holds_up_no_end_for_long() {
    let (address, server) = answering(b"");
    let (mut notifier, deliveries) = notifier(&address);
    (0..3).for_each(|_| notifier.hear(&news()));
    let stream = server.join().unwrap();
    let began = Instant::now();
    drop(notifier);
    // The limit is the timeout of one try, far less than that of three.
    assert!(began.elapsed() < Duration::from_secs(20), "{:?}", began.elapsed());
    let outcomes: Vec<_> = deliveries.try_iter().map(|delivery| delivery.outcome).collect();
    assert_eq!(outcomes, [DeliveryOutcome::Dropped, DeliveryOutcome::Dropped]);
    drop(stream);
}
