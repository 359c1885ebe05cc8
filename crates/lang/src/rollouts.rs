//! What orders hosts among each other: `after=` on `on` blocks, and rollouts. What is done about it is the engine's.

use crate::diagnostic::{Diagnostic, Diagnostics, Span};
use crate::document::{Literal, Node, Written};
use crate::project::Data;
use crate::rollout::{Canary, Moment, Rollout, Share};

/// Reads the rollouts of all blocks. Two on one host are an error.
pub(crate) fn read(data: &Data, diagnostics: &mut Diagnostics) -> Vec<Rollout> {
    let mut rollouts = Vec::new();
    let mut governed: Vec<Option<Span>> = vec![None; data.membership.hosts.len()];
    for (place, block) in data.reading.blocks.iter().enumerate() {
        let Some(node) = &block.rollout else { continue };
        for host in &data.block_hosts[place] {
            if let Some(first) = governed[*host].replace(node.at) {
                let name = &data.membership.hosts[*host].name;
                diagnostics.push(
                    Diagnostic::error("lang::rollout", format!("`{name}` is in two rollouts"))
                        .label(node.at, "one")
                        .label(first, "the other")
                        .help("a rollout governs all that happens to a host in a run; let one pattern leave it out"),
                );
                break;
            }
        }
        let mut rollout = Rollout {
            name: block.name(),
            hosts: names(data, &data.block_hosts[place]),
            every: EVERY,
            place: data.place(node.at),
            ..Rollout::default()
        };
        settings(node, &mut rollout, data, diagnostics);
        rollouts.push(rollout);
    }
    rollouts
}

fn names(data: &Data, hosts: &[usize]) -> Vec<converge_model::HostName> {
    hosts.iter().map(|host| data.membership.hosts[*host].name.clone()).collect()
}

fn settings(node: &Node, rollout: &mut Rollout, data: &Data, diagnostics: &mut Diagnostics) {
    let children = node.body().iter().filter(|child| child.children.is_none() && child.args.len() == 1);
    let of_children = children.map(|child| (&*child.name, child.at, &child.args[0]));
    let settings = node.props.iter().map(|property| (&*property.key, property.at, &property.value));
    for (key, at, value) in settings.chain(of_children) {
        match key {
            "canary" => rollout.canary = canary(value, data, diagnostics),
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

/// A body; that of a health check says how often it is tried.
fn gate(node: &Node, moment: Moment, rollout: &mut Rollout, diagnostics: &mut Diagnostics) {
    if rollout.gates.contains(&moment) {
        let message = format!("`{}` is given twice", moment.word());
        return diagnostics
            .push(Diagnostic::error("lang::doubled", message).label(node.at, "and again here"));
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
                Diagnostic::error("lang::form", format!("`{}` has no such `{}`", node.name, property.key))
                    .label(property.at, "here")
                    .help("`health` takes `retries=10`, from 0 to 100, and `every=\"2s\"`; the others take nothing"),
            ),
        }
    }
}

/// Milliseconds between two tries of a health check, if nothing is said.
const EVERY: u64 = 2000;

fn duration(value: &Written, diagnostics: &mut Diagnostics) -> Option<u64> {
    let read = crate::module::input(value).and_then(|input| {
        crate::typed::read(&converge_model::Type::Duration, &input, crate::typed::Limits::default()).ok()
    });
    match read {
        Some(converge_model::Scalar::Int(milliseconds)) => u64::try_from(milliseconds).ok(),
        _ => wrong(value, "a duration such as `\"30s\"`", diagnostics),
    }
}

fn unknown(key: &str, at: Span, diagnostics: &mut Diagnostics) {
    let known = ["canary", "batch", "max-failures", "wait", "before", "after", "health"];
    diagnostics.push(
        Diagnostic::error("lang::unknown", format!("`rollout` has no setting `{key}`"))
            .label(at, "unknown")
            .help(format!("there are {}", known.join(", ")))
            .maybe_help(crate::nearest::did_you_mean(key, known)),
    );
}

fn canary(value: &Written, data: &Data, diagnostics: &mut Diagnostics) -> Option<Canary> {
    match &value.literal {
        Literal::Int(count, _) => match u32::try_from(*count) {
            Ok(count) => Some(Canary::Count(count)),
            Err(_) => wrong(value, "a number of hosts, or a pattern", diagnostics),
        },
        Literal::Text(_) => {
            let hosts = data.membership.select(std::slice::from_ref(value), diagnostics);
            Some(Canary::Hosts(names(data, &hosts)))
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
    diagnostics.push(Diagnostic::error("lang::type", format!("this is {what}")).label(value.at, "is none"));
    None
}

/// The hosts that `host` waits for. What holds hosts back for some of themselves is reading order on those.
pub(crate) fn waits_for(data: &Data, host: usize) -> Vec<usize> {
    let blocks = data.blocks_of[host].iter().filter(|block| holds(data, **block, host));
    let mut hosts: Vec<usize> = blocks.flat_map(|block| &data.block_after[*block]).copied().collect();
    hosts.sort_unstable();
    hosts.dedup();
    hosts
}

/// Whether a block lets a host wait.
fn holds(data: &Data, block: usize, host: usize) -> bool {
    let after = &data.block_after[block];
    !after.is_empty() && after.binary_search(&host).is_err()
}

/// Hosts that wait for each other are an error that shows the blocks which say so.
///
/// It is searched for among blocks: one waits for another where the other holds back a host that it waits for.
pub(crate) fn cycles(data: &Data, diagnostics: &mut Diagnostics) {
    let mut done = vec![false; data.block_after.len()];
    for start in 0..done.len() {
        let mut open: Vec<(usize, Vec<usize>)> = vec![(start, waits_for_blocks(data, start))];
        while let Some((block, next)) = open.last_mut() {
            let block = *block;
            let Some(other) = next.pop() else {
                done[block] = true;
                open.pop();
                continue;
            };
            if let Some(from) = open.iter().position(|(block, _)| *block == other) {
                let blocks: Vec<usize> = open[from..].iter().map(|(block, _)| *block).collect();
                return report(data, &blocks, diagnostics);
            }
            if !done[other] {
                open.push((other, waits_for_blocks(data, other)));
            }
        }
    }
}

fn waits_for_blocks(data: &Data, block: usize) -> Vec<usize> {
    let hosts = data.block_after[block].iter();
    let holding =
        hosts.flat_map(|host| data.blocks_of[*host].iter().filter(|other| holds(data, **other, *host)));
    let mut blocks: Vec<usize> = holding.copied().collect();
    blocks.sort_unstable();
    blocks.dedup();
    blocks
}

fn report(data: &Data, blocks: &[usize], diagnostics: &mut Diagnostics) {
    let mut report = Diagnostic::error("lang::cycle", "hosts wait for each other");
    for block in blocks {
        let block = &data.reading.blocks[*block];
        let at = block.after.first().map_or(block.at, |after| after.at);
        report = report.label(at, format!("`{}` waits", block.name()));
    }
    diagnostics
        .push(report.help("let one of them go without `after`, or use a pattern that leaves hosts out"));
}
