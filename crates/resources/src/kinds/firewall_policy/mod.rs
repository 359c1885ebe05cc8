//! `firewall-policy`: the packet filter policy of a host, replaced as a whole in one step.
//!
//! The rules are data of [`policy`](crate::system::firewall::policy), which `rows` reads. The back ends of
//! [`firewall`] know the packet filters and their commands. [`rendered_file`] writes the file that keeps the policy
//! over a boot. The module `firewall` loads that file at boot.

mod rows;

use std::path::{Path, PathBuf};

use converge_model::{
    Change, Claim, Digest, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::access::{Login, Peer, Visit};
use crate::actor::{Actor, ApplyError, Attributes};
use crate::diff;
use crate::kind::{Kind, Planned};
use crate::kit::parent_folder::{self, NewFolder};
use crate::kit::programs;
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::firewall::{self, Firewall, lockout::Admission, policy::Policy};
use crate::system::receipts::Receipt;
use crate::view::{Base, LookError, Need, Seen, View};
use crate::wish::Reader;

/// The kind.
pub struct FirewallPolicy;

/// The desired policy.
pub enum Wish {
    /// No policy.
    Absent,
    /// These rules.
    Policy(Box<Policy>),
    /// Rules in the syntax of nftables.
    Own(String),
}

/// The state of the host.
pub struct Found {
    /// The packet filter of the host.
    filter: &'static dyn Firewall,
    /// The desired file on this host. Without a text there should be no policy.
    wanted: Rendered,
    file: rendered_file::Found,
    folder: Option<NewFolder>,
    program: Need,
    /// The policy in force, as listed by the filter. None if there is none.
    live: Option<String>,
    receipt: Option<Receipt>,
    /// Whether the policy is unchanged since its apply, or an earlier step will make it so.
    applied: bool,
    /// The reason why the policy cannot be in force.
    refusal: Option<String>,
}

impl Kind for FirewallPolicy {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        let schema = KindSchema::new("firewall-policy", "The whole packet filter policy of the host")
            .details(DETAILS)
            .param(Param::new("name", Type::Name, "Name of the only policy of the host").argument(0).required().one_of(&["converge"]))
            .param(Param::new("rules", Type::Text, "Whole policy in the syntax of nftables, instead of all other parameters; Converge does not read it"))
            .param(
                Param::new("state", Type::Text, "Wanted state of the policy")
                    .one_of(&["present", "absent"])
                    .default("present"),
            );
        rows::describe(schema)
            .example(
                "Access to ssh from anywhere, to the database from one network",
                "package \"nftables\"\nfirewall-policy \"converge\" {\n    service \"ssh\" tcp=22\n    rule \"limit\" service=\"ssh\" rate=\"30/minute\"\n    rule \"accept\" tcp=5432 from=\"10.0.0.0/8\"\n}",
            )
            .example(
                "A policy in the syntax of nftables",
                "package \"nftables\"\nfirewall-policy \"converge\" {\n    rules \"\"\"\n        chain input {\n            type filter hook input priority filter; policy drop;\n            ct state established,related accept\n            iif \"lo\" accept\n            meta l4proto { icmp, icmpv6 } accept\n            tcp dport 22 accept\n        }\n        \"\"\"\n}",
            )
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        params.required_text("name");
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let own = params.several_lines(|params| params.text("rules"));
        let has_policy = rows::has_policy(params);
        let policy = rows::policy(params);
        let says_more = rows::says_more(params, &policy);
        match own {
            None if absent && !says_more => Wish::Absent,
            Some(_) if absent => {
                params.problem(ParamProblem::new("rules", "must not be set for an absent policy"));
                Wish::Absent
            }
            None if absent => {
                params.problem(ParamProblem::together("an absent policy must not have rules"));
                Wish::Absent
            }
            Some(rules) => {
                if says_more {
                    params.problem(ParamProblem::new(
                        "rules",
                        "must not be set together with other parts of a policy",
                    ));
                }
                if !firewall::stays_inside(&rules) {
                    params.problem(
                        ParamProblem::new("rules", "must stay inside its table").help(rows::BALANCE),
                    );
                }
                Wish::Own(rules)
            }
            None => {
                if !has_policy {
                    let help = "write `rule` for each rule, or `rules` in the syntax of nftables";
                    params.problem(ParamProblem::new("rules", "is missing").help(help));
                }
                Wish::Policy(Box::new(policy))
            }
        }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        claims_of(wish, firewall::backends::DEFAULT)
    }

    fn owns(view: &View<'_>, wish: &Wish) -> Result<Vec<Claim>, LookError> {
        Ok(claims_of(wish, view.firewall()))
    }

    fn access(_: &Wish, _: &Login) -> bool {
        true
    }

    fn warns(wish: &Wish, _: &Change, visit: Visit<'_>) -> Option<String> {
        let peer = (!matches!(wish, Wish::Absent)).then(visit.peer)??;
        let Peer { from, port, .. } = &peer;
        let run = format!("this run from {from} at port {port}");
        match wish {
            Wish::Absent => None,
            Wish::Own(_) => Some(format!(
                "Converge does not read rules in the syntax of nftables: they may not let in {run}"
            )),
            Wish::Policy(policy) => match policy.admits(&peer) {
                Admission::In | Admission::Unknown => None,
                Admission::Out => Some(format!("no rule lets in {run}")),
                Admission::OnlyRaw => {
                    Some(format!("only raw rules, which Converge does not read, may let in {run}"))
                }
            },
        }
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let filter = view.firewall();
        let wanted = match rendered(wish, filter) {
            Some(wanted) => wanted,
            None => return Err(LookError::Other(foreign(filter))),
        };
        let mut file = rendered_file::observe(view, &wanted)?;
        let folder = match wanted.text {
            Some(_) => Some(parent_folder::observe(view, Path::new(filter.file().0))?),
            None => None,
        };
        if folder.is_some() {
            file = file.without_folder();
        }
        let program = programs::need(view, filter.program())?;
        let live = live(view, filter)?;
        let receipt = view.receipt(&policy().key())?;
        let applied = view.is_touched(&wanted.path) || is_applied(&wanted, live.as_deref(), receipt.as_ref());
        let refusal = match &wanted.text {
            Some(text) if !applied => refusal(view, filter, text)?,
            _ => None,
        };
        Ok(Found { filter, wanted, file, folder, program, live, receipt, applied, refusal })
    }

    fn plan(_: &Wish, found: &Found) -> Planned {
        let wanted = &found.wanted;
        if let Some(refusal) = &found.refusal {
            let help = Some("correct the rule in this message".to_owned());
            let program = found.filter.program();
            return Planned::Impossible { message: format!("{program} refuses the policy: {refusal}"), help };
        }
        let folder = found.folder.iter().map(|folder| folder.need.clone());
        let planned = rendered_file::plan(wanted, &found.file).given(folder);
        if found.applied {
            return match planned {
                Planned::InSync(_) => {
                    Planned::InSync("the policy is unchanged since it was applied".to_owned())
                }
                other => other,
            };
        }
        planned.also(verb(wanted, found), rules(wanted, found)).given([found.program.clone()])
    }

    fn effects(_: &Wish, found: &Found) -> Vec<Effect> {
        let folder = found.folder.iter().filter_map(NewFolder::effect);
        folder.chain(rendered_file::effects(&found.wanted, &found.file)).collect()
    }

    fn apply(actor: &mut Actor<'_>, _: &Wish, found: &Found) -> Result<(), ApplyError> {
        let (filter, wanted) = (found.filter, &found.wanted);
        found.folder.iter().try_for_each(|folder| folder.make(actor))?;
        if !rendered_file::plan(wanted, &found.file).is_in_sync() {
            rendered_file::apply(actor, wanted, &found.file)?;
        }
        if found.applied {
            return Ok(());
        }
        // Note the command that restores the old policy first: the new one may cut the host off at once.
        actor.keep_command(filter.restore(found.live.as_deref()))?;
        actor.run(&filter.load(wanted.text.as_deref()))?;
        let receipt = match &wanted.text {
            Some(text) => Some(receipt(actor, filter, text)?),
            None => None,
        };
        actor.set_receipt(&policy().key(), receipt.as_ref())
    }
}

const DETAILS: &str = "\
The module `firewall` writes the rules from names and needs fewer parameters.

A policy belongs to Converge; it does not touch other policies. With nftables, the policy is the table `inet \
converge`, with its own chains for NAT. The tables of Docker, fail2ban and /etc/nftables.conf stay unchanged. Converge \
checks a new policy in the plan, and again before it writes anything. The new policy replaces the old one in one step, \
so the host is never without a policy. Open connections stay if the rules accept `ct state established`, as the rules \
of `rule` do.

nftables does not list a policy as it was written. So a receipt on the host keeps the list of the rules, made right \
after the apply. If another user or program flushes or edits the policy, the plan shows the changed rules, and an \
apply restores them. Counters do not count as changes, nor do the addresses of rate limits.

A policy can cause a lock-out, so its step is guarded: the host reverts it unless a new login works. The plan also \
warns if no rule accepts the run's own connection. Converge does not read `rules` and `raw` for this check, because \
they are in the syntax of nftables.

The policy is in a file below /etc/converge. The unit of the module loads it at boot.";

/// The reason why this host cannot have a policy in the syntax of nftables.
fn foreign(filter: &dyn Firewall) -> String {
    format!("`rules` and `raw` need nftables, but this host has {}", filter.name())
}

fn policy() -> Claim {
    Claim::named("firewall", "policy")
}

fn claims_of(wish: &Wish, filter: &dyn Firewall) -> Vec<Claim> {
    let (folder, name) = filter.file();
    let is_absent = matches!(wish, Wish::Absent);
    let extent = if is_absent { Extent::Absence } else { Extent::Whole };
    let mut claims = vec![policy(), Claim::path(path(filter).to_string_lossy(), extent)];
    if !is_absent {
        claims.push(Claim::path(folder, Extent::Part(name.to_owned())));
    }
    claims
}

fn path(filter: &dyn Firewall) -> PathBuf {
    let (folder, name) = filter.file();
    Path::new(folder).join(name)
}

/// The file of the policy on a host with this filter. None if the filter does not understand the rules.
fn rendered(wish: &Wish, filter: &dyn Firewall) -> Option<Rendered> {
    let text = match wish {
        Wish::Absent => None,
        // Raw rules are in the syntax of nftables.
        Wish::Policy(policy) if !policy.raw.is_empty() && filter.render_own("").is_none() => return None,
        Wish::Policy(policy) => Some(filter.render(policy)),
        Wish::Own(rules) => Some(filter.render_own(rules)?),
    };
    let check = filter.check_file().iter().map(|word| (*word).to_owned());
    Some(Rendered {
        path: path(filter),
        validate: check.filter(|_| text.is_some()).collect(),
        text: text.map(String::into_bytes),
        attributes: Attributes { mode: Some(0o600), ..Attributes::default() },
        secret: false,
    })
}

/// The policy in force, without counters and other values that change on their own. None if there is none, or if the
/// program is missing.
fn live(view: &View<'_>, filter: &dyn Firewall) -> Result<Option<String>, LookError> {
    match view.ask(&filter.list())? {
        Seen::Known(answer) => filter.listed(&answer).map_err(LookError::Other),
        _ => Ok(None),
    }
}

/// The reason why the filter refuses the file, in its own words. None if it accepts the file or cannot be asked.
fn refusal(view: &View<'_>, filter: &dyn Firewall, file: &[u8]) -> Result<Option<String>, LookError> {
    Ok(view.ask(&filter.check(file))?.known().and_then(|answer| filter.refusal(&answer)))
}

fn is_applied(wanted: &Rendered, live: Option<&str>, receipt: Option<&Receipt>) -> bool {
    match (&wanted.text, live, receipt) {
        (None, live, _) => live.is_none(),
        (Some(text), Some(live), Some(receipt)) => {
            receipt.source == Digest::of(text) && receipt.seen == Digest::of(live.as_bytes())
        }
        _ => false,
    }
}

fn receipt(actor: &Actor<'_>, filter: &dyn Firewall, text: &[u8]) -> Result<Receipt, ApplyError> {
    let base = Base::new(actor.system);
    let live = live(&View::bare(&base), filter).map_err(|error| ApplyError::new(error.to_string()))?;
    let Some(live) = live else {
        return Err(ApplyError::new("the policy is not in force right after it was loaded"));
    };
    let (source, seen) = (Digest::of(text), Digest::of(live.as_bytes()));
    Ok(Receipt { source, seen, paths: Vec::new(), text: live })
}

fn verb(wanted: &Rendered, found: &Found) -> Verb {
    match (&wanted.text, &found.live) {
        (None, _) => Verb::Remove,
        (Some(_), None) if found.receipt.is_none() => Verb::Create,
        _ => Verb::Update,
    }
}

/// The rules in the kernel as a property. If the policy itself is unchanged, the diff shows each changed rule of the
/// kernel. The diff of the file shows the changes of a new policy.
fn rules(wanted: &Rendered, found: &Found) -> PropertyChange {
    let text = wanted.text.as_deref();
    let receipt = found.receipt.as_ref();
    let mut property = match (text, receipt) {
        (None, _) => PropertyChange::new("rules", "in force", Shown::Absent),
        (Some(_), _) if found.live.is_none() => PropertyChange::new("rules", Shown::Absent, "in force"),
        (Some(_), Some(receipt))
            if Some(receipt.seen) == found.live.as_ref().map(|live| Digest::of(live.as_bytes())) =>
        {
            PropertyChange::new("rules", "of the old policy", "of the new policy")
        }
        (Some(_), Some(_)) => {
            PropertyChange::new("rules", "changed since they were applied", "as in the policy")
        }
        (Some(_), None) => PropertyChange::new("rules", "not from Converge", "as in the policy"),
    };
    if let (Some(text), Some(receipt)) = (text, receipt)
        && receipt.source == Digest::of(text)
    {
        let live = found.live.as_deref().unwrap_or_default();
        property.diff = diff::unified(live.as_bytes(), receipt.text.as_bytes());
    }
    property
}

#[cfg(test)]
mod tests;
