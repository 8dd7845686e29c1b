//! From a key to its shard. Frozen: a change would send the requests of one
//! key to two owners while versions mix.

use funk_proto::id::ShardId;

/// What a request is routed by.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Key {
    /// A signed integer: its value modulo the shards, made non-negative.
    Signed(i64),
    /// An unsigned integer: its value modulo the shards.
    Unsigned(u64),
    /// A string or bytes: XXH3-64 with seed 0, scaled to the shards.
    Bytes(Vec<u8>),
}

impl From<i64> for Key {
    fn from(value: i64) -> Self {
        Self::Signed(value)
    }
}

impl From<u64> for Key {
    fn from(value: u64) -> Self {
        Self::Unsigned(value)
    }
}

impl From<&str> for Key {
    fn from(value: &str) -> Self {
        Self::Bytes(value.as_bytes().to_vec())
    }
}

/// The shard of `key` among `shards`; `None` while there are no shards.
pub fn shard_of(key: &Key, shards: u32) -> Option<ShardId> {
    if shards == 0 {
        return None;
    }
    let shard = match key {
        Key::Signed(value) => u64::try_from(value.rem_euclid(i64::from(shards))).expect("a remainder is not negative"),
        Key::Unsigned(value) => value % u64::from(shards),
        Key::Bytes(bytes) => {
            let scaled = (u128::from(xxhash_rust::xxh3::xxh3_64(bytes)) * u128::from(shards)) >> 64;
            u64::try_from(scaled).expect("it is below the shard count")
        }
    };
    Some(ShardId(u32::try_from(shard).expect("it is below the shard count")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_are_taken_modulo_and_never_negative() {
        for (value, shard) in
            [(0, 0), (1, 1), (9_999, 9_999), (10_000, 0), (-1, 9_999), (-10_000, 0), (i64::MIN, 4_192)]
        {
            assert_eq!(shard_of(&Key::Signed(value), 10_000), Some(ShardId(shard)), "{value}");
        }
        assert_eq!(shard_of(&Key::Unsigned(u64::MAX), 10_000), Some(ShardId(1_615)));
        assert_eq!(shard_of(&Key::Signed(7), 0), None);
    }

    #[test]
    fn bytes_are_hashed_with_the_published_function() {
        assert_eq!(xxhash_rust::xxh3::xxh3_64(b""), 0x2d06_8005_38d3_94c2, "XXH3-64 of nothing, seed 0");
        assert_eq!(shard_of(&"".into(), 10_000), Some(ShardId(1_758)));
        assert_eq!(shard_of(&"".into(), 1), Some(ShardId(0)));
        for text in ["a", "b", "a longer key, as people have them"] {
            assert!(shard_of(&text.into(), 7).unwrap().0 < 7);
        }
    }
}
