//! The two jobs of the agent, from the order to the last frame. A look takes no lock and changes nothing. An act
//! takes the lock and looks again. It continues only if the plan is the one that was shown.

use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use converge_model::wire::{FromAgent, Refusal, Verdict};
use converge_model::{AdHoc, Digest, HostPlan, HostReport, HostState, Problem, Ran, RunId};
use converge_resources::System;

use crate::act::Act;
use crate::act::guarded::{Guarding, clear_away, resume};
use crate::ad_hoc;
use crate::channel::Channel;
use crate::decoded::decode;
use crate::fence;
use crate::look::{look, report};
use crate::serve::{Order, Worker};
use crate::state::armed::{self, Standing, can_arm};
use crate::state::journal::{Journal, Past};
use crate::state::ledger::Ledger;
use crate::state::lock::Lock;
use crate::state::{State, StateError, now};

/// The worker. `open` opens the system of a root folder, or the system itself, with the folder of its receipts.
pub struct Agent<O> {
    open: O,
}

impl<S: System, O: Fn(Option<&Path>, PathBuf) -> std::io::Result<S>> Agent<O> {
    /// Makes a worker.
    pub fn new(open: O) -> Self {
        Self { open }
    }

    fn system(&self, root: Option<&Path>, state: &State) -> Result<S, Refusal> {
        (self.open)(root, state.path("receipts")).map_err(|error| match root {
            Some(root) => broken(
                format!("failed to open {}: {error}", root.display()),
                Some("`root=` must name a folder that this account can use".to_owned()),
            ),
            None => broken(format!("failed to open the system: {error}"), None),
        })
    }
}

impl<S: System, O: Fn(Option<&Path>, PathBuf) -> std::io::Result<S>> Worker for Agent<O> {
    fn look(&self, order: Order, channel: &dyn Channel) -> Result<HostPlan, Refusal> {
        let state = State::of(order.root.as_deref()).map_err(refuse)?;
        let system = self.system(order.root.as_deref(), &state)?;
        if order.root.is_none() {
            resume(&system, &state);
            // The system is open already. So the kinds see the host itself, and programs that they start see the
            // fence.
            fence::raise();
        }
        look_in(&system, &state, &order, channel)
    }

    fn act(&self, order: Order, token: Digest, channel: &dyn Channel) -> Result<HostReport, Refusal> {
        let state = State::of(order.root.as_deref()).map_err(refuse)?;
        order.root.as_deref().map_or(Ok(()), make_root)?;
        let system = self.system(order.root.as_deref(), &state)?;
        act_in(&system, &state, &order, token, channel)
    }

    fn confirm(&self, run: &RunId) -> Result<Verdict, Refusal> {
        State::of(None).and_then(|state| armed::confirm(&state, run.as_str())).map_err(refuse)
    }

    fn exec(&self, asked: &AdHoc, root: Option<&Path>, channel: &dyn Channel) -> Result<Ran, Refusal> {
        let state = State::of(root).map_err(refuse)?;
        root.map_or(Ok(()), make_root)?;
        let system = self.system(root, &state)?;
        Ok(ad_hoc::exec(asked, &system, &state, channel))
    }

    fn ping(&self, root: Option<&Path>) -> Result<FromAgent, Refusal> {
        State::of(root).map(|state| ad_hoc::answer(&state)).map_err(refuse)
    }
}

/// Makes the folder that stands for a host, if it is missing.
fn make_root(root: &Path) -> Result<(), Refusal> {
    use std::os::unix::fs::PermissionsExt;
    if root.exists() {
        return Ok(());
    }
    let made = std::fs::create_dir_all(root)
        .and_then(|()| std::fs::set_permissions(root, std::fs::Permissions::from_mode(0o755)));
    made.map_err(|error| broken(format!("failed to make {}: {error}", root.display()), None))
}

/// Looks at a given system.
pub(crate) fn look_in(
    system: &dyn System,
    state: &State,
    order: &Order,
    channel: &dyn Channel,
) -> Result<HostPlan, Refusal> {
    let past = Past::read(state).map_err(refuse)?;
    let decoded = match decode(&order.catalog, channel) {
        Ok(decoded) => decoded,
        Err(problems) => return Err(undecodable(&problems)),
    };
    let looked = look(&decoded, system, state, (&past, order.guard), channel).map_err(refuse)?;
    Ok(report(looked, &past, state))
}

/// Acts on a given system.
pub(crate) fn act_in(
    system: &dyn System,
    state: &State,
    order: &Order,
    token: Digest,
    channel: &dyn Channel,
) -> Result<HostReport, Refusal> {
    state.make().map_err(refuse)?;
    let now = now();
    let _lock = Lock::take(state, &order.run, &order.by, now).map_err(refuse)?.map_err(Refusal::Locked)?;
    let decoded = match decode(&order.catalog, channel) {
        Ok(decoded) => decoded,
        Err(problems) => return Err(undecodable(&problems)),
    };
    let past = Past::read(state).map_err(refuse)?;
    let standing = Standing::read(state).map_err(refuse)?;
    let looked = look(&decoded, system, state, (&past, order.guard), channel).map_err(refuse)?;
    if looked.token != token || matches!(standing, Standing::Armed(_) | Standing::Reverting(_)) {
        let why = "plan again to see what changed".to_owned();
        return Err(Refusal::Stale(why));
    }
    let mut ledger = Ledger::read(state).map_err(refuse)?;
    let key = state.made_key().map_err(refuse)?;
    let store = state.replaced().map_err(refuse)?;
    // An act that is refused before this point leaves no trace in the journal.
    let (journal, past) = Journal::open(state, order.run.as_str()).map_err(refuse)?;
    ledger.take_in(&past.writes);
    if let Standing::Confirmed(owner) | Standing::Reverted(owner) = standing {
        clear_away(system, &owner, state).map_err(refuse)?;
    }
    let guarding = order.guard.map(|guard| Guarding {
        state,
        run: order.run.as_str(),
        guard,
        critical: looked.critical,
        can_arm: can_arm(system, state),
        count: 0,
        group: None,
    });
    let mut act = Act::new(&decoded, system, looked.draft, &journal, channel, (store, guarding, key));
    act.clean_up(&past, &looked.owed);
    act.walk();
    let mut report = act.close();
    let recorded = act.record(ledger, state);
    if let Err(error) = recorded.and_then(|()| state.discard_replaced()).and_then(|()| journal.end()) {
        // The report still says what was done, and the next run records it.
        report.problems.push(Problem { address: None, message: error.to_string(), help: None });
        report.state = report.state.max(HostState::Failed);
    }
    Ok(report)
}

fn undecodable(problems: &[Problem]) -> Refusal {
    let lines: Vec<_> = problems
        .iter()
        .map(|problem| match &problem.address {
            Some(address) => format!("{address}: {}", problem.message),
            None => problem.message.clone(),
        })
        .collect();
    broken(lines.join("; "), problems.iter().find_map(|problem| problem.help.clone()))
}

fn refuse(error: StateError) -> Refusal {
    let help = match &error {
        StateError::Newer { .. } => {
            Some("use the version of Converge that wrote it, or a newer one".to_owned())
        }
        StateError::NotPrivate(path) => Some(format!(
            "check who created it; then `chown` and `chmod 700` it, or remove it: {}",
            path.display()
        )),
        StateError::File { path, source, .. } if source.kind() == ErrorKind::StorageFull => free_space(path),
        _ => None,
    };
    broken(error.to_string(), help)
}

/// Returns a hint about the free space at the path of a state file.
fn free_space(path: &Path) -> Option<String> {
    let space = rustix::fs::statvfs(path.parent()?).ok()?;
    let free = space.f_bavail.saturating_mul(space.f_frsize);
    Some(format!("{free} bytes are free there: make room for the state of the host"))
}

fn broken(message: String, help: Option<String>) -> Refusal {
    Refusal::Broken { message, help }
}
