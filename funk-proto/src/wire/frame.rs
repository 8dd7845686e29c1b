//! Cluster frames: a big-endian u32 length, then that many bytes. Driver and
//! simulator share this one incremental decoder.

use bytes::{Buf, BufMut, Bytes, BytesMut};

use crate::limits::FRAME_BYTES_MAX;

/// A frame whose length field is over [`FRAME_BYTES_MAX`], or zero. The stream cannot be resynchronised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The length that was announced.
    pub length: u32,
}

impl std::fmt::Display for BadFrame {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "a frame of {} bytes is not between 1 and {FRAME_BYTES_MAX}", self.length)
    }
}

impl std::error::Error for BadFrame {}

/// Appends `payload` to `out` as one frame.
///
/// # Panics
/// If the payload is empty or over the limit: the core never makes such a message.
pub fn encode(payload: &[u8], out: &mut BytesMut) {
    assert!(!payload.is_empty() && payload.len() <= FRAME_BYTES_MAX, "a frame of {} bytes", payload.len());
    out.reserve(4 + payload.len());
    out.put_u32(u32::try_from(payload.len()).expect("bounded above"));
    out.put_slice(payload);
}

/// Takes the next whole frame's payload off the front of `buffer`; `None`
/// until more bytes are there. Never reserves more than arrived.
pub fn decode(buffer: &mut BytesMut) -> Result<Option<Bytes>, BadFrame> {
    let Some(header) = buffer.first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*header);
    let bytes = length as usize;
    if bytes == 0 || bytes > FRAME_BYTES_MAX {
        return Err(BadFrame { length });
    }
    if buffer.len() < 4 + bytes {
        return Ok(None);
    }
    buffer.advance(4);
    Ok(Some(buffer.split_to(bytes).freeze()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_survive_any_split() {
        let mut wire = BytesMut::new();
        for payload in [&b"a"[..], b"bc", &[7; 3000]] {
            encode(payload, &mut wire);
        }
        for step in [1, 2, 3, 7, 4096] {
            let mut buffer = BytesMut::new();
            let mut lengths = Vec::new();
            for part in wire.chunks(step) {
                buffer.extend_from_slice(part);
                while let Some(frame) = decode(&mut buffer).unwrap() {
                    lengths.push(frame.len());
                }
            }
            assert_eq!(lengths, [1, 2, 3000]);
            assert!(buffer.is_empty());
        }
    }

    #[test]
    fn oversized_and_empty_frames_are_refused_from_the_header_alone() {
        for length in [0, u32::try_from(FRAME_BYTES_MAX).unwrap() + 1, u32::MAX] {
            let mut buffer = BytesMut::from(&length.to_be_bytes()[..]);
            assert_eq!(decode(&mut buffer), Err(BadFrame { length }));
        }
    }
}
