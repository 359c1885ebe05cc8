//! `service`: a unit that runs, and starts at boot.

mod apply;
mod plan;
mod probe;

use std::time::Duration;

use converge_model::{Change, Claim, KindSchema, NotifyHow, Param, ParamProblem, Type};

use crate::access::{Login, Visit, is_critical_unit, switched_off};
use crate::actor::{Actor, ApplyError};
use crate::kind::{Action, Kind, Planned};
use crate::overlay::Effect;
use crate::system::System;
use crate::system::services::{full_name, is_unit_name};
use crate::view::{LookError, View};
use crate::wish::Reader;
use probe::Probe;

/// The kind.
pub struct Service;

/// The desired unit. A property that is None stays as it is.
pub struct Wish {
    unit: String,
    running: Option<bool>,
    enabled: Option<bool>,
    masked: Option<bool>,
    on_notify: OnNotify,
    settle: Duration,
    probe: Option<Probe>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum OnNotify {
    Restart,
    Reload,
}

impl Kind for Service {
    type Wish = Wish;
    type Found = plan::Found;

    fn schema() -> KindSchema {
        KindSchema::new("service", "A service: its state now and at boot")
            .details(
                "A name without a type is a service: `nginx` is `nginx.service`. The kind also manages \
                 `backup.timer`, `docker.socket` and instances such as `postgresql@15-main`. Properties that \
                 you do not set stay unchanged.\n\n\
                 A service counts as running only after it has run for the time in `settle`. The units that \
                 are part of it and start with it must run too: `postgresql.service` is active even if its \
                 cluster is dead. If it fails, the error shows the last lines of its journal. Converge starts \
                 a failed service again. It restarts a service that systemd restarts over and over; such a \
                 service does not count as running.\n\n\
                 systemd reads changed unit files before Converge touches the service.\n\n\
                 Each service is a handler. If a resource notifies it, it restarts, or reloads if `on-notify` \
                 or the notifier asks for that. A service that does not run, and need not run, ignores the \
                 notification.\n\n\
                 With a `probe` the service must also answer. Converge probes it after each start, restart and \
                 reload, and once more at the end of a run that changed something. If the service does not \
                 answer, the step fails. Converge then restores the resource that notified the service, and \
                 restarts it. So the release before replaces a release that does not answer. The error shows \
                 the last answer and the journal. A plan, and a run without changes, do not probe: they do not \
                 notice a running service that does not answer.",
            )
            .param(Param::new("name", Type::Name, "Unit, with or without its type").argument(0).required())
            .param(Param::new("running", Type::Bool, "Run the service"))
            .param(Param::new("enabled", Type::Bool, "Start the service at boot"))
            .param(Param::new("masked", Type::Bool, "Prevent every start, even by hand; a unit file in /etc/systemd/system is an error of the plan"))
            .param(
                Param::new("on-notify", Type::Text, "Action if a resource notifies it")
                    .one_of(&["restart", "reload"])
                    .default("restart"),
            )
            .param(
                Param::new("settle", Type::Duration, "Time that the service must stay up after a start or notification")
                    .range(0, 600_000)
                    .default(2000),
            )
            .params(probe::params())
            .example("A service that runs now and after each boot", "package \"cron\"\nservice \"cron\" running=#true enabled=#true")
            .example(
                "A service that reloads when its configuration changes",
                "package \"rsyslog\"\nfile \"/etc/rsyslog.d/10-quiet.conf\" notify=\"service[rsyslog]\" {\n    content \"mail.* stop\"\n}\nservice \"rsyslog\" running=#true on-notify=\"restart\"",
            )
            .example(
                "A service that must answer; if it does not, Converge restores the previous state",
                "package \"nginx-light\"\nfile \"/var/www/html/health\" notify=\"service[nginx]:reload\" {\n    content \"well\"\n}\nservice \"nginx\" running=#true {\n    probe \"127.0.0.1:80\"\n    probe-path \"/health\"\n    probe-timeout \"10s\"\n}",
            )
            .example("A unit that cannot start", "service \"systemd-timesyncd\" masked=#true running=#false")
            .whole_system()
            .notifiable()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            unit: full_name(&params.required_text("name")),
            running: params.flag("running"),
            enabled: params.flag("enabled"),
            masked: params.flag("masked"),
            on_notify: params
                .choice("on-notify", &[("restart", OnNotify::Restart), ("reload", OnNotify::Reload)]),
            settle: params.duration("settle").unwrap_or(Duration::from_secs(2)),
            probe: probe::decode(params),
        };
        if !is_unit_name(&wish.unit) {
            params
                .problem(ParamProblem::new("name", format!("{:?} cannot be the name of a unit", wish.unit)));
        } else if wish.unit.contains("@.") && wish.running.is_some() {
            let help = "write the name of an instance: `app@one`";
            params.problem(ParamProblem::new("running", "must not be set for a template").help(help));
        }
        if wish.probe.is_some() && wish.running == Some(false) {
            params.problem(ParamProblem::new("probe", "must not be set with `running=#false`"));
        }
        if wish.masked == Some(true) {
            for (name, wanted) in [("running", wish.running), ("enabled", wish.enabled)] {
                if wanted == Some(true) {
                    params.problem(ParamProblem::new(name, "must not be true for a masked unit"));
                }
            }
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::named("unit", wish.unit.clone())]
    }

    fn access(wish: &Wish, _: &Login) -> bool {
        is_critical_unit(&wish.unit)
    }

    fn warns(wish: &Wish, change: &Change, _: Visit<'_>) -> Option<String> {
        switched_off(&wish.unit, change)
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<plan::Found, LookError> {
        plan::observe(view, wish)
    }

    fn plan(wish: &Wish, found: &plan::Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &plan::Found) -> Vec<Effect> {
        plan::effects(wish, found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &plan::Found) -> Result<(), ApplyError> {
        apply::apply(actor, wish, found)
    }

    fn units(wish: &Wish) -> Vec<String> {
        vec![wish.unit.clone()]
    }

    fn action(wish: &Wish, how: NotifyHow) -> Option<Action> {
        let verb = match (how, wish.on_notify) {
            (NotifyHow::Reload, _) | (NotifyHow::AsTargetSays, OnNotify::Reload) => "reload",
            (NotifyHow::AsTargetSays, OnNotify::Restart) => "restart",
        };
        let can_run = wish.running != Some(false) && wish.masked != Some(true);
        can_run.then(|| Action { verb, unit: Some(wish.unit.clone()), ran: false })
    }

    fn settle(wish: &Wish) -> Option<Duration> {
        (wish.running != Some(false)).then_some(wish.settle)
    }

    fn act(actor: &mut Actor<'_>, wish: &Wish, action: &Action) -> Result<(), ApplyError> {
        apply::act(actor, wish, action)
    }

    fn prove(system: &dyn System, wish: &Wish) -> Result<(), ApplyError> {
        apply::prove(system, wish)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kinds::testing::{Trial, params};

    #[test]
    fn a_unit_has_one_claim_however_it_is_written() {
        let trial = Trial::new();
        let claim = |name: &str| trial.claims("service", &params([("name", name.into())]));
        assert_eq!(claim("nginx"), claim("nginx.service"));
        assert_ne!(claim("nginx"), claim("nginx.socket"));
    }

    #[test]
    fn what_cannot_be_is_said_at_once() {
        let trial = Trial::new();
        let check = |name: &str, more: (&str, converge_model::Value), problems: usize| {
            let params = params([("name", name.into()), more, ("masked", true.into())]);
            assert_eq!(trial.problems("service", &params).len(), problems, "{name}");
        };
        check("nginx", ("running", true.into()), 1);
        check("nginx", ("running", false.into()), 0);
        check("ng inx", ("enabled", false.into()), 1);
        check("app@", ("enabled", true.into()), 1);
        check("app@", ("running", false.into()), 1);
    }

    #[test]
    fn what_a_notification_does_is_the_notifiers_or_the_targets_to_say() {
        let wish = |running: Option<bool>, on_notify| Wish {
            unit: "a.service".into(),
            running,
            enabled: None,
            masked: None,
            on_notify,
            settle: Duration::ZERO,
            probe: None,
        };
        let check = |running, on_notify, how, verb: Option<&str>| {
            let action = Service::action(&wish(running, on_notify), how);
            assert_eq!(action.map(|action| action.verb), verb);
        };
        check(Some(true), OnNotify::Restart, NotifyHow::AsTargetSays, Some("restart"));
        check(None, OnNotify::Reload, NotifyHow::AsTargetSays, Some("reload"));
        check(None, OnNotify::Restart, NotifyHow::Reload, Some("reload"));
        check(Some(false), OnNotify::Restart, NotifyHow::AsTargetSays, None);
    }
}
