//! Which gossip keys the cluster uses: their ids, never the keys. Whoever lacks the one that encrypts knows by it, and can
//! tell whether what a member sends is the ring.

use super::Change;
use crate::limits::GOSSIP_KEYS_MAX;
use crate::wire::cluster::RingRecord;
use crate::wire::gossip::key::KeyId;

/// The gossip keys of the cluster.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RingMark {
    /// One more with each change; 0: gossip was never encrypted.
    pub version: u64,
    /// The ids of the keys: that of the one that encrypts first, then the others, ascending.
    pub keys: Vec<KeyId>,
}

impl RingMark {
    /// The entry that replaces this one.
    pub fn replaced(&self, keys: &[KeyId]) -> RingRecord {
        Self { version: self.version + 1, keys: keys.to_vec() }.record()
    }

    pub(super) fn record(&self) -> RingRecord {
        let keys = self.keys.iter().map(|id| bytes::Bytes::copy_from_slice(id.as_bytes())).collect();
        RingRecord { version: self.version, keys }
    }

    /// `None` for a record that no node writes.
    pub(super) fn read(record: &RingRecord) -> Option<Self> {
        if record.keys.is_empty() || record.keys.len() > GOSSIP_KEYS_MAX || record.version == 0 {
            return None;
        }
        let keys = record.keys.iter().map(|id| Some(KeyId::new(id[..].try_into().ok()?)));
        Some(Self { version: record.version, keys: keys.collect::<Option<_>>()? })
    }

    /// Takes the next version, if its proposer knew this one.
    pub(super) fn change(&mut self, record: &RingRecord) -> Option<Change> {
        let next = Self::read(record).filter(|next| Some(next.version) == self.version.checked_add(1))?;
        *self = next;
        Some(Change::Ring)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_has_the_next_version_or_none() {
        let ids = |n: u8| vec![KeyId::new([n; 16]), KeyId::new([n + 1; 16])];
        let mut mark = RingMark::default();
        let first = mark.replaced(&ids(1));
        assert_eq!((mark.change(&first), mark.version), (Some(Change::Ring), 1));
        assert_eq!((mark.change(&first), &mark.keys), (None, &ids(1)), "it was proposed twice");
        let second = mark.replaced(&ids(5));
        for bad in [
            RingRecord { keys: Vec::new(), ..second.clone() },
            RingRecord { keys: vec![bytes::Bytes::from_static(b"short")], ..second.clone() },
            RingRecord { keys: vec![second.keys[0].clone(); GOSSIP_KEYS_MAX + 1], ..second.clone() },
            RingRecord { version: u64::MAX, ..second.clone() },
        ] {
            assert_eq!(mark.change(&bad), None);
        }
        assert_eq!((mark.change(&second), mark.version, mark.keys), (Some(Change::Ring), 2, ids(5)));
    }
}
