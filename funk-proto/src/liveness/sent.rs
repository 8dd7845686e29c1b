//! When was the datagram sent that a peer now echoes?

use std::collections::VecDeque;

use crate::time::Timestamp;

/// Datagrams remembered for each peer: at the default interval, 640 ms of
/// them. An echo of an older one renews nothing, which is always safe.
const REMEMBERED: usize = 32;

/// The send times of the newest datagrams to one peer.
#[derive(Clone, Debug, Default)]
pub struct SentTimes(VecDeque<(u64, Timestamp)>);

impl SentTimes {
    /// Records a datagram; counters grow.
    pub fn record(&mut self, counter: u64, at: Timestamp) {
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back((counter, at));
    }

    /// When the datagram with this counter was sent.
    pub fn get(&self, counter: u64) -> Option<Timestamp> {
        let at = self.0.binary_search_by_key(&counter, |&(counter, _)| counter).ok()?;
        Some(self.0[at].1)
    }

    /// When the last datagram was sent.
    pub fn newest(&self) -> Option<Timestamp> {
        self.0.back().map(|&(_, at)| at)
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
            sent.record(2 * n, Timestamp::from_millis(n));
        }
        assert_eq!(sent.get(200), Some(Timestamp::from_millis(100)));
        assert_eq!(sent.get(199), None, "another peer's counter");
        assert_eq!(sent.get(2), None, "forgotten");
    }
}
