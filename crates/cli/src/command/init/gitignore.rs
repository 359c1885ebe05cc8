//! The `.gitignore` of a project: its required lines, and the ones that an existing file lacks.

/// Files that are never committed, one group of lines for each purpose.
const GROUPS: [&str; 2] = [
    "\
# Archives of releases. A build makes them.
/dist/
",
    "\
# Private keys. Files of secrets (.age) are encrypted: commit them.
*.key
id_*
!id_*.pub
",
];

/// The additional group for a project whose host is a folder of it.
const SANDBOX: &str = "\
# The folder that stands for a host.
/sandbox/
";

/// The text of a new file.
pub(super) fn text(is_local: bool) -> String {
    groups(is_local).collect()
}

/// Returns the lines that a file with the text `existing` lacks, to add at its end. Empty if it lacks nothing.
pub(super) fn missing(existing: &str, is_local: bool) -> String {
    let known: Vec<&str> = existing.lines().map(pattern).collect();
    let missing: String = groups(is_local).filter_map(|group| missing_of(group, &known)).collect();
    let is_open = !missing.is_empty() && !existing.is_empty() && !existing.ends_with('\n');
    if is_open { format!("\n{missing}") } else { missing }
}

fn groups(is_local: bool) -> impl Iterator<Item = &'static str> {
    GROUPS.into_iter().chain(is_local.then_some(SANDBOX))
}

/// Returns the comment of a group and its lines, from the first missing one on. The following lines are included,
/// because a later line may negate an earlier one.
fn missing_of(group: &str, known: &[&str]) -> Option<String> {
    let (comment, lines) = group.split_once('\n')?;
    let lines: Vec<&str> = lines.lines().skip_while(|line| known.contains(&pattern(line))).collect();
    (!lines.is_empty()).then(|| format!("{comment}\n{}\n", lines.join("\n")))
}

/// Returns a line without the slashes at its ends, which only narrow the pattern.
fn pattern(line: &str) -> &str {
    line.trim().trim_matches('/')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_missing_is_added() {
        let check =
            |existing: &str, wanted: &str| assert_eq!(missing(existing, true), wanted, "{existing:?}");
        check(&text(true), "");
        check("dist\nsandbox/\r\n*.key\nid_*\n!id_*.pub", "");
        check("*.pyc", &format!("\n{}", text(true)));
        let keys = "# Private keys. Files of secrets (.age) are encrypted: commit them.\nid_*\n!id_*.pub\n";
        check("/dist/\n*.key\n!id_*.pub\n/sandbox/\n", keys);
        assert_eq!(missing("", false), text(false));
    }
}
