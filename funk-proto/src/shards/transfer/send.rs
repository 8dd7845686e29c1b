//! The old owner's side: ask the application for the states of closed shards, a
//! few at a time, and send each in pieces of which one is under way at a time.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;

use crate::id::{BootId, Incarnation, LogIndex, RaftId, ShardId};
use crate::limits::{SHARD_STATE_BYTES_MAX, SHARD_STATE_CHUNK_BYTES, SHARD_STATES_AT_ONCE};
use crate::state::State;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{Carried, Carry};

/// Time after which a piece that nobody confirmed is sent again.
const RESEND: Duration = Duration::from_millis(50);

/// What the old owner wants done.
#[derive(Clone, Debug, PartialEq)]
pub enum SendOutput {
    /// Ask the application for the states of these shards.
    Want {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Send a piece to the new owner.
    Send {
        /// To whom.
        to: RaftId,
        /// The piece.
        carry: Carry,
    },
    /// Nothing of these shards is left to send: they may be released.
    Given {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
}

/// The states of one `Moving` entry on their way to the new owners.
#[derive(Debug)]
struct Move {
    /// The application was not asked yet.
    waiting: BTreeMap<ShardId, Incarnation>,
    /// It was asked and has not answered.
    asked: BTreeMap<ShardId, Incarnation>,
    sending: BTreeMap<ShardId, Sending>,
    /// When the rest is left out, unless something gets on before.
    patience_ends: Timestamp,
}

impl Move {
    fn active(&self) -> usize {
        self.asked.len() + self.sending.len()
    }

    fn is_done(&self) -> bool {
        self.waiting.is_empty() && self.active() == 0
    }

    fn drop_shard(&mut self, shard: ShardId) {
        self.waiting.remove(&shard);
        self.asked.remove(&shard);
        self.sending.remove(&shard);
    }
}

#[derive(Debug)]
struct Sending {
    to: Incarnation,
    state: Bytes,
    /// Bytes that the new owner has.
    confirmed: usize,
    sent_at: Timestamp,
}

/// The states that one node gives away.
#[derive(Debug)]
pub struct Sender {
    /// Time without progress after which the rest of a move is left out.
    patience: Duration,
    moves: BTreeMap<LogIndex, Move>,
    outputs: VecDeque<SendOutput>,
}

impl Sender {
    /// A sender that leaves out what makes no progress for `patience`.
    pub fn new(patience: Duration) -> Self {
        Self { patience, moves: BTreeMap::new(), outputs: VecDeque::new() }
    }

    /// These shards are closed here, their guards gone: their states are to go to the next owners.
    pub fn begin(&mut self, now: Timestamp, change: LogIndex, shards: Vec<(ShardId, Incarnation)>) {
        let entry = self.moves.entry(change).or_insert(Move {
            waiting: BTreeMap::new(),
            asked: BTreeMap::new(),
            sending: BTreeMap::new(),
            patience_ends: now + self.patience,
        });
        entry.waiting.extend(shards);
        self.ask_for_more();
    }

    /// The application's answer: the state of a shard, or that it has none.
    pub fn handle_state(&mut self, now: Timestamp, change: LogIndex, shard: ShardId, state: Option<Bytes>) {
        let Some(at) = self.moves.get_mut(&change) else { return };
        let Some(to) = at.asked.remove(&shard) else { return };
        at.patience_ends = now + self.patience;
        match state {
            Some(state) if state.len() <= SHARD_STATE_BYTES_MAX => {
                let sending = Sending { to, state, confirmed: 0, sent_at: now };
                self.outputs.push_back(piece(change, shard, &sending));
                at.sending.insert(shard, sending);
            }
            state => {
                if let Some(state) = state {
                    let (bytes, most) = (state.len(), SHARD_STATE_BYTES_MAX);
                    tracing::warn!(%shard, bytes, most, "the state of a shard is too large to be handed over");
                }
                self.given(change, vec![shard]);
            }
        }
    }

    /// The new owner has a part, the whole, or wants none of it.
    pub fn handle_carried(&mut self, now: Timestamp, from: RaftId, carried: &Carried) {
        let (change, shard) = (LogIndex(carried.change), ShardId(carried.shard));
        let Some(at) = self.moves.get_mut(&change) else { return };
        let Some(sending) = at.sending.get_mut(&shard) else { return };
        if sending.to.id != from || BootId::new(carried.boot) != Some(sending.to.boot) {
            return;
        }
        let received = usize::try_from(carried.received).unwrap_or(usize::MAX);
        if carried.refused || received == sending.state.len() {
            at.sending.remove(&shard);
            at.patience_ends = now + self.patience;
            return self.given(change, vec![shard]);
        }
        if received > sending.confirmed && received < sending.state.len() {
            (sending.confirmed, sending.sent_at) = (received, now);
            at.patience_ends = now + self.patience;
            self.outputs.push_back(piece(change, shard, sending));
        }
    }

    /// An applied entry made somebody the owner of these shards: there is nothing left to give.
    pub fn handle_owned(&mut self, shards: &[ShardId]) {
        for at in self.moves.values_mut() {
            for &shard in shards {
                at.drop_shard(shard);
            }
        }
        self.moves.retain(|_, at| !at.is_done());
        self.ask_for_more();
    }

    /// The replicated state came as a whole: forgets what does not move any more.
    pub fn restore(&mut self, me: Incarnation, state: &State) {
        for (&change, at) in &mut self.moves {
            let moves =
                |shard: ShardId| state.map.get(shard).is_some_and(|now| now.owner == Some(me) && now.change == change);
            at.waiting.retain(|&shard, _| moves(shard));
            at.asked.retain(|&shard, _| moves(shard));
            at.sending.retain(|&shard, _| moves(shard));
        }
        self.moves.retain(|_, at| !at.is_done());
        self.ask_for_more();
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let late: Vec<LogIndex> =
            self.moves.iter().filter(|(_, at)| now >= at.patience_ends).map(|(&change, _)| change).collect();
        for change in late {
            let at = self.moves.get_mut(&change).expect("it was just listed");
            let mut left: BTreeSet<ShardId> = std::mem::take(&mut at.waiting).into_keys().collect();
            left.extend(std::mem::take(&mut at.asked).into_keys());
            left.extend(std::mem::take(&mut at.sending).into_keys());
            tracing::warn!(%change, shards = left.len(), "the states of shards are left out of their handover");
            self.given(change, left.into_iter().collect());
        }
        for (&change, at) in &mut self.moves {
            for (&shard, sending) in &mut at.sending {
                if now >= sending.sent_at + RESEND {
                    sending.sent_at = now;
                    self.outputs.push_back(piece(change, shard, sending));
                }
            }
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        self.moves.values().fold(None, |due, at| {
            let resend = at.sending.values().map(|sending| sending.sent_at + RESEND).min();
            earliest(due, earliest(Some(at.patience_ends), resend))
        })
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<SendOutput> {
        self.outputs.pop_front()
    }

    fn given(&mut self, change: LogIndex, shards: Vec<ShardId>) {
        self.moves.retain(|_, at| !at.is_done());
        self.outputs.push_back(SendOutput::Given { change, shards });
        self.ask_for_more();
    }

    fn ask_for_more(&mut self) {
        let active: usize = self.moves.values().map(Move::active).sum();
        let mut room = SHARD_STATES_AT_ONCE.saturating_sub(active);
        for (&change, at) in &mut self.moves {
            let count = room.min(at.waiting.len());
            let asked: Vec<(ShardId, Incarnation)> =
                std::iter::from_fn(|| at.waiting.pop_first()).take(count).collect();
            if !asked.is_empty() {
                room -= count;
                let shards = asked.iter().map(|&(shard, _)| shard).collect();
                at.asked.extend(asked);
                self.outputs.push_back(SendOutput::Want { change, shards });
            }
        }
    }
}

/// The piece after what is confirmed.
fn piece(change: LogIndex, shard: ShardId, sending: &Sending) -> SendOutput {
    let to = sending.to;
    let end = sending.state.len().min(sending.confirmed + SHARD_STATE_CHUNK_BYTES);
    let carry = Carry {
        change: change.0,
        boot: to.boot.get(),
        shard: shard.0,
        total: sending.state.len() as u64,
        offset: sending.confirmed as u64,
        bytes: sending.state.slice(sending.confirmed..end),
    };
    SendOutput::Send { to: to.id, carry }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGE: LogIndex = LogIndex(7);
    const PATIENCE: Duration = Duration::from_millis(500);

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn next() -> Incarnation {
        Incarnation { id: RaftId::new(2).unwrap(), boot: BootId::new(102).unwrap() }
    }

    fn shards(range: std::ops::Range<u32>) -> Vec<ShardId> {
        range.map(ShardId).collect()
    }

    fn to_next(range: std::ops::Range<u32>) -> Vec<(ShardId, Incarnation)> {
        shards(range).into_iter().map(|shard| (shard, next())).collect()
    }

    fn outputs(sender: &mut Sender) -> Vec<SendOutput> {
        std::iter::from_fn(|| sender.poll_output()).collect()
    }

    fn carried(shard: u32, received: usize) -> Carried {
        Carried { change: CHANGE.0, boot: 102, shard, received: received as u64, refused: false }
    }

    fn sent(outputs: &[SendOutput]) -> Vec<(u32, u64, usize)> {
        let pieces = outputs.iter().filter_map(|output| match output {
            SendOutput::Send { carry, .. } => Some((carry.shard, carry.offset, carry.bytes.len())),
            _ => None,
        });
        pieces.collect()
    }

    #[test]
    fn states_are_asked_for_a_few_at_a_time() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..20));
        assert_eq!(outputs(&mut sender), [SendOutput::Want { change: CHANGE, shards: shards(0..8) }]);
        sender.handle_state(at(1), CHANGE, ShardId(3), None);
        let given = SendOutput::Given { change: CHANGE, shards: shards(3..4) };
        assert_eq!(outputs(&mut sender), [given, SendOutput::Want { change: CHANGE, shards: shards(8..9) }]);
    }

    #[test]
    fn a_state_goes_piece_by_piece_and_is_given_when_all_of_it_is_there() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..1));
        outputs(&mut sender);
        let state = Bytes::from(vec![1; SHARD_STATE_CHUNK_BYTES + 5]);
        sender.handle_state(at(1), CHANGE, ShardId(0), Some(state.clone()));
        assert_eq!(sent(&outputs(&mut sender)), [(0, 0, SHARD_STATE_CHUNK_BYTES)]);
        sender.handle_carried(at(2), RaftId::new(3).unwrap(), &carried(0, SHARD_STATE_CHUNK_BYTES));
        assert_eq!(outputs(&mut sender), [], "only the next owner's word counts");
        sender.handle_carried(at(2), next().id, &carried(0, SHARD_STATE_CHUNK_BYTES));
        assert_eq!(sent(&outputs(&mut sender)), [(0, SHARD_STATE_CHUNK_BYTES as u64, 5)]);
        sender.handle_carried(at(3), next().id, &carried(0, SHARD_STATE_CHUNK_BYTES));
        assert_eq!(outputs(&mut sender), [], "an answer that came twice");
        sender.handle_carried(at(3), next().id, &carried(0, state.len()));
        assert_eq!(outputs(&mut sender), [SendOutput::Given { change: CHANGE, shards: shards(0..1) }]);
        assert_eq!(sender.poll_timeout(), None);
    }

    #[test]
    fn an_empty_state_is_a_state() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..1));
        sender.handle_state(at(1), CHANGE, ShardId(0), Some(Bytes::new()));
        assert_eq!(sent(&outputs(&mut sender)), [(0, 0, 0)]);
        sender.handle_carried(at(2), next().id, &carried(0, 0));
        assert_eq!(outputs(&mut sender), [SendOutput::Given { change: CHANGE, shards: shards(0..1) }]);
    }

    #[test]
    fn a_piece_is_sent_again_and_what_gets_nowhere_is_left_out() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..2));
        sender.handle_state(at(0), CHANGE, ShardId(0), Some(Bytes::from_static(b"x")));
        outputs(&mut sender);
        let due = sender.poll_timeout().unwrap();
        assert_eq!(due, at(0) + RESEND);
        sender.handle_timeout(due);
        assert_eq!(sent(&outputs(&mut sender)), [(0, 0, 1)]);
        sender.handle_timeout(at(500));
        assert_eq!(outputs(&mut sender), [SendOutput::Given { change: CHANGE, shards: shards(0..2) }]);
        sender.handle_state(at(501), CHANGE, ShardId(1), Some(Bytes::new()));
        assert_eq!((outputs(&mut sender), sender.poll_timeout()), (vec![], None), "the answer comes too late");
    }

    #[test]
    fn a_refused_or_too_large_state_holds_nothing_up() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..2));
        sender.handle_state(at(0), CHANGE, ShardId(0), Some(vec![0; SHARD_STATE_BYTES_MAX + 1].into()));
        sender.handle_state(at(0), CHANGE, ShardId(1), Some(Bytes::from_static(b"x")));
        sender.handle_carried(at(1), next().id, &Carried { refused: true, ..carried(1, 0) });
        let given = |range| SendOutput::Given { change: CHANGE, shards: shards(range) };
        let all = outputs(&mut sender);
        assert!(all.contains(&given(0..1)) && all.contains(&given(1..2)), "{all:?}");
    }

    #[test]
    fn a_shard_that_somebody_owns_by_now_is_forgotten() {
        let mut sender = Sender::new(PATIENCE);
        sender.begin(at(0), CHANGE, to_next(0..9));
        outputs(&mut sender);
        sender.handle_owned(&shards(0..8));
        assert_eq!(outputs(&mut sender), [SendOutput::Want { change: CHANGE, shards: shards(8..9) }]);
        sender.handle_owned(&shards(8..9));
        assert_eq!(sender.poll_timeout(), None);
    }
}
