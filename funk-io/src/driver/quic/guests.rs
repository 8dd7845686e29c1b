//! How many handshakes with those who dial are under way.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::{HANDSHAKES_MAX, HANDSHAKES_OF_SOURCE_MAX, HANDSHAKES_UNPROVEN_MAX};

/// What is done with one more.
#[derive(Debug)]
pub(super) enum Welcome {
    /// Its handshake begins.
    Enter(Guest),
    /// It has to prove its address first: nobody fills the places from addresses that are not its own.
    Prove,
    /// There is no place for it.
    Full,
}

/// Counts them.
#[derive(Clone, Debug, Default)]
pub(super) struct Guests(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

impl Guests {
    fn counts(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One more comes from `address`, which it has proven to be its own or not.
    pub(super) fn welcome(&self, address: IpAddr, is_proven: bool) -> Welcome {
        let mut counts = self.counts();
        let all: usize = counts.values().sum();
        if !is_proven && all >= HANDSHAKES_UNPROVEN_MAX {
            return Welcome::Prove;
        }
        let own = counts.get(&address).copied().unwrap_or_default();
        if all >= HANDSHAKES_MAX || own >= HANDSHAKES_OF_SOURCE_MAX {
            return Welcome::Full;
        }
        counts.insert(address, own + 1);
        Welcome::Enter(Guest { guests: self.clone(), address })
    }
}

/// A handshake that is under way. Dropped, it is over.
#[derive(Debug)]
pub(super) struct Guest {
    guests: Guests,
    address: IpAddr,
}

impl Drop for Guest {
    fn drop(&mut self) {
        let mut counts = self.guests.counts();
        if let Some(count) = counts.get_mut(&self.address) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.address);
            }
        }
    }
}
