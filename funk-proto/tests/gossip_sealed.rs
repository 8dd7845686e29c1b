//! Encrypted gossip captured from real agents opens to what was inside, what is encrypted here opens again, and nothing
//! else opens.

#![allow(clippy::unwrap_used, reason = "helpers of a test fail as the test does")]

use bytes::Bytes;
use funk_proto::wire::gossip::{
    ENCRYPTED, NONCE_BYTES, PushPull, SEAL_BYTES, StreamDecoder, decompress, open, open_any, open_stream, seal,
    seal_stream, unpack,
};
use funk_proto::{GossipKey, Keyring};
use proptest::prelude::*;
use serde_json::Value;

/// Type byte and length of an encrypted stream message.
const HEAD: usize = 5;

struct Captured {
    name: String,
    key: GossipKey,
    bytes: Bytes,
    label: Bytes,
    is_stream: bool,
    plain: Bytes,
}

impl Captured {
    /// What the tag covers beside the contents, and the envelope.
    fn parts(&self) -> (Vec<u8>, Bytes) {
        let at = if self.is_stream { HEAD } else { 0 };
        ([&self.bytes[..at], &self.label[..]].concat(), self.bytes.slice(at..))
    }
}

fn captured() -> Vec<Captured> {
    let file: Value = serde_json::from_str(include_str!("data/gossip_sealed.json")).unwrap();
    let message = |message: &Value| {
        let (bytes, label) = (unhex(&message["hex"]), message["label"].as_str().unwrap_or_default().to_owned());
        let in_front = if message["label_in_front"] == true { 2 + label.len() } else { 0 };
        Captured {
            name: message["name"].as_str().unwrap().into(),
            key: GossipKey::new(&unhex(&message["key"])).unwrap(),
            bytes: bytes.slice(in_front..),
            label: label.into(),
            is_stream: message["transport"] == "tcp",
            plain: unhex(&message["plain"]),
        }
    };
    file["messages"].as_array().unwrap().iter().map(message).collect()
}

fn unhex(text: &Value) -> Bytes {
    let text = text.as_str().unwrap();
    (0..text.len()).step_by(2).map(|at| u8::from_str_radix(&text[at..at + 2], 16).unwrap()).collect()
}

#[test]
fn what_real_agents_encrypted_opens_to_what_was_inside() {
    let captured = captured();
    assert_eq!(captured.len(), 19);
    for message in &captured {
        let (associated, envelope) = message.parts();
        let plain = open(&message.key, &associated, &envelope);
        assert_eq!(plain.as_ref(), Some(&message.plain), "{}", message.name);
        if message.is_stream {
            assert!(PushPull::decode(&decompress(&message.plain).unwrap()).is_ok(), "{}", message.name);
        } else {
            assert!(unpack(&message.plain).bad.is_empty(), "{}", message.name);
        }
        if message.is_stream && message.label.is_empty() {
            assert_eq!(open_stream(&message.key, &message.bytes), plain);
            let mut decoder = StreamDecoder::new();
            let (first, rest) = message.bytes.split_at(message.bytes.len() / 2);
            decoder.push(first);
            assert_eq!(decoder.next(), Ok(None), "{}", message.name);
            decoder.push(rest);
            assert_eq!(decoder.next(), Ok(Some(message.bytes.clone())), "{}", message.name);
        }
    }
}

#[test]
fn what_is_encrypted_here_has_the_bytes_that_an_agent_makes_of_it() {
    for message in captured() {
        let (associated, envelope) = message.parts();
        if envelope[0] != 1 {
            continue;
        }
        let nonce: [u8; NONCE_BYTES] = envelope[1..=NONCE_BYTES].try_into().unwrap();
        assert_eq!(seal(&message.key, nonce, &associated, &message.plain), envelope, "{}", message.name);
        if message.is_stream && message.label.is_empty() {
            assert_eq!(seal_stream(&message.key, nonce, &message.plain), message.bytes, "{}", message.name);
        }
    }
}

#[test]
fn an_envelope_of_another_version_or_label_or_that_ends_early_does_not_open() {
    for message in captured() {
        let (associated, envelope) = message.parts();
        let mut other = envelope.to_vec();
        other[0] = 2;
        assert_eq!(open(&message.key, &associated, &other), None, "{}", message.name);
        assert_eq!(open(&message.key, &[&associated[..], b"x"].concat(), &envelope), None, "{}", message.name);
        assert!((0..envelope.len()).all(|end| open(&message.key, &associated, &envelope[..end]).is_none()));
    }
}

#[test]
fn contents_that_say_they_were_filled_up_by_more_than_there_is_do_not_open() {
    // An old agent's envelope whose contents are `[.., 17]`, or one byte of 16: made as a new one, and renamed.
    let key = GossipKey::new(&[3; 16]).unwrap();
    for plain in [&[0, 17][..], &[16], &[7, 0], &[]] {
        let mut envelope = seal(&key, [9; NONCE_BYTES], &[], plain).to_vec();
        envelope[0] = 0;
        assert_eq!(open(&key, &[], &envelope), None, "{plain:?}");
    }
    let mut filled = seal(&key, [9; NONCE_BYTES], &[], &[16; 16]).to_vec();
    filled[0] = 0;
    assert_eq!(open(&key, &[], &filled), Some(Bytes::new()));
}

fn keys() -> impl Strategy<Value = GossipKey> {
    let lengths = prop_oneof![Just(16_usize), Just(24), Just(32)];
    lengths.prop_flat_map(|length| prop::collection::vec(any::<u8>(), length)).prop_map(|b| GossipKey::new(&b).unwrap())
}

proptest! {
    #[test]
    fn what_is_sealed_opens_with_any_ring_that_has_the_key(
        key in keys(), others in prop::collection::vec(keys(), 0..4), at in 0_usize..4, nonce: [u8; NONCE_BYTES],
        associated in prop::collection::vec(any::<u8>(), 0..20), plain in prop::collection::vec(any::<u8>(), 0..3000),
    ) {
        let envelope = seal(&key, nonce, &associated, &plain);
        prop_assert_eq!(envelope.len(), plain.len() + SEAL_BYTES);
        let mut ring = others.clone();
        ring.insert(at.min(ring.len()), key.clone());
        let opened = open_any(&Keyring::of(ring).unwrap(), &associated, &envelope);
        prop_assert_eq!(opened.as_deref(), Some(&plain[..]));
        if let Ok(without) = Keyring::of(others.into_iter().filter(|other| *other != key)) {
            prop_assert_eq!(open_any(&without, &associated, &envelope), None);
        }
    }

    #[test]
    fn a_changed_bit_anywhere_opens_nothing(
        key in keys(), plain in prop::collection::vec(any::<u8>(), 0..200), at: prop::sample::Index, bit in 0_u8..8,
    ) {
        let mut message = seal_stream(&key, [1; NONCE_BYTES], &plain).to_vec();
        prop_assert_eq!(message[0], ENCRYPTED);
        prop_assert_eq!(open_stream(&key, &message), Some(Bytes::from(plain)));
        let at = at.index(message.len());
        message[at] ^= 1 << bit;
        prop_assert_eq!(open_stream(&key, &message), None);
    }

    #[test]
    fn noise_opens_nothing(key in keys(), noise in prop::collection::vec(any::<u8>(), 0..200)) {
        prop_assert_eq!(open(&key, &[], &noise), None);
        prop_assert_eq!(open_stream(&key, &noise), None);
    }
}
