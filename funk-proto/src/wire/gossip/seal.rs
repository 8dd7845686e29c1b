//! Encryption round what gossip sends: `version | nonce | ciphertext | tag`, AES-GCM, as memberlist has it.
//!
//! A datagram is one such envelope. On a stream, a type byte and a length are in front, and the tag covers these too.

use bytes::{BufMut, Bytes, BytesMut};

use super::ENCRYPTED;
use super::key::{GossipKey, Keyring, NONCE_BYTES, TAG_BYTES};

/// Bytes that an envelope adds to what is in it.
pub const SEAL_BYTES: usize = 1 + NONCE_BYTES + TAG_BYTES;
/// Bytes of the type and length in front of an envelope on a stream.
pub const STREAM_HEAD_BYTES: usize = 5;
/// Envelopes whose contents are filled up to whole blocks: old agents send them, and all read them.
const PADDED: u8 = 0;
/// Envelopes whose contents go as they are: all that is sent here.
const PLAIN_LENGTH: u8 = 1;
/// Bytes to a multiple of which contents are filled up.
const BLOCK_BYTES: u8 = 16;

/// An envelope under this key. `associated` is not in it, and must be known to open it. The same nonce must never be
/// used again with the key.
pub fn seal(key: &GossipKey, nonce: [u8; NONCE_BYTES], associated: &[u8], plain: &[u8]) -> Bytes {
    seal_behind(&[], key, nonce, associated, plain)
}

/// A stream message, encrypted: its type and length, and an envelope.
pub fn seal_stream(key: &GossipKey, nonce: [u8; NONCE_BYTES], plain: &[u8]) -> Bytes {
    let length = u32::try_from(SEAL_BYTES + plain.len()).expect("stream messages are far below 4 GiB").to_be_bytes();
    let head = [ENCRYPTED, length[0], length[1], length[2], length[3]];
    seal_behind(&head, key, nonce, &head, plain)
}

fn seal_behind(head: &[u8], key: &GossipKey, nonce: [u8; NONCE_BYTES], associated: &[u8], plain: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(head.len() + SEAL_BYTES + plain.len());
    out.put_slice(head);
    out.put_u8(PLAIN_LENGTH);
    out.put_slice(&nonce);
    let at = out.len();
    out.put_slice(plain);
    let tag = key.encrypt(nonce, associated, &mut out[at..]);
    out.put_slice(&tag);
    out.freeze()
}

/// What is in an envelope; `None` if this key did not make it, or anything of it was changed.
pub fn open(key: &GossipKey, associated: &[u8], envelope: &[u8]) -> Option<Bytes> {
    let (&version, rest) = envelope.split_first()?;
    let (nonce, rest) = rest.split_first_chunk::<NONCE_BYTES>()?;
    let (sealed, tag) = rest.split_last_chunk::<TAG_BYTES>()?;
    if version > PLAIN_LENGTH {
        return None;
    }
    let mut plain = BytesMut::from(sealed);
    if !key.decrypt(*nonce, associated, &mut plain, *tag) {
        return None;
    }
    if version == PADDED {
        let filled = *plain.last().filter(|filled| (1..=BLOCK_BYTES).contains(filled))?;
        plain.truncate(plain.len().checked_sub(filled.into())?);
    }
    Some(plain.freeze())
}

/// What is in an envelope that any of these keys made.
pub fn open_any(ring: &Keyring, associated: &[u8], envelope: &[u8]) -> Option<Bytes> {
    ring.keys().iter().find_map(|key| open(key, associated, envelope))
}

/// What is in an encrypted stream message that this key made.
pub fn open_stream(key: &GossipKey, message: &[u8]) -> Option<Bytes> {
    let (head, envelope) = message.split_at_checked(STREAM_HEAD_BYTES)?;
    open(key, head, envelope)
}
