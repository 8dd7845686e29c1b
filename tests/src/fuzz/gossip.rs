//! Gossip: streams in any pieces, and every message that comes out of them.

use bytes::Bytes;
use funk_proto::wire::gossip::{
    CRC, Coordinate, Packet, Ping, PushPull, SerfMessage, SerfState, StreamDecoder, decode_error, decode_tags,
    decompress, encode_ack, encode_tags, parse_members, unpack, with_crc,
};

/// The first byte says how the rest is cut; the cut must not matter.
pub(super) fn stream(data: &[u8]) {
    let Some((&piece, wire)) = data.split_first() else { return };
    let whole = messages(wire, wire.len().max(1));
    let pieces = messages(wire, usize::from(piece) + 1);
    assert_eq!(whole, pieces, "the pieces in which a stream comes must not matter");
    for message in &whole.0 {
        self::message(message);
    }
}

fn messages(wire: &[u8], piece: usize) -> (Vec<Bytes>, bool) {
    let (mut decoder, mut found) = (StreamDecoder::new(), Vec::new());
    for piece in wire.chunks(piece) {
        decoder.push(piece);
        loop {
            match decoder.next() {
                Ok(Some(message)) => found.push(message),
                Ok(None) => break,
                Err(_) => return (found, true),
            }
        }
    }
    (found, false)
}

/// One message, perhaps compressed.
fn message(bytes: &Bytes) {
    let _ = parse_members(bytes);
    let Ok(plain) = decompress(bytes) else { return };
    if let Ok(sync) = PushPull::decode(&plain) {
        assert_eq!(PushPull::decode(&sync.encode()).as_ref(), Ok(&sync));
        for record in &sync.nodes {
            tags(&record.meta);
        }
        state(&sync.user_state);
    }
    if let Ok(ping) = Ping::decode(&plain) {
        assert!(!encode_ack(ping.sequence).is_empty());
    }
    let _ = decode_error(&plain);
}

fn tags(meta: &[u8]) {
    let Some(tags) = decode_tags(meta) else { return };
    let again = encode_tags(&tags);
    // Bytes that are no text grow when they are replaced, perhaps over the limit.
    if let Some(same) = decode_tags(&again) {
        assert_eq!(same, tags);
    }
}

fn state(bytes: &[u8]) {
    let Ok(state) = SerfState::decode(bytes) else { return };
    assert_eq!(SerfState::decode(&state.encode()).as_ref(), Ok(&state));
}

/// The whole input is one compressed message.
pub(super) fn compressed(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let Ok(plain) = decompress(&bytes) else { return };
    assert!(plain.len() <= funk_proto::limits::GOSSIP_DECOMPRESSED_BYTES_MAX);
    message(&plain);
}

/// A datagram, as it is and with the checksum that it would need.
pub(super) fn packet(data: &[u8]) {
    let datagram = Bytes::copy_from_slice(data);
    let plain = unpack(&datagram);
    for packet in &plain.packets {
        assert_eq!(Packet::decode(&packet.encode()).as_ref(), Ok(packet));
        match packet {
            Packet::User(message) => serf(message),
            Packet::Ack { payload, .. } => drop(Coordinate::decode(payload)),
            Packet::Alive(alive) => tags(&alive.meta),
            _ => {}
        }
    }
    if data.first() != Some(&CRC) {
        assert_eq!(unpack(&with_crc(&datagram)), plain, "a checksum changes nothing");
    }
}

fn serf(bytes: &[u8]) {
    let Ok(message) = SerfMessage::decode(bytes) else { return };
    assert_eq!(SerfMessage::decode(&message.encode()).as_ref(), Ok(&message));
    if let SerfMessage::Relay(relay) = &message {
        serf(&relay.message);
    }
}
