//! Handshakes under way on one listener: how many, whose, and how often they begin.
//!
//! A handshake costs memory until it ends and some work in any case. When there is no room the oldest of the source with
//! the most ends; a source that begins too many a second is turned away before its handshake costs anything.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use event_listener::Event;

use crate::limits::{
    HANDSHAKE_SOURCES_MAX, HANDSHAKES_BURST, HANDSHAKES_MAX, HANDSHAKES_OF_SOURCE_MAX, HANDSHAKES_PER_SECOND,
};

/// The handshakes of one listener.
#[derive(Debug, Default)]
pub(super) struct Handshakes(Mutex<Held>);

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_number: BTreeMap<u64, (IpAddr, Arc<Out>)>,
    by_source: BTreeMap<IpAddr, usize>,
    /// What each source may begin at once, as of when.
    budgets: BTreeMap<IpAddr, (f64, Instant)>,
}

/// Rings when a handshake has to make way.
#[derive(Debug, Default)]
struct Out {
    is_out: AtomicBool,
    event: Event,
}

/// A handshake's place; dropping it gives the place back.
pub(super) struct Shaking {
    handshakes: Arc<Handshakes>,
    number: u64,
    out: Arc<Out>,
}

impl Drop for Shaking {
    fn drop(&mut self) {
        self.handshakes.lock().remove(self.number);
    }
}

impl Shaking {
    /// Ends when it has to make way.
    pub(super) async fn shown_out(&self) {
        loop {
            let listener = self.out.event.listen();
            if self.out.is_out.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }
}

impl Held {
    fn remove(&mut self, number: u64) {
        let Some((source, out)) = self.by_number.remove(&number) else { return };
        if let Some(count) = self.by_source.get_mut(&source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&source);
            }
        }
        out.is_out.store(true, Ordering::Release);
        out.event.notify(usize::MAX);
    }

    fn oldest_of(&self, source: IpAddr) -> Option<u64> {
        self.by_number.iter().find(|(_, (from, _))| *from == source).map(|(number, _)| *number)
    }

    /// Whether `source` may begin one more.
    fn spend(&mut self, source: IpAddr, now: Instant) -> bool {
        let earned = |(budget, at): (f64, Instant)| {
            (budget + now.duration_since(at).as_secs_f64() * HANDSHAKES_PER_SECOND).min(HANDSHAKES_BURST)
        };
        if self.budgets.len() >= HANDSHAKE_SOURCES_MAX && !self.budgets.contains_key(&source) {
            // Those who have all that they may have are as good as unknown.
            self.budgets.retain(|_, budget| earned(*budget) < HANDSHAKES_BURST);
            if self.budgets.len() >= HANDSHAKE_SOURCES_MAX {
                self.budgets.pop_first();
            }
        }
        let budget = earned(self.budgets.get(&source).copied().unwrap_or((HANDSHAKES_BURST, now)));
        let may = budget >= 1.0;
        self.budgets.insert(source, (if may { budget - 1.0 } else { budget }, now));
        may
    }
}

impl Handshakes {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for a handshake with `source`; `None` if it begins too many.
    pub(super) fn begin(self: &Arc<Self>, source: IpAddr, now: Instant) -> Option<Shaking> {
        let mut held = self.lock();
        if !held.spend(source, now) {
            return None;
        }
        let crowd = if held.by_source.get(&source).copied().unwrap_or_default() >= HANDSHAKES_OF_SOURCE_MAX {
            Some(source)
        } else if held.by_number.len() >= HANDSHAKES_MAX {
            held.by_source.iter().max_by_key(|(_, count)| **count).map(|(source, _)| *source)
        } else {
            None
        };
        if let Some(oldest) = crowd.and_then(|crowd| held.oldest_of(crowd)) {
            held.remove(oldest);
        }
        let (number, out) = (held.next, Arc::<Out>::default());
        held.next += 1;
        held.by_number.insert(number, (source, Arc::clone(&out)));
        *held.by_source.entry(source).or_default() += 1;
        Some(Shaking { handshakes: Arc::clone(self), number, out })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_out(shaking: &Shaking) -> bool {
        block_on(poll_once(shaking.shown_out())).is_some()
    }

    #[test]
    fn the_oldest_of_a_source_that_has_too_many_makes_way() {
        let (handshakes, now) = (Arc::<Handshakes>::default(), Instant::now());
        let other = handshakes.begin(from(2), now).unwrap();
        let crowd: Vec<_> = (0..=HANDSHAKES_OF_SOURCE_MAX).map(|_| handshakes.begin(from(1), now).unwrap()).collect();
        assert_eq!(crowd.iter().position(is_out), Some(0));
        assert_eq!(crowd.iter().filter(|one| is_out(one)).count(), 1);
        assert!(!is_out(&other));
        drop((crowd, other));
        assert!(handshakes.lock().by_number.is_empty() && handshakes.lock().by_source.is_empty());
    }

    #[test]
    fn the_largest_crowd_makes_way_when_the_listener_is_full() {
        let (handshakes, now) = (Arc::<Handshakes>::default(), Instant::now());
        let sources = u8::try_from(HANDSHAKES_MAX / HANDSHAKES_OF_SOURCE_MAX).unwrap();
        let all: Vec<_> = (0..sources)
            .flat_map(|last| (0..HANDSHAKES_OF_SOURCE_MAX).map(move |_| last))
            .map(|last| handshakes.begin(from(last), now).unwrap())
            .collect();
        let next = handshakes.begin(from(200), now).unwrap();
        assert_eq!(all.iter().filter(|one| is_out(one)).count(), 1);
        assert!(!is_out(&next));
        assert_eq!(handshakes.lock().by_number.len(), HANDSHAKES_MAX);
    }

    #[test]
    fn a_source_that_begins_too_many_waits_and_others_do_not() {
        let (handshakes, now) = (Arc::<Handshakes>::default(), Instant::now());
        let begun = (0..10_000).filter(|_| handshakes.begin(from(1), now).is_some()).count();
        assert_eq!(begun as f64, HANDSHAKES_BURST);
        assert!(handshakes.begin(from(2), now).is_some());
        let later = now + Duration::from_secs(1);
        let begun = (0..10_000).filter(|_| handshakes.begin(from(1), later).is_some()).count();
        assert_eq!(begun as f64, HANDSHAKES_PER_SECOND);
    }

    #[test]
    fn the_table_of_sources_is_bounded() {
        let (handshakes, now) = (Arc::<Handshakes>::default(), Instant::now());
        for number in 0..2 * u32::try_from(HANDSHAKE_SOURCES_MAX).unwrap() {
            handshakes.begin(IpAddr::from(number.to_be_bytes()), now);
        }
        assert!(handshakes.lock().budgets.len() <= HANDSHAKE_SOURCES_MAX);
    }
}
