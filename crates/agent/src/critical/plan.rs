//! What a plan says of access-critical steps: that they are made under a revert, why one cannot be, and what is known to
//! speak against them. Nothing is planned while a group of an earlier run is not settled.

use std::collections::BTreeSet;

use converge_model::wire::Guard;
use converge_model::{Catalog, Problem, Shown, Step, Verb};

use super::Login;
use super::policy::Peer;
use crate::act::closing::stuck;
use crate::planner::{Decoded, Draft, DraftStep, Reason, Refused};
use crate::state::armed::{Standing, armed};
use crate::state::lock::Lock;
use crate::state::{State, StateError, now};

/// A group of a run that ended without it: the host is in between, and nobody acts on it before it is settled.
pub(crate) fn unsettled(state: &State) -> Result<Option<Problem>, StateError> {
    Ok(match Standing::read(state)? {
        Standing::Armed(owner) | Standing::Reverting(owner) if Lock::holder(state, now()).is_none() => {
            Some(Problem {
                address: None,
                message: format!(
                    "what run {} changed is not confirmed, and the host is about to take it back",
                    owner.run
                ),
                help: Some(format!(
                    "plan again in a minute; if it still says so, the host failed at it: what was saved is in {}",
                    armed(state).with_file_name("reverting").display()
                )),
            })
        }
        Standing::Stuck(why) => Some(stuck(&why)),
        _ => None,
    })
}

/// Marks the steps that are made under a revert: critical ones, and what they notify.
pub(crate) fn mark(draft: &mut Draft, decoded: &Decoded<'_>, critical: &BTreeSet<u32>) {
    let changed: BTreeSet<u32> =
        draft.steps.iter().filter(|step| step.action.is_none()).map(|step| step.step.resource).collect();
    for DraftStep { step, action, .. } in &mut draft.steps {
        let notifiers = decoded.notifications.notifiers(step.resource).iter().map(|(by, _)| by);
        let because =
            action.is_some() && notifiers.into_iter().any(|by| critical.contains(by) && changed.contains(by));
        step.guarded = because || critical.contains(&step.resource);
    }
}

/// Why guarded steps cannot be made under a revert, and packages that the login needs are not removed.
pub(crate) fn unguardable(
    draft: &Draft,
    catalog: &Catalog,
    login: &Login,
    guard: Guard,
    can_arm: bool,
) -> Refused {
    if guard.accept_irreversible {
        return Refused::new();
    }
    let help =
        "with `--accept-irreversible` it is changed all the same; have another way in at hand".to_owned();
    let own = draft.steps.iter().filter(|step| step.action.is_none()).map(|step| &step.step);
    let guarded = own.clone().filter(|step| step.guarded);
    let refuse = |step: &Step, why: &str| {
        let why = format!("it may shut this run out, and the host could not take it back by itself: {why}");
        (step.resource, Reason { why, help: Some(help.clone()) })
    };
    let losing = own.filter_map(|step| {
        let lost = login.loses(&catalog.resources[step.resource as usize], &step.change)?;
        Some(refuse(step, &format!("{lost} goes, and packages are not put back")))
    });
    let mut refused: Refused = losing.collect();
    if !can_arm {
        let why = "that needs root, systemd, and a state folder on a disk that programs may run from";
        refused.extend(guarded.map(|step| refuse(step, why)));
        return refused;
    }
    // Accounts are put back with their files, whatever is kept of them.
    let guarded = guarded.filter(|step| step.change.verb != Verb::Act && step.kind != "user");
    let sensitive = |step: &Step| draft.veil.hides(step.resource);
    let why = |step: &Step| match &step.change.irreversible {
        None if is_lost(step, sensitive(step)) => Some("its content is sensitive and is not kept".to_owned()),
        why => why.clone(),
    };
    refused.extend(guarded.filter_map(|step| Some(refuse(step, &why(step)?))));
    refused
}

/// Whether a step replaces what may be kept nowhere.
fn is_lost(step: &Step, sensitive: bool) -> bool {
    let is_there = |before: &Shown| !matches!(before, Shown::Absent);
    step.change.properties.iter().any(|property| {
        let metadata = ["mode", "owner", "group"].contains(&property.property.as_str());
        property.before == Shown::Masked || (sensitive && !metadata && is_there(&property.before))
    })
}

/// Says of guarded steps what is known to speak against them. What they show is masked by now.
pub(crate) fn warn(draft: &mut Draft, catalog: &Catalog, login: &Login) {
    for step in draft.steps.iter_mut().map(|step| &mut step.step).filter(|step| step.guarded) {
        let resource = &catalog.resources[step.resource as usize];
        let of_login = login.warning(resource, &step.change, Peer::of_session);
        let warnings: Vec<_> = step.warning.take().into_iter().chain(of_login).collect();
        step.warning = Some(warnings.join("; ")).filter(|all| !all.is_empty());
    }
}
