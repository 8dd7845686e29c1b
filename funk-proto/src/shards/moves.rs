//! The moves of one node: what it gives up, its states on their way to the next owners, and what comes here.
//!
//! | part | what |
//! |---|---|
//! | `handover` | the shards that leave: gates closed, guards gone, released |
//! | `transfer/send` | their states on the way to the next owners, before the release |
//! | `transfer/receive` | states of shards that come here, kept until an entry makes this node their owner |

use std::time::Duration;

use bytes::Bytes;

use super::handover::{Handover, HandoverOutput};
use super::transfer::receive::Receiver;
use super::transfer::send::{SendOutput, Sender};
use crate::error::Misbehaviour;
use crate::id::{Incarnation, LogIndex, RaftId, ShardId};
use crate::state::State;
use crate::time::{Timestamp, earliest};
use crate::wire::cluster::{Carried, Carry};

/// What the moves want done.
#[derive(Clone, Debug, PartialEq)]
pub enum MovesOutput {
    /// The gates of these shards must close; report when their guards are gone.
    CloseGates {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Renewals of the lease must no longer extend the guards that are left of these shards.
    FreezeGuards {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// Ask the application for the states of these shards.
    WantStates {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
    /// A piece of a state, for the next owner.
    Carry {
        /// The next owner.
        to: RaftId,
        /// The piece.
        carry: Carry,
    },
    /// How much of a state has arrived, for the previous owner.
    Carried {
        /// The previous owner.
        to: RaftId,
        /// The answer.
        carried: Carried,
    },
    /// The leader must learn that these shards are no longer served here.
    Release {
        /// The move.
        change: LogIndex,
        /// The shards, ascending.
        shards: Vec<ShardId>,
    },
}

/// The moves of one node, in both directions.
#[derive(Debug)]
pub struct Moves {
    handover: Handover,
    sender: Sender,
    receiver: Receiver,
    answers: Vec<MovesOutput>,
}

impl Moves {
    /// Without moves. `gives` says whether states go along; one that makes no progress for `patience` is left out.
    /// Guards of a shard that leaves follow the lease for at most `drain_timeout`.
    pub fn new(gives: bool, patience: Duration, drain_timeout: Duration) -> Self {
        let (handover, sender) = (Handover::new(gives, drain_timeout), Sender::new(patience));
        Self { handover, sender, receiver: Receiver::default(), answers: Vec::new() }
    }

    /// An applied entry moves these shards from one node to another.
    pub fn handle_moving(
        &mut self,
        now: Timestamp,
        change: LogIndex,
        (from, to, me): (Incarnation, Incarnation, Incarnation),
        shards: &[ShardId],
    ) {
        if from == me {
            self.handover.close(now, change, to, shards);
        }
        self.receiver.handle_moving(change, shards);
    }

    /// An applied entry gave these shards, with their previous owners, to `to`. Returns the states that came for
    /// them if that is `me`: the application must have them before it serves the shards.
    pub fn handle_owned(
        &mut self,
        change: LogIndex,
        (to, me): (Incarnation, Incarnation),
        shards: &[(ShardId, Option<Incarnation>)],
    ) -> Vec<(ShardId, Bytes)> {
        let lost: Vec<ShardId> =
            shards.iter().filter(|(_, previous)| *previous == Some(me)).map(|&(shard, _)| shard).collect();
        self.handover.handle_owned(&lost);
        self.sender.handle_owned(&lost);
        let arrived = |&(shard, previous)| Some((shard, self.receiver.handle_owned(change, shard, previous)?));
        let arrived: Vec<(ShardId, Bytes)> = shards.iter().filter_map(arrived).collect();
        if to == me { arrived } else { Vec::new() }
    }

    /// The last guards of these shards are gone.
    pub fn handle_drained(&mut self, now: Timestamp, change: LogIndex, shards: &[ShardId]) {
        self.handover.handle_drained(now, change, shards);
    }

    /// The guards that are left of a move are frozen: none is valid past `until`.
    pub fn handle_frozen(&mut self, now: Timestamp, change: LogIndex, until: Timestamp) {
        self.handover.handle_frozen(now, change, until);
    }

    /// The application's answer: the state of a shard, or that it has none.
    pub fn handle_state(&mut self, now: Timestamp, change: LogIndex, shard: ShardId, state: Option<Bytes>) {
        self.sender.handle_state(now, change, shard, state);
    }

    /// The next owner has a part, the whole, or wants none of a state.
    pub fn handle_carried(&mut self, now: Timestamp, from: RaftId, carried: &Carried) {
        self.sender.handle_carried(now, from, carried);
    }

    /// A piece of the state of a shard that `from` gives to `me`.
    ///
    /// # Errors
    /// [`Misbehaviour::Malformed`] for a piece that nobody sends who keeps to the protocol.
    pub fn handle_carry(
        &mut self,
        me: Incarnation,
        from: RaftId,
        carry: &Carry,
        state: &State,
    ) -> Result<(), Misbehaviour> {
        let answer = self.receiver.handle_carry(me, from, carry, state)?;
        self.answers.extend(answer.map(|carried| MovesOutput::Carried { to: from, carried }));
        Ok(())
    }

    /// A new leader has heard none of the releases.
    pub fn handle_new_leader(&mut self, now: Timestamp) {
        self.handover.handle_new_leader(now);
    }

    /// The replicated state came as a whole: takes up its moves, and keeps what has begun.
    pub fn restore(&mut self, now: Timestamp, me: Incarnation, state: &State) {
        self.handover.restore(now, me, state);
        self.sender.restore(me, state);
        self.receiver.restore(me, state);
    }

    /// Whether any shard is on its way out.
    pub fn is_active(&self) -> bool {
        self.handover.is_active()
    }

    /// Fires what is due.
    pub fn handle_timeout(&mut self, now: Timestamp) {
        let is_due = |at: Option<Timestamp>| at.is_some_and(|at| now >= at);
        if is_due(self.handover.poll_timeout()) {
            self.handover.handle_timeout(now);
        }
        if is_due(self.sender.poll_timeout()) {
            self.sender.handle_timeout(now);
        }
    }

    /// When something is due.
    pub fn poll_timeout(&self) -> Option<Timestamp> {
        earliest(self.handover.poll_timeout(), self.sender.poll_timeout())
    }

    /// The next thing to do.
    pub fn poll_output(&mut self, now: Timestamp) -> Option<MovesOutput> {
        loop {
            if let Some(answer) = self.answers.pop() {
                return Some(answer);
            }
            if let Some(output) = self.handover.poll_output() {
                match output {
                    HandoverOutput::CloseGates { change, shards } => {
                        return Some(MovesOutput::CloseGates { change, shards });
                    }
                    HandoverOutput::FreezeGuards { change, shards } => {
                        return Some(MovesOutput::FreezeGuards { change, shards });
                    }
                    HandoverOutput::Give { change, shards } => self.sender.begin(now, change, shards),
                    HandoverOutput::Release { change, shards } => return Some(MovesOutput::Release { change, shards }),
                }
            } else {
                match self.sender.poll_output()? {
                    SendOutput::Want { change, shards } => return Some(MovesOutput::WantStates { change, shards }),
                    SendOutput::Send { to, carry } => return Some(MovesOutput::Carry { to, carry }),
                    SendOutput::Given { change, shards } => self.handover.handle_given(now, change, &shards),
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BootId;
    use crate::state::tests::{command, record, state, transfer};
    use crate::wire::cluster::Op;

    const CHANGE: LogIndex = LogIndex(4);
    const PATIENCE: Duration = Duration::from_millis(500);
    const TIMEOUT: Duration = Duration::from_secs(2);

    fn node(n: u64) -> Incarnation {
        Incarnation { id: RaftId::new(n).unwrap(), boot: BootId::new(100 + n).unwrap() }
    }

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    /// Four shards of member 1, of which the last two move to member 2 with entry 4.
    fn moving() -> State {
        let mut state = state(4);
        state.apply(LogIndex(2), command((1..=2).map(|n| Op::Up(record(n)))));
        state.apply(LogIndex(3), command([Op::Owned(transfer(9, 1, &[0, 1, 2, 3]))]));
        state.apply(CHANGE, command([Op::Moving(transfer(9, 2, &[2, 3]))]));
        state
    }

    fn outputs(moves: &mut Moves, now: Timestamp) -> Vec<MovesOutput> {
        std::iter::from_fn(|| moves.poll_output(now)).collect()
    }

    fn closed(gives: bool) -> (Moves, Vec<ShardId>) {
        let (mut moves, shards) = (Moves::new(gives, PATIENCE, TIMEOUT), vec![ShardId(2), ShardId(3)]);
        moves.handle_moving(at(0), CHANGE, (node(1), node(2), node(1)), &shards);
        assert_eq!(outputs(&mut moves, at(0)), [MovesOutput::CloseGates { change: CHANGE, shards: shards.clone() }]);
        (moves, shards)
    }

    #[test]
    fn a_shard_without_a_state_is_released_as_soon_as_it_is_drained() {
        let (mut moves, shards) = closed(false);
        moves.handle_drained(at(1), CHANGE, &shards);
        assert_eq!(outputs(&mut moves, at(1)), [MovesOutput::Release { change: CHANGE, shards }]);
        assert!(moves.is_active(), "until an entry names the next owner");
    }

    #[test]
    fn a_state_travels_from_the_gate_that_closed_to_the_next_owner_before_the_release() {
        let (mut old, shards) = closed(true);
        let mut new = Moves::new(true, PATIENCE, TIMEOUT);
        old.handle_drained(at(1), CHANGE, &shards);
        assert_eq!(outputs(&mut old, at(1)), [MovesOutput::WantStates { change: CHANGE, shards: shards.clone() }]);
        old.handle_state(at(2), CHANGE, ShardId(2), Some(Bytes::from_static(b"two")));
        old.handle_state(at(2), CHANGE, ShardId(3), None);
        let mut said = outputs(&mut old, at(2));
        let release = MovesOutput::Release { change: CHANGE, shards: vec![ShardId(3)] };
        assert!(said.contains(&release), "it has no state to wait for: {said:?}");
        said.retain(|output| *output != release);
        let [MovesOutput::Carry { to, carry }] = &said[..] else { panic!("one piece: {said:?}") };
        assert_eq!(*to, node(2).id);
        new.handle_carry(node(2), node(1).id, carry, &moving()).unwrap();
        let answer = outputs(&mut new, at(2));
        let [MovesOutput::Carried { to, carried }] = &answer[..] else { panic!("one answer: {answer:?}") };
        assert_eq!(*to, node(1).id);
        old.handle_carried(at(3), node(2).id, carried);
        let release = MovesOutput::Release { change: CHANGE, shards: vec![ShardId(2)] };
        assert_eq!(outputs(&mut old, at(3)), [release]);
        let owned = [(ShardId(2), Some(node(1))), (ShardId(3), Some(node(1)))];
        let arrived = new.handle_owned(LogIndex(5), (node(2), node(2)), &owned);
        assert_eq!(arrived, [(ShardId(2), Bytes::from_static(b"two"))]);
        old.handle_owned(LogIndex(5), (node(2), node(1)), &owned);
        assert!(!old.is_active() && old.poll_timeout().is_none());
    }

    #[test]
    fn a_state_that_came_for_a_shard_that_somebody_else_got_is_dropped() {
        let mut moves = Moves::new(true, PATIENCE, TIMEOUT);
        let piece = Carry { change: 4, boot: 102, shard: 2, total: 3, offset: 0, bytes: Bytes::from_static(b"two") };
        moves.handle_carry(node(2), node(1).id, &piece, &moving()).unwrap();
        let owned = [(ShardId(2), Some(node(1)))];
        assert_eq!(moves.handle_owned(LogIndex(5), (node(3), node(2)), &owned), []);
        assert_eq!(moves.handle_owned(LogIndex(6), (node(2), node(2)), &owned), []);
    }

    #[test]
    fn moves_of_a_snapshot_are_taken_up_and_a_gate_is_closed_once() {
        let (mut moves, shards) = (Moves::new(false, PATIENCE, TIMEOUT), vec![ShardId(2), ShardId(3)]);
        moves.restore(at(0), node(1), &moving());
        assert_eq!(outputs(&mut moves, at(0)), [MovesOutput::CloseGates { change: CHANGE, shards }]);
        moves.restore(at(1), node(1), &moving());
        assert_eq!(outputs(&mut moves, at(1)), []);
    }
}
