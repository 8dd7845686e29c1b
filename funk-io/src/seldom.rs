//! What happens all the time and is said seldom.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use crate::limits::REFUSED_PEERS_MAX;

const SECOND: Duration = Duration::from_secs(1);

/// Lets something be said once a second, and counts the times between.
#[derive(Debug, Default)]
pub struct Seldom {
    said: Option<Instant>,
    times: u64,
}

impl Seldom {
    /// Counts one more. How often it happened since it was said last, if it may be said now.
    pub fn count(&mut self) -> Option<u64> {
        self.count_every(SECOND)
    }

    fn count_every(&mut self, pause: Duration) -> Option<u64> {
        self.times += 1;
        if self.is_recent(pause) {
            return None;
        }
        self.said = Some(Instant::now());
        Some(std::mem::take(&mut self.times))
    }

    fn is_recent(&self, pause: Duration) -> bool {
        self.said.is_some_and(|said| said.elapsed() < pause)
    }
}

/// The same for each of many peers. Those beyond [`REFUSED_PEERS_MAX`] share one line.
#[derive(Debug)]
pub struct SeldomEach {
    pause: Duration,
    peers: BTreeMap<IpAddr, Seldom>,
    others: Seldom,
}

/// Each peer once a second.
impl Default for SeldomEach {
    fn default() -> Self {
        Self::new(SECOND)
    }
}

impl SeldomEach {
    /// Something that is said of each peer no more often than this.
    pub fn new(pause: Duration) -> Self {
        Self { pause, peers: BTreeMap::new(), others: Seldom::default() }
    }

    /// Counts one more. How often it happened with this peer since it was said last, if it may be said now.
    pub fn count(&mut self, peer: IpAddr) -> Option<u64> {
        let pause = self.pause;
        if !self.peers.contains_key(&peer) && self.peers.len() >= REFUSED_PEERS_MAX {
            self.peers.retain(|_, seldom| seldom.is_recent(pause));
            if self.peers.len() >= REFUSED_PEERS_MAX {
                return self.others.count_every(pause);
            }
        }
        self.peers.entry(peer).or_default().count_every(pause)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn something_that_happens_all_the_time_is_said_once_a_second_with_how_often_it_was() {
        let (mut one, mut other) = (Seldom::default(), Seldom::default());
        assert_eq!(one.count(), Some(1));
        assert!((0..1_000).filter_map(|_| one.count()).count() <= 1, "unless a second went by");
        assert_eq!(other.count(), Some(1), "another waits for nobody");
        let silent = one.times;
        one.said = one.said.and_then(|said| said.checked_sub(Duration::from_secs(1)));
        assert_eq!(one.count(), Some(silent + 1));
        assert_eq!(one.times, 0);
    }

    #[test]
    fn each_peer_has_a_line_of_its_own_up_to_a_bound() {
        let mut each = SeldomEach::new(Duration::from_secs(3600));
        let peer = |n: usize| IpAddr::from([10, 0, 0, u8::try_from(n).unwrap()]);
        assert!((0..REFUSED_PEERS_MAX).all(|n| each.count(peer(n)) == Some(1)));
        assert!((0..REFUSED_PEERS_MAX).all(|n| each.count(peer(n)).is_none()));
        assert_eq!(each.count(peer(REFUSED_PEERS_MAX)), Some(1));
        assert_eq!(each.count(peer(REFUSED_PEERS_MAX + 1)), None);
    }
}
