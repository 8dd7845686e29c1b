//! Which of several streams between two nodes carries a message.

use bytes::Buf;
use prost::encoding::decode_varint;

/// Which of several streams between two nodes carries a message, where the transport has several. Messages of one lane
/// stay in order. Between lanes nothing depends on order, but that a hello comes before all else.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Lane {
    /// All that is short, and must not wait.
    Control,
    /// States of shards on their way to the next owner.
    State,
    /// Snapshots of the log.
    Snapshot,
}

/// First bytes of messages, as protobuf writes them: the field's number, and that its length follows.
const RAFT: u8 = 3 << 3 | 2;
const CARRY: u8 = 12 << 3 | 2;
/// The beginning of a Raft message of the kind snapshot: the field's number, and the kind.
const SNAPSHOT: [u8; 2] = [1 << 3, 7];

impl Lane {
    /// All of them, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Control, Self::State, Self::Snapshot];

    /// The lane of an encoded message.
    pub fn of(mut message: &[u8]) -> Self {
        match message.first() {
            Some(&CARRY) => Self::State,
            Some(&RAFT) => {
                message.advance(1);
                let is_snapshot = decode_varint(&mut message).is_ok() && message.starts_with(&SNAPSHOT);
                if is_snapshot { Self::Snapshot } else { Self::Control }
            }
            _ => Self::Control,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::cluster::{Carry, Frame, FrameBody, Hello};
    use crate::wire::raft::{RaftKind, RaftMessage, SnapshotChunk};

    #[test]
    fn what_is_long_has_a_lane_of_its_own() {
        let raft = |kind: RaftKind, data: usize| {
            let snapshot = SnapshotChunk { data: vec![7; data].into(), ..SnapshotChunk::default() };
            FrameBody::Raft(RaftMessage { kind: kind.into(), snapshot: Some(snapshot), ..RaftMessage::default() })
        };
        for (body, lane) in [
            (FrameBody::Hello(Hello::default()), Lane::Control),
            (FrameBody::Raft(RaftMessage::default()), Lane::Control),
            (raft(RaftKind::Append, 0), Lane::Control),
            (raft(RaftKind::SnapshotAck, 0), Lane::Control),
            (raft(RaftKind::Snapshot, 1), Lane::Snapshot),
            (raft(RaftKind::Snapshot, 70_000), Lane::Snapshot),
            (FrameBody::Carry(Carry::default()), Lane::State),
        ] {
            assert_eq!(Lane::of(&Frame::bytes(body.clone())), lane, "{body:?}");
        }
        for garbage in [&b""[..], b"\x1a", b"\x1a\xff\xff", b"\xff"] {
            assert_eq!(Lane::of(garbage), Lane::Control);
        }
        for (place, lane) in Lane::ALL.into_iter().enumerate() {
            assert_eq!(lane as usize, place);
        }
    }
}
