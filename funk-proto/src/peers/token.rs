//! What proves that a peer was reached at an address.

use std::hash::Hasher;
use std::net::SocketAddr;

use bytes::Bytes;

use crate::id::RaftId;
use crate::wire::liveness::{derive, hash_address};

/// What a node tells at the address that it dials, and takes from nobody who does not know it.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Token([u8; 16]);

impl std::fmt::Debug for Token {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Token(..)")
    }
}

impl Token {
    pub(super) fn derive(secret: &[u8; 16], peer: RaftId, address: SocketAddr) -> Self {
        Self(derive(secret, 3, |hasher| {
            hasher.write_u64(peer.get());
            hash_address(hasher, address);
        }))
    }

    pub(super) fn parse(bytes: &Bytes) -> Option<Self> {
        <[u8; 16]>::try_from(&bytes[..]).ok().map(Self)
    }

    pub(super) fn bytes(self) -> Bytes {
        Bytes::copy_from_slice(&self.0)
    }

    /// In a time that does not depend on where they differ.
    pub(super) fn is(self, other: Self) -> bool {
        self.0.iter().zip(other.0).fold(0, |sum, (one, other)| sum | (one ^ other)) == 0
    }
}
