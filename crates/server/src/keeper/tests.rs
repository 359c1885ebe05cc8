//! The decisions, for results and times that the tests set.

use super::*;
use converge_lang::Window;
use converge_lang::rollout::Share;
use converge_model::plan::{Drift, Holder};
use converge_model::{Blocked, Change, PropertyChange, Restoration, Stands, StepOutcome, StepResult, Verb};

const START: &str = "2026-01-05T10:00:00Z";

fn at(seconds: i64) -> Timestamp {
    START.parse::<Timestamp>().unwrap() + SignedDuration::from_secs(seconds)
}

fn host(name: &str) -> HostName {
    HostName::new(name).unwrap()
}

fn address(name: &str) -> Address {
    Address::new(None, "file", name)
}

fn correcting() -> DriftPolicy {
    let zone = Some("UTC".to_owned());
    DriftPolicy {
        mode: DriftMode::Correct,
        zone,
        every: Some(Duration::from_secs(60)),
        ..DriftPolicy::default()
    }
}

/// Returns the hosts of `names`, all with `policy`. In `a<b`, the host `b` comes before `a`.
fn hosts(names: &[&str], policy: &DriftPolicy) -> BTreeMap<HostName, Watched> {
    let one = |text: &&str| {
        let (name, before) = text.split_once('<').unwrap_or((text, ""));
        let schedule = Schedule::new(&host(name), policy, Duration::from_secs(60)).unwrap();
        let before = before.split_whitespace().map(host).collect();
        (host(name), Watched { schedule, policy: policy.clone(), before })
    };
    names.iter().map(one).collect()
}

fn keeper(names: &[&str], policy: &DriftPolicy) -> Keeper {
    Keeper::new(Memory::default(), hosts(names, policy), at(0))
}

fn step(name: &str, cause: Cause, mode: DriftMode) -> Step {
    Step {
        resource: 0,
        address: address(name),
        kind: "file".into(),
        change: Change::new(Verb::Update).property(PropertyChange::new("content", "a", "b")),
        because: Vec::new(),
        owed: false,
        drift: Drift { cause, mode },
        guarded: false,
        warning: None,
    }
}

fn drifted(name: &str) -> Step {
    step(name, Cause::Corrective, DriftMode::Correct)
}

fn look(steps: Vec<Step>) -> Look {
    let state = if steps.is_empty() { HostState::InSync } else { HostState::Pending };
    let plan = HostPlan {
        token: Digest::of(b""),
        steps,
        in_sync: 0,
        problems: Vec::new(),
        blocked: Vec::new(),
        ledger_complete: true,
        busy: None,
        interrupted: None,
        damaged: 0,
        reverted: None,
        known_once: Vec::new(),
    };
    Look { state, plan: Some(plan), why: Vec::new(), took: 1 }
}

fn lost(state: HostState) -> Look {
    Look { state, plan: None, why: vec!["no route".to_owned()], took: 1 }
}

fn report(state: HostState, results: Vec<(&str, StepOutcome)>) -> HostReport {
    let result = |(name, outcome): (&str, StepOutcome)| StepResult {
        resource: 0,
        address: address(name),
        change: Change::new(Verb::Update),
        outcome,
        unforeseen: Vec::new(),
        may_fail: false,
        took: 0,
    };
    let results = results.into_iter().map(result).collect();
    HostReport { host: host("a"), state, results, in_sync: 0, problems: Vec::new() }
}

/// Returns the kinds of the news, without `Looked`.
fn kinds(news: &[NewsKind]) -> Vec<String> {
    let told = news.iter().filter(|news| !matches!(news, NewsKind::Looked { .. }));
    told.map(|news| match news {
        NewsKind::DriftFound { resources } => {
            let one = |one: &Drifted| format!("{} {:?}", one.address, one.response);
            resources.iter().map(one).collect::<Vec<_>>().join(", ")
        }
        NewsKind::Recovered { addresses } => format!("recovered {}", addresses.len()),
        NewsKind::Fight { address, corrections, .. } => format!("fight {address} {corrections}"),
        NewsKind::Failed { state, .. } => format!("failed {}", state.word()),
        NewsKind::Corrected { addresses } => format!("corrected {}", addresses.len()),
        other => format!("{other:?}"),
    })
    .collect()
}

/// Looks at the host `a`, and checks the news and the corrections.
fn check(keeper: &mut Keeper, seconds: i64, steps: Vec<Step>, news: &[&str], correct: &[&str]) {
    let verdict = keeper.looked(&host("a"), &look(steps), at(seconds));
    assert_eq!(kinds(&verdict.news), news, "after {seconds} s");
    assert_eq!(
        verdict.correct,
        correct.iter().map(|name| address(name)).collect::<Vec<_>>(),
        "after {seconds} s"
    );
}

/// Corrects the host `a` successfully.
fn corrected(keeper: &mut Keeper, name: &str) {
    let report = report(HostState::Changed, vec![(name, StepOutcome::Done)]);
    assert_eq!(kinds(&keeper.acted(&host("a"), &[address(name)], &report)), ["corrected 1"]);
}

#[test]
fn hosts_start_when_they_are_due_once_at_a_time_and_after_those_before_them() {
    let mut keeper = keeper(&["a", "b<a", "c<b"], &correcting());
    assert_eq!(keeper.tick(at(0)).start, [host("a")]);
    assert_eq!(keeper.tick(at(1)), Tick::default(), "b waits for a, and c for b");
    keeper.ended(&host("a"), false, at(2));
    assert_eq!(keeper.tick(at(2)).start, [host("b")]);
    keeper.ended(&host("b"), false, at(3));
    assert_eq!(keeper.tick(at(60)).start, [host("a")], "the others are due and wait");
    assert_eq!(keeper.tick(at(120)).skipped, [(host("a"), 1)]);
    assert_eq!(keeper.tick(at(121)), Tick::default());
    assert_eq!(keeper.tick(at(185)).skipped, [(host("a"), 2)]);
    keeper.ended(&host("a"), true, at(186));
    assert_eq!(keeper.tick(at(186)).start, [host("a")], "it was stopped before it could look");
    assert_eq!(keeper.memory().hosts[&host("a")].skipped, 2);
}

#[test]
fn who_was_at_work_when_the_daemon_died_is_due_at_once_and_the_others_as_they_were() {
    let mut first = keeper(&["a", "b"], &correcting());
    first.tick(at(0));
    first.ended(&host("b"), false, at(1));
    let memory = first.memory().clone();
    let mut second = Keeper::new(memory.clone(), hosts(&["a", "b"], &correcting()), at(10));
    assert_eq!(second.tick(at(10)).start, [host("a")]);
    assert_eq!(second.tick(at(60)), Tick { start: vec![host("b")], skipped: vec![(host("a"), 1)] });
    // A host does not wait for a missed tick, nor until a clock that was set back has caught up.
    let mut late = Keeper::new(memory.clone(), hosts(&["b"], &correcting()), at(10_000));
    assert_eq!(late.tick(at(10_000)).start, [host("b")]);
    let early = Keeper::new(memory, hosts(&["b"], &correcting()), at(-10_000));
    assert!(early.wakes().unwrap() <= at(-9_940));
}

#[test]
fn drift_is_told_once_and_what_each_resource_says_is_done() {
    let mut keeper = keeper(&["a"], &correcting());
    let both = Cause::Both { corrective: vec![0] };
    let steps = || {
        vec![
            drifted("/a"),
            step("/b", Cause::Corrective, DriftMode::Report),
            step("/c", Cause::Corrective, DriftMode::Ignore),
            step("/d", both.clone(), DriftMode::Correct),
            step("/e", Cause::Intentional, DriftMode::Correct),
        ]
    };
    let all = "file[/a] Corrects, file[/b] Reports, file[/d] WaitsForApply";
    check(&mut keeper, 0, steps(), &[all], &["/a"]);
    corrected(&mut keeper, "/a");
    check(&mut keeper, 60, steps()[1..].to_vec(), &[], &[]);
    let mut otherwise = steps()[1..].to_vec();
    otherwise[0].change.properties[0] = PropertyChange::new("content", "c", "b");
    check(&mut keeper, 120, otherwise, &["file[/b] Reports, file[/d] WaitsForApply"], &[]);
    check(&mut keeper, 180, vec![step("/e", Cause::Intentional, DriftMode::Correct)], &["recovered 2"], &[]);
    check(&mut keeper, 240, Vec::new(), &[], &[]);
}

#[test]
fn a_resource_that_is_corrected_again_and_again_is_left_alone_until_it_is_as_it_should_be() {
    let within = Some(Duration::from_secs(3600));
    let policy = DriftPolicy { fight_after: Some(2), fight_within: within, ..correcting() };
    let mut keeper = keeper(&["a"], &policy);
    for seconds in [0, 60] {
        check(&mut keeper, seconds, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
        corrected(&mut keeper, "/a");
    }
    let news = ["file[/a] GaveUp, file[/b] Corrects", "fight file[/a] 2"];
    check(&mut keeper, 120, vec![drifted("/a"), drifted("/b")], &news, &["/b"]);
    corrected(&mut keeper, "/b");
    // This also holds after the corrections are too old to count.
    check(&mut keeper, 7200, vec![drifted("/a")], &[], &[]);
    check(&mut keeper, 7260, Vec::new(), &["recovered 1"], &[]);
    check(&mut keeper, 7320, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn an_attempt_that_met_a_lock_does_not_count_and_one_that_failed_does() {
    let policy = DriftPolicy { fight_after: Some(1), ..correcting() };
    let mut keeper = keeper(&["a"], &policy);
    for seconds in [0, 60] {
        let verdict = keeper.looked(&host("a"), &look(vec![drifted("/a")]), at(seconds));
        assert_eq!(verdict.correct, [address("/a")]);
        let told = keeper.acted(&host("a"), &[address("/a")], &report(HostState::Locked, Vec::new()));
        assert_eq!(told, []);
    }
    keeper.looked(&host("a"), &look(vec![drifted("/a")]), at(120));
    let failed = StepOutcome::Failed {
        why: "no".into(),
        output: String::new(),
        restored: Restoration::Done,
        stands: Stands::Unknown,
    };
    let told = keeper.acted(&host("a"), &[address("/a")], &report(HostState::Failed, vec![("/a", failed)]));
    assert_eq!(kinds(&told), ["failed failed"]);
    check(&mut keeper, 180, vec![drifted("/a")], &["file[/a] GaveUp", "fight file[/a] 1"], &[]);
}

#[test]
fn a_host_of_which_nothing_is_asked_is_not_lost_and_holds_no_host_back() {
    let mut keeper = keeper(&["a<db", "db"], &correcting());
    keeper.looked(&host("db"), &lost(HostState::Unreachable), at(0));
    let bare = Look { state: HostState::InSync, plan: None, why: Vec::new(), took: 1 };
    assert_eq!(kinds(&keeper.looked(&host("db"), &bare, at(60)).news), Vec::<String>::new());
    check(&mut keeper, 60, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn a_host_that_is_lost_is_told_once_holds_back_those_after_it_and_recovers() {
    let mut keeper = keeper(&["a<db", "db"], &correcting());
    let told = keeper.looked(&host("db"), &lost(HostState::Unreachable), at(0)).news;
    assert_eq!(kinds(&told), ["failed unreachable"]);
    let told = keeper.looked(&host("db"), &lost(HostState::Unreachable), at(60)).news;
    assert_eq!(kinds(&told), Vec::<String>::new());
    check(&mut keeper, 60, vec![drifted("/a")], &["file[/a] WaitsForHost"], &[]);
    let told = keeper.looked(&host("db"), &look(Vec::new()), at(120)).news;
    assert_eq!(kinds(&told), ["recovered 0"]);
    check(&mut keeper, 120, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn what_drifted_is_corrected_beside_a_resource_that_cannot_be_planned() {
    let mut keeper = keeper(&["a", "b<a"], &correcting());
    let blocked = |name: &str| Blocked {
        resource: 1,
        address: address(name),
        because: None,
        why: "a folder is in the way".to_owned(),
        help: None,
        may_fail: false,
    };
    let mut check = |seconds: i64, steps: Vec<Step>, names: &[&str], news: &[&str], correct: usize| {
        let mut look = look(steps);
        look.plan.as_mut().unwrap().blocked = names.iter().map(|name| blocked(name)).collect();
        let verdict = keeper.looked(&host("a"), &look, at(seconds));
        assert_eq!(
            (kinds(&verdict.news), verdict.correct.len()),
            (news.iter().map(ToString::to_string).collect(), correct)
        );
        if correct > 0 {
            corrected(&mut keeper, "/a");
        }
    };
    check(0, vec![drifted("/a")], &["/bob"], &["file[/a] Corrects", "failed cannot be planned"], 1);
    check(60, Vec::new(), &["/bob"], &[], 0);
    check(120, vec![drifted("/a")], &["/bob"], &["file[/a] Corrects"], 1);
    check(180, Vec::new(), &[], &["recovered 0"], 0);
}

#[test]
fn nothing_is_judged_while_another_run_is_at_work() {
    let mut keeper = keeper(&["a"], &correcting());
    let mut busy = look(vec![drifted("/a")]);
    let holder = Holder { run: "r".into(), by: "ada@laptop".into(), since: 1, held: 1 };
    busy.plan.as_mut().unwrap().busy = Some(holder);
    let verdict = keeper.looked(&host("a"), &busy, at(0));
    assert!(matches!(verdict.news[..], [NewsKind::Looked { state: HostState::Locked, corrective: 0, .. }]));
    assert_eq!(verdict.correct, []);
    check(&mut keeper, 60, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn outside_its_window_drift_is_reported_and_looked_at_again_when_it_opens() {
    let windows = vec!["11:00-12:00".parse::<Window>().unwrap()];
    let every = Some(Duration::from_secs(24 * 3600));
    let mut keeper = keeper(&["a"], &DriftPolicy { windows, every, ..correcting() });
    keeper.tick(at(0));
    check(&mut keeper, 0, vec![drifted("/a")], &["file[/a] WaitsForWindow"], &[]);
    keeper.ended(&host("a"), false, at(1));
    assert_eq!(keeper.wakes(), Some(at(3600)));
    assert_eq!(keeper.tick(at(3600)).start, [host("a")]);
    check(&mut keeper, 3600, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn while_too_many_hosts_drifted_nothing_is_corrected() {
    let policy = DriftPolicy { max_share: Some(Share::Percent(50)), ..correcting() };
    let mut keeper = keeper(&["a", "b", "c", "d"], &policy);
    let mut check = |name: &str, steps: Vec<Step>, correct: usize, told: &[&str]| {
        let verdict = keeper.looked(&host(name), &look(steps), at(0));
        assert_eq!(
            (verdict.correct.len(), kinds(&verdict.of_all)),
            (correct, told.iter().map(ToString::to_string).collect())
        );
    };
    // A corrected host counts as drifted until a look finds it in sync.
    check("a", vec![drifted("/a")], 1, &[]);
    check("b", vec![drifted("/a")], 1, &[]);
    check("c", vec![drifted("/a")], 0, &["TooManyDrifted { drifted: 3, of: 4 }"]);
    check("d", vec![drifted("/a")], 0, &[]);
    check("a", Vec::new(), 0, &[]);
    check("b", Vec::new(), 0, &["CorrectionGoesOn { drifted: 2, of: 4 }"]);
    check("c", vec![drifted("/a")], 1, &[]);
}

#[test]
fn what_is_only_reported_keeps_nothing_else_from_its_correction() {
    let policy = DriftPolicy { max_share: Some(Share::Percent(50)), fight_after: Some(1), ..correcting() };
    let report = DriftPolicy { mode: DriftMode::Report, ..policy.clone() };
    let mut all = hosts(&["a", "b", "c", "d"], &policy);
    all.extend(hosts(&["e", "f", "g"], &report));
    let mut keeper = Keeper::new(Memory::default(), all, at(0));
    let mut check = |name: &str, steps: Vec<Step>, correct: usize, told: &[&str]| {
        let verdict = keeper.looked(&host(name), &look(steps), at(0));
        assert_eq!(
            (verdict.correct.len(), kinds(&verdict.of_all)),
            (correct, told.iter().map(ToString::to_string).collect())
        );
    };
    for name in ["e", "f", "g"] {
        check(name, vec![step("/a", Cause::Corrective, DriftMode::Report)], 0, &[]);
    }
    let both = Cause::Both { corrective: vec![0] };
    check(
        "a",
        vec![step("/a", Cause::Corrective, DriftMode::Report), step("/b", both, DriftMode::Correct)],
        0,
        &[],
    );
    check("b", vec![drifted("/a")], 1, &[]);
    check("b", vec![drifted("/a")], 0, &[]);
    check("b", vec![drifted("/a")], 0, &[]);
    // The resource that was given up on b does not count. Hosts that only report do not count either.
    check("c", vec![drifted("/a")], 1, &[]);
    check("d", vec![drifted("/a")], 1, &[]);
    check("a", vec![drifted("/a")], 0, &["TooManyDrifted { drifted: 3, of: 4 }"]);
}

#[test]
fn that_too_many_drifted_is_told_once_in_all_lives_of_a_daemon() {
    let policy = DriftPolicy { max_share: Some(Share::Percent(50)), ..correcting() };
    let mut first = keeper(&["a", "b"], &policy);
    let of_all = |keeper: &mut Keeper, name| {
        kinds(&keeper.looked(&host(name), &look(vec![drifted("/a")]), at(0)).of_all)
    };
    assert_eq!(of_all(&mut first, "a"), Vec::<String>::new());
    assert_eq!(of_all(&mut first, "b"), ["TooManyDrifted { drifted: 2, of: 2 }"]);
    let mut second = Keeper::new(first.memory().clone(), hosts(&["a", "b"], &policy), at(1));
    assert_eq!(of_all(&mut second, "a"), Vec::<String>::new());
}

#[test]
fn nothing_is_corrected_that_cannot_be_remembered() {
    let policy = DriftPolicy { fight_after: Some(2), ..correcting() };
    let mut keeper = keeper(&["a"], &policy);
    assert!(!keeper.remembers(true) && keeper.remembers(false) && !keeper.remembers(false));
    check(&mut keeper, 0, vec![drifted("/a")], &["file[/a] CannotRemember"], &[]);
    check(&mut keeper, 60, vec![drifted("/a")], &[], &[]);
    assert!(keeper.remembers(true));
    // A decision that was withdrawn, because it could not be recorded, does not count for a fight.
    for seconds in [120, 180, 240] {
        keeper.looked(&host("a"), &look(vec![drifted("/a")]), at(seconds));
        keeper.withdraw(&host("a"), &[address("/a")]);
    }
    check(&mut keeper, 300, vec![drifted("/a")], &[], &["/a"]);
}

#[test]
fn a_clock_that_is_set_back_holds_up_nothing_and_starts_no_fight() {
    let policy = DriftPolicy { fight_after: Some(1), ..correcting() };
    let mut keeper = keeper(&["a"], &policy);
    // A machine started with a clock that was years ahead, until the clock was set.
    let ahead = 4 * 365 * 86_400;
    assert_eq!(keeper.tick(at(ahead)).start, [host("a")]);
    check(&mut keeper, ahead, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
    corrected(&mut keeper, "/a");
    keeper.ended(&host("a"), false, at(ahead + 1));
    assert_eq!(keeper.tick(at(1)), Tick::default());
    assert_eq!(keeper.wakes(), Some(at(60)));
    assert_eq!(keeper.tick(at(60)).start, [host("a")]);
    check(&mut keeper, 60, vec![drifted("/a")], &["file[/a] Corrects"], &["/a"]);
}

#[test]
fn after_a_long_sleep_each_host_is_looked_at_once() {
    let mut keeper = keeper(&["a", "b"], &correcting());
    keeper.tick(at(0));
    keeper.ended(&host("a"), false, at(1));
    keeper.ended(&host("b"), false, at(1));
    let night = 9 * 3600;
    assert_eq!(keeper.tick(at(night)), Tick { start: vec![host("a"), host("b")], skipped: Vec::new() });
    assert_eq!(keeper.tick(at(night + 1)), Tick::default());
}

#[test]
fn a_host_that_leaves_the_inventory_is_remembered_for_a_while() {
    let mut keeper = keeper(&["a", "b"], &correcting());
    check(&mut keeper, 0, vec![step("/a", Cause::Corrective, DriftMode::Report)], &["file[/a] Reports"], &[]);
    let mut without = |days: i64| {
        keeper.take(hosts(&["b"], &correcting()), at(days * 86_400));
        keeper.memory().hosts.contains_key(&host("a"))
    };
    assert!(without(30));
    assert!(!without(91));
    let mut back = Keeper::new(Memory::default(), hosts(&["b"], &correcting()), at(0));
    back.take(hosts(&["a", "b"], &correcting()), at(10));
    assert_eq!(back.tick(at(10)).start, [host("a"), host("b")]);
}

#[test]
fn hosts_with_other_limits_do_not_tell_of_too_many_again_and_again() {
    let strict = DriftPolicy { max_share: Some(Share::Percent(25)), ..correcting() };
    let mut all = hosts(&["a", "b"], &strict);
    all.extend(hosts(&["c", "d"], &correcting()));
    let mut keeper = Keeper::new(Memory::default(), all, at(0));
    let mut check = |name: &str, correct: usize, told: &[&str]| {
        let verdict = keeper.looked(&host(name), &look(vec![drifted("/a")]), at(0));
        assert_eq!(
            (verdict.correct.len(), kinds(&verdict.of_all)),
            (correct, told.iter().map(ToString::to_string).collect())
        );
    };
    check("a", 1, &[]);
    check("c", 1, &["TooManyDrifted { drifted: 2, of: 4 }"]);
    check("b", 0, &[]);
    check("d", 1, &[]);
    check("a", 0, &[]);
}

#[test]
fn a_single_pass_gives_every_host_its_turn_and_fails_on_drift_that_is_left() {
    let mut keeper = Keeper::once(Memory::default(), hosts(&["a", "b<a"], &correcting()), at(0));
    assert_eq!(keeper.tick(at(0)).start, [host("a")]);
    check(&mut keeper, 0, vec![step("/a", Cause::Corrective, DriftMode::Report)], &["file[/a] Reports"], &[]);
    keeper.ended(&host("a"), false, at(1));
    assert_eq!(keeper.tick(at(1)).start, [host("b")]);
    assert!(!keeper.is_done());
    assert_eq!(keeper.exit_of_stop(), exit::INTERRUPTED);
    keeper.looked(&host("b"), &look(Vec::new()), at(1));
    keeper.ended(&host("b"), false, at(2));
    assert!(keeper.is_done() && keeper.tick(at(100)) == Tick::default());
    let states = |of_b| BTreeMap::from([(host("a"), HostState::Pending), (host("b"), of_b)]);
    assert_eq!(keeper.exit(&states(HostState::InSync)), exit::PENDING);
    assert_eq!(keeper.exit(&states(HostState::Unreachable)), exit::UNREACHABLE);
    assert_eq!(keeper.exit(&BTreeMap::from([(host("b"), HostState::Changed)])), exit::OK);
}
