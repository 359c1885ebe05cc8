//! `authorized-key`: public keys for the login of a user, in the user's `authorized_keys`.

mod key;
mod observe;
mod plan;
#[cfg(test)]
mod tests;

use std::path::{Path, PathBuf};

use converge_model::{Claim, Extent, KindSchema, Param, ParamProblem, Type};

use crate::access::Login;
use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::account_names::check_name;
use crate::overlay::Effect;
use crate::view::{LookError, View};
use crate::wish::Reader;
use key::{Goal, Key, Keys};

/// The kind.
pub struct AuthorizedKey;

/// The desired keys of the file.
pub struct Wish {
    user: String,
    keys: Vec<Key>,
    options: Option<String>,
    goal: Goal,
    /// The file. None: the usual file in the user's home.
    path: Option<PathBuf>,
}

impl Kind for AuthorizedKey {
    type Wish = Wish;
    type Found = observe::Found;

    fn schema() -> KindSchema {
        let text = |name: &str, doc: &str| Param::new(name, Type::Text, doc);
        KindSchema::new("authorized-key", "Public keys that can log in as a user")
            .details(
                "Converge identifies a key by the key itself. A key with another comment or other options \
                 stays unchanged, unless you set `options`. `~/.ssh` gets mode 0700, the file mode 0600, and \
                 both belong to the user. A file elsewhere gets mode 0644 and belongs to root; its directory \
                 must exist.\n\n\
                 Converge does not follow links that the user made. To prevent a lock-out, it does not remove \
                 the last key of the user whose login the run uses.",
            )
            .param(Param::new("user", Type::Name, "User of the account").argument(0).required())
            .param(text("state", "Wanted state of the keys").one_of(&["present", "absent"]).default("present"))
            .param(Param::list("key", Type::Text, "Keys, each a line as `ssh-keygen` writes it").required())
            .param(text("options", "Options of each key, or empty for none: `from=\"10.0.0.0/8\",no-pty`; default: unchanged"))
            .param(
                Param::new("exclusive", Type::Bool, "Remove all other keys and lines from the file").default(false),
            )
            .param(Param::new("path", Type::Path, "File of the keys; default: `.ssh/authorized_keys` in the home of the user"))
            .example(
                "A key of a user",
                "user \"ada\"\nauthorized-key \"ada\" {\n    key \"ssh-ed25519 \
                 AAAAC3NzaC1lZDI1NTE5AAAAIOMqqnkVzrm0SdG6UOoqKLsabgH5C9okWi0dh2l9GKJl ada@example.com\"\n}",
            )
            .example(
                "Exactly one key, valid for one network",
                "user \"sync-in\"\nauthorized-key \"sync-in\" exclusive=#true options=#\"from=\"10.0.0.0/8\",no-pty\"# {\n    key \"ssh-ed25519 \
                 AAAAC3NzaC1lZDI1NTE5AAAAIGQw7sU0xG3Qx2o6o4r0eGd1P3M1lq3x5n5aF7y2hJ7w sync\"\n}",
            )
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let user = params.required_text("user");
        check_name(params, "user", &user);
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let exclusive = params.flag("exclusive").unwrap_or(false);
        if absent && (exclusive || params.has("options")) {
            params.problem(ParamProblem::together("absent keys must have neither `options` nor `exclusive`"));
        }
        let options = params.text("options");
        if let Some(Err(why)) = options.as_deref().map(key::check_options) {
            let options = options.as_deref().unwrap_or_default();
            let problem = ParamProblem::new("options", format!("{options:?} {why}"));
            params.problem(problem.help("write them as sshd reads them: `from=\"10.0.0.0/8\",no-pty`"));
        }
        let goal = match (absent, exclusive) {
            (true, _) => Goal::Absent,
            (false, true) => Goal::Exclusive,
            (false, false) => Goal::Present,
        };
        Wish { user, keys: keys(params), options, goal, path: params.optional_path("path") }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        claims_at(wish, &wish.path.clone().unwrap_or_else(|| usual_path(&wish.user)))
    }

    fn owns(view: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        let path = match (&wish.path, view.home(&wish.user)?.known()) {
            (None, Some(home)) => home.join(".ssh/authorized_keys"),
            _ => wish.path.clone().unwrap_or_else(|| usual_path(&wish.user)),
        };
        Ok(claims_at(wish, &view.resolved(&path)?))
    }

    fn suffix(wish: &Wish) -> Option<String> {
        let (first, more) = wish.keys.split_first()?;
        let more = if more.is_empty() { String::new() } else { format!(" and {} more", more.len()) };
        Some(first.label() + &more)
    }

    /// If no file of the host has the home of the login, the path of its keys is unknown as well.
    fn access(wish: &Wish, login: &Login) -> bool {
        login.is_of(&wish.user) || login.depends_on(&Self::claims(wish))
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<observe::Found, LookError> {
        observe::observe(view, wish)
    }

    fn plan(wish: &Wish, found: &observe::Found) -> Planned {
        plan::plan(wish, found)
    }

    fn effects(wish: &Wish, found: &observe::Found) -> Vec<Effect> {
        plan::effects(wish, found)
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &observe::Found) -> Result<(), ApplyError> {
        plan::apply(actor, wish, found)
    }
}

/// The claims on keys in the file at `path`.
fn claims_at(wish: &Wish, path: &Path) -> Vec<Claim> {
    let path = path.to_string_lossy();
    match wish.goal {
        Goal::Exclusive => vec![Claim::path(path, Extent::Whole)],
        Goal::Present | Goal::Absent => {
            wish.keys.iter().map(|key| Claim::path(path.clone(), part(key))).collect()
        }
    }
}

/// The part of a key file for this line. A resource of this kind would claim it.
pub fn part_of(line: &str) -> Option<Extent> {
    Key::given(line).ok().map(|key| part(&key))
}

fn part(key: &Key) -> Extent {
    Extent::Part(format!("key:{}", key.fingerprint()))
}

impl Wish {
    fn keys(&self) -> Keys<'_> {
        Keys { keys: &self.keys, options: self.options.as_deref(), goal: self.goal }
    }
}

/// The keys of the parameters. A repeated key is an error.
fn keys(params: &mut Reader<'_>) -> Vec<Key> {
    let mut keys: Vec<Key> = Vec::new();
    for text in params.several_lines(|params| params.texts("key")) {
        match Key::given(&text) {
            Ok(key) if keys.iter().any(|known| known.blob == key.blob) => {
                params.problem(ParamProblem::new("key", format!("names {} twice", key.label())));
            }
            Ok(key) => keys.push(key),
            Err(why) => {
                let start: String = text.chars().take(40).collect();
                params.problem(ParamProblem::new("key", format!("{start:?} {why}")));
            }
        }
    }
    if !params.has("key") {
        params.problem(ParamProblem::new("key", "is missing"));
    }
    keys
}

/// The usual path of a user's keys. It is claimed while the home is unknown.
fn usual_path(user: &str) -> PathBuf {
    let home = if user == "root" { PathBuf::from("/root") } else { Path::new("/home").join(user) };
    home.join(".ssh/authorized_keys")
}
