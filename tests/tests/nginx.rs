//! The module `nginx` on a real host, asked from the controller: what it serves, what it refuses, what a reload costs.

#![expect(clippy::unwrap_used, reason = "a test may panic, and so may its helpers")]

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread;
use std::time::Duration;

use converge_tests::project::{Ended, Project};
use converge_tests::testbed::{Host, Testbed, or_skip};

/// An application on a unix socket: it tells what it was asked, and takes its time where it is asked to.
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

/// The inventory: a site before the application, one with files and TLS; `more` goes into the first.
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

/// What the host answers to a request: the whole text, or why there is none.
fn ask(host: &Host, name: &str, path: &str) -> std::io::Result<String> {
    let mut stream = TcpStream::connect((host.address(), 80))?;
    stream.set_read_timeout(Some(Duration::from_secs(20)))?;
    write!(stream, "GET {path} HTTP/1.1\r\nHost: {name}\r\nConnection: close\r\n\r\n")?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer)?;
    Ok(answer)
}

fn root(host: &Host, line: &str) -> String {
    host.exec_root(line).unwrap().ok().unwrap()
}

/// What the host's own client gets over TLS: status, the header of HSTS, and the text.
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

/// A digest of all that nginx reads, and the number of its master process.
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

    // What `nginx -t` does not see: a port that somebody else has.
    root(host, "systemd-run --quiet --unit squatter python3 -m http.server 8099");
    let before = root(host, "cat /etc/nginx/sites-enabled/*");
    let ended = converge(&project, &format!("{header}\nlisten 80 8099"), &["apply", "--yes"], 3);
    assert!(ended.stdout.contains("bind() to 0.0.0.0:8099 failed"), "{ended}");
    assert!(ended.stdout.contains("nginx.tree[/etc/nginx] was put back, and it runs as before"), "{ended}");
    assert_eq!(root(host, "cat /etc/nginx/sites-enabled/*"), before);
    serves(host);
}

/// Changes the sites again and again under requests from here, one of which is in the middle of its answer all the time.
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
                // The machine has other work as well.
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
