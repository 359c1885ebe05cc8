//! The output of a plan about access-critical steps: whether they are made under a revert, why one cannot be, and
//! known objections. Nothing is planned while a group of an earlier run is not settled.

use std::collections::BTreeSet;

use converge_model::wire::Guard;
use converge_model::{Problem, Shown, Step, Verb};
use converge_resources::access::{Login, Visit};
use converge_resources::kit::attributes::METADATA;

use super::{lost, session};
use crate::act::closing::stuck;
use crate::decoded::Decoded;
use crate::planner::{Draft, DraftStep, Reason, Refused};
use crate::state::armed::{Standing, armed};
use crate::state::lock::Lock;
use crate::state::{State, StateError, now};

/// Returns the problem of a group whose run died. The host is between two states, and no run changes it before the
/// group is settled.
pub(crate) fn unsettled(state: &State) -> Result<Option<Problem>, StateError> {
    Ok(match Standing::read(state)? {
        Standing::Armed(owner) | Standing::Reverting(owner) if Lock::holder(state, now()).is_none() => {
            Some(Problem {
                address: None,
                message: format!(
                    "the changes of run {} are not confirmed, and the host is about to revert them",
                    owner.run
                ),
                help: Some(format!(
                    "plan again in a minute; if this error stays, the revert failed: the saved state is in {}",
                    armed(state).with_file_name("reverting").display()
                )),
            })
        }
        Standing::Stuck(why) => Some(stuck(&why)),
        _ => None,
    })
}

/// Marks the steps that are made under a revert: critical ones, and the handlers that they notify.
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

/// Returns why guarded steps cannot be made under a revert, and why packages that the login needs are not removed.
pub(crate) fn unguardable(
    draft: &Draft,
    decoded: &Decoded<'_>,
    needed: &[&'static str],
    guard: Guard,
    can_arm: bool,
) -> Refused {
    if guard.accept_irreversible {
        return Refused::new();
    }
    let help = "`--accept-irreversible` changes it anyway; have another way to log in".to_owned();
    let own = draft.steps.iter().filter(|step| step.action.is_none());
    let guarded = own.clone().map(|step| &step.step).filter(|step| step.guarded);
    let refuse = |step: &Step, why: &str| {
        let why = format!("it may lock out this run, and the host could not revert it: {why}");
        (step.resource, Reason { why, help: Some(help.clone()) })
    };
    let losing = own.filter_map(|step| {
        let lost = lost(&step.removes, needed)?;
        Some(refuse(&step.step, &format!("{lost} is removed, and packages are not restored")))
    });
    let mut refused: Refused = losing.collect();
    if !can_arm {
        let why = "a revert needs root, systemd, and a state folder that programs can run from";
        refused.extend(guarded.map(|step| refuse(step, why)));
        return refused;
    }
    let is_kept = |step: &Step| decoded.wanted[step.resource as usize].is_restored_whole();
    // Accounts are restored with their whole files, so nothing else must be kept of them.
    let guarded = guarded.filter(|step| step.change.verb != Verb::Act && !is_kept(step));
    let sensitive = |step: &Step| draft.veil.hides(step.resource);
    let why = |step: &Step| match &step.change.irreversible {
        None if is_lost(step, sensitive(step)) => Some("its content is sensitive and is not kept".to_owned()),
        why => why.clone(),
    };
    refused.extend(guarded.filter_map(|step| Some(refuse(step, &why(step)?))));
    refused
}

/// Whether a step replaces content that may not be kept.
fn is_lost(step: &Step, sensitive: bool) -> bool {
    let is_there = |before: &Shown| !matches!(before, Shown::Absent);
    step.change.properties.iter().any(|property| {
        let metadata = METADATA.contains(&property.property.as_str());
        property.before == Shown::Masked || (sensitive && !metadata && is_there(&property.before))
    })
}

/// Adds known objections to guarded steps. Their values are masked already.
pub(crate) fn warn(draft: &mut Draft, decoded: &Decoded<'_>, login: &Login) {
    let visit = Visit { login, peer: &session::peer };
    for step in draft.steps.iter_mut().map(|step| &mut step.step).filter(|step| step.guarded) {
        let known = decoded.wanted[step.resource as usize].warns(&step.change, visit);
        let warnings: Vec<_> = step.warning.take().into_iter().chain(known).collect();
        step.warning = Some(warnings.join("; ")).filter(|all| !all.is_empty());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::armed::{Owner, arm, prepare};
    use crate::testing::{Bench, order, resource};
    use crate::work::look_in;
    use converge_model::{HostPlan, Notify, NotifyHow, Resource, RunId};
    use converge_resources::System;
    use converge_resources::system::services::Verb;

    /// Returns the plan of a look with a guard.
    fn look(bench: &Bench, resources: &[Resource]) -> HostPlan {
        let mut order = order(resources);
        order.guard = Some(Guard::default());
        look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap()
    }

    /// A host with systemd, and the login `ada` in use.
    fn bench() -> Bench {
        let bench = Bench::new();
        std::fs::create_dir_all(bench.root().join("run/systemd/system")).unwrap();
        std::fs::create_dir_all(bench.root().join("etc/ssh")).unwrap();
        bench.world.write(
            "/etc/passwd".as_ref(),
            "root:x:0:0:root:/root:/bin/sh\nada:x:1000:1000::/home/ada:/bin/sh\n",
        );
        bench.world.write("/etc/group".as_ref(), "root:x:0:\nada:x:1000:\nops:x:1001:ada\n");
        bench.world.log_in("ada");
        bench
    }

    #[test]
    fn an_action_is_guarded_if_something_critical_changes_and_causes_it() {
        for changes in [false, true] {
            let bench = bench();
            bench.world.unit("web.service");
            bench.world.units().act(Verb::Start, "web.service").unwrap();
            bench.world.write("/etc/ssh/one".as_ref(), if changes { "old\n" } else { "new\n" });
            let notifies = |path: &str| {
                let mut file = bench.file(path, "new\n");
                file.notify = vec![Notify { target: 2, how: NotifyHow::AsTargetSays }];
                file
            };
            let catalog = [notifies("/etc/ssh/one"), notifies("/etc/motd"), resource("service", "web")];
            let guarded = look(&bench, &catalog).steps.into_iter().map(|step| (step.resource, step.guarded));
            let expected: &[_] =
                if changes { &[(0, true), (1, false), (2, true)] } else { &[(1, false), (2, false)] };
            assert_eq!(guarded.collect::<Vec<_>>(), expected);
        }
    }

    #[test]
    fn a_step_that_shuts_the_login_out_is_warned_of_and_no_other() {
        let bench = bench();
        let texts = [
            ("/etc/ssh/users.conf", "AllowUsers bob\n"),
            ("/etc/ssh/groups.conf", "AllowGroups ops\n"),
            ("/etc/ssh/banner", "AllowUsers are welcome\n"),
            ("/etc/motd", "AllowUsers bob\n"),
        ];
        let plan = look(&bench, &texts.map(|(path, text)| bench.file(path, text)));
        let warnings: Vec<_> = plan.steps.iter().map(|step| step.warning.as_deref()).collect();
        let users = "`AllowUsers bob` locks out ada, whose login this run uses";
        let banner = "`AllowUsers are welcome` locks out ada, whose login this run uses";
        assert_eq!(warnings, [Some(users), None, Some(banner), None]);
    }

    #[test]
    fn a_host_in_between_is_left_alone_unless_the_run_that_armed_it_is_at_work() {
        let bench = bench();
        bench.state.make().unwrap();
        prepare(&bench.state, &Owner { run: "dead".to_owned(), timer: "t".to_owned() }).unwrap();
        arm(&bench.state).unwrap();
        let told = |bench: &Bench| unsettled(&bench.state).unwrap().map(|problem| problem.message);
        let why = "the changes of run dead are not confirmed, and the host is about to revert them";
        assert_eq!(told(&bench).as_deref(), Some(why));
        let lock = Lock::take(&bench.state, &RunId::new("dead").unwrap(), "ada@laptop", 1).unwrap().ok();
        assert_eq!(told(&bench), None, "it is at work, and settles it");
        drop(lock);
        std::fs::rename(bench.state.path("armed"), bench.state.path("reverting")).unwrap();
        assert_eq!(told(&bench).as_deref(), Some(why));
        std::fs::rename(bench.state.path("reverting"), bench.state.path("reverted")).unwrap();
        assert_eq!(told(&bench), None);
    }
}
