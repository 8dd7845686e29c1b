//! The connections of one listener: how many, whose, and which makes way when there is no room.

use std::collections::BTreeMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use event_listener::Event;

use crate::limits::LISTENER_CONNECTIONS_KEPT;

/// Time after a connection was turned away in which the listener counts as full.
const FULL_FOR: Duration = Duration::from_secs(5);

/// What a listener has taken in, turned away and shown out so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct ListenerCounts {
    /// Connections that are open.
    pub open: usize,
    /// Connections that were closed because they were idle and others wanted in.
    pub made_way: u64,
    /// Connections that were turned away: there was no room, and nobody idle who could make any.
    pub refused: u64,
    /// Whether one was turned away within the last five seconds.
    pub full: bool,
}

/// The connections of all listeners of this process.
static OF_PROCESS: LazyLock<Arc<House>> = LazyLock::new(Arc::default);

/// The connections of all listeners that share their descriptors, until these are closed.
#[derive(Debug, Default)]
struct House {
    open: AtomicUsize,
    /// Those on one of the last descriptors. The kernel gives out the lowest free number: while there are any, a low
    /// number does not mean that there is room.
    last: AtomicUsize,
    /// The fewest that were open when one got such a descriptor.
    full_at: AtomicUsize,
}

impl House {
    /// A connection came on one of the last descriptors.
    fn note_last(&self) {
        let open = self.open.load(Ordering::Acquire);
        let is_first = self.last.load(Ordering::Acquire) == 0;
        let before = if is_first { usize::MAX } else { self.full_at.load(Ordering::Acquire) };
        self.full_at.store(before.min(open), Ordering::Release);
    }

    /// Whether only the reserve is left, also for a connection on a low descriptor.
    fn is_full(&self) -> bool {
        self.last.load(Ordering::Acquire) > 0
            && self.open.load(Ordering::Acquire) >= self.full_at.load(Ordering::Acquire)
    }
}

/// The connections of one listener.
#[derive(Debug, Default)]
pub(super) struct Guests {
    held: Mutex<Held>,
    house: Arc<House>,
    left: Event,
    began: Began,
    made_way: AtomicU64,
    refused: AtomicU64,
    /// Milliseconds after the beginning at which one was turned away last, and one more; 0: never.
    refused_at: AtomicU64,
}

#[derive(Debug)]
struct Began(Instant);

impl Default for Began {
    fn default() -> Self {
        Self(Instant::now())
    }
}

#[derive(Debug, Default)]
struct Held {
    next: u64,
    by_number: BTreeMap<u64, Arc<Guest>>,
    by_source: BTreeMap<IpAddr, usize>,
}

/// One connection.
pub(super) struct Guest {
    source: IpAddr,
    /// Requests under way.
    requests: AtomicUsize,
    /// Milliseconds after the beginning at which something last happened.
    active: AtomicU64,
    out: Event,
    is_out: std::sync::atomic::AtomicBool,
}

impl fmt::Debug for Guest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Guest").field("source", &self.source).finish_non_exhaustive()
    }
}

/// A connection's place; dropping it gives the place back.
#[derive(Debug)]
pub(super) struct Place {
    guests: Arc<Guests>,
    pub(super) guest: Arc<Guest>,
    number: u64,
    is_last: bool,
}

impl Drop for Place {
    fn drop(&mut self) {
        self.guests.house.open.fetch_sub(1, Ordering::AcqRel);
        if self.is_last {
            self.guests.house.last.fetch_sub(1, Ordering::AcqRel);
        }
        self.guests.lock().remove(self.number);
        self.guests.left.notify(usize::MAX);
    }
}

/// A request under way.
pub(super) struct Request {
    guests: Arc<Guests>,
    guest: Arc<Guest>,
}

impl Drop for Request {
    fn drop(&mut self) {
        self.guest.active.store(self.guests.millis(), Ordering::Relaxed);
        self.guest.requests.fetch_sub(1, Ordering::AcqRel);
    }
}

impl Held {
    fn insert(&mut self, guest: Arc<Guest>) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.by_source.entry(guest.source).or_default() += 1;
        self.by_number.insert(number, guest);
        number
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Guest>> {
        let guest = self.by_number.remove(&number)?;
        if let Some(count) = self.by_source.get_mut(&guest.source) {
            *count -= 1;
            if *count == 0 {
                self.by_source.remove(&guest.source);
            }
        }
        Some(guest)
    }

    /// Who makes way for one more from `source`: of the source with the most connections the one without a request
    /// to which nothing has happened for longest. Busy ones make way only for a source that has fewer.
    fn makes_way(&self, source: IpAddr) -> Option<u64> {
        let (&crowd, &most) = self.by_source.iter().max_by_key(|(_, count)| **count)?;
        let mine = self.by_source.get(&source).copied().unwrap_or_default();
        let idle_for = |guest: &&Arc<Guest>| guest.active.load(Ordering::Relaxed);
        let idle = |guest: &&Arc<Guest>| guest.requests.load(Ordering::Acquire) == 0;
        let pick = |source: Option<IpAddr>, busy: bool| {
            let all = self.by_number.iter().filter(|(_, guest)| source.is_none_or(|source| guest.source == source));
            all.filter(|(_, guest)| busy || idle(guest))
                .min_by_key(|(_, guest)| idle_for(guest))
                .map(|(number, _)| *number)
        };
        pick(Some(crowd), false)
            .or_else(|| pick(None, false))
            .or_else(|| if mine + 1 < most { pick(Some(crowd), true) } else { None })
    }
}

impl Guests {
    fn lock(&self) -> MutexGuard<'_, Held> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn millis(&self) -> u64 {
        u64::try_from(self.began.0.elapsed().as_millis()).unwrap_or(u64::MAX)
    }

    /// For a listener, which shares its descriptors with all others of this process.
    pub(super) fn of_process() -> Self {
        Self { house: Arc::clone(&OF_PROCESS), ..Self::default() }
    }

    /// A place for a connection from `source`; `is_last` says that it has one of the last descriptors. When `most` are
    /// open, or only the reserve is left and the listener has its few, an idle one makes way; `None` if there is none.
    pub(super) fn enter(self: &Arc<Self>, source: IpAddr, most: usize, is_last: bool) -> Option<Place> {
        let mut held = self.lock();
        if is_last {
            self.house.note_last();
        }
        let (open, no_room) = (held.by_number.len(), is_last || self.house.is_full());
        if open >= most || no_room && open >= LISTENER_CONNECTIONS_KEPT {
            let Some(number) = held.makes_way(source) else {
                self.refused.fetch_add(1, Ordering::Relaxed);
                self.refused_at.store(self.millis() + 1, Ordering::Relaxed);
                return None;
            };
            self.made_way.fetch_add(1, Ordering::Relaxed);
            // Out of the books at once; its own task lets go of the stream.
            if let Some(guest) = held.remove(number) {
                guest.is_out.store(true, Ordering::Release);
                guest.out.notify(usize::MAX);
            }
        }
        let guest = Arc::new(Guest {
            source,
            requests: AtomicUsize::new(0),
            active: AtomicU64::new(self.millis()),
            out: Event::new(),
            is_out: false.into(),
        });
        let number = held.insert(Arc::clone(&guest));
        self.house.open.fetch_add(1, Ordering::AcqRel);
        if is_last {
            self.house.last.fetch_add(1, Ordering::AcqRel);
        }
        Some(Place { guests: Arc::clone(self), guest, number, is_last })
    }

    /// Counts a request in.
    pub(super) fn request(self: &Arc<Self>, guest: &Arc<Guest>) -> Request {
        guest.requests.fetch_add(1, Ordering::AcqRel);
        guest.active.store(self.millis(), Ordering::Relaxed);
        Request { guests: Arc::clone(self), guest: Arc::clone(guest) }
    }

    pub(super) fn counts(&self) -> ListenerCounts {
        let refused_at = self.refused_at.load(Ordering::Relaxed);
        let full_for = u64::try_from(FULL_FOR.as_millis()).unwrap_or(u64::MAX);
        ListenerCounts {
            open: self.lock().by_number.len(),
            made_way: self.made_way.load(Ordering::Relaxed),
            refused: self.refused.load(Ordering::Relaxed),
            full: refused_at > 0 && self.millis() < refused_at.saturating_add(full_for),
        }
    }

    /// Ends when no connection is open.
    pub(super) async fn all_left(&self) {
        loop {
            let listener = self.left.listen();
            if self.lock().by_number.is_empty() {
                return;
            }
            listener.await;
        }
    }
}

impl Guest {
    /// Ends when it has to make way.
    pub(super) async fn shown_out(&self) {
        loop {
            let listener = self.out.listen();
            if self.is_out.load(Ordering::Acquire) {
                return;
            }
            listener.await;
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_lite::future::{block_on, poll_once};

    use super::*;

    fn from(last: u8) -> IpAddr {
        IpAddr::from([10, 0, 0, last])
    }

    fn is_out(place: &Place) -> bool {
        block_on(poll_once(place.guest.shown_out())).is_some()
    }

    #[test]
    fn the_idlest_of_the_largest_crowd_makes_way() {
        let guests: Arc<Guests> = Arc::default();
        let crowd: Vec<_> = (0..3).map(|_| guests.enter(from(1), 4, false).unwrap()).collect();
        let other = guests.enter(from(2), 4, false).unwrap();
        let _busy = guests.request(&crowd[0].guest);
        let third = guests.enter(from(3), 4, false).unwrap();
        assert_eq!(crowd.iter().map(is_out).collect::<Vec<_>>(), [false, true, false]);
        assert!(!is_out(&other) && !is_out(&third));
        assert_eq!((guests.counts().open, guests.counts().made_way), (4, 1));
    }

    #[test]
    fn who_has_the_most_gets_no_place_of_a_busy_one() {
        let guests: Arc<Guests> = Arc::default();
        let crowd: Vec<_> = (0..3).map(|_| guests.enter(from(1), 3, false).unwrap()).collect();
        let _busy: Vec<_> = crowd.iter().map(|place| guests.request(&place.guest)).collect();
        assert!(guests.enter(from(1), 3, false).is_none());
        let counts = guests.counts();
        assert!(counts.full && counts.refused == 1 && crowd.iter().all(|place| !is_out(place)));
        assert!(guests.enter(from(2), 3, false).is_some(), "others get their share");
        assert!(is_out(&crowd[0]));
    }

    #[test]
    fn a_listener_has_some_where_the_clients_of_others_hold_all_descriptors() {
        let guests: Arc<Guests> = Arc::default();
        let first: Vec<_> =
            (0..LISTENER_CONNECTIONS_KEPT).map(|_| guests.enter(from(1), 8, true).expect("it has none")).collect();
        let next = guests.enter(from(1), 8, true).expect("an idle one makes way");
        assert_eq!(first.iter().filter(|place| is_out(place)).count(), 1);
        assert_eq!(guests.counts().open, LISTENER_CONNECTIONS_KEPT);
        assert!(!is_out(&next));
    }

    #[test]
    fn what_is_free_below_the_last_descriptors_is_the_reserve() {
        let guests: Arc<Guests> = Arc::default();
        let mut open: Vec<_> = (0..8).map(|_| guests.enter(from(1), 100, false).expect("there is room")).collect();
        open.push(guests.enter(from(1), 100, true).expect("an idle one makes way"));
        // The next connection gets the low descriptor that was freed.
        open.push(guests.enter(from(1), 100, false).expect("an idle one makes way"));
        assert_eq!(guests.counts().open, 8, "there are no more than before");
        open.truncate(8);
        open.push(guests.enter(from(1), 100, false).expect("there is room again"));
        assert_eq!((guests.counts().made_way, guests.house.last.load(Ordering::Acquire)), (2, 0));
    }

    #[test]
    fn one_connection_that_keeps_a_last_descriptor_keeps_nobody_out_when_the_others_are_gone() {
        let guests: Arc<Guests> = Arc::default();
        let crowd: Vec<_> = (0..50).map(|_| guests.enter(from(1), 100, false).expect("there is room")).collect();
        let _watches = guests.enter(from(2), 100, true).expect("an idle one makes way");
        drop(crowd);
        let next: Vec<_> = (0..49).map(|_| guests.enter(from(1), 100, false).expect("there is room again")).collect();
        assert_eq!(guests.counts().made_way, 1, "only for the one");
        assert!(next.iter().all(|place| !is_out(place)));
    }

    #[test]
    fn places_come_back_also_from_who_was_shown_out() {
        let guests: Arc<Guests> = Arc::default();
        let first = guests.enter(from(1), 8, false).unwrap();
        let second = guests.enter(from(1), 1, false).unwrap();
        assert!(is_out(&first));
        drop((first, second));
        assert_eq!(guests.counts().open, 0);
        block_on(guests.all_left());
        assert!(guests.lock().by_source.is_empty());
    }
}
