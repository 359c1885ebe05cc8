//! The final order: a stable topological sort by `after` alone, written order breaking ties.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

/// Sorts the places `0..after.len()`; `after[i]` are the places that `i` waits for. The error is one cycle: each waits
/// for the next, and the last for the first.
pub(crate) fn sort(after: &[Vec<usize>]) -> Result<Vec<usize>, Vec<usize>> {
    let mut waiting: Vec<usize> = after.iter().map(Vec::len).collect();
    let mut waiters: Vec<Vec<usize>> = vec![Vec::new(); after.len()];
    for (place, needs) in after.iter().enumerate() {
        needs.iter().for_each(|need| waiters[*need].push(place));
    }
    let mut ready: BinaryHeap<Reverse<usize>> =
        (0..after.len()).filter(|place| waiting[*place] == 0).map(Reverse).collect();
    let mut order = Vec::with_capacity(after.len());
    while let Some(Reverse(place)) = ready.pop() {
        order.push(place);
        for waiter in &waiters[place] {
            waiting[*waiter] -= 1;
            if waiting[*waiter] == 0 {
                ready.push(Reverse(*waiter));
            }
        }
    }
    if order.len() == after.len() { Ok(order) } else { Err(cycle(after, &waiting)) }
}

/// Everything that still waits waits for something that still waits: walking there must come back.
fn cycle(after: &[Vec<usize>], waiting: &[usize]) -> Vec<usize> {
    let Some(start) = waiting.iter().position(|count| *count > 0) else { return Vec::new() };
    let mut path = vec![start];
    loop {
        let last = path[path.len() - 1];
        let Some(next) = after[last].iter().copied().find(|need| waiting[*need] > 0) else { return path };
        match path.iter().position(|place| *place == next) {
            Some(from) => return path.split_off(from),
            None => path.push(next),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn written_order_stays_where_nothing_moves_it() {
        assert_eq!(sort(&[vec![], vec![], vec![]]), Ok(vec![0, 1, 2]));
        assert_eq!(sort(&[vec![2], vec![], vec![]]), Ok(vec![1, 2, 0]));
        assert_eq!(sort(&[vec![1], vec![0], vec![]]), Err(vec![0, 1]));
        assert_eq!(sort(&[vec![0]]), Err(vec![0]));
    }

    proptest! {
        #[test]
        fn everything_stands_after_what_it_waits_for(edges in prop::collection::vec((0_usize..30, 0_usize..30), 0..60)) {
            let mut after = vec![Vec::new(); 30];
            for (a, b) in edges {
                after[a.max(b)].extend((a != b).then_some(a.min(b)));
            }
            let order = sort(&after).unwrap();
            let mut place = vec![0; 30];
            order.iter().enumerate().for_each(|(at, item)| place[*item] = at);
            for (item, needs) in after.iter().enumerate() {
                prop_assert!(needs.iter().all(|need| place[*need] < place[item]));
            }
        }

        #[test]
        fn a_cycle_is_one(edges in prop::collection::vec((0_usize..12, 0_usize..12), 0..40)) {
            let mut after = vec![Vec::new(); 12];
            edges.into_iter().for_each(|(a, b)| after[a].push(b));
            if let Err(cycle) = sort(&after) {
                for (at, item) in cycle.iter().enumerate() {
                    prop_assert!(after[*item].contains(&cycle[(at + 1) % cycle.len()]));
                }
            }
        }
    }
}
