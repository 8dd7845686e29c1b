//! What nodes said, in words. The same words from several nodes become one line.

use std::collections::BTreeSet;
use std::fmt::Write;

use funk_proto::status::NodeState;
use funk_proto::wire::cluster::{Frame, FrameBody};
use funk_proto::wire::liveness::{Body, open};
use funk_proto::wire::raft::{RaftKind, RaftMessage};
use funk_proto::{Event, Outcome, Output, Timestamp};

use funk_sim::Said;

use crate::world::name;

/// All of it, in the order in which each thing was said first, each with the
/// time since the first of them.
pub(super) fn all(said: &[Said], traced: &[String]) -> String {
    let mut lines: Vec<(Timestamp, String, BTreeSet<usize>)> = Vec::new();
    for one in said {
        let Some(words) = words(one, traced) else { continue };
        match lines.iter_mut().find(|(_, known, _)| *known == words) {
            Some((_, _, who)) => drop(who.insert(one.from)),
            None => lines.push((one.at, words, [one.from].into())),
        }
    }
    let (start, mut out) = (said.first().map_or(Timestamp::ZERO, |one| one.at), String::new());
    for (at, words, who) in lines {
        let names: Vec<String> = who.into_iter().map(|at| name(at).to_string()).collect();
        let _ = writeln!(out, "{:<7} {}: {words}", format!("{}ms", (at - start).as_millis()), names.join(" "));
    }
    out
}

fn words(said: &Said, traced: &[String]) -> Option<String> {
    let is_traced = |kind: &str| traced.iter().any(|traced| traced == kind);
    let to = || said.to.map_or("nobody".to_owned(), |at| name(at).to_string());
    match &said.output {
        Output::Event(event) => self::event(event),
        Output::Drain { shards, .. } if is_traced("moves") => {
            Some(format!("closes the gates of {} shards", shards.len()))
        }
        Output::Message { bytes, .. } | Output::Reply { bytes, .. } => {
            let (kind, words) = frame(&Frame::parse(bytes).ok()?)?;
            is_traced(kind).then(|| format!("-> {}: {words}", to()))
        }
        Output::Datagram { bytes, .. } if is_traced("leases") => Some(format!("-> {}: {}", to(), datagram(bytes)?)),
        _ => None,
    }
}

fn event(event: &Event) -> Option<String> {
    Some(match event {
        Event::State(NodeState::Voting) => "has no lease or no leader".to_owned(),
        Event::State(state) => format!("is {}", format!("{state:?}").to_lowercase()),
        Event::Leader { leader: Some(leader), term } => format!("{leader} leads in term {term}"),
        Event::Leader { leader: None, .. } => "nobody leads".to_owned(),
        Event::MemberJoined { name, .. } => format!("{name} is a member"),
        Event::MemberLeft { name, .. } => format!("{name} has left"),
        Event::MemberFailed { name, .. } => format!("{name} is dead"),
        Event::Moving { from, to, shards, .. } => format!("{shards} shards begin to move from {from} to {to}"),
        Event::Owned { owner, shards, .. } => format!("{owner} owns {} more shards", shards.len()),
        Event::Committed { bytes, .. } => format!("`{}` is committed", String::from_utf8_lossy(bytes)),
        Event::RequestDone { outcome: Outcome::Committed(_), .. } => "its proposal is committed".to_owned(),
        Event::RequestDone { outcome, .. } => format!("its request ended as {outcome:?}"),
        Event::Refused(why) => format!("is refused: {why}"),
        Event::Left => "may stop".to_owned(),
        Event::JoinFailed { reason, .. } => format!("could not join: {reason}"),
        Event::PeerMisbehaved { what } => format!("drops a message: {what}"),
        // Its number is in the status; what changed is said by the others.
        _ => return None,
    })
}

fn frame(body: &FrameBody) -> Option<(&'static str, String)> {
    Some(match body {
        FrameBody::Raft(message) => ("votes", raft(message)?),
        FrameBody::Join(record) => ("joins", format!("make {} a member", record.name)),
        FrameBody::JoinRefused(refused) => ("joins", format!("no place for {}", refused.name)),
        FrameBody::Leave(_) => ("joins", "let me go".to_owned()),
        FrameBody::LeaderAt(place) => ("joins", format!("the leader is at {}", place.raft)),
        FrameBody::Gone(_) => ("joins", "that boot's address refuses me".to_owned()),
        FrameBody::Farewell(_) => ("joins", "you have left".to_owned()),
        FrameBody::Release(_) => ("moves", "the gates are closed and empty".to_owned()),
        _ => return None,
    })
}

fn raft(message: &RaftMessage) -> Option<String> {
    let RaftMessage { term, reject, .. } = message;
    let promise = message
        .promise_rem_nanos
        .map_or(String::new(), |nanos| format!(", my promise runs {}ms more", nanos / 1_000_000));
    Some(match (message.kind(), reject) {
        (RaftKind::PreVote, _) => format!("would you elect me in term {term}?"),
        (RaftKind::PreVoteResponse, false) => format!("I would, in term {term}"),
        (RaftKind::PreVoteResponse, true) => "I would not".to_owned(),
        (RaftKind::Vote, _) => format!("elect me in term {term}"),
        (RaftKind::VoteResponse, false) => format!("my vote in term {term} is yours{promise}"),
        (RaftKind::VoteResponse, true) => format!("not my vote in term {term}"),
        (RaftKind::TimeoutNow, _) => "campaign now".to_owned(),
        (RaftKind::Snapshot, _) => "a piece of the snapshot".to_owned(),
        _ => return None,
    })
}

fn datagram(bytes: &[u8]) -> Option<String> {
    // The reader holds no key: it makes the datagram its own.
    let signed = bytes.get(..bytes.len().checked_sub(8)?)?;
    let (_, body) = open(&crate::fuzz::authentic(signed), |_| Some(crate::fuzz::KEY)).ok()?;
    Some(match body {
        Body::Heartbeat { term, grant: None, .. } => format!("I lead in term {term}"),
        Body::Heartbeat { term, grant: Some(grant), .. } => {
            format!("I lead in term {term}; a lease of {}ms from your asking", grant.length.as_millis())
        }
        Body::Goodbye { .. } => "this boot has ended".into(),
        Body::Resign { term } => format!("I lead no more in term {}", term.0),
        Body::Differs { index, .. } => format!("up to entry {index} you applied other entries than I did"),
        Body::Ack { term, echo: 0, .. } => format!("your term is over, it is {term} now"),
        Body::Ack { term, .. } => format!("I promise to tell of you in term {term}; a lease, please"),
        Body::Grant(grant) => format!("a lease of {}ms from your asking", grant.length.as_millis()),
    })
}
