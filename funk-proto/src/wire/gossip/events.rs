//! The user events in a push/pull: a ring over Lamport times, as an agent
//! keeps it, so that whoever was away hears what it missed.

use bytes::{Bytes, BytesMut};

use super::msgpack::{Reader, put_integer, put_list, put_map, put_raw, put_slice};
use super::walk::Walk;
use super::{BadMessage, Budget};
use crate::limits::GOSSIP_RECENT_PER_TIME;

/// Bytes of the events of one time; more are passed over.
const TIME_BYTES_MAX: usize = 64 << 10;

/// The events of one Lamport time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventsAt {
    /// The time.
    pub time: u64,
    /// Their names and payloads.
    pub events: Vec<(Bytes, Bytes)>,
}

/// One event, as it stands in the ring.
pub fn encode_event(name: &[u8], payload: &[u8]) -> Bytes {
    let mut out = BytesMut::new();
    put_map(&mut out, 2);
    put_raw(&mut out, b"Name");
    put_raw(&mut out, name);
    put_raw(&mut out, b"Payload");
    put_slice(&mut out, payload);
    out.freeze()
}

/// The ring of these times and their encoded events. An agent takes a ring of any length.
pub fn encode_events(times: &[(u64, &[Bytes])]) -> Bytes {
    let mut out = BytesMut::new();
    put_list(&mut out, times.len());
    for (time, events) in times {
        put_map(&mut out, 2);
        put_raw(&mut out, b"Events");
        put_list(&mut out, events.len());
        events.iter().for_each(|event| out.extend_from_slice(event));
        put_raw(&mut out, b"LTime");
        put_integer(&mut out, *time);
    }
    out.freeze()
}

/// Reads a ring piece by piece.
#[derive(Debug)]
pub struct EventsReader {
    walk: Walk,
    /// Times that are left; `None` before the first byte.
    left: Option<u64>,
}

impl EventsReader {
    /// Begins with the events of a [`SerfState`](super::SerfState).
    pub fn new(events: Bytes) -> Self {
        Self { walk: Walk::new(events), left: None }
    }

    /// The events of the next time that has some; none at all at the end. `None` if the budget was spent before that.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode.
    pub fn step(&mut self, budget: &mut Budget) -> Result<Option<EventsAt>, BadMessage> {
        let mut left = match self.left {
            Some(left) => left,
            None => self.walk.read(|reader| reader.list("user events"))?,
        };
        while left > 0 {
            self.left = Some(left);
            let Some(value) = self.walk.value("user events", budget)? else { return Ok(None) };
            left -= 1;
            self.left = Some(left);
            if value.len() > TIME_BYTES_MAX {
                continue;
            }
            let at = read(&value)?;
            if !at.events.is_empty() {
                return Ok(Some(at));
            }
        }
        Ok(Some(EventsAt::default()))
    }
}

fn read(value: &[u8]) -> Result<EventsAt, BadMessage> {
    let mut at = EventsAt::default();
    Reader::new(value).structure("user events", &["LTime", "Events"], |position, reader| {
        if position == 0 {
            at.time = reader.integer("an event's time")?;
            return Ok(());
        }
        for _ in 0..reader.list("user events")? {
            let (mut name, mut payload) = (Bytes::new(), Bytes::new());
            reader.structure("a user event", &["Name", "Payload"], |position, reader| {
                match position {
                    0 => name = reader.owned_string("an event's name")?,
                    _ => payload = reader.owned_bytes("an event's payload")?,
                }
                Ok(())
            })?;
            if at.events.len() < GOSSIP_RECENT_PER_TIME {
                at.events.push((name, payload));
            }
        }
        Ok(())
    })?;
    Ok(at)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(events: Bytes) -> Result<Vec<EventsAt>, BadMessage> {
        let mut reader = EventsReader::new(events);
        let mut found = Vec::new();
        loop {
            match reader.step(&mut Budget::unlimited())?.expect("an unlimited budget") {
                end if end.events.is_empty() => return Ok(found),
                at => found.push(at),
            }
        }
    }

    #[test]
    fn events_return_from_their_ring() {
        let one = [encode_event(b"deploy", b"1"), encode_event(b"x", b"")];
        let other = [encode_event(b"", b"y")];
        let found = all(encode_events(&[(7, &one), (9, &[]), (300, &other)])).unwrap();
        let event = |name: &'static str, payload: &'static str| (Bytes::from(name), Bytes::from(payload));
        assert_eq!(found.len(), 2);
        assert_eq!(found[0], EventsAt { time: 7, events: vec![event("deploy", "1"), event("x", "")] });
        assert_eq!(found[1], EventsAt { time: 300, events: vec![event("", "y")] });
    }

    #[test]
    fn the_ring_of_an_agent_is_read_and_a_broken_one_ends() {
        // 512 places, most of them empty.
        let mut ring = vec![0xdc, 2, 0];
        ring.extend([0xc0; 511]);
        ring.extend(&encode_events(&[(3, &[encode_event(b"a", b"")])])[1..]);
        assert_eq!(all(ring.clone().into()).unwrap().len(), 1);
        for cut in 0..ring.len() {
            assert!(all(ring[..cut].to_vec().into()).is_err(), "{cut}");
        }
        assert!(all(Bytes::from_static(&[0xc0])).unwrap().is_empty());
    }
}
