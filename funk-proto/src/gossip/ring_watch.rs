//! Whether this node has the key that the cluster encrypts with. One that was down through a rotation has not: gossip shuts
//! it out, and a member must give it the ring by another way.

use std::time::Duration;

use super::{Gossip, GossipOutput};
use crate::time::Timestamp;
use crate::wire::gossip::{KeyId, Keyring};

/// Time in which a rotation that is under way may still bring the key.
const GRACE: Duration = Duration::from_secs(1);
/// Pause between two questions.
const AGAIN: Duration = Duration::from_secs(1);

/// What the cluster says of its ring, and since when this node's own lacks the key that encrypts.
#[derive(Debug, Default)]
pub(super) struct RingWatch {
    mark: Vec<KeyId>,
    lacking: Option<Lacking>,
}

#[derive(Debug)]
struct Lacking {
    next: Timestamp,
    questions: u32,
}

impl RingWatch {
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.lacking.as_ref().map(|lacking| lacking.next)
    }

    /// Whether this ring is the cluster's, or the cluster has none.
    pub(super) fn fits(&self, ring: &Keyring) -> bool {
        self.mark.is_empty() || self.mark == ring.ids()
    }

    fn look(&mut self, now: Timestamp, ring: Option<&Keyring>) {
        let has = |primary: &KeyId| ring.is_none_or(|ring| ring.keys().iter().any(|key| key.id() == *primary));
        if self.mark.first().is_none_or(has) {
            self.lacking = None;
        } else if self.lacking.is_none() {
            self.lacking = Some(Lacking { next: now + GRACE, questions: 0 });
        }
    }
}

impl Gossip {
    /// The cluster's keys are called so.
    pub fn set_mark(&mut self, now: Timestamp, mark: &[KeyId]) {
        self.sealing.watch.mark = mark.to_vec();
        self.look_at_ring(now);
    }

    pub(super) fn look_at_ring(&mut self, now: Timestamp) {
        let ring = self.sealing.keys.as_ref().map(|keys| &keys.ring);
        self.sealing.watch.look(now, ring);
    }

    /// Whether this node lacks the key that the cluster encrypts with.
    pub fn lacks_key(&self) -> bool {
        self.sealing.watch.lacking.is_some()
    }

    pub(super) fn handle_ring_timeout(&mut self, now: Timestamp) {
        if let Some(lacking) = self.sealing.watch.lacking.as_mut().filter(|lacking| lacking.next <= now) {
            lacking.next = now + AGAIN;
            lacking.questions += 1;
            self.outputs.push_back(GossipOutput::RingWanted { questions: lacking.questions });
        }
    }
}
