//! The final order: a stable topological sort by `after`. Independent resources stay in written order.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::source::ids::{EntryId, Table};

/// Sorts the entries. `after[entry]` are the entries that `entry` waits for. The error is one cycle: each entry waits
/// for the next, and the last for the first.
pub(crate) fn sort(after: &Table<EntryId, Vec<EntryId>>) -> Result<Vec<EntryId>, Vec<EntryId>> {
    let mut waiting: Table<EntryId, usize> = after.iter().map(Vec::len).collect();
    let mut waiters: Table<EntryId, Vec<EntryId>> = after.iter().map(|_| Vec::new()).collect();
    for (entry, needs) in after.entries() {
        needs.iter().for_each(|need| waiters[*need].push(entry));
    }
    let mut ready: BinaryHeap<Reverse<EntryId>> =
        after.ids().filter(|entry| waiting[*entry] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(Reverse(entry)) = ready.pop() {
        order.push(entry);
        for waiter in &waiters[entry] {
            waiting[*waiter] -= 1;
            if waiting[*waiter] == 0 {
                ready.push(Reverse(*waiter));
            }
        }
    }
    if order.len() == after.len() { Ok(order) } else { Err(cycle(after, &waiting)) }
}

/// Returns a cycle. Each waiting entry waits for another waiting entry, so a walk along them must return.
fn cycle(after: &Table<EntryId, Vec<EntryId>>, waiting: &Table<EntryId, usize>) -> Vec<EntryId> {
    let Some(start) = waiting.find(|count| *count > 0) else { return Vec::new() };
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        let Some(next) = after[last].iter().copied().find(|need| waiting[*need] > 0) else { return path };
        match path.iter().position(|entry| *entry == next) {
            Some(from) => return path.split_off(from),
            None => path.push(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::ids::Id;
    use proptest::prelude::*;

    /// Returns the order, or the cycle, of entries that wait for the entries at the given indices.
    fn sorted(after: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
        let indices = |entries: Vec<EntryId>| entries.into_iter().map(Id::index).collect();
        let after = after.iter().map(|needs| needs.iter().copied().map(Id::new).collect()).collect();
        sort(&after).map(indices).map_err(indices)
    }

    #[test]
    fn written_order_stays_where_nothing_moves_it() {
        assert_eq!(sorted(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(sorted(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        assert_eq!(sorted(&[vec![1], vec![0], vec![]]), Err(vec![0, 1]));
        assert_eq!(sorted(&[vec![0]]), Err(vec![0]));
    }

    proptest! {
        #[test]
        fn everything_stands_after_what_it_waits_for(edges in prop::collection::vec((0_usize..30, 0_usize..30), 0..60)) {
            let mut after = vec![Vec::new(); 30];
            for (a, b) in edges {
                after[a.max(b)].extend((a != b).then_some(a.min(b)));
            }
            let order = sorted(&after).unwrap();
            let mut positions = vec![0; 30];
            order.iter().enumerate().for_each(|(position, item)| positions[*item] = position);
            for (item, needs) in after.iter().enumerate() {
                prop_assert!(needs.iter().all(|need| positions[*need] < positions[item]));
            }
        }

        #[test]
        fn a_cycle_is_one(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
            let mut after = vec![Vec::new(); 12];
            edges.into_iter().for_each(|(a, b)| after[a].push(b));
            if let Err(cycle) = sorted(&after) {
                for (at, item) in cycle.iter().enumerate() {
                    prop_assert!(after[*item].contains(&cycle[(at + 1) % cycle.len()]));
                }
            }
        }
    }
}
