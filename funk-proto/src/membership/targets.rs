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

#[derive(Debug)]
struct Target {
    failures: u32,
    due: Timestamp,
    conn: Option<ConnId>,
}

/// All join addresses.
#[derive(Debug, Default)]
pub(super) struct Targets(BTreeMap<SocketAddr, Target>);

impl Targets {
    /// Adds an address, due at once; one that is there already is due anew.
    pub(super) fn add(&mut self, now: Timestamp, address: SocketAddr) {
        if let Some(target) = self.0.get_mut(&address) {
            (target.failures, target.due) = (0, now);
        } else if self.0.len() < JOIN_ADDRESSES_MAX {
            self.0.insert(address, Target { failures: 0, due: now, conn: None });
        }
    }

    /// Addresses to be tried now.
    pub(super) fn due(&self, now: Timestamp) -> Vec<SocketAddr> {
        let due = |(_, target): &(&SocketAddr, &Target)| target.conn.is_none() && target.due <= now;
        self.0.iter().filter(due).map(|(address, _)| *address).collect()
    }

    /// When the next one is to be tried.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.0.values().filter(|target| target.conn.is_none()).map(|target| target.due).min()
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
        target.conn = None;
    }
}
