//! Versions of the protocol between nodes.

use std::fmt;

/// The versions of the cluster stream's protocol that a node speaks.
///
/// A new version is one that nodes of the version before would misunderstand.
/// New fields and new kinds of frames are passed over by older nodes and raise
/// nothing. Hello and refusal keep their form in every version.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Versions {
    /// The oldest.
    pub oldest: u32,
    /// The newest.
    pub newest: u32,
}

impl Versions {
    /// Those of this build. Version 1 knew one lease for the life of a cluster, and proved no peer's place.
    pub const OURS: Self = Self { oldest: 2, newest: 2 };

    /// What a peer says that it speaks; one that says nothing speaks the first version.
    pub fn told(oldest: u32, newest: u32) -> Self {
        let newest = newest.max(1);
        Self { oldest: oldest.clamp(1, newest), newest }
    }

    /// Whether there is a version that both speak.
    pub fn meet(self, other: Self) -> bool {
        self.oldest <= other.newest && other.oldest <= self.newest
    }
}

impl fmt::Display for Versions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self { oldest, newest } if oldest == newest => write!(f, "version {newest}"),
            Self { oldest, newest } => write!(f, "versions {oldest} to {newest}"),
        }
    }
}
