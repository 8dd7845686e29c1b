//! What a node must not take from members, and from those that are no members yet.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::consensus::RaftRole;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::wire::cluster::{Frame, FrameBody, MemberRecord, REASON_REMOVED, Refused, UserEntry};
use funk_proto::wire::raft::{RaftEntry, RaftKind, RaftMessage};
use funk_proto::{Event, Input, Misbehaviour, Outcome, Output, Request, RequestId};
use funk_sim::World;

use super::stage::{Stage, forgeries, hello, record};
use crate::cuts::{SHARDS, cluster, with_role};

/// A node that was reached, and is no member, sends what only members may.
pub(super) fn guest() -> Option<String> {
    Stage::with_member(|mut stage| {
        // The member's name is taken: it is not let in, whoever it is.
        let conn = stage.accept();
        let (mut hello, mut record) = (hello(3, 103, 3), record(103, 3));
        (hello.name, record.id) = ("n2".into(), 3);
        stage.say(conn, FrameBody::Hello(hello.clone()));
        stage.say(conn, FrameBody::Join(record));
        let Some(called) = stage.dialled(3) else { return Some("who asks to join is not looked for".into()) };
        stage.say(called, FrameBody::Hello(hello));
        let own = stage.own();
        let forged = forgeries(own).into_iter().find_map(|(kind, body)| {
            // Consensus decides about the one, and answers the other.
            let is_elsewhere = matches!(body, FrameBody::Raft(_) | FrameBody::Propose(_));
            if is_elsewhere { None } else { stage.unless_refused(called, kind, body) }
        });
        forged.or_else(|| {
            let proposed = stage.say(called, FrameBody::Propose(entry(3, 103, 1)));
            is_committed(&proposed).then(|| "a non-member appends an entry".to_owned())
        })
    })
}

fn entry(id: u64, boot: u64, request: u64) -> UserEntry {
    UserEntry { id, boot, request, bytes: Bytes::from_static(b"x"), ..UserEntry::default() }
}

fn is_committed(outputs: &[Output]) -> bool {
    outputs.iter().any(|output| matches!(output, Output::Event(Event::Committed { .. })))
}

/// A member sends what only the leader may, or another member.
pub(super) fn member() -> Option<String> {
    Stage::with_member(|mut stage| {
        let (called, own) = (stage.dialled(2)?, stage.own());
        let refused = Refused { reason: REASON_REMOVED, boot: own.boot, ..Refused::default() };
        let others = MemberRecord { id: own.id, boot: own.boot, ..record(102, 2) };
        [
            ("farewell", FrameBody::Farewell(own)),
            ("refusal to join", FrameBody::JoinRefused(refused)),
            ("member update", FrameBody::Update(others)),
            ("member update", FrameBody::Update(MemberRecord { boot: 7, ..record(102, 2) })),
        ]
        .into_iter()
        .find_map(|(kind, body)| stage.unless_refused(called, kind, body))
    })
}

/// A member that does not lead sends entries, in the leader's term and in one of a number that nobody counts to.
pub(super) fn second_leader() -> Option<String> {
    Stage::with_member(|mut stage| {
        let called = stage.dialled(2)?;
        let node = stage.node.inspect();
        let (term, last) = (node.term(), node.last_index());
        let log_term = node.term_at(last)?.0;
        let append = |term: u64, index: u64| RaftMessage {
            kind: RaftKind::Append.into(),
            term,
            log_term,
            index,
            entries: vec![RaftEntry { term, index: index.wrapping_add(1), ..RaftEntry::default() }],
            ..RaftMessage::default()
        };
        for (message, what) in [
            (append(term.0, last.0), "a second leader in one term is heard"),
            (append(1 << 61, last.0), "a term that nobody counts to is believed"),
            (append(term.0, 1 << 63), "an index that nobody counts to is looked at"),
        ] {
            let is_index = message.index > last.0;
            let outputs = stage.say(called, FrameBody::Raft(message));
            let refusal = outputs.iter().find_map(|output| match output {
                Output::Event(Event::PeerMisbehaved { what: Misbehaviour::Raft(why) }) => Some(*why),
                _ => None,
            });
            let is_right = refusal.is_some_and(|why| !is_index || why.contains("number"));
            if !is_right || stage.node.inspect().term() != term {
                return Some(what.to_owned());
            }
        }
        None
    })
}

/// A member tells a node that its proposal, which it never got, is refused.
pub(super) fn refused_proposal() -> Option<String> {
    Stage::with_member(|mut stage| {
        let (called, own) = (stage.dialled(2)?, stage.own());
        stage.hanging = Some(Vec::new());
        let request = stage.node.request(stage.now, Request::Propose(Bytes::from_static(b"x"))).ok()?;
        stage.drain();
        let outputs = stage.say(called, FrameBody::ProposeRefused(entry(own.id, own.boot, request.0)));
        ended(&outputs, request).map(|_| "a proposal is taken for refused on another member's word".into())
    })
}

fn ended(outputs: &[Output], request: RequestId) -> Option<Outcome> {
    outputs.iter().find_map(|output| match output {
        Output::Event(Event::RequestDone { id, outcome }) if *id == request => Some(outcome.clone()),
        _ => None,
    })
}

/// A member proposes an entry as if this node had, under the number of the request that it makes next.
pub(super) fn borrowed_boot() -> Option<String> {
    Stage::with_member(|mut stage| {
        let (called, own) = (stage.dialled(2)?, stage.own());
        let first = stage.node.request(stage.now, Request::Propose(Bytes::new())).ok()?;
        stage.drain();
        stage.hanging = Some(Vec::new());
        stage.say(called, FrameBody::Propose(entry(2, own.boot, first.0 + 1)));
        let request = stage.node.request(stage.now, Request::Propose(Bytes::from_static(b"y"))).ok()?;
        let mut outputs = stage.drain();
        for token in stage.hanging.take().into_iter().flatten() {
            outputs.extend(stage.feed(Input::Persisted(token)));
        }
        let committed = outputs.iter().find_map(|output| match output {
            Output::Event(Event::Committed { index, bytes }) if bytes == "y" => Some(*index),
            _ => None,
        });
        let is_own = ended(&outputs, request) == Some(Outcome::Committed(committed.unwrap_or(LogIndex(0))));
        (!is_own).then(|| "a member's entry counts as this node's proposal".into())
    })
}

/// A voter claims a promise to the previous leader that lasts an age, or just longer than any voter promises.
pub(super) fn endless_promise() -> Option<String> {
    let ages = [Duration::from_secs(10), Duration::from_secs(3_600), Duration::from_nanos(u64::MAX)];
    ages.into_iter().find_map(promise_of)
}

fn promise_of(age: Duration) -> Option<String> {
    let told = || -> Result<Option<String>, funk_sim::Violation> {
        let second = Duration::from_secs(1);
        let mut world = cluster(1, 3)?;
        let leader = with_role(&world, funk_proto::status::Role::Leader);
        world.kill(leader);
        let campaigns = |world: &World| {
            let asks = |&at: &usize| world.hosts()[at].facts().is_some_and(|facts| facts.role == RaftRole::Candidate);
            world.running().into_iter().find(asks)
        };
        world.run_until(2 * second, |world| campaigns(world).is_some())?;
        let Some(candidate) = campaigns(&world) else { return Ok(Some("nobody campaigns".into())) };
        let voter = world.running().into_iter().find(|&at| at != candidate).unwrap_or(candidate);
        let vote = RaftMessage {
            kind: RaftKind::VoteResponse.into(),
            term: world.status(candidate).term.0,
            promise_rem_nanos: u64::try_from(age.as_nanos()).ok(),
            ..RaftMessage::default()
        };
        if !world.say_as(voter, candidate, Frame::bytes(FrameBody::Raft(vote))) {
            return Ok(Some("the vote does not arrive".into()));
        }
        let survivors = [voter, candidate];
        let is_served = |world: &World| {
            let right = |at: usize, shard| world.hosts()[at].right(world.now(), ShardId(shard)).is_some();
            (0..SHARDS).all(|shard| survivors.iter().any(|&at| right(at, shard)))
        };
        let served = world.run_until(5 * second, is_served)?;
        Ok(served.is_none().then(|| "one vote leaves shards without an owner for an age".into()))
    };
    told().unwrap_or_else(|violation| Some(violation.property.to_owned()))
}
