//! The plan of a `user`.

use converge_model::{Change, PropertyChange, Secret, Shown, Verb};

use super::observe::{Found, is_no_shell};
use super::{UpdatePassword, Wish};
use crate::kind::{Depend, Planned};
use crate::kit::account_names::{is_powerful, locks_out, shown, sorted};
use crate::kit::attributes::octal;
use crate::overlay::{Effect, PlannedGroup, PlannedUser};
use crate::system::accounts::{Expiry, Shadow, UserChange, unlocked};
use crate::view::{Need, Seen};

/// Plans the changes.
pub(super) fn plan(wish: &Wish, found: &Found) -> Planned {
    match (wish.absent, &found.account) {
        (true, Seen::Absent | Seen::MayCome(_)) => Planned::InSync("it does not exist".to_owned()),
        (true, Seen::Known(account)) => remove(wish, found, account),
        (true, Seen::Unknown(steps)) => {
            let mut change = Change::new(Verb::Remove);
            change.depend("the user", steps);
            Planned::change(change)
        }
        (false, _) if found.remote => Planned::Impossible {
            message: "it comes from the network, not from the files of the host".to_owned(),
            help: Some("change it at its source, or choose another name".to_owned()),
        },
        (false, Seen::Known(account)) => update(wish, found, account),
        (false, _) => create(wish, found),
    }
}

/// The properties to change. A new user gets all of them.
pub(super) fn asked(wish: &Wish, found: &Found) -> UserChange {
    let account = known(found);
    let before = account.clone().unwrap_or_default();
    let new = account.is_none();
    let other = |asked: &Option<String>, before: &Option<String>| {
        asked.clone().filter(|asked| Some(asked) != before.as_ref())
    };
    let own = || (new && found.own_group).then(|| wish.name.clone());
    let home = if new { Some(found.home.clone()) } else { wish.home.clone() };
    let home = home.filter(|home| Some(home.to_string_lossy().into_owned()) != before.home);
    let shell = wish.shell.clone().or_else(|| new.then(|| found.new_shell.clone()));
    let expires = before.shadow.as_ref().map(|shadow| shadow.expires);
    UserChange {
        uid: wish.uid.filter(|uid| Some(*uid) != before.uid),
        group: other(&wish.group, &before.group).or_else(own),
        groups: groups(wish, &before),
        comment: other(&wish.comment, &before.comment),
        move_home: found.moved.is_some() && home.is_some(),
        home,
        shell: other(&shell, &before.shell),
        system: new && wish.system,
        password: password(wish, before.shadow.as_ref(), new).map(Secret::new),
        expires: wish.expires.filter(|asked| Some(*asked) != expires),
    }
}

fn known(found: &Found) -> Option<PlannedUser> {
    found.account.clone().known()
}

/// The desired supplementary groups. None if they are in sync.
fn groups(wish: &Wish, before: &PlannedUser) -> Option<Vec<String>> {
    let asked = wish.groups.as_ref()?;
    let now = sorted(before.groups.as_deref().unwrap_or_default());
    let kept = now.iter().filter(|_| wish.append);
    let should = sorted(&kept.chain(asked).cloned().collect::<Vec<_>>());
    (should != now).then_some(should)
}

/// The desired password field: the hash, after the mark of a lock if there is one. None if it is in sync.
fn password(wish: &Wish, shadow: Option<&Shadow>, new: bool) -> Option<Vec<u8>> {
    let given = wish.password.as_ref().filter(|_| new || wish.update_password == UpdatePassword::Always);
    if given.is_none() && wish.locked.is_none() {
        return None;
    }
    let before = shadow.map_or(&b"!"[..], |shadow| shadow.password.expose());
    let was = (before.starts_with(b"!"), unlocked(before));
    let field = given.map_or(before, |given| given.expose());
    let hash = unlocked(field);
    let locked = wish.locked.unwrap_or_else(|| match given {
        // A new password does not remove a lock. An account that never had a password counts as not locked.
        Some(_) => field.starts_with(b"!") || (was.0 && !was.1.is_empty()),
        None => was.0,
    });
    // An empty field without a lock would allow a login without a password.
    let hash = if hash.is_empty() && !locked { b"*" } else { hash };
    (new || (locked, hash) != was).then(|| if locked { [b"!", hash].concat() } else { hash.to_vec() })
}

fn create(wish: &Wish, found: &Found) -> Planned {
    let asked = asked(wish, found);
    if let Some(taken) = taken(found) {
        return taken;
    }
    let mut change = Change::new(Verb::Create);
    let mut add =
        |name: &str, after: Shown| change.properties.push(PropertyChange::new(name, Shown::Absent, after));
    let chosen = || Shown::Unknown("the host chooses it".to_owned());
    add("uid", asked.uid.map_or_else(chosen, |uid| uid.to_string().into()));
    add("group", asked.group.clone().unwrap_or_else(|| wish.name.clone()).into());
    for (name, after) in properties(&asked, found) {
        add(name, after);
    }
    Planned::change(change).given(found.needs.iter().cloned())
}

/// The common properties of a change and a new user, with their new values.
fn properties(asked: &UserChange, found: &Found) -> Vec<(&'static str, Shown)> {
    let mut properties: Vec<(&'static str, Shown)> = Vec::new();
    let mut add = |name, after: Option<Shown>| properties.extend(after.map(|after| (name, after)));
    add("groups", asked.groups.as_deref().map(|groups| shown(groups).into()));
    add("comment", asked.comment.clone().map(Shown::Text));
    add("home", asked.home.as_ref().map(|home| home.display().to_string().into()));
    let home = |mode| Shown::Text(format!("{} ({})", found.home.display(), octal(mode)));
    let old = known(found).and_then(|account| account.home).filter(|_| asked.move_home);
    add("move-home", old.map(|old| format!("the content of {old} moves too").into()));
    add("create-home", found.new_home.as_ref().map(|skeleton| home(skeleton.mode())));
    add("shell", asked.shell.clone().map(Shown::Text));
    add("expires", asked.expires.map(|expires| expires.to_string().into()));
    properties
        .extend(password_properties(asked, known(found).as_ref()).map(|(name, _, after)| (name, after)));
    properties
}

/// The changes of the password field: the hash, the lock.
fn password_properties(
    asked: &UserChange,
    account: Option<&PlannedUser>,
) -> impl Iterator<Item = (&'static str, Shown, Shown)> + use<> {
    let field = asked.password.as_ref().map(|password| password.expose());
    let shadow = account.and_then(|account| account.shadow.as_ref());
    let hash = field.is_some_and(|field| match shadow {
        Some(shadow) => {
            let lifted = unlocked(field) == b"*" && shadow.unlocked().is_empty();
            unlocked(field) != shadow.unlocked() && !lifted
        }
        None => !unlocked(field).is_empty(),
    });
    let locked = field.map(|field| field.starts_with(b"!"));
    let before = shadow.map(Shadow::is_locked);
    let word = |locked: bool| Shown::Text(locked.to_string());
    let masked = if account.is_some() { Shown::Masked } else { Shown::Absent };
    let hash = hash.then_some(("password", masked, Shown::Masked));
    let lock = locked.filter(|locked| if account.is_some() { before != Some(*locked) } else { *locked });
    let lock = lock.map(|after| ("locked", before.map_or(Shown::Absent, word), word(after)));
    hash.into_iter().chain(lock)
}

fn update(wish: &Wish, found: &Found, account: &PlannedUser) -> Planned {
    if !found.shadow_readable && (wish.password.is_some() || wish.locked.is_some() || wish.expires.is_some())
    {
        return Planned::Impossible {
            message: "its password and expiry cannot be read".to_owned(),
            help: Some("only root can read them; write `become=\"sudo\"` in the connection".to_owned()),
        };
    }
    let asked = asked(wish, found);
    if let Some(impossible) = in_the_way(wish, found, account, &asked) {
        return impossible;
    }
    let mut change = Change::new(Verb::Update);
    let before = |name: &str| before(name, account);
    let numbers = [("uid", asked.uid.map(|uid| uid.to_string())), ("group", asked.group.clone())];
    for (name, after) in numbers {
        change.properties.extend(after.map(|after| PropertyChange::new(name, before(name), after)));
    }
    for (name, after) in properties(&asked, found) {
        change.properties.push(PropertyChange::new(name, before(name), after));
    }
    if change.properties.is_empty() {
        return Planned::InSync("all properties are as asked".to_owned());
    }
    if change.properties.iter().any(|property| property.property == "password") {
        change = change.irreversible("the password is sensitive and is not kept");
    }
    Planned::change(change).given(found.needs.iter().cloned().chain([ended(found)]))
}

fn before(name: &str, account: &PlannedUser) -> Shown {
    let shadow = account.shadow.as_ref();
    let text = match name {
        "uid" => account.uid.map(|uid| uid.to_string()),
        "group" => account.group.clone(),
        "groups" => account.groups.as_deref().map(shown),
        "comment" => account.comment.clone(),
        "home" => account.home.clone(),
        "shell" => account.shell.clone(),
        "expires" => shadow.map(|shadow| shadow.expires.to_string()),
        "locked" => shadow.map(|shadow| shadow.is_locked().to_string()),
        "password" => return Shown::Masked,
        _ => None,
    };
    text.into()
}

fn taken(found: &Found) -> Option<Planned> {
    let other = found.taken.as_ref()?;
    Some(Planned::impossible(format!("its number belongs to the user {other}")))
}

/// The reason why an existing user cannot be changed like this.
fn in_the_way(wish: &Wish, found: &Found, account: &PlannedUser, asked: &UserChange) -> Option<Planned> {
    if asked.uid.is_some()
        && let Some(taken) = taken(found)
    {
        return Some(taken);
    }
    if wish.move_home && asked.home.is_some() && found.home_there {
        return Some(Planned::Impossible {
            message: format!("its home cannot move: {} already exists", found.home.display()),
            help: Some("remove it, or leave `move-home` out".to_owned()),
        });
    }
    if let Some(login) = found.login.as_deref().filter(|login| *login == wish.name)
        && let Some(how) = lockout(found, account, asked)
    {
        return Some(locks_out(login, how));
    }
    let moves = asked.uid.is_some() || asked.home.is_some();
    if moves { busy(found, "its number and its home cannot change") } else { None }
}

/// Refuses the change while the user has processes, unless an earlier step may end them.
fn busy(found: &Found, what: &str) -> Option<Planned> {
    if found.processes.is_empty() || !matches!(found.may_end, Seen::Absent) {
        return None;
    }
    let mut shown: Vec<_> = found.processes.iter().take(5).map(|process| process.shown.clone()).collect();
    if found.processes.len() > shown.len() {
        shown.push(format!("{} more", found.processes.len() - shown.len()));
    }
    let help = match found.processes.iter().find_map(|process| process.service.as_deref()) {
        Some(service) => format!("first stop them: `service \"{service}\" running=#false`"),
        None => "end them, or let an earlier step do so".to_owned(),
    };
    Some(Planned::Impossible {
        message: format!("{what} while it has processes: {}", shown.join(", ")),
        help: Some(help),
    })
}

/// The need for the end of the user's processes.
fn ended(found: &Found) -> Need {
    match &found.may_end {
        Seen::MayCome(steps) if !found.processes.is_empty() => {
            Need::MayCome { what: "the end of its processes".to_owned(), steps: steps.clone() }
        }
        _ => Need::Met,
    }
}

/// How the change would lock out the login of the run. None if it would not.
fn lockout(found: &Found, account: &PlannedUser, asked: &UserChange) -> Option<&'static str> {
    let shadow = account.shadow.as_ref();
    let locks = asked.password.as_ref().is_some_and(|field| field.expose().starts_with(b"!"));
    if locks && !shadow.is_some_and(Shadow::is_locked) {
        return Some("locking it");
    }
    if asked.expires.is_some_and(|expires| matches!(expires, Expiry::Day(day) if day <= found.today)) {
        return Some("closing it");
    }
    if asked.shell.as_deref().is_some_and(is_no_shell) {
        return Some("removing its shell");
    }
    let stays = |group: &String| asked.groups.as_ref().is_none_or(|groups| groups.contains(group));
    let powerful = |group: &&String| is_powerful(group);
    if !account.groups.iter().flatten().filter(powerful).all(stays) {
        return Some("removing it from the group that makes it root");
    }
    let moves = asked.uid.is_some() || asked.home.is_some();
    moves.then_some("another number or home")
}

fn remove(wish: &Wish, found: &Found, account: &PlannedUser) -> Planned {
    if found.login.as_deref() == Some(&wish.name) {
        return locks_out(&wish.name, "removing it");
    }
    if account.uid == Some(0) {
        return Planned::impossible("the user is root");
    }
    if let Some(busy) = busy(found, "it cannot be removed") {
        return busy;
    }
    let mut change = Change::new(Verb::Remove);
    let uid = account.uid.map(|uid| uid.to_string());
    change.properties.push(PropertyChange::new("uid", uid, Shown::Absent));
    if wish.remove_home && found.home_there {
        if let Some(impossible) = home_must_stay(found) {
            return impossible;
        }
        change.properties.push(PropertyChange::new("home", account.home.clone(), Shown::Absent));
        change = change.irreversible("the content of its home is not kept");
    }
    Planned::change(change).given([ended(found)])
}

/// The reason why a home must not be removed: another user has it, or it is a system folder.
fn home_must_stay(found: &Found) -> Option<Planned> {
    let home = found.home.display();
    let why = match &found.home_shared {
        Some(other) => format!("its home {home} is also the home of {other}"),
        None if found.home.components().count() < 3 => format!("its home {home} is a system folder"),
        None => return None,
    };
    Some(Planned::Impossible { message: why, help: Some("leave `remove-home` out".to_owned()) })
}

/// The effects for later steps.
pub(super) fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
    let name = || wish.name.clone();
    if wish.absent {
        let group = found.own_group_goes.then(|| Effect::Group(name(), None));
        let home = (wish.remove_home && found.home_there).then(|| Effect::Path(found.home.clone(), None));
        return [Effect::User(name(), None)].into_iter().chain(group).chain(home).collect();
    }
    let asked = asked(wish, found);
    let before = known(found);
    let new_group = before.is_none() && asked.group.is_none();
    let group =
        new_group.then(|| Effect::Group(name(), Some(PlannedGroup { gid: None, members: Some(Vec::new()) })));
    let user = after(wish, before.unwrap_or_default(), asked);
    let owner = user.group.clone().unwrap_or_else(name);
    let home =
        found.new_home.iter().flat_map(|skeleton| skeleton.effects(&found.home, Some((&wish.name, &owner))));
    let moved = found.moved.iter().flat_map(|old| {
        let gone = known(found).and_then(|account| account.home).map(|home| Effect::Path(home.into(), None));
        gone.into_iter().chain(old.effects(&found.home, None))
    });
    group.into_iter().chain(home).chain(moved).chain([Effect::User(name(), Some(user.clone()))]).collect()
}

/// The user after the change.
fn after(wish: &Wish, before: PlannedUser, asked: UserChange) -> PlannedUser {
    let new = before.uid.is_none() && before.group.is_none();
    let usual = before.shadow.clone().unwrap_or_else(|| Shadow {
        password: Secret::new("!"),
        min_days: None,
        max_days: None,
        warn_days: None,
        expires: Expiry::Never,
    });
    let shadow = Shadow {
        password: asked.password.unwrap_or_else(|| usual.password.clone()),
        expires: asked.expires.unwrap_or(usual.expires),
        ..usual
    };
    PlannedUser {
        uid: asked.uid.or(before.uid),
        group: asked.group.or(before.group).or_else(|| Some(wish.name.clone())),
        home: asked.home.map(|home| home.to_string_lossy().into_owned()).or(before.home),
        groups: asked.groups.or(before.groups).or_else(|| new.then(Vec::new)),
        comment: asked.comment.or(before.comment).or_else(|| new.then(String::new)),
        shell: asked.shell.or(before.shell),
        shadow: Some(shadow),
    }
}
