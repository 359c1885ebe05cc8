//! The place of a notified action: right after the last resource that can notify its target, or at the target's own
//! place if that is later.

use converge_model::{NotifyHow, Resource};

/// The notifications of a catalog.
pub(crate) struct Notifications {
    /// By resource: the targets whose action runs right after it.
    due: Vec<Vec<u32>>,
    /// By resource: the resources that notify it, and how.
    notifiers: Vec<Vec<(u32, NotifyHow)>>,
}

impl Notifications {
    /// Reads the notifications of the resources, in their final order.
    pub(crate) fn of(resources: &[Resource]) -> Self {
        let mut notifiers = vec![Vec::new(); resources.len()];
        for (index, resource) in resources.iter().enumerate() {
            for notify in &resource.notify {
                if let Some(list) = notifiers.get_mut(notify.target as usize) {
                    list.push((index as u32, notify.how));
                }
            }
        }
        let mut due = vec![Vec::new(); resources.len()];
        for (target, list) in notifiers.iter().enumerate() {
            if let Some((last, _)) = list.last() {
                due[target.max(*last as usize)].push(target as u32);
            }
        }
        Self { due, notifiers }
    }

    /// Returns the targets whose action runs right after the resource at `index`.
    pub(crate) fn due(&self, index: u32) -> &[u32] {
        self.due.get(index as usize).map_or(&[], Vec::as_slice)
    }

    /// Returns the resource after which the action of `target` runs.
    pub(crate) fn place(&self, target: u32) -> u32 {
        self.notifiers(target).last().map_or(target, |(last, _)| target.max(*last))
    }

    /// Returns the resources that notify `target`, in order.
    pub(crate) fn notifiers(&self, target: u32) -> &[(u32, NotifyHow)] {
        self.notifiers.get(target as usize).map_or(&[], Vec::as_slice)
    }

    /// Returns what the notifiers that `changed` ask for. A restart wins over a reload.
    pub(crate) fn how(&self, target: u32, changed: impl Fn(u32) -> bool) -> Option<NotifyHow> {
        self.notifiers(target).iter().filter(|(by, _)| changed(*by)).map(|(_, how)| *how).max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::resource;
    use converge_model::Notify;

    #[test]
    fn an_action_stands_after_its_last_notifier_or_at_the_target() {
        let notify = |target, how| Notify { target, how };
        let mut early = resource("file", "/a");
        early.notify = vec![notify(1, NotifyHow::Reload), notify(3, NotifyHow::Reload)];
        let mut late = resource("file", "/b");
        late.notify = vec![notify(1, NotifyHow::AsTargetSays)];
        let resources = [early, resource("service", "x"), late, resource("service", "y")];
        let notifications = Notifications::of(&resources);
        assert_eq!(notifications.due(2), [1], "x stands before its last notifier");
        assert_eq!(notifications.due(3), [3], "y stands after it");
        assert_eq!(notifications.how(1, |_| true), Some(NotifyHow::AsTargetSays));
        assert_eq!(notifications.how(1, |by| by == 0), Some(NotifyHow::Reload));
        assert_eq!(notifications.how(1, |_| false), None);
    }
}
