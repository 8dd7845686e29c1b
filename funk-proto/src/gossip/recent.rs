//! User events and queries seen lately, so that each is passed on once. A
//! ring over the Lamport times: what is older than it counts as seen.

use bytes::Bytes;

use crate::limits::{GOSSIP_RECENT_BYTES_MAX, GOSSIP_RECENT_PER_TIME, GOSSIP_RECENT_TIMES};

#[derive(Clone, Debug, Default)]
struct Slot {
    time: u64,
    seen: Vec<Bytes>,
}

/// What was seen lately.
#[derive(Debug)]
pub(super) struct Recent {
    slots: Vec<Slot>,
    bytes: usize,
}

impl Recent {
    pub(super) fn new() -> Self {
        Self { slots: vec![Slot::default(); GOSSIP_RECENT_TIMES], bytes: 0 }
    }

    /// What was seen last, oldest first: up to so many bytes of it.
    pub(super) fn latest(&self, bytes_max: usize) -> Vec<(u64, &[Bytes])> {
        let filled = self.slots.iter().filter(|slot| !slot.seen.is_empty());
        let mut latest: Vec<_> = filled.map(|slot| (slot.time, &slot.seen[..])).collect();
        latest.sort_unstable_by_key(|(time, _)| std::cmp::Reverse(*time));
        let mut bytes = 0;
        let fit = latest.iter().take_while(|(_, seen)| {
            bytes += seen.iter().map(Bytes::len).sum::<usize>();
            bytes <= bytes_max
        });
        let fit = fit.count();
        latest.truncate(fit);
        latest.reverse();
        latest
    }

    /// Whether `what` of this `time` is seen for the first time, at the clock's
    /// present time. What there is no room for counts as seen.
    pub(super) fn is_fresh(&mut self, clock: u64, time: u64, what: &Bytes) -> bool {
        let times = GOSSIP_RECENT_TIMES as u64;
        if clock > times && time < clock - times {
            return false;
        }
        let at = usize::try_from(time % times).expect("below the ring's length");
        let slot = &mut self.slots[at];
        if slot.time > time {
            return false;
        }
        if slot.time < time {
            self.bytes -= slot.seen.iter().map(Bytes::len).sum::<usize>();
            *slot = Slot { time, seen: Vec::new() };
        }
        let full = slot.seen.len() >= GOSSIP_RECENT_PER_TIME || self.bytes + what.len() > GOSSIP_RECENT_BYTES_MAX;
        if full || slot.seen.contains(what) {
            return false;
        }
        self.bytes += what.len();
        slot.seen.push(what.clone());
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_fresh_once() {
        let mut recent = Recent::new();
        let (one, other) = (Bytes::from_static(b"one"), Bytes::from_static(b"other"));
        assert!(recent.is_fresh(5, 4, &one) && recent.is_fresh(5, 4, &other) && recent.is_fresh(5, 3, &one));
        assert!(!recent.is_fresh(5, 4, &one) && !recent.is_fresh(5, 4, &other));
        // A time that took the slot of another ends that one's memory, and what is older is not fresh.
        assert!(recent.is_fresh(600, 4 + 512, &one));
        assert!(!recent.is_fresh(600, 4, &one) && !recent.is_fresh(600, 80, &one) && recent.is_fresh(600, 90, &one));
    }

    #[test]
    fn memory_is_bounded() {
        let mut recent = Recent::new();
        let big = |n: u64| Bytes::from(vec![u8::try_from(n % 256).unwrap(); 100_000]);
        let fresh = (0..100).filter(|n| recent.is_fresh(1, *n, &big(*n))).count();
        assert_eq!(fresh, GOSSIP_RECENT_BYTES_MAX / 100_000);
        assert!(recent.is_fresh(512, 512, &Bytes::from_static(b"x")), "the slot of time 0 is free again");
    }
}
