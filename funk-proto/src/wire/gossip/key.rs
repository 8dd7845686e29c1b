//! The keys that a gossip pool shares.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use aes_gcm::aead::consts::U12;
use aes_gcm::aead::{AeadInPlace, KeyInit};
use aes_gcm::aes::cipher::BlockEncrypt;
use aes_gcm::aes::{Aes128, Aes192, Aes256, Block};
use aes_gcm::{Aes128Gcm, Aes256Gcm, AesGcm, Nonce, Tag};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use crate::limits::GOSSIP_KEYS_MAX;

/// Bytes of the number that no two messages under one key may share.
pub const NONCE_BYTES: usize = 12;
/// Bytes of the tag that only a holder of the key can make.
pub const TAG_BYTES: usize = 16;

/// A key of gossip: 16, 24 or 32 bytes, for AES-128, AES-192 or AES-256.
///
/// It is written in base64, as `serf keygen` prints it. It is never shown by `Debug`.
#[derive(Clone)]
pub struct GossipKey(Arc<Inner>);

struct Inner {
    bytes: Box<[u8]>,
    cipher: Cipher,
}

enum Cipher {
    Aes128(Box<Aes128Gcm>),
    Aes192(Box<AesGcm<Aes192, U12>>),
    Aes256(Box<Aes256Gcm>),
}

impl GossipKey {
    /// The key of these bytes.
    ///
    /// # Errors
    /// There are not 16, 24 or 32 of them.
    pub fn new(bytes: &[u8]) -> Result<Self, BadKey> {
        let cipher = match bytes.len() {
            16 => Cipher::Aes128(Box::new(KeyInit::new(bytes.into()))),
            24 => Cipher::Aes192(Box::new(KeyInit::new(bytes.into()))),
            32 => Cipher::Aes256(Box::new(KeyInit::new(bytes.into()))),
            length => return Err(BadKey::Length(length)),
        };
        Ok(Self(Arc::new(Inner { bytes: bytes.into(), cipher })))
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0.bytes
    }

    /// What it is called without being told: a block that was encrypted with it. Gossip encrypts no such block.
    pub fn id(&self) -> KeyId {
        let mut block = Block::from(*b"funk gossip key?");
        match self.0.bytes.len() {
            16 => Aes128::new_from_slice(&self.0.bytes).map(|cipher| cipher.encrypt_block(&mut block)),
            24 => Aes192::new_from_slice(&self.0.bytes).map(|cipher| cipher.encrypt_block(&mut block)),
            _ => Aes256::new_from_slice(&self.0.bytes).map(|cipher| cipher.encrypt_block(&mut block)),
        }
        .expect("a key has one of three lengths");
        KeyId(block.into())
    }

    /// As people write it.
    pub fn to_base64(&self) -> String {
        STANDARD.encode(&self.0.bytes)
    }

    pub(super) fn encrypt(&self, nonce: [u8; NONCE_BYTES], associated: &[u8], bytes: &mut [u8]) -> [u8; TAG_BYTES] {
        let nonce = Nonce::from(nonce);
        let tag = match &self.0.cipher {
            Cipher::Aes128(cipher) => cipher.encrypt_in_place_detached(&nonce, associated, bytes),
            Cipher::Aes192(cipher) => cipher.encrypt_in_place_detached(&nonce, associated, bytes),
            Cipher::Aes256(cipher) => cipher.encrypt_in_place_detached(&nonce, associated, bytes),
        };
        tag.expect("gossip messages are far shorter than the 64 GiB that one nonce is good for").into()
    }

    /// False, and nothing is changed, if this key did not make the tag.
    pub(super) fn decrypt(
        &self,
        nonce: [u8; NONCE_BYTES],
        associated: &[u8],
        bytes: &mut [u8],
        tag: [u8; TAG_BYTES],
    ) -> bool {
        let (nonce, tag) = (Nonce::from(nonce), Tag::from(tag));
        match &self.0.cipher {
            Cipher::Aes128(cipher) => cipher.decrypt_in_place_detached(&nonce, associated, bytes, &tag),
            Cipher::Aes192(cipher) => cipher.decrypt_in_place_detached(&nonce, associated, bytes, &tag),
            Cipher::Aes256(cipher) => cipher.decrypt_in_place_detached(&nonce, associated, bytes, &tag),
        }
        .is_ok()
    }
}

impl PartialEq for GossipKey {
    fn eq(&self, other: &Self) -> bool {
        self.0.bytes == other.0.bytes
    }
}

impl Eq for GossipKey {}

impl fmt::Debug for GossipKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "GossipKey({} bytes)", self.0.bytes.len())
    }
}

impl FromStr for GossipKey {
    type Err = BadKey;

    fn from_str(text: &str) -> Result<Self, BadKey> {
        Self::new(&STANDARD.decode(text).map_err(|_| BadKey::NotBase64)?)
    }
}

/// What a key is called where the key itself must not be: nobody can tell the key from it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct KeyId([u8; KeyId::BYTES]);

impl KeyId {
    /// Its bytes.
    pub const BYTES: usize = 16;
    /// Hexadecimal digits that are shown of it: enough to tell the keys of a ring from each other.
    const SHOWN: usize = 12;

    /// The id of these bytes.
    pub fn new(bytes: [u8; Self::BYTES]) -> Self {
        Self(bytes)
    }

    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8; Self::BYTES] {
        &self.0
    }

    fn digits(&self) -> String {
        self.0.iter().map(|byte| format!("{byte:02x}")).collect()
    }

    fn begins(&self, with: &str) -> bool {
        self.digits().starts_with(with)
    }
}

impl fmt::Display for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.digits()[..Self::SHOWN])
    }
}

impl fmt::Debug for KeyId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyId({self})")
    }
}

/// Why something is no key. It never holds what was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum BadKey {
    /// The text is no base64.
    NotBase64,
    /// It has so many bytes.
    Length(usize),
}

impl fmt::Display for BadKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotBase64 => f.write_str("a key is 16, 24 or 32 bytes in base64, and this is no base64"),
            Self::Length(bytes) => write!(f, "a key is 16, 24 or 32 bytes in base64, and this has {bytes}"),
        }
    }
}

impl std::error::Error for BadKey {}

/// The keys of a node: the first encrypts, and what any of them opens is taken. Never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keyring(Vec<GossipKey>);

impl Keyring {
    /// A ring of one key.
    pub fn new(primary: GossipKey) -> Self {
        Self(vec![primary])
    }

    /// A ring of these keys, the first of which encrypts. One that is given twice counts once.
    ///
    /// # Errors
    /// There are none, or more than 16.
    pub fn of(keys: impl IntoIterator<Item = GossipKey>) -> Result<Self, KeyRefused> {
        let mut keys = keys.into_iter();
        let mut ring = Self::new(keys.next().ok_or(KeyRefused::Empty)?);
        keys.try_for_each(|key| ring.install(key))?;
        Ok(ring)
    }

    /// The key that encrypts.
    pub fn primary(&self) -> &GossipKey {
        &self.0[0]
    }

    /// All of them, that which encrypts first.
    pub fn keys(&self) -> &[GossipKey] {
        &self.0
    }

    /// Adds a key that opens what others encrypt with it. One that is there stays where it is.
    ///
    /// # Errors
    /// The ring is full, and unchanged.
    pub fn install(&mut self, key: GossipKey) -> Result<(), KeyRefused> {
        if self.0.contains(&key) {
            return Ok(());
        }
        if self.0.len() >= GOSSIP_KEYS_MAX {
            return Err(KeyRefused::Full);
        }
        self.0.push(key);
        Ok(())
    }

    /// Makes a key of the ring the one that encrypts.
    ///
    /// # Errors
    /// It is not in the ring, which is unchanged.
    pub fn make_primary(&mut self, key: &GossipKey) -> Result<(), KeyRefused> {
        let at = self.0.iter().position(|held| held == key).ok_or(KeyRefused::Unknown)?;
        self.0[..=at].rotate_right(1);
        Ok(())
    }

    /// Takes a key out. One that is not there is out already.
    ///
    /// # Errors
    /// It is the one that encrypts; the ring is unchanged.
    pub fn remove(&mut self, key: &GossipKey) -> Result<(), KeyRefused> {
        if self.primary() == key {
            return Err(KeyRefused::Primary);
        }
        self.0.retain(|held| held != key);
        Ok(())
    }

    /// Makes one change.
    ///
    /// # Errors
    /// As the function of that change; the ring is unchanged.
    pub fn change(&mut self, change: &KeyChange) -> Result<(), KeyRefused> {
        match change {
            KeyChange::Install(key) => self.install(key.clone()),
            KeyChange::Use(key) => self.make_primary(key),
            KeyChange::Remove(key) => self.remove(key),
        }
    }

    /// The key whose id begins so.
    ///
    /// # Errors
    /// There is none, or more than one.
    pub fn called(&self, beginning: &str) -> Result<&GossipKey, KeyRefused> {
        let mut called = self.0.iter().filter(|key| !beginning.is_empty() && key.id().begins(beginning));
        match (called.next(), called.next()) {
            (Some(key), None) => Ok(key),
            (None, _) => Err(KeyRefused::Unknown),
            (Some(_), Some(_)) => Err(KeyRefused::Ambiguous),
        }
    }

    /// What its keys are called: that which encrypts first, then the others in their order, whatever theirs is in the ring.
    pub fn ids(&self) -> Vec<KeyId> {
        let mut ids: Vec<_> = self.0.iter().map(GossipKey::id).collect();
        ids[1..].sort_unstable();
        ids
    }

    /// The ring as agents keep it in a file: a JSON array of keys in base64, that which encrypts first.
    pub fn to_json(&self) -> String {
        let keys: Vec<_> = self.0.iter().map(|key| format!("  \"{}\"", key.to_base64())).collect();
        format!("[\n{}\n]", keys.join(",\n"))
    }
}

/// A change of a ring.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyChange {
    /// See [`Keyring::install`].
    Install(GossipKey),
    /// See [`Keyring::make_primary`].
    Use(GossipKey),
    /// See [`Keyring::remove`].
    Remove(GossipKey),
}

impl KeyChange {
    /// The change in a word, without the key.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Install(_) => "install",
            Self::Use(_) => "use",
            Self::Remove(_) => "remove",
        }
    }
}

/// Why a ring is not changed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum KeyRefused {
    /// A ring without a key.
    Empty,
    /// It has as many keys as it may.
    Full,
    /// It does not have this key.
    Unknown,
    /// This key encrypts.
    Primary,
    /// Several keys are called so.
    Ambiguous,
}

impl fmt::Display for KeyRefused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("a keyring needs at least one key"),
            Self::Full => write!(f, "a keyring holds at most {GOSSIP_KEYS_MAX} keys: remove one first"),
            Self::Unknown => f.write_str("the key is not in the keyring: install it first"),
            Self::Ambiguous => f.write_str("several keys of the keyring have ids that begin so: give more of it"),
            Self::Primary => f.write_str("the key encrypts: make another the primary key first"),
        }
    }
}

impl std::error::Error for KeyRefused {}

/// How a node uses keys in gossip.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GossipKeys {
    /// The keys at start.
    pub ring: Keyring,
    /// Whether gossip that is not encrypted is refused. If not, it is taken: for nodes that get keys one after the other.
    /// The default is that it is.
    pub verify_incoming: bool,
    /// Whether gossip is sent encrypted, which is the default. If not, keys only open what comes.
    pub verify_outgoing: bool,
}

impl From<Keyring> for GossipKeys {
    fn from(ring: Keyring) -> Self {
        Self { ring, verify_incoming: true, verify_outgoing: true }
    }
}

impl From<GossipKey> for GossipKeys {
    fn from(key: GossipKey) -> Self {
        Keyring::new(key).into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u8) -> GossipKey {
        GossipKey::new(&[n; 16]).unwrap()
    }

    #[test]
    fn keys_have_one_of_three_lengths_and_are_never_shown() {
        let good: Vec<usize> = (0..64).filter(|length| GossipKey::new(&vec![7; *length]).is_ok()).collect();
        assert_eq!(good, [16, 24, 32]);
        let text = "AAECAwQFBgcICQoLDA0ODw==";
        let key: GossipKey = text.parse().unwrap();
        assert_eq!((key.to_base64().as_str(), key.as_bytes()[15]), (text, 15));
        let shown = format!("{:?} {:?}", GossipKeys::from(key.clone()), Keyring::new(key));
        assert!(!shown.contains("AAEC") && !shown.contains("1, 2"), "{shown}");
        for (text, bad) in [("what", BadKey::Length(3)), ("", BadKey::Length(0)), ("a b", BadKey::NotBase64)] {
            assert_eq!(text.parse::<GossipKey>(), Err(bad));
            assert!(bad.to_string().contains("16, 24 or 32"));
        }
    }

    #[test]
    fn a_key_is_called_by_what_it_encrypts() {
        let ids: Vec<String> =
            [16, 24, 32].map(|bytes| GossipKey::new(&vec![7; bytes]).unwrap().id().to_string()).into();
        assert!(ids.iter().all(|id| id.len() == 12) && ids[0] != ids[1] && ids[1] != ids[2], "{ids:?}");
        let ids = |keys: [u8; 3]| Keyring::of(keys.map(key)).unwrap().ids();
        assert_eq!(ids([1, 2, 3]), ids([1, 3, 2]));
        let ring = Keyring::of([key(1), key(2)]).unwrap();
        assert_eq!(ring.called(&key(2).id().to_string()), Ok(&key(2)));
        assert_eq!((ring.called(""), ring.called("zz")), (Err(KeyRefused::Unknown), Err(KeyRefused::Unknown)));
        assert_ne!(ids([1, 2, 3]), ids([2, 1, 3]));
    }

    #[test]
    fn a_ring_changes_as_operators_of_serf_expect() {
        let mut ring = Keyring::of([key(1), key(2), key(1)]).unwrap();
        assert_eq!(ring.keys(), [key(1), key(2)]);
        assert_eq!(ring.make_primary(&key(3)), Err(KeyRefused::Unknown));
        assert_eq!((ring.install(key(3)), ring.install(key(3))), (Ok(()), Ok(())));
        assert_eq!(ring.make_primary(&key(3)), Ok(()));
        assert_eq!(ring.keys(), [key(3), key(1), key(2)]);
        assert_eq!(ring.remove(&key(3)), Err(KeyRefused::Primary));
        assert_eq!((ring.remove(&key(1)), ring.remove(&key(1))), (Ok(()), Ok(())));
        assert_eq!((ring.primary(), ring.keys().len()), (&key(3), 2));
        assert_eq!(Keyring::of([]), Err(KeyRefused::Empty));
        assert_eq!(Keyring::of((0..=16).map(key)), Err(KeyRefused::Full));
    }

    #[test]
    fn a_ring_is_written_as_an_agent_writes_it() {
        let keys = ["AAECAwQFBgcICQoLDA0ODw==", "EBESExQVFhcYGRobHB0eHyAhIiMkJSYnKCkqKywtLi8="];
        let ring = Keyring::of(keys.map(|key| key.parse().unwrap())).unwrap();
        assert_eq!(ring.to_json(), format!("[\n  \"{}\",\n  \"{}\"\n]", keys[0], keys[1]));
    }
}
