//! The keys that a peer was handed on streams with a certificate. Each stream has its own.

use std::collections::VecDeque;

use crate::id::{BootId, ConnId};
use crate::limits::ENDED_KEYS_MAX;
use crate::wire::liveness::Key;

#[derive(Clone, Copy, Debug)]
struct Handed {
    conn: ConnId,
    boot: BootId,
    key: Key,
    /// Its stream stands.
    stands: bool,
}

/// The keys that a peer was handed, the latest first. That of a stream that has ended is good for what is on its way,
/// and for the peer's last words, until later streams have ended too.
#[derive(Debug, Default)]
pub(super) struct Keys(VecDeque<Handed>);

impl Keys {
    /// The boot at the other end of a stream is handed a key.
    pub(super) fn hand(&mut self, conn: ConnId, boot: BootId, key: Key) {
        self.forget(conn);
        self.0.push_front(Handed { conn, boot, key, stands: true });
    }

    /// The key of this stream is good no more.
    pub(super) fn forget(&mut self, conn: ConnId) {
        self.0.retain(|handed| handed.conn != conn);
    }

    /// A stream has ended.
    pub(super) fn end(&mut self, conn: ConnId) {
        self.0.iter_mut().filter(|handed| handed.conn == conn).for_each(|handed| handed.stands = false);
        let mut ended = 0;
        self.0.retain(|handed| {
            ended += usize::from(!handed.stands);
            handed.stands || ended <= ENDED_KEYS_MAX
        });
    }

    /// The keys under which that boot may seal.
    pub(super) fn of(&self, boot: BootId) -> impl Iterator<Item = Key> {
        self.0.iter().filter(move |handed| handed.boot == boot).map(|handed| handed.key)
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn boot(number: u64) -> BootId {
        BootId::new(number).unwrap()
    }

    fn of(keys: &Keys, number: u64) -> Vec<u8> {
        keys.of(boot(number)).map(|key| key.0[0]).collect()
    }

    #[test]
    fn the_keys_of_standing_streams_are_good_however_many_others_have_ended() {
        let mut keys = Keys::default();
        keys.hand(ConnId::accepted(0), boot(1), Key([0; 16]));
        for number in 1..20 {
            let conn = ConnId::accepted(number);
            keys.hand(conn, boot(1), Key([u8::try_from(number).unwrap(); 16]));
            keys.end(conn);
        }
        let ended = (0..ENDED_KEYS_MAX).map(|ago| 19 - u8::try_from(ago).unwrap());
        assert_eq!(of(&keys, 1), ended.chain([0]).collect::<Vec<u8>>());
        assert!(of(&keys, 2).is_empty(), "another boot was handed none");
    }

    #[test]
    fn a_stream_has_one_key() {
        let mut keys = Keys::default();
        for _ in 0..3 {
            keys.hand(ConnId::accepted(0), boot(1), Key([7; 16]));
        }
        assert_eq!(of(&keys, 1), [7]);
    }
}
