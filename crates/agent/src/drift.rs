//! The cause of a difference: the host changed, or the inventory. The plan shows what differs, and the ledger what
//! was last applied. The cause of each property follows from both. If the wish is the same as when it was last
//! applied, the host changed.
//!
//! The controller decides what to do about it.

use std::collections::{BTreeMap, HashMap};

use converge_model::{Catalog, Cause, Claim, Digest, Resource};
use converge_resources::{System, View};

use crate::decoded::Decoded;
use crate::planner::{Draft, DraftStep};
use crate::state::journal::Past;
use crate::state::ledger::{Entry, Ledger, LineKey, applied};
use crate::state::{State, StateError};
use crate::veil::{Names, Veil};

/// The host's memory of earlier runs of a catalog. A host without a key remembers nothing.
pub(crate) struct Memory<'a> {
    catalog: &'a Catalog,
    known: Option<(Ledger, [u8; 32])>,
}

impl<'a> Memory<'a> {
    /// Reads the ledger and the journal.
    ///
    /// If a run died, what it was about to write is only in the journal.
    pub(crate) fn read(catalog: &'a Catalog, state: &State, past: &Past) -> Result<Self, StateError> {
        let known = match state.key()? {
            Some(key) => {
                let mut ledger = Ledger::read(state)?;
                ledger.take_in(&past.writes);
                Some((ledger, key))
            }
            None => None,
        };
        Ok(Self { catalog, known })
    }

    /// Whether the ledger knows everything that is in sync, with the current wish.
    pub(crate) fn is_complete(&self, draft: &Draft) -> bool {
        draft.in_sync.iter().all(|index| self.knows(&self.catalog.resources[*index as usize]))
    }

    /// Returns what of a plan may be shown. `owned`: what the plan's resources own on the host.
    pub(crate) fn veil(
        &self,
        decoded: &Decoded<'_>,
        owned: &BTreeMap<u32, Vec<Claim>>,
        system: &dyn System,
    ) -> Veil {
        let base = decoded.base(system);
        let names = Names::new(decoded, owned, View::bare(&base));
        Veil::over(decoded, &names, self.known.as_ref().map(|(ledger, key)| (ledger, LineKey::of(key))))
    }

    /// Whether `resource` is a once-step that has run.
    pub(crate) fn has_run_once(&self, resource: &Resource) -> bool {
        resource.once().is_some() && self.last_applied(resource).is_some()
    }

    fn knows(&self, resource: &Resource) -> bool {
        let known = |(ledger, key): &(Ledger, [u8; 32])| {
            ledger.knows(resource, &self.catalog.project, &applied(resource, key, &self.catalog.secrets))
        };
        resource.claims.is_empty() || self.known.as_ref().is_some_and(known)
    }

    /// Sets the cause of each step.
    pub(crate) fn explain(&self, draft: &mut Draft, decoded: &Decoded<'_>) {
        let own = draft.steps.iter().enumerate().filter(|(_, step)| step.action.is_none());
        let own: HashMap<u32, usize> = own.map(|(place, step)| (step.step.resource, place)).collect();
        for place in 0..draft.steps.len() {
            let step = &draft.steps[place];
            if step.step.drift.cause == Cause::Always {
                continue;
            }
            draft.steps[place].step.drift.cause = match step.action {
                None => self.cause(step),
                Some(_) => self.cause_of_action(step.step.resource, &own, draft, decoded),
            };
        }
    }

    /// Returns the cause, property by property.
    fn cause(&self, step: &DraftStep) -> Cause {
        let resource = &self.catalog.resources[step.step.resource as usize];
        let Some((entries, now)) = self.last_applied(resource) else { return Cause::Intentional };
        let properties = &step.step.change.properties;
        let drifted = |name: &str| entries.iter().all(|entry| entry.agrees(name, &now));
        let corrective: Vec<u32> =
            (0..).zip(properties).filter(|(_, p)| drifted(&p.property)).map(|(place, _)| place).collect();
        match corrective.len() {
            0 if properties.is_empty() && drifted("") => Cause::Corrective,
            0 => Cause::Intentional,
            all if all == properties.len() => Cause::Corrective,
            _ => Cause::Both { corrective },
        }
    }

    fn last_applied(&self, resource: &Resource) -> Option<(Vec<&Entry>, BTreeMap<String, Digest>)> {
        let (ledger, key) = self.known.as_ref()?;
        let entries =
            ledger.entries(resource, &self.catalog.project).filter(|entries| !entries.is_empty())?;
        Some((entries, applied(resource, key, &self.catalog.secrets)))
    }

    /// Returns the cause of an action, which follows from its notifiers. It is drift if each changing notifier is
    /// drift and the wish of the others was applied. `own`: by resource, the place of its own step.
    fn cause_of_action(
        &self,
        target: u32,
        own: &HashMap<u32, usize>,
        draft: &Draft,
        decoded: &Decoded<'_>,
    ) -> Cause {
        let drifted = |by: u32| match own.get(&by) {
            Some(place) => draft.steps[*place].step.drift.cause == Cause::Corrective,
            None => self.knows(&self.catalog.resources[by as usize]),
        };
        let all = decoded.notifications.notifiers(target).iter().all(|(by, _)| drifted(*by));
        if all { Cause::Corrective } else { Cause::Intentional }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Bench, resource};
    use converge_model::{Notify, NotifyHow, Value};
    use converge_resources::system::packages::{PackageGoal, PackageRequest};

    /// A file with a mode that notifies a service.
    fn catalog(bench: &Bench, text: &str, mode: i64) -> Vec<Resource> {
        let mut file = bench.file("/etc/app", text);
        file.params.set("mode", Value::from(mode));
        file.notify = vec![Notify { target: 1, how: NotifyHow::AsTargetSays }];
        let mut service = resource("service", "app");
        service.params.set("settle", Value::from(0));
        vec![file, service]
    }

    fn causes(bench: &Bench, catalog: &[Resource]) -> Vec<(String, Cause)> {
        let steps = bench.look(catalog).steps;
        steps.into_iter().map(|step| (step.address.to_string(), step.drift.cause)).collect()
    }

    /// Checks the causes that a look reports for the file and for the action that follows from it.
    fn check(bench: &Bench, text: &str, mode: i64, file: Cause, action: Cause) {
        let found = causes(bench, &catalog(bench, text, mode));
        assert_eq!(found, [("file[/etc/app]".to_owned(), file), ("service[app]".to_owned(), action)]);
    }

    #[test]
    fn what_held_a_secret_is_not_shown_when_the_inventory_asks_for_something_else() {
        let bench = Bench::new();
        let mut secret = bench.file("/etc/app", "hunter2\n");
        secret.options.sensitive = true;
        bench.apply(&[secret]);
        let plain = [bench.file("/etc/app", "plain\n")];
        let plan = bench.look(&plain);
        assert_eq!(plan.steps.len(), 1);
        assert!(!format!("{plan:?}").contains("hunter2"), "{plan:?}");
        assert!(!format!("{:?}", bench.apply(&plain)).contains("hunter2"));
        let next = format!("{:?}", bench.look(&[bench.file("/etc/app", "next\n")]));
        assert!(next.contains("-plain"), "what was there last was no secret: {next}");
    }

    #[test]
    fn what_drifted_on_the_host_is_told_from_what_the_inventory_asks_for_anew() {
        let bench = Bench::new();
        bench.world.unit("app.service");
        check(&bench, "old\n", 0o644, Cause::Intentional, Cause::Intentional);
        bench.apply(&catalog(&bench, "old\n", 0o644));
        assert_eq!(causes(&bench, &catalog(&bench, "old\n", 0o644)), []);
        check(&bench, "new\n", 0o644, Cause::Intentional, Cause::Intentional);
        bench.world.write("/etc/app".as_ref(), "by hand\n");
        check(&bench, "old\n", 0o644, Cause::Corrective, Cause::Corrective);
        check(&bench, "old\n", 0o600, Cause::Both { corrective: vec![0] }, Cause::Intentional);
        std::fs::remove_file(bench.root().join("etc/app")).unwrap();
        check(&bench, "old\n", 0o644, Cause::Corrective, Cause::Corrective);
        assert_eq!(bench.look(&catalog(&bench, "old\n", 0o644)[..1]).drifted().count(), 1);
    }

    #[test]
    fn another_project_has_applied_nothing_yet() {
        let bench = Bench::new();
        bench.world.unit("app.service");
        bench.apply(&catalog(&bench, "old\n", 0o644));
        bench.world.write("/etc/app".as_ref(), "by hand\n");
        let mut order = crate::testing::order(&catalog(&bench, "old\n", 0o644));
        order.catalog.project = "other".to_owned();
        let plan = crate::work::look_in(&bench.world, &bench.state, &order, &bench.controller).unwrap();
        assert_eq!(plan.steps[0].drift.cause, Cause::Intentional);
    }

    #[test]
    fn a_property_that_no_parameter_is_called_like_follows_from_all_of_them() {
        let bench = Bench::new();
        bench.world.offer("web", converge_resources::system::fake::Offer::default());
        let web = |state: &str| {
            let mut package = resource("package", "web");
            package.params.set("state", Value::from(state));
            vec![package]
        };
        bench.apply(&web("present"));
        let remove = PackageRequest::new("web", PackageGoal::Absent { purge: true });
        bench.world.by_hand(remove).unwrap();
        let check = |state: &str, expected: &[Cause]| {
            let found: Vec<_> = causes(&bench, &web(state)).into_iter().map(|(_, cause)| cause).collect();
            assert_eq!(found, expected);
        };
        check("present", &[Cause::Corrective]);
        check("absent", &[]);
        bench.apply(&web("present"));
        check("absent", &[Cause::Intentional]);
    }

    #[test]
    fn what_runs_every_time_is_no_drift() {
        let bench = Bench::new();
        bench.world.command("tick", |_| 0);
        let mut command = resource("command", "tick");
        command.params.set("command", Value::List(vec![converge_model::Scalar::from("tick")]));
        command.params.set("always", Value::from(true));
        assert_eq!(causes(&bench, &[command])[0].1, Cause::Always);
    }
}
