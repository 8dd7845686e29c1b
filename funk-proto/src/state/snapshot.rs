//! The replicated state as bytes: a record of the cluster values and members,
//! and the shard map column by column.

mod member;

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;

use self::member::SavedMember;
use super::map::{Kind, ShardMap};
use super::members::Members;
use super::pins::Pins;
use super::workers::{Workers, worker_record};
use super::{ClusterValues, LeaseReason, RingMark, State, pin_record, pinned};
use crate::config::Ownership;
use crate::id::{BootId, ClusterId, Epoch, Incarnation, LogIndex, WorkerId};
use crate::limits::{DRIFT_PPM_MAX, FORMER_CLUSTERS_MAX, RAFT_MEMBERS_MAX, REMOVED_BOOTS_MAX, SHARDS_MAX};
use crate::wire::cluster::{BootName, PinRecord, RingRecord, WorkerRecord};
use crate::wire::varint;

#[derive(Clone, PartialEq, Message)]
struct SavedState {
    /// Format of this message.
    #[prost(uint32, tag = "1")]
    version: u32,
    #[prost(fixed64, tag = "2")]
    cluster: u64,
    #[prost(string, tag = "3")]
    name: String,
    #[prost(int64, tag = "4")]
    created_ns: i64,
    #[prost(uint64, tag = "5")]
    lease_ns: u64,
    #[prost(uint32, tag = "6")]
    drift_ppm: u32,
    #[prost(uint64, tag = "7")]
    applied: u64,
    #[prost(message, repeated, tag = "8")]
    members: Vec<SavedMember>,
    #[prost(message, repeated, tag = "9")]
    owners: Vec<BootName>,
    #[prost(uint32, tag = "10")]
    shards: u32,
    #[prost(uint64, tag = "11")]
    epoch: u64,
    /// For each shard the number of its state, little-endian, in as many bytes
    /// as the numbers need: 1, 2 or 4.
    #[prost(bytes = "bytes", tag = "12")]
    cells: Bytes,
    /// Boots of removed members, oldest first.
    #[prost(fixed64, repeated, tag = "13")]
    removed: Vec<u64>,
    /// For each state of shards: owner slot + 1, destination slot + 1, epoch, change.
    #[prost(bytes = "bytes", tag = "14")]
    kinds: Bytes,
    /// Pinned ranges, ascending.
    #[prost(message, repeated, tag = "15")]
    pins: Vec<PinRecord>,
    /// Worker ids that are taken, ascending.
    #[prost(message, repeated, tag = "16")]
    workers: Vec<WorkerRecord>,
    /// Generation of the cluster; 0 stands for 1.
    #[prost(uint64, tag = "17")]
    generation: u64,
    /// Ids of the former generations, oldest first.
    #[prost(fixed64, repeated, tag = "18")]
    former: Vec<u64>,
    /// Shards of the dead are taken at once: the application's store refuses older epochs.
    #[prost(bool, tag = "19")]
    fenced: bool,
    /// Hash of all entries that were applied.
    #[prost(fixed64, tag = "20")]
    hash: u64,
    /// The bounds of the lease; 0 stands for the lease itself, which never changes then.
    #[prost(uint64, tag = "21")]
    lease_min_ns: u64,
    #[prost(uint64, tag = "22")]
    lease_max_ns: u64,
    /// Why the lease is what it is, and for the sake of which member.
    #[prost(uint32, tag = "23")]
    lease_reason: u32,
    #[prost(fixed64, tag = "24")]
    lease_member: u64,
    /// The gossip keys, if gossip was ever encrypted.
    #[prost(message, optional, tag = "25")]
    ring: Option<RingRecord>,
}

const VERSION: u32 = 2;
/// Owners that a snapshot may name: far more than ever hold a shard at once, and
/// few enough that new ones still get a slot of 16 bits.
const OWNERS_MAX: usize = 1 << 15;

pub fn encode(state: &State) -> Bytes {
    let (lease_reason, lease_member) = state.cluster.lease_reason.written();
    let saved = SavedState {
        version: VERSION,
        cluster: state.cluster.id.get(),
        name: state.cluster.name.clone(),
        created_ns: state.cluster.created_ns,
        lease_ns: nanos(state.cluster.lease),
        lease_min_ns: nanos(state.cluster.lease_min),
        lease_max_ns: nanos(state.cluster.lease_max),
        lease_reason,
        lease_member,
        drift_ppm: state.cluster.drift_ppm,
        applied: state.applied.0,
        members: state.members.iter().map(SavedMember::new).collect(),
        owners: state.map.owners.iter().map(|&owner| owner.into()).collect(),
        shards: state.map.shards(),
        epoch: state.map.epoch.0,
        cells: encode_cells(&state.map.cells, state.map.kinds.len()),
        removed: state.removed.iter().map(|boot| boot.get()).collect(),
        kinds: encode_kinds(&state.map.kinds),
        pins: state.pins.iter().map(|(shards, node)| pin_record(&shards, Some(node))).collect(),
        workers: state.workers.iter().map(|(worker, owner)| worker_record(worker, owner)).collect(),
        generation: state.cluster.generation,
        former: state.cluster.former.iter().map(|former| former.get()).collect(),
        fenced: state.cluster.ownership == Ownership::Fenced,
        hash: state.hash,
        ring: (state.ring.version > 0).then(|| state.ring.record()),
    };
    Bytes::from(saved.encode_to_vec())
}

fn nanos(length: Duration) -> u64 {
    u64::try_from(length.as_nanos()).unwrap_or(u64::MAX)
}

fn encode_kinds(kinds: &[Kind]) -> Bytes {
    let mut out = BytesMut::new();
    for kind in kinds {
        varint::put(&mut out, u64::from(kind.owner.wrapping_add(1)));
        varint::put(&mut out, u64::from(kind.moving_to.wrapping_add(1)));
        varint::put(&mut out, kind.epoch);
        varint::put(&mut out, kind.change);
    }
    out.freeze()
}

fn decode_kinds(mut bytes: &[u8]) -> Option<Vec<Kind>> {
    let mut kinds = Vec::new();
    let slot = |value: u64| Some(u16::try_from(value).ok()?.wrapping_sub(1));
    while !bytes.is_empty() {
        kinds.push(Kind {
            owner: slot(varint::take(&mut bytes)?)?,
            moving_to: slot(varint::take(&mut bytes)?)?,
            epoch: varint::take(&mut bytes)?,
            change: varint::take(&mut bytes)?,
        });
    }
    Some(kinds)
}

/// Bytes of the number of one of so many states.
const fn width(kinds: usize) -> usize {
    match kinds {
        0..=0x100 => 1,
        0x101..=0x1_0000 => 2,
        _ => 4,
    }
}

fn encode_cells(cells: &[u32], kinds: usize) -> Bytes {
    let width = width(kinds);
    let mut out = vec![0; cells.len() * width];
    // A loop for each width, so that each is without branches.
    match width {
        1 => out.iter_mut().zip(cells).for_each(|(out, cell)| *out = cell.to_le_bytes()[0]),
        2 => out.as_chunks_mut().0.iter_mut().zip(cells).for_each(|(out, cell)| {
            let [low, high, ..] = cell.to_le_bytes();
            *out = [low, high];
        }),
        _ => out.as_chunks_mut().0.iter_mut().zip(cells).for_each(|(out, cell)| *out = cell.to_le_bytes()),
    }
    out.into()
}

/// The numbers of the shards' states, and how many shards are in each.
fn decode_cells(bytes: &[u8], shards: u32, kinds: usize) -> Option<(Vec<u32>, Vec<u32>)> {
    let width = width(kinds);
    if bytes.len() != (shards as usize).checked_mul(width)? {
        return None;
    }
    let cells: Vec<u32> = match width {
        1 => bytes.iter().map(|&cell| u32::from(cell)).collect(),
        2 => bytes.as_chunks().0.iter().map(|&cell| u32::from(u16::from_le_bytes(cell))).collect(),
        _ => bytes.as_chunks().0.iter().map(|&cell| u32::from_le_bytes(cell)).collect(),
    };
    let uses = if width == 1 { count_bytes(bytes, kinds)? } else { count(&cells, kinds)? };
    Some((cells, uses))
}

/// How often each number below `kinds` occurs; `None` if another one does.
fn count(cells: &[u32], kinds: usize) -> Option<Vec<u32>> {
    let mut uses = vec![0; kinds];
    for &cell in cells {
        *uses.get_mut(cell as usize)? += 1;
    }
    Some(uses)
}

/// The same for numbers of one byte. Four counts take turns, so that equal neighbours, which are the
/// rule, need not wait for each other.
fn count_bytes(cells: &[u8], kinds: usize) -> Option<Vec<u32>> {
    let mut counts = [[0_u32; 256]; 4];
    let (rows, rest) = cells.as_chunks::<4>();
    for row in rows {
        for (counts, &cell) in counts.iter_mut().zip(row) {
            counts[usize::from(cell)] += 1;
        }
    }
    for &cell in rest {
        counts[0][usize::from(cell)] += 1;
    }
    let mut uses: Vec<u32> = (0..256).map(|cell| counts.iter().map(|counts| counts[cell]).sum()).collect();
    let others = uses.split_off(kinds);
    others.iter().all(|&uses| uses == 0).then_some(uses)
}

pub fn decode(bytes: &[u8]) -> Option<State> {
    // One copy: what the message holds as bytes are parts of it then.
    let saved = SavedState::decode(Bytes::copy_from_slice(bytes)).ok()?;
    if saved.version != VERSION || saved.shards > SHARDS_MAX || saved.members.len() > RAFT_MEMBERS_MAX {
        return None;
    }
    let mut members = Members::default();
    for saved in saved.members {
        members.restore(saved.restore()?);
    }
    if saved.owners.len() > OWNERS_MAX {
        return None;
    }
    if saved.removed.len() > REMOVED_BOOTS_MAX || saved.former.len() > FORMER_CLUSTERS_MAX {
        return None;
    }
    let removed = saved.removed.into_iter().map(BootId::new).collect::<Option<_>>()?;
    let owners: Vec<Incarnation> = saved.owners.into_iter().map(Incarnation::named).collect::<Option<_>>()?;
    let kinds = decode_kinds(&saved.kinds)?;
    let (cells, uses) = decode_cells(&saved.cells, saved.shards, kinds.len())?;
    let mut pins = Pins::default();
    for pin in saved.pins {
        let (shards, node) = pinned(&pin, saved.shards)?;
        if node.is_none() || !pins.set(shards, node.as_ref()) {
            return None;
        }
    }
    let worker = |saved: WorkerRecord| {
        let holder = Incarnation::named(BootName { id: saved.id, boot: saved.boot })?;
        Some((WorkerId(u16::try_from(saved.worker).ok()?), holder))
    };
    let workers = Workers::restore(saved.workers.into_iter().map(worker).collect::<Option<_>>()?)?;
    let bound = |nanos| Duration::from_nanos(if nanos == 0 { saved.lease_ns } else { nanos });
    let (lease_min, lease_max) = (bound(saved.lease_min_ns), bound(saved.lease_max_ns));
    if saved.lease_ns < nanos(lease_min) || saved.lease_ns > nanos(lease_max) {
        return None;
    }
    Some(State {
        cluster: ClusterValues {
            id: ClusterId::new(saved.cluster)?,
            name: saved.name,
            created_ns: saved.created_ns,
            lease: Duration::from_nanos(saved.lease_ns),
            lease_min,
            lease_max,
            lease_reason: LeaseReason::read(saved.lease_reason, saved.lease_member),
            drift_ppm: saved.drift_ppm.min(DRIFT_PPM_MAX),
            ownership: if saved.fenced { Ownership::Fenced } else { Ownership::Leased },
            generation: saved.generation.max(1),
            former: saved.former.into_iter().map(ClusterId::new).collect::<Option<_>>()?,
        },
        members,
        map: ShardMap::restore(owners, kinds, cells, uses, Epoch(saved.epoch))?,
        hash: saved.hash,
        applied: LogIndex(saved.applied),
        removed,
        pins,
        workers,
        ring: saved.ring.map_or(Some(RingMark::default()), |ring| RingMark::read(&ring))?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::state::tests::{command, record, state, transfer};
    use crate::wire::cluster::{DownRecord, Op};
    use crate::wire::gossip::KeyId;

    #[test]
    fn a_state_survives_its_bytes_and_equal_states_have_equal_bytes() {
        let mut state = state(1000);
        state.apply(LogIndex(2), command([Op::Up(record(1)), Op::Up(record(2)), Op::Up(record(3))]));
        let all: Vec<u32> = (0..1000).collect();
        state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &all))]));
        state.apply(LogIndex(4), command([Op::Moving(transfer(3, 2, &all[300..600]))]));
        state.apply(LogIndex(5), command([Op::Down(DownRecord { id: 3, boot: 103, stopped: false })]));
        state.apply(LogIndex(6), command([Op::Leave(BootName { id: 2, boot: 102 })]));
        let keys = state.ring.replaced(&[KeyId::new([7; 16])]);
        state.apply(LogIndex(7), command([Op::Ring(keys)]));
        let bytes = encode(&state);
        assert!(bytes.len() < 1500, "{} bytes", bytes.len());
        assert_eq!(decode(&bytes).unwrap(), state);
        assert_eq!(encode(&decode(&bytes).unwrap()), bytes);
    }

    #[test]
    fn numbers_of_one_byte_are_counted_as_all_others() {
        for (length, kinds) in [(0, 1), (3, 2), (1_003, 7), (1_004, 256)] {
            let cells: Vec<u32> = (0..length).map(|n: u32| n * n % u32::try_from(kinds).unwrap()).collect();
            let bytes: Vec<u8> = cells.iter().map(|&cell| u8::try_from(cell).unwrap()).collect();
            assert_eq!(count_bytes(&bytes, kinds), count(&cells, kinds));
        }
        assert_eq!((count_bytes(&[1, 2], 2), count(&[1, 2], 2)), (None, None), "there is no third one");
    }

    #[test]
    fn more_owners_than_there_are_slots_are_refused() {
        let saved = |owners: usize| SavedState {
            version: VERSION,
            cluster: 7,
            owners: (1..=owners as u64).map(|n| BootName { id: n, boot: n }).collect(),
            shards: 65_535,
            cells: (0..65_535u64).flat_map(|n| u16::try_from(n % owners as u64).unwrap().to_le_bytes()).collect(),
            kinds: (1..=owners as u64)
                .flat_map(|slot| {
                    let mut kind = Vec::new();
                    for value in [slot, 0, 1, 1] {
                        varint::put(&mut kind, value);
                    }
                    kind
                })
                .collect(),
            ..SavedState::default()
        };
        assert!(decode(&saved(65_535).encode_to_vec()).is_none());
        let mut full = decode(&saved(OWNERS_MAX).encode_to_vec()).unwrap();
        full.apply(LogIndex(2), command([Op::Up(record(1))]));
        assert_eq!(full.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &[0]))])).len(), 1);
    }

    #[test]
    fn cut_and_bent_bytes_are_refused_or_another_state_but_never_panic() {
        let mut state = state(64);
        state.apply(LogIndex(2), command([Op::Up(record(1))]));
        state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &[1, 2, 3]))]));
        let bytes = encode(&state);
        for at in 0..bytes.len() {
            let _ = decode(&bytes[..at]);
            let mut bent = bytes.to_vec();
            bent[at] ^= 0xff;
            let _ = decode(&bent);
        }
    }
}
