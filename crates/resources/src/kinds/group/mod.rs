//! `group`: a group with its number and, on request, exactly its members; or its absence.

#[cfg(test)]
mod tests;

use converge_model::{Change, Claim, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb};

use crate::access::Login;
use crate::actor::{Actor, ApplyError};
use crate::kind::{Depend, Kind, Planned};
use crate::kit::account_names::{self, locks_out, shown, sorted};
use crate::overlay::{Effect, PlannedGroup};
use crate::system::accounts::{AccountChange, GroupChange};
use crate::view::{LookError, Need, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct Group;

/// The desired group.
pub struct Wish {
    name: String,
    absent: bool,
    gid: Option<u32>,
    system: bool,
    members: Option<Vec<String>>,
}

/// The state of the host.
pub struct Found {
    group: Seen<PlannedGroup>,
    /// Whether only the name service knows the group.
    remote: bool,
    /// The name of another group with this number.
    taken: Option<String>,
    /// A user with this primary group.
    primary_of: Option<String>,
    login: Option<String>,
    members: Vec<Need>,
}

impl Kind for Group {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("group", "A group of users, with its number and its members")
            .details(
                "The kind manages groups in the host's own files. With `members` the group has exactly these \
                 members. Without `members`, the `groups` of the kind `user` set the membership. `members` \
                 does not count users whose primary group it is.\n\n\
                 The primary group of a user cannot be removed. To prevent a lock-out, no change removes the \
                 run's own login from `sudo`, `wheel` or `admin`.",
            )
            .param(Param::new("name", Type::Name, "Name.").argument(0).required())
            .param(
                Param::new("state", Type::Text, "Wanted state")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .param(
                Param::new(
                    "gid",
                    Type::Int,
                    "Numeric id; default: chosen by the host; existing files keep the old number",
                )
                .range(0, 4_294_967_293),
            )
            .param(Param::new("system", Type::Bool, "Create the group as a system group").default(false))
            .param(Param::list("members", Type::Name, "Exact list of members; default: unchanged"))
            .whole_system()
            .example("A group", "group \"operators\"")
            .example(
                "A group with a number and an exact list of members",
                "user \"ada\"\nuser \"grace\"\ngroup \"dba\" gid=2100 {\n    members \"ada\" \"grace\"\n}",
            )
            .example("A group to remove", "group \"games-night\" state=\"absent\"")
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        let wish = Wish {
            name: params.required_text("name"),
            absent: params.choice("state", &[("present", false), ("absent", true)]),
            gid: account_names::account_number(params, "gid"),
            system: params.flag("system").unwrap_or(false),
            members: params.has("members").then(|| sorted(&params.texts("members"))),
        };
        account_names::check_name(params, "name", &wish.name);
        for member in wish.members.iter().flatten() {
            account_names::check_name(params, "members", member);
        }
        if wish.absent && (wish.gid.is_some() || wish.members.is_some()) {
            params.problem(ParamProblem::together("an absent group must have neither `gid` nor `members`"));
        }
        wish
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        vec![Claim::named("group", &wish.name)]
    }

    fn owns(_: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        let number = wish.gid.filter(|_| !wish.absent).map(|gid| Claim::named("gid", gid.to_string()));
        Ok(Self::claims(wish).into_iter().chain(number).collect())
    }

    fn access(wish: &Wish, login: &Login) -> bool {
        login.is_member(&wish.name)
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let table = view.accounts()?;
        let owner = wish.gid.and_then(|gid| table.group_name(gid));
        let members = wish.members.iter().flatten().map(|member| view.need_user(member));
        Ok(Found {
            group: view.local_group(&wish.name)?,
            remote: view.is_remote_group(&wish.name)?,
            taken: owner.filter(|owner| *owner != wish.name).map(str::to_owned),
            primary_of: if wish.absent { view.primary_of(&wish.name)? } else { None },
            login: view.login(),
            members: members.collect::<Result<_, _>>()?,
        })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        match (wish.absent, &found.group) {
            (true, Seen::Absent | Seen::MayCome(_)) => Planned::InSync("it does not exist".to_owned()),
            (true, Seen::Known(group)) => remove(wish, found, group),
            (true, Seen::Unknown(steps)) => {
                let mut change = Change::new(Verb::Remove);
                change.depend("the group", steps);
                Planned::change(change)
            }
            (false, _) if found.remote => Planned::Impossible {
                message: "it comes from the network, not from the files of the host".to_owned(),
                help: Some("change it at its source, or choose another name".to_owned()),
            },
            (false, Seen::Known(group)) => update(wish, found, group),
            (false, _) => create(wish, found),
        }
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let group = (!wish.absent).then(|| {
            let before = found.group.clone().known();
            let known = before.is_some();
            let before = before.unwrap_or_default();
            let members = wish.members.clone().or(before.members);
            PlannedGroup { gid: wish.gid.or(before.gid), members: members.or((!known).then(Vec::new)) }
        });
        vec![Effect::Group(wish.name.clone(), group)]
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        let name = wish.name.clone();
        let asked = GroupChange { gid: wish.gid, system: wish.system, members: wish.members.clone() };
        actor.change_accounts(&match &found.group {
            _ if wish.absent => AccountChange::RemoveGroup { name },
            Seen::Known(group) => {
                let gid = asked.gid.filter(|gid| Some(*gid) != group.gid);
                let members = asked.members.filter(|_| members_differ(wish, group));
                AccountChange::ChangeGroup { name, group: GroupChange { gid, system: false, members } }
            }
            _ => AccountChange::AddGroup { name, group: asked },
        })
    }
}

fn remove(wish: &Wish, found: &Found, group: &PlannedGroup) -> Planned {
    if let Some(user) = &found.primary_of {
        return Planned::Impossible {
            message: format!("it is the primary group of {user}"),
            help: Some(format!("first give {user} another `group`, or remove the user")),
        };
    }
    if let Some(login) = loses(wish, found, group) {
        return locks_out(login, &format!("removing the group {}", wish.name));
    }
    let mut change = Change::new(Verb::Remove).property(PropertyChange::new(
        "gid",
        group.gid.map(|gid| gid.to_string()),
        Shown::Absent,
    ));
    let members = group.members.as_deref().unwrap_or_default();
    if !members.is_empty() {
        change.properties.push(PropertyChange::new("members", shown(members), Shown::Absent));
    }
    Planned::change(change)
}

fn update(wish: &Wish, found: &Found, group: &PlannedGroup) -> Planned {
    let mut change = Change::new(Verb::Update);
    if let Some(gid) = wish.gid.filter(|gid| Some(*gid) != group.gid) {
        if let Some(taken) = taken(found) {
            return taken;
        }
        let before = group.gid.map_or_else(unknown, |gid| Shown::Text(gid.to_string()));
        change.properties.push(PropertyChange::new("gid", before, gid.to_string()));
    }
    if members_differ(wish, group) {
        if let Some(login) = loses(wish, found, group) {
            return locks_out(login, &format!("removing {login} from the group {}", wish.name));
        }
        let before = group.members.as_deref().map_or_else(unknown, |members| Shown::Text(shown(members)));
        let after = shown(wish.members.as_deref().unwrap_or_default());
        change.properties.push(PropertyChange::new("members", before, after));
    }
    if change.properties.is_empty() {
        return Planned::InSync("number and members are as asked".to_owned());
    }
    Planned::change(change).given(found.members.iter().cloned())
}

fn create(wish: &Wish, found: &Found) -> Planned {
    if let Some(taken) = taken(found) {
        return taken;
    }
    let mut change = Change::new(Verb::Create);
    let gid = wish
        .gid
        .map_or_else(|| Shown::Unknown("the host chooses it".to_owned()), |gid| gid.to_string().into());
    change.properties.push(PropertyChange::new("gid", Shown::Absent, gid));
    if let Some(members) = &wish.members {
        change.properties.push(PropertyChange::new("members", Shown::Absent, shown(members)));
    }
    Planned::change(change).given(found.members.iter().cloned())
}

fn taken(found: &Found) -> Option<Planned> {
    let other = found.taken.as_ref()?;
    Some(Planned::impossible(format!("its number belongs to the group {other}")))
}

fn unknown() -> Shown {
    Shown::Unknown("an earlier step decides it".to_owned())
}

fn members_differ(wish: &Wish, group: &PlannedGroup) -> bool {
    let asked = wish.members.as_ref();
    asked.is_some_and(|asked| group.members.as_ref().is_none_or(|members| sorted(members) != *asked))
}

/// The current login, if it would lose a membership that makes it root.
fn loses<'a>(wish: &Wish, found: &'a Found, group: &PlannedGroup) -> Option<&'a str> {
    let login = found.login.as_deref().filter(|_| account_names::is_powerful(&wish.name))?;
    let stays = wish.members.iter().flatten().any(|member| member == login);
    let is = group.members.iter().flatten().any(|member| member == login);
    (is && !stays).then_some(login)
}
