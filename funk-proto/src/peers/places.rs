//! Where a peer may be found, and when it is dialled there.

use std::net::SocketAddr;
use std::time::Duration;

use super::stream::{Said, Stream};
use super::{BACKOFF_MAX, BACKOFF_MIN, Standing};
use crate::rng::Rng;
use crate::time::Timestamp;

/// An address, and when it may be dialled again.
#[derive(Clone, Copy, Debug)]
pub(super) struct Place {
    pub(super) address: SocketAddr,
    pub(super) retry_at: Timestamp,
    backoff: Duration,
}

impl Place {
    fn new(address: SocketAddr) -> Self {
        Self { address, retry_at: Timestamp::ZERO, backoff: Duration::ZERO }
    }
}

/// What others say of where a peer is, the most trustworthy first.
#[derive(Debug, Default)]
pub(super) struct Places {
    /// The member table.
    listed: Option<Place>,
    /// Gossip.
    shown: Option<Place>,
    /// The peer itself.
    called: Option<Place>,
}

fn renew(place: &mut Option<Place>, address: SocketAddr) -> bool {
    let is_new = place.is_none_or(|place| place.address != address);
    if is_new {
        *place = Some(Place::new(address));
    }
    is_new
}

impl Places {
    /// The member table lists this address. False if that was known.
    pub(super) fn list(&mut self, address: SocketAddr) -> bool {
        renew(&mut self.listed, address)
    }

    /// Gossip shows this address. False if that was known.
    pub(super) fn show(&mut self, address: SocketAddr) -> bool {
        renew(&mut self.shown, address)
    }

    /// The peer itself, or another node, says that the peer is at this address. False if that was known.
    pub(super) fn call(&mut self, address: SocketAddr) -> bool {
        self.addresses().all(|known| known != address) && renew(&mut self.called, address)
    }

    pub(super) fn is_listed(&self) -> bool {
        self.listed.is_some()
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = Place> {
        [self.listed, self.shown, self.called].into_iter().flatten()
    }

    pub(super) fn addresses(&self) -> impl Iterator<Item = SocketAddr> {
        self.iter().map(|place| place.address)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut Place> {
        [&mut self.listed, &mut self.shown, &mut self.called].into_iter().flatten()
    }

    fn at(&mut self, address: SocketAddr) -> impl Iterator<Item = &mut Place> {
        self.iter_mut().filter(move |place| place.address == address)
    }

    /// A dial of this address came to nothing, or a stream to it ended. The pause begins `since`: it is over already
    /// when the dial waited for longer.
    pub(super) fn back_off(&mut self, now: Timestamp, since: Timestamp, address: SocketAddr, rng: &mut Rng) {
        let Some(backoff) = self.at(address).next().map(|place| place.backoff) else { return };
        let low = (backoff * 2).clamp(BACKOFF_MIN, BACKOFF_MAX);
        let retry_at = (since + rng.between(low / 2, low)).max(now + BACKOFF_MIN / 2);
        self.at(address).for_each(|place| (place.backoff, place.retry_at) = (low, retry_at));
    }

    /// The peer was reached at this address.
    pub(super) fn reached(&mut self, address: SocketAddr) {
        self.at(address).for_each(|place| place.backoff = Duration::ZERO);
    }

    /// All addresses may be dialled at once.
    pub(super) fn hurry(&mut self, now: Timestamp) {
        self.iter_mut().for_each(|place| (place.retry_at, place.backoff) = (now, Duration::ZERO));
    }

    /// The address at which the other side of a stream was reached, if that is known. Of several that count which is the
    /// most trustworthy of these. Whoever has a certificate is believed where it says that it is.
    pub(super) fn reached_at(&self, stream: &Stream) -> Option<SocketAddr> {
        let proven = || self.addresses().find(|address| stream.proven.contains(address));
        let own_word = |said: Said| stream.certified.as_ref().map(|_| said.raft);
        let said = stream.said?;
        stream.to.or_else(proven).or(stream.proven.first().copied()).or_else(|| own_word(said))
    }

    /// What it says of a peer that it was reached at this address.
    pub(super) fn standing(&self, reached_at: SocketAddr) -> Standing {
        match self.listed {
            Some(listed) if listed.address != reached_at => Standing::Elsewhere,
            _ => Standing::Confirmed,
        }
    }
}
