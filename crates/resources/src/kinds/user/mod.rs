//! `user`: an account with its groups, its home, its shell and its password; or its absence.

mod apply;
mod home;
mod observe;
mod plan;
mod processes;
#[cfg(test)]
mod tests;

use std::path::PathBuf;

use converge_model::{Claim, KindSchema, Param, ParamProblem, Type};

use crate::access::Login;
use crate::actor::{Actor, ApplyError};
use crate::kind::{Kind, Planned};
use crate::kit::account_names::{account_number, check_name, sorted};
use crate::overlay::Effect;
use crate::system::accounts::Expiry;
use crate::view::{LookError, View};
use crate::wish::{Reader, Text, normal_path};

/// The kind.
pub struct User;

/// The desired user. None: the property stays as it is, or the host chooses it.
pub struct Wish {
    name: String,
    absent: bool,
    uid: Option<u32>,
    group: Option<String>,
    groups: Option<Vec<String>>,
    /// Whether the user keeps groups that are not named.
    append: bool,
    comment: Option<String>,
    home: Option<PathBuf>,
    create_home: Option<bool>,
    move_home: bool,
    remove_home: bool,
    shell: Option<String>,
    password: Option<Text>,
    update_password: UpdatePassword,
    locked: Option<bool>,
    expires: Option<Expiry>,
    system: bool,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum UpdatePassword {
    Always,
    OnCreate,
}

impl Kind for User {
    type Wish = Wish;
    type Found = observe::Found;

    const RESTORED_WHOLE: bool = true;

    fn schema() -> KindSchema {
        let text = |name: &str, doc: &str| Param::new(name, Type::Text, doc);
        let flag = |name: &str, doc: &str| Param::new(name, Type::Bool, doc);
        KindSchema::new("user", "A user, with its groups, home, shell and password")
            .details(
                "The kind manages users in the host's own files. Properties that you do not set stay \
                 unchanged. A new user gets a group of the same name, a home in `/home` with the content of \
                 `/etc/skel`, and the host's default shell.\n\n\
                 A new user without `password` cannot log in with a password; use keys (`authorized-key`). A \
                 password is a crypt hash (`mkpasswd`, `openssl passwd -6`), never plain text. Converge never \
                 shows it, and passes it to the host's programs over their input.\n\n\
                 To prevent a lock-out, Converge never removes or locks the user whose login the run uses, and \
                 never removes it from `sudo`, `wheel` or `admin`. A user with running processes cannot be \
                 removed, and cannot get another number or home. This is an error of the plan, which names the \
                 processes. An earlier step may stop their service.",
            )
            .param(Param::new("name", Type::Name, "Name.").argument(0).required())
            .param(text("state", "Wanted state").one_of(&["present", "absent"]).default("present"))
            .param(Param::new("uid", Type::Int, "Numeric id; default: chosen by the host").range(0, 4_294_967_293))
            .param(Param::new("group", Type::Name, "Primary group; default: one with the name of the user"))
            .param(Param::list("groups", Type::Name, "Supplementary groups of the user"))
            .param(flag("append", "Keep other groups; if false, the user has exactly the groups in `groups`").default(true))
            .param(text("comment", "Full name or description"))
            .param(Param::new("home", Type::Path, "Home directory; default for a new user: `/home/NAME`"))
            .param(flag("create-home", "Create a missing home; default: true; for a system account, false"))
            .param(flag("move-home", "Move the content of the old home to a new `home`").default(false))
            .param(flag("remove-home", "Also remove the home of an absent user").default(false))
            .param(Param::new("shell", Type::Path, "Login shell; default for a new user: the host's default; for a system account, `nologin`"))
            .param(text("password", "Password as a crypt hash, or `*` for no password; may be a secret"))
            .param(
                text("update-password", "Set `password` in every run, or only for a new user")
                    .one_of(&["always", "on-create"])
                    .default("always"),
            )
            .param(flag("locked", "Lock the password; keys still work (see `expires`); default: unchanged"))
            .param(text("expires", "Last day of the account: `\"2026-12-31\"` or `\"never\"`; later, neither password nor key works"))
            .param(flag("system", "Create a new account as a system account: no home, no shell").default(false))
            .whole_system()
            .example(
                "A user who works on the host",
                "group \"operators\"\nuser \"ada\" groups=\"operators\" shell=\"/bin/bash\" comment=\"Ada\"",
            )
            .example("An account for a service", "user \"shop\" system=#true home=\"/srv/shop\"")
            .example(
                "An account with a password and a last day",
                "user \"guest\" update-password=\"on-create\" expires=\"2099-12-31\" {\n    \
                 password \"$6$abcdefgh$NqWgdWSuwk7CHmdUQ9TVjDBjGSTHBKtCIkuGMVyHOoPNi4zIKVCCCKyJ1xKlGtiVyqZEaOMvDbDVCUNKoQbgl1\"\n}",
            )
            .example("An account to remove", "user \"mallory\" state=\"absent\" remove-home=#true")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            name: params.required_text("name"),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            uid: account_number(params, "uid"),
            group: params.text("group"),
            groups: params.has("groups").then(|| sorted(&params.texts("groups"))),
            append: params.flag("append").unwrap_or(true),
            comment: params.text("comment"),
            home: params.optional_path("home"),
            create_home: params.flag("create-home"),
            move_home: params.flag("move-home").unwrap_or(false),
            remove_home: params.flag("remove-home").unwrap_or(false),
            shell: params.text("shell"),
            password: params.maybe_secret("password"),
            update_password: params.choice(
                "update-password",
                &[("always", UpdatePassword::Always), ("on-create", UpdatePassword::OnCreate)],
            ),
            locked: params.flag("locked"),
            expires: expires(params),
            system: params.flag("system").unwrap_or(false),
        };
        check(params, &wish);
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::named("user", &wish.name)]
    }

    fn owns(_: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        // To the kernel, two names with one number are the same user.
        let number = wish.uid.filter(|_| !wish.absent).map(|uid| Claim::named("uid", uid.to_string()));
        Ok(Self::claims(wish).into_iter().chain(number).collect())
    }

    fn access(wish: &Wish, login: &Login) -> bool {
        login.needs_account(&wish.name)
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
        apply::apply(actor, wish, found)
    }
}

fn expires(params: &mut Reader<'_>) -> Option<Expiry> {
    let written = params.text("expires")?;
    let expiry = Expiry::parse(&written);
    if expiry.is_none() {
        let problem = ParamProblem::new("expires", format!("{written:?} must be a date or `never`"));
        params.problem(problem.help("write a date as `\"2026-12-31\"`"));
    }
    expiry
}

/// Reports problems that the parameter types cannot express.
fn check(params: &mut Reader<'_>, wish: &Wish) {
    check_name(params, "name", &wish.name);
    for group in wish.groups.iter().flatten() {
        check_name(params, "groups", group);
    }
    if let Some(group) = &wish.group {
        check_name(params, "group", group);
    }
    let fields = [("comment", wish.comment.as_deref()), ("shell", wish.shell.as_deref())];
    let home = wish.home.as_ref().map(|home| home.to_string_lossy());
    for (param, value) in fields.into_iter().chain([("home", home.as_deref())]) {
        if value.is_some_and(|value| value.contains(|c: char| c == ':' || c.is_control())) {
            params.problem(ParamProblem::new(
                param,
                "must not contain a colon or a control character: /etc/passwd cannot store it",
            ));
        }
    }
    if wish.shell.as_ref().is_some_and(|shell| normal_path(shell).is_none()) {
        params.problem(ParamProblem::new("shell", "must be an absolute path"));
    }
    if wish.password.as_ref().is_some_and(|password| !is_hash(password.expose())) {
        let problem = ParamProblem::new("password", "must be a crypt hash");
        params.problem(problem.help("make one with `openssl passwd -6` or `mkpasswd`"));
    }
    if !wish.append && wish.groups.is_none() {
        params.problem(ParamProblem::new("append", "must not be false without `groups`"));
    }
    if wish.move_home && wish.home.is_none() {
        params.problem(ParamProblem::new("move-home", "must not be set without `home`"));
    }
    if wish.remove_home && !wish.absent {
        params.problem(ParamProblem::new("remove-home", "must not be set without `state=\"absent\"`"));
    }
}

/// Whether a text is valid in the password field of shadow(5). A check has no secrets and reads them as empty texts.
fn is_hash(field: &[u8]) -> bool {
    let hash = crate::system::accounts::unlocked(field);
    let shape = field.is_empty()
        || hash.is_empty()
        || hash == b"*"
        || hash.starts_with(b"$")
        || hash.starts_with(b"_");
    shape && !field.iter().any(|byte| *byte == b':' || byte.is_ascii_control() || byte.is_ascii_whitespace())
}
