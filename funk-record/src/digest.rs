//! Hashes of outputs, and the facts of a node that are compared. None of them depends on the bytes of payloads, only on
//! their lengths: a recording without payloads gives the same.

use std::hash::Hasher;

use bytes::Buf;
use funk_proto::wire::varint;
use funk_proto::{Event, Node, Output};
use siphasher::sip::SipHasher13;

use crate::fields::Fields;

/// The rolling hash of the outputs that were taken.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Outputs {
    pub(crate) count: u64,
    rolling: u64,
}

impl Outputs {
    pub(crate) fn take(&mut self, digest: u64) {
        self.count += 1;
        self.rolling = (self.rolling.rotate_left(5) ^ digest).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    /// What a record says of it.
    pub(crate) fn digest(&self) -> u32 {
        u32::try_from(self.rolling >> 32).expect("half of it")
    }

    /// Forgets the count, not the hash: each record depends on all outputs before it.
    pub(crate) fn begin_again(&mut self) {
        self.count = 0;
    }
}

/// The hash of one output.
pub(crate) fn of_output(output: &Output) -> u64 {
    let mut hasher = SipHasher13::new();
    let mut kind = |kind: u8, numbers: &[u64]| {
        hasher.write_u8(kind);
        numbers.iter().for_each(|&number| hasher.write_u64(number));
    };
    match output {
        Output::Datagram { socket: _, to, bytes } => {
            kind(0, &[to.port().into(), bytes.len() as u64]);
            hasher.write(bytes);
        }
        Output::Dial { conn, to, channel: _ } => kind(1, &[conn.raw(), to.port().into()]),
        Output::Message { conn, bytes } => {
            kind(2, &[conn.raw(), bytes.len() as u64]);
            hasher.write(without_payload(bytes));
        }
        Output::Reply { conn, bytes } => {
            kind(3, &[conn.raw(), bytes.len() as u64]);
            hasher.write(without_payload(bytes));
        }
        Output::Close { conn } => kind(4, &[conn.raw()]),
        Output::Persist(persist) => {
            kind(5, &[persist.token.0, persist.record.len() as u64, persist.replaces.into()]);
        }
        Output::Drain { change, shards } => kind(6, &[change.0, shards.len() as u64]),
        Output::StateWanted { change, shards } => kind(7, &[change.0, shards.len() as u64]),
        Output::StateReceived { shard, epoch, state } => kind(8, &[shard.0.into(), epoch.0, state.len() as u64]),
        Output::SnapshotWanted { index } => kind(9, &[index.0]),
        Output::SnapshotInstalled { index, state } => kind(10, &[index.0, state.len() as u64]),
        Output::Event(event) => {
            let numbers = event_numbers(event);
            kind(11, &numbers);
        }
    }
    hasher.finish()
}

/// Which event it is, and a number of it.
fn event_numbers(event: &Event) -> [u64; 2] {
    match event {
        Event::State(state) => [0, *state as u64],
        Event::Leader { leader, term } => [1, term.0 << 1 | u64::from(leader.is_some())],
        Event::MemberJoined { id, .. } => [2, id.get()],
        Event::MemberLeft { id, .. } => [3, id.get()],
        Event::MemberFailed { id, .. } => [4, id.get()],
        Event::Map { epoch } => [5, epoch.0],
        Event::Moving { epoch, .. } => [6, epoch.0],
        Event::Owned { epoch, .. } => [7, epoch.0],
        Event::OverCapacity { shards } => [8, (*shards).into()],
        Event::Committed { index, .. } => [9, index.0],
        Event::RequestDone { id, .. } => [10, id.0],
        _ => [11, 0],
    }
}

/// The part of a message that says what it is and of which term: from the first field that may hold a payload on,
/// nothing. In frames of Raft that is the fifth field of the message, the entries.
fn without_payload(bytes: &[u8]) -> &[u8] {
    /// Kinds of cluster frames that may hold payloads, as first bytes: Raft, a proposal, one refused, a state.
    const RAFT: u8 = 3 << 3 | 2;
    const OTHERS: [u8; 3] = [9 << 3 | 2, 10 << 3 | 2, 12 << 3 | 2];
    match bytes.first() {
        Some(&RAFT) => {}
        Some(kind) if OTHERS.contains(kind) => return &bytes[..1],
        _ => return bytes,
    }
    let mut rest = &bytes[1..];
    if varint::take(&mut rest).is_none() {
        return &bytes[..1];
    }
    // Fields 1 to 4 are numbers, in this order.
    while rest.first().is_some_and(|tag| tag >> 3 <= 4 && tag & 7 == 0) {
        rest.advance(1);
        if varint::take(&mut rest).is_none() {
            break;
        }
    }
    &bytes[..bytes.len() - rest.len()]
}

macro_rules! facts {
    ($($(#[doc = $doc:literal])+ $name:ident: $words:literal,)+) => {
        /// What of a node is recorded from time to time and compared in a replay.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct Facts {
            $($(#[doc = $doc])+ pub $name: u64,)+
        }

        impl Facts {
            pub(crate) fn put(&self, out: &mut Vec<u8>) {
                $(varint::put(out, self.$name);)+
            }

            pub(crate) fn take(fields: &mut Fields) -> Option<Self> {
                Some(Self { $($name: fields.number()?,)+ })
            }

            /// The first that differs, in words.
            pub fn difference(&self, other: &Self) -> Option<String> {
                $(if self.$name != other.$name {
                    return Some(format!("the {} was {} and is {}", $words, self.$name, other.$name));
                })+
                None
            }
        }
    };
}

facts! {
    /// Its role in Raft: 0 follower, 1 pre-candidate, 2 candidate, 3 leader.
    role: "role",
    /// The newest term.
    term: "term",
    /// Raft id of the leader that it knows; 0 for none.
    leader: "leader's id",
    /// The last entry that it knows to be committed.
    commit: "commit index",
    /// The last entry that it applied.
    applied: "applied index",
    /// The last entry of its log.
    last_index: "last index of the log",
    /// When its lease ends, in nanoseconds on its clock.
    lease_until: "end of the lease",
    /// When its promise as a voter ends.
    promise_until: "end of the promise",
    /// When its authority as a leader ends.
    authority_until: "end of the authority",
    /// Grows with each change of its route table.
    routes: "version of the route table",
    /// Hash of the replicated state; 0 before there is one.
    state: "hash of the replicated state",
}

impl Facts {
    /// The facts of a node now.
    pub fn of(node: &Node) -> Self {
        let look = node.inspect();
        Self {
            role: look.role() as u64,
            term: look.term().0,
            leader: look.leader().map_or(0, |leader| leader.get()),
            commit: look.commit().0,
            applied: look.applied().0,
            last_index: look.last_index().0,
            lease_until: look.lease_until().as_nanos(),
            promise_until: look.promise_until().as_nanos(),
            authority_until: look.authority_until().as_nanos(),
            routes: node.route_version(),
            state: node.state_hash().unwrap_or_default(),
        }
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use funk_proto::wire::cluster::{Frame, FrameBody, UserEntry};
    use funk_proto::wire::raft::{RaftEntry, RaftKind, RaftMessage};

    use super::*;

    fn append(data: &'static [u8], term: u64) -> Output {
        let entries = vec![RaftEntry { kind: 0, term, index: 8, data: Bytes::from_static(data) }];
        let message =
            RaftMessage { kind: RaftKind::Append.into(), term, log_term: 3, index: 7, entries, ..Default::default() };
        Output::Message { conn: funk_proto::id::ConnId::dialled(3), bytes: Frame::bytes(FrameBody::Raft(message)) }
    }

    #[test]
    fn a_payload_of_the_same_length_has_the_same_hash_and_another_term_has_not() {
        assert_eq!(of_output(&append(b"abc", 3)), of_output(&append(b"xyz", 3)));
        assert_ne!(of_output(&append(b"abc", 3)), of_output(&append(b"abcd", 3)));
        assert_ne!(of_output(&append(b"abc", 3)), of_output(&append(b"abc", 4)));
        let propose = |bytes: &'static [u8]| {
            let entry = UserEntry { id: 1, boot: 2, request: 3, bytes: Bytes::from_static(bytes), barrier: false };
            of_output(&Output::Message {
                conn: funk_proto::id::ConnId::dialled(3),
                bytes: Frame::bytes(FrameBody::Propose(entry)),
            })
        };
        assert_eq!(propose(b"abc"), propose(b"xyz"));
    }

    #[test]
    fn the_first_difference_is_named() {
        let facts = Facts { term: 3, ..Facts::default() };
        assert_eq!(facts.difference(&facts), None);
        let other = Facts { term: 4, applied: 2, ..Facts::default() };
        assert_eq!(facts.difference(&other).as_deref(), Some("the term was 3 and is 4"));
    }
}
