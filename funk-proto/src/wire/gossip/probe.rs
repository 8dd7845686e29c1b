//! Small stream messages: the ping that an agent falls back to when datagrams
//! fail, its ack, and the error that answers an unreadable stream.

use bytes::{BufMut, Bytes, BytesMut};

use super::msgpack::{Reader, put_integer, put_map, put_nil, put_raw};
use super::{ACK, BadMessage, ERROR, PING};

/// A ping.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ping {
    /// Comes back in the ack.
    pub sequence: u32,
    /// Who is meant; empty: whoever answers.
    pub node: Bytes,
}

impl Ping {
    /// Reads a ping's stream message.
    pub fn decode(message: &[u8]) -> Result<Self, BadMessage> {
        let Some((&PING, body)) = message.split_first() else { return Err(BadMessage::Malformed("a ping")) };
        let mut ping = Self { sequence: 0, node: Bytes::new() };
        Reader::new(body).structure("a ping", &["SeqNo", "Node"], |position, reader| {
            match position {
                0 => ping.sequence = reader.integer("a ping's number")?,
                _ => ping.node = Bytes::copy_from_slice(reader.string("a ping's node")?),
            }
            Ok(())
        })?;
        Ok(ping)
    }
}

/// The stream message that answers the ping of this number.
pub fn encode_ack(sequence: u32) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(ACK);
    put_map(&mut out, 2);
    put_raw(&mut out, b"Payload");
    put_nil(&mut out);
    put_raw(&mut out, b"SeqNo");
    put_integer(&mut out, sequence.into());
    out.freeze()
}

/// The text of an error message.
pub fn decode_error(message: &[u8]) -> Result<String, BadMessage> {
    let Some((&ERROR, body)) = message.split_first() else { return Err(BadMessage::Malformed("an error message")) };
    let mut text = String::new();
    Reader::new(body).structure("an error message", &["Error"], |_, reader| {
        text = String::from_utf8_lossy(reader.string("an error's text")?).into_owned();
        Ok(())
    })?;
    Ok(text)
}

/// The message that tells the other side of a stream why it is not answered.
pub fn encode_error(why: &str) -> Bytes {
    let mut out = BytesMut::new();
    out.put_u8(ERROR);
    put_map(&mut out, 1);
    put_raw(&mut out, b"Error");
    put_raw(&mut out, why.as_bytes());
    out.freeze()
}
