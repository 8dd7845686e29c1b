//! The latest events, kept once for all clients of the event stream.
//!
//! A client is a place in the sequence of events and nothing else, so a slow
//! one costs no memory: when the place it stands at is gone, it is told so and
//! goes on with the oldest event that is left.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::limits::{EVENT_CLIENTS_MAX, EVENTS_KEPT_MAX, LEADERS_KEPT_MAX};
use bytes::{Bytes, BytesMut};
use event_listener::{Event as Bell, EventListener};
use funk_io::{Event, Events, EventsEnd};
use funk_proto::Event as NodeEvent;

use super::words;

/// Events handed to a client at a time.
const BATCH: usize = 64;

/// The latest events as frames of the stream.
#[derive(Debug)]
pub(super) struct Hub {
    /// Tells this run of the node from others in the ids of events.
    run: u64,
    state: Mutex<State>,
    changed: Bell,
    clients: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    /// Number of the next event; the first is 1.
    next: u64,
    recent: VecDeque<Kept>,
    /// Leader changes that are no longer among the recent events: they are few
    /// and tell the cluster's story, so they outlive the others.
    leaders: VecDeque<Kept>,
    ended: bool,
}

#[derive(Clone, Debug)]
struct Kept {
    number: u64,
    leader: bool,
    frame: Bytes,
}

/// Where a client stands: the number of the last event that it has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(u64);

/// One client of the stream, counted.
#[derive(Debug)]
pub(super) struct Client {
    hub: Arc<Hub>,
    place: Place,
    /// Something to say before the first event.
    greeting: Option<Bytes>,
}

/// What a client gets next.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// Frames to send.
    Frames(Bytes),
    /// Nothing yet.
    Wait,
    /// The node has stopped and everything was sent.
    End,
}

/// What a node tells, in order: a node's own events, or what a test makes up.
pub(super) trait Feed: Send + 'static {
    /// The next event; [`EventsEnd::Lagged`] stands for those that are lost,
    /// and nothing follows [`EventsEnd::Stopped`].
    fn next(&mut self) -> impl Future<Output = Result<Event, EventsEnd>> + Send;
}

impl Feed for Events {
    async fn next(&mut self) -> Result<Event, EventsEnd> {
        Events::next(self).await
    }
}

impl Hub {
    pub(super) fn new() -> Arc<Self> {
        let state = Mutex::new(State { next: 1, ..State::default() });
        Arc::new(Self { run: unix_ns(), state, changed: Bell::new(), clients: AtomicUsize::new(0) })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes in everything that `feed` tells, to its end.
    pub(super) async fn follow(self: Arc<Self>, me: funk_proto::id::NodeName, mut feed: impl Feed) {
        loop {
            match feed.next().await {
                Ok(Event::Node(event)) => self.push(&me, &event, unix_ns()),
                Ok(_) => {}
                Err(EventsEnd::Lagged(missed)) => self.keep(false, |_| words::resync(Some(missed))),
                Err(EventsEnd::Stopped) => return self.end(),
            }
        }
    }

    /// Takes in one event, if it is one for the stream.
    pub(super) fn push(&self, me: &funk_proto::id::NodeName, event: &NodeEvent, at_ns: u64) {
        let Some(json) = words::event(me, event, at_ns) else { return };
        let leader = matches!(event, NodeEvent::Leader { .. });
        self.keep(leader, |number| format!("id: {:x}-{number}\ndata: {json}\n\n", self.run));
    }

    fn keep(&self, leader: bool, frame: impl FnOnce(u64) -> String) {
        let mut state = self.state();
        let number = state.next;
        state.next += 1;
        state.recent.push_back(Kept { number, leader, frame: frame(number).into() });
        if state.recent.len() > EVENTS_KEPT_MAX
            && let Some(old) = state.recent.pop_front()
            && old.leader
        {
            state.leaders.push_back(old);
            if state.leaders.len() > LEADERS_KEPT_MAX {
                state.leaders.pop_front();
            }
        }
        drop(state);
        self.changed.notify(usize::MAX);
    }

    /// No event will follow.
    pub(super) fn end(&self) {
        self.state().ended = true;
        self.changed.notify(usize::MAX);
    }

    /// One more client, which has everything up to the event `last`; with an
    /// empty `last` it wants all that is kept, without one only what is to come.
    /// `None` when there are too many.
    pub(super) fn client(self: &Arc<Self>, last: Option<&str>) -> Option<Client> {
        if self.clients.fetch_add(1, Ordering::AcqRel) >= EVENT_CLIENTS_MAX {
            self.clients.fetch_sub(1, Ordering::AcqRel);
            return None;
        }
        let newest = self.state().next - 1;
        let (place, greeting) = match last {
            None => (newest, None),
            Some("") => (0, None),
            Some(last) => match self.number(last) {
                Some(number) if number <= newest => (number, None),
                // An id of another run of the node, or none at all.
                _ => (0, Some(words::resync(None).into())),
            },
        };
        Some(Client { hub: Arc::clone(self), place: Place(place), greeting })
    }

    fn number(&self, id: &str) -> Option<u64> {
        let (run, number) = id.split_once('-')?;
        (u64::from_str_radix(run, 16).ok()? == self.run).then_some(())?;
        number.parse().ok()
    }

    /// How many clients there are.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.load(Ordering::Acquire)
    }
}

impl Client {
    /// Wakes at the next change; take it before [`Client::next`].
    pub(super) fn changed(&self) -> EventListener {
        self.hub.changed.listen()
    }

    /// What to send next.
    pub(super) fn next(&mut self) -> Next {
        if let Some(greeting) = self.greeting.take() {
            return Next::Frames(greeting);
        }
        let state = self.hub.state();
        let mut out = BytesMut::new();
        let oldest = state.recent.front().map_or(state.next, |kept| kept.number);
        if self.place.0 + 1 < oldest {
            // From the start there is no gap to tell of: what is kept is all there is.
            if self.place.0 > 0 {
                out.extend_from_slice(words::resync(Some(oldest - self.place.0 - 1)).as_bytes());
            }
            for kept in state.leaders.iter().filter(|kept| kept.number > self.place.0) {
                out.extend_from_slice(&kept.frame);
            }
            self.place = Place(oldest - 1);
        }
        let skip = usize::try_from(self.place.0 + 1 - oldest).unwrap_or(usize::MAX);
        for kept in state.recent.iter().skip(skip).take(BATCH) {
            out.extend_from_slice(&kept.frame);
            self.place = Place(kept.number);
        }
        match out.is_empty() {
            false => Next::Frames(out.freeze()),
            true if state.ended => Next::End,
            true => Next::Wait,
        }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        self.hub.clients.fetch_sub(1, Ordering::AcqRel);
    }
}

/// The time of day, as far as the machine knows it.
pub(super) fn unix_ns() -> u64 {
    // A clock before 1970 shows as 1970.
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use std::future::Future;

    use funk_proto::id::{Epoch, NodeName, Term};

    use super::*;

    fn me() -> NodeName {
        "n0".parse().unwrap()
    }

    fn map(epoch: u64) -> NodeEvent {
        NodeEvent::Map { epoch: Epoch(epoch) }
    }

    fn text(next: Next) -> String {
        match next {
            Next::Frames(bytes) => String::from_utf8(bytes.to_vec()).unwrap(),
            other => panic!("frames were due, not {other:?}"),
        }
    }

    /// Everything that waits for the client.
    fn all(client: &mut Client) -> String {
        let mut all = String::new();
        while let Next::Frames(bytes) = client.next() {
            all.push_str(std::str::from_utf8(&bytes).unwrap());
        }
        all
    }

    #[test]
    fn a_client_gets_what_comes_after_it_and_with_an_empty_id_all_that_is_kept() {
        let hub = Hub::new();
        hub.push(&me(), &map(1), 5);
        let (mut late, mut full) = (hub.client(None).unwrap(), hub.client(Some("")).unwrap());
        assert_eq!(late.next(), Next::Wait);
        hub.push(&me(), &map(2), 6);
        assert_eq!(
            text(late.next()),
            format!("id: {:x}-2\ndata: {}\n\n", hub.run, words::event(&me(), &map(2), 6).unwrap())
        );
        assert_eq!(text(full.next()).matches("data: ").count(), 2);
        assert_eq!(full.next(), Next::Wait);
    }

    #[test]
    fn a_client_goes_on_after_the_event_it_names_and_is_told_when_the_run_is_another() {
        let hub = Hub::new();
        for epoch in 1..=3 {
            hub.push(&me(), &map(epoch), 1);
        }
        let mut back = hub.client(Some(&format!("{:x}-2", hub.run))).unwrap();
        let rest = all(&mut back);
        assert!(rest.contains("\"epoch\":3") && !rest.contains("\"epoch\":2") && !rest.contains("resync"), "{rest}");
        for strange in ["77-2", "nonsense", &format!("{:x}-9", hub.run)] {
            let rest = all(&mut hub.client(Some(strange)).unwrap());
            assert!(rest.starts_with("event: resync\n") && rest.contains("\"epoch\":1"), "{rest}");
        }
    }

    #[test]
    fn a_slow_client_is_told_what_it_missed_and_nobody_keeps_events_for_it() {
        let hub = Hub::new();
        let (mut slow, mut quick) = (hub.client(None).unwrap(), hub.client(None).unwrap());
        hub.push(&me(), &map(0), 1);
        assert!(!all(&mut slow).contains("resync"));
        for epoch in 1..=EVENTS_KEPT_MAX as u64 + 7 {
            hub.push(&me(), &map(epoch), 1);
            assert!(!all(&mut quick).contains("resync"));
        }
        assert_eq!(hub.state().recent.len(), EVENTS_KEPT_MAX);
        let seen = all(&mut slow);
        assert!(seen.starts_with("event: resync\ndata: {\"missed\":7}\n\n"), "{}", &seen[..60]);
        assert_eq!(seen.matches("\"kind\":\"map\"").count(), EVENTS_KEPT_MAX);
        assert_eq!(slow.next(), Next::Wait);
    }

    #[test]
    fn leader_changes_outlive_other_events_in_bounds() {
        let hub = Hub::new();
        let leader = |term| NodeEvent::Leader { leader: Some(me()), term: Term(term) };
        for term in 0..LEADERS_KEPT_MAX as u64 + 2 {
            hub.push(&me(), &leader(term), 1);
        }
        for epoch in 0..EVENTS_KEPT_MAX as u64 {
            hub.push(&me(), &map(epoch), 1);
        }
        let seen = all(&mut hub.client(Some("")).unwrap());
        assert_eq!(seen.matches("\"kind\":\"leader\"").count(), LEADERS_KEPT_MAX);
        assert_eq!(seen.matches("\"kind\":\"map\"").count(), EVENTS_KEPT_MAX);
        assert!(!seen.contains("resync"));
    }

    #[test]
    fn clients_are_bounded_and_make_room_when_they_go() {
        let hub = Hub::new();
        let mut clients: Vec<_> = (0..EVENT_CLIENTS_MAX).map(|_| hub.client(None).unwrap()).collect();
        assert!(hub.client(None).is_none());
        clients.pop();
        assert!(hub.client(None).is_some());
        drop(clients);
        assert_eq!(hub.clients(), 0);
    }

    #[test]
    fn the_end_comes_after_the_last_event() {
        let hub = Hub::new();
        let mut client = hub.client(None).unwrap();
        let told: Vec<Result<Event, EventsEnd>> = vec![Ok(map(1).into()), Err(EventsEnd::Lagged(3)), Ok(map(2).into())];
        futures_lite::future::block_on(Arc::clone(&hub).follow(me(), Told(told.into_iter())));
        let seen = all(&mut client);
        assert!(
            seen.contains("\"epoch\":1") && seen.contains("{\"missed\":3}") && seen.contains("\"epoch\":2"),
            "{seen}"
        );
        assert_eq!(client.next(), Next::End);
    }

    struct Told(std::vec::IntoIter<Result<Event, EventsEnd>>);

    impl Feed for Told {
        fn next(&mut self) -> impl Future<Output = Result<Event, EventsEnd>> + Send {
            std::future::ready(self.0.next().unwrap_or(Err(EventsEnd::Stopped)))
        }
    }
}
