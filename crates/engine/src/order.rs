//! Computes the order in which the hosts of a run are acted on. Pure: takes names and returns stages. The caller
//! reports which hosts failed.
//!
//! Hosts in no rollout go first, all together. The rollouts follow in their written order, each as its canary and its
//! batches. A host that waits for another (`after=` on `on`) is in the same stage or a later one. Within a stage it
//! starts when the other one is done.

use std::collections::{HashMap, HashSet};

use converge_lang::Rollout;
use converge_lang::rollout::{Canary, Share};
use converge_model::HostName;

/// Hosts that may be acted on at the same time, after all stages before are done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stage {
    /// The hosts in the order of the selection, except that a host comes after those that it waits for.
    pub hosts: Vec<HostName>,
    /// The rollout of the hosts, as an index into the inventory's list. None for hosts in no rollout.
    pub rollout: Option<usize>,
}

/// Returns the stages of `hosts`. `waits_for` returns the hosts that must be done before a host. Hosts outside
/// `hosts` count as done.
pub fn stages(
    hosts: &[HostName],
    rollouts: &[Rollout],
    waits_for: impl Fn(&HostName) -> Vec<HostName>,
) -> Vec<Stage> {
    let mut stages = first_stages(hosts, rollouts);
    let mut stage_of: HashMap<HostName, usize> = HashMap::new();
    for (at, stage) in stages.iter().enumerate() {
        stage_of.extend(stage.hosts.iter().map(|host| (host.clone(), at)));
    }
    let waits: Vec<(HostName, Vec<HostName>)> =
        hosts.iter().map(|host| (host.clone(), waits_for(host))).collect();
    // A host moves to the latest stage of the hosts that it waits for. The language refuses cycles; this bound would
    // end one.
    for _ in 0..hosts.len() {
        let mut moved = false;
        for (host, before) in &waits {
            let latest = before.iter().filter_map(|other| stage_of.get(other)).max().copied();
            if let (Some(latest), Some(own)) = (latest, stage_of.get_mut(host))
                && *own < latest
            {
                (*own, moved) = (latest, true);
            }
        }
        if !moved {
            break;
        }
    }
    for (at, stage) in stages.iter_mut().enumerate() {
        let in_it: Vec<_> = hosts.iter().filter(|host| stage_of.get(*host) == Some(&at)).collect();
        stage.hosts = in_turn(&in_it, &waits.iter().map(|(host, before)| (host, &before[..])).collect());
    }
    stages.retain(|stage| !stage.hosts.is_empty());
    stages
}

/// Returns `hosts`, each one after those that it waits for.
fn in_turn(hosts: &[&HostName], waits: &HashMap<&HostName, &[HostName]>) -> Vec<HostName> {
    let is_here: HashSet<&HostName> = hosts.iter().copied().collect();
    let (mut seen, mut turn) = (HashSet::new(), Vec::with_capacity(hosts.len()));
    // Depth-first: an opened host pushes the hosts before it on the stack, and is added when it is popped for the
    // second time.
    let mut open: Vec<(&HostName, bool)> = hosts.iter().rev().map(|host| (*host, false)).collect();
    while let Some((host, is_ready)) = open.pop() {
        if is_ready {
            turn.push(host.clone());
        } else if seen.insert(host) {
            open.push((host, true));
            let before = waits.get(host).copied().unwrap_or_default().iter().rev();
            open.extend(before.filter(|other| is_here.contains(other)).map(|other| (other, false)));
        }
    }
    turn
}

/// Returns how many of `selected` hosts of a rollout may fail before the rest is not started.
pub fn budget(rollout: &Rollout, selected: usize) -> usize {
    rollout.max_failures.map_or(0, |share| share.of(selected))
}

fn first_stages(hosts: &[HostName], rollouts: &[Rollout]) -> Vec<Stage> {
    let in_one = |host: &HostName| rollouts.iter().any(|rollout| rollout.hosts.contains(host));
    let free = hosts.iter().filter(|host| !in_one(host)).cloned().collect();
    let mut stages = vec![Stage { hosts: free, rollout: None }];
    for (at, rollout) in rollouts.iter().enumerate() {
        let selected: Vec<_> = hosts.iter().filter(|host| rollout.hosts.contains(host)).cloned().collect();
        let (canary, rest): (Vec<_>, Vec<_>) =
            selected.iter().cloned().enumerate().partition(|(place, host)| is_canary(rollout, *place, host));
        let strip =
            |hosts: Vec<(usize, HostName)>| hosts.into_iter().map(|(_, host)| host).collect::<Vec<_>>();
        let size = rollout.batch.unwrap_or(Share::Percent(100)).of(selected.len()).max(1);
        stages.push(Stage { hosts: strip(canary), rollout: Some(at) });
        let rest = strip(rest);
        stages.extend(rest.chunks(size).map(|batch| Stage { hosts: batch.to_vec(), rollout: Some(at) }));
    }
    stages
}

fn is_canary(rollout: &Rollout, place: usize, host: &HostName) -> bool {
    match &rollout.canary {
        None => false,
        Some(Canary::Count(count)) => place < *count as usize,
        Some(Canary::Hosts(hosts)) => hosts.contains(host),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<HostName> {
        text.split_whitespace().map(|name| HostName::new(name).unwrap()).collect()
    }

    fn rollout(hosts: &str, canary: Option<Canary>, batch: Option<Share>) -> Rollout {
        Rollout { name: hosts.to_owned(), hosts: names(hosts), canary, batch, ..Rollout::default() }
    }

    fn check(hosts: &str, rollouts: &[Rollout], waits: &[(&str, &str)], expected: &[&str]) {
        let waits_for = |host: &HostName| {
            waits
                .iter()
                .filter(|(waiting, _)| *waiting == host.as_str())
                .flat_map(|(_, for_)| names(for_))
                .collect()
        };
        let stages = stages(&names(hosts), rollouts, waits_for);
        let shown: Vec<_> = stages
            .iter()
            .map(|stage| stage.hosts.iter().map(HostName::as_str).collect::<Vec<_>>().join(" "))
            .collect();
        assert_eq!(shown, expected);
    }

    #[test]
    fn without_rollouts_there_is_one_stage() {
        check("a b c", &[], &[("a", "b")], &["b a c"]);
        check("", &[], &[], &[]);
    }

    #[test]
    fn hosts_in_no_rollout_go_first_and_rollouts_follow_as_written() {
        let web = rollout("w1 w2 w3 w4 w5", Some(Canary::Count(1)), Some(Share::Percent(50)));
        let edge = rollout("e1 e2", Some(Canary::Hosts(names("e2"))), None);
        check("w1 w2 db e1 w3 w4 e2 w5", &[web, edge], &[], &["db", "w1", "w2 w3", "w4 w5", "e2", "e1"]);
    }

    #[test]
    fn shares_are_of_the_selection() {
        let web = rollout("w1 w2 w3 w4", Some(Canary::Count(1)), Some(Share::Percent(50)));
        check("w3 w4", &[web], &[], &["w3", "w4"]);
    }

    #[test]
    fn who_waits_for_a_rollout_goes_after_it() {
        let web = rollout("w1 w2", None, Some(Share::Count(1)));
        check("lb w1 w2 mon", &[web], &[("lb", "w2"), ("mon", "lb")], &["w1", "w2 lb mon"]);
    }

    #[test]
    fn a_budget_is_none_unless_said() {
        let mut web = rollout("w1 w2 w3 w4", None, None);
        assert_eq!(budget(&web, 4), 0);
        web.max_failures = Some(Share::Percent(50));
        assert_eq!(budget(&web, 4), 2);
    }
}
