//! How the map and the assignment of shards name members to each other: by index.

/// A member as an index into the shares, or nobody. Two bytes, since a map has up to a million of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct OwnerIndex(u16);

impl OwnerIndex {
    /// Nobody.
    pub const NOBODY: Self = Self(u16::MAX);

    /// The member with this index.
    ///
    /// # Panics
    /// If it is 65,535 or more: the member table is bounded far below.
    pub fn of(index: usize) -> Self {
        let index = u16::try_from(index).ok().filter(|&index| index != u16::MAX);
        Self(index.expect("members are bounded far below 65,535"))
    }

    /// The member's index; `None` if it is nobody.
    pub fn get(self) -> Option<usize> {
        (self != Self::NOBODY).then_some(usize::from(self.0))
    }
}

/// Shards that came to one owner at one time: there are far fewer such groups than shards.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Group {
    /// Their owner, or nobody if they have none that may keep them.
    pub owner: OwnerIndex,
    /// When they came to it, in any order that grows with time.
    pub since: u64,
    /// How many they are.
    pub shards: usize,
}
