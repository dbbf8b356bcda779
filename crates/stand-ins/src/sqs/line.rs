//! Who is next: the order in which waiting messages leave a queue.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

/// A message's place in the order of sends, unique within its queue.
pub(super) type Key = u64;

/// The messages that are not in flight, in the order in which they may leave.
pub(super) enum Line {
    /// A standard queue: the oldest visible one first. SQS promises no order; this one is easy to reason about.
    Standard(BTreeSet<Key>),
    /// A FIFO queue: group by group.
    Fifo(Groups),
}

impl Line {
    pub(super) fn new(fifo: bool) -> Self {
        if fifo { Self::Fifo(Groups::default()) } else { Self::Standard(BTreeSet::new()) }
    }

    /// A message waits: visible, or (which matters to a FIFO group's order only) still delayed.
    pub(super) fn join(&mut self, key: Key, group: Option<&Arc<str>>, visible: bool) {
        match self {
            Self::Standard(visible_keys) if visible => {
                visible_keys.insert(key);
            }
            Self::Standard(_) => {}
            Self::Fifo(groups) => groups.change(group, |group| {
                group.waiting.insert(key, visible);
            }),
        }
    }

    /// A message waits no longer.
    pub(super) fn leave(&mut self, key: Key, group: Option<&Arc<str>>) {
        match self {
            Self::Standard(visible_keys) => {
                visible_keys.remove(&key);
            }
            Self::Fifo(groups) => groups.change(group, |group| {
                group.waiting.remove(&key);
            }),
        }
    }

    /// A message of the group is delivered: the group is blocked.
    pub(super) fn take_off(&mut self, group: Option<&Arc<str>>) {
        if let Self::Fifo(groups) = self {
            groups.change(group, |group| group.in_flight += 1);
        }
    }

    /// A delivered message of the group came back or is gone.
    pub(super) fn land(&mut self, group: Option<&Arc<str>>) {
        if let Self::Fifo(groups) = self {
            groups.change(group, |group| group.in_flight = group.in_flight.saturating_sub(1));
        }
    }

    /// The next message that may be delivered.
    pub(super) fn next(&self) -> Option<Key> {
        match self {
            Self::Standard(visible_keys) => visible_keys.first().copied(),
            Self::Fifo(groups) => groups.open.first_key_value().map(|(head, _)| *head),
        }
    }

    /// The next message of a FIFO group from which this very receive has just taken one.
    pub(super) fn next_of(&self, group: Option<&Arc<str>>) -> Option<Key> {
        match self {
            Self::Standard(_) => None,
            Self::Fifo(groups) => groups.by_name.get(group?)?.head(),
        }
    }
}

/// The groups of a FIFO queue.
#[derive(Default)]
pub(super) struct Groups {
    by_name: HashMap<Arc<str>, Group>,
    /// The groups that may deliver, by the key of their first message.
    open: BTreeMap<Key, Arc<str>>,
}

#[derive(Default)]
struct Group {
    /// What waits, in order, and whether it is visible: a delayed head holds up those behind it.
    waiting: BTreeMap<Key, bool>,
    in_flight: usize,
}

impl Group {
    fn head(&self) -> Option<Key> {
        self.waiting.first_key_value().filter(|(_, visible)| **visible).map(|(key, _)| *key)
    }

    fn open_head(&self) -> Option<Key> {
        self.head().filter(|_| self.in_flight == 0)
    }
}

impl Groups {
    fn change(&mut self, name: Option<&Arc<str>>, change: impl FnOnce(&mut Group)) {
        // Only a FIFO queue keeps groups, and it takes no message without one.
        let Some(name) = name else { return };
        let group = self.by_name.entry(Arc::clone(name)).or_default();
        let before = group.open_head();
        change(group);
        let after = group.open_head();
        if group.waiting.is_empty() && group.in_flight == 0 {
            self.by_name.remove(name);
        }
        if before == after {
            return;
        }
        if let Some(head) = before {
            self.open.remove(&head);
        }
        if let Some(head) = after {
            self.open.insert(head, Arc::clone(name));
        }
    }
}
