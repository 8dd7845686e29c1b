//! Serf's part of a push/pull: Lamport clocks, who left, and the Lamport time
//! of each member's last join or leave.

use bytes::{BufMut, Bytes, BytesMut};

use super::BadMessage;
use super::msgpack::{Reader, put_integer, put_list, put_map, put_raw};
use crate::limits::GOSSIP_MEMBERS_MAX;

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
    pub fn decode(bytes: &[u8]) -> Result<Self, BadMessage> {
        let Some((&STATE, body)) = bytes.split_first() else { return Err(BadMessage::Malformed("a Serf state")) };
        let mut state = Self::default();
        Reader::new(body).structure("a Serf state", &FIELDS, |position, reader| {
            match position {
                0 => state.member_time = reader.integer("a member clock")?,
                1 => state.status_times = status_times(reader)?,
                2 => state.left_members = left_members(reader)?,
                3 => state.event_time = reader.integer("an event clock")?,
                4 => state.events = Bytes::copy_from_slice(reader.skip("user events")?),
                _ => state.query_time = reader.integer("a query clock")?,
            }
            Ok(())
        })?;
        Ok(state)
    }

    /// Writes it as the user state of a push/pull.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(STATE);
        put_map(&mut out, 6);
        put_raw(&mut out, b"EventLTime");
        put_integer(&mut out, self.event_time);
        put_raw(&mut out, b"Events");
        out.put_slice(&self.events);
        put_raw(&mut out, b"LTime");
        put_integer(&mut out, self.member_time);
        put_raw(&mut out, b"LeftMembers");
        put_list(&mut out, self.left_members.len());
        for name in &self.left_members {
            put_raw(&mut out, name);
        }
        put_raw(&mut out, b"QueryLTime");
        put_integer(&mut out, self.query_time);
        put_raw(&mut out, b"StatusLTimes");
        put_map(&mut out, self.status_times.len());
        for (name, time) in &self.status_times {
            put_raw(&mut out, name);
            put_integer(&mut out, *time);
        }
        out.freeze()
    }
}

fn left_members(reader: &mut Reader<'_>) -> Result<Vec<Bytes>, BadMessage> {
    let mut names = Vec::new();
    for _ in 0..reader.list("left members")? {
        let name = reader.string("a left member")?;
        if names.len() < GOSSIP_MEMBERS_MAX {
            names.push(Bytes::copy_from_slice(name));
        }
    }
    Ok(names)
}

fn status_times(reader: &mut Reader<'_>) -> Result<Vec<(Bytes, u64)>, BadMessage> {
    let mut times = Vec::new();
    for _ in 0..reader.map("status times")? {
        let name = reader.string("a status time's name")?;
        let time = reader.integer("a status time")?;
        if times.len() < GOSSIP_MEMBERS_MAX {
            times.push((Bytes::copy_from_slice(name), time));
        }
    }
    Ok(times)
}
