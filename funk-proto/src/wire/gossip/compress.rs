//! Compressed stream messages: LZW in the form of Go's `compress/lzw` with
//! LSB order and 8-bit literals. Only read: nobody must send compressed.

use bytes::Bytes;
use weezl::{BitOrder, LzwStatus, decode::Decoder};

use super::msgpack::Reader;
use super::{BadMessage, COMPRESS};
use crate::limits::{GOSSIP_DECOMPRESSED_BYTES_MAX, GOSSIP_NESTING_MAX};

/// Bytes decoded between two looks at the limit.
const CHUNK_BYTES: usize = 16 << 10;

/// The message inside `bytes`, or `bytes` itself if it is not compressed.
pub fn decompress(bytes: &Bytes) -> Result<Bytes, BadMessage> {
    let mut message = bytes.clone();
    for _ in 0..GOSSIP_NESTING_MAX {
        match message.first() {
            Some(&COMPRESS) => message = inner(&message[1..], GOSSIP_DECOMPRESSED_BYTES_MAX)?,
            Some(_) => return Ok(message),
            None => return Err(BadMessage::Malformed("an empty gossip message")),
        }
    }
    if message.first() == Some(&COMPRESS) {
        return Err(BadMessage::Oversized("the nesting of a compressed message"));
    }
    Ok(message)
}

/// The message in the body of a compressed one: at most `limit` bytes.
pub(super) fn inner(body: &[u8], limit: usize) -> Result<Bytes, BadMessage> {
    let (mut algorithm, mut buffer) = (0_u8, Default::default());
    Reader::new(body).structure("a compressed message", &["Algo", "Buf"], |position, reader| {
        match position {
            0 => algorithm = reader.integer("a compression algorithm")?,
            _ => buffer = reader.byte_string("compressed bytes")?,
        }
        Ok(())
    })?;
    if algorithm != 0 {
        return Err(BadMessage::Malformed("a compression algorithm"));
    }
    lzw(&buffer, limit)
}

/// Decodes to at most `limit` bytes. The end code must be there, as Go demands.
fn lzw(mut compressed: &[u8], limit: usize) -> Result<Bytes, BadMessage> {
    let mut decoder = Decoder::new(BitOrder::Lsb, 8);
    let mut out = Vec::new();
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let step = decoder.decode_bytes(compressed, &mut chunk);
        compressed = &compressed[step.consumed_in..];
        out.extend_from_slice(&chunk[..step.consumed_out]);
        if out.len() > limit {
            return Err(BadMessage::Oversized("a decompressed message"));
        }
        match step.status {
            Ok(LzwStatus::Done) => return Ok(out.into()),
            Ok(LzwStatus::Ok) if step.consumed_in > 0 || step.consumed_out > 0 => {}
            Ok(LzwStatus::Ok | LzwStatus::NoProgress) | Err(_) => {
                return Err(BadMessage::Malformed("compressed bytes"));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::gossip::msgpack::{put_integer, put_map, put_raw};

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
