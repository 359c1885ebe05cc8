use std::sync::{Arc, Mutex};

use converge_model::{Params, Value, Verb};

use crate::kinds::testing::{Trial, change, finished, impossible, params};
use crate::overlay::Effect;

/// The SHA-256 of `hello
/// `.
const CHECKSUM: &str = "sha256:5891b5b522d5df086d0ff0b110fbd9d21bb4fc7163af34d08286a2e846f6be03";

fn download(more: &[(&str, Value)]) -> Params {
    let mut params = params([
        ("path", "/etc/x".into()),
        ("url", "https://example.org/x?a=\"b\"".into()),
        ("checksum", CHECKSUM.into()),
    ]);
    more.iter().for_each(|(name, value)| params.set(name, value.clone()));
    params
}

/// The command lines that ran, each with its standard input.
type Log = Arc<Mutex<Vec<(String, String)>>>;

/// A host whose tool downloads `body`.
fn host(body: &'static str) -> (Trial, Log) {
    let (trial, log) = (Trial::new(), Log::default());
    let kept = log.clone();
    trial.answer(move |command| {
        std::fs::write(command.words.last().unwrap(), body).unwrap();
        let input = command.input.as_ref().map(|input| String::from_utf8_lossy(input.expose()).into_owned());
        kept.lock().unwrap().push((command.words.join(" "), input.unwrap_or_default()));
        finished(0, "")
    });
    (trial, log)
}

#[test]
fn a_download_obeys_the_laws_and_is_fetched_once() {
    let (trial, log) = host("hello\n");
    assert_eq!(trial.laws("download", &download(&[])).verb, Verb::Create);
    assert_eq!(trial.read("/etc/x"), b"hello\n");
    log.lock().unwrap().clear();
    trial.laws("download", &download(&[("mode", 0o600.into())]));
    assert!(log.lock().unwrap().is_empty(), "the mode alone needs no fetch");
    trial.write("/etc/x", "something else");
    assert_eq!(trial.laws("download", &download(&[])).verb, Verb::Update);
}

#[test]
fn what_arrives_with_another_checksum_changes_nothing() {
    let (trial, _) = host("not what was promised\n");
    trial.write("/etc/x", "old");
    let before = trial.image();
    let error = trial.apply("download", &download(&[])).err().unwrap();
    assert!(error.message.contains("the downloaded file has the checksum sha256:"), "{}", error.message);
    assert_eq!(trial.image(), before);
}

#[test]
fn the_url_is_on_no_command_line() {
    let (trial, log) = host("hello\n");
    let url = Value::Scalar(trial.secret("https://user:hunter22@example.org/x"));
    let change = trial.laws("download", &download(&[("url", url)]));
    assert!(!format!("{change:?}").contains("hunter22"));
    let log = log.lock().unwrap();
    assert!(!log[0].0.contains("example.org"), "{}", log[0].0);
    assert!(log[0].1.contains("hunter22"));
}

#[test]
fn words_and_input_are_what_the_tools_read() {
    let check = |tool, url: &str, words: &str, input: &str| {
        let command = super::command(tool, &crate::wish::Text::Plain(url.into()), "/out".into());
        assert!(command.words.join(" ").contains(words), "{:?}", command.words);
        assert_eq!(command.input.unwrap().expose(), input.as_bytes());
    };
    use super::Tool::{Curl, Wget};
    check(Curl, "https://x/\"\\", "--proto =https --config -", "url = \"https://x/\\\"\\\\\"\n");
    check(Curl, "http://x/", "--proto =http,https", "url = \"http://x/\"\n");
    check(Wget, "https://x/", "--max-redirect=0", "https://x/\n");
}

#[test]
fn what_is_in_the_way_stays() {
    let trial = Trial::new();
    std::os::unix::fs::symlink("passwd", trial.at("/etc/x")).unwrap();
    assert_eq!(impossible(trial.plan("download", &download(&[]))), "a link is in the way");
    let replaced = change(trial.plan("download", &download(&[("replace", true.into())])));
    assert_eq!(replaced.verb, Verb::Replace);
}

#[test]
fn a_tool_is_needed_only_for_what_is_to_be_fetched() {
    let trial = Trial::real();
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("x");
    let wish = download(&[("path", path.to_str().unwrap().into())]);
    let tools = crate::view::PATH.iter().flat_map(|at| ["curl", "wget"].map(|tool| format!("{at}/{tool}")));
    let without: Vec<_> = tools.map(|tool| Effect::Path(tool.into(), None)).collect();
    let why = impossible(trial.plan_after(without.clone(), "download", &wish));
    assert_eq!(why, "the program curl does not exist");
    std::fs::write(&path, "something else").unwrap();
    impossible(trial.plan_after(without.clone(), "download", &wish));
    std::fs::write(&path, "hello\n").unwrap();
    let planned = trial.plan_after(without, "download", &wish);
    assert!(planned.is_in_sync(), "{planned:?}");
}

#[test]
fn a_secret_url_is_checked_once_it_is_known() {
    let trial = Trial::new();
    let secret = |url: &str| download(&[("url", Value::Scalar(trial.secret(url)))]);
    let told = |wish: &Params| trial.problems("download", wish).len();
    assert_eq!(told(&secret("https://user:hunter22@example.org/x")), 0);
    assert_eq!(told(&secret("ftp://user:hunter22@example.org/x")), 1);
    let unknown = crate::registry::kind("download").unwrap().check(&secret("ftp://example.org"));
    assert!(unknown.is_ok(), "a check knows no secret");
}

#[test]
fn a_folder_that_may_come_makes_it_conditional() {
    let trial = Trial::new();
    let wish = download(&[("path", "/srv/app/x".into())]);
    let change = change(trial.plan_after(vec![Effect::Open], "download", &wish));
    assert!(matches!(change.certainty, converge_model::Certainty::Conditional { .. }));
}

#[test]
fn mistakes_are_found_before_the_host() {
    let check = |more: &[(&str, Value)], expected: &str| {
        let problems = Trial::new().problems("download", &download(more));
        assert!(problems.iter().any(|problem| problem.message.contains(expected)), "{problems:?}");
    };
    check(&[("url", "ftp://example.org/x".into())], "http or https");
    check(&[("url", "https://example.org/\nurl = file:///etc/shadow".into())], "http or https");
    check(&[("checksum", "sha256:12".into())], "64 hexadecimal digits");
    check(&[("checksum", "md5:d41d8cd98f00b204e9800998ecf8427e".into())], "64 hexadecimal digits");
}

/// Serves `body` once on a port of this machine. Returns its URL.
fn serve(body: &'static str) -> String {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("http://{}/x?a=b&c=%22", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        use std::io::{BufRead, BufReader, Write};
        let (mut stream, _) = listener.accept().unwrap();
        let request = BufReader::new(stream.try_clone().unwrap()).lines();
        request.map_while(Result::ok).take_while(|line| !line.is_empty()).for_each(drop);
        let length = body.len();
        write!(stream, "HTTP/1.0 200 OK\r\nContent-Length: {length}\r\n\r\n{body}").unwrap();
    });
    url
}

#[test]
fn the_real_tools_understand_what_they_are_told() {
    for (tool, name) in [(super::Tool::Curl, "curl"), (super::Tool::Wget, "wget")] {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("out");
        let url = crate::wish::Text::Plain(serve("hello\n"));
        let command = super::command(tool, &url, target.to_str().unwrap().to_owned());
        let child = std::process::Command::new(&command.words[0])
            .args(&command.words[1..])
            .stdin(std::process::Stdio::piped())
            .spawn();
        let Ok(mut child) = child else {
            eprintln!("skipped: no {name} on this machine");
            continue;
        };
        let input = command.input.unwrap();
        std::io::Write::write_all(&mut child.stdin.take().unwrap(), input.expose()).unwrap();
        assert!(child.wait().unwrap().success(), "{name}");
        assert_eq!(std::fs::read(&target).unwrap(), b"hello\n", "{name}");
    }
}
