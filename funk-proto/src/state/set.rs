//! A list of shards as bytes: ascending numbers, each as the varint of its
//! distance from the one before. A run of neighbours costs one byte a shard.

use bytes::{Bytes, BytesMut};

use crate::id::ShardId;
use crate::wire::varint;

/// Encodes an ascending list.
///
/// # Panics
/// If the list is not strictly ascending: the core never makes such a list.
pub fn encode(shards: &[ShardId]) -> Bytes {
    let mut out = BytesMut::with_capacity(shards.len() + 4);
    let mut next = 0;
    for shard in shards {
        let distance = shard.0.checked_sub(next).expect("the list is strictly ascending");
        varint::put(&mut out, u64::from(distance));
        next = shard.0 + 1;
    }
    out.freeze()
}

/// Decodes a list of shards below `total`; `None` if it is malformed or names another shard.
pub fn decode(mut bytes: &[u8], total: u32) -> Option<Vec<ShardId>> {
    let mut shards = Vec::with_capacity(bytes.len());
    let mut next = 0u64;
    while !bytes.is_empty() {
        let shard = next.checked_add(varint::take(&mut bytes)?)?;
        if shard >= u64::from(total) {
            return None;
        }
        shards.push(ShardId(u32::try_from(shard).ok()?));
        next = shard + 1;
    }
    Some(shards)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_survive_and_runs_are_small() {
        let run: Vec<ShardId> = (100..1100).map(ShardId).collect();
        assert_eq!(encode(&run).len(), 1000);
        let sparse: Vec<ShardId> = (0..1000).map(|n| ShardId(n * 997)).collect();
        for list in [vec![], vec![ShardId(0)], run, sparse] {
            assert_eq!(decode(&encode(&list), 1 << 20), Some(list));
        }
    }

    #[test]
    fn shards_out_of_range_are_refused() {
        let list = encode(&[ShardId(9)]);
        assert_eq!(decode(&list, 9), None);
        assert_eq!(decode(&[0x80], 100), None);
        assert_eq!(decode(&[0xff; 12], 100), None);
    }
}
