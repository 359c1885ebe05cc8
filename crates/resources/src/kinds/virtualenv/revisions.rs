//! Revisions of repositories that are another commit now. The installer noted its commit. A tag may change, so the
//! plan asks the repository for it again. A branch changes all the time: its distribution stays until the requirement
//! changes.

use std::path::Path;
use std::time::Duration;

use super::Wish;
use super::environment::{Distribution, Environment};
use super::sources::{Demand, Direct};
use crate::kinds::git;
use crate::system::processes::Command;
use crate::view::{LookError, Seen, View};

/// The timeout of a repository.
const TIME: Duration = Duration::from_secs(60);

/// The distributions with a revision that differs from the installed commit: name and new commit.
pub(super) fn moved(
    view: &View<'_>,
    wish: &Wish,
    demand: &Demand,
    environment: Option<&Environment>,
) -> Result<Vec<(String, String)>, LookError> {
    let mut moved = Vec::new();
    for direct in &demand.directs {
        let there = environment.and_then(|environment| environment.distribution(&direct.name));
        let Some(there) = there.filter(|there| direct.is(there, &wish.path)) else { continue };
        let other = match there.origin.as_ref().and_then(|origin| origin.clone_below(&wish.path)) {
            Some(clone) => of_clone(view, wish, direct, &clone)?,
            None => of_tag(view, wish, direct, there)?,
        };
        moved.extend(other.map(|commit| (direct.name.clone(), commit)));
    }
    Ok(moved)
}

/// The commit of a tag, if it differs from the installed one. None if the repository does not answer.
fn of_tag(
    view: &View<'_>,
    wish: &Wish,
    direct: &Direct,
    there: &Distribution,
) -> Result<Option<String>, LookError> {
    let commit = there.origin.as_ref().and_then(|origin| origin.commit());
    let (Some((url, name)), Some(commit)) = (direct.from.tag(), commit) else { return Ok(None) };
    let tag = format!("refs/tags/{name}");
    let peeled = format!("{tag}^{{}}");
    let Some(output) = ask(view, wish, &["git", "ls-remote", "--", url, &tag, &peeled])? else {
        return Ok(None);
    };
    let lines: Vec<_> = output.lines().filter_map(|line| line.split_once('\t')).collect();
    let find = |name: &str| lines.iter().find(|(_, of)| *of == name).map(|(hash, _)| *hash);
    let now = find(&peeled).or_else(|| find(&tag)).filter(|hash| git::is_hash(hash) && *hash != commit);
    Ok(now.map(str::to_owned))
}

/// The commit of the asked revision, if the editable clone is at another one. It is the revision's name if the clone
/// does not have it.
fn of_clone(
    view: &View<'_>,
    wish: &Wish,
    direct: &Direct,
    clone: &Path,
) -> Result<Option<String>, LookError> {
    let Some(name) = direct.from.revision() else { return Ok(None) };
    let folder = clone.to_string_lossy();
    let parse = |name: &str| {
        let name = format!("{name}^{{commit}}");
        ask(view, wish, &["git", "-C", &*folder, "rev-parse", "--verify", "--quiet", &name])
    };
    let Some(head) = parse("HEAD")? else { return Ok(None) };
    let named = match parse(name)? {
        Some(commit) => Some(commit),
        None => parse(&format!("origin/{name}"))?,
    };
    let named = named.map_or_else(|| name.to_owned(), |commit| commit.trim().to_owned());
    Ok((named != head.trim()).then_some(named))
}

/// The output of git. None if the host cannot be asked, or if git fails.
fn ask(view: &View<'_>, wish: &Wish, words: &[&str]) -> Result<Option<String>, LookError> {
    let question = git::command(wish.owner.as_deref(), words.iter().copied());
    Ok(match view.ask(&Command { timeout: TIME, ..question }) {
        Ok(Seen::Known(finished)) if finished.success() => {
            Some(String::from_utf8_lossy(&finished.output).into_owned())
        }
        _ => None,
    })
}
