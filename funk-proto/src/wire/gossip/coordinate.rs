//! The network coordinate that an agent sends with its acks.

use bytes::{BufMut, Bytes, BytesMut};

use super::BadMessage;
use super::msgpack::{Reader, put_float, put_list, put_map, put_raw};

/// Dimensions of a coordinate, the height not counted.
pub const COORDINATE_DIMENSIONS: usize = 8;
/// The only version of the payload there is.
const VERSION: u8 = 1;

/// Where a node is, in seconds of network time: the distance of two is an
/// estimate of their round trip.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Coordinate {
    /// The point.
    pub vec: [f64; COORDINATE_DIMENSIONS],
    /// How little the node trusts it: 0 is certain.
    pub error: f64,
    /// What the access link adds to each distance, seconds.
    pub height: f64,
    /// What recent round trips say the distances are off by, seconds.
    pub adjustment: f64,
}

impl Default for Coordinate {
    /// Where every node begins.
    fn default() -> Self {
        Self { vec: [0.0; COORDINATE_DIMENSIONS], error: 1.5, height: 1e-5, adjustment: 0.0 }
    }
}

impl Coordinate {
    /// Writes it as an ack's payload.
    pub fn encode(&self) -> Bytes {
        let mut out = BytesMut::new();
        out.put_u8(VERSION);
        put_map(&mut out, 4);
        for (field, value) in [("Adjustment", self.adjustment), ("Error", self.error), ("Height", self.height)] {
            put_raw(&mut out, field.as_bytes());
            put_float(&mut out, value);
        }
        put_raw(&mut out, b"Vec");
        put_list(&mut out, self.vec.len());
        self.vec.iter().for_each(|&value| put_float(&mut out, value));
        out.freeze()
    }

    /// Reads an ack's payload. `None` if it is empty, as from agents that keep
    /// no coordinate, or of a later version. Infinities, what is no number and
    /// a wrong count of dimensions are refused.
    pub fn decode(payload: &[u8]) -> Result<Option<Self>, BadMessage> {
        let Some((&VERSION, body)) = payload.split_first() else { return Ok(None) };
        let mut coordinate = Self { vec: [0.0; COORDINATE_DIMENSIONS], error: 0.0, height: 0.0, adjustment: 0.0 };
        let mut dimensions = 0;
        let fields = ["Vec", "Error", "Adjustment", "Height"];
        Reader::new(body).structure("a coordinate", &fields, |position, reader| {
            match position {
                0 => {
                    dimensions = reader.list("a coordinate's dimensions")?;
                    if dimensions != COORDINATE_DIMENSIONS as u64 {
                        return Err(BadMessage::Malformed("a coordinate's dimensions"));
                    }
                    for value in &mut coordinate.vec {
                        *value = finite(reader)?;
                    }
                }
                1 => coordinate.error = finite(reader)?,
                2 => coordinate.adjustment = finite(reader)?,
                _ => coordinate.height = finite(reader)?,
            }
            Ok(())
        })?;
        if dimensions == 0 {
            return Err(BadMessage::Malformed("a coordinate's dimensions"));
        }
        Ok(Some(coordinate))
    }
}

fn finite(reader: &mut Reader<'_>) -> Result<f64, BadMessage> {
    let value = reader.float("a coordinate's number")?;
    if value.is_finite() { Ok(value) } else { Err(BadMessage::Malformed("a coordinate's number")) }
}
