//! Raft's messages as they travel in a cluster frame, and the record of one
//! write of Raft's state. Field numbers are part of the protocol: never reuse
//! one. Sender and receiver are known from the connection, so they are not
//! repeated here.

use bytes::Bytes;
use prost::{Enumeration, Message};

/// What a [`RaftMessage`] is. Heartbeats travel in liveness datagrams and have no number here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum RaftKind {
    /// No kind: never sent, always refused.
    Unspecified = 0,
    /// Leader to follower: entries.
    Append = 1,
    /// Follower to leader: entries taken or refused.
    AppendResponse = 2,
    /// Candidate: give me your vote.
    Vote = 3,
    /// A vote given or refused.
    VoteResponse = 4,
    /// Candidate: would you give me your vote?
    PreVote = 5,
    /// The answer to [`RaftKind::PreVote`].
    PreVoteResponse = 6,
    /// Leader to follower: one chunk of a snapshot.
    Snapshot = 7,
    /// Follower to leader: the chunks up to an offset have arrived.
    SnapshotAck = 8,
    /// Leader to the member that is to succeed it: campaign now.
    TimeoutNow = 9,
}

/// One Raft message. Encoded, it is below [`crate::limits::FRAME_BYTES_MAX`].
#[derive(Clone, PartialEq, Message)]
pub struct RaftMessage {
    /// What it is.
    #[prost(enumeration = "RaftKind", tag = "1")]
    pub kind: i32,
    /// The sender's term, or the term that it campaigns for.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Term of the entry at `index` (append, vote) or at `reject_hint` (rejection).
    #[prost(uint64, tag = "3")]
    pub log_term: u64,
    /// Index before the first entry (append), of the last entry (vote), of the last entry taken (response).
    #[prost(uint64, tag = "4")]
    pub index: u64,
    /// Entries after `index`, consecutive.
    #[prost(message, repeated, tag = "5")]
    pub entries: Vec<RaftEntry>,
    /// The sender's commit index.
    #[prost(uint64, tag = "6")]
    pub commit: u64,
    /// Term of the entry at `commit` (votes).
    #[prost(uint64, tag = "7")]
    pub commit_term: u64,
    /// Whether a response refuses.
    #[prost(bool, tag = "8")]
    pub reject: bool,
    /// Where the sender's log may agree with the leader's (rejection).
    #[prost(uint64, tag = "9")]
    pub reject_hint: u64,
    /// A vote asked on the leader's own wish: granted although the leader lives.
    #[prost(bool, tag = "10")]
    pub transfer: bool,
    /// The chunk (snapshot), or what has arrived of it (acknowledgement, without data).
    #[prost(message, optional, tag = "11")]
    pub snapshot: Option<SnapshotChunk>,
    /// Granted votes: nanoseconds for which the voter's promise to the former leader still runs.
    #[prost(uint64, optional, tag = "12")]
    pub promise_rem_nanos: Option<u64>,
}

impl RaftMessage {
    /// Whether this grants a real vote (not a pre-vote).
    pub fn is_granted_vote(&self) -> bool {
        self.kind() == RaftKind::VoteResponse && !self.reject
    }

    /// Whether this says that its sender would vote for the receiver.
    pub fn is_granted_pre_vote(&self) -> bool {
        self.kind() == RaftKind::PreVoteResponse && !self.reject
    }
}

/// What a [`RaftEntry`] holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Enumeration)]
#[repr(i32)]
pub enum RaftEntryKind {
    /// Bytes of the state machine.
    Normal = 0,
    /// A change of voters or learners.
    ConfChange = 1,
}

/// One entry of the replicated log.
#[derive(Clone, PartialEq, Message)]
pub struct RaftEntry {
    /// What it holds.
    #[prost(enumeration = "RaftEntryKind", tag = "1")]
    pub kind: i32,
    /// Term of the leader that made it.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Its place in the log, from 1.
    #[prost(uint64, tag = "3")]
    pub index: u64,
    /// Its bytes; empty in the entry with which a leader begins its term.
    #[prost(bytes = "bytes", tag = "4")]
    pub data: Bytes,
}

/// What a snapshot stands for. Ids ascend.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotMeta {
    /// Index of the last entry in it.
    #[prost(uint64, tag = "1")]
    pub index: u64,
    /// Term of that entry.
    #[prost(uint64, tag = "2")]
    pub term: u64,
    /// Voters after that entry.
    #[prost(fixed64, repeated, tag = "3")]
    pub voters: Vec<u64>,
    /// Learners after that entry.
    #[prost(fixed64, repeated, tag = "4")]
    pub learners: Vec<u64>,
    /// Voters that a joint change is about to retire; empty outside of one.
    #[prost(fixed64, repeated, tag = "5")]
    pub voters_outgoing: Vec<u64>,
    /// Outgoing voters that become learners.
    #[prost(fixed64, repeated, tag = "6")]
    pub learners_next: Vec<u64>,
    /// Whether the leader ends the joint change by itself.
    #[prost(bool, tag = "7")]
    pub auto_leave: bool,
}

/// A piece of a snapshot in transit.
#[derive(Clone, PartialEq, Eq, Message)]
pub struct SnapshotChunk {
    /// The snapshot; the same in all of its chunks.
    #[prost(message, optional, tag = "1")]
    pub meta: Option<SnapshotMeta>,
    /// Bytes of the snapshot before this chunk; in an acknowledgement, bytes that have arrived.
    #[prost(uint64, tag = "2")]
    pub offset: u64,
    /// At most [`crate::limits::SNAPSHOT_CHUNK_BYTES`].
    #[prost(bytes = "bytes", tag = "3")]
    pub data: Bytes,
    /// Whether this is the last chunk.
    #[prost(bool, tag = "4")]
    pub last: bool,
}

/// One write of Raft's state. A later record's entries replace earlier ones
/// from its first index on; a snapshot replaces the whole log up to its index.
#[derive(Clone, PartialEq, Message)]
pub struct RaftRecord {
    /// The current term.
    #[prost(uint64, tag = "1")]
    pub term: u64,
    /// The id voted for in that term; 0 for nobody.
    #[prost(fixed64, tag = "2")]
    pub vote: u64,
    /// The commit index known at that time.
    #[prost(uint64, tag = "3")]
    pub commit: u64,
    /// New entries.
    #[prost(message, repeated, tag = "4")]
    pub entries: Vec<RaftEntry>,
    /// A snapshot that replaces log and state.
    #[prost(message, optional, tag = "5")]
    pub snapshot: Option<SnapshotMeta>,
    /// The snapshot's bytes.
    #[prost(bytes = "bytes", tag = "6")]
    pub state: Bytes,
    /// The node that writes.
    #[prost(fixed64, tag = "7")]
    pub node: u64,
    /// The longest lease that the node may promise for, in microseconds. Earlier versions do not say: their leases
    /// never changed.
    #[prost(uint64, optional, tag = "8")]
    pub kept_lease_us: Option<u64>,
}
