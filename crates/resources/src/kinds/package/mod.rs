//! `package`: a package of the host's own manager: present, in a given version, the newest available, or absent.

mod plan;

use std::path::Path;
use std::time::Duration;

use converge_model::{Claim, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError};
use crate::brought::Brought;
use crate::kind::{Kind, Planned};
use crate::overlay::Effect;
use crate::system::packages::{Installed, Manager, PackageGoal, PackageRequest, Upkeep, is_package_name};
use crate::view::{LookError, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct Package;

/// The desired package.
pub struct Wish {
    name: String,
    goal: PackageGoal,
    hold: Option<bool>,
    recommends: Option<bool>,
    downgrade: bool,
    refresh: Option<Duration>,
    brings: Vec<Brought>,
}

/// The state of the host.
pub struct Found {
    /// The package manager of the host.
    manager: &'static Manager,
    /// The installed package.
    installed: Seen<Installed>,
    /// The version that would be installed. None if no list has the package.
    candidate: Option<String>,
    /// The package that provides the name if no available package has it, else the available providers.
    provider: Result<String, Vec<String>>,
    /// The installed version compared with the candidate or with the asked version.
    order: Option<std::cmp::Ordering>,
    /// The state of the package manager.
    upkeep: Upkeep,
    /// Whether an earlier step changes the package sources.
    sources_change: bool,
}

impl Kind for Package {
    type Wish = Wish;
    type Found = Found;

    const BATCH: bool = true;

    fn schema() -> KindSchema {
        KindSchema::new("package", "A package of the system's package manager")
            .details(DETAILS)
            .param(
                Param::new(
                    "name",
                    Type::Name,
                    "Name in the package manager: `postgresql-15`, `libc6:i386`",
                )
                .argument(0)
                .required(),
            )
            .param(
                Param::new(
                    "state",
                    Type::Text,
                    "Wanted state; `latest` keeps the newest version in the package lists",
                )
                .one_of(&["present", "latest", "absent"])
                .default("present"),
            )
            .param(Param::new(
                "version",
                Type::Text,
                "Version, with `*` for any text and `?` for one character: `\"15.*\"`; default: any",
            ))
            .param(Param::new(
                "hold",
                Type::Bool,
                "Hold the package at its version, so that only Converge changes it; default: unchanged",
            ))
            .param(Param::new(
                "recommends",
                Type::Bool,
                "Install recommended packages; default: the setting of the package manager",
            ))
            .param(
                Param::new("allow-downgrade", Type::Bool, "Allow `version` to replace a newer version")
                    .default(false),
            )
            .param(
                Param::new(
                    "purge",
                    Type::Bool,
                    "Also remove its configuration, even if an earlier removal left it",
                )
                .default(false),
            )
            .param(Param::new(
                "refresh",
                Type::Duration,
                "Maximum age of the package lists; an installation first updates older lists",
            ))
            .param(Param::list(
                "brings",
                Type::Text,
                "Paths, units, users and groups that must come with it: `/etc/nginx`, `nginx.service`, `user[postgres]`",
            ))
            .example("A package", "package \"curl\"")
            .example("A version, held", "package \"rsync\" version=\"3.*\" hold=#true recommends=#false")
            .example("The newest available version", "package \"ca-certificates\" state=\"latest\"")
            .example("A package with its paths and units, for an exact plan of later steps", "package \"nginx\" {\n    brings \"/etc/nginx\" \"nginx.service\"\n}")
            .example("A package to remove", "package \"telnet\" state=\"absent\" purge=#true")
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let name = params.required_text("name");
        if !is_package_name(&name) {
            params.problem(ParamProblem::new("name", format!("{name:?} is not the name of a package")));
        }
        Wish {
            name,
            goal: goal(params),
            hold: params.flag("hold"),
            recommends: params.flag("recommends"),
            downgrade: params.flag("allow-downgrade").unwrap_or(false),
            refresh: params.duration("refresh"),
            brings: brings(params),
        }
    }

    fn brings(wish: &Wish) -> &[Brought] {
        &wish.brings
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::named("package", wish.name.as_str())]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let manager = view.package_manager();
        let installed = view.package(&wish.name)?;
        let version = match &installed {
            Seen::Known(installed) => Some(installed.version.clone()),
            _ => None,
        };
        // If an acceptable version is installed, skip the package lists.
        let candidate = match (&wish.goal, &version) {
            (PackageGoal::Absent { .. } | PackageGoal::Kept, _) | (PackageGoal::Present, Some(_)) => None,
            (PackageGoal::Version(pattern), Some(version)) if (manager.matches)(pattern, version) => None,
            _ => view.candidate(&wish.name)?,
        };
        let is_missing = matches!(installed, Seen::Absent | Seen::MayCome(_)) && candidate.is_none();
        let provider = match &wish.goal {
            PackageGoal::Absent { .. } | PackageGoal::Kept => Err(Vec::new()),
            _ if is_missing => view.provider(&wish.name)?,
            _ => Err(Vec::new()),
        };
        let other = match &wish.goal {
            PackageGoal::Version(asked) => Some(asked),
            _ => candidate.as_ref(),
        };
        let order = version.zip(other).map(|(version, other)| (manager.compare)(&version, other));
        Ok(Found {
            manager,
            installed,
            candidate,
            provider,
            order,
            upkeep: view.upkeep()?.clone(),
            sources_change: manager.sources.iter().any(|path| view.is_touched(Path::new(path))),
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        plan::effects(wish, found)
    }

    fn request(wish: &Wish, found: &Found) -> Option<PackageRequest> {
        Some(plan::request(wish, found))
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        let request = plan::request(wish, found);
        actor.transact(&[request])
    }
}

const DETAILS: &str = "\
Converge reads the installed packages from the package manager's own files. If there is nothing to do, it starts no \
process. Otherwise the plan is a dry run of the package manager: it shows the versions, the additional packages and \
the packages to remove. Consecutive packages in an inventory are one transaction.

A transaction never asks a question. Configuration files with changes by hand stay, and needrestart only lists the \
services to restart. If another transaction holds the lock, Converge waits and names the holder; a plan waits up to 20 \
seconds. First, Converge repairs a database that an interrupted transaction left behind.

A change first updates the package lists in these cases: they lack the package or the version, they were never \
fetched, they are older than the sources, or they are older than `refresh`. The plan then does not know the version. \
Right before the change, the package manager simulates the transaction again. If it would remove a package that the \
plan does not name, the step stops, names it, and changes no package. The result reports additional changes as \
unforeseen.

The paths, units, users and groups of a package are known only after its installation. Later steps that need them are \
conditional, unless `brings` names them. The plan then relies on `brings`, and the step fails if the package lacks \
them.

Other packages can provide a name, such as `mail-transport-agent`. One of them suffices if it is installed, or if an \
earlier resource installs it. Otherwise the plan lists the providers, and the inventory must choose one.

Converge never changes a package that another user or program holds; set `hold` to change it. Converge does not undo \
package transactions.

The abilities of package managers differ: hold, purge, downgrade, recommended packages, patterns. If the one on the \
host lacks a wanted ability, the plan says so.";

fn goal(params: &mut Reader<'_>) -> PackageGoal {
    #[derive(Clone, Copy, PartialEq)]
    enum State {
        Present,
        Latest,
        Absent,
    }
    let state = params.choice(
        "state",
        &[("present", State::Present), ("latest", State::Latest), ("absent", State::Absent)],
    );
    let version = params.text("version");
    let purge = params.flag("purge").unwrap_or(false);
    let mut refuse = |param: &str, why: &str| params.problem(ParamProblem::new(param, why));
    if version.is_some() && state != State::Present {
        refuse("version", "must not be set without `state=\"present\"`");
    }
    if version.as_ref().is_some_and(|version| !is_version(version)) {
        refuse("version", "must be a version");
    }
    if purge && state != State::Absent {
        refuse("purge", "must not be set without `state=\"absent\"`");
    }
    if state == State::Absent {
        for param in ["hold", "recommends", "refresh", "brings"]
            .into_iter()
            .filter(|name| params.has(name))
            .collect::<Vec<_>>()
        {
            params.problem(ParamProblem::new(param, "must not be set for an absent package"));
        }
    }
    if params.flag("allow-downgrade") == Some(true) && version.is_none() {
        params.problem(ParamProblem::new("allow-downgrade", "must not be set without `version`"));
    }
    match (state, version) {
        (State::Absent, _) => PackageGoal::Absent { purge },
        (State::Latest, _) => PackageGoal::Latest,
        (State::Present, Some(version)) => PackageGoal::Version(version),
        (State::Present, None) => PackageGoal::Present,
    }
}

fn brings(params: &mut Reader<'_>) -> Vec<Brought> {
    let mut brings = Vec::new();
    for text in params.texts("brings") {
        match Brought::read(&text) {
            Some(what) => brings.push(what),
            None => params.problem(
                ParamProblem::new("brings", format!("{text:?} must be a path, a unit, a user or a group"))
                    .help("write one of `/etc/nginx`, `nginx.service`, `user[postgres]`, `group[adm]`"),
            ),
        }
    }
    brings
}

fn is_version(version: &str) -> bool {
    !version.is_empty() && version.chars().all(|c| c.is_ascii_alphanumeric() || ".+~:-*?".contains(c))
}

#[cfg(test)]
mod tests;
