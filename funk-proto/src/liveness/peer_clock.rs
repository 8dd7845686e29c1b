//! Whether this node's clock stood still without a trace, by the clock of a peer.
//!
//! Leases rely on clocks that count every pause. A machine that is stopped and
//! resumed with all of its clocks standing still sees no gap; but the next
//! datagram of a peer shows that time has passed there. Each datagram says when
//! it left by its sender's clock. One that answers a datagram of ours left after
//! ours did: a lower bound on how far our clock is ahead of the peer's. Any datagram
//! left before it arrived: an upper bound. If the current upper bound is below an
//! earlier lower bound by more than drift allows, our clock stood still.

use std::time::Duration;

use crate::time::Timestamp;

/// Shorter than any pause that matters, longer than the error of the stamps.
const SLACK_NANOS: i128 = 5_000_000;
/// A peer whose clock runs too fast shows a loss again and again: it is believed once in this time.
const AGAIN_AFTER: Duration = Duration::from_secs(1);

/// What is known of how far this node's clock is ahead of one peer's.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct PeerClock {
    least: Option<Least>,
    not_before: Timestamp,
}

#[derive(Clone, Copy, Debug)]
struct Least {
    since: Timestamp,
    ahead_nanos: i128,
}

impl PeerClock {
    /// A datagram came `now` that left at `theirs`, and that answers one which
    /// left here at `answers`, if it answers any. Tells for how long this
    /// node's clock stood still since, at least.
    pub(super) fn compare(
        &mut self,
        now: Timestamp,
        theirs: Timestamp,
        answers: Option<Timestamp>,
        drift_ppm: u32,
    ) -> Option<Duration> {
        let ahead = |ours: Timestamp| i128::from(ours.as_nanos()) - i128::from(theirs.as_nanos());
        let drifted = |length_nanos: i128| length_nanos * i128::from(drift_ppm) * 21 / 10_000_000;
        let most = ahead(now);
        let least = self.least.map(|least| {
            let since = i128::try_from(now.since(least.since).as_nanos()).unwrap_or(i128::MAX >> 64);
            least.ahead_nanos - drifted(since)
        });
        let lost = least.map(|least| least - most).filter(|&lost| lost > SLACK_NANOS + drifted(lost));
        if let Some(sent) = answers.filter(|&sent| lost.is_some() || least.is_none_or(|least| ahead(sent) >= least)) {
            // It held when the peer sent, which was not before this.
            self.least = Some(Least { since: sent, ahead_nanos: ahead(sent) });
        } else if lost.is_some() {
            self.least = None;
        }
        let lost = lost.filter(|_| now >= self.not_before)?;
        self.not_before = now + AGAIN_AFTER;
        Some(Duration::from_nanos(u64::try_from(lost).unwrap_or(u64::MAX)))
    }

    /// What was known says nothing about another clock, or after a gap.
    pub(super) fn forget(&mut self) {
        self.least = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PPM: u32 = 10_000;

    fn at(micros: u64) -> Timestamp {
        Timestamp::from_nanos(micros * 1_000)
    }

    #[test]
    fn a_clock_that_stood_still_is_found_by_the_first_datagram_and_once() {
        let mut peer_clock = PeerClock::default();
        assert_eq!(peer_clock.compare(at(100_200), at(900_100), Some(at(100_000)), PPM), None);
        assert_eq!(peer_clock.compare(at(120_200), at(920_100), Some(at(120_000)), PPM), None);
        // The machine sleeps for 130 ms; what the peer sent meanwhile waits in the socket.
        let lost = peer_clock.compare(at(120_300), at(940_000), None, PPM).unwrap();
        assert!(lost > Duration::from_millis(19) && lost < Duration::from_millis(20), "{lost:?}");
        let mut peer_clock = PeerClock::default();
        peer_clock.compare(at(120_200), at(920_100), Some(at(120_000)), PPM);
        let lost = peer_clock.compare(at(120_300), at(1_050_000), None, PPM).unwrap();
        assert!(lost > Duration::from_millis(129) && lost < Duration::from_millis(130), "{lost:?}");
        assert_eq!(peer_clock.compare(at(120_400), at(1_050_100), None, PPM), None);
    }

    #[test]
    fn delay_in_either_way_and_drift_within_the_bound_are_no_loss() {
        let mut peer_clock = PeerClock::default();
        // It takes half a second to come; the next ones nothing.
        assert_eq!(peer_clock.compare(at(600_000), at(1_000_000), Some(at(99_000)), PPM), None);
        assert_eq!(peer_clock.compare(at(600_010), at(1_500_000), None, PPM), None);
        // A minute in which ours is as slow and the peer's as fast as they may be.
        let (mut ours, mut theirs) = (700_000, 1_600_000);
        for _ in 0..3_000 {
            (ours, theirs) = (ours + 19_800, theirs + 20_200);
            assert_eq!(peer_clock.compare(at(ours + 100), at(theirs), Some(at(ours)), PPM), None);
        }
        // And one in which only every hundredth answers.
        for n in 0..3_000 {
            (ours, theirs) = (ours + 19_800, theirs + 20_200);
            let answers = (n % 100 == 0).then_some(at(ours));
            assert_eq!(peer_clock.compare(at(ours + 100), at(theirs), answers, PPM), None);
        }
    }

    #[test]
    fn a_peer_whose_clock_is_too_fast_is_believed_now_and_then_only() {
        let mut peer_clock = PeerClock::default();
        let (mut ours, mut theirs, mut losses) = (1_000_000, 5_000_000, 0);
        // Ten seconds at eight percent.
        for _ in 0..500 {
            (ours, theirs) = (ours + 20_000, theirs + 21_600);
            losses += u32::from(peer_clock.compare(at(ours + 100), at(theirs), Some(at(ours)), PPM).is_some());
        }
        assert!((1..=10).contains(&losses), "{losses}");
    }

    #[test]
    fn drift_during_a_long_way_back_is_no_loss() {
        let mut peer_clock = PeerClock::default();
        // Ours is 1 % slow and the peer's 1 % fast; the answer takes 400 ms of true time, the next datagram none.
        assert_eq!(peer_clock.compare(at(1_396_000), at(5_000_000), Some(at(1_000_000)), PPM), None);
        assert_eq!(peer_clock.compare(at(1_396_000), at(5_404_000), None, PPM), None);
    }

    #[test]
    fn a_peer_whose_clock_stood_still_is_not_taken_for_our_own() {
        let mut peer_clock = PeerClock::default();
        assert_eq!(peer_clock.compare(at(100_200), at(900_100), Some(at(100_000)), PPM), None);
        assert_eq!(peer_clock.compare(at(900_200), at(900_200), Some(at(900_000)), PPM), None);
        // From now on it is measured by where it stands.
        assert!(peer_clock.compare(at(900_300), at(950_000), None, PPM).is_some());
    }
}
