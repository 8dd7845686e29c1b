//! The owner's side of a planned move: close the gate, let the guards finish,
//! release.
//!
//! | state of a shard | until |
//! |---|---|
//! | draining | its last guard is dropped, or the lease that it froze with is over |
//! | released | an entry names its next owner; resent to whoever leads until then |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::map::Owner;
use super::state::State;
use crate::id::{LogIndex, ShardId};
use crate::mutate::{Mutant, planted};
use crate::time::{Timestamp, earliest};

/// Time after which an unanswered release is sent again.
const RESEND: Duration = Duration::from_millis(50);

/// What the hand-over wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoverOutput {
    /// The gates of these shards are closed: tell when their guards are gone.
    Drain {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Tell the leader that these shards will not be served here any more.
    Release {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
}

/// Shards of one `Moving` entry on their way out.
#[derive(Clone, Debug)]
struct Closing {
    draining: BTreeSet<ShardId>,
    released: BTreeSet<ShardId>,
    /// The lease end when the gates closed: no guard is valid past it.
    frozen_until: Timestamp,
    resend_at: Timestamp,
}

/// The hand-overs of one node, as the owner that gives up.
#[derive(Debug, Default)]
pub struct Handover {
    closing: BTreeMap<LogIndex, Closing>,
    outputs: std::collections::VecDeque<HandoverOutput>,
}

impl Handover {
    /// An applied entry moves these shards away from this process, whose lease
    /// ends at `lease_until` at this moment.
    pub fn close(&mut self, now: Timestamp, change: LogIndex, shards: &[ShardId], lease_until: Timestamp) {
        let closing = self.closing.entry(change).or_insert(Closing {
            draining: BTreeSet::new(),
            released: BTreeSet::new(),
            frozen_until: lease_until.max(now),
            resend_at: Timestamp::MAX,
        });
        closing.draining.extend(shards);
        if planted(Mutant::ReleasedBeforeDrained) {
            self.outputs.push_back(HandoverOutput::Release { change, shards: shards.to_vec() });
        }
        self.outputs.push_back(HandoverOutput::Drain { change, shards: shards.to_vec() });
    }

    /// Takes up the moves of a state that came as a whole.
    pub fn restore(&mut self, now: Timestamp, me: Owner, state: &State, lease_until: Timestamp) {
        self.closing.clear();
        let mut by_change = BTreeMap::<LogIndex, Vec<ShardId>>::new();
        for (id, shard) in state.map.iter() {
            if shard.owner == Some(me) && shard.moving_to.is_some() {
                by_change.entry(shard.change).or_default().push(id);
            }
        }
        for (change, shards) in by_change {
            self.close(now, change, &shards, lease_until);
        }
    }

    /// The last guards of these shards are gone.
    pub fn handle_drained(&mut self, now: Timestamp, change: LogIndex, shards: &[ShardId]) {
        if let Some(closing) = self.closing.get_mut(&change) {
            let done: Vec<ShardId> = shards.iter().copied().filter(|shard| closing.draining.remove(shard)).collect();
            release(&mut self.outputs, now, change, closing, done);
        }
    }

    /// An applied entry made somebody the owner of these shards.
    pub fn handle_owned(&mut self, shards: &[ShardId]) {
        self.closing.retain(|_, closing| {
            for shard in shards {
                closing.draining.remove(shard);
                closing.released.remove(shard);
            }
            !(closing.draining.is_empty() && closing.released.is_empty())
        });
    }

    /// A new leader has heard none of the releases.
    pub fn handle_new_leader(&mut self, now: Timestamp) {
        for closing in self.closing.values_mut().filter(|closing| !closing.released.is_empty()) {
            closing.resend_at = now;
        }
        self.handle_timeout(now);
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        for (&change, closing) in &mut self.closing {
            if now >= closing.frozen_until && !closing.draining.is_empty() {
                let done = std::mem::take(&mut closing.draining).into_iter().collect();
                release(&mut self.outputs, now, change, closing, done);
            }
            if now >= closing.resend_at {
                closing.resend_at = now + RESEND;
                let shards = closing.released.iter().copied().collect();
                self.outputs.push_back(HandoverOutput::Release { change, shards });
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.closing.values().fold(None, |due, closing| {
            let drain = (!closing.draining.is_empty()).then_some(closing.frozen_until);
            let resend = (closing.resend_at < Timestamp::MAX).then_some(closing.resend_at);
            earliest(due, earliest(drain, resend))
        })
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<HandoverOutput> {
        self.outputs.pop_front()
    }

    /// Whether any shard is on its way out.
    pub fn is_active(&self) -> bool {
        !self.closing.is_empty()
    }
}

fn release(
    outputs: &mut std::collections::VecDeque<HandoverOutput>,
    now: Timestamp,
    change: LogIndex,
    closing: &mut Closing,
    shards: Vec<ShardId>,
) {
    if shards.is_empty() {
        return;
    }
    closing.released.extend(&shards);
    closing.resend_at = closing.resend_at.min(now + RESEND);
    outputs.push_back(HandoverOutput::Release { change, shards });
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn shards(range: std::ops::Range<u32>) -> Vec<ShardId> {
        range.map(ShardId).collect()
    }

    fn outputs(handover: &mut Handover) -> Vec<HandoverOutput> {
        std::iter::from_fn(|| handover.poll_output()).collect()
    }

    #[test]
    fn a_gate_is_released_when_its_guards_are_gone() {
        let mut handover = Handover::default();
        handover.close(at(0), LogIndex(7), &shards(0..4), at(150));
        assert_eq!(outputs(&mut handover), [HandoverOutput::Drain { change: LogIndex(7), shards: shards(0..4) }]);
        handover.handle_drained(at(1), LogIndex(7), &shards(0..3));
        handover.handle_drained(at(1), LogIndex(6), &shards(3..4)); // another move's
        assert_eq!(outputs(&mut handover), [HandoverOutput::Release { change: LogIndex(7), shards: shards(0..3) }]);
        handover.handle_timeout(at(150));
        let late = outputs(&mut handover);
        assert!(late.contains(&HandoverOutput::Release { change: LogIndex(7), shards: shards(3..4) }), "{late:?}");
    }

    #[test]
    fn a_release_is_repeated_until_the_log_shows_its_effect() {
        let mut handover = Handover::default();
        handover.close(at(0), LogIndex(7), &shards(0..2), at(150));
        handover.handle_drained(at(0), LogIndex(7), &shards(0..2));
        outputs(&mut handover);
        let due = handover.poll_timeout().unwrap();
        handover.handle_timeout(due);
        let again = HandoverOutput::Release { change: LogIndex(7), shards: shards(0..2) };
        assert_eq!(outputs(&mut handover), std::slice::from_ref(&again));
        handover.handle_new_leader(due);
        assert_eq!(outputs(&mut handover), [again]);
        handover.handle_owned(&shards(0..2));
        assert!(!handover.is_active());
        assert_eq!(handover.poll_timeout(), None);
    }
}
