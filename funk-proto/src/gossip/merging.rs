//! Push/pulls in pieces. The other side decides how much it says; what is
//! done of it between two looks at the timers is bounded.
//!
//! A message goes through these stages, each of which stops when the budget
//! is spent and goes on with the next one:
//!
//! | stage | what happens |
//! |---|---|
//! | `Open` | the keys are tried on it, if it is encrypted |
//! | `Unpack` | the message is decompressed |
//! | `Read` | its node records are decoded |
//! | `State` | Serf's part is decoded: from here on it cannot fail any more |
//! | `Tell` | an accepted one is answered with all that this node knows |
//! | `Merge` | it is merged: records, then leaves, then joins |
//! | `Events` | the user events that this node missed are taken in |
//!
//! A push/pull of a few hundred members is through all of them at once.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use std::vec;

use bytes::Bytes;

use super::news::{Found, News};
use super::sealing::{Admitted, Opening};
use super::table::Table;
use super::{Gossip, GossipOutput, Side};
use crate::id::ConnId;
use crate::limits::{
    GOSSIP_EVENTS_TOLD_BYTES_MAX, GOSSIP_MERGE_BYTES_MAX, GOSSIP_MERGES_MAX, GOSSIP_SLICE_PAUSE, GOSSIP_SLICE_UNITS,
};
use crate::time::Timestamp;
use crate::wire::gossip::{
    self, BadMessage, Budget, EventsReader, NodeRecord, PushPull, PushPullReader, PushPullWriter, SerfState,
    SerfStateReader, Unpacker, encode_events, look_request,
};

/// Units of work to merge one record; to merge one join or leave; to tell of one member.
const RECORD_COST: u32 = 10;
const INTENT_COST: u32 = 2;
const TELL_COST: u32 = 1;
/// Bytes of an encrypted message that is opened at once: a ping, or a push/pull of some dozen members.
const OPENED_AT_ONCE_BYTES: usize = 16 << 10;
/// Time after which a stream message finds a whole slice again although no timer was due.
const IDLE: Duration = Duration::from_millis(100);

#[derive(Debug)]
enum Stage {
    Open(Opening),
    Unpack(Unpacker),
    Read(PushPullReader),
    State(PushPull, SerfStateReader),
    Tell(Box<PushPullWriter>, Option<Bytes>, Option<Merge>),
    Merge(Merge),
    Events(EventsReader, Found),
}

/// A push/pull that was decoded whole.
#[derive(Debug)]
struct Merge {
    nodes: vec::IntoIter<NodeRecord>,
    clocks: SerfState,
    events: Bytes,
    told_times: vec::IntoIter<(Bytes, u64)>,
    told_left: vec::IntoIter<Bytes>,
    /// Times of joins and leaves, by name; those of `left` are of leaves.
    times: BTreeMap<Bytes, u64>,
    left: BTreeSet<Bytes>,
    found: Found,
}

#[derive(Debug)]
struct Work {
    side: Side,
    stage: Stage,
    /// Bytes of the message.
    bytes: usize,
}

/// What is under way.
#[derive(Debug)]
pub(super) struct Merging {
    queue: VecDeque<Work>,
    /// Bytes of the messages in the queue.
    bytes: usize,
    budget: Budget,
    refilled: Timestamp,
}

impl Merging {
    pub(super) fn new(now: Timestamp) -> Self {
        Self { queue: VecDeque::new(), bytes: 0, budget: Budget::new(GOSSIP_SLICE_UNITS), refilled: now }
    }

    /// When the next slice is due.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        (!self.queue.is_empty()).then(|| self.refilled + GOSSIP_SLICE_PAUSE)
    }

    fn refill(&mut self, now: Timestamp, after: Duration) {
        if now.since(self.refilled) >= after {
            (self.budget, self.refilled) = (Budget::new(GOSSIP_SLICE_UNITS), now);
        }
    }

    fn is_full(&self, bytes: usize) -> bool {
        self.queue.len() >= GOSSIP_MERGES_MAX || self.bytes + bytes > GOSSIP_MERGE_BYTES_MAX
    }

    fn push(&mut self, work: Work) {
        self.bytes += work.bytes;
        self.queue.push_back(work);
    }
}

impl Gossip {
    /// Takes a whole stream message. What is short and not compressed never waits behind a push/pull.
    pub(super) fn take_message(&mut self, now: Timestamp, side: Side, message: &Bytes) -> Result<(), BadMessage> {
        match self.sealing.admit(message.clone()) {
            Admitted::Plain(message) => self.take_plain(now, side, message),
            Admitted::Sealed(opening) if opening.len() <= OPENED_AT_ONCE_BYTES => match opening.run() {
                Ok(plain) => self.take_plain(now, side, plain),
                Err(why) => {
                    self.turn_away(now, side, why, message);
                    Ok(())
                }
            },
            Admitted::Sealed(opening) => self.queue(now, side, opening.len(), Stage::Open(opening)),
            Admitted::Refused(why) => {
                self.turn_away(now, side, why, message);
                Ok(())
            }
        }
    }

    fn take_plain(&mut self, now: Timestamp, side: Side, message: Bytes) -> Result<(), BadMessage> {
        if !matches!(message.first(), Some(&(gossip::PUSH_PULL | gossip::COMPRESS))) {
            return self.take_short(now, side, &message).inspect_err(|&bad| self.refuse(now, side, bad));
        }
        self.queue(now, side, message.len(), Stage::Unpack(Unpacker::new(message)))
    }

    fn queue(&mut self, now: Timestamp, side: Side, bytes: usize, stage: Stage) -> Result<(), BadMessage> {
        self.merging.refill(now, IDLE);
        if self.merging.is_full(bytes) {
            self.counters.no_room += 1;
            self.give_up(now, side, "too many push/pulls are under way");
            return Ok(());
        }
        self.merging.push(Work { side, stage, bytes });
        // Of several, only the first to fail is this message's sender's fault.
        if self.merging.queue.len() == 1 { self.work(now) } else { self.work(now).or(Ok(())) }
    }

    /// Begins a push/pull on a stream that is dialled.
    pub(super) fn tell(&mut self, now: Timestamp, conn: ConnId, join: bool) {
        let stage = Stage::Tell(Box::new(PushPullWriter::new(join)), None, None);
        self.merging.push(Work { side: Side::Dialled(conn), stage, bytes: 0 });
        self.work(now).ok();
    }

    /// Only looks at who is there.
    pub(super) fn tell_nothing(&mut self, conn: ConnId) {
        self.say(conn, look_request());
    }

    /// Does what is due.
    pub(super) fn handle_merging_timeout(&mut self, now: Timestamp) {
        self.merging.refill(now, GOSSIP_SLICE_PAUSE);
        self.work(now).ok();
    }

    /// Works until the budget is spent. The first message that turns out bad is the result.
    fn work(&mut self, now: Timestamp) -> Result<(), BadMessage> {
        let mut result = Ok(());
        while !self.merging.budget.is_spent() {
            let Some(Work { side, stage, bytes }) = self.merging.queue.pop_front() else { break };
            self.merging.bytes -= bytes;
            match self.step(now, side, stage) {
                Ok(Some(stage)) => {
                    self.merging.bytes += bytes;
                    self.merging.queue.push_front(Work { side, stage, bytes });
                }
                Ok(None) => {}
                Err(bad) => {
                    self.refuse(now, side, bad);
                    result = result.and(Err(bad));
                }
            }
        }
        result
    }

    /// One stage, as far as the budget goes; what comes next, or `None` at the end.
    fn step(&mut self, now: Timestamp, side: Side, stage: Stage) -> Result<Option<Stage>, BadMessage> {
        let budget = &mut self.merging.budget;
        Ok(match stage {
            Stage::Open(mut opening) => match opening.step(budget) {
                Ok(None) => Some(Stage::Open(opening)),
                Ok(Some(plain)) => Some(Stage::Unpack(Unpacker::new(plain))),
                Err(why) => {
                    self.turn_away(now, side, why, &[]);
                    None
                }
            },
            Stage::Unpack(mut unpacker) => match unpacker.step(budget)? {
                None => Some(Stage::Unpack(unpacker)),
                Some(plain) if plain.first() == Some(&gossip::PUSH_PULL) => {
                    Some(Stage::Read(PushPullReader::new(plain)))
                }
                Some(plain) => {
                    self.take_short(now, side, &plain)?;
                    None
                }
            },
            Stage::Read(mut reader) => match reader.step(budget)? {
                None => Some(Stage::Read(reader)),
                Some(push_pull) if push_pull.user_state.is_empty() => Some(self.decoded(side, push_pull, None)),
                Some(push_pull) => {
                    let reader = SerfStateReader::new(push_pull.user_state.clone());
                    Some(Stage::State(push_pull, reader))
                }
            },
            Stage::State(push_pull, mut reader) => match reader.step(budget)? {
                None => Some(Stage::State(push_pull, reader)),
                Some(state) => Some(self.decoded(side, push_pull, Some(state))),
            },
            Stage::Tell(writer, after, merge) => self.step_tell(side, writer, after, merge),
            Stage::Merge(merge) => Some(self.step_merge(now, merge)),
            Stage::Events(reader, found) => self.step_events(now, side, reader, found),
        })
    }

    fn decoded(&self, side: Side, push_pull: PushPull, state: Option<SerfState>) -> Stage {
        // Who shows no node of its own only looks.
        let looks = push_pull.nodes.is_empty() && matches!(side, Side::Accepted(_));
        let merge = (!looks).then(|| Merge::new(push_pull.nodes, state));
        match (side, merge) {
            (Side::Answer(_), Some(merge)) => Stage::Merge(merge),
            (_, merge) => Stage::Tell(Box::new(PushPullWriter::new(push_pull.join)), None, merge),
        }
    }

    fn step_tell(
        &mut self,
        side: Side,
        mut writer: Box<PushPullWriter>,
        mut after: Option<Bytes>,
        merge: Option<Merge>,
    ) -> Option<Stage> {
        while let Some(name) = self.table.tell_next(&mut writer, after.as_ref()) {
            after = Some(name);
            self.merging.budget.spend(TELL_COST);
            if self.merging.budget.is_spent() {
                return Some(Stage::Tell(writer, after, merge));
            }
        }
        let events = encode_events(&self.recent_events.latest(GOSSIP_EVENTS_TOLD_BYTES_MAX));
        let bytes = writer.finish(&SerfState { events, ..self.table.clocks() });
        match side {
            Side::Accepted(conn) => self.reply(conn, bytes),
            Side::Dialled(conn) => self.say(conn, bytes),
            Side::Answer(_) => return None,
        }
        merge.map(Stage::Merge)
    }

    fn step_merge(&mut self, now: Timestamp, mut merge: Merge) -> Stage {
        let mut news = News::default();
        let mut more = true;
        while more && !self.merging.budget.is_spent() {
            more = merge.step(now, &mut self.table, &mut news, &mut self.merging.budget);
        }
        merge.found.add(&news);
        self.spread(news);
        if more { Stage::Merge(merge) } else { Stage::Events(EventsReader::new(merge.events), merge.found) }
    }

    /// Events that this node missed are kept for others that did, and not passed on: gossip spread them already.
    fn step_events(&mut self, now: Timestamp, side: Side, mut reader: EventsReader, found: Found) -> Option<Stage> {
        loop {
            let at = match reader.step(&mut self.merging.budget) {
                Ok(Some(at)) if !at.events.is_empty() => at,
                Ok(None) => return Some(Stage::Events(reader, found)),
                Ok(Some(_)) => break,
                Err(bad) => {
                    // What came before them is merged, and holds.
                    self.count_bad(bad);
                    break;
                }
            };
            for (name, payload) in at.events {
                self.merging.budget.spend(INTENT_COST);
                self.hear_event(at.time, &name, &payload);
            }
        }
        self.counters.push_pulls += 1;
        if let Side::Answer(exchange) = side {
            self.merged(now, exchange, &found);
        }
        None
    }

    fn refuse(&mut self, now: Timestamp, side: Side, bad: BadMessage) {
        self.count_bad(bad);
        self.give_up(now, side, &bad.to_string());
    }

    /// Nothing comes of this message.
    fn give_up(&mut self, now: Timestamp, side: Side, why: &str) {
        match side {
            Side::Accepted(conn) => self.outputs.push_back(GossipOutput::Close { conn }),
            Side::Answer(exchange) => self.failed(now, exchange, why.into()),
            Side::Dialled(_) => {}
        }
    }
}

impl Merge {
    fn new(nodes: Vec<NodeRecord>, state: Option<SerfState>) -> Self {
        let mut clocks = state.unwrap_or_default();
        Self {
            nodes: nodes.into_iter(),
            events: std::mem::take(&mut clocks.events),
            told_times: std::mem::take(&mut clocks.status_times).into_iter(),
            told_left: std::mem::take(&mut clocks.left_members).into_iter(),
            clocks,
            times: BTreeMap::new(),
            left: BTreeSet::new(),
            found: Found::default(),
        }
    }

    /// Merges one record, or one join or leave; false at the end. Leaves come before joins, and need their times.
    fn step(&mut self, now: Timestamp, table: &mut Table, news: &mut News, budget: &mut Budget) -> bool {
        if let Some(record) = self.nodes.next() {
            budget.spend(RECORD_COST);
            table.merge_record(now, &record, news);
            return true;
        }
        // None of a state without clocks is followed: 0 is before every time.
        table.merge_clocks(&std::mem::take(&mut self.clocks));
        budget.spend(INTENT_COST);
        if let Some((name, time)) = self.told_times.next() {
            self.times.insert(name, time);
        } else if let Some(name) = self.told_left.next() {
            self.left.insert(name);
        } else if let Some(name) = self.left.pop_first() {
            let time = self.times.remove(&name).unwrap_or(0);
            table.merge_leave(now, &name, time, news);
        } else if let Some((name, time)) = self.times.pop_first() {
            table.merge_join(now, &name, time, news);
        } else {
            return false;
        }
        true
    }
}
