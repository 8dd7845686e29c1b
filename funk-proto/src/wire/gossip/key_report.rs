//! What an operator asks of the keyrings of a whole pool, and what comes of it.

use super::key::{GossipKey, KeyChange, KeyId, KeyRefused, Keyring};

/// What an operator asks of the keyrings of a whole pool.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyWish {
    /// Which keys each member has.
    List,
    /// Each member changes its ring.
    Change(KeyChange),
}

/// The same in the words of an operator: keys that are installed go by the beginning of their ids.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyOrder {
    /// Which keys each member has.
    List,
    /// Each member installs this key.
    Install(GossipKey),
    /// Each member encrypts with this key.
    Use(String),
    /// Each member forgets this key.
    Remove(String),
}

impl KeyOrder {
    /// What is asked of the members, if this is the ring of whoever asks them.
    ///
    /// # Errors
    /// No key of the ring is called so, or more than one.
    pub fn wish(&self, ring: &Keyring) -> Result<KeyWish, KeyRefused> {
        Ok(KeyWish::Change(match self {
            Self::List => return Ok(KeyWish::List),
            Self::Install(key) => KeyChange::Install(key.clone()),
            Self::Use(id) => KeyChange::Use(ring.called(id)?.clone()),
            Self::Remove(id) => KeyChange::Remove(ring.called(id)?.clone()),
        }))
    }
}

/// What came of it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyReport {
    /// What the members say that answered, by name.
    pub answers: Vec<KeyAnswer>,
    /// Live members that did not answer in time.
    pub missing: Vec<String>,
}

/// What one member says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyAnswer {
    /// Its name.
    pub node: String,
    /// Why it did not do it.
    pub refused: Option<String>,
    /// Its keys, if it was asked for them: that which encrypts first, then the others.
    pub keys: Vec<GossipKey>,
}

impl KeyAnswer {
    /// What its keys are called.
    pub fn key_ids(&self) -> impl Iterator<Item = KeyId> {
        self.keys.iter().map(GossipKey::id)
    }
}

impl KeyReport {
    /// Whether every live member did it.
    pub fn is_whole(&self) -> bool {
        self.missing.is_empty() && self.answers.iter().all(|answer| answer.refused.is_none())
    }

    /// Who did not do it, and why; empty if everybody did.
    pub fn faults(&self) -> String {
        let refused = self.answers.iter().filter_map(|answer| {
            let why = answer.refused.as_ref()?;
            Some(format!("{}: {why}", answer.node))
        });
        let silent = (!self.missing.is_empty()).then(|| format!("no answer from {}", self.missing.join(", ")));
        refused.chain(silent).collect::<Vec<_>>().join("; ")
    }
}
