//! Messages on their way to everybody, each sent a number of times.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use bytes::Bytes;

use crate::limits::GOSSIP_QUEUE_MAX;
use crate::wire::gossip::Compound;

/// Kinds of messages; earlier ones go into a datagram first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Tier {
    /// What is said of a node's life: the latest about each replaces the others.
    Life,
    /// Join and leave intents.
    Intent,
    /// Queries.
    Query,
    /// User events.
    Event,
}

const TIERS: usize = 4;

/// One message for everybody.
#[derive(Clone, Debug)]
pub(super) struct Broadcast {
    pub tier: Tier,
    /// Whom it is about, in [`Tier::Life`].
    pub about: Bytes,
    /// The encoded datagram message.
    pub bytes: Bytes,
    /// Whether others wait for it: it begins here.
    pub urgent: bool,
}

/// Fewest transmissions first, then the longest, then the newest.
type Key = (u32, Reverse<usize>, Reverse<u64>);

#[derive(Debug, Default)]
struct Queue {
    messages: BTreeMap<Key, (Bytes, Bytes)>,
    by_name: BTreeMap<Bytes, Key>,
}

impl Queue {
    /// The first message, from `(transmissions, any length)` on, that fits into `room`.
    fn next_fitting(&self, mut from: Key, room: usize) -> Option<Key> {
        loop {
            let (&key, _) = self.messages.range(from..).next()?;
            if key.1.0 <= room {
                return Some(key);
            }
            // Too long: go on at the first of its transmissions that is short enough.
            from = (key.0, Reverse(room), Reverse(u64::MAX));
        }
    }

    fn remove(&mut self, key: &Key) -> Option<(Bytes, Bytes)> {
        let (about, bytes) = self.messages.remove(key)?;
        if self.by_name.get(&about) == Some(key) {
            self.by_name.remove(&about);
        }
        Some((about, bytes))
    }

    fn insert(&mut self, key: Key, about: Bytes, bytes: Bytes) {
        if !about.is_empty() {
            self.by_name.insert(about.clone(), key);
        }
        self.messages.insert(key, (about, bytes));
    }
}

/// All queues.
#[derive(Debug, Default)]
pub(super) struct Broadcasts {
    queues: [Queue; TIERS],
    numbers: u64,
    /// Urgent messages that were queued since the last round.
    urgent: bool,
    /// Messages given up because a queue was full.
    pub pruned: u64,
}

impl Broadcasts {
    pub(super) fn push(&mut self, message: Broadcast) {
        let queue = &mut self.queues[message.tier as usize];
        if message.tier == Tier::Life
            && let Some(key) = queue.by_name.get(&message.about).copied()
        {
            queue.remove(&key);
        }
        self.numbers += 1;
        let key = (0, Reverse(message.bytes.len()), Reverse(self.numbers));
        let about = if message.tier == Tier::Life { message.about } else { Bytes::new() };
        queue.insert(key, about, message.bytes);
        self.urgent |= message.urgent;
        if queue.messages.len() > GOSSIP_QUEUE_MAX
            && let Some(key) = queue.messages.keys().next_back().copied()
        {
            queue.remove(&key);
            self.pruned += 1;
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queues.iter().all(|queue| queue.messages.is_empty())
    }

    /// Messages that wait.
    pub(super) fn len(&self) -> usize {
        self.queues.iter().map(|queue| queue.messages.len()).sum()
    }

    pub(super) fn is_urgent(&self) -> bool {
        self.urgent
    }

    /// A round was sent to everybody that it is sent to.
    pub(super) fn round_ended(&mut self) {
        self.urgent = false;
    }

    /// Fills a datagram. Each message that goes in is sent once more, at most
    /// `limit` times in all.
    pub(super) fn fill(&mut self, compound: &mut Compound, limit: u32) {
        for queue in &mut self.queues {
            let mut sent = Vec::new();
            let mut from = (0, Reverse(usize::MAX), Reverse(u64::MAX));
            while let Some(key) = queue.next_fitting(from, compound.room()) {
                let Some((about, bytes)) = queue.remove(&key) else { break };
                if !compound.push(bytes.clone()) {
                    queue.insert(key, about, bytes);
                    break;
                }
                from = key;
                sent.push(((key.0 + 1, key.1, key.2), about, bytes));
            }
            for (key, about, bytes) in sent.into_iter().filter(|(key, ..)| key.0 < limit) {
                queue.insert(key, about, bytes);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn life(about: &'static str, bytes: &'static [u8]) -> Broadcast {
        let about = Bytes::from_static(about.as_bytes());
        Broadcast { tier: Tier::Life, about, bytes: Bytes::from_static(bytes), urgent: false }
    }

    fn event(bytes: Vec<u8>) -> Broadcast {
        Broadcast { tier: Tier::Event, about: Bytes::new(), bytes: bytes.into(), urgent: false }
    }

    fn fill(broadcasts: &mut Broadcasts) -> Bytes {
        let mut compound = Compound::new();
        broadcasts.fill(&mut compound, 4);
        compound.finish().unwrap_or_default()
    }

    #[test]
    fn a_message_is_sent_as_often_as_its_limit_says() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(life("a", b"one"));
        let sent = std::iter::from_fn(|| Some(fill(&mut broadcasts)).filter(|bytes| !bytes.is_empty())).count();
        assert_eq!(sent, 4);
        assert!(broadcasts.is_empty());
    }

    #[test]
    fn a_newer_message_about_a_node_replaces_the_older() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(life("a", b"one"));
        fill(&mut broadcasts);
        broadcasts.push(life("a", b"two!"));
        assert_eq!(&fill(&mut broadcasts)[..], b"two!");
        assert_eq!(broadcasts.len(), 1);
        // Serf's own messages are never replaced.
        broadcasts.push(event(vec![1]));
        broadcasts.push(event(vec![1]));
        assert_eq!(broadcasts.len(), 3);
    }

    #[test]
    fn the_least_sent_goes_first_then_the_longest_then_the_newest() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(event(vec![b'o'; 900]));
        fill(&mut broadcasts);
        for (byte, length) in [(b'a', 500), (b'b', 600), (b'c', 500)] {
            broadcasts.push(event(vec![byte; length]));
        }
        // 1398 bytes of room, two for the length of each: b and c, then nothing more.
        let datagram = fill(&mut broadcasts);
        assert_eq!((datagram[1], datagram[6], datagram[6 + 600]), (2, b'b', b'c'));
        let datagram = fill(&mut broadcasts);
        assert_eq!((datagram[1], datagram[6]), (2, b'a'), "what was not sent yet comes first");
    }

    #[test]
    fn what_never_fits_holds_up_nothing() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(event(vec![b'l'; 2_000]));
        broadcasts.push(event(vec![b's'; 10]));
        assert_eq!(&fill(&mut broadcasts)[..], b"ssssssssss");
    }

    #[test]
    fn a_full_queue_gives_up_what_was_sent_most() {
        let mut broadcasts = Broadcasts::default();
        broadcasts.push(life("sent", b"x"));
        fill(&mut broadcasts);
        for n in 0..GOSSIP_QUEUE_MAX {
            let about = Bytes::from(n.to_string());
            broadcasts.push(Broadcast { tier: Tier::Life, about, bytes: Bytes::from_static(b"y"), urgent: false });
        }
        assert_eq!((broadcasts.len(), broadcasts.pruned), (GOSSIP_QUEUE_MAX, 1));
        assert!(!broadcasts.queues[0].by_name.contains_key(&b"sent"[..]));
    }
}
