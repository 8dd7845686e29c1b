//! When was the datagram sent that a peer now echoes?

use std::collections::VecDeque;
use std::time::Duration;

use crate::time::Timestamp;

/// Datagrams remembered for each peer: under each lease that [`Timing::stretched`](crate::config::Timing::stretched)
/// gives, more than one lease of them. An echo of an older one renews nothing, which is always safe.
const REMEMBERED: usize = 64;

/// One datagram to a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sent {
    counter: u64,
    /// When it was sent.
    pub at: Timestamp,
    /// The lease that it said, if it was a heartbeat: what its answer is worth.
    pub lease: Duration,
}

/// The newest datagrams to one peer.
#[derive(Clone, Debug, Default)]
pub struct SentTimes(VecDeque<Sent>);

impl SentTimes {
    /// Records a datagram; counters grow.
    pub fn record(&mut self, counter: u64, at: Timestamp, lease: Duration) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(Sent { counter, at, lease });
    }

    /// The datagram with this counter.
    pub fn get(&self, counter: u64) -> Option<Sent> {
        let place = self.0.binary_search_by_key(&counter, |sent| sent.counter).ok()?;
        Some(self.0[place])
    }

    /// When the last datagram was sent.
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.back().map(|sent| sent.at)
    }

    /// Forgets all: what was sent before a clock gap proves nothing.
    pub fn clear(&mut self) {
        self.0.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_newest_are_remembered() {
        let mut sent = SentTimes::default();
        for n in 1..=100 {
            sent.record(2 * n, Timestamp::from_millis(n), Duration::from_millis(n));
        }
        let newest = Sent { counter: 200, at: Timestamp::from_millis(100), lease: Duration::from_millis(100) };
        assert_eq!(sent.get(200), Some(newest));
        assert_eq!(sent.get(199), None, "another peer's counter");
        assert_eq!(sent.get(2), None, "forgotten");
    }
}
