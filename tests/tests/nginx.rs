//! The module `nginx` on a real host, with requests from the controller: served and refused requests, and the cost of
//! a reload.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use converge_tests::demand::root;
use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// An application on a unix socket. It returns its request, and answers slowly if the request asks for that.
const APPLICATION: &str = r#"
import http.server, os, socketserver, time
class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        text = f"{self.path} for {self.headers['Host']} over {self.headers['X-Forwarded-Proto']}\n".encode()
        self.send_response(200)
        self.send_header("X-Accel-Buffering", "no")
        self.end_headers()
        while self.path == "/slow" and not os.path.exists("/run/go-on"):
            self.wfile.write(b".")
            self.wfile.flush()
            time.sleep(0.2)
        self.wfile.write(text)
    def address_string(self): return "unix"
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    request_queue_size = 128
if os.path.exists("/run/app.sock"): os.unlink("/run/app.sock")
os.umask(0)
Server("/run/app.sock", Handler).serve_forever()
"#;

/// Returns the inventory: a site before the application, and one with files and TLS. `more` is added to the first
/// one.
fn inventory(more: &str) -> String {
    format!(
        r#"connection user="admin" become="sudo"
host "h1"
on "h1" {{
    file "/srv/app.py" {{ content (file)"app.py" }}
    systemd-unit "app.service" {{
        section "Service" {{ ExecStart "/usr/bin/python3 /srv/app.py" }}
    }}
    service "app" running=#true probe="unix:/run/app.sock" probe-path="/"
    directory "/srv/files"
    file "/srv/files/index.html" {{ content "a file" }}
    nginx {{
        site "app" server-name="app.test" proxy="unix:/run/app.sock" default=#true {{
            static "/media" root="/srv/files"
            redirect "/old" "/new"
            location "/private" proxy="unix:/run/app.sock" {{ raw "auth_basic Private;" "auth_basic_user_file htpasswd/files;" }}
            {more}
        }}
        site "files" server-name="files.test" root="/srv/files" {{
            tls self-signed=#true hsts-days=1
            auth "Files" {{ user "ada" hash="$apr1$abcdefgh$h9FWgUz3n9YxylKLlR5SQ/" }}
        }}
    }}
}}
"#
    )
}

fn converge(project: &Project, more: &str, arguments: &[&str], code: i32) -> Ended {
    project.write("project/inventory.kdl", inventory(more)).unwrap();
    let ended = project.converge(arguments).unwrap();
    assert_eq!(ended.code, code, "{arguments:?}: {ended}");
    ended
}

/// Returns the host's whole answer to a request, or the error.
fn ask(host: &Host, name: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((host.address(), 80))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

/// Returns the answer that the host's own client gets over TLS: the status, the HSTS header, and the text.
fn ask_tls(host: &Host, login: &str) -> String {
    let client = format!(
        "import base64, http.client, ssl\n\
         context = ssl._create_unverified_context()\n\
         connection = http.client.HTTPSConnection('127.0.0.1', 443, context=context)\n\
         headers = {{'Host': 'files.test', 'Authorization': 'Basic ' + base64.b64encode(b'{login}').decode()}}\n\
         connection.request('GET', '/', headers=headers)\n\
         answer = connection.getresponse()\n\
         print(answer.status, answer.getheader('Strict-Transport-Security'), answer.read().decode())\n"
    );
    root(host, &format!("python3 - <<'END'\n{client}END"))
}

/// Returns a digest of all files that nginx reads, and the process id of its master.
fn live(host: &Host) -> String {
    root(
        host,
        "cd /etc/nginx && find . -printf '%p %m %u %g %l %T@\\n' | sort && find . -type f -print0 | sort -z | \
         xargs -0 sha256sum; systemctl show --property MainPID nginx",
    )
}

fn serves(host: &Host) {
    let check = |name: &str, path: &str, expected: &[&str]| {
        let answer = ask(host, name, path).unwrap();
        for part in expected {
            assert!(answer.contains(part), "{name}{path}: no {part} in {answer}");
        }
    };
    check("app.test", "/x?y=1", &["200 OK", "/x?y=1 for app.test over http", "X-Frame-Options: DENY"]);
    check("unknown.test", "/", &["200 OK", "/ for unknown.test"]);
    check("app.test", "/media/index.html", &["200 OK", "a file"]);
    check("app.test", "/old", &["301 Moved", "Location: http://app.test/new"]);
    check("app.test", "/private", &["401 Unauthorized"]);
    check("files.test", "/a", &["301 Moved", "Location: https://files.test/a"]);
    assert_eq!(ask_tls(host, "ada:secret").trim(), "200 max-age=86400 a file");
    assert!(ask_tls(host, "ada:wrong").starts_with("401 max-age=86400 "));
}

#[test]
fn sites_are_served_and_a_broken_one_changes_nothing() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new("", Some(&testbed)).unwrap();
    project.write("project/files/app.py", APPLICATION).unwrap();
    let header = "header \"X-Frame-Options\" \"DENY\"";
    converge(&project, header, &["apply", "--yes"], 0);
    converge(&project, header, &["plan", "--detailed-exitcode"], 0);
    serves(host);
    assert_eq!(
        root(host, "ls /etc/nginx/sites-enabled").split_whitespace().collect::<Vec<_>>(),
        ["app", "files"]
    );

    let before = live(host);
    let broken = format!("{header}\nraw \"no_such_directive on;\"");
    let ended = converge(&project, &broken, &["apply", "--yes"], 3);
    assert!(ended.stdout.contains("the new files were refused: nginx ended with 1"), "{ended}");
    assert!(
        ended.stdout.contains("unknown directive \"no_such_directive\" in /etc/nginx/sites-enabled/app"),
        "{ended}"
    );
    assert_eq!(live(host), before, "the live files are as they were");
    serves(host);

    reload_loses_nothing(&project, host, header);

    // `nginx -t` cannot see that another program uses a port.
    root(host, "systemd-run --quiet --unit squatter python3 -m http.server 8099");
    let before = root(host, "cat /etc/nginx/sites-enabled/*");
    let ended = converge(&project, &format!("{header}\nlisten 80 8099"), &["apply", "--yes"], 3);
    assert!(ended.stdout.contains("bind() to 0.0.0.0:8099 failed"), "{ended}");
    assert!(ended.stdout.contains("nginx.tree[/etc/nginx] was restored, and it runs as before"), "{ended}");
    assert_eq!(root(host, "cat /etc/nginx/sites-enabled/*"), before);
    serves(host);
}

/// Changes the sites repeatedly while this machine sends requests. One request is always in the middle of its answer.
fn reload_loses_nothing(project: &Project, host: &Host, header: &str) {
    let mut slow = TcpStream::connect((host.address(), 80)).unwrap();
    slow.set_read_timeout(Some(Duration::from_secs(60))).unwrap();
    slow.write_all(b"GET /slow HTTP/1.1\r\nHost: app.test\r\nConnection: close\r\n\r\n").unwrap();
    let mut first = [0; 12];
    slow.read_exact(&mut first).unwrap();
    assert_eq!(&first, b"HTTP/1.1 200");
    let pid = root(host, "systemctl show --property MainPID nginx");
    let done = AtomicBool::new(false);
    let counts: Vec<usize> = thread::scope(|scope| {
        let load = || {
            let mut count = 0;
            while !done.load(Ordering::Relaxed) {
                let answer = ask(host, "app.test", "/load");
                assert!(answer.as_ref().is_ok_and(|text| text.contains("/load for app.test")), "{answer:?}");
                count += 1;
                // A pause, because the machine has other work too.
                thread::sleep(Duration::from_millis(5));
            }
            count
        };
        let clients: Vec<_> = (0..2).map(|_| scope.spawn(load)).collect();
        for turn in 0..3 {
            converge(project, &format!("{header}\nheader \"X-Turn\" \"{turn}\""), &["apply", "--yes"], 0);
            assert!(ask(host, "app.test", "/").unwrap().contains(&format!("X-Turn: {turn}")));
        }
        done.store(true, Ordering::Relaxed);
        clients.into_iter().map(|client| client.join().unwrap()).collect()
    });
    assert!(counts.iter().all(|count| *count > 20), "{counts:?}");
    root(host, "touch /run/go-on");
    let mut rest = String::new();
    slow.read_to_string(&mut rest).unwrap();
    assert!(rest.contains("/slow for app.test over http\n") && rest.ends_with("\r\n0\r\n\r\n"), "{rest}");
    assert_eq!(root(host, "systemctl show --property MainPID nginx"), pid, "never restarted");
}

/// An application on port 8001. It returns its request, accepts posts, and sends one frame of a web socket back.
const BACKEND: &str = r#"
import base64, hashlib, http.server
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def do_GET(self):
        if self.headers.get("Upgrade") == "websocket": return self.echo()
        self.answer(f"8001 {self.path} host={self.headers['Host']} "
                    f"scheme={self.headers['X-Forwarded-Proto']} for={self.headers['X-Forwarded-For']}\n")
    def do_POST(self):
        self.answer(f"took {len(self.rfile.read(int(self.headers['Content-Length'])))}\n")
    def answer(self, text):
        self.send_response(200)
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text.encode())
    def echo(self):
        key = self.headers["Sec-WebSocket-Key"] + "258EAFA5-E914-47DA-95CA-C5AB0DC85B11"
        self.send_response(101)
        self.send_header("Upgrade", "websocket")
        self.send_header("Connection", "Upgrade")
        self.send_header("Sec-WebSocket-Accept", base64.b64encode(hashlib.sha1(key.encode()).digest()).decode())
        self.end_headers()
        kind, length = self.rfile.read(2)
        mask = self.rfile.read(4)
        text = bytes(byte ^ mask[at % 4] for at, byte in enumerate(self.rfile.read(length & 127)))
        self.wfile.write(bytes([kind, len(text)]) + text)
        self.close_connection = True
http.server.ThreadingHTTPServer(("127.0.0.1", 8001), Handler).serve_forever()
"#;

/// The inventory of the second test.
const SETTINGS: &str = r#"connection user="admin" become="sudo"
secrets "secrets.age"
host "h1"
on "h1" {
    package "curl"
    file "/srv/backend.py" { content (file)"backend.py" }
    systemd-unit "backend.service" {
        section "Service" { ExecStart "/usr/bin/python3 /srv/backend.py" }
    }
    service "backend" running=#true probe="127.0.0.1:8001" probe-path="/"
    for "place" in="['/srv/static', '/srv/acme', '/srv/acme/.well-known', '/srv/acme/.well-known/acme-challenge']" {
        directory "{{ place }}"
    }
    file "/srv/acme/.well-known/acme-challenge/token" { content "proof" }
    file "/srv/static/site.css" { content "{{ 'body { color: blue }\n' * 200 }}" }
    file "/srv/small" newline=#false { content "{{ 'x' * 500 }}" }
    file "/srv/large" newline=#false { content "{{ 'x' * 2000 }}" }
    file "/etc/ssl/filed.crt" { content (file)"one.crt" }
    file "/etc/ssl/filed.key" mode="0600" { content (file)"one.key" }
    nginx probe-path="/open" probe-host="closed.test" probe-timeout="5s" trusted-proxies="127.0.0.9" {
        rate-limit "slow" rate="1/m"
        upstream "pool" {
            server "127.0.0.1:8009"
            server "127.0.0.1:8001"
        }
        site "app" server-name="app.test" proxy="pool" websocket=#true max-body="1k" {
            static "/static" root="/srv/static" expires="1h"
            header "X-Frame-Options" "DENY"
        }
        site "limited" server-name="limited.test" proxy="127.0.0.1:8001" { limit "slow" burst=1 }
        site "closed" server-name="closed.test" proxy="127.0.0.1:8001" {
            auth "Closed" { user "ada" password=(secret)"ada" }
            location "/open" proxy="127.0.0.1:8001" public=#true
        }
        site "own" server-name="own.test" proxy="127.0.0.1:8001" acme="/srv/acme" {
            tls self-signed=#true hsts-days=1
        }
        site "modern" server-name="modern.test" proxy="127.0.0.1:8001" {
            tls self-signed=#true security="modern" port=8443
        }
        site "filed" server-name="filed.test" proxy="127.0.0.1:8001" {
            tls certificate="/etc/ssl/filed.crt" key="/etc/ssl/filed.key"
        }
        site "given" server-name="given.test" proxy="127.0.0.1:8001" {
            tls certificate-content=(file)"given.crt" key-content=(secret)"key"
        }
        site "live" server-name="live.test" proxy="127.0.0.1:8001" {
            tls certificate="/srv/live/chain.pem" key="/srv/live/key.pem"
        }
        site "moved" server-name="moved.test" redirect-to="https://own.test/"
    }
}
"#;

/// The requests to `site` of the second test, and the required parts of the answer. A part after `-` must not occur.
/// The host's own `curl` sends them: `-i` shows the headers, and each answer ends with the exit code of the client.
const ANSWERS: &[(&str, &[&str])] = &[
    // The first server of the upstream is down. The application receives the requested port, and the client sees no
    // version.
    (
        "-H Host:app.test:8080 127.0.0.1/x?y=1",
        &[
            "HTTP/1.1 200",
            "8001 /x?y=1 host=app.test:8080 scheme=http for=127.0.0.1\n",
            "Server: nginx\r",
            "X-Frame-Options: DENY",
        ],
    ),
    ("-H Host:app.test 127.0.0.1/again", &["8001 /again"]),
    ("-H Host:app.test --data-binary @/srv/small 127.0.0.1/", &["took 500"]),
    ("-H Host:app.test --data-binary @/srv/large 127.0.0.1/", &["HTTP/1.1 413"]),
    (
        "-H Host:app.test --compressed 127.0.0.1/static/site.css",
        &["Content-Encoding: gzip", "Cache-Control: max-age=3600", "X-Frame-Options: DENY", "color: blue"],
    ),
    ("-H Host:app.test 127.0.0.1/static/missing", &["HTTP/1.1 404", "X-Frame-Options: DENY"]),
    // One request per minute, and one more.
    ("-H Host:limited.test 127.0.0.1/ 127.0.0.1/ 127.0.0.1/", &["200 OK", "429 Too Many"]),
    ("-H Host:closed.test 127.0.0.1/", &["HTTP/1.1 401", "-8001 /"]),
    ("-H Host:closed.test -u ada:wrong 127.0.0.1/", &["HTTP/1.1 401", "-8001 /"]),
    ("-H Host:closed.test -u 'ada:correct horse' 127.0.0.1/", &["8001 / host=closed.test"]),
    ("-H Host:closed.test 127.0.0.1/open", &["8001 /open"]),
    ("-H Host:own.test 127.0.0.1/a?b=c", &["HTTP/1.1 301", "Location: https://own.test/a?b=c\r"]),
    ("-H Host:own.test 127.0.0.1/.well-known/acme-challenge/token", &["HTTP/1.1 200", "proof"]),
    ("https://own.test/x", &["HTTP/2 200", "strict-transport-security: max-age=86400", "scheme=https"]),
    ("-H Host:moved.test 127.0.0.1/p?q", &["HTTP/1.1 301", "Location: https://own.test/p?q\r"]),
    // An unknown name gets no answer; 52 is curl's code for an empty answer.
    ("-H Host:unknown.test 127.0.0.1/", &["(52)"]),
    ("--http1.1 https://127.0.0.1/", &["(52)"]),
    // Only the load balancer's address may set these headers.
    ("-H Host:app.test -H X-Forwarded-Proto:https 127.0.0.1/", &["scheme=http "]),
    (
        "--interface 127.0.0.9 -H Host:app.test -H X-Forwarded-Proto:https -H X-Forwarded-For:192.0.2.7 127.0.0.1/",
        &["scheme=https for=192.0.2.7"],
    ),
];

fn check(host: &Host, request: &str, expected: &[&str]) {
    let places =
        ["own.test:443", "own.test:8443"].map(|place| format!("--resolve {place}:127.0.0.1")).join(" ");
    let answer = root(host, &format!("curl -sik -m 20 {places} {request}; echo \"($?)\""));
    for part in expected {
        match part.strip_prefix('-') {
            Some(part) => assert!(!answer.contains(part), "{request}: {part} in {answer}"),
            None => assert!(answer.contains(part), "{request}: no {part} in {answer}"),
        }
    }
}

/// Returns the output of a TLS client on the host. The client can be limited to one version.
fn tls(host: &Host, place: &str, name: &str, more: &str) -> String {
    let line = format!(
        "openssl s_client -connect 127.0.0.1:{place} -servername {name} -cipher ALL:@SECLEVEL=0 {more} </dev/null 2>&1"
    );
    root(host, &format!("{line}; true"))
}

/// Returns the subject and the names of the certificate for `name`, and whether it is still valid for 30 days.
fn served(host: &Host, name: &str) -> String {
    let client = format!("openssl s_client -connect 127.0.0.1:443 -servername {name} </dev/null 2>/dev/null");
    let told = "openssl x509 -noout -subject -ext subjectAltName -checkend 2592000";
    root(host, &format!("{client} | {told}; true"))
}

/// Creates `PROJECT/files/NAME.crt` and `.key` with the host's tool.
fn certificate(project: &Project, host: &Host, name: &str, site: &str) {
    let make = format!(
        "cd /tmp && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN={name} \
         -addext subjectAltName=DNS:{site} -keyout {name}.key -out {name}.crt 2>/dev/null"
    );
    root(host, &make);
    for end in ["crt", "key"] {
        let text = root(host, &format!("cat /tmp/{name}.{end}; rm /tmp/{name}.{end}"));
        project.write(&format!("project/files/{name}.{end}"), text).unwrap();
    }
}

/// Creates a certificate as a renewing program on the host leaves it: behind symbolic links.
fn renewed(host: &Host, name: &str) {
    let make = format!(
        "mkdir -p /srv/live && cd /srv/live && openssl req -x509 -newkey rsa:2048 -nodes -days 90 -subj /CN={name} \
         -addext subjectAltName=DNS:live.test -keyout {name}.key -out {name}.crt 2>/dev/null && \
         ln -sf {name}.crt chain.pem && ln -sf {name}.key key.pem"
    );
    root(host, &make);
}

fn set_secret(project: &Project, name: &str, command: &str) {
    let tool = converge_tests::converge_binary();
    let line = format!("{command} | {} secrets set {name} secrets.age", tool.display());
    let ended: Ended = project.program("/bin/sh").args(["-c", &line]).output().unwrap().into();
    assert_eq!(ended.code, 0, "{ended}");
}

/// Tests a web socket through nginx: the handshake, then a masked frame that comes back.
fn echoes(host: &Host) {
    let mut stream = TcpStream::connect((host.address(), 80)).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
    stream
        .write_all(
            b"GET /ws HTTP/1.1\r\nHost: app.test\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
              Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n\r\n",
        )
        .unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte).unwrap();
        head.push(byte[0]);
    }
    let head = String::from_utf8(head).unwrap();
    assert!(head.starts_with("HTTP/1.1 101 ") && head.contains("s3pPLMBiTxaQ9kYGzzhZRbK+xOo="), "{head}");
    stream.write_all(&[0x81, 0x82, 1, 2, 3, 4, b'h' ^ 1, b'i' ^ 2]).unwrap();
    let mut frame = [0; 4];
    stream.read_exact(&mut frame).unwrap();
    assert_eq!(&frame, b"\x81\x02hi");
}

/// Returns the digests of all files of nginx.
fn contents(host: &Host) -> String {
    root(host, "cd /etc/nginx && find . -type f -print0 | sort -z | xargs -0 sha256sum")
}

/// Writes the inventory of the second test with some replacements.
fn changed(project: &Project, changes: &[(&str, &str)]) {
    let text = changes.iter().fold(SETTINGS.to_owned(), |text, (before, after)| {
        assert!(text.contains(before), "{before} is not in the inventory");
        text.replace(before, after)
    });
    project.write("project/inventory.kdl", text).unwrap();
}

fn run(project: &Project, arguments: &[&str], code: i32) -> String {
    let ended = project.converge(arguments).unwrap();
    assert_eq!(ended.code, code, "{arguments:?}: {ended}");
    assert!(!format!("{ended}").contains("correct horse"), "the secret was printed");
    ended.stdout
}

const APPLY: &[&str] = &["apply", "--yes"];

#[test]
fn every_setting_does_what_it_says() {
    let Some(testbed) = or_skip(Testbed::up(&["h1"])) else { return };
    let host = testbed.host("h1").unwrap();
    let project = Project::new(SETTINGS, Some(&testbed)).unwrap();
    project.write("project/files/backend.py", BACKEND).unwrap();
    certificate(&project, host, "one", "filed.test");
    certificate(&project, host, "two", "filed.test");
    certificate(&project, host, "given", "given.test");
    renewed(host, "first");
    run(&project, &["secrets", "keygen"], 0);
    set_secret(&project, "ada", "printf %s 'correct horse'");
    set_secret(&project, "key", "cat files/given.key");

    the_first_apply_finds_the_port_taken(&project, host);
    for (request, expected) in ANSWERS {
        check(host, request, expected);
    }
    echoes(host);
    assert!(tls(host, "443", "own.test", "-tls1_1").contains("alert protocol version"));
    assert!(tls(host, "443", "own.test", "-tls1_2").contains("Cipher is ECDHE"));
    assert!(tls(host, "8443", "modern.test", "-tls1_2").contains("alert protocol version"));
    assert!(tls(host, "8443", "modern.test", "-tls1_3").contains("Cipher is TLS_"));
    assert!(served(host, "filed.test").contains("CN = one"));
    assert!(served(host, "given.test").contains("CN = given"));

    an_upgrade_elsewhere_lists_nothing_of_nginx(&project);
    certificates_that_change_are_read_again(&project, host);
    what_is_broken_changes_nothing(&project, host);
}

/// A port in use fails the apply with nginx's message. When the port is free, the next apply succeeds.
fn the_first_apply_finds_the_port_taken(project: &Project, host: &Host) {
    root(host, "systemd-run --quiet --unit squatter python3 -m http.server 80");
    root(host, "for _ in $(seq 600); do ss -Hltn 'sport = 80' | grep -q . && exit; sleep 0.1; done; exit 1");
    let told = run(project, APPLY, 3);
    assert!(told.contains("bind() to 0.0.0.0:80 failed (98: Address already in use)"), "{told}");
    root(host, "systemctl stop squatter");
    run(project, APPLY, 0);
    run(project, &["plan", "--detailed-exitcode"], 0);
    let hash = root(host, "cat /etc/nginx/htpasswd/closed");
    assert!(hash.starts_with("ada:$6$"), "{hash}");
}

/// A command may install anything, but it is not expected to bring nginx's default site.
fn an_upgrade_elsewhere_lists_nothing_of_nginx(project: &Project) {
    changed(
        project,
        &[(
            "    package \"curl\"\n",
            "    package \"curl\"\n    command \"touch /srv/up\" creates=\"/srv/up\"\n",
        )],
    );
    let told = run(project, &["plan"], 0);
    assert!(told.contains("command[touch /srv/up]") && !told.contains("nginx"), "{told}");
}

/// Certificates of four origins change: from another resource, from a renewing program, from the host itself and
/// expired, and with a changed name. Also the maintenance page, which lets challenges pass.
fn certificates_that_change_are_read_again(project: &Project, host: &Host) {
    root(
        host,
        "cd /etc/ssl/nginx && openssl req -x509 -newkey rsa:2048 -nodes -days 5 -subj /CN=own \
         -addext subjectAltName=DNS:own.test -keyout own.key -out own.crt 2>/dev/null",
    );
    let maintenance =
        ("site \"own\" ", "site \"own\" maintenance=#true maintenance-page=\"<h1>Back at noon</h1>\" ");
    let changes =
        [("one.crt", "two.crt"), ("one.key", "two.key"), ("\"modern.test\"", "\"newer.test\""), maintenance];
    changed(project, &changes);
    renewed(host, "later");
    let told = run(project, APPLY, 0);
    assert!(
        told.contains("nginx.command[certificate of own]") && told.contains("/srv/live/chain.pem"),
        "{told}"
    );
    run(project, &["plan", "--detailed-exitcode"], 0);
    assert!(served(host, "filed.test").contains("CN = two"));
    assert!(served(host, "live.test").contains("CN = later"));
    let own = served(host, "own.test");
    assert!(own.contains("DNS:own.test") && own.contains("will not expire"), "{own}");
    let modern = root(host, "openssl x509 -in /etc/ssl/nginx/modern.crt -noout -ext subjectAltName");
    assert!(modern.contains("DNS:newer.test"), "{modern}");
    check(host, "https://own.test/x", &["HTTP/2 503", "<h1>Back at noon</h1>", "-8001"]);
    check(host, "-H Host:own.test 127.0.0.1/.well-known/acme-challenge/token", &["proof"]);
}

/// Three faults: the key of another certificate, a file broken by hand, and a change after which the application does
/// not answer. Each is reported. The live files and the served pages stay unchanged.
fn what_is_broken_changes_nothing(project: &Project, host: &Host) {
    changed(project, &[]);
    run(project, APPLY, 0);
    check(host, "https://own.test/x", &["HTTP/2 200", "8001 /x", "-Back at noon"]);
    let broken = |changes: &[(&str, &str)], why: &str| {
        let before = contents(host);
        changed(project, changes);
        let told = run(project, APPLY, 3);
        assert!(told.contains(why), "no {why}: {told}");
        assert_eq!(contents(host), before, "{why}: the live files are as they were");
        check(host, "-H Host:closed.test 127.0.0.1/open", &["8001 /open"]);
    };
    let header = ("\"X-Frame-Options\" \"DENY\"", "\"X-Frame-Options\" \"SAMEORIGIN\"");
    broken(&[("(secret)\"key\"", "(file)\"one.key\"")], "key values mismatch");
    root(host, "echo 'nonsense;' >/etc/nginx/conf.d/by-hand.conf");
    broken(&[header], "unknown directive \"nonsense\" in /etc/nginx/conf.d/by-hand.conf:1");
    root(host, "rm /etc/nginx/conf.d/by-hand.conf");

    let told = "it does not answer its probe (GET /open at 127.0.0.1:80): 502 Bad Gateway";
    broken(&[("\"/open\" proxy=\"127.0.0.1:8001\"", "\"/open\" proxy=\"127.0.0.1:8009\"")], told);
    changed(project, &[]);
    run(project, &["plan", "--detailed-exitcode"], 0);
}
