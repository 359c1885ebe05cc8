//! One line of every type, as in docs/json-samples.jsonl, so that a change of the format is visible there.
//! `CONVERGE_WRITE_DOCS=1` writes the file again. Another test checks that docs/json.md describes these lines.

use std::fs;
use std::path::Path;

use converge_history::RunSummary;
use converge_lang::diagnostic::{Code, FileId, Files, Span};
use converge_lang::{Definition, Explanation, Loader, MemorySources};
use converge_model::ad_hoc::{Answer, Exit, Ran, Stream};
use converge_model::change::TextDiff;
use converge_model::facts::{Disk, Interface};
use converge_model::plan::{Drift, Holder};
use converge_model::{
    Address, Blocked, Cause, Certainty, Change, Digest, Event, EventKind, HostName, HostPlan, HostReport,
    HostState, Problem, PropertyChange, Restoration, RunId, Shown, Stands, Step, StepOutcome, StepResult,
    Verb,
};
use converge_server::{Drifted, News, NewsKind, Response};
use jiff::Timestamp;

use super::*;

#[test]
fn the_format_is_that_of_the_samples() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/json-samples.jsonl");
    let samples = events().chain(documents()).chain(news_lines()).collect::<String>();
    if std::env::var_os("CONVERGE_WRITE_DOCS").is_some() {
        return fs::write(path, samples).unwrap();
    }
    let written = fs::read_to_string(path).unwrap_or_default();
    for (line, written) in samples.lines().zip(written.lines()) {
        assert_eq!(
            line, written,
            "a change of the format: see docs/json.md, then run with CONVERGE_WRITE_DOCS=1"
        );
    }
    assert_eq!(samples.lines().count(), written.lines().count());
}

const RUN: &str = "20261121T113450-3f9a01bc";

fn address(kind: &str, name: &str) -> Address {
    Address::new(None, kind, name)
}

fn file() -> Address {
    address("file", "/etc/motd")
}

fn run() -> RunId {
    RunId::new(RUN).unwrap()
}

fn host() -> HostName {
    HostName::new("web1").unwrap()
}

/// A change with a property of every form.
fn change() -> Change {
    let diff = TextDiff { unified: "@@ -1 +1 @@\n-welcome\n+hello\n".to_owned(), cut: false };
    let content = PropertyChange { diff: Some(diff), ..PropertyChange::new("content", "8 bytes", "6 bytes") };
    let version = Shown::Unknown("the package lists are refreshed first".to_owned());
    Change::new(Verb::Update)
        .property(content)
        .property(PropertyChange::new("mode", Shown::Absent, "0644"))
        .property(PropertyChange::new("password", Shown::Masked, Shown::Masked))
        .property(PropertyChange::new("version", "1.18", version))
        .irreversible("the older package is not kept")
}

fn step(address: Address, kind: &str, change: Change, cause: Cause) -> Step {
    Step {
        resource: 3,
        address,
        kind: kind.to_owned(),
        change,
        because: Vec::new(),
        owed: false,
        drift: Drift { cause, mode: Default::default() },
        guarded: false,
        warning: None,
    }
}

fn plan() -> HostPlan {
    let first = step(file(), "file", change(), Cause::Both { corrective: vec![1] });
    let conditional = Certainty::Conditional { on: vec![0], why: "an earlier step may bring it".to_owned() };
    let mode = PropertyChange::new("mode", "0600", "0644");
    let second = Change {
        certainty: conditional,
        ..Change::new(Verb::Update).property(mode).irreversible("it is not kept")
    };
    let action = PropertyChange::new("action", Shown::Absent, "restart");
    let action = Change::new(Verb::Act).property(action);
    let restart = Step {
        because: vec![file()],
        owed: true,
        warning: Some("it listens on all addresses".to_owned()),
        ..step(address("service", "sshd"), "service", action, Cause::Always)
    };
    let problem = Problem {
        address: Some(address("package", "nginx")),
        message: "the package manager is locked".to_owned(),
        help: Some("wait until the other one has ended".to_owned()),
    };
    let blocked = Blocked {
        resource: 7,
        address: address("service", "nginx"),
        because: Some(address("package", "nginx")),
        why: "it comes after package[nginx]".to_owned(),
        help: Some("see package[nginx]".to_owned()),
        may_fail: false,
    };
    HostPlan {
        token: Digest::from_bytes([0; 32]),
        steps: vec![
            first,
            Step {
                guarded: true,
                ..step(address("file", "/etc/ssh/sshd_config"), "file", second, Cause::Corrective)
            },
            restart,
        ],
        in_sync: 78,
        known_once: vec![2],
        problems: vec![problem],
        blocked: vec![blocked],
        ledger_complete: true,
        busy: Some(holder()),
        interrupted: Some(RUN.to_owned()),
        damaged: 0,
        reverted: Some(RUN.to_owned()),
    }
}

fn holder() -> Holder {
    Holder { run: RUN.to_owned(), by: "ada@laptop".to_owned(), since: 1_795_260_890, held: 65 }
}

/// The events of a run of `exec` and of a run of `ping`.
fn ad_hoc() -> Vec<EventKind> {
    let ends = [
        Exit::Code(1),
        Exit::Signal(9),
        Exit::TimedOut,
        Exit::Stopped,
        Exit::NotStarted("there is no program uptimes".to_owned()),
    ];
    let line = "uptime".to_owned();
    let answer =
        Answer { user: "root".to_owned(), login: Some("admin".to_owned()), busy: Some(holder()), took: 41 };
    let mut all = vec![
        EventKind::Command { line: line.clone(), script: Some("clean.sh".to_owned()) },
        EventKind::Busy { holder: holder() },
        EventKind::CommandOutput { stream: Stream::Stdout, line: "up 3 days".to_owned() },
        EventKind::CommandOutput { stream: Stream::Stderr, line: "warning".to_owned() },
    ];
    all.extend(ends.map(|exit| EventKind::CommandFinished { ran: Ran { exit, lines: 2, took: 12 } }));
    all.push(EventKind::Answered { answer });
    all
}

fn result(outcome: StepOutcome) -> StepResult {
    StepResult {
        resource: 3,
        address: file(),
        change: change(),
        outcome,
        unforeseen: vec![PropertyChange::new("libssl3", "3.0.15", "3.0.16")],
        may_fail: false,
        took: 12,
    }
}

fn results() -> Vec<StepResult> {
    let failed = |restored, stands| StepOutcome::Failed {
        why: "exit status 1".to_owned(),
        output: "syntax error in line 3\n".to_owned(),
        restored,
        stands,
    };
    let properties = vec!["content".to_owned()];
    let outcomes = [
        StepOutcome::Done,
        StepOutcome::AlreadySo,
        StepOutcome::Unforeseen,
        failed(Restoration::Done, Stands::Unchanged),
        failed(Restoration::Stuck, Stands::Differs { properties }),
        failed(Restoration::Nothing, Stands::AsAsked),
        StepOutcome::Skipped { why: "package[nginx] failed".to_owned() },
        StepOutcome::Owed,
    ];
    outcomes.into_iter().map(result).collect()
}

fn events() -> impl Iterator<Item = String> {
    let problem = Problem { address: None, message: "the host is full".to_owned(), help: None };
    let report = HostReport {
        host: host(),
        state: HostState::Failed,
        results: vec![result(StepOutcome::Done)],
        in_sync: 78,
        problems: vec![problem],
    };
    let of_host = [
        EventKind::HostState { phase: "looking".to_owned() },
        EventKind::HostState { phase: "waiting for another run".to_owned() },
        EventKind::Planned { plan: plan(), machine: "3d1219c7c4c5404aaa1f6d2a48adfda4".to_owned(), skew: -2 },
        EventKind::Armed { seconds: 60 },
        EventKind::StepStarted { address: file(), step: 0, of: 3 },
        EventKind::Output { address: file(), line: "Setting up nginx (1.18) ...".to_owned() },
        EventKind::Owed { address: address("service", "sshd") },
        EventKind::Paid { address: address("service", "sshd") },
        EventKind::Confirmed,
        EventKind::Reverted,
    ];
    let finished = results().into_iter().map(|result| EventKind::StepFinished { result });
    let of_host =
        of_host.into_iter().chain(finished).chain(ad_hoc()).chain([EventKind::HostFinished { report }]);
    let (verb, by) = ("apply".to_owned(), "ada@laptop".to_owned());
    let began = EventKind::RunStarted { verb, hosts: 2, by, at: 1_795_260_890_123 };
    let states = vec![(HostState::Failed, 1), (HostState::InSync, 1)];
    let ended = EventKind::RunFinished { states, changed: 1, exit: 3, took: 4012 };
    let told = |sequence: u64, host: Option<HostName>, kind| {
        event(&Event { version: converge_model::event::VERSION, run: run(), host, sequence, kind })
    };
    let first = told(0, None, began);
    let last = told(1, None, ended);
    let between = of_host.zip(0..).map(move |(kind, sequence)| told(sequence, Some(host()), kind));
    [first].into_iter().chain(between).chain([last])
}

const INVENTORY: &str = r#"
drift every="30m" splay="5m" mode="correct" window="sat,sun 02:00-04:30" zone="Europe/Vienna" max-share="20%" fight-after=3 fight-within="1d"
vars { workers 4 }
connection user="admin" port=2222 key="~/.ssh/web" jump="bastion" become="sudo"
group "web" { host "web[1..2]" address="10.0.0.[1..2]" }
group "all" { group "web" }
host "db1" { drift cron="0 3 * * *" }
host "here" { connection "local" root="sandbox" }
on "web" after="here" {
    rollout canary=1 batch="50%" max-failures=1 wait="30s" {
        health retries=10 every="2s" { command "true" }
    }
    file "/etc/motd"
}
on "db1" { rollout canary="db1" }
"#;

fn documents() -> impl Iterator<Item = String> {
    let sources = MemorySources::new()
        .file("inventory.kdl", INVENTORY)
        .file("converge.kdl", "project \"shop\"\ninventory \"inventory.kdl\"\n");
    let loader = Loader::new(std::sync::Arc::new(sources), crate::project::kinds(), Vec::new());
    let loaded = loader.load("", &[]);
    let inventory = loaded.inventory.unwrap_or_else(|| panic!("{:?}", loaded.diagnostics));
    let description = inventory.describe();
    let explanation = Explanation {
        variable: "workers".to_owned(),
        value: Some("4".to_owned()),
        definitions: vec![Definition {
            key: "workers".to_owned(),
            level: "inventory".to_owned(),
            file: Some("inventory.kdl".to_owned()),
            line: 2,
            written: "4".to_owned(),
            wins: true,
        }],
    };
    let web = Host::from(&description.hosts[0]);
    let lines = [
        Document::Inventory(Inventory::from(&description)),
        Document::Host { host: &web, variables: vec![Variable::new("web1", &explanation)] },
        Document::Variable(Variable::new("web1", &explanation)),
    ];
    let lines: Vec<_> = lines.iter().map(document).collect();
    lines.into_iter().chain(diagnostics()).chain(answers())
}

fn diagnostics() -> impl Iterator<Item = String> {
    let mut files = Files::default();
    let id: FileId = files.add("inventory.kdl", "host \"web1\"\nfil \"/etc/motd\"\n");
    let span = Span { file: id, start: 12, len: 3 };
    let mistake = converge_lang::Diagnostic::error(Code::Unknown, "there is no kind `fil`".to_owned());
    let mistake = mistake.label(span, "here").help("did you mean `file`?");
    let help = Some("name a file or a folder");
    let lines = [
        Document::Diagnostic(Diagnostic::of_language(&mistake, &files, Some(1))),
        Document::Diagnostic(Diagnostic::failure(
            "cli::project",
            "there is no converge.kdl here or above",
            help,
            1,
        )),
        Document::Diagnostic(Diagnostic::failure("cli::host", "no route to host", None, 4).of_host("web1")),
        Document::Diagnostic(Diagnostic::warning("the run is not in the history yet", None)),
        Document::Checked { project: Some("shop"), hosts: Some(3), errors: 1, warnings: 0 },
    ];
    lines.map(|line| document(&line)).into_iter()
}

fn answers() -> impl Iterator<Item = String> {
    let summary = RunSummary {
        run: run(),
        verb: "apply".to_owned(),
        by: "ada@laptop".to_owned(),
        began: 1_795_260_890_123,
        hosts: 2,
        states: vec![(HostState::Changed, 1), (HostState::Failed, 1)],
        changed_hosts: 2,
        changes: 7,
        took: Some(4012),
        exit: Some(3),
    };
    let cut_off = RunSummary { took: None, exit: None, ..summary.clone() };
    let facts = converge_model::Facts {
        disks: vec![Disk { name: "sda".to_owned(), ..Default::default() }],
        interfaces: vec![Interface { addresses: vec!["10.0.0.1/24".to_owned()], ..Default::default() }],
        addresses: vec!["10.0.0.1".to_owned()],
        own: vec![("rack".to_owned(), r#"{"row": 4}"#.to_owned())],
        ..Default::default()
    };
    let facts = Box::new(Facts::from(&facts));
    let agents =
        vec![Carried { system: "Linux", machines: &["x86_64", "amd64"], digest: "308f4d80e4dd".to_owned() }];
    let lines = [
        Document::Run(Run::from(&summary)),
        Document::Run(Run::from(&cut_off)),
        Document::Facts { host: "web1", clock_ahead_seconds: 0, facts },
        Document::Formatted { path: "inventory.kdl", changed: true },
        Document::Doctor { check: "ssh", ok: true, message: "OpenSSH_9.2p1" },
        Document::DocsEntry { name: "file", is: "kind", summary: "A file" },
        Document::DocsPage { name: "file", markdown: "# file\n" },
        Document::ModuleCase { module: "perch", case: "plain", outcome: "failed", report: Some("-a\n+b\n") },
        Document::Written { file: Path::new("inventory.kdl"), added: None },
        Document::Written { file: Path::new(".gitignore"), added: Some("sandbox/\n") },
        Document::SecretName { name: "shop/db-password" },
        Document::Secret { name: "shop/db-password", value: "correct horse" },
        Document::Key {
            recipient: "age1qx",
            file: Path::new("/home/ada/.config/converge/identities/key.txt"),
        },
        Document::Completions { shell: "bash", script: "complete -F _converge converge\n" },
        Document::Program { release: "0.1.0", agents },
    ];
    lines.iter().map(document).collect::<Vec<_>>().into_iter()
}

fn news_lines() -> impl Iterator<Item = String> {
    let addresses = vec![file()];
    let resource =
        Drifted { address: file(), properties: vec!["content".to_owned()], response: Response::Corrects };
    let all = [
        NewsKind::Started { hosts: 2 },
        NewsKind::Looked { state: HostState::Pending, corrective: 1, pending: 0, took: 412 },
        NewsKind::DriftFound { resources: vec![resource] },
        NewsKind::Corrected { addresses: addresses.clone() },
        NewsKind::Failed {
            state: HostState::Unreachable,
            why: vec!["no route to host".to_owned()],
            addresses: addresses.clone(),
        },
        NewsKind::Recovered { addresses },
        NewsKind::Fight { address: file(), corrections: 5, within: 3600 },
        NewsKind::TooManyDrifted { drifted: 9, of: 20 },
        NewsKind::CorrectionGoesOn { drifted: 1, of: 20 },
        NewsKind::TickSkipped { skipped: 1 },
        NewsKind::InventoryBroken { mistakes: vec!["there is no kind `fil` (inventory.kdl:2:1)".to_owned()] },
        NewsKind::InventoryReloaded { hosts: 2, mended: true },
        NewsKind::MemoryBroken { why: "no space left on device".to_owned() },
        NewsKind::MemoryMended,
        NewsKind::Stopping,
    ];
    let version = converge_server::events::VERSION;
    assert_eq!(version, VERSION, "the daemon and the runs speak one format");
    let at = Timestamp::from_second(1_795_260_890).unwrap();
    all.into_iter().map(move |watch| news(&News { version, at, host: Some(host()), run: Some(run()), watch }))
}
