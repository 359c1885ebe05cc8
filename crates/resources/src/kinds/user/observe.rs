//! Reads the account of a `user`, and the pattern of its home.

use std::path::{Path, PathBuf};
use std::time::{SystemTime, UNIX_EPOCH};

use super::Wish;
use super::home::{self, Skeleton};
use super::processes::{self, Process};
use crate::overlay::PlannedUser;
use crate::view::{LookError, Need, Seen, View};

/// The state of the host.
pub struct Found {
    /// The account with its properties.
    pub(super) account: Seen<PlannedUser>,
    /// Whether only the name service knows the account.
    pub(super) remote: bool,
    /// The name of another user with this number.
    pub(super) taken: Option<String>,
    /// Whether a group with the user's name exists or is planned.
    pub(super) own_group: bool,
    /// Whether the removal of the user also removes that group.
    pub(super) own_group_goes: bool,
    /// The desired home.
    pub(super) home: PathBuf,
    /// The pattern of the home, if one will be made.
    pub(super) new_home: Option<Skeleton>,
    /// The content of the old home, if the home moves.
    pub(super) moved: Option<Skeleton>,
    /// Whether the path of the desired home exists.
    pub(super) home_there: bool,
    /// Another user with the present home.
    pub(super) home_shared: Option<String>,
    /// The shell of a new user.
    pub(super) new_shell: String,
    /// Whether the passwords are readable.
    pub(super) shadow_readable: bool,
    pub(super) login: Option<String>,
    /// The processes of the user, if the change cannot happen while they run.
    pub(super) processes: Vec<Process>,
    /// The steps that may end the processes.
    pub(super) may_end: Seen<()>,
    /// The current day, in days since 1970-01-01.
    pub(super) today: i64,
    pub(super) needs: Vec<Need>,
}

/// The number of the account that owns no files.
const NOBODY_UID: u32 = 65534;

/// Reads the accounts. Reads the pattern of a home only if one will be made.
pub(super) fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
    let table = view.accounts()?;
    let account = view.account(&wish.name)?;
    let there = account.clone().known();
    let before = there.as_ref().and_then(|account| account.home.clone());
    let usual = || table.defaults.homes.join(&wish.name);
    let home = wish.home.clone().or_else(|| before.clone().map(PathBuf::from)).unwrap_or_else(usual);
    let home_there = matches!(view.place(&home)?, Seen::Known(_));
    let moves = wish.move_home && !wish.absent && !home_there;
    let moved = match before.as_deref().map(Path::new).filter(|before| moves && *before != home) {
        Some(before) => home::below(view, before, 2)?,
        None => None,
    };
    let makes = !wish.absent && !home_there && moved.is_none() && makes_home(view, wish, there.as_ref())?;
    let moves_account = wish.absent
        || wish.home.as_ref().is_some_and(|home| before.as_deref() != Some(&home.to_string_lossy()))
        || wish.uid.is_some_and(|uid| there.as_ref().and_then(|account| account.uid) != Some(uid));
    let number = there.as_ref().and_then(|account| account.uid).filter(|_| moves_account);
    let processes = match number {
        Some(number) => processes::of(view, number)?,
        None => Vec::new(),
    };
    let owner = wish.uid.and_then(|uid| table.user_name(uid));
    let shares = |account: &&str| *account != wish.name;
    let shared = table
        .users
        .iter()
        .filter(|(_, user)| Some(&user.home) == before.as_ref())
        .map(|(name, _)| name.as_str())
        .find(shares);
    Ok(Found {
        remote: view.is_remote_user(&wish.name)?,
        taken: owner.filter(|owner| *owner != wish.name).map(str::to_owned),
        own_group: matches!(view.group(&wish.name)?, Seen::Known(_) | Seen::Unknown(_)),
        own_group_goes: table.own_group_goes(&wish.name),
        new_home: if makes { Some(home::skeleton(view, &table.defaults)?) } else { None },
        moved,
        home_there,
        home_shared: shared.map(str::to_owned),
        new_shell: new_shell(view, wish)?,
        shadow_readable: table.shadow_readable,
        login: view.login(),
        processes,
        may_end: view.absent(),
        today: today(),
        needs: needs(view, wish, &home, makes)?,
        account,
        home,
    })
}

/// Whether a missing home is made. The default is yes, except for system accounts.
fn makes_home(view: &View<'_>, wish: &Wish, account: Option<&PlannedUser>) -> Result<bool, LookError> {
    let first = view.accounts()?.defaults.first_uid;
    let uid = wish.uid.or_else(|| account.and_then(|account| account.uid));
    let system = wish.system || uid.is_some_and(|uid| (uid < first && uid != 0) || uid == NOBODY_UID);
    Ok(wish.create_home.unwrap_or(!system))
}

/// The default shell of a new user.
fn new_shell(view: &View<'_>, wish: &Wish) -> Result<String, LookError> {
    if !wish.system {
        return Ok(view.accounts()?.defaults.shell.clone().unwrap_or_else(|| "/bin/sh".to_owned()));
    }
    for path in ["/usr/sbin/nologin", "/sbin/nologin"] {
        if let Seen::Known(_) = view.followed(Path::new(path))? {
            return Ok(path.to_owned());
        }
    }
    Ok("/bin/false".to_owned())
}

fn needs(view: &View<'_>, wish: &Wish, home: &Path, makes_home: bool) -> Result<Vec<Need>, LookError> {
    if wish.absent {
        return Ok(Vec::new());
    }
    let mut needs = Vec::new();
    for group in wish.group.iter().chain(wish.groups.iter().flatten()) {
        needs.push(view.need_group(group)?);
    }
    if let Some(shell) = wish.shell.as_deref().filter(|shell| !is_no_shell(shell)) {
        needs.push(Need::program(&view.program(shell)?, shell));
    }
    if makes_home {
        needs.push(view.need_folder(home.parent().unwrap_or(home))?);
    }
    Ok(needs)
}

/// Whether the shell refuses logins.
pub(super) fn is_no_shell(shell: &str) -> bool {
    matches!(shell.rsplit('/').next(), Some("nologin" | "false"))
}

fn today() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_secs() / 86_400).unwrap_or(i64::MAX)
}
