//! `firewall-policy`: the packet filter of a host, one table of nftables, replaced as a whole in one transaction.
//!
//! The table and its listings belong to [`table`]; the file that keeps the policy over a boot to
//! [`rendered_file`](crate::kit::rendered_file). What loads the file at boot, and what the rules are, is the business of the module
//! `firewall`.

mod table;

use std::path::{Path, PathBuf};

use converge_model::{
    Claim, Digest, Extent, KindSchema, Param, ParamProblem, PropertyChange, Shown, Type, Verb,
};

use crate::access::Login;
use crate::actor::{Actor, ApplyError, Attributes};
use crate::diff;
use crate::kind::{Kind, Planned};
use crate::kit::parent_folder::{self, NewFolder};
use crate::kit::programs;
use crate::kit::rendered_file::{self, Rendered};
use crate::overlay::Effect;
use crate::system::receipts::Receipt;
use crate::view::{Base, LookError, Need, View};
use crate::wish::Reader;

/// The kind.
pub struct FirewallPolicy;

/// What the policy should be.
pub struct Wish {
    /// The whole script that replaces the table, in the file that keeps it; without text there should be no table.
    file: Rendered,
}

/// What was found.
pub struct Found {
    file: rendered_file::Found,
    folder: Option<NewFolder>,
    nft: Need,
    /// The table in the kernel, as it is listed; none where there is none.
    live: Option<String>,
    receipt: Option<Receipt>,
    /// Whether the table is as it was right after this policy was applied, or will be by an earlier step.
    applied: bool,
    /// Why nft refuses the new policy.
    refusal: Option<String>,
}

const FOLDER: &str = "/etc/converge";
const FILE: &str = "firewall.nft";

impl Kind for FirewallPolicy {
    type Wish = Wish;
    type Found = Found;

    fn schema() -> KindSchema {
        KindSchema::new("firewall-policy", "The packet filter of the host: one table of nftables")
            .details(
                "The module `firewall` writes the rules from ports and names; this kind takes them as nft(8) reads them.\n\n\
                 The table is `inet converge`, with its chains for NAT too, and no other is touched: those of Docker, of \
                 fail2ban and of /etc/nftables.conf stay as they are. A new policy is checked by `nft -c` when it is \
                 planned and again before anything is written, and takes the place of the old one in one transaction: at \
                 no moment is the host without one. Connections that stand are in the kernel's own table and stay, as \
                 long as the rules accept `ct state established`.\n\n\
                 nft does not list a table as it was written. So a receipt on the host keeps what was listed right after \
                 the policy was applied: when somebody has flushed or edited the table since, the plan shows which rules, \
                 and puts them back. Counters, and the addresses that rate limits remember, do not count.\n\n\
                 The policy is kept in /etc/converge/firewall.nft, which the module's own unit loads at boot.",
            )
            .param(Param::new("name", Type::Name, "The table, of which a host has one.").argument(0).required().one_of(&["converge"]))
            .param(Param::new("rules", Type::Text, "What stands in the table: sets and chains in the words of nft(8)."))
            .param(
                Param::new("state", Type::Text, "Whether there should be a policy.")
                    .one_of(&["present", "absent"])
                    .default("present"),
            )
            .example(
                "A policy in nft's own words",
                "package \"nftables\"\nfirewall-policy \"converge\" {\n    rules \"\"\"\n        chain input {\n            type filter hook input priority filter; policy drop;\n            ct state established,related accept\n            iif \"lo\" accept\n            meta l4proto { icmp, icmpv6 } accept\n            tcp dport 22 accept\n        }\n        \"\"\"\n}",
            )
            .whole_system()
    }

    fn decode(params: &mut Reader<'_>) -> Wish {
        params.required_text("name");
        let absent = params.choice("state", &[("present", false), ("absent", true)]);
        let rules = params.several_lines(|params| params.text("rules"));
        match &rules {
            None if !absent => params.problem(ParamProblem::new("rules", "is missing")),
            Some(_) if absent => {
                params.problem(ParamProblem::new("rules", "makes no sense where there should be no policy"));
            }
            Some(rules) if !table::stays_inside(rules) => {
                let help = "close every brace and quotation mark that is opened, and no other";
                params.problem(ParamProblem::new("rules", "leads out of the table").help(help));
            }
            _ => {}
        }
        let file = Rendered {
            path: path(),
            text: rules.map(|rules| table::script(&rules).into_bytes()),
            attributes: Attributes { mode: Some(0o600), ..Attributes::default() },
            validate: if absent { Vec::new() } else { ["nft", "-c", "-f", "%s"].map(str::to_owned).into() },
            secret: false,
        };
        Wish { file }
    }

    fn claims(wish: &Wish) -> Vec<Claim> {
        let extent = if wish.file.text.is_some() { Extent::Whole } else { Extent::Absence };
        let mut claims = vec![policy(), Claim::path(path().to_string_lossy(), extent)];
        if wish.file.text.is_some() {
            claims.push(Claim::path(FOLDER, Extent::Part(FILE.to_owned())));
        }
        claims
    }

    fn access(_: &Wish, _: &Login) -> bool {
        true
    }

    fn observe(view: &View<'_>, wish: &Wish) -> Result<Found, LookError> {
        let mut file = rendered_file::observe(view, &wish.file)?;
        let folder = match wish.file.text {
            Some(_) => Some(parent_folder::observe(view, Path::new(FOLDER))?),
            None => None,
        };
        if folder.is_some() {
            file = file.without_folder();
        }
        let nft = programs::need(view, table::NFT)?;
        let live = table::live(view)?;
        let receipt = view.receipt(&policy().key())?;
        let applied = view.is_touched(&path()) || is_applied(wish, live.as_deref(), receipt.as_ref());
        let refusal = match &wish.file.text {
            Some(text) if !applied => table::refusal(view, text)?,
            _ => None,
        };
        Ok(Found { file, folder, nft, live, receipt, applied, refusal })
    }

    fn plan(wish: &Wish, found: &Found) -> Planned {
        if let Some(refusal) = &found.refusal {
            let help = Some("correct the rule that it names".to_owned());
            return Planned::Impossible { message: format!("nft refuses the policy: {refusal}"), help };
        }
        let folder = found.folder.iter().map(|folder| folder.need.clone());
        let planned = rendered_file::plan(&wish.file, &found.file).given(folder);
        if found.applied {
            return match planned {
                Planned::InSync(_) => {
                    Planned::InSync("the table is as it was when it was applied".to_owned())
                }
                other => other,
            };
        }
        planned.also(verb(wish, found), rules(wish, found)).given([found.nft.clone()])
    }

    fn effects(wish: &Wish, found: &Found) -> Vec<Effect> {
        let folder = found.folder.iter().filter_map(NewFolder::effect);
        folder.chain(rendered_file::effects(&wish.file, &found.file)).collect()
    }

    fn apply(actor: &mut Actor<'_>, wish: &Wish, found: &Found) -> Result<(), ApplyError> {
        found.folder.iter().try_for_each(|folder| folder.make(actor))?;
        if !rendered_file::plan(&wish.file, &found.file).is_in_sync() {
            rendered_file::apply(actor, &wish.file, &found.file)?;
        }
        if found.applied {
            return Ok(());
        }
        match &wish.file.text {
            Some(text) => table::load(actor, text, found.live.as_deref())?,
            None => table::load(actor, table::GONE.as_bytes(), found.live.as_deref())?,
        }
        let receipt = match &wish.file.text {
            Some(text) => Some(receipt(actor, text)?),
            None => None,
        };
        actor.set_receipt(&policy().key(), receipt.as_ref())
    }
}

fn path() -> PathBuf {
    Path::new(FOLDER).join(FILE)
}

fn policy() -> Claim {
    Claim::named("firewall", "policy")
}

fn is_applied(wish: &Wish, live: Option<&str>, receipt: Option<&Receipt>) -> bool {
    match (&wish.file.text, live, receipt) {
        (None, live, _) => live.is_none(),
        (Some(text), Some(live), Some(receipt)) => {
            receipt.source == Digest::of(text) && receipt.seen == Digest::of(live.as_bytes())
        }
        _ => false,
    }
}

fn receipt(actor: &Actor<'_>, text: &[u8]) -> Result<Receipt, ApplyError> {
    let base = Base::new(actor.system);
    let live = table::live(&View::bare(&base)).map_err(|error| ApplyError::new(error.to_string()))?;
    let Some(live) = live else {
        return Err(ApplyError::new("the table is not there right after it was loaded"));
    };
    let (source, seen) = (Digest::of(text), Digest::of(live.as_bytes()));
    Ok(Receipt { source, seen, paths: Vec::new(), text: live })
}

fn verb(wish: &Wish, found: &Found) -> Verb {
    match (&wish.file.text, &found.live) {
        (None, _) => Verb::Remove,
        (Some(_), None) if found.receipt.is_none() => Verb::Create,
        _ => Verb::Update,
    }
}

/// The rules in the kernel as a property. Where the policy itself is as it was, what was done to them is shown rule by
/// rule; what a new policy changes is shown in the file.
fn rules(wish: &Wish, found: &Found) -> PropertyChange {
    let text = wish.file.text.as_deref();
    let receipt = found.receipt.as_ref();
    let mut property = match (text, receipt) {
        (None, _) => PropertyChange::new("rules", "in force", Shown::Absent),
        (Some(_), _) if found.live.is_none() => PropertyChange::new("rules", Shown::Absent, "in force"),
        (Some(_), Some(receipt))
            if Some(receipt.seen) == found.live.as_ref().map(|live| Digest::of(live.as_bytes())) =>
        {
            PropertyChange::new("rules", "of the policy before", "of the new policy")
        }
        (Some(_), Some(_)) => {
            PropertyChange::new("rules", "changed since they were applied", "as in the policy")
        }
        (Some(_), None) => PropertyChange::new("rules", "of somebody else", "as in the policy"),
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
