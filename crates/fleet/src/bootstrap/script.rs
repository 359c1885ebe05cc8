//! The command that starts the agent: `bootstrap.sh`, and the settings of one start before it.
//!
//! The login shell reads the command, so it uses only syntax that `sh`, `csh` and `fish` read alike: one line in
//! single quotes, without `!`, `'` and backslashes.

use std::sync::LazyLock;

use crate::agent::{Agent, AgentSet};

/// Characters that some login shell interprets within single quotes, or that end the quotes or the line.
const UNQUOTABLE: [char; 5] = ['\'', '!', '\\', '\n', '\r'];

/// `bootstrap.sh` as one line.
static REST: LazyLock<String> = LazyLock::new(|| joined(include_str!("bootstrap.sh")));

/// The usual folders of root, and of all other accounts.
const ROOT: &str =
    r#"/var/cache/converge/agent /run/converge-agent /dev/shm/converge-agent /var/tmp/converge-agent"#;
const USER: &str = r#""${XDG_CACHE_HOME:-${HOME:-/nonexistent}/.cache}/converge/agent" "/dev/shm/converge-agent-$u" "/var/tmp/converge-agent-$u" "/tmp/converge-agent-$u""#;

/// One start of the agent.
pub(super) struct Script<'a> {
    pub(super) agents: &'a AgentSet,
    /// Folders for the agent instead of the usual ones. Each one [`is_plain`].
    pub(super) folders: &'a [String],
    /// How many of the folders to skip: they turned out to be full.
    pub(super) skip: usize,
    /// Whether to ignore the agent in the cache.
    pub(super) afresh: bool,
    /// Marks the lines that the script itself prints.
    pub(super) nonce: u64,
}

impl Script<'_> {
    /// Returns the script as one line that is safe in single quotes.
    pub(super) fn line(&self) -> String {
        let line = format!(
            "umask 077;m={:x};k={};a={};{}{}{}",
            self.nonce,
            self.skip,
            u8::from(self.afresh),
            self.choice(),
            self.candidates(),
            *REST,
        );
        debug_assert_eq!(unquotable(&line), None);
        line
    }

    /// Defines the shell function `w SYSTEM/MACHINE`, which sets the digests and sizes of the agent for such a host.
    fn choice(&self) -> String {
        let rows = self.agents.iter().map(|agent| {
            let names = names(agent).collect::<Vec<_>>().join("|");
            let (digest, sha256) = (agent.digest(), agent.sha256());
            format!("{names}) n={digest};h={sha256};s={};q={};;", agent.size(), agent.gzip().len())
        });
        // No file has the name `none`.
        format!("w(){{ case $1 in {}*) n=none;h=0;s=0;q=0;;esac;}};", rows.collect::<String>())
    }

    /// Sets the folders as positional parameters, and `c` to the platforms whose agents may be in them. `/` belongs
    /// to root, so `[ -O / ]` shows whether this account is root without starting a process.
    fn candidates(&self) -> String {
        let all = self.agents.iter().filter_map(|agent| names(agent).next()).collect::<Vec<_>>().join(" ");
        // Folders of root belong to this machine alone, so an agent in them was made for it. Machines of several
        // kinds may share a home, so there the machine reads its own platform. With only one agent there is nothing
        // to choose.
        let own = if self.agents.iter().nth(1).is_some() { "$(uname -s)/$(uname -m)" } else { &all };
        if self.folders.is_empty() {
            return format!(
                "if [ -O / ];then c=\"{all}\";set -- {ROOT};else c={own};u=$(id -u);set -- {USER};fi;"
            );
        }
        let quoted = self.folders.iter().map(|folder| format!(" \"{folder}\""));
        format!("c={own};set --{};", quoted.collect::<String>())
    }
}

/// Returns `SYSTEM/MACHINE` for each machine name that an agent runs on.
fn names(agent: &Agent) -> impl Iterator<Item = String> {
    let platform = agent.platform();
    platform.machines.iter().map(|machine| format!("{}/{machine}", platform.system))
}

/// Whether a folder can be written into the command without quotes.
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

/// Returns the separator between a script and its next line: `;` after a list of commands, a space or nothing inside
/// an open construct.
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

/// Returns the first character that is not safe in the single quotes of every login shell.
fn unquotable(line: &str) -> Option<char> {
    line.chars().find(|c| UNQUOTABLE.contains(c))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::agent::{BUILT, PLATFORMS, Platform};
    use std::os::unix::fs::PermissionsExt;
    use std::path::Path;
    use std::process::Command;

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
        let own = ["/srv/agents-1_a.b".to_owned()];
        let carried =
            |count| AgentSet::new(PLATFORMS.iter().take(count).map(|at| Agent::new(at, b"x".as_slice())));
        for (agents, folders) in [(1, &[][..]), (1, &own), (PLATFORMS.len(), &[]), (PLATFORMS.len(), &own)] {
            for (skip, afresh) in [(0, false), (0, true), (3, false), (3, true)] {
                let line = Script { agents: &carried(agents), folders, skip, afresh, nonce: u64::MAX }.line();
                assert_eq!(unquotable(&line), None, "{line}");
                assert!(line.len() < 4096, "{}", line.len());
                let read = Command::new("sh").args(["-n", "-c", &line]).output().unwrap();
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

    /// Runs a script on a host with `uname` and a folder `cache` that holds these agents. Returns the agent's output
    /// or the words after `need`, and how often `uname` was called.
    fn started(agents: &AgentSet, cached: &[&str], machine: &str) -> (String, usize) {
        let folder = tempfile::tempdir().unwrap();
        let place = |path: &Path, text: &str| {
            std::fs::write(path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(path, PermissionsExt::from_mode(0o755)).unwrap();
        };
        let log = folder.path().join("log");
        let uname = format!("echo >>{}\ncase $1 in -m) echo {machine};; *) echo Linux;; esac", log.display());
        place(&folder.path().join("uname"), &uname);
        let cache = folder.path().join("cache");
        std::fs::create_dir(&cache).unwrap();
        for name in cached {
            place(&cache.join(arch(name).digest().to_string()), &format!("echo {name}"));
        }
        let folders = [cache.display().to_string()];
        let line = Script { agents, folders: &folders, skip: 0, afresh: false, nonce: 0xabc }.line();
        let path = format!("{}:{}", folder.path().display(), std::env::var("PATH").unwrap());
        let said = Command::new("sh").args(["-c", &line]).env("PATH", path).output().unwrap();
        let said = String::from_utf8(said.stdout).unwrap();
        let first = said.lines().find(|line| !line.is_empty()).unwrap_or_default().to_owned();
        (first, std::fs::read_to_string(log).unwrap_or_default().lines().count())
    }

    /// An agent that prints the name of its processor.
    fn arch(name: &str) -> Agent {
        let platform = Platform::of("Linux", name).unwrap();
        Agent::new(platform, format!("#!/bin/sh\necho {name}\n").into_bytes())
    }

    #[test]
    fn a_cache_that_machines_share_gives_each_its_own_agent() {
        let both = AgentSet::new(["x86_64", "aarch64"].map(arch));
        let said = |cached, machine| started(&both, cached, machine).0;
        assert_eq!(said(&["x86_64", "aarch64"], "x86_64"), "x86_64");
        assert_eq!(said(&["x86_64", "aarch64"], "arm64"), "aarch64");
        assert_eq!(said(&["x86_64"], "aarch64"), "converge-abc need 1 Linux aarch64 gzip");
        assert_eq!(said(&["x86_64", "aarch64"], "mips"), "converge-abc need 1 Linux mips gzip");
    }

    #[test]
    fn one_agent_is_started_without_asking_what_the_host_is() {
        let one = AgentSet::from(arch("x86_64"));
        assert_eq!(started(&one, &["x86_64"], "x86_64"), ("x86_64".to_owned(), 0));
        assert_eq!(started(&one, &[], "x86_64"), ("converge-abc need 1 Linux x86_64 gzip".to_owned(), 2));
    }

    #[test]
    fn folders_of_root_are_searched_for_every_agent() {
        let both = AgentSet::new([Agent::new(BUILT, b"x".as_slice()), arch("aarch64")]);
        let line = Script { agents: &both, folders: &[], skip: 0, afresh: false, nonce: 1 }.line();
        let (root, other) =
            (r#"[ -O / ];then c="Linux/x86_64 Linux/aarch64";"#, "else c=$(uname -s)/$(uname -m);");
        assert!(line.contains(root) && line.contains(other), "{line}");
    }
}
