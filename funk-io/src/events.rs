//! The stream of events, one bounded queue for each subscriber.

use std::collections::VecDeque;
use std::fmt;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use crate::limits::EVENTS_BUFFERED_MAX;
use event_listener::Event as Notify;
use funk_proto::Event as NodeEvent;

/// Something that the application may want to know.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Event {
    /// What the node itself tells: members, leaders, shards, proposals.
    Node(NodeEvent),
    /// What the search for other nodes gave.
    Discovery(DiscoveryEvent),
}

/// What the search for other nodes gave.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum DiscoveryEvent {
    /// A source found addresses where nodes may be; the node tries to join through them.
    Found {
        /// What found them, for people.
        source: String,
        /// The node there, where the source knows it.
        node: Option<String>,
        /// Gossip addresses.
        addresses: Vec<SocketAddr>,
    },
    /// A source gave no addresses; it keeps trying.
    Failed {
        /// Which source.
        source: String,
        /// Why.
        reason: String,
    },
}

impl From<NodeEvent> for Event {
    fn from(event: NodeEvent) -> Self {
        Self::Node(event)
    }
}

impl From<DiscoveryEvent> for Event {
    fn from(event: DiscoveryEvent) -> Self {
        Self::Discovery(event)
    }
}

/// What a node tells its application, in order, from the moment of subscription; it begins
/// with the state and the leader that hold then, if there are any.
#[derive(Debug)]
pub struct Events {
    queue: Arc<Queue>,
}

/// Why there is no event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventsEnd {
    /// The subscriber was too slow: this many events were dropped, the oldest
    /// first. The next call goes on with those that are left.
    Lagged(u64),
    /// The driver has stopped and all its events were read.
    Stopped,
}

impl fmt::Display for EventsEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lagged(count) => write!(f, "{count} events were dropped: the subscriber was too slow"),
            Self::Stopped => f.write_str("this node has stopped"),
        }
    }
}

impl std::error::Error for EventsEnd {}

impl Events {
    /// The next event. Dropping the future loses none.
    ///
    /// # Errors
    /// [`EventsEnd::Lagged`] once for each gap, [`EventsEnd::Stopped`] at the end.
    pub async fn next(&mut self) -> Result<Event, EventsEnd> {
        loop {
            let arrived = self.queue.arrived.listen();
            if let Some(next) = self.queue.take() {
                return next;
            }
            arrived.await;
        }
    }

    /// The next event if there is one already.
    pub fn try_next(&mut self) -> Option<Result<Event, EventsEnd>> {
        self.queue.take()
    }
}

#[derive(Debug, Default)]
struct Queue {
    state: Mutex<State>,
    arrived: Notify,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    dropped: u64,
    ended: bool,
}

impl Queue {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take(&self) -> Option<Result<Event, EventsEnd>> {
        let mut state = self.state();
        if state.dropped > 0 {
            return Some(Err(EventsEnd::Lagged(std::mem::take(&mut state.dropped))));
        }
        match state.events.pop_front() {
            Some(event) => Some(Ok(event)),
            None => state.ended.then_some(Err(EventsEnd::Stopped)),
        }
    }

    fn push(&self, event: Event) {
        let mut state = self.state();
        if state.events.len() == EVENTS_BUFFERED_MAX {
            state.events.pop_front();
            state.dropped += 1;
        }
        state.events.push_back(event);
        drop(state);
        self.arrived.notify(usize::MAX);
    }
}

/// Hands events to all subscribers.
#[derive(Debug, Default)]
pub(crate) struct Bus {
    subscribers: Mutex<Subscribers>,
}

#[derive(Debug, Default)]
struct Subscribers {
    queues: Vec<Weak<Queue>>,
    /// The latest of the events that say what holds until the next of their kind, so that
    /// nobody has to subscribe before the node speaks to know them.
    state: Option<Event>,
    leader: Option<Event>,
    ended: bool,
}

impl Bus {
    fn subscribers(&self) -> MutexGuard<'_, Subscribers> {
        self.subscribers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn subscribe(&self) -> Events {
        let mut subscribers = self.subscribers();
        let queue = Arc::new(Queue::default());
        {
            let mut state = queue.state();
            state.events.extend(subscribers.state.iter().chain(&subscribers.leader).cloned());
            state.ended = subscribers.ended;
        }
        subscribers.queues.retain(|queue| queue.strong_count() > 0);
        subscribers.queues.push(Arc::downgrade(&queue));
        Events { queue }
    }

    /// Gives `event` to every subscriber; it is cloned only where there are several.
    pub(crate) fn publish(&self, event: impl Into<Event>) {
        let event = event.into();
        let mut subscribers = self.subscribers();
        match event {
            Event::Node(NodeEvent::State(_)) => subscribers.state = Some(event.clone()),
            Event::Node(NodeEvent::Leader { .. }) => subscribers.leader = Some(event.clone()),
            _ => {}
        }
        let Some((last, others)) = subscribers.queues.split_last() else { return };
        let mut gone = false;
        for queue in others {
            match queue.upgrade() {
                Some(queue) => queue.push(event.clone()),
                None => gone = true,
            }
        }
        match last.upgrade() {
            Some(queue) => queue.push(event),
            None => gone = true,
        }
        if gone {
            subscribers.queues.retain(|queue| queue.strong_count() > 0);
        }
    }

    /// No event will follow.
    pub(crate) fn end(&self) {
        let mut subscribers = self.subscribers();
        subscribers.ended = true;
        for queue in subscribers.queues.iter().filter_map(Weak::upgrade) {
            queue.state().ended = true;
            queue.arrived.notify(usize::MAX);
        }
    }
}

#[cfg(test)]
mod tests {
    use funk_proto::id::{Epoch, Term};
    use funk_proto::status::NodeState;

    use super::*;

    fn event(epoch: u64) -> Event {
        NodeEvent::Map { epoch: Epoch(epoch) }.into()
    }

    #[test]
    fn a_slow_subscriber_is_told_how_many_it_lost_and_keeps_the_order() {
        let bus = Bus::default();
        let (mut slow, mut quick) = (bus.subscribe(), bus.subscribe());
        for epoch in 0..EVENTS_BUFFERED_MAX as u64 + 3 {
            bus.publish(event(epoch));
            assert_eq!(quick.try_next(), Some(Ok(event(epoch))));
        }
        assert_eq!(slow.try_next(), Some(Err(EventsEnd::Lagged(3))));
        for epoch in 3..EVENTS_BUFFERED_MAX as u64 + 3 {
            assert_eq!(slow.try_next(), Some(Ok(event(epoch))));
        }
        assert_eq!(slow.try_next(), None);
    }

    #[test]
    fn the_end_comes_after_the_last_event_and_to_late_subscribers_at_once() {
        let bus = Bus::default();
        let mut events = bus.subscribe();
        bus.publish(event(1));
        bus.end();
        assert_eq!(futures_lite::future::block_on(events.next()), Ok(event(1)));
        assert_eq!(futures_lite::future::block_on(events.next()), Err(EventsEnd::Stopped));
        assert_eq!(futures_lite::future::block_on(bus.subscribe().next()), Err(EventsEnd::Stopped));
    }

    #[test]
    fn a_late_subscriber_begins_with_the_state_and_the_leader_that_hold() {
        let bus = Bus::default();
        let leader = |term| Event::from(NodeEvent::Leader { leader: None, term: Term(term) });
        let state = |state| Event::from(NodeEvent::State(state));
        for event in [leader(1), state(NodeState::Voting), event(1), state(NodeState::Operational), leader(2)] {
            bus.publish(event);
        }
        let mut events = bus.subscribe();
        assert_eq!(events.try_next(), Some(Ok(state(NodeState::Operational))));
        assert_eq!(events.try_next(), Some(Ok(leader(2))));
        assert_eq!(events.try_next(), None);
    }

    #[test]
    fn a_waiting_subscriber_wakes_for_an_event_from_another_thread() {
        let bus = Arc::new(Bus::default());
        let mut events = bus.subscribe();
        let publisher = Arc::clone(&bus);
        let thread = std::thread::spawn(move || publisher.publish(event(7)));
        assert_eq!(futures_lite::future::block_on(events.next()), Ok(event(7)));
        thread.join().unwrap();
    }
}
