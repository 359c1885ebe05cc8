//! The state of a `service`, and its plan.

use std::path::{Path, PathBuf};
use std::time::Duration;

use converge_model::{Change, PropertyChange, Shown, Verb};

use super::Wish;
use crate::kind::{Depend, Planned};
use crate::overlay::{Effect, PlannedUnit};
use crate::system::services::{Active, Enabled, Load, UnitState};
use crate::view::{LookError, Need, Seen, UNIT_FOLDERS, View};

/// The state of the host.
pub struct Found {
    /// The unit.
    pub(super) unit: Seen<UnitState>,
    /// The units that must run together with it, each with its state.
    parts: Vec<(String, Active)>,
    need: Need,
    /// A unit file at the path of the mask's link.
    in_the_way: Option<PathBuf>,
}

/// Whether a unit runs as it should.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Running {
    /// It runs, and so do its parts.
    Yes,
    /// It does not run. The text says why, if that is useful.
    No(Option<&'static str>),
    /// It runs, but not as it should. A start would have no effect.
    Badly(String),
}

/// Reads the unit, and its parts if it runs.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let unit = view.unit(&wish.unit)?;
    let mut parts = Vec::new();
    if let Seen::Known(state) = &unit {
        for part in &state.parts {
            let active = view.unit(part)?.known().map_or(Active::Inactive, |state| state.active);
            parts.push((part.clone(), active));
        }
    }
    let in_the_way = if wish.masked == Some(true) { unit_file(view, &wish.unit)? } else { None };
    Ok(Found { unit, parts, need: view.need_unit(&wish.unit)?, in_the_way })
}

/// The unit file or link of an administrator at the path where systemctl(1) mask puts its link.
fn unit_file(view: &View<'_>, unit: &str) -> Result<Option<PathBuf>, LookError> {
    let path = Path::new(UNIT_FOLDERS[0]).join(unit);
    Ok(match view.place(&path)? {
        Seen::Known(place) if place.target.as_deref() != Some(Path::new("/dev/null")) => Some(path),
        _ => None,
    })
}

impl Found {
    /// Whether the unit, in this state, runs as it should.
    pub(super) fn running(&self, state: &UnitState, settle: Duration) -> Running {
        match state.active {
            Active::Inactive => Running::No(None),
            Active::Failed => Running::No(Some("failed")),
            Active::Activating => Running::No(Some("starting")),
            Active::Deactivating => Running::No(Some("stopping")),
            Active::Active => self.flaw(state, settle).map_or(Running::Yes, Running::Badly),
        }
    }

    fn flaw(&self, state: &UnitState, settle: Duration) -> Option<String> {
        if state.revived.is_some_and(|since| since < settle) {
            return Some("it ends and systemd starts it again".to_owned());
        }
        let (part, active) = self.parts.iter().find(|(_, active)| *active != Active::Active)?;
        let how = if *active == Active::Failed { "failed" } else { "does not run" };
        Some(format!("{part} {how}"))
    }
}

impl Running {
    fn shown(&self) -> String {
        match self {
            Self::Yes => "yes".to_owned(),
            Self::No(None) => "no".to_owned(),
            Self::No(Some(why)) => format!("no: {why}"),
            Self::Badly(why) => format!("no: {why}"),
        }
    }
}

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    if let Some(file) = &found.in_the_way {
        return Planned::Impossible {
            message: format!("{} cannot be masked: {} is in place of the link", wish.unit, file.display()),
            help: Some(format!(
                "first remove the file (`systemd-unit \"{}\" state=\"absent\"`); or leave `masked` out: `running=#false enabled=#false` is enough for your own unit",
                wish.unit
            )),
        };
    }
    match &found.unit {
        Seen::Known(state) => match obstacle(wish, state) {
            Some((message, help)) => Planned::Impossible { message, help: Some(help.to_owned()) },
            None => known(wish, found, state),
        },
        Seen::Absent | Seen::MayCome(_) if wants_nothing(wish) => {
            Planned::InSync("there is no such unit".to_owned())
        }
        // A missing unit can be masked before it is installed.
        Seen::Absent if wish.masked == Some(true) => Planned::change(
            Change::new(Verb::Create).property(PropertyChange::new("masked", Shown::Absent, word(true))),
        ),
        Seen::Absent => Planned::change(Change::new(Verb::Update)).given([found.need.clone()]),
        coming @ (Seen::MayCome(_) | Seen::Unknown(_)) => {
            let before = Shown::Unknown("an earlier step brings it".to_owned());
            let mut change = Change { properties: asked(wish, &before), ..Change::new(Verb::Update) };
            if let Seen::MayCome(steps) = coming {
                change.depend(&format!("the unit {}", wish.unit), steps);
            }
            Planned::change(change)
        }
    }
}

/// Whether a missing unit is in sync.
fn wants_nothing(wish: &Wish) -> bool {
    wish.running != Some(true) && wish.enabled != Some(true) && wish.masked != Some(true)
}

/// The reason why this unit cannot satisfy the wish, and a help text.
fn obstacle(wish: &Wish, state: &UnitState) -> Option<(String, &'static str)> {
    let unit = &wish.unit;
    if state.load == Load::Masked
        && wish.masked.is_none()
        && (wish.running == Some(true) || wish.enabled == Some(true))
    {
        return Some((format!("{unit} is masked"), "write `masked=#false` to unmask it"));
    }
    match (wish.enabled, state.enabled) {
        (Some(true), Enabled::Static) if state.load != Load::Masked => Some((
            format!("{unit} cannot be enabled: it has no [Install] section"),
            "leave `enabled` out, or enable the timer or socket that starts the service",
        )),
        (Some(false), Enabled::Always) => Some((
            format!("{unit} cannot be disabled: its package always starts it"),
            "write `masked=#true` if it must never run",
        )),
        _ => None,
    }
}

fn known(wish: &Wish, found: &Found, state: &UnitState) -> Planned {
    let mut change = Change::new(Verb::Update);
    let mut note = |name: &str, before: String, after: bool| {
        change.properties.push(PropertyChange::new(name, before, word(after)));
    };
    let masked = state.load == Load::Masked;
    if let Some(wanted) = wish.masked.filter(|wanted| *wanted != masked) {
        note("masked", word(masked).to_owned(), wanted);
    }
    let enabled = matches!(state.enabled, Enabled::Yes | Enabled::Always);
    if let Some(wanted) = wish.enabled.filter(|wanted| *wanted != enabled) {
        note("enabled", word(enabled).to_owned(), wanted);
    }
    let running = found.running(state, wish.settle);
    match wish.running {
        Some(true) if running != Running::Yes => note("running", running.shown(), true),
        Some(false) if runs_at_all(state) => note("running", "yes".to_owned(), false),
        _ => {}
    }
    if change.properties.is_empty() {
        let unread = if state.stale { "; systemd has not read the changed unit files yet" } else { "" };
        return Planned::InSync(in_sync(wish) + unread);
    }
    Planned::change(change)
}

/// Whether the unit can be stopped.
pub(super) fn runs_at_all(state: &UnitState) -> bool {
    matches!(state.active, Active::Active | Active::Activating | Active::Deactivating)
}

/// All properties of the wish, for a unit with an unknown state.
fn asked(wish: &Wish, before: &Shown) -> Vec<PropertyChange> {
    [("masked", wish.masked), ("enabled", wish.enabled), ("running", wish.running)]
        .into_iter()
        .filter_map(|(name, wanted)| Some(PropertyChange::new(name, before.clone(), word(wanted?))))
        .collect()
}

fn in_sync(wish: &Wish) -> String {
    let said = [
        (wish.running, "it runs", "it does not run"),
        (wish.enabled, "it is enabled", "it is not enabled"),
        (wish.masked, "it is masked", "it is not masked"),
    ];
    let said: Vec<_> =
        said.into_iter().filter_map(|(wanted, yes, no)| Some(if wanted? { yes } else { no })).collect();
    if said.is_empty() { "it only acts on notifications".to_owned() } else { said.join(", ") }
}

const fn word(yes: bool) -> &'static str {
    if yes { "yes" } else { "no" }
}

/// The effects for later steps.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    let runs = matches!(&found.unit, Seen::Known(state) if found.running(state, wish.settle) == Running::Yes);
    let starts = wish.running == Some(true) && !runs;
    let planned = PlannedUnit { active: wish.running, starts, enabled: wish.enabled, masked: wish.masked };
    vec![Effect::Unit(wish.unit.clone(), planned)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kind::PlannedChange;
    use crate::kinds::testing::impossible;
    use converge_model::Certainty;

    fn wish(running: Option<bool>, enabled: Option<bool>, masked: Option<bool>) -> Wish {
        Wish {
            unit: "app.service".into(),
            running,
            enabled,
            masked,
            on_notify: super::super::OnNotify::Restart,
            settle: Duration::from_secs(2),
            probe: None,
        }
    }

    fn found(state: UnitState) -> Found {
        Found { unit: Seen::Known(state), parts: Vec::new(), need: Need::Met, in_the_way: None }
    }

    fn state(active: Active, enabled: Enabled) -> UnitState {
        UnitState { load: Load::Loaded, active, enabled, ..UnitState::default() }
    }

    fn listed(planned: Planned) -> String {
        let Planned::Change(planned) = planned else { return format!("{planned:?}") };
        let PlannedChange { change, .. } = *planned;
        let text = |shown: &Shown| match shown {
            Shown::Text(text) => text.clone(),
            other => format!("{other:?}"),
        };
        let one = |p: &PropertyChange| format!("{} {} -> {}", p.property, text(&p.before), text(&p.after));
        change.properties.iter().map(one).collect::<Vec<_>>().join("; ")
    }

    #[test]
    fn only_what_is_asked_and_differs_is_listed() {
        let check = |wish: Wish, state: UnitState, expected: &str| {
            let planned = plan(&wish, &found(state));
            let said = match planned {
                Planned::InSync(why) => why,
                other => listed(other),
            };
            assert_eq!(said, expected);
        };
        use Active::{Activating, Active as Up, Failed, Inactive};
        use Enabled::{Always, No, Yes};
        check(wish(Some(true), Some(true), None), state(Up, Yes), "it runs, it is enabled");
        let stale = UnitState { stale: true, ..state(Up, Yes) };
        let unread = "it runs; systemd has not read the changed unit files yet";
        check(wish(Some(true), None, None), stale, unread);
        check(wish(Some(true), Some(true), None), state(Inactive, Yes), "running no -> yes");
        check(wish(Some(true), None, None), state(Failed, No), "running no: failed -> yes");
        check(wish(Some(true), None, None), state(Activating, No), "running no: starting -> yes");
        check(wish(Some(false), Some(false), None), state(Failed, No), "it does not run, it is not enabled");
        check(wish(Some(false), Some(false), None), state(Up, Yes), "enabled yes -> no; running yes -> no");
        check(wish(None, Some(true), None), state(Inactive, Always), "it is enabled");
        check(wish(None, None, Some(true)), state(Up, Yes), "masked no -> yes");
        check(wish(None, None, None), state(Failed, No), "it only acts on notifications");
        let masked = || UnitState { load: Load::Masked, ..state(Inactive, No) };
        check(wish(None, None, None), masked(), "it only acts on notifications");
        check(wish(Some(false), Some(false), None), masked(), "it does not run, it is not enabled");
        check(wish(Some(true), None, Some(false)), masked(), "masked yes -> no; running no -> yes");
    }

    #[test]
    fn a_service_whose_part_is_dead_or_that_is_revived_again_and_again_does_not_run() {
        let mut postgres = found(state(Active::Active, Enabled::Yes));
        postgres.parts = vec![("postgresql@15-main.service".into(), Active::Failed)];
        let wish = wish(Some(true), None, None);
        assert_eq!(listed(plan(&wish, &postgres)), "running no: postgresql@15-main.service failed -> yes");
        let revived = |ms| UnitState {
            revived: Some(Duration::from_millis(ms)),
            ..state(Active::Active, Enabled::Yes)
        };
        assert!(listed(plan(&wish, &found(revived(300)))).contains("systemd starts it again"));
        assert!(plan(&wish, &found(revived(2000))).is_in_sync(), "it has settled since");
    }

    #[test]
    fn what_cannot_be_done_is_a_plan_error_with_help() {
        let check = |wish: Wish, state: UnitState, expected: &str| {
            let message = impossible(plan(&wish, &found(state)));
            assert!(message.contains(expected), "{message}");
        };
        let masked = UnitState { load: Load::Masked, ..UnitState::default() };
        check(wish(Some(true), None, None), masked, "is masked");
        check(wish(None, Some(true), None), state(Active::Active, Enabled::Static), "no [Install]");
        check(wish(None, Some(false), None), state(Active::Active, Enabled::Always), "cannot be disabled");
    }

    #[test]
    fn a_unit_that_is_not_there_may_come_or_is_a_need() {
        let help = Some("install it".to_owned());
        let absent = Need::Absent { what: "the unit app.service".into(), help };
        let none = |unit| Found { unit, parts: Vec::new(), need: absent.clone(), in_the_way: None };
        let message = impossible(plan(&wish(Some(true), None, None), &none(Seen::Absent)));
        assert_eq!(message, "the unit app.service does not exist");
        assert!(plan(&wish(Some(false), Some(false), Some(false)), &none(Seen::Absent)).is_in_sync());
        assert_eq!(listed(plan(&wish(None, None, Some(true)), &none(Seen::Absent))), "masked Absent -> yes");
        let Planned::Change(coming) = plan(&wish(Some(true), None, None), &none(Seen::MayCome(vec![4])))
        else {
            panic!("not a change")
        };
        assert!(
            matches!(&coming.change.certainty, Certainty::Conditional { on, .. } if on == &[4]),
            "{:?}",
            coming.change.certainty
        );
        assert!(matches!(coming.change.properties[0].before, Shown::Unknown(_)));
    }
}
