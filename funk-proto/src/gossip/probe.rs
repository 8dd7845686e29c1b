//! Who is probed next, the probe under way, and probes for others.

use std::collections::BTreeMap;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::id::ConnId;
use crate::limits::{GOSSIP_MEMBERS_MAX, GOSSIP_RELAYS_MAX};
use crate::rng::Rng;
use crate::time::{Timestamp, earliest};

/// The probe under way; there is one at a time.
#[derive(Debug)]
pub(super) struct Probe {
    pub sequence: u32,
    pub target: Bytes,
    pub sent: Timestamp,
    /// When others are asked; `None` once they are.
    pub ask_others: Option<Timestamp>,
    /// When it has failed.
    pub deadline: Timestamp,
    pub nacks_wanted: u32,
    pub nacks: u32,
    /// The ping on a stream.
    pub stream: Option<ConnId>,
    pub stream_answered: bool,
    /// Nobody listens for streams where the member should.
    pub refused: bool,
}

/// A probe for another node.
#[derive(Debug)]
struct Relay {
    asker: SocketAddr,
    /// The asker's number for it.
    sequence: u32,
    nack: bool,
    deadline: Timestamp,
}

/// What the end of a probe for another is answered with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct RelayEnd {
    pub asker: SocketAddr,
    pub sequence: u32,
}

/// Probing.
#[derive(Debug)]
pub(super) struct Prober {
    /// Names in the order in which they are probed; gone ones are passed over.
    list: Vec<Bytes>,
    at: usize,
    pub probe: Option<Probe>,
    relays: BTreeMap<u32, Relay>,
    sequence: u32,
    pub next: Timestamp,
}

impl Prober {
    pub(super) fn new(first: Timestamp, rng: &mut Rng) -> Self {
        // A late answer to a former life of this node finds no probe of its number.
        let sequence = u32::try_from(rng.next_u64() >> 32).expect("the upper half of 64 bits");
        Self { list: Vec::new(), at: 0, probe: None, relays: BTreeMap::new(), sequence, next: first }
    }

    pub(super) fn next_sequence(&mut self) -> u32 {
        self.sequence = self.sequence.wrapping_add(1);
        self.sequence
    }

    /// A newcomer takes any place of the round, so that nobody knows when it is
    /// probed. A round that is too long already leaves it to the next.
    pub(super) fn insert(&mut self, rng: &mut Rng, name: Bytes) {
        if self.list.len() >= GOSSIP_MEMBERS_MAX {
            return;
        }
        let at = usize::try_from(rng.below(self.list.len() as u64 + 1)).expect("below a length in memory");
        // Whoever had the place goes last: moving all behind it would cost more with each newcomer.
        self.list.push(name);
        let last = self.list.len() - 1;
        self.list.swap(at, last);
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.list.len()
    }

    /// The next name of this round; `None` when the round is over.
    pub(super) fn next_name(&mut self) -> Option<Bytes> {
        let name = self.list.get(self.at)?.clone();
        self.at += 1;
        Some(name)
    }

    /// Begins a round with these names, in any order.
    pub(super) fn begin_round(&mut self, rng: &mut Rng, mut names: Vec<Bytes>) {
        for at in (1..names.len()).rev() {
            let other = usize::try_from(rng.below(at as u64 + 1)).expect("below a length in memory");
            names.swap(at, other);
        }
        (self.list, self.at) = (names, 0);
    }

    /// Begins a probe for another. `None` if there are too many.
    pub(super) fn relay(&mut self, end: RelayEnd, nack: bool, deadline: Timestamp) -> Option<u32> {
        if self.relays.len() >= GOSSIP_RELAYS_MAX {
            return None;
        }
        let sequence = self.next_sequence();
        let RelayEnd { asker, sequence: theirs } = end;
        self.relays.insert(sequence, Relay { asker, sequence: theirs, nack, deadline });
        Some(sequence)
    }

    /// A probe for another was answered.
    pub(super) fn relay_answered(&mut self, sequence: u32) -> Option<RelayEnd> {
        let relay = self.relays.remove(&sequence)?;
        Some(RelayEnd { asker: relay.asker, sequence: relay.sequence })
    }

    /// Ends probes for others that nobody answered; those whose askers want to hear it.
    pub(super) fn relays_failed(&mut self, now: Timestamp) -> Vec<RelayEnd> {
        let late: Vec<u32> =
            self.relays.iter().filter(|(_, relay)| relay.deadline <= now).map(|(sequence, _)| *sequence).collect();
        let ended = late.iter().filter_map(|sequence| self.relays.remove(sequence));
        let wanted = ended.filter(|relay| relay.nack);
        wanted.map(|relay| RelayEnd { asker: relay.asker, sequence: relay.sequence }).collect()
    }

    /// When something is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        let relay = self.relays.values().map(|relay| relay.deadline).min();
        let probe = self.probe.as_ref().map(|probe| probe.ask_others.unwrap_or(probe.deadline).min(probe.deadline));
        earliest(earliest(relay, probe), Some(self.next))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::rng::{Seed, Stream};

    #[test]
    fn a_round_names_each_once_and_newcomers_may_join_it() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Gossip);
        let mut prober = Prober::new(Timestamp::ZERO, &mut rng);
        let names: Vec<Bytes> = (0..20).map(|n| Bytes::from(n.to_string())).collect();
        prober.begin_round(&mut rng, names.clone());
        prober.insert(&mut rng, Bytes::from_static(b"new"));
        let round: Vec<Bytes> = std::iter::from_fn(|| prober.next_name()).collect();
        assert_eq!((round.len(), round.iter().collect::<BTreeSet<_>>().len()), (21, 21));
        prober.begin_round(&mut rng, names);
        assert_ne!(std::iter::from_fn(|| prober.next_name()).collect::<Vec<_>>(), round[..20]);
    }

    #[test]
    fn probes_for_others_are_bounded_and_end() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Gossip);
        let mut prober = Prober::new(Timestamp::ZERO, &mut rng);
        let end = RelayEnd { asker: SocketAddr::from(([127, 0, 0, 1], 9)), sequence: 7 };
        let at = Timestamp::from_millis(5);
        let sequence = prober.relay(end, true, at).unwrap();
        assert_eq!(prober.relay_answered(sequence), Some(end));
        assert_eq!(prober.relay_answered(sequence), None);
        for n in 0..GOSSIP_RELAYS_MAX {
            prober.relay(end, n % 2 == 0, at).unwrap();
        }
        assert_eq!(prober.relay(end, true, at), None);
        assert_eq!(prober.relays_failed(at).len(), GOSSIP_RELAYS_MAX / 2);
        assert!(prober.relays_failed(at).is_empty());
    }
}
