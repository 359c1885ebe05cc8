//! The apply of a `service`, and its notifications.

use super::Wish;
use super::plan::{Found, Running, runs_at_all};
use crate::actor::{Actor, ApplyError};
use crate::kind::Action;
use crate::system::System;
use crate::system::services::{Active, Enabled, Load, UnitState, Verb};

/// The number of journal lines that a failure shows.
const JOURNAL: u32 = 20;

/// Applies the wish to the unit. Changes that allow a start come first. Masking prevents a start, so it comes last.
pub(super) fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
    let absent = UnitState::default();
    let state = match &found.unit {
        crate::view::Seen::Known(state) => state,
        _ => &absent,
    };
    if wish.masked == Some(false) && state.load == Load::Masked {
        actor.unit(Verb::Unmask, &wish.unit, Some(Verb::Mask))?;
    }
    let enabled = matches!(state.enabled, Enabled::Yes | Enabled::Always);
    match wish.enabled {
        Some(true) if !enabled => actor.unit(Verb::Enable, &wish.unit, Some(Verb::Disable))?,
        Some(false) if enabled => actor.unit(Verb::Disable, &wish.unit, Some(Verb::Enable))?,
        _ => {}
    }
    match wish.running {
        Some(true) => start(actor, wish, found, state)?,
        Some(false) if runs_at_all(state) => actor.unit(Verb::Stop, &wish.unit, Some(Verb::Start))?,
        _ => {}
    }
    if wish.masked == Some(true) && state.load != Load::Masked {
        actor.unit(Verb::Mask, &wish.unit, Some(Verb::Unmask))?;
    }
    Ok(())
}

fn start(actor: &mut Actor<'_>, wish: &Wish, found: &Found, state: &UnitState) -> Result<(), ApplyError> {
    match found.running(state, wish.settle) {
        Running::Yes => return Ok(()),
        // A rollback cannot restore a failed state. Stopping the unit ends at least the effect of this start.
        Running::No(_) => actor.unit(Verb::Start, &wish.unit, Some(Verb::Stop))?,
        Running::Badly(_) => actor.unit(Verb::Restart, &wish.unit, None)?,
    }
    must_work(actor.system, wish)
}

/// Restarts or reloads the unit. Leaves a unit alone if it does not run and need not run.
pub(super) fn act(actor: &mut Actor<'_>, wish: &Wish, action: &Action) -> Result<(), ApplyError> {
    let runs = runs_at_all(&state(actor.system, &wish.unit)?);
    if !(runs || action.ran || wish.running.is_some()) {
        return Ok(());
    }
    // If the action stopped the unit, it cannot be reloaded any more.
    let is_down = action.ran && !runs;
    let verb = if action.verb == "reload" && !is_down { Verb::Reload } else { Verb::Restart };
    actor.unit(verb, &wish.unit, None)?;
    must_work(actor.system, wish)
}

/// Whether a service that runs or should run still answers its probe.
pub(super) fn prove(system: &dyn System, wish: &Wish) -> Result<(), ApplyError> {
    if wish.probe.is_none() || !concerns(system, wish)? { Ok(()) } else { must_work(system, wish) }
}

/// Whether the state of the unit matters: the wish sets it, or the unit runs anyway.
fn concerns(system: &dyn System, wish: &Wish) -> Result<bool, ApplyError> {
    Ok(wish.running.is_some() || runs_at_all(&state(system, &wish.unit)?))
}

/// Checks that the service runs and, if it has a probe, answers it.
fn must_work(system: &dyn System, wish: &Wish) -> Result<(), ApplyError> {
    let alive = || must_run(system, &wish.unit);
    alive()?;
    let Some(probe) = &wish.probe else { return Ok(()) };
    probe.until_answered(system.files(), alive).map_err(|error| {
        let journal = system.units().journal(&wish.unit, JOURNAL);
        if error.output.is_empty() { error.output(journal.as_bytes()) } else { error }
    })
}

/// Checks the unit itself: a successful start job says little about a service without a readiness notification.
fn must_run(system: &dyn System, unit: &str) -> Result<(), ApplyError> {
    let why = match state(system, unit)?.active {
        Active::Active => return Ok(()),
        Active::Failed => "it was started and failed",
        Active::Activating => "it was started, ended, and is being started again",
        Active::Inactive | Active::Deactivating => "it was started and has ended",
    };
    let journal = system.units().journal(unit, JOURNAL);
    Err(ApplyError::new(format!("{unit} does not run: {why}")).output(journal.as_bytes()))
}

fn state(system: &dyn System, unit: &str) -> Result<UnitState, ApplyError> {
    let states = system.units().states(&[unit.to_owned()]);
    let states = states.map_err(|error| ApplyError::new(error.to_string()))?;
    Ok(states.into_iter().next().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::super::OnNotify;
    use super::*;
    use crate::kind::Planned;
    use crate::kinds::testing::{Trial, impossible, params};
    use crate::overlay::Effect;
    use converge_model::{NotifyHow, Value};
    use std::time::Duration;

    fn service(more: &[(&str, Value)]) -> converge_model::Params {
        let mut params = params([("name", "app".into())]);
        more.iter().for_each(|(name, value)| params.set(name, value.clone()));
        params
    }

    #[test]
    fn a_unit_is_enabled_and_started_and_restored_in_reverse() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        let wish = service(&[("running", true.into()), ("enabled", true.into())]);
        let undo = trial.apply("service", &wish).unwrap();
        trial.assert_in_sync("service", &wish);
        trial.restore(undo);
        let log = trial.world().log();
        assert_eq!(
            log,
            ["enable app.service", "start app.service", "stop app.service", "disable app.service"]
        );
    }

    #[test]
    fn a_unit_is_stopped_before_it_is_masked_and_unmasked_before_it_is_started() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        let off = service(&[("running", false.into()), ("masked", true.into())]);
        let on = service(&[("running", true.into()), ("masked", false.into())]);
        trial.laws("service", &service(&[("running", true.into())]));
        let before = trial.world().log().len();
        trial.apply("service", &off).unwrap();
        trial.assert_in_sync("service", &off);
        trial.apply("service", &on).unwrap();
        trial.assert_in_sync("service", &on);
        let log = trial.world().log().split_off(before);
        assert_eq!(log, ["stop app.service", "mask app.service", "unmask app.service", "start app.service"]);
    }

    #[test]
    fn a_service_that_fails_shows_its_journal() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        trial.world().break_unit("app.service");
        let error = trial.apply("service", &service(&[("running", true.into())])).err().unwrap();
        assert!(error.output.contains("a line of its journal"), "{error:?}");
    }

    #[test]
    fn a_unit_file_in_the_way_of_a_mask_is_a_plan_error_unless_it_goes() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        let wish = service(&[("masked", true.into()), ("running", false.into())]);
        let mask = |trial: &Trial| trial.plan("service", &wish);
        assert!(matches!(mask(&trial), Planned::Change(_)));
        let file = "/etc/systemd/system/app.service";
        trial.write(file, "[Service]\nExecStart=/bin/true\n");
        let why = impossible(mask(&trial));
        assert_eq!(why, format!("app.service cannot be masked: {file} is in place of the link"));
        let gone = vec![Effect::Path(file.into(), None)];
        assert!(matches!(trial.plan_after(gone, "service", &wish), Planned::Change(_)));
        std::fs::remove_file(trial.at(file)).unwrap();
        std::os::unix::fs::symlink("/dev/null", trial.at(file)).unwrap();
        assert!(matches!(mask(&trial), Planned::Change(_)), "it is masked by that link");
    }

    #[test]
    fn only_what_differs_is_done_to_a_unit() {
        let check = |before: &[&[(&str, Value)]], wish: &[(&str, Value)], deeds: &[&str]| {
            let trial = Trial::new();
            trial.world().unit("app.service");
            for step in before {
                trial.apply("service", &service(step)).unwrap();
            }
            let done = trial.world().log().len();
            trial.apply("service", &service(wish)).unwrap();
            assert_eq!(trial.world().log().split_off(done), deeds, "{wish:?}");
        };
        let (yes, no) = (|name| (name, Value::from(true)), |name| (name, Value::from(false)));
        let on = [yes("running"), yes("enabled")];
        check(&[], &[yes("running"), no("enabled"), no("masked")], &["start app.service"]);
        check(&[&on], &[yes("running"), no("enabled")], &["disable app.service"]);
        check(&[&on], &[no("running"), yes("enabled")], &["stop app.service"]);
        check(&[&[yes("running")]], &on, &["enable app.service"]);
        check(&[&[yes("masked")]], &[no("running"), no("masked")], &["unmask app.service"]);
        check(
            &[&[yes("masked")]],
            &[yes("running"), no("masked")],
            &["unmask app.service", "start app.service"],
        );
    }

    #[test]
    fn what_was_done_to_a_unit_is_undone() {
        let check = |before: &[(&str, Value)], wish: &[(&str, Value)], back: &[&str]| {
            let trial = Trial::new();
            trial.world().unit("app.service");
            if !before.is_empty() {
                trial.apply("service", &service(before)).unwrap();
            }
            let undo = trial.apply("service", &service(wish)).unwrap();
            let done = trial.world().log().len();
            trial.restore(undo);
            assert_eq!(trial.world().log().split_off(done), back, "{wish:?}");
        };
        let (yes, no) = (|name| (name, Value::from(true)), |name| (name, Value::from(false)));
        check(&[yes("running")], &[no("running")], &["start app.service"]);
        check(&[yes("enabled")], &[no("enabled")], &["enable app.service"]);
        check(&[yes("masked")], &[no("masked")], &["mask app.service"]);
        check(&[], &[yes("masked")], &["unmask app.service"]);
    }

    /// A host with a unit in this state.
    fn with_unit(active: Active) -> Trial {
        let trial = Trial::new();
        let unit = UnitState { load: Load::Loaded, active, ..UnitState::default() };
        trial.world().unit_as("app.service", unit);
        trial
    }

    #[test]
    fn a_service_that_should_run_is_started_or_restarted_by_what_it_does() {
        let check = |active, is_revived: bool, running: bool, deeds: &[&str]| {
            let trial = with_unit(active);
            if is_revived {
                trial.world().revive_unit("app.service");
            }
            let undo = trial.apply("service", &service(&[("running", running.into())])).unwrap();
            trial.restore(undo);
            assert_eq!(trial.world().log(), deeds, "{active:?}");
        };
        let (started, stopped) =
            (["start app.service", "stop app.service"], ["stop app.service", "start app.service"]);
        check(Active::Inactive, false, true, &started);
        check(Active::Failed, false, true, &started);
        check(Active::Activating, true, true, &started);
        check(Active::Deactivating, false, true, &started);
        check(Active::Active, true, true, &["restart app.service"]);
        check(Active::Active, true, false, &stopped);
        check(Active::Activating, false, false, &stopped);
        check(Active::Deactivating, false, false, &stopped);
    }

    #[test]
    fn a_unit_that_its_package_has_started_at_boot_is_not_enabled_again() {
        let trial = Trial::new();
        let unit = UnitState { load: Load::Loaded, enabled: Enabled::Always, ..UnitState::default() };
        trial.world().unit_as("app.service", unit);
        trial.apply("service", &service(&[("running", true.into()), ("enabled", true.into())])).unwrap();
        assert_eq!(trial.world().log(), ["start app.service"]);
    }

    #[test]
    fn a_service_that_does_not_run_tells_why() {
        let check = |active, why: &str| {
            let error = must_run(with_unit(active).world(), "app.service").unwrap_err();
            assert_eq!(error.message, format!("app.service does not run: {why}"));
            assert!(error.output.contains("a line of its journal"), "{error:?}");
        };
        must_run(with_unit(Active::Active).world(), "app.service").unwrap();
        check(Active::Failed, "it was started and failed");
        check(Active::Activating, "it was started, ended, and is being started again");
        check(Active::Inactive, "it was started and has ended");
        check(Active::Deactivating, "it was started and has ended");
    }

    #[test]
    fn a_service_that_is_started_or_notified_must_answer_its_probe() {
        let trial = with_unit(Active::Inactive);
        let wish = service(&[
            ("running", true.into()),
            ("probe", "unix:/run/app".into()),
            ("probe-timeout", 100.into()),
        ]);
        let silent =
            |error: ApplyError| assert!(error.message.contains("does not answer its probe"), "{error}");
        silent(trial.apply("service", &wish).err().unwrap());
        silent(trial.notify("service", &wish, NotifyHow::AsTargetSays).unwrap_err());
        assert_eq!(trial.world().log(), ["start app.service", "restart app.service"]);
    }

    #[test]
    fn an_action_brings_back_what_it_found_running() {
        let check = |active, ran: bool, verb: &'static str, deed: Option<&str>| {
            let trial = with_unit(active);
            let wish = Wish {
                unit: "app.service".into(),
                running: None,
                enabled: None,
                masked: None,
                on_notify: OnNotify::Restart,
                settle: Duration::ZERO,
                probe: None,
            };
            let action = Action { verb, unit: Some(wish.unit.clone()), ran };
            trial.act(&mut trial.undo(), |actor| act(actor, &wish, &action)).unwrap();
            let deed = deed.map(|deed| format!("{deed} app.service"));
            assert_eq!(trial.world().log(), Vec::from_iter(deed), "{active:?} {ran} {verb}");
        };
        for verb in ["restart", "reload"] {
            check(Active::Inactive, false, verb, None);
            check(Active::Failed, false, verb, None);
            check(Active::Inactive, true, verb, Some("restart"));
            check(Active::Failed, true, verb, Some("restart"));
            check(Active::Active, true, verb, Some(verb));
            check(Active::Active, false, verb, Some(verb));
        }
        check(Active::Activating, false, "restart", Some("restart"));
        check(Active::Deactivating, true, "restart", Some("restart"));
    }

    #[test]
    fn a_notified_service_acts_where_it_runs_or_should_and_must_work_afterwards() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        let (as_it_says, reload) = (NotifyHow::AsTargetSays, NotifyHow::Reload);
        let free = service(&[]);
        trial.notify("service", &free, as_it_says).unwrap();
        assert!(trial.world().log().is_empty(), "no resource asks it to run");
        trial.notify("service", &service(&[("running", true.into())]), as_it_says).unwrap();
        trial.notify("service", &free, as_it_says).unwrap();
        trial.notify("service", &free, reload).unwrap();
        let log = trial.world().log();
        assert_eq!(log, ["restart app.service", "restart app.service", "reload app.service"]);
        trial.world().break_unit("app.service");
        let error = trial.notify("service", &free, as_it_says).unwrap_err();
        assert!(error.output.contains("a line of its journal"), "{error:?}");
    }

    #[test]
    fn a_service_proves_itself_only_where_it_has_a_probe_and_runs_or_should() {
        let trial = Trial::new();
        trial.world().unit("app.service");
        let probed = |more: &[(&str, Value)]| {
            let mut wish = service(more);
            wish.set("probe", "unix:/run/app".into());
            wish.set("probe-timeout", 300.into());
            trial.prove("service", &wish)
        };
        let running = [("running", true.into())];
        trial.prove("service", &service(&running)).unwrap();
        probed(&[]).unwrap();
        assert!(probed(&running).is_err(), "it should run and does not");
        trial.apply("service", &service(&running)).unwrap();
        for more in [&running[..], &[]] {
            let error = probed(more).unwrap_err();
            assert!(error.message.contains("does not answer its probe"), "{error}");
            assert!(error.output.contains("a line of its journal"), "{error:?}");
        }
        let _listener = std::os::unix::net::UnixListener::bind(trial.at("/run/app")).unwrap();
        probed(&running).unwrap();
        probed(&[]).unwrap();
        trial.world().unit("app.service");
        let error = probed(&running).unwrap_err();
        assert!(error.message.contains("does not run"), "another one answers: {error}");
    }

    #[test]
    fn a_service_that_should_run_stays_up_for_its_settling_time() {
        let trial = Trial::new();
        let settle =
            |more: &[(&str, Value)]| trial.settle("service", &service(more)).map(|time| time.as_millis());
        assert_eq!(settle(&[("running", true.into())]), Some(2000));
        assert_eq!(settle(&[("settle", 500.into())]), Some(500), "it may run");
        assert_eq!(settle(&[("running", false.into()), ("settle", 500.into())]), None);
        assert_eq!(trial.units("service", &service(&[])), ["app.service"]);
    }
}
