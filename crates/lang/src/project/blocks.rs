//! The hosts of `on` blocks, and the order of hosts from `after=` of blocks.

use crate::project::declarations::Block;
use crate::project::hosts::Membership;
use crate::source::diagnostic::{Code, Diagnostic, Diagnostics};
use crate::source::ids::{BlockId, HostId, Table};

/// The hosts of each `on` block of a project.
pub(crate) struct Blocks {
    /// The hosts of each block, in ascending order.
    hosts: Table<BlockId, Vec<HostId>>,
    /// The hosts that each block waits for, in ascending order.
    after: Table<BlockId, Vec<HostId>>,
    /// The blocks of each host.
    of: Table<HostId, Vec<BlockId>>,
}

impl Blocks {
    /// Selects the hosts of all blocks.
    pub(crate) fn select(
        declared: &Table<BlockId, Block>,
        membership: &Membership,
        diagnostics: &mut Diagnostics,
    ) -> Self {
        let hosts: Table<BlockId, Vec<HostId>> =
            declared.iter().map(|block| membership.select(&block.patterns, diagnostics)).collect();
        let mut after = Table::default();
        for block in declared {
            let waits = !block.after.is_empty();
            after.push(if waits { membership.select(&block.after, diagnostics) } else { Vec::new() });
        }
        let mut of: Table<HostId, Vec<BlockId>> = membership.hosts.iter().map(|_| Vec::new()).collect();
        for (block, hosts) in hosts.entries() {
            hosts.iter().for_each(|host| of[*host].push(block));
        }
        Self { hosts, after, of }
    }

    /// Returns the hosts of a block, in ascending order.
    pub(crate) fn hosts(&self, block: BlockId) -> &[HostId] {
        &self.hosts[block]
    }

    /// Returns the blocks of a host.
    pub(crate) fn of(&self, host: HostId) -> &[BlockId] {
        &self.of[host]
    }

    /// Returns the hosts that `host` waits for. If a block waits for one of its own hosts, that host does not wait: on
    /// it the reading order applies.
    pub(crate) fn waits_for(&self, host: HostId) -> Vec<HostId> {
        let blocks = self.of[host].iter().filter(|block| self.holds(**block, host));
        let mut hosts: Vec<HostId> = blocks.flat_map(|block| &self.after[*block]).copied().collect();
        hosts.sort_unstable();
        hosts.dedup();
        hosts
    }

    /// Whether a block makes a host wait.
    fn holds(&self, block: BlockId, host: HostId) -> bool {
        let after = &self.after[block];
        !after.is_empty() && after.binary_search(&host).is_err()
    }

    /// Returns a cycle of blocks whose hosts wait for each other.
    ///
    /// The search is among blocks. A block waits for another if the other makes a host wait that the first waits for.
    fn cycle(&self) -> Option<Vec<BlockId>> {
        let mut done: Table<BlockId, bool> = self.after.iter().map(|_| false).collect();
        for start in self.after.ids() {
            let mut open: Vec<(BlockId, Vec<BlockId>)> = vec![(start, self.waits_for_blocks(start))];
            while let Some((block, next)) = open.last_mut() {
                let block = *block;
                let Some(other) = next.pop() else {
                    done[block] = true;
                    open.pop();
                    continue;
                };
                if let Some(from) = open.iter().position(|(block, _)| *block == other) {
                    return Some(open[from..].iter().map(|(block, _)| *block).collect());
                }
                if !done[other] {
                    open.push((other, self.waits_for_blocks(other)));
                }
            }
        }
        None
    }

    fn waits_for_blocks(&self, block: BlockId) -> Vec<BlockId> {
        let hosts = self.after[block].iter();
        let holding = hosts.flat_map(|host| self.of[*host].iter().filter(|other| self.holds(**other, *host)));
        let mut blocks: Vec<BlockId> = holding.copied().collect();
        blocks.sort_unstable();
        blocks.dedup();
        blocks
    }

    /// Reports hosts that wait for each other. The error shows their blocks.
    pub(crate) fn refuse_cycle(&self, declared: &Table<BlockId, Block>, diagnostics: &mut Diagnostics) {
        let Some(blocks) = self.cycle() else { return };
        let mut report = Diagnostic::error(Code::Cycle, "hosts wait for each other");
        for block in blocks {
            let block = &declared[block];
            let at = block.after.first().map_or(block.at, |after| after.at);
            report = report.label(at, format!("`{}` waits", block.name()));
        }
        let help = "remove one `after`, or exclude hosts from its pattern";
        diagnostics.push(report.help(help));
    }
}
