//! What happened, counted: a run that reached nothing proves nothing.

use std::collections::BTreeMap;

use bytes::Bytes;
use funk_proto::Event;
use funk_proto::consensus::RaftRole;
use funk_proto::status::NodeState;
use funk_proto::wire::cluster::FrameBody;
use funk_proto::wire::raft::RaftKind;

/// Counts of one world, or of many together.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    /// Events taken from the queue.
    pub steps: u64,
    /// Inputs that nodes handled.
    pub inputs: u64,
    /// Processes started.
    pub starts: u64,
    /// Processes that went on after a stop.
    pub resumes: u64,
    /// Datagrams sent.
    pub datagrams: u64,
    /// Datagrams lost or cut off.
    pub datagrams_lost: u64,
    /// Datagrams that came twice.
    pub datagrams_doubled: u64,
    /// Datagrams damaged.
    pub datagrams_corrupted: u64,
    /// Old datagrams sent again.
    pub datagrams_replayed: u64,
    /// Datagrams and messages from strangers.
    pub injected: u64,
    /// Messages sent on streams.
    pub stream_messages: u64,
    /// Writes.
    pub writes: u64,
    /// Times that a node became leader.
    pub leader_changes: u64,
    /// Shards that began to move, by each node that saw it.
    pub moves: u64,
    /// Moves whose requests in hand took longer than the drain timeout.
    pub freezes: u64,
    /// States that owners gave for the next ones.
    pub states_given: u64,
    /// States that came to the next owners.
    pub states_received: u64,
    /// Requests answered under a right.
    pub requests_served: u64,
    /// Requests turned away.
    pub requests_refused: u64,
    /// Proposals put in.
    pub proposals: u64,
    /// Proposals of services that were committed.
    pub proposals_committed: u64,
    /// Worlds whose cluster could not be recovered: its last change of voters had counted on nodes that are gone.
    pub unrecoverable: u64,
    /// Processes that a write failed.
    pub disks_failed: u64,
    /// Disks that were refused at a start, since they are damaged.
    pub disks_refused: u64,
    /// Goodbyes that were sent, a copy or three.
    pub goodbyes: u64,
    /// Frames of processes of a later version.
    pub later_frames: u64,
    /// Faults by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// States reached.
    pub states: BTreeMap<&'static str, u64>,
    /// Roles reached.
    pub roles: BTreeMap<&'static str, u64>,
    /// Message kinds sent.
    pub messages: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(crate) fn role(&mut self, role: RaftRole) {
        let word = match role {
            RaftRole::Follower => "Follower",
            RaftRole::PreCandidate => "PreCandidate",
            RaftRole::Candidate => "Candidate",
            RaftRole::Leader => "Leader",
        };
        *self.roles.entry(word).or_default() += 1;
    }

    pub(crate) fn state(&mut self, state: NodeState) {
        let word = match state {
            NodeState::Invalid => "Invalid",
            NodeState::Joining => "Joining",
            NodeState::Operational => "Operational",
            NodeState::Voting => "Voting",
            NodeState::Resharding => "Resharding",
            NodeState::Starting => "Starting",
            NodeState::Stopping => "Stopping",
            NodeState::Draining => "Draining",
        };
        *self.states.entry(word).or_default() += 1;
    }

    pub(crate) fn message_kind(&mut self, kind: &'static str) {
        *self.messages.entry(kind).or_default() += 1;
    }

    pub(crate) fn datagram_kind(&mut self, liveness: bool, _bytes: &Bytes) {
        self.message_kind(if liveness { "liveness datagram" } else { "gossip datagram" });
    }

    /// Adds the counts of another world.
    pub fn add(&mut self, other: &Tally) {
        let pairs = [
            (&mut self.steps, other.steps),
            (&mut self.inputs, other.inputs),
            (&mut self.starts, other.starts),
            (&mut self.resumes, other.resumes),
            (&mut self.datagrams, other.datagrams),
            (&mut self.datagrams_lost, other.datagrams_lost),
            (&mut self.datagrams_doubled, other.datagrams_doubled),
            (&mut self.datagrams_corrupted, other.datagrams_corrupted),
            (&mut self.datagrams_replayed, other.datagrams_replayed),
            (&mut self.injected, other.injected),
            (&mut self.stream_messages, other.stream_messages),
            (&mut self.writes, other.writes),
            (&mut self.leader_changes, other.leader_changes),
            (&mut self.moves, other.moves),
            (&mut self.freezes, other.freezes),
            (&mut self.states_given, other.states_given),
            (&mut self.states_received, other.states_received),
            (&mut self.requests_served, other.requests_served),
            (&mut self.requests_refused, other.requests_refused),
            (&mut self.proposals, other.proposals),
            (&mut self.proposals_committed, other.proposals_committed),
            (&mut self.unrecoverable, other.unrecoverable),
            (&mut self.disks_failed, other.disks_failed),
            (&mut self.disks_refused, other.disks_refused),
            (&mut self.goodbyes, other.goodbyes),
            (&mut self.later_frames, other.later_frames),
        ];
        pairs.into_iter().for_each(|(sum, one)| *sum += one);
        let maps = [
            (&mut self.faults, &other.faults),
            (&mut self.states, &other.states),
            (&mut self.roles, &other.roles),
            (&mut self.messages, &other.messages),
        ];
        for (sum, one) in maps {
            one.iter().for_each(|(&word, count)| *sum.entry(word).or_default() += count);
        }
    }
}

/// The word for a cluster frame.
pub(crate) fn frame_kind(frame: &FrameBody) -> &'static str {
    match frame {
        FrameBody::Hello(_) => "hello",
        FrameBody::Refused(_) => "refused",
        FrameBody::Raft(message) => match message.kind() {
            RaftKind::Vote => "vote",
            RaftKind::PreVote => "pre-vote",
            RaftKind::Snapshot => "snapshot",
            RaftKind::SnapshotAck => "snapshot ack",
            RaftKind::Append => "append",
            RaftKind::AppendResponse => "append response",
            RaftKind::VoteResponse => "vote response",
            RaftKind::PreVoteResponse => "pre-vote response",
            RaftKind::TimeoutNow => "timeout now",
            RaftKind::Unspecified => "unspecified",
        },
        FrameBody::Join(_) => "join",
        FrameBody::JoinRefused(_) => "join refused",
        FrameBody::Leave(_) => "leave",
        FrameBody::Farewell(_) => "farewell",
        FrameBody::Gone(_) => "refused dial",
        FrameBody::WantRing(_) => "question for the gossip keys",
        FrameBody::Ring(_) => "gossip keys",
        FrameBody::LeaderAt(_) => "place of the leader",
        FrameBody::Release(_) => "release",
        FrameBody::Propose(_) => "propose",
        FrameBody::ProposeRefused(_) => "propose refused",
        FrameBody::Update(_) => "update",
        FrameBody::Carry(_) => "state of a shard",
        FrameBody::Carried(_) => "receipt of a state",
    }
}

/// A cluster frame in words.
pub(crate) fn frame_words(frame: &FrameBody) -> String {
    let kind = frame_kind(frame);
    let FrameBody::Raft(message) = frame else { return kind.into() };
    let (term, index, log_term) = (message.term, message.index, message.log_term);
    match message.kind() {
        RaftKind::Append => {
            let (count, commit) = (message.entries.len(), message.commit);
            format!("{kind} of {count} after {index} of term {log_term}, commit {commit}, in term {term}")
        }
        RaftKind::AppendResponse if message.reject => {
            format!("{kind}: not {index}, perhaps {} of term {log_term}, in term {term}", message.reject_hint)
        }
        RaftKind::AppendResponse => format!("{kind}: up to {index}, in term {term}"),
        RaftKind::Vote | RaftKind::PreVote => format!("{kind} with {index} of term {log_term}, in term {term}"),
        RaftKind::VoteResponse | RaftKind::PreVoteResponse => {
            format!("{kind}: {}, in term {term}", if message.reject { "no" } else { "yes" })
        }
        _ => format!("{kind} in term {term}"),
    }
}

/// An event in words.
pub(crate) fn event_words(event: &Event) -> String {
    match event {
        Event::State(state) => format!("is {state}"),
        Event::Leader { leader: Some(leader), term } => format!("sees {leader} lead in term {term}"),
        Event::Leader { leader: None, term } => format!("sees no leader in term {term}"),
        Event::MemberJoined { name, .. } => format!("sees {name} join"),
        Event::MemberLeft { name, .. } => format!("sees {name} leave"),
        Event::MemberFailed { name, .. } => format!("sees {name} fail"),
        Event::Map { epoch } => format!("has the map of epoch {epoch}"),
        Event::Moving { from, to, shards, epoch } => {
            format!("sees {shards} shards move from {from} to {to} in {epoch}")
        }
        Event::Owned { owner, shards, epoch } => format!("sees {owner} own {} shards in {epoch}", shards.len()),
        Event::Committed { index, bytes } => format!("applies {} bytes of a client at {index}", bytes.len()),
        Event::RequestDone { id, outcome } => format!("request {} ends: {outcome:?}", id.0),
        Event::Refused(refusal) => format!("is refused: {refusal}"),
        Event::JoinFailed { address, reason } => format!("cannot join through {address}: {reason}"),
        Event::Left => "has left".into(),
        Event::PeerMisbehaved { what } => format!("drops what a peer sent: {what}"),
        other => format!("{other:?}"),
    }
}
