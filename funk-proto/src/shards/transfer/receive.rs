//! The new owner's side: put the pieces together, and keep them until an entry
//! makes this process the owner.

use std::collections::BTreeMap;

use bytes::Bytes;

use crate::error::Misbehaviour;
use crate::id::{Incarnation, LogIndex, RaftId, ShardId};
use crate::limits::{SHARD_STATE_BYTES_MAX, SHARD_STATE_CHUNK_BYTES, SHARD_STATES_KEPT_BYTES_MAX};
use crate::state::State;
use crate::wire::cluster::{Carried, Carry};

/// One state, as far as it came.
#[derive(Debug)]
struct Arriving {
    from: RaftId,
    change: LogIndex,
    /// The move is in the applied log. Until then it is the sender's word.
    is_logged: bool,
    total: usize,
    bytes: Vec<u8>,
}

/// The states that come to one node.
#[derive(Debug, Default)]
pub struct Receiver {
    arriving: BTreeMap<ShardId, Arriving>,
}

impl Receiver {
    /// Takes a piece of the state of a shard that `from` gives to `me`. What is
    /// to be answered, if anything.
    ///
    /// # Errors
    /// [`Misbehaviour::Malformed`] for a piece that nobody sends who keeps to the protocol.
    pub fn handle_carry(
        &mut self,
        me: Incarnation,
        from: RaftId,
        carry: &Carry,
        state: &State,
    ) -> Result<Option<Carried>, Misbehaviour> {
        let (change, shard) = (LogIndex(carry.change), ShardId(carry.shard));
        let (total, offset) = lengths(carry).ok_or(Misbehaviour::Malformed("state of a shard"))?;
        if shard.0 >= state.map.shards() {
            return Err(Misbehaviour::Malformed("state of a shard"));
        }
        if carry.boot != me.boot.get() {
            return Ok(None);
        }
        let answer = |received: usize, refused| {
            let Carry { change, boot, shard, .. } = *carry;
            Ok(Some(Carried { change, boot, shard, received: received as u64, refused }))
        };
        // A node that is behind has not seen the move yet; at its end the log is asked again.
        if change <= state.applied && !moves_here(state, shard, change, from, me) {
            return answer(0, true);
        }
        // A move that is in the log goes before any that is said to come: anybody may say that.
        let is_logged = change <= state.applied;
        let goes_before = |known: &Arriving| match (known.is_logged, is_logged) {
            (true, false) => true,
            (false, true) => false,
            _ => known.change > change,
        };
        if self.arriving.get(&shard).is_some_and(goes_before) {
            return Ok(None);
        }
        let same = |known: &Arriving| (known.from, known.change, known.total) == (from, change, total);
        if !self.arriving.get(&shard).is_some_and(same) {
            self.arriving.remove(&shard);
            if is_logged && self.kept() + total > SHARD_STATES_KEPT_BYTES_MAX {
                self.arriving.retain(|_, arriving| arriving.is_logged);
            }
            if self.kept() + total > SHARD_STATES_KEPT_BYTES_MAX {
                tracing::warn!(%shard, total, "no room for the state of a shard that is handed over");
                return answer(0, true);
            }
            self.arriving.insert(shard, Arriving { from, change, is_logged, total, bytes: Vec::new() });
        }
        let arriving = self.arriving.get_mut(&shard).expect("it is there by now");
        if offset == arriving.bytes.len() {
            arriving.bytes.extend_from_slice(&carry.bytes);
        }
        answer(arriving.bytes.len(), false)
    }

    fn kept(&self) -> usize {
        self.arriving.values().map(|arriving| arriving.total).sum()
    }

    /// An applied entry moves these shards: what came for an earlier move of them is void.
    pub fn handle_moving(&mut self, index: LogIndex, shards: &[ShardId]) {
        self.arriving.retain(|shard, arriving| arriving.change >= index || shards.binary_search(shard).is_err());
        for (shard, arriving) in &mut self.arriving {
            arriving.is_logged |= arriving.change == index && shards.binary_search(shard).is_ok();
        }
    }

    /// An applied entry took this shard from `former`. Gives its state, if all of
    /// it has come from there for the move that the entry ends; nothing of it is kept.
    pub fn handle_owned(&mut self, index: LogIndex, shard: ShardId, former: Option<Incarnation>) -> Option<Bytes> {
        if self.arriving.get(&shard)?.change > index {
            return None;
        }
        let arrived = self.arriving.remove(&shard)?;
        // A shard can be taken over without a move, from a member that had announced one.
        let whole = arrived.is_logged && arrived.bytes.len() == arrived.total;
        (whole && former.is_some_and(|former| former.id == arrived.from)).then(|| arrived.bytes.into())
    }

    /// The replicated state came as a whole: keeps what still moves here.
    pub fn restore(&mut self, me: Incarnation, state: &State) {
        self.arriving.retain(|&shard, at| {
            at.is_logged = at.change <= state.applied;
            !at.is_logged || moves_here(state, shard, at.change, at.from, me)
        });
    }
}

/// The length of the whole and the place of the piece in it, if they fit each other and the limits.
fn lengths(carry: &Carry) -> Option<(usize, usize)> {
    let (total, offset) = (usize::try_from(carry.total).ok()?, usize::try_from(carry.offset).ok()?);
    let fits = carry.bytes.len() <= SHARD_STATE_CHUNK_BYTES
        && total <= SHARD_STATE_BYTES_MAX
        && offset.checked_add(carry.bytes.len())? <= total;
    fits.then_some((total, offset))
}

fn moves_here(state: &State, shard: ShardId, change: LogIndex, from: RaftId, me: Incarnation) -> bool {
    state.map.get(shard).is_some_and(|now| {
        now.change == change && now.moving_to == Some(me) && now.owner.is_some_and(|owner| owner.id == from)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::id::BootId;
    use crate::state::tests::{command, record, state, transfer};
    use crate::wire::cluster::Op;

    fn owner(n: u64) -> Incarnation {
        Incarnation { id: RaftId::new(n).unwrap(), boot: BootId::new(100 + n).unwrap() }
    }

    /// Four shards of member 1, of which the last two move to member 2 with entry 4.
    fn moving() -> State {
        let mut state = state(4);
        state.apply(LogIndex(2), command((1..=2).map(|n| Op::Up(record(n)))));
        state.apply(LogIndex(3), command([Op::Owned(transfer(9, 1, &[0, 1, 2, 3]))]));
        state.apply(LogIndex(4), command([Op::Moving(transfer(9, 2, &[2, 3]))]));
        state
    }

    fn carry(change: u64, shard: u32, offset: u64, bytes: &'static [u8]) -> Carry {
        Carry { change, boot: 102, shard, total: 4, offset, bytes: Bytes::from_static(bytes) }
    }

    fn answered(receiver: &mut Receiver, piece: &Carry, state: &State) -> Option<(u64, bool)> {
        let answer = receiver.handle_carry(owner(2), owner(1).id, piece, state).unwrap();
        answer.map(|carried| (carried.received, carried.refused))
    }

    #[test]
    fn a_state_is_put_together_from_its_pieces_whatever_comes_twice() {
        let (mut receiver, state) = (Receiver::default(), moving());
        for (offset, piece, received) in [(0, b"ab", 2), (0, b"ab", 2), (2, b"cd", 4), (2, b"cd", 4)] {
            assert_eq!(answered(&mut receiver, &carry(4, 2, offset, piece), &state), Some((received, false)));
        }
        assert_eq!(receiver.handle_owned(LogIndex(5), ShardId(2), Some(owner(1))), Some(Bytes::from_static(b"abcd")));
        assert_eq!(receiver.handle_owned(LogIndex(5), ShardId(2), Some(owner(1))), None, "it is given once");
    }

    #[test]
    fn half_a_state_and_one_of_another_owner_are_none() {
        let (mut receiver, state) = (Receiver::default(), moving());
        answered(&mut receiver, &carry(4, 2, 0, b"ab"), &state);
        answered(&mut receiver, &carry(4, 3, 0, b"abcd"), &state);
        assert_eq!(receiver.handle_owned(LogIndex(5), ShardId(2), Some(owner(1))), None);
        assert_eq!(receiver.handle_owned(LogIndex(5), ShardId(3), Some(owner(3))), None);
    }

    #[test]
    fn what_is_not_on_its_way_here_is_refused() {
        let (mut receiver, state) = (Receiver::default(), moving());
        assert_eq!(answered(&mut receiver, &carry(4, 1, 0, b"abcd"), &state), Some((0, true)), "it does not move");
        assert_eq!(answered(&mut receiver, &carry(3, 2, 0, b"abcd"), &state), Some((0, true)), "another change");
        let stranger = receiver.handle_carry(owner(2), owner(3).id, &carry(4, 2, 0, b"abcd"), &state).unwrap();
        assert!(stranger.is_some_and(|carried| carried.refused), "not from its owner");
        let other_boot = Carry { boot: 999, ..carry(4, 2, 0, b"abcd") };
        assert_eq!(answered(&mut receiver, &other_boot, &state), None);
        assert!(receiver.arriving.is_empty());
    }

    #[test]
    fn a_node_that_is_behind_keeps_what_comes_for_a_later_move_and_drops_it_when_the_log_goes_on() {
        let (mut receiver, state) = (Receiver::default(), moving());
        assert_eq!(answered(&mut receiver, &carry(9, 2, 0, b"abcd"), &state), Some((4, false)));
        assert_eq!(receiver.handle_owned(LogIndex(6), ShardId(2), Some(owner(1))), None, "an entry before that move");
        receiver.handle_moving(LogIndex(9), &[ShardId(2)]);
        assert!(!receiver.arriving.is_empty(), "the move itself");
        receiver.handle_moving(LogIndex(12), &[ShardId(2)]);
        assert!(receiver.arriving.is_empty(), "a move after it");
        answered(&mut receiver, &carry(19, 2, 0, b"abcd"), &state);
        receiver.handle_moving(LogIndex(19), &[ShardId(2)]);
        let state = receiver.handle_owned(LogIndex(20), ShardId(2), Some(owner(1)));
        assert_eq!(state, Some(Bytes::from_static(b"abcd")), "the log brought the move");
    }

    #[test]
    fn what_a_member_said_of_a_move_that_never_came_is_no_state_when_its_shard_is_taken() {
        let (mut receiver, state) = (Receiver::default(), moving());
        for said in [5, 9] {
            answered(&mut receiver, &carry(said, 1, 0, b"lies"), &state);
            assert_eq!(receiver.handle_owned(LogIndex(9), ShardId(1), Some(owner(1))), None, "{said}");
        }
        answered(&mut receiver, &carry(9, 1, 0, b"lies"), &state);
        receiver.handle_moving(LogIndex(9), &[ShardId(0)]);
        assert_eq!(receiver.handle_owned(LogIndex(12), ShardId(1), Some(owner(1))), None, "another shard moved then");
    }

    #[test]
    fn what_a_member_says_of_moves_to_come_is_in_nobodys_way() {
        let state = moving();
        for forged in [5, 9, u64::MAX] {
            let mut receiver = Receiver::default();
            let lie = |shard, total| Carry { total, ..carry(forged, shard, 0, b"lie") };
            let say = |receiver: &mut Receiver, piece: &Carry| {
                receiver.handle_carry(owner(2), owner(3).id, piece, &state).unwrap();
            };
            // Before the state comes, between its pieces, and so much that there is no room for it.
            (0..4).for_each(|shard| say(&mut receiver, &lie(shard, SHARD_STATE_BYTES_MAX as u64)));
            for (offset, piece, received) in [(0, b"ab", 2), (2, b"cd", 4)] {
                assert_eq!(answered(&mut receiver, &carry(4, 2, offset, piece), &state), Some((received, false)));
                say(&mut receiver, &lie(2, 3));
            }
            let state = receiver.handle_owned(LogIndex(5), ShardId(2), Some(owner(1)));
            assert_eq!(state, Some(Bytes::from_static(b"abcd")), "{forged}");
        }
    }

    #[test]
    fn room_that_is_taken_for_moves_to_come_is_there_for_one_in_the_log() {
        let mut receiver = Receiver::default();
        let mut state = state(40);
        state.apply(LogIndex(2), command((1..=2).map(|n| Op::Up(record(n)))));
        state.apply(LogIndex(3), command([Op::Owned(transfer(9, 1, &[39]))]));
        state.apply(LogIndex(4), command([Op::Moving(transfer(9, 2, &[39]))]));
        for shard in 0..39 {
            let lie = Carry { total: SHARD_STATE_BYTES_MAX as u64, ..carry(9, shard, 0, b"lie") };
            receiver.handle_carry(owner(2), owner(3).id, &lie, &state).unwrap();
        }
        assert_eq!(answered(&mut receiver, &carry(4, 39, 0, b"abcd"), &state), Some((4, false)));
    }

    #[test]
    fn lengths_that_do_not_fit_are_misbehaviour_and_too_much_is_refused() {
        let (mut receiver, state) = (Receiver::default(), moving());
        let mut broken = |piece: &Carry| receiver.handle_carry(owner(2), owner(1).id, piece, &state).is_err();
        assert!(broken(&carry(4, 2, 3, b"ab")), "past the end");
        assert!(broken(&carry(4, 2, u64::MAX, b"ab")));
        assert!(broken(&carry(4, 4, 0, b"ab")), "no such shard");
        assert!(broken(&Carry { total: 1 << 40, ..carry(4, 2, 0, b"ab") }));
    }

    #[test]
    fn states_past_the_room_for_them_are_refused_by_the_length_that_they_announce() {
        let (mut receiver, wide) = (Receiver::default(), state(20));
        let whole = |shard| Carry { total: SHARD_STATE_BYTES_MAX as u64, ..carry(9, shard, 0, b"ab") };
        let room = u32::try_from(SHARD_STATES_KEPT_BYTES_MAX / SHARD_STATE_BYTES_MAX).unwrap();
        for shard in 0..room {
            assert_eq!(answered(&mut receiver, &whole(shard), &wide), Some((2, false)));
        }
        assert_eq!(answered(&mut receiver, &whole(room), &wide), Some((0, true)));
    }
}
