//! `git`: a work tree of a repository at a commit, a tag or the tip of a branch.

mod exclude;
mod repository;

use std::path::{Path, PathBuf};

use converge_model::{
    Change, Claim, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::actor::{Actor, ApplyError, Attributes};
use crate::kind::{Depend, Kind, Planned};
use crate::kit::{attributes, programs};
use crate::overlay::Effect;
use crate::system::files::Sort;
use crate::system::processes::Command;
use crate::view::{Body, LookError, Need, Place, Seen, View};
use crate::wish::{Reader, Text};

pub(super) use repository::{Repository, is_hash};

/// The kind.
pub struct Git;

/// The desired version and the path of the work tree.
pub struct Wish {
    path: PathBuf,
    url: String,
    version: String,
    update: bool,
    branches: bool,
    depth: Option<i64>,
    force: bool,
    submodules: bool,
    exclude: Vec<String>,
    user: Option<String>,
}

/// The state of the host.
pub struct Found {
    place: Seen<Place>,
    repository: Option<Repository>,
    /// Whether the folder has any content.
    occupied: bool,
    remote: Remote,
    needs: Vec<Need>,
    own: attributes::Asked,
}

/// The commit of the version, if the remote had to be asked.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Remote {
    /// This commit. It is fetched by this reference, or by its hash if there is none.
    Commit { commit: String, reference: Option<String> },
    /// The remote was not asked: the work tree has an accepted version.
    Kept,
    /// The repository has no such version.
    Missing,
    /// The remote cannot be asked yet. These steps may make that possible.
    Later(Vec<u32>),
}

impl Kind for Git {
    type Wish = Wish;
    type Found = Found;

    const BINDING: &'static [&'static str] = &["version"];

    fn schema() -> KindSchema {
        KindSchema::new("git", "A checkout of a Git repository")
            .details(
                "The kind checks out the commit without a branch. It reads the current commit from the \
                 repository's own files. A look asks the remote (`git ls-remote`) only for a branch, or for an \
                 unknown tag. With `update=#false` an existing checkout stays as it is.\n\n\
                 Local changes stay, or make the checkout fail, unless `force=#true` discards them. For SSH, \
                 git uses the user's own keys and known hosts, and never asks a question. git must be \
                 installed, or come with a package of an earlier resource. If a branch or a tag moved since \
                 the plan, the step stops.",
            )
            .param(Param::new("path", Type::Path, "Path of the work tree").argument(0).required())
            .param(Param::new("url", Type::Text, "Repository: a URL, `user@host:path` or a path on the host").required())
            .param(
                Param::new("version", Type::Text, "Full commit, tag or branch; `HEAD` is the default branch of the remote")
                    .default("HEAD"),
            )
            .param(Param::new("update", Type::Bool, "Update an existing checkout to the newest commit of its branch").default(true))
            .param(Param::new("branches", Type::Bool, "Allow a branch as the version; if false, the version must be a tag or a commit").default(true))
            .param(Param::new("depth", Type::Int, "Number of commits to fetch; default: all").range(1, 1_000_000))
            .param(Param::new("force", Type::Bool, "Discard local changes").default(false))
            .param(Param::new("submodules", Type::Bool, "Check out submodules").default(false))
            .param(Param::list("exclude", Type::Text, "Paths of the repository to exclude, with everything below them"))
            .param(Param::new("user", Type::Name, "User that runs git and owns the work tree."))
            .example(
                "A branch, kept up to date",
                "package \"git\"\ncommand \"git init -q -b main /srv/hello && git -C /srv/hello -c user.name=a -c user.email=a@localhost commit -q --allow-empty -m first\" shell=#true creates=\"/srv/hello/.git/refs/heads/main\"\ngit \"/opt/hello\" url=\"/srv/hello\" version=\"main\"",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            path: params.path("path"),
            url: params.required_text("url"),
            version: params.text("version").unwrap_or_else(|| "HEAD".to_owned()),
            update: params.flag("update").unwrap_or(true),
            branches: params.flag("branches").unwrap_or(true),
            depth: params.number("depth"),
            force: params.flag("force").unwrap_or(false),
            submodules: params.flag("submodules").unwrap_or(false),
            exclude: params.texts("exclude").iter().map(|path| path.trim_matches('/').to_owned()).collect(),
            user: params.text("user"),
        };
        problems(params, &wish);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::path(wish.path.to_string_lossy(), Extent::Whole)]
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let place = view.place(&wish.path)?;
        let repository = Repository::read(view, &wish.path)?;
        let occupied =
            view.list(&wish.path).is_ok_and(|names| names.known().is_some_and(|names| !names.is_empty()));
        let mut needs = vec![view.need_folder(wish.path.parent().unwrap_or(Path::new("/")))?];
        if let Some(user) = &wish.user {
            needs.push(view.need_user(user)?);
        }
        if view.root() == Path::new("/") {
            needs.push(programs::need(view, "git")?);
        }
        let remote = match kept(view, wish, repository.as_ref())? {
            true => Remote::Kept,
            false => ask(view, wish)?,
        };
        let owned = Attributes { owner: wish.user.clone(), ..Attributes::default() };
        Ok(Found { place, repository, occupied, remote, needs, own: attributes::observe(view, &owned)? })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        let planned = match (&found.place, &found.repository) {
            (Seen::Known(place), _) if place.sort != Sort::Folder => {
                return Planned::impossible(format!("a {} is in the way", place.sort.word()));
            }
            (Seen::Known(_), None) if found.occupied => {
                return Planned::impossible("a directory that is not a repository is in the way");
            }
            (Seen::Known(_), Some(repository)) => update(wish, found, repository),
            _ => change(Change::new(Verb::Create), wish, found, None),
        };
        planned.given(found.needs.iter().cloned())
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let before = found.place.clone().known();
        let place = found.own.place(before.as_ref(), Sort::Folder, 0o755, Body::OnDisk);
        vec![Effect::Path(wish.path.clone(), Some(place)), Effect::Open]
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        let git = Runner { wish, path: actor.files().outside(&wish.path).to_string_lossy().into_owned() };
        match &found.repository {
            None => git.start(actor, found)?,
            Some(repository) => git.prepare(actor, repository)?,
        }
        git.exclude(actor, found.repository.as_ref())?;
        git.check_out(actor, &found.remote)
    }
}

/// Whether git or ssh would take the URL as a program to run. `ext::COMMAND` names a helper of git. A host that
/// begins with a hyphen is an option of ssh.
fn is_program(url: &str) -> bool {
    let helper =
        url.split_once("::").is_some_and(|(name, _)| name.chars().all(|c| c.is_ascii_alphanumeric()));
    let address = url.split_once("://").map_or(url, |(_, address)| address);
    let host = address.split('/').next().unwrap_or_default();
    helper || host.rsplit('@').next().is_some_and(|host| host.starts_with('-'))
}

fn problems(params: &mut Reader<'_>, wish: &Wish) {
    let odd = |text: &str| text.starts_with('-') || text.chars().any(|char| char.is_control());
    if wish.url.is_empty() || odd(&wish.url) || is_program(&wish.url) {
        let problem = ParamProblem::new("url", format!("{:?} is not the address of a repository", wish.url));
        params.problem(problem.help("write a URL of https or ssh, `user@host:path`, or a path on the host"));
    }
    let forbidden = [' ', '~', '^', ':', '?', '*', '[', '\\'];
    if wish.version.is_empty()
        || odd(&wish.version)
        || wish.version.contains(forbidden)
        || wish.version.contains("..")
    {
        params.problem(ParamProblem::new("version", "must be the name of a commit, a tag or a branch"));
    }
    if is_hash(&wish.version.to_lowercase()) && !is_hash(&wish.version) {
        params
            .problem(ParamProblem::new("version", "must be a commit in lowercase, found uppercase letters"));
    }
    if wish.path.parent().is_none() {
        params.problem(ParamProblem::new("path", "must not be `/`"));
    }
    let is_outside = |path: &String| {
        path.is_empty() || odd(path) || path.split('/').any(|part| matches!(part, "" | "." | ".."))
    };
    if wish.exclude.iter().any(is_outside) {
        params.problem(ParamProblem::new("exclude", "must be a path in the repository"));
    }
}

/// Whether the work tree has an accepted version, as far as the local files show.
fn kept(view: &View<'_>, wish: &Wish, repository: Option<&Repository>) -> Result<bool, LookError> {
    let Some(repository) = repository else { return Ok(false) };
    let (Some(commit), true) = (&repository.commit, repository.origin.as_deref() == Some(&wish.url)) else {
        return Ok(false);
    };
    if is_hash(&wish.version) {
        return Ok(*commit == wish.version);
    }
    let tag = repository.reference(view, &format!("refs/tags/{}", wish.version))?;
    Ok(!wish.update || tag.as_ref() == Some(commit))
}

/// Asks the remote for the commit of the version.
fn ask(view: &View<'_>, wish: &Wish) -> Result<Remote, LookError> {
    let version = &wish.version;
    if is_hash(version) {
        return Ok(Remote::Commit { commit: version.clone(), reference: None });
    }
    let (tag, branch) = (format!("refs/tags/{version}"), format!("refs/heads/{version}"));
    let peeled = format!("{tag}^{{}}");
    let names = if version == "HEAD" { vec!["HEAD"] } else { vec![tag.as_str(), &branch, &peeled] };
    let words = ["git", "ls-remote", "--", &wish.url].into_iter().chain(names);
    let finished = match view.ask(&command(wish.user.as_deref(), words))? {
        Seen::Known(finished) => finished,
        Seen::Absent => return Ok(Remote::Later(Vec::new())),
        Seen::MayCome(steps) | Seen::Unknown(steps) => return Ok(Remote::Later(steps)),
    };
    let output = String::from_utf8_lossy(&finished.output);
    if !finished.success() {
        // An earlier step may create a repository on the host itself.
        return match view.absent::<()>() {
            Seen::MayCome(steps) => Ok(Remote::Later(steps)),
            _ => Err(LookError::Other(format!("failed to ask {}: {}", wish.url, output.trim_end()))),
        };
    }
    let lines: Vec<_> = output.lines().filter_map(|line| line.split_once('\t')).collect();
    let find =
        |name: &str| lines.iter().find(|(hash, of)| *of == name && is_hash(hash)).map(|(hash, _)| *hash);
    let known = [(peeled.as_str(), &*tag), (&tag, &tag), (&branch, &branch), ("HEAD", "HEAD")];
    let known = if wish.branches { &known[..] } else { &known[..2] };
    let first = known.iter().find_map(|(name, reference)| Some((find(name)?, *reference)));
    Ok(first.map_or(Remote::Missing, |(commit, reference)| Remote::Commit {
        commit: commit.to_owned(),
        reference: Some(reference.to_owned()),
    }))
}

fn update(wish: &Wish, found: &Found, repository: &Repository) -> Planned {
    let same_origin = repository.origin.as_deref() == Some(&wish.url);
    let excluded = exclude::excluded(repository);
    let same_exclude = excluded == wish.exclude;
    let same_commit = match &found.remote {
        Remote::Kept => true,
        Remote::Commit { commit, .. } => repository.commit.as_ref() == Some(commit),
        Remote::Missing | Remote::Later(_) => false,
    };
    if same_origin && same_commit && same_exclude {
        return Planned::InSync("the version is checked out".to_owned());
    }
    let mut planned = Change::new(Verb::Update);
    if !same_origin {
        planned = planned.property(PropertyChange::new("url", repository.origin.clone(), wish.url.clone()));
    }
    if !same_exclude {
        let shown = |paths: &[String]| (!paths.is_empty()).then(|| paths.join(" "));
        let after = shown(&wish.exclude).map_or(Shown::Absent, Shown::Text);
        planned = planned.property(PropertyChange::new("exclude", shown(&excluded), after));
    }
    if wish.force {
        planned = planned.irreversible("local changes are discarded");
    }
    if same_commit {
        Planned::change(planned)
    } else {
        change(planned, wish, found, repository.commit.as_deref())
    }
}

/// Adds the version to the change.
fn change(mut change: Change, wish: &Wish, found: &Found, before: Option<&str>) -> Planned {
    let name = |commit: &str| match is_hash(&wish.version) {
        true => commit.to_owned(),
        false => format!("{} ({})", wish.version, &commit[..12]),
    };
    let after = match &found.remote {
        Remote::Commit { commit, .. } => Shown::Text(name(commit)),
        Remote::Kept => Shown::Text(wish.version.clone()),
        Remote::Missing if !wish.branches => {
            return Planned::Impossible {
                message: format!("{} has no tag {}", wish.url, wish.version),
                help: Some("write a tag or a commit; a branch can move".to_owned()),
            };
        }
        Remote::Missing => {
            return Planned::impossible(format!(
                "{} has neither a tag nor a branch {}",
                wish.url, wish.version
            ));
        }
        Remote::Later(steps) => {
            if !steps.is_empty() {
                change.depend("git or the repository", steps);
            }
            Shown::Unknown("the remote cannot answer yet".to_owned())
        }
    };
    Planned::change(change.property(PropertyChange::new("version", before.map(str::to_owned), after)))
}

/// A git command that never asks for a password.
pub(super) fn command<S: Into<String>>(user: Option<&str>, words: impl IntoIterator<Item = S>) -> Command {
    let environment = [("GIT_TERMINAL_PROMPT", "0"), ("GIT_SSH_COMMAND", "ssh -oBatchMode=yes")];
    let environment = environment.map(|(name, value)| (name.to_owned(), Text::Plain(value.to_owned())));
    Command { user: user.map(str::to_owned), environment: environment.to_vec(), ..Command::new(words) }
}

/// Runs git in the work tree.
struct Runner<'w> {
    wish: &'w Wish,
    path: String,
}

impl Runner<'_> {
    fn command(&self, words: &[&str]) -> Command {
        let all = ["git", "-C", &self.path].into_iter().chain(words.iter().copied());
        command(self.wish.user.as_deref(), all)
    }

    fn run(&self, actor: &mut Actor<'_>, words: &[&str]) -> Result<(), ApplyError> {
        actor.run(&self.command(words)).map(drop)
    }

    /// Makes an empty repository in a folder of the user. The rollback empties the folder.
    fn start(&self, actor: &mut Actor<'_>, found: &Found) -> Result<(), ApplyError> {
        if !matches!(found.place, Seen::Known(_)) {
            let owned = Attributes { owner: self.wish.user.clone(), ..Attributes::default() };
            actor.make_folder(&self.wish.path, &owned)?;
        }
        actor.keep_empty(&self.wish.path)?;
        self.run(actor, &["init", "--quiet"])?;
        self.run(actor, &["remote", "add", "--", "origin", &self.wish.url])
    }

    /// Sets the origin of an existing repository. Notes the current checkout for the rollback.
    fn prepare(&self, actor: &mut Actor<'_>, repository: &Repository) -> Result<(), ApplyError> {
        match repository.origin.as_deref() {
            Some(origin) if origin == self.wish.url => {}
            Some(origin) => {
                self.run(actor, &["remote", "set-url", "--", "origin", &self.wish.url])?;
                actor.keep_command(self.command(&["remote", "set-url", "--", "origin", origin]))?;
            }
            None => {
                self.run(actor, &["remote", "add", "--", "origin", &self.wish.url])?;
                actor.keep_command(self.command(&["remote", "remove", "origin"]))?;
            }
        }
        let branch = repository.branch.as_deref().and_then(|branch| branch.strip_prefix("refs/heads/"));
        match (branch, &repository.commit) {
            (Some(branch), Some(_)) => {
                actor.keep_command(self.command(&["checkout", "--quiet", branch, "--"]))?;
            }
            (None, Some(commit)) => {
                actor.keep_command(self.command(&["checkout", "--quiet", "--detach", commit]))?;
            }
            _ => {}
        }
        Ok(())
    }

    fn check_out(&self, actor: &mut Actor<'_>, remote: &Remote) -> Result<(), ApplyError> {
        let (commit, reference) = match remote {
            Remote::Commit { commit, reference } => (commit, reference.as_deref()),
            Remote::Kept => return Ok(()),
            Remote::Missing | Remote::Later(_) => {
                return Err(ApplyError::new(format!(
                    "{} is not available from {}",
                    self.wish.version, self.wish.url
                )));
            }
        };
        let depth = self.wish.depth.map(|depth| format!("--depth={depth}"));
        let refs = match reference {
            Some("HEAD") => vec!["HEAD".to_owned()],
            Some(tag) if tag.starts_with("refs/tags/") => vec![format!("+{tag}:{tag}")],
            Some(branch) => vec![format!("+{branch}:refs/remotes/origin/{}", self.wish.version)],
            None if depth.is_some() => vec![commit.clone()],
            None => ["+refs/heads/*:refs/remotes/origin/*", "+refs/tags/*:refs/tags/*"]
                .map(str::to_owned)
                .to_vec(),
        };
        let mut fetch = vec!["fetch", "--quiet", "--force"];
        fetch.extend(depth.as_deref());
        fetch.extend(["--", "origin"]);
        fetch.extend(refs.iter().map(String::as_str));
        self.run(actor, &fetch)?;
        let mut checkout = vec!["checkout", "--quiet", "--detach"];
        checkout.extend(self.wish.force.then_some("--force"));
        checkout.push(commit);
        self.run(actor, &checkout)?;
        if self.wish.submodules {
            self.run(actor, &["submodule", "update", "--init", "--recursive", "--quiet"])?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
