//! Liveness datagrams, from outsiders and from a peer that holds the key.

use std::hash::Hasher;

use funk_proto::wire::liveness::{Key, open, seal};
use siphasher::sip::SipHasher24;

pub(crate) const KEY: Key = Key([7; 16]);

/// The input as it is, then with the tag that makes it authentic.
pub(super) fn datagram(data: &[u8]) {
    let _ = open(data, |_| Some(KEY));
    let sealed = authentic(data);
    let Ok((header, body)) = open(&sealed, |_| Some(KEY)) else { return };
    let again = seal(&KEY, &header, &body);
    assert_eq!(open(&again, |_| Some(KEY)), Ok((header, body)));
}

/// The bytes with their tag behind them.
pub(crate) fn authentic(signed: &[u8]) -> Vec<u8> {
    let mut hasher = SipHasher24::new_with_key(&KEY.0);
    hasher.write(signed);
    let mut bytes = signed.to_vec();
    bytes.extend_from_slice(&hasher.finish().to_be_bytes());
    bytes
}
