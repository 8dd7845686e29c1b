//! Encryption: what goes out is put into an envelope and what comes in is taken out of one, by the rules of memberlist.
//! Who has no key, or another one, is counted and told why.

use bytes::Bytes;

use super::key_asks::KeyAsks;
use super::key_queries::Keeping;
use super::ring_watch::RingWatch;
use super::{Gossip, GossipOutput, Side};
use crate::id::ConnId;
use crate::io::{GossipRefusal, RefusedPeer};
use crate::rng::{Rng, Seed, Stream};
use crate::time::Timestamp;
use crate::wire::gossip::{
    self, Budget, GossipKey, GossipKeys, Keyring, NONCE_BYTES, SEAL_BYTES, Unpacked, looks_encrypted, open_any,
    open_stream, seal, seal_stream, unpack,
};

/// What somebody with a key is told where there is none, and the reverse.
const NO_KEY: &str = "gossip is not encrypted here: start without a key to join this cluster";
const KEY_NEEDED: &str = "gossip is encrypted here: start with the cluster's key to join it";
const OTHER_KEY: &str = "gossip is encrypted with another key here: start with the cluster's key to join it";
/// Bytes of an error that is looked at though it did not come as it should: agents write a sentence.
const ERROR_BYTES_MAX: usize = 1 << 10;
/// Characters kept of an error that a peer sent.
const ERROR_CHARS_MAX: usize = 200;

/// The keys of this node, and how it uses them.
#[derive(Debug)]
pub(super) struct Sealing {
    pub(super) keys: Option<GossipKeys>,
    /// Rings that are being kept, and who is told when they are.
    pub(super) keeping: Keeping,
    /// What this node asks of all.
    pub(super) asks: KeyAsks,
    pub(super) watch: RingWatch,
    nonces: Rng,
}

/// What becomes of a stream message.
pub(super) enum Admitted {
    /// It is taken as it is.
    Plain(Bytes),
    /// It is to be opened.
    Sealed(Opening),
    /// It is not taken.
    Refused(GossipRefusal),
}

/// An encrypted stream message, and the keys that were not tried yet.
#[derive(Debug)]
pub(super) struct Opening {
    message: Bytes,
    ring: Keyring,
    tried: usize,
}

impl Opening {
    /// Tries one key. `None`: there are others. An error: none of them fits.
    pub(super) fn step(&mut self, budget: &mut Budget) -> Result<Option<Bytes>, GossipRefusal> {
        let key = self.ring.keys().get(self.tried).ok_or(GossipRefusal::Undecryptable)?;
        self.tried += 1;
        budget.spend_deciphered(self.message.len());
        Ok(open_stream(key, &self.message))
    }

    /// Tries all keys at once, for what is short.
    pub(super) fn run(mut self) -> Result<Bytes, GossipRefusal> {
        let mut budget = Budget::unlimited();
        loop {
            if let Some(plain) = self.step(&mut budget)? {
                return Ok(plain);
            }
        }
    }

    /// Bytes of the message.
    pub(super) fn len(&self) -> usize {
        self.message.len()
    }
}

impl Sealing {
    pub(super) fn new(keys: Option<GossipKeys>, seed: Seed) -> Self {
        Self {
            keys,
            keeping: Keeping::default(),
            asks: KeyAsks::default(),
            watch: RingWatch::default(),
            nonces: Rng::new(seed, Stream::GossipNonces),
        }
    }

    /// The key that encrypts what is sent, if anything does.
    fn key(&self) -> Option<&GossipKey> {
        self.keys.as_ref().filter(|keys| keys.verify_outgoing).map(|keys| keys.ring.primary())
    }

    /// Bytes that a datagram grows by. Room for them is kept as soon as there is a key, whether it is used yet or not.
    pub(super) fn overhead(&self) -> usize {
        if self.keys.is_some() { SEAL_BYTES } else { 0 }
    }

    /// They are drawn, so that no start of this node uses those of another: 96 bits, from a seed that is drawn too.
    fn nonce(&mut self) -> [u8; NONCE_BYTES] {
        let mut nonce = [0; NONCE_BYTES];
        self.nonces.fill(&mut nonce);
        nonce
    }

    pub(super) fn datagram(&mut self, plain: Bytes) -> Bytes {
        let Some(key) = self.key().cloned() else { return plain };
        seal(&key, self.nonce(), &[], &plain)
    }

    fn stream(&mut self, plain: Bytes) -> Bytes {
        let Some(key) = self.key().cloned() else { return plain };
        seal_stream(&key, self.nonce(), &plain)
    }

    /// The messages of a datagram.
    pub(super) fn unpack(&self, datagram: &Bytes) -> Result<Unpacked, GossipRefusal> {
        let Some(keys) = &self.keys else {
            let unpacked = unpack(datagram);
            return if looks_encrypted(datagram, &unpacked) { Err(GossipRefusal::Encrypted) } else { Ok(unpacked) };
        };
        if let Some(plain) = open_any(&keys.ring, &[], datagram) {
            return Ok(unpack(&plain));
        }
        let unpacked = unpack(datagram);
        if looks_encrypted(datagram, &unpacked) {
            return Err(GossipRefusal::Undecryptable);
        }
        if keys.verify_incoming && !unpacked.packets.is_empty() {
            return Err(GossipRefusal::Plaintext);
        }
        Ok(unpacked)
    }

    pub(super) fn admit(&self, message: Bytes) -> Admitted {
        let sealed = message.first() == Some(&gossip::ENCRYPTED);
        match &self.keys {
            None if sealed => Admitted::Refused(GossipRefusal::Encrypted),
            Some(keys) if sealed => Admitted::Sealed(Opening { message, ring: keys.ring.clone(), tried: 0 }),
            Some(keys) if keys.verify_incoming => Admitted::Refused(GossipRefusal::Plaintext),
            None | Some(_) => Admitted::Plain(message),
        }
    }
}

impl Gossip {
    /// Sends a message on a stream.
    pub(super) fn say(&mut self, conn: ConnId, plain: Bytes) {
        let bytes = self.sealing.stream(plain);
        self.outputs.push_back(GossipOutput::Message { conn, bytes });
    }

    /// Sends a last message on a stream.
    pub(super) fn reply(&mut self, conn: ConnId, plain: Bytes) {
        let bytes = self.sealing.stream(plain);
        self.outputs.push_back(GossipOutput::Reply { conn, bytes });
    }

    /// Counts gossip that is refused, and says whose it is.
    pub(super) fn count_refused(&mut self, peer: RefusedPeer, why: GossipRefusal) {
        *match why {
            GossipRefusal::Encrypted => &mut self.counters.encrypted,
            GossipRefusal::Plaintext => &mut self.counters.plaintext,
            GossipRefusal::Undecryptable => &mut self.counters.undecryptable,
        } += 1;
        self.outputs.push_back(GossipOutput::Refused { peer, why });
    }

    /// A stream message is refused, and its sender told why.
    pub(super) fn turn_away(&mut self, now: Timestamp, side: Side, why: GossipRefusal, message: &[u8]) {
        match side {
            Side::Accepted(conn) => {
                self.count_refused(RefusedPeer::Stream(conn), why);
                // Who speaks in the clear can read nothing else; who has another key expects no plaintext.
                match why {
                    GossipRefusal::Encrypted => self.reply(conn, gossip::encode_error(NO_KEY)),
                    GossipRefusal::Undecryptable => self.reply(conn, gossip::encode_error(OTHER_KEY)),
                    GossipRefusal::Plaintext => {
                        let bytes = gossip::encode_error(KEY_NEEDED);
                        self.outputs.push_back(GossipOutput::Reply { conn, bytes });
                    }
                }
            }
            Side::Answer(exchange) => {
                self.count_refused(RefusedPeer::Address(exchange.to), why);
                let reason = match why {
                    GossipRefusal::Encrypted => "gossip is encrypted there, and this node has no key".into(),
                    GossipRefusal::Undecryptable => "gossip is encrypted with another key there".into(),
                    GossipRefusal::Plaintext => plain_error(message)
                        .unwrap_or_else(|| "gossip is not encrypted there, and this node has a key".into()),
                };
                self.failed(now, exchange, reason);
            }
            Side::Dialled(_) => {}
        }
    }
}

/// What an error says that came in the clear. Nothing but the failure follows from it, which its sender could bring about
/// without a word.
fn plain_error(message: &[u8]) -> Option<String> {
    if message.len() > ERROR_BYTES_MAX {
        return None;
    }
    let plain = gossip::decompress(&Bytes::copy_from_slice(message)).ok()?;
    if plain.first() != Some(&gossip::ERROR) {
        return None;
    }
    error_text(&plain).ok()
}

/// The text of an error, as much of it as is kept.
pub(super) fn error_text(message: &[u8]) -> Result<String, gossip::BadMessage> {
    Ok(gossip::decode_error(message)?.chars().take(ERROR_CHARS_MAX).collect())
}
