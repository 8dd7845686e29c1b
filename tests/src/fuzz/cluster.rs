//! Cluster frames: the stream's framing, then what a frame holds.

use bytes::{Bytes, BytesMut};
use funk_proto::wire::cluster::Frame;
use funk_proto::wire::frame;

/// The first byte says how the stream is cut; the cut must not matter.
pub(super) fn frame(data: &[u8]) {
    let Some((&piece, wire)) = data.split_first() else { return };
    let whole = payloads(wire, wire.len().max(1));
    assert_eq!(whole, payloads(wire, usize::from(piece) + 1), "the pieces in which a stream comes must not matter");
    for payload in whole.0.iter().chain([&Bytes::copy_from_slice(wire)]) {
        if let Ok(body) = Frame::parse(payload) {
            let again = Frame::bytes(body.clone());
            assert_eq!(Frame::parse(&again), Ok(body));
        }
    }
}

fn payloads(wire: &[u8], piece: usize) -> (Vec<Bytes>, bool) {
    let (mut buffer, mut found) = (BytesMut::new(), Vec::new());
    for piece in wire.chunks(piece) {
        buffer.extend_from_slice(piece);
        loop {
            match frame::decode(&mut buffer) {
                Ok(Some(payload)) => found.push(payload),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}
