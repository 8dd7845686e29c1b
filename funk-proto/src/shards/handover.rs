//! The owner's side of a planned move: close the gate, let the guards finish,
//! release.
//!
//! Guards in flight follow the node's lease, renewals included, until the drain
//! timeout. Then they freeze: no renewal extends them any more, and the shard is
//! released when the lease that they were last told is over.
//!
//! | state of a shard | until |
//! |---|---|
//! | draining | its last guard is dropped, or the lease that its guards froze with is over |
//! | giving | its state has gone to the next owner, if the application gives any |
//! | released | an entry names its next owner; resent to whoever leads until then |

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::id::{Incarnation, LogIndex, ShardId};
use crate::mutate::{Mutant, planted};
use crate::state::State;
use crate::time::{Timestamp, earliest};

/// Time after which an unanswered release is sent again.
const RESEND: Duration = Duration::from_millis(50);

/// What the handover wants done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum HandoverOutput {
    /// The gates of these shards are closed: tell when their guards are gone.
    CloseGates {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// The drain timeout is over: renewals must no longer extend the guards that are left.
    FreezeGuards {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Nobody is inside any more: hand the shards' states to their next owner, then say so.
    Give {
        /// The move.
        change: LogIndex,
        /// The shards, ascending, with their next owners.
        shards: Vec<(ShardId, Incarnation)>,
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
    /// With their next owners.
    draining: BTreeMap<ShardId, Incarnation>,
    giving: BTreeSet<ShardId>,
    released: BTreeSet<ShardId>,
    /// When the guards that are left must freeze: the drain timeout after the first gate closed.
    /// [`Timestamp::MAX`] once that was asked for.
    freezes_at: Timestamp,
    /// No guard is valid past it. [`Timestamp::MAX`] until they are frozen.
    frozen_until: Timestamp,
    resend_at: Timestamp,
}

impl Closing {
    fn is_over(&self) -> bool {
        self.draining.is_empty() && self.giving.is_empty() && self.released.is_empty()
    }
}

/// The handovers of one node, as the owner that gives up.
#[derive(Debug, Default)]
pub struct Handover {
    /// Whether states are handed over.
    gives: bool,
    drain_timeout: Duration,
    closing: BTreeMap<LogIndex, Closing>,
    outputs: std::collections::VecDeque<HandoverOutput>,
}

impl Handover {
    /// Without handovers; `gives` tells whether states are to go along. Guards
    /// in flight follow the lease for at most `drain_timeout`; zero freezes them at once.
    pub fn new(gives: bool, drain_timeout: Duration) -> Self {
        Self { gives, drain_timeout, ..Self::default() }
    }

    /// An applied entry moves these shards from this process to `to`.
    pub fn close(&mut self, now: Timestamp, change: LogIndex, to: Incarnation, shards: &[ShardId]) {
        let closing = self.closing.entry(change).or_insert(Closing {
            draining: BTreeMap::new(),
            giving: BTreeSet::new(),
            released: BTreeSet::new(),
            freezes_at: now + self.drain_timeout,
            frozen_until: Timestamp::MAX,
            resend_at: Timestamp::MAX,
        });
        if closing.freezes_at == Timestamp::MAX {
            // The guards of these shards are not frozen yet. The first deadline holds for them, too.
            (closing.freezes_at, closing.frozen_until) = (now, Timestamp::MAX);
        }
        closing.draining.extend(shards.iter().map(|&shard| (shard, to)));
        if planted(Mutant::ReleasedBeforeDrained) {
            self.outputs.push_back(HandoverOutput::Release { change, shards: shards.to_vec() });
        }
        self.outputs.push_back(HandoverOutput::CloseGates { change, shards: shards.to_vec() });
    }

    /// Takes up the moves of a state that came as a whole. What has begun goes
    /// on: a gate that is closed for a move stays closed, and nobody is asked twice.
    pub fn restore(&mut self, now: Timestamp, me: Incarnation, state: &State) {
        let mut moves = BTreeMap::<LogIndex, BTreeMap<ShardId, Incarnation>>::new();
        for (id, shard) in state.map.iter() {
            if let Some(to) = shard.moving_to.filter(|_| shard.owner == Some(me)) {
                moves.entry(shard.change).or_default().insert(id, to);
            }
        }
        self.closing.retain(|change, closing| {
            let Some(moving) = moves.get_mut(change) else { return false };
            closing.draining.retain(|shard, _| moving.remove(shard).is_some());
            closing.giving.retain(|shard| moving.remove(shard).is_some());
            closing.released.retain(|shard| moving.remove(shard).is_some());
            if closing.released.is_empty() {
                closing.resend_at = Timestamp::MAX;
            }
            !closing.is_over()
        });
        for (change, shards) in moves {
            let mut by_next = BTreeMap::<Incarnation, Vec<ShardId>>::new();
            for (shard, to) in shards {
                by_next.entry(to).or_default().push(shard);
            }
            for (to, shards) in by_next {
                self.close(now, change, to, &shards);
            }
        }
    }

    /// The last guards of these shards are gone.
    pub fn handle_drained(&mut self, now: Timestamp, change: LogIndex, shards: &[ShardId]) {
        if let Some(closing) = self.closing.get_mut(&change) {
            let done = shards.iter().filter_map(|shard| closing.draining.remove_entry(shard)).collect();
            drained(&mut self.outputs, self.gives, now, change, closing, done);
        }
    }

    /// The guards that were left of a move are valid until this time at the latest.
    pub fn handle_frozen(&mut self, now: Timestamp, change: LogIndex, until: Timestamp) {
        let until = if planted(Mutant::FrozenLeaseForgotten) { now } else { until };
        // Where shards joined the move meanwhile, the freeze was asked for again.
        if let Some(closing) = self.closing.get_mut(&change).filter(|closing| closing.freezes_at == Timestamp::MAX) {
            closing.frozen_until = until.max(now);
        }
    }

    /// The states of these shards have gone, or are left out.
    pub fn handle_given(&mut self, now: Timestamp, change: LogIndex, shards: &[ShardId]) {
        if let Some(closing) = self.closing.get_mut(&change) {
            let done: Vec<ShardId> = shards.iter().copied().filter(|shard| closing.giving.remove(shard)).collect();
            release(&mut self.outputs, now, change, closing, done);
        }
    }

    /// An applied entry made somebody the owner of these shards.
    pub fn handle_owned(&mut self, shards: &[ShardId]) {
        self.closing.retain(|_, closing| {
            for shard in shards {
                closing.draining.remove(shard);
                closing.giving.remove(shard);
                closing.released.remove(shard);
            }
            if closing.released.is_empty() {
                closing.resend_at = Timestamp::MAX;
            }
            !closing.is_over()
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
            if now >= closing.freezes_at && !closing.draining.is_empty() {
                closing.freezes_at = Timestamp::MAX;
                let shards = closing.draining.keys().copied().collect();
                if !planted(Mutant::DrainWithoutEnd) {
                    self.outputs.push_back(HandoverOutput::FreezeGuards { change, shards });
                }
            }
            if now >= closing.frozen_until && !closing.draining.is_empty() {
                let done = std::mem::take(&mut closing.draining).into_iter().collect();
                drained(&mut self.outputs, self.gives, now, change, closing, done);
            }
            if now >= closing.resend_at {
                closing.resend_at = now + RESEND;
                if planted(Mutant::ReleaseSaidOnce) {
                    continue;
                }
                let shards = closing.released.iter().copied().collect();
                self.outputs.push_back(HandoverOutput::Release { change, shards });
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.closing.values().fold(None, |due, closing| {
            let is_set = |at: &Timestamp| *at < Timestamp::MAX;
            let drain = Some(closing.freezes_at.min(closing.frozen_until)).filter(|_| !closing.draining.is_empty());
            earliest(due, earliest(drain.filter(is_set), Some(closing.resend_at).filter(is_set)))
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

fn drained(
    outputs: &mut std::collections::VecDeque<HandoverOutput>,
    gives: bool,
    now: Timestamp,
    change: LogIndex,
    closing: &mut Closing,
    shards: Vec<(ShardId, Incarnation)>,
) {
    let ids = shards.iter().map(|&(shard, _)| shard);
    if !gives {
        return release(outputs, now, change, closing, ids.collect());
    }
    if !shards.is_empty() {
        closing.giving.extend(ids);
        outputs.push_back(HandoverOutput::Give { change, shards });
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
    use crate::id::{BootId, RaftId};

    const TIMEOUT: Duration = Duration::from_secs(2);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn next() -> Incarnation {
        Incarnation { id: RaftId::new(2).unwrap(), boot: BootId::new(102).unwrap() }
    }

    fn shards(range: std::ops::Range<u32>) -> Vec<ShardId> {
        range.map(ShardId).collect()
    }

    fn outputs(handover: &mut Handover) -> Vec<HandoverOutput> {
        std::iter::from_fn(|| handover.poll_output()).collect()
    }

    #[test]
    fn a_gate_is_released_when_its_guards_are_gone() {
        let mut handover = Handover::new(false, TIMEOUT);
        handover.close(at(0), LogIndex(7), next(), &shards(0..4));
        assert_eq!(outputs(&mut handover), [HandoverOutput::CloseGates { change: LogIndex(7), shards: shards(0..4) }]);
        handover.handle_drained(at(1), LogIndex(7), &shards(0..3));
        handover.handle_drained(at(1), LogIndex(6), &shards(3..4)); // another move's
        assert_eq!(outputs(&mut handover), [HandoverOutput::Release { change: LogIndex(7), shards: shards(0..3) }]);
        handover.handle_drained(at(2), LogIndex(7), &shards(3..4));
        assert_eq!(outputs(&mut handover), [HandoverOutput::Release { change: LogIndex(7), shards: shards(3..4) }]);
    }

    #[test]
    fn a_guard_that_is_left_after_the_timeout_is_waited_for_until_the_lease_that_it_froze_with_is_over() {
        let mut handover = Handover::new(false, TIMEOUT);
        handover.close(at(0), LogIndex(7), next(), &shards(0..2));
        handover.handle_drained(at(1), LogIndex(7), &shards(0..1));
        outputs(&mut handover);
        handover.handle_owned(&shards(0..1));
        assert_eq!(handover.poll_timeout(), Some(at(0) + TIMEOUT));
        let freezes = at(0) + TIMEOUT;
        handover.handle_timeout(freezes);
        assert_eq!(
            outputs(&mut handover),
            [HandoverOutput::FreezeGuards { change: LogIndex(7), shards: shards(1..2) }]
        );
        assert_eq!(handover.poll_timeout(), None, "when they end is not known yet");
        let end = freezes + Duration::from_millis(150);
        handover.handle_frozen(freezes, LogIndex(7), end);
        assert_eq!(handover.poll_timeout(), Some(end));
        handover.handle_timeout(end);
        let late = outputs(&mut handover);
        assert!(late.contains(&HandoverOutput::Release { change: LogIndex(7), shards: shards(1..2) }), "{late:?}");
    }

    #[test]
    fn a_shard_that_joins_a_frozen_move_is_frozen_at_once_and_for_as_long_as_it_needs() {
        let mut handover = Handover::new(false, TIMEOUT);
        handover.close(at(0), LogIndex(7), next(), &shards(0..1));
        let freezes = at(0) + TIMEOUT;
        handover.handle_timeout(freezes);
        outputs(&mut handover);
        handover.handle_frozen(freezes, LogIndex(7), freezes + Duration::from_millis(50));
        handover.close(freezes, LogIndex(7), next(), &shards(1..2));
        handover.handle_timeout(freezes);
        let said = outputs(&mut handover);
        assert!(said.contains(&HandoverOutput::FreezeGuards { change: LogIndex(7), shards: shards(0..2) }), "{said:?}");
        handover.handle_frozen(freezes, LogIndex(7), freezes + Duration::from_millis(150));
        assert_eq!(handover.poll_timeout(), Some(freezes + Duration::from_millis(150)));
    }

    #[test]
    fn a_release_is_repeated_until_the_log_shows_its_effect() {
        let mut handover = Handover::new(false, TIMEOUT);
        handover.close(at(0), LogIndex(7), next(), &shards(0..2));
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

    #[test]
    fn where_states_go_along_a_shard_is_released_when_its_own_has_gone() {
        let mut handover = Handover::new(true, Duration::ZERO);
        handover.close(at(0), LogIndex(7), next(), &shards(0..3));
        outputs(&mut handover);
        handover.handle_drained(at(1), LogIndex(7), &shards(0..2));
        let give = |range| {
            let shards = shards(range).into_iter().map(|shard| (shard, next())).collect();
            HandoverOutput::Give { change: LogIndex(7), shards }
        };
        assert_eq!(outputs(&mut handover), [give(0..2)]);
        handover.handle_given(at(2), LogIndex(7), &shards(1..3)); // the last one is not drained yet
        let release = |shards| HandoverOutput::Release { change: LogIndex(7), shards };
        assert_eq!(outputs(&mut handover), [release(shards(1..2))]);
        handover.handle_timeout(at(2));
        handover.handle_frozen(at(2), LogIndex(7), at(150));
        handover.handle_timeout(at(150));
        let late = outputs(&mut handover);
        assert!(late.contains(&give(2..3)), "what no guard may serve any more is given too: {late:?}");
        handover.handle_owned(&shards(0..3));
        assert!(!handover.is_active());
    }
}
