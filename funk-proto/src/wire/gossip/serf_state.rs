//! Serf's part of a push/pull: Lamport clocks, who left, and the Lamport time
//! of each member's last join or leave.

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Fields, Reader, put_integer, put_list, put_map, put_raw};
use super::walk::Walk;
use super::{BadMessage, Budget};
use crate::limits::{GOSSIP_MEMBERS_MAX, GOSSIP_NAME_BYTES_MAX};

/// Serf's message type for it, in front.
const STATE: u8 = 2;
/// Fields in declaration order, as a list-encoded state has them.
const FIELDS: [&str; 6] = ["LTime", "StatusLTimes", "LeftMembers", "EventLTime", "Events", "QueryLTime"];
/// An encoded empty list.
const NO_EVENTS: &[u8] = &[0x90];

/// Serf's part of a push/pull.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SerfState {
    /// The member clock.
    pub member_time: u64,
    /// The event clock.
    pub event_time: u64,
    /// The query clock.
    pub query_time: u64,
    /// Names of those who left, at most [`GOSSIP_MEMBERS_MAX`].
    pub left_members: Vec<Bytes>,
    /// Per name the time of the last join or leave, at most [`GOSSIP_MEMBERS_MAX`].
    pub status_times: Vec<(Bytes, u64)>,
    /// The ring of recent user events, still encoded.
    pub events: Bytes,
}

impl Default for SerfState {
    fn default() -> Self {
        Self {
            member_time: 0,
            event_time: 0,
            query_time: 0,
            left_members: Vec::new(),
            status_times: Vec::new(),
            events: Bytes::from_static(NO_EVENTS),
        }
    }
}

impl SerfState {
    /// Reads the user state of a push/pull.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode, or which limit it is over.
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        let mut reader = SerfStateReader::new(Bytes::copy_from_slice(bytes));
        Ok(reader.step(&mut Budget::unlimited())?.expect("an unlimited budget is never spent"))
    }

    /// Writes it as the user state of a push/pull.
    pub fn encode(&self) -> Bytes {
        let mut writer = StateWriter::default();
        for name in &self.left_members {
            writer.left(name);
        }
        for (name, time) in &self.status_times {
            writer.status_time(name, *time);
        }
        writer.finish(self)
    }
}

/// Writes a state piece by piece.
#[derive(Debug, Default)]
pub struct StateWriter {
    left: BytesMut,
    left_count: usize,
    times: BytesMut,
    times_count: usize,
}

impl StateWriter {
    /// Adds the name of one who left.
    pub fn left(&mut self, name: &[u8]) {
        self.left_count += 1;
        put_raw(&mut self.left, name);
    }

    /// Adds the time of a member's last join or leave.
    pub fn status_time(&mut self, name: &[u8], time: u64) {
        self.times_count += 1;
        put_raw(&mut self.times, name);
        put_integer(&mut self.times, time);
    }

    /// The state, with the clocks and events of `ends`.
    pub(super) fn finish(self, ends: &SerfState) -> Bytes {
        let mut out = BytesMut::with_capacity(128 + self.left.len() + self.times.len() + ends.events.len());
        out.put_u8(STATE);
        put_map(&mut out, 6);
        put_raw(&mut out, b"EventLTime");
        put_integer(&mut out, ends.event_time);
        put_raw(&mut out, b"Events");
        out.put_slice(&ends.events);
        put_raw(&mut out, b"LTime");
        put_integer(&mut out, ends.member_time);
        put_raw(&mut out, b"LeftMembers");
        put_list(&mut out, self.left_count);
        out.put_slice(&self.left);
        put_raw(&mut out, b"QueryLTime");
        put_integer(&mut out, ends.query_time);
        put_raw(&mut out, b"StatusLTimes");
        put_map(&mut out, self.times_count);
        out.put_slice(&self.times);
        out.freeze()
    }
}

/// Reads a state piece by piece.
#[derive(Debug)]
pub struct SerfStateReader {
    walk: Walk,
    /// What the state says of its fields; `None` before its first byte.
    fields: Option<Fields>,
    /// Fields that were begun.
    begun: u64,
    stage: Stage,
    state: SerfState,
}

/// What comes next.
#[derive(Clone, Copy, Debug)]
enum Stage {
    /// A field.
    Field,
    /// So many names of those who left.
    Left(u64),
    /// So many names with their times.
    Times(u64),
    /// The ring of events.
    Events,
    /// A field that nobody knows.
    Unknown,
}

impl SerfStateReader {
    /// Begins with the user state of a push/pull.
    pub fn new(bytes: Bytes) -> Self {
        Self { walk: Walk::new(bytes), fields: None, begun: 0, stage: Stage::Field, state: SerfState::default() }
    }

    /// The state; `None` if the budget was spent before its end.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode, or which limit it is over.
    pub fn step(&mut self, budget: &mut Budget) -> Result<Option<SerfState>, BadMessage> {
        let fields = match self.fields {
            Some(fields) => fields,
            None => *self.fields.insert(self.walk.read(read_head)?),
        };
        let (Fields::Named(count) | Fields::Listed(count)) = fields;
        while !budget.is_spent() {
            match self.stage {
                Stage::Field if self.begun == count => return Ok(Some(std::mem::take(&mut self.state))),
                Stage::Field => {
                    budget.spend(1);
                    let listed = self.begun;
                    self.begun += 1;
                    self.stage = self.walk.read(|reader| begin_field(reader, fields, listed, &mut self.state))?;
                }
                Stage::Left(0) | Stage::Times(0) => self.stage = Stage::Field,
                Stage::Left(left) => {
                    budget.spend(1);
                    let name = self.walk.read(|reader| reader.string("a left member").map(kept))?;
                    let names = &mut self.state.left_members;
                    names.extend(name.filter(|_| names.len() < GOSSIP_MEMBERS_MAX));
                    self.stage = Stage::Left(left - 1);
                }
                Stage::Times(left) => {
                    budget.spend(1);
                    let (name, time) = self.walk.read(|reader| {
                        let name = reader.string("a status time's name").map(kept)?;
                        Ok((name, reader.integer("a status time")?))
                    })?;
                    let times = &mut self.state.status_times;
                    times.extend(name.filter(|_| times.len() < GOSSIP_MEMBERS_MAX).map(|name| (name, time)));
                    self.stage = Stage::Times(left - 1);
                }
                Stage::Events => {
                    let Some(events) = self.walk.value("user events", budget)? else { return Ok(None) };
                    self.state.events = events;
                    self.stage = Stage::Field;
                }
                Stage::Unknown => {
                    if self.walk.value("a Serf state", budget)?.is_none() {
                        return Ok(None);
                    }
                    self.stage = Stage::Field;
                }
            }
        }
        Ok(None)
    }
}

fn read_head(reader: &mut Reader<'_>) -> Result<Fields, BadMessage> {
    if reader.rest().first() != Some(&STATE) {
        return Err(BadMessage::Malformed("a Serf state"));
    }
    // A small number is its own encoding.
    reader.integer::<u8>("a Serf state")?;
    reader.fields("a Serf state")
}

/// Reads a field's name, if it has one, and its value if that is short.
fn begin_field(
    reader: &mut Reader<'_>,
    fields: Fields,
    listed: u64,
    state: &mut SerfState,
) -> Result<Stage, BadMessage> {
    let position = match fields {
        Fields::Listed(_) => usize::try_from(listed).ok(),
        Fields::Named(_) => {
            let name = reader.string("a Serf state")?;
            FIELDS.iter().position(|field| field.as_bytes() == name)
        }
    };
    match position {
        Some(0) => state.member_time = reader.integer("a member clock")?,
        Some(1) => return reader.map("status times").map(Stage::Times),
        Some(2) => return reader.list("left members").map(Stage::Left),
        Some(3) => state.event_time = reader.integer("an event clock")?,
        Some(4) => return Ok(Stage::Events),
        Some(5) => state.query_time = reader.integer("a query clock")?,
        _ => return Ok(Stage::Unknown),
    }
    Ok(Stage::Field)
}

/// A name, unless it is longer than any member's.
fn kept(name: &[u8]) -> Option<Bytes> {
    (name.len() <= GOSSIP_NAME_BYTES_MAX).then(|| Bytes::copy_from_slice(name))
}
