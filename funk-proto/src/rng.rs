//! Seeded randomness: one ChaCha8 stream per machine, so that a new draw in
//! one machine leaves the others' sequences unmoved.

use rand_chacha::ChaCha8Rng;
use rand_core::{Rng as _, SeedableRng};

/// The one source of a node's randomness. The driver fills it from the
/// operating system; a simulation from its own seed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Seed(pub [u8; 32]);

impl Seed {
    /// A seed for simulations and tests, spread from one number.
    pub fn from_u64(n: u64) -> Self {
        let mut bytes = [0; 32];
        ChaCha8Rng::seed_from_u64(n).fill_bytes(&mut bytes);
        Self(bytes)
    }
}

impl std::fmt::Debug for Seed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seed(..)")
    }
}

/// Which machine draws. Numbers are part of every recorded trace: never reuse one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stream {
    /// Raft, boot and cluster ids, and the datagram key secret.
    Identity = 1,
    /// Gossip and joining.
    Gossip = 2,
    /// Election timing.
    Consensus = 3,
    /// Heartbeat timing.
    Liveness = 4,
    /// Connection back-off.
    Peers = 5,
    /// The nonces of encrypted gossip.
    GossipNonces = 6,
}

/// A machine's seeded generator.
#[derive(Clone, Debug)]
pub struct Rng(ChaCha8Rng);

impl Rng {
    /// The generator of one machine.
    pub fn new(seed: Seed, stream: Stream) -> Self {
        let mut rng = ChaCha8Rng::from_seed(seed.0);
        rng.set_stream(stream as u64);
        Self(rng)
    }

    /// Any 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Fills all of it.
    pub fn fill(&mut self, bytes: &mut [u8]) {
        self.0.fill_bytes(bytes);
    }

    /// A number below `bound`, which must not be zero. The bias of the
    /// multiply-shift is below 2^-32 for the small bounds used here.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "a draw needs at least one outcome");
        let wide = u128::from(self.next_u64()) * u128::from(bound);
        u64::try_from(wide >> 64).expect("the high half of a product fits 64 bits")
    }

    /// A length from `low` to `high`, both included.
    pub fn between(&mut self, low: std::time::Duration, high: std::time::Duration) -> std::time::Duration {
        let span = high.saturating_sub(low).as_nanos();
        let span = u64::try_from(span).unwrap_or(u64::MAX - 1);
        low + std::time::Duration::from_nanos(self.below(span.saturating_add(1)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let seed = Seed::from_u64(7);
        let draw = |stream| Rng::new(seed, stream).next_u64();
        assert_eq!(draw(Stream::Consensus), draw(Stream::Consensus));
        assert_ne!(draw(Stream::Consensus), draw(Stream::Gossip));
    }

    #[test]
    fn draws_stay_below_their_bound() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Peers);
        assert!((0..1000).all(|_| rng.below(7) < 7));
    }
}
