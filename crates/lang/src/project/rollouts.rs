//! Reads the rollouts of the inventory. The engine carries them out.

use crate::project::blocks::Blocks;
use crate::project::declarations::Block;
use crate::project::hosts::Membership;
use crate::schema::types;
use crate::settings::rollout::{Canary, Moment, Rollout, Share};
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics, Files, Span};
use crate::source::ids::{BlockId, HostId, Table};
use crate::syntax::parse::{Literal, Node, Written};

/// Reads the rollouts of all blocks. It is an error if a host is in two of them.
pub(crate) fn read(
    declared: &Table<BlockId, Block>,
    blocks: &Blocks,
    membership: &Membership,
    files: &Files,
    diagnostics: &mut Diagnostics,
) -> Vec<Rollout> {
    let mut rollouts = Vec::new();
    let mut governed: Table<HostId, Option<Span>> = membership.hosts.iter().map(|_| None).collect();
    for (id, block) in declared.entries() {
        let Some(node) = &block.rollout else { continue };
        let hosts = blocks.hosts(id);
        for host in hosts {
            if let Some(first) = governed[*host].replace(node.at) {
                let name = &membership.hosts[*host].name;
                diagnostics.push(
                    Diagnostic::error(Code::Rollout, format!("`{name}` is in two rollouts"))
                        .label(node.at, "one")
                        .label(first, "the other")
                        .help("a host can be in only one rollout; exclude it from one pattern"),
                );
                break;
            }
        }
        let mut rollout = Rollout {
            name: block.name(),
            hosts: names(membership, hosts),
            every: EVERY,
            place: files.line(node.at),
            ..Rollout::default()
        };
        settings(node, &mut rollout, membership, diagnostics);
        rollouts.push(rollout);
    }
    rollouts
}

fn names(membership: &Membership, hosts: &[HostId]) -> Vec<converge_model::HostName> {
    hosts.iter().map(|host| membership.hosts[*host].name.clone()).collect()
}

fn settings(node: &Node, rollout: &mut Rollout, membership: &Membership, diagnostics: &mut Diagnostics) {
    let children = node.body().iter().filter(|child| child.children.is_none() && child.args.len() == 1);
    let of_children = children.map(|child| (&*child.name, child.at, &child.args[0]));
    let settings = node.props.iter().map(|property| (&*property.key, property.at, &property.value));
    for (key, at, value) in settings.chain(of_children) {
        match key {
            "canary" => rollout.canary = canary(value, membership, diagnostics),
            "batch" => rollout.batch = share(value, diagnostics),
            "max-failures" => rollout.max_failures = share(value, diagnostics),
            "wait" => rollout.wait = duration(value, diagnostics).unwrap_or_default(),
            _ => unknown(key, at, diagnostics),
        }
    }
    for child in node.body().iter().filter(|child| child.children.is_some()) {
        match Moment::ALL.iter().find(|moment| moment.word() == &*child.name) {
            None => unknown(&child.name, child.at, diagnostics),
            Some(moment) => gate(child, *moment, rollout, diagnostics),
        }
    }
}

/// Reads one body. The body of a health check also has the number of retries and the time between them.
fn gate(node: &Node, moment: Moment, rollout: &mut Rollout, diagnostics: &mut Diagnostics) {
    if rollout.gates.contains(&moment) {
        let message = format!("`{}` is given twice", moment.word());
        return diagnostics.push(Diagnostic::error(Code::Doubled, message).label(node.at, "and again here"));
    }
    rollout.gates.push(moment);
    for property in &node.props {
        match (&*property.key, &property.value.literal) {
            ("retries", Literal::Int(count @ 0..=100, _)) if moment == Moment::Health => {
                rollout.retries = u32::try_from(*count).unwrap_or_default();
            }
            ("every", _) if moment == Moment::Health => {
                rollout.every = duration(&property.value, diagnostics).unwrap_or(EVERY);
            }
            _ => diagnostics.push(
                Diagnostic::error(Code::Form, format!("`{}` does not accept this `{}`", node.name, property.key))
                    .label(property.at, "here")
                    .help("`health` takes `retries=10`, from 0 to 100, and `every=\"2s\"`; the other bodies take no properties"),
            ),
        }
    }
}

/// The default time between two tries of a health check, in milliseconds.
const EVERY: u64 = 2000;

fn duration(value: &Written, diagnostics: &mut Diagnostics) -> Option<u64> {
    let read = types::Input::of(value).and_then(|input| {
        types::read(&converge_model::Type::Duration, &input, types::Limits::default()).ok()
    });
    match read {
        Some(converge_model::Scalar::Int(milliseconds)) => u64::try_from(milliseconds).ok(),
        _ => wrong(value, "a duration such as `\"30s\"`", diagnostics),
    }
}

fn unknown(key: &str, at: Span, diagnostics: &mut Diagnostics) {
    let known = ["canary", "batch", "max-failures", "wait", "before", "after", "health"];
    diagnostics.push(
        Diagnostic::error(Code::Unknown, format!("`rollout` has no setting `{key}`"))
            .label(at, "unknown")
            .help(format!("there are {}", known.join(", ")))
            .maybe_help(crate::source::suggest::did_you_mean(key, known)),
    );
}

fn canary(value: &Written, membership: &Membership, diagnostics: &mut Diagnostics) -> Option<Canary> {
    match &value.literal {
        Literal::Int(count, _) => match u32::try_from(*count) {
            Ok(count) => Some(Canary::Count(count)),
            Err(_) => wrong(value, "a number of hosts, or a pattern", diagnostics),
        },
        Literal::Text(_) => {
            let hosts = membership.select(std::slice::from_ref(value), diagnostics);
            Some(Canary::Hosts(names(membership, &hosts)))
        }
        _ => wrong(value, "a number of hosts, or a pattern", diagnostics),
    }
}

fn share(value: &Written, diagnostics: &mut Diagnostics) -> Option<Share> {
    let percent = |text: &str| text.strip_suffix('%')?.parse().ok().filter(|percent| *percent <= 100);
    let share = match &value.literal {
        Literal::Int(count, _) => u32::try_from(*count).ok().map(Share::Count),
        Literal::Text(text) => {
            percent(text).map(Share::Percent).or_else(|| text.parse().ok().map(Share::Count))
        }
        _ => None,
    };
    if share.is_some() {
        share
    } else {
        wrong(value, "a number of hosts, or a share such as `\"10%\"`", diagnostics)
    }
}

fn wrong<T>(value: &Written, what: &str, diagnostics: &mut Diagnostics) -> Option<T> {
    diagnostics.push(
        Diagnostic::error(Code::Type, format!("expected {what}, found `{value}`")).label(value.at, "here"),
    );
    None
}
