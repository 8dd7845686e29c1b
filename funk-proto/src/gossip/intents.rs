//! Joins and leaves of members that are not known yet. Gossip has no order: an
//! intent may come before the node it is about.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use crate::limits::GOSSIP_INTENTS_MAX;
use crate::time::Timestamp;

/// What an intent says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wish {
    Join,
    Leave,
}

/// The newest intent of each unknown member.
#[derive(Debug, Default)]
pub(super) struct Intents(BTreeMap<Bytes, (u64, Wish, Timestamp)>);

impl Intents {
    /// Keeps an intent. True if it is newer than what is known; `None` if
    /// there is no room for it.
    pub(super) fn keep(&mut self, now: Timestamp, name: &Bytes, time: u64, wish: Wish) -> Option<bool> {
        if let Some(known) = self.0.get_mut(name) {
            if time <= known.0 {
                return Some(false);
            }
            *known = (time, wish, now);
            return Some(true);
        }
        if self.0.len() >= GOSSIP_INTENTS_MAX {
            return None;
        }
        self.0.insert(name.clone(), (time, wish, now));
        Some(true)
    }

    /// The intent of a member that is known from now on.
    pub(super) fn take(&mut self, name: &Bytes) -> Option<(u64, Wish)> {
        self.0.remove(name).map(|(time, wish, _)| (time, wish))
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    pub(super) fn expire(&mut self, now: Timestamp, after: Duration) {
        self.0.retain(|_, (_, _, kept)| now.since(*kept) < after);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_newest_intent_of_a_name_is_kept_for_its_time() {
        let (mut intents, name) = (Intents::default(), Bytes::from_static(b"x"));
        let at = Timestamp::from_millis;
        assert_eq!(intents.keep(at(0), &name, 5, Wish::Leave), Some(true));
        assert_eq!(intents.keep(at(0), &name, 5, Wish::Join), Some(false));
        assert_eq!(intents.keep(at(9), &name, 6, Wish::Join), Some(true));
        intents.expire(at(10), Duration::from_millis(2));
        assert_eq!(intents.take(&name), Some((6, Wish::Join)));
        intents.keep(at(0), &name, 5, Wish::Leave);
        intents.expire(at(10), Duration::from_millis(10));
        assert_eq!(intents.take(&name), None);
    }

    #[test]
    fn intents_of_unknown_names_are_bounded() {
        let mut intents = Intents::default();
        for n in 0..GOSSIP_INTENTS_MAX {
            intents.keep(Timestamp::ZERO, &Bytes::from(n.to_string()), 1, Wish::Join);
        }
        assert_eq!(intents.keep(Timestamp::ZERO, &Bytes::from_static(b"more"), 1, Wish::Join), None);
        assert_eq!(intents.keep(Timestamp::ZERO, &Bytes::from_static(b"7"), 2, Wish::Join), Some(true));
    }
}
