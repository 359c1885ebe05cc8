//! A look: the plan of a host with its diffs, its secrets masked, and the token that identifies it.

use std::collections::{BTreeMap, BTreeSet, HashSet};

use converge_model::wire::{Guard, LOOK_LIMIT, TEXT_LIMIT};
use converge_model::{Catalog, Content, Digest, HostPlan, Settled, Step};
use converge_resources::System;
use converge_resources::diff::unified;
use converge_resources::system::services::UnitState;

use crate::channel::Channel;
use crate::critical::plan::{mark, unguardable, unsettled, warn};
use crate::critical::{self, needed};
use crate::decoded::Decoded;
use crate::drift::Memory;
use crate::planner::{Draft, Refused, plan};
use crate::state::armed::{Standing, can_arm};
use crate::state::journal::{Debt, Past};
use crate::state::lock::Lock;
use crate::state::{State, now};

/// The result of a look, with more than the plan that it reports.
pub(crate) struct Looked {
    pub(crate) draft: Draft,
    pub(crate) token: Digest,
    pub(crate) ledger_complete: bool,
    /// The once-steps that have run.
    known_once: BTreeSet<u32>,
    /// The targets whose actions are still owed.
    pub(crate) owed: BTreeSet<String>,
    /// The access-critical resources.
    pub(crate) critical: BTreeSet<u32>,
}

/// Looks at the host under the catalog of `decoded`.
pub(crate) fn look(
    decoded: &Decoded<'_>,
    system: &dyn System,
    state: &State,
    (past, guard): (&Past, Option<Guard>),
    channel: &dyn Channel,
) -> Result<Looked, crate::state::StateError> {
    let debts = open_debts(&past.debts, decoded, system);
    let memory = Memory::read(decoded.catalog, state, past)?;
    let known_once = known_once(decoded.catalog, &memory);
    let login = guard.map(|_| critical::login(system));
    let needed = login.as_ref().map(|login| needed(login, system.packages().manager().entry));
    let needed = needed.unwrap_or_default();
    let critical = login.as_ref().map(|login| critical::critical(decoded, login)).unwrap_or_default();
    let mut draft = plan(decoded, system, (&debts, &known_once), |draft| {
        draft.veil = memory.veil(decoded, &draft.owned, system);
        let Some(guard) = guard else { return Refused::new() };
        mark(draft, decoded, &critical);
        unguardable(draft, decoded, &needed, guard, can_arm(system, state))
    });
    if guard.is_some() {
        draft.allowance.keep_ways_in(&needed);
        draft.problems.extend(unsettled(state)?);
    }
    fill_diffs(&mut draft, channel);
    let token = token(&draft, decoded.catalog);
    for step in &mut draft.steps {
        draft.veil.cover(step.step.resource, &mut step.step.change);
    }
    for problem in &mut draft.problems {
        problem.message = draft.veil.masker().mask(problem.message.as_bytes());
    }
    for blocked in draft.blocked.values_mut().chain(&mut draft.waiting) {
        blocked.why = draft.veil.masker().mask(blocked.why.as_bytes());
    }
    if let Some(login) = &login {
        warn(&mut draft, decoded, login);
    }
    memory.explain(&mut draft, decoded);
    let ledger_complete = memory.is_complete(&draft);
    let owed = debts.into_keys().collect();
    Ok(Looked { draft, token, ledger_complete, known_once, owed, critical })
}

/// Makes the plan for the controller. An interrupted run must be settled by an act, even if nothing differs.
pub(crate) fn report(looked: Looked, past: &Past, state: &State) -> HostPlan {
    let standing = Standing::read(state).unwrap_or(Standing::Nothing);
    let busy = Lock::holder(state, now());
    // The journal of a running run is open too, or was when this look began. Such a run was not interrupted, and
    // settles what an earlier one left.
    let is_open = |run: &String| Past::read(state).is_ok_and(|now| now.interrupted.as_ref() == Some(run));
    let interrupted = past.interrupted.clone().filter(|run| busy.is_none() && is_open(run));
    let settled = interrupted.is_none() && past.damaged == 0 && standing == Standing::Nothing;
    HostPlan {
        token: looked.token,
        steps: looked.draft.steps.into_iter().map(|step| step.step).collect(),
        in_sync: looked.draft.in_sync.len() as u32,
        known_once: looked.known_once.into_iter().collect(),
        problems: looked.draft.problems,
        blocked: looked.draft.blocked.into_values().chain(looked.draft.waiting).collect(),
        ledger_complete: looked.ledger_complete && settled,
        busy,
        interrupted,
        damaged: u32::try_from(past.damaged).unwrap_or(u32::MAX),
        reverted: match standing {
            Standing::Reverted(owner) => Some(owner.run),
            _ => None,
        },
    }
}

/// The once-steps that have run: here (from the ledger), or on another host (from the controller).
fn known_once(catalog: &Catalog, memory: &Memory<'_>) -> BTreeSet<u32> {
    let elsewhere = catalog.settled.iter().filter(|(_, how)| *how == Settled::Known).map(|(at, _)| *at);
    let resources = (0_u32..).zip(&catalog.resources);
    let here = resources.filter(|(_, resource)| memory.has_run_once(resource));
    elsewhere.chain(here.map(|(at, _)| at)).collect()
}

/// Returns the actions that are still owed. If a unit has a new invocation, it has been restarted since.
fn open_debts(
    debts: &BTreeMap<String, Vec<Debt>>,
    decoded: &Decoded<'_>,
    system: &dyn System,
) -> BTreeMap<String, Vec<Debt>> {
    let mut open = BTreeMap::new();
    for (target, list) in debts {
        let Some(invocation) = target_invocation(target, decoded, system) else { continue };
        let unpaid: Vec<_> = list
            .iter()
            .filter(|debt| debt.invocation.is_none() || debt.invocation == invocation)
            .cloned()
            .collect();
        if !unpaid.is_empty() {
            open.insert(target.clone(), unpaid);
        }
    }
    open
}

/// Returns the invocation of the unit of the resource at the address `target`. None if the catalog no longer has that
/// resource; nothing is owed to it then.
#[expect(clippy::option_option, reason = "no resource, and a resource without a unit, are two answers")]
fn target_invocation(target: &str, decoded: &Decoded<'_>, system: &dyn System) -> Option<Option<String>> {
    Some(invocation(decoded, system, decoded.place(target)?))
}

/// Returns the invocation of the unit that a notification of the resource at `index` concerns.
pub(crate) fn invocation(decoded: &Decoded<'_>, system: &dyn System, index: u32) -> Option<String> {
    let action = decoded.wanted[index as usize].action(converge_model::NotifyHow::AsTargetSays)?;
    let states = system.units().states(&[action.unit?]).ok()?;
    states.into_iter().next().map(|UnitState { invocation, .. }| invocation).filter(|text| !text.is_empty())
}

/// Asks once for the texts of all diffs and fills them in. If a text is not available, there is no diff.
fn fill_diffs(draft: &mut Draft, channel: &dyn Channel) {
    let (mut wanted, mut known) = (Vec::new(), HashSet::new());
    let mut total = 0;
    for request in draft.steps.iter().flat_map(|step| &step.diffs) {
        if let Content::Plain { digest, length } = request.after {
            let fits = length <= TEXT_LIMIT && total + length <= LOOK_LIMIT;
            if fits && length > 0 && known.insert(digest) {
                total += length;
                wanted.push(digest);
            }
        }
    }
    if !wanted.is_empty() && channel.need(&wanted).is_err() {
        return;
    }
    for step in &mut draft.steps {
        for request in std::mem::take(&mut step.diffs) {
            let Content::Plain { digest, length } = request.after else { continue };
            let after = if length == 0 {
                Some(Vec::new())
            } else if known.contains(&digest) {
                channel.text(digest).ok()
            } else {
                None
            };
            let before = request.before.unwrap_or_default();
            if let (Some(after), Some(property)) =
                (after, step.step.change.properties.get_mut(request.property))
            {
                property.diff = unified(&before, &after);
                draft.veil.learn(step.step.resource, &after);
            }
        }
    }
}

/// Identifies the whole plan before it is masked. It is keyed with the host's secrets, so that it reveals none of
/// them.
fn token(draft: &Draft, catalog: &Catalog) -> Digest {
    let key = blake3::derive_key("converge 2026 plan token", &catalog.secrets.to_channel());
    let steps: Vec<&Step> = draft.steps.iter().map(|step| &step.step).collect();
    let blocked: Vec<_> = draft.blocked.values().chain(&draft.waiting).collect();
    let bytes = postcard::to_allocvec(&(steps, &draft.in_sync, &draft.problems, blocked)).unwrap_or_default();
    Digest::keyed(&key, &bytes)
}
