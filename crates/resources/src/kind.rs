//! The contract of a kind, and the erased form by which the agent handles all kinds alike.

use std::any::Any;
use std::path::PathBuf;
use std::sync::OnceLock;
use std::time::Duration;

use converge_model::schema::Checked;
use converge_model::{
    Certainty, Change, Claim, Content, KindInfo, KindSchema, NotifyHow, ParamProblem, Params, SecretTable,
};

use crate::access::{Login, Visit};
use crate::actor::{Actor, ApplyError};
use crate::brought::Brought;
use crate::claims;
use crate::overlay::Effect;
use crate::system::System;
use crate::system::packages::PackageRequest;
use crate::view::{LookError, Need, View};
use crate::wish::Reader;

/// A kind of resource. Observe, plan and apply are three functions. Only apply may change a host.
pub trait Kind: Send + Sync + 'static {
    /// The decoded parameters: what the resource should be.
    type Wish: Send + Sync + 'static;
    /// The state that was found on the host.
    type Found: Send + Sync + 'static;

    /// Parameters that the kind only hands on to programs. No secret in them is kept on the host. Other values that
    /// are found on the host may therefore be shown.
    const HANDED_ON: &'static [&'static str] = &[];

    /// Properties that a step applies exactly as planned, or not at all. If the value changed since the plan, the
    /// step fails. Example: the tip of a branch.
    const BINDING: &'static [&'static str] = &[];

    /// Whether neighbours of the kind form one transaction, joined by [`Kind::request`].
    const BATCH: bool = false;

    /// Whether a look runs guards: programs that the inventory names. Guards run in order, once per pass.
    const GUARDED: bool = false;

    /// Whether a revert restores the resource whole, whatever properties a change names. Example: accounts, whose
    /// files are kept.
    const RESTORED_WHOLE: bool = false;

    /// The table that types, checks and documents the parameters.
    fn schema() -> KindSchema;

    /// Decodes the parameters. All mistakes go into the reader.
    fn decode(params: &mut Reader<'_>) -> Self::Wish;

    /// The claims: what the resource owns on its host.
    fn claims(wish: &Self::Wish) -> Vec<Claim>;

    /// Whether a change of the resource may shut out `login`. Such a change is made under a revert.
    fn access(wish: &Self::Wish, login: &Login) -> bool {
        login.depends_on(&Self::claims(wish))
    }

    /// Returns a known objection to `change`, which may shut out the run that makes it.
    fn warns(wish: &Self::Wish, change: &Change, visit: Visit<'_>) -> Option<String> {
        visit.login.warning(&Self::claims(wish), change)
    }

    /// Returns the wish that removes what is left of a resource that is no longer declared. The wish is planned and
    /// applied like any other. The default refuses.
    fn prune(_wish: &Self::Wish) -> Result<Self::Wish, Refusal> {
        Err(Refusal("cannot be removed by itself"))
    }

    /// Returns the wish that restores what was found before a change. The default refuses.
    fn undo(_wish: &Self::Wish, _found: &Self::Found) -> Result<Self::Wish, Refusal> {
        Err(Refusal("cannot be brought back by itself"))
    }

    /// Returns what the resource owns on this host: its claims, under the names that the host uses.
    fn owns(view: &View<'_>, wish: &Self::Wish) -> Result<Vec<Claim>, LookError> {
        Self::claims(wish).into_iter().map(|claim| claims::on_host(view, claim)).collect()
    }

    /// Warnings about the parameters that are not mistakes. Example: a secret that others can read.
    fn warnings(_wish: &Self::Wish) -> Vec<ParamProblem> {
        Vec::new()
    }

    /// The text after the name in the address: `line[/etc/hosts: 127.0.0.1 x]`.
    fn suffix(_wish: &Self::Wish) -> Option<String> {
        None
    }

    /// Reads the state of the host. It writes nothing and starts nothing except guards.
    fn observe(view: &View<'_>, wish: &Self::Wish) -> Result<Self::Found, LookError>;

    /// Returns the planned change. Pure: the same wish and the same finding give the same plan.
    fn plan(wish: &Self::Wish, found: &Self::Found) -> Planned;

    /// Things that come with the resource beside what it owns, as the inventory declares. Later steps of a plan rely
    /// on them. If the resource is there without them, it is not in sync.
    fn brings(_wish: &Self::Wish) -> &[Brought] {
        &[]
    }

    /// The paths that the plan writes. For each, the host is asked whether anything other than permissions forbids
    /// the write.
    fn written(wish: &Self::Wish, _found: &Self::Found) -> Vec<PathBuf> {
        let paths = Self::claims(wish).into_iter().filter_map(|claim| match claim {
            Claim::Path { path, .. } => Some(PathBuf::from(path)),
            Claim::Named { .. } => None,
        });
        paths.collect()
    }

    /// Returns the effects of the plan that later steps see.
    fn effects(wish: &Self::Wish, found: &Self::Found) -> Vec<Effect>;

    /// Applies the plan. It is called only if the plan is a change, with what was found just before.
    fn apply(actor: &mut Actor<'_>, wish: &Self::Wish, found: &Self::Found) -> Result<(), ApplyError>;

    /// The text that the resource writes into files, without what is there already. If a file holds a secret, only
    /// this text is shown of it.
    fn text(_wish: &Self::Wish) -> Option<Vec<u8>> {
        None
    }

    /// The units whose state the kind reads. The agent asks for all units of a catalog in one call.
    fn units(_wish: &Self::Wish) -> Vec<String> {
        Vec::new()
    }

    /// The package request by which neighbours of the kind are joined into one transaction.
    fn request(_wish: &Self::Wish, _found: &Self::Found) -> Option<PackageRequest> {
        None
    }

    /// The action of a notification on the resource. None if the kind cannot be notified.
    fn action(_wish: &Self::Wish, _how: NotifyHow) -> Option<Action> {
        None
    }

    /// How long the resource must stay in sync after a change or action. The closing look waits that long, once for
    /// all resources.
    fn settle(_wish: &Self::Wish) -> Option<Duration> {
        None
    }

    /// Carries the action out.
    fn act(_actor: &mut Actor<'_>, _wish: &Self::Wish, action: &Action) -> Result<(), ApplyError> {
        Err(ApplyError::new(format!("`{}` cannot be notified", action.verb)))
    }

    /// Why a change that was applied is still pending, in the words of the inventory. None if the properties say so.
    fn unsettled(_wish: &Self::Wish, _found: &Self::Found) -> Option<String> {
        None
    }

    /// Probes whether a resource that is in sync does its work. It runs at the closing look of a run that changed
    /// something.
    fn prove(_system: &dyn System, _wish: &Self::Wish) -> Result<(), ApplyError> {
        Ok(())
    }
}

/// Why a kind does not prune or undo: the end of a sentence that begins with the address of a resource.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct Refusal(pub &'static str);

/// The action of a notification: `restart`, `reload`, `run`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Action {
    /// The word that the plan shows.
    pub verb: &'static str,
    /// The unit that it concerns. A new invocation of that unit means that the action is no longer owed.
    pub unit: Option<String>,
    /// Whether that unit ran when it was first notified. If so, it should run again, even if the action stopped it.
    pub ran: bool,
}

/// The plan of a kind for a resource.
#[derive(Debug)]
pub enum Planned {
    /// Nothing to do, with the reason: `content, mode and owner are as asked`.
    InSync(String),
    /// The change to make.
    Change(Box<PlannedChange>),
    /// The change cannot be made: a need is absent, or something is in the way.
    Impossible {
        /// The reason, as a fragment of a sentence.
        message: String,
        /// The advice for the user.
        help: Option<String>,
    },
}

/// A change with the texts that its diffs still need.
#[derive(Debug)]
pub struct PlannedChange {
    /// The change.
    pub change: Change,
    /// Diffs to fill in once their texts are known. Each has its place in `change.properties` and both texts.
    pub diffs: Vec<DiffRequest>,
    /// Whether the change is planned in every run, because nothing shows that it was made. Example: a command that
    /// always runs. Such a change is not drift, and nothing is pending after it.
    pub always: bool,
    /// Objections to the change, and side effects that the user did not ask for.
    pub warnings: Vec<String>,
}

/// A diff that waits for its texts.
#[derive(Debug)]
pub struct DiffRequest {
    /// The place of the property in [`Change::properties`].
    pub property: usize,
    /// The text before. None if nothing is there.
    pub before: Option<Vec<u8>>,
    /// The content after, which the controller has.
    pub after: Content,
}

impl Planned {
    /// Returns a change without diffs to fill in.
    pub fn change(change: Change) -> Self {
        Self::Change(Box::new(PlannedChange {
            change,
            diffs: Vec::new(),
            always: false,
            warnings: Vec::new(),
        }))
    }

    /// Returns a change that is planned in every run.
    pub fn always(change: Change) -> Self {
        Self::Change(Box::new(PlannedChange {
            change,
            diffs: Vec::new(),
            always: true,
            warnings: Vec::new(),
        }))
    }

    /// Returns a plan that cannot be carried out.
    pub fn impossible(message: impl Into<String>) -> Self {
        Self::Impossible { message: message.into(), help: None }
    }

    /// Applies needs to the plan. An absent need makes it impossible; one that may come makes it conditional. A plan
    /// that is in sync needs nothing.
    pub fn given(mut self, needs: impl IntoIterator<Item = Need>) -> Self {
        for need in needs {
            let Self::Change(planned) = &mut self else { break };
            match need {
                Need::Met => {}
                Need::MayCome { what, steps } => planned.change.depend(&what, &steps),
                Need::Absent { what, help } => {
                    return Self::Impossible { message: format!("{what} does not exist"), help };
                }
            }
        }
        self
    }

    /// Adds a property. A plan in sync becomes a change with this verb. An impossible plan stays impossible.
    pub fn also(self, verb: converge_model::Verb, property: converge_model::PropertyChange) -> Self {
        match self {
            Self::InSync(_) => Self::change(Change::new(verb).property(property)),
            Self::Change(mut planned) => {
                planned.change.properties.push(property);
                Self::Change(planned)
            }
            Self::Impossible { .. } => self,
        }
    }

    /// Adds warnings, if the plan is a change.
    pub fn warned(mut self, warnings: impl IntoIterator<Item = String>) -> Self {
        if let Self::Change(planned) = &mut self {
            planned.warnings.extend(warnings);
        }
        self
    }

    /// Makes the plan impossible if an obstacle that permissions do not show forbids the write. Examples: an
    /// immutable file, a read-only file system.
    fn unless_obstructed(self, view: &View<'_>, written: &[PathBuf]) -> Self {
        if !matches!(self, Self::Change(_)) {
            return self;
        }
        // `/proc` is left to the kind: a container may set its own host name and network.
        let files = written.iter().filter(|path| !path.starts_with("/proc"));
        let mut obstacles = files
            .filter_map(|path| Some(format!("{} cannot change: {}", path.display(), view.obstacle(path)?)));
        obstacles.next().map_or(self, Self::impossible)
    }

    /// Makes the plan impossible if it is in sync but something of `brings` is missing.
    fn unless_lacking(self, view: &View<'_>, brings: &[Brought]) -> Result<Self, LookError> {
        if !self.is_in_sync() {
            return Ok(self);
        }
        for what in brings {
            if view.lacks(what)? {
                return Ok(Self::Impossible {
                    message: format!("it is installed, but {what}, which `brings` names, is missing"),
                    help: Some(
                        "correct `brings`; if it was removed by hand, install the package again".to_owned(),
                    ),
                });
            }
        }
        Ok(self)
    }

    /// Whether there is nothing to do.
    pub fn is_in_sync(&self) -> bool {
        matches!(self, Self::InSync(_))
    }
}

/// Makes a change conditional.
pub trait Depend {
    /// Lets the change depend on `what`, which `steps` may bring.
    fn depend(&mut self, what: &str, steps: &[u32]);
}

impl Depend for Change {
    fn depend(&mut self, what: &str, steps: &[u32]) {
        match &mut self.certainty {
            Certainty::Exact => {
                let why = format!("an earlier step may bring {what}");
                self.certainty = Certainty::Conditional { on: steps.to_vec(), why };
            }
            Certainty::Conditional { on, why } => {
                on.extend(steps.iter().filter(|step| !on.contains(step)).copied().collect::<Vec<_>>());
                why.push_str(&format!(", and {what}"));
            }
        }
    }
}

/// The result of a look at one resource.
pub struct Look {
    /// The plan.
    pub planned: Planned,
    /// The effects that later steps see.
    pub effects: Vec<Effect>,
    /// The package request for a transaction with neighbours.
    pub request: Option<PackageRequest>,
    found: Box<dyn Any + Send + Sync>,
}

impl Look {
    /// Returns the planned change, if there is one.
    pub fn change(&self) -> Option<&Change> {
        match &self.planned {
            Planned::Change(planned) => Some(&planned.change),
            _ => None,
        }
    }
}

/// A decoded resource of any kind.
pub trait Wanted: Send + Sync {
    /// Observes and plans.
    fn look(&self, view: &View<'_>) -> Result<Look, LookError>;
    /// See [`Kind::owns`].
    fn owns(&self, view: &View<'_>) -> Result<Vec<Claim>, LookError>;
    /// Applies what the last `look` found.
    fn apply(&self, actor: &mut Actor<'_>, look: &Look) -> Result<(), ApplyError>;
    /// See [`Kind::brings`].
    fn brings(&self) -> &[Brought];
    /// See [`Kind::text`].
    fn text(&self) -> Option<Vec<u8>>;
    /// See [`Kind::units`].
    fn units(&self) -> Vec<String>;
    /// See [`Kind::action`].
    fn action(&self, how: NotifyHow) -> Option<Action>;
    /// See [`Kind::settle`].
    fn settle(&self) -> Option<Duration>;
    /// See [`Kind::act`].
    fn act(&self, actor: &mut Actor<'_>, action: &Action) -> Result<(), ApplyError>;
    /// See [`Kind::BINDING`].
    fn binding(&self) -> &'static [&'static str];
    /// See [`Kind::unsettled`]. It uses what `look` found.
    fn unsettled(&self, look: &Look) -> Option<String>;
    /// See [`Kind::prove`].
    fn prove(&self, system: &dyn System) -> Result<(), ApplyError>;
    /// See [`Kind::BATCH`].
    fn is_batched(&self) -> bool;
    /// See [`Kind::GUARDED`].
    fn is_guarded(&self) -> bool;
    /// See [`Kind::RESTORED_WHOLE`].
    fn is_restored_whole(&self) -> bool;
    /// See [`Kind::access`].
    fn access(&self, login: &Login) -> bool;
    /// See [`Kind::warns`].
    fn warns(&self, change: &Change, visit: Visit<'_>) -> Option<String>;
    /// See [`Kind::prune`].
    fn prune(&self) -> Result<Box<dyn Wanted>, Refusal>;
    /// See [`Kind::undo`]. It restores what `look` found.
    fn undo(&self, look: &Look) -> Result<Box<dyn Wanted>, Refusal>;
}

/// A kind as the registry holds it.
pub trait AnyKind: KindInfo + Send {
    /// Decodes the parameters of a resource. Its secrets come from `secrets`.
    fn decode(&self, params: &Params, secrets: &SecretTable) -> Result<Box<dyn Wanted>, Vec<ParamProblem>>;

    /// The parameters of which nothing is kept on the host.
    fn handed_on(&self) -> &'static [&'static str];
}

/// A row of the registry: the erased form of the kind `K`.
pub struct Row<K: Kind> {
    schema: OnceLock<KindSchema>,
    kind: std::marker::PhantomData<fn() -> K>,
}

impl<K: Kind> Row<K> {
    /// Makes a row for `K`.
    pub const fn new() -> Self {
        Self { schema: OnceLock::new(), kind: std::marker::PhantomData }
    }
}

impl<K: Kind> Default for Row<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kind> KindInfo for Row<K> {
    fn schema(&self) -> &KindSchema {
        self.schema.get_or_init(K::schema)
    }

    fn check(&self, params: &Params) -> Result<Checked, Vec<ParamProblem>> {
        let mut reader = Reader::new(params, None);
        let wish = K::decode(&mut reader);
        reader.finish()?;
        Ok(Checked { claims: K::claims(&wish), suffix: K::suffix(&wish), warnings: K::warnings(&wish) })
    }
}

impl<K: Kind> AnyKind for Row<K> {
    fn handed_on(&self) -> &'static [&'static str] {
        K::HANDED_ON
    }

    fn decode(&self, params: &Params, secrets: &SecretTable) -> Result<Box<dyn Wanted>, Vec<ParamProblem>> {
        let mut reader = Reader::new(params, Some(secrets));
        let wish = K::decode(&mut reader);
        reader.finish()?;
        Ok(Box::new(Decoded::<K>(wish)))
    }
}

struct Decoded<K: Kind>(K::Wish);

/// Formats a warning for a plan.
fn told(warning: &ParamProblem) -> String {
    let help = warning.help.as_ref().map(|help| format!(": {help}")).unwrap_or_default();
    format!("{}{help}", warning.message)
}

/// Returns what files lose if they change as in `effects`, or where their mode does not show the real permissions.
fn losses(view: &View<'_>, effects: &[Effect]) -> Result<Vec<String>, LookError> {
    let mut losses = Vec::new();
    for effect in effects {
        if let Effect::Path(path, Some(place)) = effect {
            losses.extend(view.losses(path, place)?);
        }
    }
    Ok(losses)
}

/// Returns what later steps see of a change: the kind's effects and what the inventory declares in `brings`.
fn effects_of<K: Kind>(wish: &K::Wish, found: &K::Found) -> Vec<Effect> {
    let mut effects = K::effects(wish, found);
    effects.extend(K::brings(wish).iter().cloned().map(Effect::Brings));
    effects
}

impl<K: Kind> Wanted for Decoded<K> {
    fn look(&self, view: &View<'_>) -> Result<Look, LookError> {
        let found = K::observe(view, &self.0)?;
        let planned = K::plan(&self.0, &found).unless_obstructed(view, &K::written(&self.0, &found));
        let planned = planned.unless_lacking(view, K::brings(&self.0))?;
        let changes = matches!(planned, Planned::Change(_));
        let effects = if changes { effects_of::<K>(&self.0, &found) } else { Vec::new() };
        let planned = planned.warned(K::warnings(&self.0).iter().map(told)).warned(losses(view, &effects)?);
        let request = if changes { K::request(&self.0, &found) } else { None };
        Ok(Look { planned, effects, request, found: Box::new(found) })
    }

    fn owns(&self, view: &View<'_>) -> Result<Vec<Claim>, LookError> {
        K::owns(view, &self.0)
    }

    fn apply(&self, actor: &mut Actor<'_>, look: &Look) -> Result<(), ApplyError> {
        match look.found.downcast_ref::<K::Found>() {
            Some(found) => K::apply(actor, &self.0, found).and_then(|()| actor.read_unit_files()),
            None => Err(ApplyError::new("the observed state belongs to another kind")),
        }
    }

    fn brings(&self) -> &[Brought] {
        K::brings(&self.0)
    }

    fn text(&self) -> Option<Vec<u8>> {
        K::text(&self.0)
    }

    fn units(&self) -> Vec<String> {
        K::units(&self.0)
    }

    fn action(&self, how: NotifyHow) -> Option<Action> {
        K::action(&self.0, how)
    }

    fn settle(&self) -> Option<Duration> {
        K::settle(&self.0)
    }

    fn act(&self, actor: &mut Actor<'_>, action: &Action) -> Result<(), ApplyError> {
        K::act(actor, &self.0, action)
    }

    fn binding(&self) -> &'static [&'static str] {
        K::BINDING
    }

    fn unsettled(&self, look: &Look) -> Option<String> {
        K::unsettled(&self.0, look.found.downcast_ref::<K::Found>()?)
    }

    fn prove(&self, system: &dyn System) -> Result<(), ApplyError> {
        K::prove(system, &self.0)
    }

    fn is_batched(&self) -> bool {
        K::BATCH
    }

    fn is_guarded(&self) -> bool {
        K::GUARDED
    }

    fn is_restored_whole(&self) -> bool {
        K::RESTORED_WHOLE
    }

    fn access(&self, login: &Login) -> bool {
        K::access(&self.0, login)
    }

    fn warns(&self, change: &Change, visit: Visit<'_>) -> Option<String> {
        K::warns(&self.0, change, visit)
    }

    fn prune(&self) -> Result<Box<dyn Wanted>, Refusal> {
        K::prune(&self.0).map(|wish| Box::new(Self(wish)) as _)
    }

    fn undo(&self, look: &Look) -> Result<Box<dyn Wanted>, Refusal> {
        let found = look.found.downcast_ref::<K::Found>().ok_or(Refusal("was observed as another kind"))?;
        K::undo(&self.0, found).map(|wish| Box::new(Self(wish)) as _)
    }
}
