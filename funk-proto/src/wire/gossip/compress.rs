//! Compressed stream messages: LZW in the form of Go's `compress/lzw` with
//! LSB order and 8-bit literals. Only read: nobody must send compressed.

use std::borrow::Cow;
use std::fmt;

use bytes::{Buf, Bytes};
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::msgpack::Reader;
use super::{BadMessage, Budget, COMPRESS};
use crate::limits::{GOSSIP_DECOMPRESSED_BYTES_MAX, GOSSIP_NESTING_MAX};

/// Bytes decoded between two looks at the limit and the budget.
const CHUNK_BYTES: usize = 4 << 10;

/// The message inside `bytes`, or `bytes` itself if it is not compressed.
///
/// # Errors
/// A [`BadMessage`] says what does not decode, or which limit it is over.
pub fn decompress(bytes: &Bytes) -> Result<Bytes, BadMessage> {
    let plain = Unpacker::new(bytes.clone()).step(&mut Budget::unlimited())?;
    Ok(plain.expect("an unlimited budget is never spent"))
}

/// Decompresses a stream message piece by piece.
#[derive(Debug)]
pub struct Unpacker {
    message: Bytes,
    /// Layers that were taken off.
    layers: usize,
    lzw: Option<Lzw>,
}

impl Unpacker {
    /// Begins with a whole message, compressed or not.
    pub fn new(message: Bytes) -> Self {
        Self { message, layers: 0, lzw: None }
    }

    /// The plain message; `None` if the budget was spent before its end.
    ///
    /// # Errors
    /// A [`BadMessage`] says what does not decode, or which limit it is over.
    pub fn step(&mut self, budget: &mut Budget) -> Result<Option<Bytes>, BadMessage> {
        loop {
            if let Some(lzw) = &mut self.lzw {
                let Some(message) = lzw.step(GOSSIP_DECOMPRESSED_BYTES_MAX, budget)? else { return Ok(None) };
                (self.message, self.lzw) = (message, None);
                self.layers += 1;
            }
            match self.message.first() {
                Some(&COMPRESS) if self.layers == GOSSIP_NESTING_MAX => {
                    return Err(BadMessage::Oversized("the nesting of a compressed message"));
                }
                Some(&COMPRESS) => self.lzw = Some(Lzw::new(&self.message.slice(1..))?),
                Some(_) => return Ok(Some(self.message.clone())),
                None => return Err(BadMessage::Malformed("an empty gossip message")),
            }
        }
    }
}

/// The message in the body of a compressed one: at most `limit` bytes.
pub(super) fn inner(body: &Bytes, limit: usize) -> Result<Bytes, BadMessage> {
    let message = Lzw::new(body)?.step(limit, &mut Budget::unlimited())?;
    Ok(message.expect("an unlimited budget is never spent"))
}

/// One layer that is being decompressed.
struct Lzw {
    decoder: Decoder,
    compressed: Bytes,
    out: Vec<u8>,
}

impl Lzw {
    /// Begins with the body of a compressed message.
    fn new(body: &Bytes) -> Result<Self, BadMessage> {
        let (mut algorithm, mut compressed) = (0_u8, Bytes::new());
        Reader::new(body).structure("a compressed message", &["Algo", "Buf"], |position, reader| {
            match position {
                0 => algorithm = reader.integer("a compression algorithm")?,
                _ => {
                    compressed = match reader.byte_string("compressed bytes")? {
                        Cow::Borrowed(bytes) => body.slice_ref(bytes),
                        Cow::Owned(bytes) => bytes.into(),
                    };
                }
            }
            Ok(())
        })?;
        if algorithm != 0 {
            return Err(BadMessage::Malformed("a compression algorithm"));
        }
        Ok(Self { decoder: Decoder::new(BitOrder::Lsb, 8), compressed, out: Vec::new() })
    }

    /// Decodes to at most `limit` bytes. The end code must be there, as Go demands.
    fn step(&mut self, limit: usize, budget: &mut Budget) -> Result<Option<Bytes>, BadMessage> {
        let mut chunk = [0; CHUNK_BYTES];
        while !budget.is_spent() {
            let step = self.decoder.decode_bytes(&self.compressed, &mut chunk);
            self.compressed.advance(step.consumed_in);
            self.out.extend_from_slice(&chunk[..step.consumed_out]);
            budget.spend_bytes(step.consumed_in + step.consumed_out);
            if self.out.len() > limit {
                return Err(BadMessage::Oversized("a decompressed message"));
            }
            match step.status {
                Ok(LzwStatus::Done) => return Ok(Some(std::mem::take(&mut self.out).into())),
                Ok(LzwStatus::Ok) if step.consumed_in > 0 || step.consumed_out > 0 => {}
                Ok(LzwStatus::Ok | LzwStatus::NoProgress) | Err(_) => {
                    return Err(BadMessage::Malformed("compressed bytes"));
                }
            }
        }
        Ok(None)
    }
}

impl fmt::Debug for Lzw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Lzw").field("left", &self.compressed.len()).field("out", &self.out.len()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::msgpack::{put_integer, put_map, put_raw};

    fn lzw(compressed: &[u8], limit: usize) -> Result<Bytes, BadMessage> {
        let compressed = Bytes::copy_from_slice(compressed);
        let mut lzw = Lzw { decoder: Decoder::new(BitOrder::Lsb, 8), compressed, out: Vec::new() };
        lzw.step(limit, &mut Budget::unlimited()).map(Option::unwrap)
    }

    fn compress(message: &[u8]) -> Bytes {
        let packed = weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(message).unwrap();
        let mut out = bytes::BytesMut::from(&[COMPRESS][..]);
        put_map(&mut out, 2);
        put_raw(&mut out, b"Algo");
        put_integer(&mut out, 0);
        put_raw(&mut out, b"Buf");
        put_raw(&mut out, &packed);
        out.freeze()
    }

    #[test]
    fn plain_and_compressed_messages_come_out_the_same() {
        let plain = Bytes::from(vec![6; 70_000]);
        assert_eq!(decompress(&plain).unwrap(), plain);
        assert_eq!(decompress(&compress(&plain)).unwrap(), plain);
        assert_eq!(decompress(&compress(&compress(&plain))).unwrap(), plain);
    }

    #[test]
    fn what_go_compressed_comes_out_as_it_was() {
        let file = include_str!("../../../tests/data/gossip_lzw.json");
        let file: serde_json::Value = serde_json::from_str(file).unwrap();
        let bytes = |text: &serde_json::Value| -> Vec<u8> {
            let text = text.as_str().unwrap();
            let digits = |at: usize| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
            (0..text.len()).step_by(2).map(digits).collect()
        };
        let pairs = file["pairs"].as_array().unwrap();
        assert_eq!(pairs.len(), 30);
        for pair in pairs {
            let plain = bytes(&pair["plain"]);
            assert_eq!(lzw(&bytes(&pair["lzw"]), plain.len()), Ok(Bytes::from(plain)));
        }
    }

    #[test]
    fn bombs_nests_and_cut_data_are_refused() {
        let bomb = compress(&vec![6; GOSSIP_DECOMPRESSED_BYTES_MAX + 1]);
        assert!(bomb.len() < 1 << 20);
        assert_eq!(decompress(&bomb), Err(BadMessage::Oversized("a decompressed message")));
        let nest = (0..=GOSSIP_NESTING_MAX).fold(Bytes::from_static(b"\x06x"), |message, _| compress(&message));
        assert_eq!(decompress(&nest), Err(BadMessage::Oversized("the nesting of a compressed message")));
        let packed = weezl::encode::Encoder::new(BitOrder::Lsb, 8).encode(b"hello hello").unwrap();
        assert!(lzw(&packed, 100).is_ok());
        assert!(lzw(&packed[..packed.len() - 2], 100).is_err());
        assert!(lzw(&[], 100).is_err());
        assert!(decompress(&compress(b"")).is_err());
        assert!(decompress(&Bytes::from_static(b"\x09\x82\xa4Algo\x01\xa3Buf\xa1x")).is_err());
    }
}
