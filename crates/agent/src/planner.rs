//! Planning: one walk over a catalog in its final order. Each resource is looked at under the effects of earlier
//! steps. Notified actions have their places, and neighbouring packages are one transaction. A resource that cannot be
//! planned is blocked, and so are those that wait for it: the plan shows them as skipped. `act::step` has the same rule
//! for the turn of a step.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use converge_model::claim::Extent;
use converge_model::plan::{Cause, Drift};
use converge_model::{
    Address, Blocked, Certainty, Change, Claim, Problem, PropertyChange, Resource, Shown, Step, Verb,
};
use converge_resources::kind::{Action, Depend, DiffRequest, Look, Planned};
use converge_resources::overlay::{Version, removed};
use converge_resources::system::System;
use converge_resources::system::packages::{Allowance, PackageRequest, Simulation};
use converge_resources::view::{Base, INODE};
use converge_resources::{Effect, Overlay, View};
use rayon::prelude::*;

use crate::act::fates::{Fate, Fates};
use crate::decoded::Decoded;
use crate::owners::{Clash, Owners};
use crate::state::journal::Debt;
use crate::veil::Veil;

/// A plan with everything that is needed to finish it and to apply it.
#[derive(Default)]
pub(crate) struct Draft {
    pub(crate) steps: Vec<DraftStep>,
    /// The resources that are in sync.
    pub(crate) in_sync: BTreeSet<u32>,
    pub(crate) problems: Vec<Problem>,
    /// The effects that the plan allows transactions of packages.
    pub(crate) allowance: Allowance,
    /// The resources that are left alone, by place, with the reason.
    pub(crate) blocked: BTreeMap<u32, Blocked>,
    /// The notified actions that wait for such a resource.
    pub(crate) waiting: Vec<Blocked>,
    /// The resources that the whole plan must not contain, although each of them alone is possible.
    refused: Refused,
    /// The claims of the resources that were looked at, under the names on the host.
    pub(crate) owned: BTreeMap<u32, Vec<Claim>>,
    /// The rules for what may be shown.
    pub(crate) veil: Veil,
}

/// A step of a draft.
pub(crate) struct DraftStep {
    pub(crate) step: Step,
    /// Diffs whose texts are still missing.
    pub(crate) diffs: Vec<DiffRequest>,
    /// The action. None if the resource itself is applied.
    pub(crate) action: Option<Action>,
    /// The packages that it removes.
    pub(crate) removes: Vec<String>,
}

/// Why a resource cannot be planned, and what the user can do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Reason {
    pub(crate) why: String,
    pub(crate) help: Option<String>,
}

/// Resources that cannot be planned, by place.
pub(crate) type Refused = BTreeMap<u32, Reason>;

/// Plans the whole catalog over the host's current state. `debts`: the actions owed from earlier runs, by the
/// target's address. `known`: the once-steps that have run. `refuse` returns the steps that a whole plan must not
/// contain. The plan is made again without them, until there are none.
pub(crate) fn plan(
    decoded: &Decoded<'_>,
    system: &dyn System,
    (debts, known): (&BTreeMap<String, Vec<Debt>>, &BTreeSet<u32>),
    refuse: impl Fn(&mut Draft) -> Refused,
) -> Draft {
    let base = decoded.base(system);
    warm(decoded, &base);
    let mut refused = Refused::new();
    loop {
        let mut draft = pass(decoded, system, &base, (debts, known), &refused);
        let mut more = std::mem::take(&mut draft.refused);
        more.append(&mut refuse(&mut draft));
        more.retain(|index, _| !refused.contains_key(index));
        if more.is_empty() {
            return draft;
        }
        refused.append(&mut more);
    }
}

/// Walks over the catalog once, in order. Resources in `refused` cannot be planned.
fn pass(
    decoded: &Decoded<'_>,
    system: &dyn System,
    base: &Base<'_>,
    (debts, known): (&BTreeMap<String, Vec<Debt>>, &BTreeSet<u32>),
    refused: &Refused,
) -> Draft {
    let mut walk = Walk {
        decoded,
        system,
        base,
        debts,
        known,
        refused,
        fates: Fates::new(decoded.catalog.resources.len()),
        overlay: Overlay::default(),
        draft: Draft { allowance: allowance(decoded, system), ..Draft::default() },
        owners: Owners::default(),
        step_of: BTreeMap::new(),
        started: BTreeSet::new(),
        transaction: Vec::new(),
    };
    for index in 0..decoded.catalog.resources.len() as u32 {
        walk.visit(index);
        for target in decoded.notifications.due(index) {
            walk.action(*target);
        }
    }
    walk.close_transaction();
    walk.draft
}

/// Returns what transactions of packages may do before the plan finds any. A host without a package manager reports
/// that when a package is looked at.
fn allowance(decoded: &Decoded<'_>, system: &dyn System) -> Allowance {
    let has_packages = decoded.wanted.iter().any(|wanted| wanted.is_batched());
    let architecture = has_packages.then(|| system.packages().architecture().unwrap_or_default());
    architecture.map(Allowance::on).unwrap_or_default()
}

/// Reads in parallel what the ordered walk will need. Errors are ignored here: the walk reports them.
pub(crate) fn warm(decoded: &Decoded<'_>, base: &Base<'_>) {
    let selected =
        || decoded.wanted.iter().zip(&decoded.catalog.resources).filter(|(_, r)| r.options.selected);
    let units: BTreeSet<_> = selected().flat_map(|(wanted, _)| wanted.units()).collect();
    if !units.is_empty() {
        let _ = base.warm_units(&units.into_iter().collect::<Vec<_>>());
    }
    // Guards of commands run in order, and only once.
    let quiet: Vec<_> = selected().filter(|(wanted, _)| !wanted.is_guarded()).collect();
    if quiet.len() >= PARALLEL_FROM {
        quiet.par_iter().for_each(|(wanted, _)| drop(wanted.look(&View::bare(base))));
    }
}

/// With fewer resources, starting threads costs more than it saves.
const PARALLEL_FROM: usize = 64;

struct Walk<'a> {
    decoded: &'a Decoded<'a>,
    system: &'a dyn System,
    base: &'a Base<'a>,
    debts: &'a BTreeMap<String, Vec<Debt>>,
    known: &'a BTreeSet<u32>,
    refused: &'a Refused,
    /// The resources that cannot be planned, and those that wait for them.
    fates: Fates,
    overlay: Overlay,
    draft: Draft,
    owners: Owners,
    /// By resource: the place of its step.
    step_of: BTreeMap<u32, u32>,
    /// The resources whose own step starts their unit.
    started: BTreeSet<u32>,
    /// The package steps of the current transaction.
    transaction: Vec<(u32, PackageRequest)>,
}

impl<'a> Walk<'a> {
    fn resource(&self, index: u32) -> &'a Resource {
        &self.decoded.catalog.resources[index as usize]
    }

    fn visit(&mut self, index: u32) {
        let resource = &self.decoded.catalog.resources[index as usize];
        if !resource.options.selected {
            return;
        }
        if !self.decoded.wanted[index as usize].is_batched() {
            self.close_transaction();
        }
        if self.known.contains(&index) {
            self.draft.in_sync.insert(index);
            return;
        }
        self.own(index);
        if let Some(reason) = self.refused.get(&index) {
            return self.block(index, reason.clone());
        }
        let looked = self.decoded.wanted[index as usize].look(&View::under(self.base, &self.overlay));
        match looked {
            Err(error) => self.block(index, Reason { why: error.to_string(), help: None }),
            Ok(look) => self.take(index, look),
        }
    }

    /// Reports if another resource owns the same thing under any name. The host would then have two plans for it.
    fn own(&mut self, index: u32) {
        let view = View::under(self.base, &self.overlay);
        // An error is ignored: the look that follows reports it.
        let Ok(owned) = self.decoded.wanted[index as usize].owns(&view) else { return };
        // Two names of one file (hard links) share one owner and one mode.
        let twins = owned.iter().filter_map(|claim| match claim {
            Claim::Path { path, extent: Extent::Whole | Extent::Metadata } => {
                view.twin(Path::new(path)).ok()?
            }
            _ => None,
        });
        let clash = self.owners.add(index, twins.chain(owned.iter().cloned()).collect());
        self.draft.owned.insert(index, owned);
        let Some(Clash { with, thing }) = clash else { return };
        let [first, second] = [with, index].map(|index| &self.resource(index).address);
        let message = format!("{first} and {second} both own {thing} on this host");
        let help = if thing.starts_with(INODE) {
            "both are names of one file (hard links) with one owner and one mode: remove one of them, or make it a separate file (`cp NAME NAME.new && mv NAME.new NAME`)"
        } else {
            "one thing has one owner: remove one of them"
        };
        self.draft.problems.push(Problem { address: None, message, help: Some(help.to_owned()) });
    }

    /// Leaves the resource at `index` alone: because of another resource, or for this reason.
    fn block(&mut self, index: u32, reason: Reason) {
        let resource = self.resource(index);
        let missing = || {
            let named = self.decoded.named(&reason.why);
            let cause = named.into_iter().find(|by| self.is_troubled(*by))?;
            let why = format!("{}, and {} {}", reason.why, self.resource(cause).address, self.trouble(cause));
            Some((cause, why))
        };
        let because = self.stopped_by(index).or_else(missing);
        let fate = if because.is_some() { Fate::Skipped } else { Fate::Failed };
        let (because, why, help) = match because {
            Some((cause, why)) => (Some(self.resource(cause).address.clone()), why, None),
            None => (None, reason.why, reason.help),
        };
        let (address, may_fail) = (resource.address.clone(), resource.options.may_fail);
        self.draft.blocked.insert(index, Blocked { resource: index, address, because, why, help, may_fail });
        self.fates.settle(index, self.resource(index), fate);
    }

    /// Returns what stops the resource at `index`, with a sentence: a resource in its `after`, or its own body.
    fn stopped_by(&self, index: u32) -> Option<(u32, String)> {
        let resource = self.resource(index);
        if let Some(cause) = resource.after.iter().copied().find(|other| self.is_troubled(*other)) {
            let why = format!("it waits for {}, which {}", self.resource(cause).address, self.trouble(cause));
            return Some((cause, why));
        }
        let cause = self.fates.stopper(&resource.bodies, index)?;
        Some((cause, format!("{} before it {}", self.resource(cause).address, self.trouble(cause))))
    }

    fn is_troubled(&self, index: u32) -> bool {
        self.fates.of(index).is_trouble() && !self.resource(index).options.may_fail
    }

    fn trouble(&self, index: u32) -> &'static str {
        if self.fates.of(index) == Fate::Failed { "cannot be planned" } else { "is skipped" }
    }

    fn take(&mut self, index: u32, look: Look) {
        match look.planned {
            Planned::InSync(_) => {
                self.draft.in_sync.insert(index);
            }
            Planned::Impossible { message, help } => {
                let help = self.left_out(&message).or(help);
                self.block(index, Reason { why: message, help });
            }
            Planned::Change(_) if self.stopped_by(index).is_some() => {
                self.block(index, Reason { why: String::new(), help: None });
            }
            Planned::Change(planned) => {
                let place = self.draft.steps.len() as u32;
                if starts_unit(&look.effects) {
                    self.started.insert(index);
                }
                let removes = removed(&look.effects);
                self.draft.allowance.allow_removal(&removes);
                self.overlay.add(place, look.effects);
                self.transaction.extend(look.request.map(|request| (place, request)));
                self.step_of.insert(index, place);
                self.push(index, planned.change, planned.diffs, None);
                self.draft.steps[place as usize].removes = removes;
                let warnings = planned.warnings.join("; ");
                self.draft.steps[place as usize].step.warning = Some(warnings).filter(|all| !all.is_empty());
                if planned.always && self.resource(index).once().is_none() {
                    self.draft.steps[place as usize].step.drift.cause = Cause::Always;
                }
            }
        }
    }

    /// Returns a hint if a need is absent because the selection leaves its resource out.
    fn left_out(&self, message: &str) -> Option<String> {
        let named = self.decoded.named(message);
        let mut unselected = named.into_iter().map(|at| self.resource(at)).filter(|r| !r.options.selected);
        unselected.next().map(|resource| format!("the selection excludes {}", resource.address))
    }

    /// Adds the action of `target`, if a notifier changes or the action is owed. It is not added if the target's own
    /// step does the same.
    fn action(&mut self, target: u32) {
        let notifiers = self.decoded.notifications.notifiers(target);
        let changed: Vec<u32> =
            notifiers.iter().map(|(by, _)| *by).filter(|by| self.step_of.contains_key(by)).collect();
        let resource = self.resource(target);
        let owed = self.debts.get(resource.address.as_str());
        if changed.is_empty() && owed.is_none() {
            return;
        }
        if self.fates.of(target).is_trouble() {
            return;
        }
        if let Some(by) = notifiers.iter().map(|(by, _)| *by).find(|by| self.fates.of(*by).is_trouble()) {
            return self.wait(target, by);
        }
        let last = changed.last().copied();
        let pays_itself = self.started.contains(&target) && last.is_none_or(|last| last < target);
        if pays_itself && !self.is_conditional(target) {
            return;
        }
        let how = self.decoded.notifications.how(target, |by| self.step_of.contains_key(&by));
        let how = how.unwrap_or(converge_model::NotifyHow::AsTargetSays);
        let Some(action) = self.decoded.wanted[target as usize].action(how) else { return };
        let mut change = Change::new(Verb::Act);
        change.properties.push(PropertyChange::new("action", Shown::Absent, action.verb));
        if pays_itself {
            // Its own step may find the unit running already. Then the action is still owed.
            self.inherit_condition(target, &mut change);
        }
        for by in &changed {
            self.inherit_condition(*by, &mut change);
        }
        if let Certainty::Conditional { why, .. } = &mut change.certainty {
            *why = "only if it really changes".to_owned();
        }
        let mut because: Vec<Address> = Vec::new();
        for by in changed {
            let address = self.resource(by).address.clone();
            if !because.contains(&address) {
                because.push(address);
            }
        }
        self.close_transaction();
        self.push(target, change, Vec::new(), Some((action, because, owed.is_some())));
    }

    /// Notes that the action of `target` stays owed, because the notifier at `by` is not in sync.
    fn wait(&mut self, target: u32, by: u32) {
        let (resource, because) = (self.resource(target), self.resource(by).address.clone());
        let why = format!("its notification waits: {because} {}", self.trouble(by));
        self.draft.waiting.push(Blocked {
            resource: target,
            address: resource.address.clone(),
            because: Some(because),
            why,
            help: None,
            may_fail: resource.options.may_fail,
        });
    }

    fn is_conditional(&self, index: u32) -> bool {
        let step = self.step_of.get(&index).and_then(|place| self.draft.steps.get(*place as usize));
        step.is_some_and(|step| matches!(step.step.change.certainty, Certainty::Conditional { .. }))
    }

    fn inherit_condition(&self, by: u32, change: &mut Change) {
        let Some(step) = self.step_of.get(&by).and_then(|place| self.draft.steps.get(*place as usize)) else {
            return;
        };
        if matches!(step.step.change.certainty, Certainty::Conditional { .. }) {
            change.depend(step.step.address.as_str(), &[self.step_of[&by]]);
        }
    }

    fn push(
        &mut self,
        index: u32,
        change: Change,
        diffs: Vec<DiffRequest>,
        action: Option<(Action, Vec<Address>, bool)>,
    ) {
        let resource = self.resource(index);
        let (action, because, owed) = match action {
            Some((action, because, owed)) => (Some(action), because, owed),
            None => (None, Vec::new(), false),
        };
        let step = Step {
            resource: index,
            address: resource.address.clone(),
            kind: resource.kind.clone(),
            change,
            because,
            owed,
            drift: Drift { mode: resource.options.drift, ..Drift::default() },
            guarded: false,
            warning: None,
        };
        self.draft.steps.push(DraftStep { step, diffs, action, removes: Vec::new() });
    }

    /// Asks the package manager what the transaction of neighbours would do, and shows it at their steps.
    fn close_transaction(&mut self) {
        let transaction = std::mem::take(&mut self.transaction);
        let Some((last, _)) = transaction.last().cloned() else { return };
        let requests: Vec<_> = transaction.iter().map(|(_, request)| request.clone()).collect();
        let simulation = match self.system.packages().simulate(&requests) {
            Ok(simulation) => simulation,
            Err(error) => return self.refuse_transaction(&transaction, &error.to_string()),
        };
        self.draft.allowance.allow(&requests, &simulation);
        self.overlay.ask(&requests);
        for (place, request) in &transaction {
            fill_version(&mut self.draft.steps[*place as usize].step.change, request, &simulation);
        }
        let asked: BTreeSet<&str> = requests.iter().map(|request| request.name.as_str()).collect();
        let others = |names: &[(String, String)]| -> Vec<(String, String)> {
            names.iter().filter(|(name, _)| !asked.contains(name.as_str())).cloned().collect()
        };
        let brought = others(&simulation.installed);
        let removed: Vec<_> =
            simulation.removed.into_iter().filter(|name| !asked.contains(name.as_str())).collect();
        let change = &mut self.draft.steps[last as usize].step.change;
        if !brought.is_empty() {
            let text = brought.iter().map(|(name, version)| format!("{name} {version}")).collect::<Vec<_>>();
            change.properties.push(PropertyChange::new("also installs", Shown::Absent, text.join(", ")));
        }
        if !removed.is_empty() {
            change.properties.push(PropertyChange::new("removes", removed.join(", "), Shown::Absent));
        }
        self.draft.steps[last as usize].removes.extend(removed.iter().cloned());
        let effects =
            brought.into_iter().map(|(name, version)| Effect::Package(name, Some(Version::Known(version))));
        let gone = removed.into_iter().map(|name| Effect::Package(name, None));
        self.overlay.add(last, effects.chain(gone).collect::<Vec<_>>());
    }
}

impl Walk<'_> {
    /// Refuses a transaction that is not possible. It refuses the packages that are not possible alone. If each is
    /// possible alone, it refuses all.
    fn refuse_transaction(&mut self, transaction: &[(u32, PackageRequest)], together: &str) {
        let alone = |request: &PackageRequest| {
            let simulated = self.system.packages().simulate(std::slice::from_ref(request));
            simulated.err().map(|error| error.to_string())
        };
        let several = transaction.len() > 1;
        let culprits = transaction.iter().filter(|_| several);
        let culprits = culprits.filter_map(|(place, request)| Some((*place, alone(request)?)));
        let mut refused: Vec<_> = culprits.collect();
        if refused.is_empty() {
            refused = transaction.iter().map(|(place, _)| (*place, together.to_owned())).collect();
        }
        let of = |place: u32| self.draft.steps[place as usize].step.resource;
        let refused = refused.into_iter().map(|(place, why)| (of(place), Reason { why, help: None }));
        self.draft.refused = std::mem::take(&mut self.draft.refused).into_iter().chain(refused).collect();
    }
}

fn fill_version(change: &mut Change, request: &PackageRequest, simulation: &Simulation) {
    let version =
        simulation.installed.iter().find(|(name, _)| *name == request.name).map(|(_, version)| version);
    let unknown = |property: &&mut PropertyChange| {
        property.property == "version" && matches!(property.after, Shown::Unknown(_))
    };
    if let (Some(version), Some(property)) = (version, change.properties.iter_mut().find(unknown)) {
        property.after = Shown::Text(version.clone());
    }
}

/// Whether the effects of a step start the unit of its resource.
pub(crate) fn starts_unit(effects: &[Effect]) -> bool {
    effects.iter().any(|effect| matches!(effect, Effect::Unit(_, unit) if unit.starts))
}

#[cfg(test)]
mod tests;
