//! The command that starts the agent: `bootstrap.sh`, and what one start writes before it.
//!
//! The login shell reads the command, so it holds to what `sh`, `csh` and `fish` read alike: one line, in single quotes,
//! without `!`, `'` and backslashes.

use std::sync::LazyLock;

use crate::agent::Agent;

/// Characters that some login shell reads within single quotes, or that end the quotes or the line.
const UNQUOTABLE: [char; 5] = ['\'', '!', '\\', '\n', '\r'];

/// `bootstrap.sh` as one line.
static REST: LazyLock<String> = LazyLock::new(|| joined(include_str!("bootstrap.sh")));

/// The usual folders of root, and of everyone else.
const ROOT: &str =
    r#"/var/cache/converge/agent /run/converge-agent /dev/shm/converge-agent /var/tmp/converge-agent"#;
const USER: &str = r#""${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/converge/agent" "/dev/shm/converge-agent-$u" "/var/tmp/converge-agent-$u" "/tmp/converge-agent-$u""#;

/// One start of the agent.
pub(super) struct Script<'a> {
    pub(super) agent: &'a Agent,
    /// Folders for the agent instead of the usual ones, each of which [`is_plain`].
    pub(super) folders: &'a [String],
    /// How many of the folders to pass over: those that turned out to be full.
    pub(super) skip: usize,
    /// Whether to distrust what the cache holds.
    pub(super) afresh: bool,
    /// Marks the lines that are the script's own.
    pub(super) nonce: u64,
}

impl Script<'_> {
    /// The script as one line that can stand in single quotes.
    pub(super) fn line(&self) -> String {
        let line = format!(
            "umask 077;m={:x};n={};h={};s={};k={};a={};{}{}",
            self.nonce,
            self.agent.digest(),
            self.agent.sha256(),
            self.agent.bytes().len(),
            self.skip,
            u8::from(self.afresh),
            self.candidates(),
            *REST,
        );
        debug_assert_eq!(unquotable(&line), None);
        line
    }

    /// Sets the folders as positional parameters. `/` belongs to root: that tells without a process who this is.
    fn candidates(&self) -> String {
        if self.folders.is_empty() {
            return format!("if [ -O / ];then set -- {ROOT};else u=$(id -u);set -- {USER};fi;");
        }
        let quoted = self.folders.iter().map(|folder| format!(" \"{folder}\""));
        format!("set --{};", quoted.collect::<String>())
    }
}

/// Whether a folder can stand in the command as it is.
pub(crate) fn is_plain(folder: &str) -> bool {
    let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '/' | '.' | '_' | '-');
    folder.starts_with('/') && folder.chars().all(plain)
}

/// Joins the lines of a script into one. Comments have lines of their own.
fn joined(script: &str) -> String {
    let code = script.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    code.fold(String::new(), |mut joined, line| {
        joined.push_str(separator(&joined));
        joined.push_str(line);
        joined
    })
}

/// What stands between a script and its next line: a list of commands goes on after `;`, an open construct without it.
fn separator(before: &str) -> &'static str {
    let word = before.rsplit([' ', ';']).next().unwrap_or(before);
    match word {
        "then" | "do" | "else" => " ",
        "" => "",
        _ if word.ends_with('{') => " ",
        _ if word.ends_with(['&', '|']) => "",
        _ => ";",
    }
}

/// The first character that keeps a line out of the single quotes of every login shell.
fn unquotable(line: &str) -> Option<char> {
    line.chars().find(|c| UNQUOTABLE.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_script_is_joined_without_comments_and_indentation() {
        let check = |script: &str, line: &str| assert_eq!(joined(script), line);
        check("# Why.\n\na\n  # How.\n  b\n", "a;b");
        check("f(){\n  a\n}\nb", "f(){ a;};b");
        check("if a;then\n  b\nelse\n  c\nfi\n", "if a;then b;else c;fi");
        check("for d do\n  while x;do\n    y\n  done\ndone", "for d do while x;do y;done;done");
        check("a&&\nb||\nc|\nd", "a&&b||c|d");
        check("x=\necho \"${1##*/}\"", "x=;echo \"${1##*/}\"");
    }

    #[test]
    fn a_line_that_a_login_shell_could_read_is_told() {
        assert_eq!(unquotable("echo \"$x\" >&2"), None);
        for c in UNQUOTABLE {
            assert_eq!(unquotable(&format!("echo {c}")), Some(c));
        }
    }

    #[test]
    fn the_script_fits_into_single_quotes_whatever_it_is_to_do() {
        let agent = Agent::new(b"x".as_slice());
        let own = ["/srv/agents-1_a.b".to_owned()];
        for folders in [&[][..], &own] {
            for (skip, afresh) in [(0, false), (0, true), (3, false), (3, true)] {
                let line = Script { agent: &agent, folders, skip, afresh, nonce: u64::MAX }.line();
                assert_eq!(unquotable(&line), None, "{line}");
                let read = std::process::Command::new("sh").args(["-n", "-c", &line]).output().unwrap();
                assert!(read.status.success() && read.stderr.is_empty(), "{read:?}");
            }
        }
    }

    #[test]
    fn a_folder_is_plain_if_no_shell_reads_anything_in_it() {
        assert!(is_plain("/var/cache/converge_1.0-a"));
        for folder in ["relative", "/with space", "/$HOME", "/it's", "/a\\b", "/a\nb", ""] {
            assert!(!is_plain(folder), "{folder:?}");
        }
    }
}
