//! Paths that are not checked out: rules of git's own sparse checkout (git-sparse-checkout(1)). So git neither writes
//! these paths nor misses them. Rules of other authors stay.

use super::Runner;
use super::repository::Repository;
use crate::actor::{Actor, ApplyError};
use crate::system::processes::Command;
use crate::wish::Text;

/// The first lines of the rules that Converge writes: check out all paths, except the following ones.
const HEAD: &str = "# Written by Converge.\n/*\n";

/// Writes the rules from standard input and turns them on.
const SET: &str =
    "mkdir -p .git/info && cat > .git/info/sparse-checkout && git config core.sparseCheckout true";

/// Checks out the current commit again, according to the rules.
const AGAIN: &str = "git read-tree -mu HEAD";

/// The excluded paths of a repository.
pub(super) fn excluded(repository: &Repository) -> Vec<String> {
    repository.sparse.as_deref().map(excluded_by).unwrap_or_default()
}

fn excluded_by(rules: &str) -> Vec<String> {
    let rules = rules.strip_prefix(HEAD).unwrap_or_default();
    rules.lines().filter_map(|line| line.strip_prefix("!/")).map(unescaped).collect()
}

fn rules(exclude: &[String]) -> String {
    let lines = exclude.iter().map(|path| format!("!/{}\n", escaped(path)));
    HEAD.to_owned() + &lines.collect::<String>()
}

/// Escapes a path to a pattern that matches only this path.
fn escaped(path: &str) -> String {
    let sign = |c: char| if "*?[\\ ".contains(c) { format!("\\{c}") } else { c.to_string() };
    path.chars().map(sign).collect()
}

fn unescaped(pattern: &str) -> String {
    let mut path = String::new();
    let mut signs = pattern.chars();
    while let Some(sign) = signs.next() {
        path.extend(if sign == '\\' { signs.next() } else { Some(sign) });
    }
    path
}

impl Runner<'_> {
    /// Sets the rules of the wish and updates the work tree. Notes the old rules for the rollback. Later checkouts
    /// follow the rules anyway.
    pub(super) fn exclude(
        &self,
        actor: &mut Actor<'_>,
        repository: Option<&Repository>,
    ) -> Result<(), ApplyError> {
        let before = repository.map(excluded).unwrap_or_default();
        if before == self.wish.exclude {
            return Ok(());
        }
        // An empty repository has no commit to check out again.
        let has_commit = repository.is_some_and(|repository| repository.commit.is_some());
        let change = |exclude: &[String]| {
            let again = if has_commit { format!(" && {AGAIN}") } else { String::new() };
            // Without rules git keeps omitting the old paths. So check out all paths first.
            let end = if exclude.is_empty() {
                " && git config --unset core.sparseCheckout && rm .git/info/sparse-checkout"
            } else {
                ""
            };
            let line = Command::shell(format!("{SET}{again}{end}"));
            let named = self.command(&[]);
            Command {
                folder: Some(self.wish.path.clone()),
                input: Some(Text::Plain(rules(exclude))),
                user: named.user,
                environment: named.environment,
                ..line
            }
        };
        if repository.is_some() {
            actor.keep_command(change(&before))?;
        }
        actor.run(&change(&self.wish.exclude)).map(drop)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rules_that_are_written_are_read_as_the_same_paths() {
        let paths = ["media", "var/up loads/*", "a[b]?\\c", "#x", "!y"].map(str::to_owned).to_vec();
        assert_eq!(excluded_by(&rules(&paths)), paths);
        assert_eq!(excluded_by("/*\n!/media\n"), Vec::<String>::new(), "of others");
    }
}
