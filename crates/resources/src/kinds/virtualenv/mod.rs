//! `virtualenv`: a Python environment with the distributions that its sources name.

mod apply;
mod environment;
mod index;
mod local;
mod lock;
mod marker;
mod origin;
mod plan;
mod project;
mod reason;
mod requirement;
mod revisions;
mod scripts;
mod sources;

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Kind, Planned};
use crate::kit::attributes::{self, Asked};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::receipts::Receipt;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::{Filling, Reader, Text};

use environment::{Distribution, Environment, Interpreter};
use index::Index;
use marker::Target;
use sources::Demand;

/// The kind.
pub struct Virtualenv;

/// The desired environment.
pub struct Wish {
    path: PathBuf,
    python: String,
    tool: Tool,
    source: Source,
    project: Option<PathBuf>,
    extras: Vec<String>,
    groups: Vec<String>,
    constraints: Vec<PathBuf>,
    wheelhouse: Vec<PathBuf>,
    index: Option<Text>,
    extra_index: Vec<Text>,
    require_hashes: bool,
    exact: bool,
    system_site_packages: bool,
    owner: Option<String>,
    cache: Option<PathBuf>,
}

/// The source of the names and versions.
enum Source {
    /// Requirements: from files on the host, from the controller, and from a list.
    Requirements { files: Vec<PathBuf>, content: Option<Filling>, list: Vec<String> },
    /// A `uv.lock` on the host.
    Lock(PathBuf),
}

/// The installer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Tool {
    /// uv if the host has it, else pip.
    Auto,
    Pip,
    Uv,
}

/// The state of the host.
pub struct Found {
    place: Seen<Place>,
    /// Whether the folder has any content.
    occupied: bool,
    environment: Option<Environment>,
    interpreter: Option<Chosen>,
    /// Whether uv is the installer.
    uv: bool,
    demand: Demand,
    needs: Vec<Need>,
    own: Asked,
    /// The receipt of the last apply.
    receipt: Option<Receipt>,
    /// Distributions with a revision that is another commit now.
    moved: Vec<(String, String)>,
    /// The digests of the installed file lists, by name, for distributions from the host.
    records: Vec<(String, String)>,
}

/// The interpreter for the environment.
struct Chosen {
    is: Interpreter,
    shown: String,
}

impl Kind for Virtualenv {
    type Wish = Wish;
    type Found = Found;

    const HANDED_ON: &'static [&'static str] = &["index", "extra-index"];

    fn schema() -> KindSchema {
        KindSchema::new("virtualenv", "A Python virtual environment with its packages")
            .details(DETAILS)
            .param(Param::new("path", Type::Path, "Directory of the environment").argument(0).required())
            .param(Param::new("python", Type::Text, "Interpreter: a command, a path or a version (`3.12`)").default("python3"))
            .param(Param::new("tool", Type::Text, "Installer; `auto` is uv if the host has it, else pip").one_of(&["auto", "pip", "uv"]).default("auto"))
            .param(Param::list("requirements", Type::Path, "Requirements files on the host"))
            .param(Param::new("content", Type::Content, "Requirements from the controller: `(file)\"requirements.lock\"` or text"))
            .param(Param::list("install", Type::Text, "Single requirements: `\"gunicorn==22.0.0\"`"))
            .param(Param::new("lock", Type::Path, "A `uv.lock` on the host, instead of requirements; does not need uv"))
            .param(Param::new("project", Type::Path, "Project to install: a directory with a `pyproject.toml`, or a wheel, on the host"))
            .param(Param::list("extras", Type::Text, "Extras of the project, or of the project in the lock"))
            .param(Param::list("groups", Type::Text, "Dependency groups of the project in the lock"))
            .param(Param::list("constraints", Type::Path, "Constraints files on the host, which limit versions"))
            .param(Param::list("wheelhouse", Type::Path, "Directories of wheels on the host; they replace the default index"))
            .param(Param::new("index", Type::Text, "URL of the package index, with user and password if needed; may be a secret"))
            .param(Param::list("extra-index", Type::Text, "Additional indexes, written as `index`"))
            .param(Param::new("require-hashes", Type::Bool, "Require a hash for every package; a hash in the sources implies it").default(false))
            .param(Param::new("exact", Type::Bool, "Install exactly the packages that the sources name, and remove others").default(false))
            .param(Param::new("system-site-packages", Type::Bool, "Allow imports of the system's packages").default(false))
            .param(Param::new("owner", Type::Name, "User that owns the environment and runs the installer; default: the account that Converge works as"))
            .param(Param::new("cache", Type::Path, "Cache of downloads and built wheels: a directory writable for the owner; default: no cache"))
            .example(
                "A tool in its own environment",
                "package \"python3-venv\"\nvirtualenv \"/opt/tool\" exact=#true {\n    install \"iniconfig==2.0.0\"\n}",
            )
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let python = params.text("python").unwrap_or_else(|| "python3".to_owned());
        let is_version = python.starts_with(|c: char| c.is_ascii_digit());
        let wish = Wish {
            path: params.path("path"),
            python: if is_version { format!("python{python}") } else { python },
            tool: params.choice("tool", &[("auto", Tool::Auto), ("pip", Tool::Pip), ("uv", Tool::Uv)]),
            source: source(params),
            project: params.optional_path("project"),
            extras: params.texts("extras"),
            groups: params.texts("groups"),
            constraints: paths(params, "constraints"),
            wheelhouse: paths(params, "wheelhouse"),
            index: params.maybe_secret("index"),
            extra_index: params.maybe_secrets("extra-index"),
            require_hashes: params.flag("require-hashes").unwrap_or(false),
            exact: params.flag("exact").unwrap_or(false),
            system_site_packages: params.flag("system-site-packages").unwrap_or(false),
            owner: params.text("owner"),
            cache: params.optional_path("cache"),
        };
        problems(params, &wish);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::path(wish.path.to_string_lossy(), Extent::Whole)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let receipt = view.receipt(&key(wish))?;
        let occupied =
            view.list(&wish.path).is_ok_and(|names| names.known().is_some_and(|names| !names.is_empty()));
        let environment = environment::read(view, &wish.path)?;
        let environment = environment.or_else(|| (occupied && receipt.is_some()).then(Environment::broken));
        let seen = environment::interpreter(view, &wish.python)?;
        let uv = match wish.tool {
            Tool::Auto => matches!(view.program("uv")?, Seen::Known(_)),
            tool => tool == Tool::Uv,
        };
        let mut needs = vec![view.need_folder(wish.path.parent().unwrap_or(Path::new("/")))?];
        needs.push(Need::of(seen.clone(), format!("the program {}", wish.python), || {
            "before it, declare `package \"python3-venv\"`, or choose another interpreter".to_owned()
        }));
        if wish.tool == Tool::Uv {
            needs.push(Need::program(&view.program("uv")?, "uv"));
        }
        let interpreter = seen.known().map(|is| Chosen { shown: is.program.display().to_string(), is });
        let has_pip = environment.as_ref().is_some_and(Environment::has_pip);
        if let (Some(chosen), false, false) = (&interpreter, uv, has_pip) {
            needs.push(chosen.is.need_pip(view)?);
        }
        let version = environment.as_ref().and_then(|environment| environment.version.clone());
        let newer = interpreter.as_ref().and_then(|chosen| chosen.is.version.clone());
        // A rebuilt environment gets the interpreter's version, not the present one.
        let same =
            |version: &String| newer.as_ref().is_none_or(|newer| *newer == environment::short(version));
        let target = Target { version: version.filter(same).or(newer) };
        let owned = Attributes { owner: wish.owner.clone(), ..Attributes::default() };
        let demand = sources::read(view, wish, &target)?;
        Ok(Found {
            place: view.place(&wish.path)?,
            occupied,
            moved: revisions::moved(view, wish, &demand, environment.as_ref())?,
            records: local::records(view, wish, &demand, environment.as_ref())?,
            environment,
            interpreter,
            uv,
            demand,
            needs,
            own: attributes::observe(view, &owned)?,
            receipt,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let before = found.place.clone().known();
        let place = found.own.place(before.as_ref(), Sort::Folder, 0o755, Body::OnDisk);
        vec![Effect::Path(wish.path.clone(), Some(place)), Effect::Open]
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        apply::apply(actor, wish, found)
    }
}

const DETAILS: &str = "\
The plan lists each distribution that is added, changed or removed. It is exact if the sources name every \
distribution: with hashes, with `exact=#true`, or from a `uv.lock`. With other sources, only the installer finds all \
dependencies, and the plan says so. The environment then stays as it is until its sources change or a distribution is \
missing.

A project is installed again if its `pyproject.toml` or its code (`.py`, `.pyi`, `.pyx`, `.toml`, `.cfg`, `.in`) \
changes. An archive on the host is installed again if its bytes change. A distribution from a repository or another \
address is compared with the installer's record (`direct_url.json`). Another address, revision or hash is installed \
again. A moved tag is installed again too, if the repository answers without a password. Branches are not followed.

The plan does not list pip and setuptools, which every environment has, and Converge never removes them. The \
environment is rebuilt in these cases: it has another interpreter or another owner, it was made at another place, a \
distribution is half-installed, or a change was interrupted. If the rebuild fails, the old environment is restored. \
Environments cannot move, so Converge changes them in place and keeps a copy until the end of the run.

An index with a password goes to the installer in a file that only its user can read, and only while it runs.";

fn source(params: &mut Reader<'_>) -> Source {
    let files = paths(params, "requirements");
    let (content, list) = (params.filling("content"), params.texts("install"));
    match params.optional_path("lock") {
        Some(lock) => {
            if !files.is_empty() || content.is_some() || !list.is_empty() {
                params.problem(
                    ParamProblem::together("`lock` must not be set together with requirements")
                        .help("the lock already names all packages"),
                );
            }
            Source::Lock(lock)
        }
        None => Source::Requirements { files, content, list },
    }
}

fn paths(params: &mut Reader<'_>, name: &str) -> Vec<PathBuf> {
    params.texts(name).into_iter().map(PathBuf::from).collect()
}

fn problems(params: &mut Reader<'_>, wish: &Wish) {
    if wish.path.parent().is_none() {
        params.problem(ParamProblem::new("path", "must not be `/`"));
    }
    if wish.python.is_empty() || wish.python.starts_with('-') || wish.python.chars().any(char::is_control) {
        params.problem(ParamProblem::new("python", "must be the name of a program"));
    }
    if matches!(&wish.source, Source::Requirements { content: Some(Filling::Secret(_)), .. }) {
        params.problem(ParamProblem::new("content", "cannot be a secret; `index` can"));
    }
    if let Source::Requirements { list, .. } = &wish.source {
        for one in list.iter().filter(|one| !is_one_requirement(one)) {
            let problem = ParamProblem::new("install", format!("{one:?} must be one requirement"));
            params.problem(problem.help(
                "write `NAME==VERSION`, a path or `NAME @ URL`; use `index` for an index, `requirements` for a file",
            ));
        }
    }
    for (name, names) in [("extras", &wish.extras), ("groups", &wish.groups)] {
        for odd in names.iter().filter(|odd| !is_extra(odd)) {
            params.problem(ParamProblem::new(name, format!("{odd:?} must be a name of letters and digits")));
        }
    }
    if !wish.groups.is_empty() && !matches!(wish.source, Source::Lock(_)) {
        params.problem(ParamProblem::new("groups", "must not be set without `lock`"));
    }
    for index in wish.index.iter().chain(&wish.extra_index) {
        if let Err(why) = Index::of(index) {
            params.problem(ParamProblem::new("index", why));
        }
    }
}

/// Whether a line of a requirements file is one complete requirement. `-e` is the only option that names one.
fn is_one_requirement(line: &str) -> bool {
    let line = line.trim();
    let is_option = line.starts_with('-') && !line.starts_with("-e ") && !line.starts_with("--editable");
    !line.is_empty() && !is_option && !line.starts_with('#') && !line.ends_with('\\')
}

/// Whether a text can be the name of an extra or a group (PEP 685).
fn is_extra(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_alphanumeric()) && name.chars().all(requirement::is_in_name)
}

fn key(wish: &Wish) -> String {
    format!("virtualenv:{}", wish.path.to_string_lossy())
}

impl Found {
    /// Whether the sources are unchanged since the last apply.
    fn is_noted(&self) -> bool {
        let digest = self.demand.digest.finalize().into();
        self.receipt.as_ref().is_some_and(|receipt| receipt.source == digest)
    }

    /// The distributions of the last apply that are missing or changed now.
    fn lost(&self) -> Vec<String> {
        let (Some(receipt), Some(environment)) = (&self.receipt, &self.environment) else {
            return Vec::new();
        };
        let is_whole = |there: &Distribution| there.gone.is_none();
        let is_there = |path: &PathBuf| {
            environment.installed.iter().any(|there| there.folder == **path && is_whole(there))
        };
        let name = |path: &PathBuf| {
            let stem = path.file_name()?.to_str()?.split('-').next()?;
            Some(requirement::normal_name(stem))
        };
        let gone = receipt.paths.iter().filter(|path| !is_there(path)).filter_map(name);
        gone.filter(|name| !self.demand.names(name)).collect()
    }
}

#[cfg(test)]
mod tests;
