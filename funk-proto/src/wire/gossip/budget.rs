//! How much may be read or written before the reader's owner looks at its
//! timers again. What a peer sends decides how long a message is, never how
//! long one call takes: readers stop when the budget is spent, and go on from
//! there with the next one.

/// Work that may still be done. One unit is about 10 us in a debug build, and
/// less than 1 us in an optimized one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget(u32);

impl Budget {
    /// So many units.
    pub const fn new(units: u32) -> Self {
        Self(units)
    }

    /// For callers whom nothing waits for: tools and tests.
    pub const fn unlimited() -> Self {
        Self(u32::MAX)
    }

    /// Counts work that was done. It may be more than was left: a step is never cut in two.
    pub fn spend(&mut self, units: u32) {
        if self.0 != u32::MAX {
            self.0 = self.0.saturating_sub(units);
        }
    }

    /// Counts bytes that were walked over, as if each were a value.
    pub(super) fn spend_bytes(&mut self, bytes: usize) {
        self.spend(u32::try_from(bytes / BYTES_PER_UNIT).unwrap_or(u32::MAX).saturating_add(1));
    }

    /// Counts bytes on which a key was tried.
    pub fn spend_deciphered(&mut self, bytes: usize) {
        self.spend(u32::try_from(bytes / DECIPHERED_BYTES_PER_UNIT).unwrap_or(u32::MAX).saturating_add(1));
    }

    /// Nothing more may be begun.
    pub fn is_spent(self) -> bool {
        self.0 == 0
    }
}

/// Bytes on which a key is tried in one unit.
const DECIPHERED_BYTES_PER_UNIT: usize = 512;
/// Bytes walked over, or decompressed, in one unit.
const BYTES_PER_UNIT: usize = 32;
