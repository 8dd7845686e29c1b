//! Join addresses, and when each is tried again.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use crate::id::ConnId;
use crate::limits::JOIN_ADDRESSES_MAX;
use crate::rng::Rng;
use crate::time::Timestamp;

/// The first wait after a failure; it doubles with each.
const BACK_OFF_MIN: Duration = Duration::from_millis(100);
/// The longest wait: a seed that comes up late is found this soon.
const BACK_OFF_MAX: Duration = Duration::from_secs(2);
/// Wait of a node that is among others already: it looks for members on the
/// far side of a split, and nothing waits for that.
const REVISIT: Duration = Duration::from_secs(30);

#[derive(Debug)]
struct Target {
    failures: u32,
    /// When it is due while this node is alone.
    due: Timestamp,
    /// When it is due while this node is among others.
    revisit: Timestamp,
    conn: Option<ConnId>,
    /// It makes room for no other: the operator gave it.
    pinned: bool,
}

impl Target {
    fn at(&self, alone: bool) -> Timestamp {
        if alone { self.due } else { self.revisit }
    }
}

/// All join addresses.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<SocketAddr, Target>);

impl Targets {
    /// Adds an address, due at once, or within `spread` by a node that is among
    /// others; one that is there already is due anew. Where there is no room
    /// left, the one that failed most often makes room, but none of the configuration.
    pub(super) fn add(&mut self, now: Timestamp, address: SocketAddr, spread: Duration, rng: &mut Rng) {
        let revisit = now + if spread.is_zero() { spread } else { rng.between(Duration::ZERO, spread) };
        if let Some(target) = self.0.get_mut(&address) {
            (target.failures, target.due, target.revisit) = (0, now, revisit);
            return;
        }
        if self.0.len() >= JOIN_ADDRESSES_MAX {
            let fails = |target: &Target| !target.pinned && target.conn.is_none() && target.failures > 0;
            let idle = self.0.iter().filter(|(_, target)| fails(target));
            let Some(worst) = idle.max_by_key(|(_, target)| target.failures).map(|(address, _)| *address) else {
                return;
            };
            self.0.remove(&worst);
        }
        self.0.insert(address, Target { failures: 0, due: now, revisit, conn: None, pinned: false });
    }

    /// The addresses that are there now stay for ever.
    pub(super) fn pin(&mut self) {
        for target in self.0.values_mut() {
            target.pinned = true;
        }
    }

    /// All are due now.
    pub(super) fn renew(&mut self, now: Timestamp) {
        for target in self.0.values_mut() {
            (target.failures, target.due, target.revisit) = (0, now, now);
        }
    }

    /// Addresses to be tried now.
    pub(super) fn due(&self, now: Timestamp, alone: bool) -> Vec<SocketAddr> {
        let due = |(_, target): &(&SocketAddr, &Target)| target.conn.is_none() && target.at(alone) <= now;
        self.0.iter().filter(due).map(|(address, _)| *address).collect()
    }

    /// When the next one is to be tried.
    pub(super) fn next_due(&self, alone: bool) -> Option<Timestamp> {
        self.0.values().filter(|target| target.conn.is_none()).map(|target| target.at(alone)).min()
    }

    /// No need to try it: the member there is known to be alive.
    pub(super) fn postpone(&mut self, now: Timestamp, address: SocketAddr, rng: &mut Rng) {
        if let Some(target) = self.0.get_mut(&address) {
            target.revisit = now + rng.between(REVISIT * 3 / 4, REVISIT);
        }
    }

    /// A try began.
    pub(super) fn began(&mut self, address: SocketAddr, conn: ConnId) {
        if let Some(target) = self.0.get_mut(&address) {
            target.conn = Some(conn);
        }
    }

    /// A try ended.
    pub(super) fn ended(&mut self, now: Timestamp, address: SocketAddr, worked: bool, rng: &mut Rng) {
        let Some(target) = self.0.get_mut(&address) else { return };
        target.failures = if worked { 0 } else { target.failures.saturating_add(1) };
        let doublings = target.failures.saturating_sub(1).min(8);
        let wait = (BACK_OFF_MIN * (1 << doublings)).min(BACK_OFF_MAX);
        // Less by up to a quarter, so that nodes started together spread.
        target.due = now + rng.between(wait * 3 / 4, wait);
        target.revisit = now + rng.between(REVISIT * 3 / 4, REVISIT);
        target.conn = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::{Seed, Stream};

    fn address(number: usize) -> SocketAddr {
        SocketAddr::from(([10, 0, 0, 1], u16::try_from(number + 1).unwrap()))
    }

    #[test]
    fn what_was_found_makes_room_once_it_failed_and_what_was_given_never() {
        let (mut targets, mut rng) = (Targets::default(), Rng::new(Seed::from_u64(1), Stream::Gossip));
        let now = Timestamp::from_millis(1);
        targets.add(now, address(0), Duration::ZERO, &mut rng);
        targets.pin();
        for number in 1..JOIN_ADDRESSES_MAX {
            targets.add(now, address(number), Duration::ZERO, &mut rng);
        }
        let newcomer = address(JOIN_ADDRESSES_MAX);
        targets.ended(now, address(0), false, &mut rng);
        targets.add(now, newcomer, Duration::ZERO, &mut rng);
        assert!(!targets.0.contains_key(&newcomer), "nothing that was found has failed");
        targets.ended(now, address(5), false, &mut rng);
        targets.add(now, newcomer, Duration::ZERO, &mut rng);
        assert!(targets.0.contains_key(&newcomer) && !targets.0.contains_key(&address(5)));
        assert!(targets.0.contains_key(&address(0)));
        assert_eq!(targets.0.len(), JOIN_ADDRESSES_MAX);
    }

    #[test]
    fn a_node_among_others_comes_back_to_an_address_later_than_one_that_is_alone() {
        let (mut targets, mut rng) = (Targets::default(), Rng::new(Seed::from_u64(1), Stream::Gossip));
        let now = Timestamp::from_millis(1);
        targets.add(now, address(0), Duration::ZERO, &mut rng);
        assert_eq!((targets.due(now, true).len(), targets.due(now, false).len()), (1, 1));
        targets.ended(now, address(0), false, &mut rng);
        let (soon, later) = (targets.next_due(true).unwrap(), targets.next_due(false).unwrap());
        assert!(soon <= now + BACK_OFF_MIN && later > now + BACK_OFF_MAX && later <= now + REVISIT);
        targets.renew(now);
        assert_eq!(targets.due(now, false), [address(0)]);
    }
}
