//! What stands round the messages of a datagram: a checksum outermost, then
//! compression and compounds in any order.

use bytes::{BufMut, Bytes, BytesMut};

use super::compress;
use super::packet::Packet;
use super::seal::SEAL_BYTES;
use super::{BadMessage, COMPOUND, COMPRESS, CRC};
use crate::limits::{
    GOSSIP_COMPOUND_PARTS_MAX, GOSSIP_DATAGRAM_BYTES, GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX,
    GOSSIP_DATAGRAM_MESSAGES_MAX, GOSSIP_NESTING_MAX,
};

/// Bytes that each part costs a compound beside its own: its length.
pub const PART_OVERHEAD: usize = 2;
/// Bytes of a compound's type and count.
const COMPOUND_HEAD: usize = 2;
/// Bytes of the checksum's type and value.
const CRC_HEAD: usize = 5;

/// A part that fails to decompress costs this share of what is left to decompress.
const FAILURES_IN_BUDGET: usize = 8;

/// What a datagram held.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unpacked {
    /// Its messages, in order.
    pub packets: Vec<Packet>,
    /// Why parts of it were dropped. The others are not touched by that.
    pub bad: Vec<BadMessage>,
}

/// Takes a datagram apart. Parts that cannot be read are dropped one by one;
/// a wrong checksum drops all. Work and memory are bounded by
/// [`GOSSIP_DATAGRAM_MESSAGES_MAX`], [`GOSSIP_NESTING_MAX`] and
/// [`GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX`], whatever the datagram says.
pub fn unpack(datagram: &Bytes) -> Unpacked {
    let mut open = Open { unpacked: Unpacked::default(), messages: 0, unpacked_bytes: 0 };
    match checked(datagram) {
        Ok(message) => open.message(&message, 0),
        Err(bad) => open.unpacked.bad.push(bad),
    }
    open.unpacked
}

/// Whether a datagram that nothing could be read of is probably encrypted: in
/// front of a random number it says in which of two ways.
pub fn looks_encrypted(datagram: &[u8], unpacked: &Unpacked) -> bool {
    unpacked.packets.is_empty() && datagram.len() > SEAL_BYTES && matches!(datagram.first(), Some(0 | 1))
}

/// What the checksum covers; the datagram itself if it has none.
fn checked(datagram: &Bytes) -> Result<Bytes, BadMessage> {
    if datagram.first() != Some(&CRC) {
        return Ok(datagram.clone());
    }
    let Some((head, message)) = datagram.split_at_checked(CRC_HEAD) else {
        return Err(BadMessage::Malformed("a checksum"));
    };
    if crc32fast::hash(message).to_be_bytes() == head[1..] {
        Ok(datagram.slice(CRC_HEAD..))
    } else {
        Err(BadMessage::Checksum)
    }
}

/// A datagram being taken apart.
struct Open {
    unpacked: Unpacked,
    messages: usize,
    unpacked_bytes: usize,
}

impl Open {
    fn message(&mut self, message: &Bytes, depth: usize) {
        self.messages += 1;
        let result = match message.first() {
            _ if self.messages > GOSSIP_DATAGRAM_MESSAGES_MAX => return,
            Some(&(COMPOUND | COMPRESS)) if depth == GOSSIP_NESTING_MAX => {
                Err(BadMessage::Oversized("the nesting of a datagram"))
            }
            Some(&COMPOUND) => self.compound(message, depth),
            Some(&COMPRESS) => self.compressed(message, depth),
            _ => Packet::decode(message).map(|packet| self.unpacked.packets.push(packet)),
        };
        if let Err(bad) = result {
            self.unpacked.bad.push(bad);
        }
        if self.messages == GOSSIP_DATAGRAM_MESSAGES_MAX {
            self.unpacked.bad.push(BadMessage::Oversized("the messages of a datagram"));
        }
    }

    /// A part that ends too early ends the compound; those before it are whole.
    fn compound(&mut self, message: &Bytes, depth: usize) -> Result<(), BadMessage> {
        let bad = BadMessage::Malformed("a compound");
        let count = usize::from(*message.get(1).ok_or(bad)?);
        let mut at = COMPOUND_HEAD + count * PART_OVERHEAD;
        let lengths = message.get(COMPOUND_HEAD..at).ok_or(bad)?;
        for length in lengths.chunks_exact(PART_OVERHEAD) {
            let end = at + usize::from(u16::from_be_bytes([length[0], length[1]]));
            if end > message.len() {
                return Err(bad);
            }
            self.message(&message.slice(at..end), depth + 1);
            at = end;
        }
        Ok(())
    }

    fn compressed(&mut self, message: &Bytes, depth: usize) -> Result<(), BadMessage> {
        let left = GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX - self.unpacked_bytes;
        let result = compress::inner(&message.slice(1..), left);
        // Failed work is charged as well, or a datagram could ask for it again and again.
        let cost = match &result {
            Ok(inner) => inner.len(),
            Err(BadMessage::Oversized(_)) => left,
            Err(_) => left.div_ceil(FAILURES_IN_BUDGET),
        };
        self.unpacked_bytes += cost;
        let inner = result?;
        self.message(&inner, depth + 1);
        Ok(())
    }
}

/// Messages that share a datagram, up to a room in bytes.
#[derive(Clone, Debug)]
pub struct Compound {
    parts: Vec<Bytes>,
    room: usize,
}

impl Default for Compound {
    fn default() -> Self {
        Self::new()
    }
}

impl Compound {
    /// An empty one, with the room of a datagram of gossip.
    pub fn new() -> Self {
        Self { parts: Vec::new(), room: GOSSIP_DATAGRAM_BYTES - COMPOUND_HEAD }
    }

    /// One that carries `message` whatever its size, and has the room beside it.
    pub fn with_first(message: Bytes) -> Self {
        let room = (GOSSIP_DATAGRAM_BYTES - COMPOUND_HEAD).saturating_sub(message.len());
        Self { parts: vec![message], room }
    }

    /// Keeps room free for what goes round the datagram.
    pub fn reserve(&mut self, bytes: usize) {
        self.room = self.room.saturating_sub(bytes);
    }

    /// Bytes of the longest message that still fits.
    pub fn room(&self) -> usize {
        if self.parts.len() < GOSSIP_COMPOUND_PARTS_MAX { self.room.saturating_sub(PART_OVERHEAD) } else { 0 }
    }

    /// Adds a message; false, and nothing changes, if it does not fit.
    pub fn push(&mut self, message: Bytes) -> bool {
        let fits = message.len() <= self.room();
        if fits {
            self.room -= message.len() + PART_OVERHEAD;
            self.parts.push(message);
        }
        fits
    }

    /// Whether nothing is in it.
    pub fn is_empty(&self) -> bool {
        self.parts.is_empty()
    }

    /// The datagram; a single message goes bare. `None` if nothing is in it.
    pub fn finish(self) -> Option<Bytes> {
        if self.parts.len() < 2 {
            return self.parts.into_iter().next();
        }
        let length = |part: &Bytes| u16::try_from(part.len());
        let Ok(lengths) = self.parts.iter().map(length).collect::<Result<Vec<_>, _>>() else {
            // Only a first message can be too long for a part, and it is the one that must go.
            return self.parts.into_iter().next();
        };
        let mut out = BytesMut::new();
        out.put_u8(COMPOUND);
        out.put_u8(u8::try_from(lengths.len()).expect("parts are bounded below a byte's range"));
        lengths.into_iter().for_each(|length| out.put_u16(length));
        self.parts.iter().for_each(|part| out.put_slice(part));
        Some(out.freeze())
    }
}

/// Puts a checksum in front, for receivers that understand it: version 5 of
/// the node protocol and later. The checksum is outermost, never inside.
pub fn with_crc(message: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(CRC_HEAD + message.len());
    out.put_u8(CRC);
    out.put_u32(crc32fast::hash(message));
    out.put_slice(message);
    out.freeze()
}

const _: () = assert!(GOSSIP_COMPOUND_PARTS_MAX <= 127);
