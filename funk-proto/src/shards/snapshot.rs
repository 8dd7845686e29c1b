//! The replicated state as bytes: a record of the cluster values and members,
//! and the shard map column by column.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use prost::Message;

use super::map::{Cell, Owner, ShardMap};
use super::members::{Member, Members};
use super::state::{ClusterValues, State};
use crate::id::{BootId, ClusterId, Epoch, LogIndex, RaftId};
use crate::limits::{DRIFT_PPM_MAX, RAFT_MEMBERS_MAX, REMOVED_BOOTS_MAX, SHARDS_MAX};
use crate::wire::cluster::{BootName, MemberRecord};
use crate::wire::varint;

#[derive(Clone, PartialEq, Message)]
struct SavedMember {
    #[prost(message, optional, tag = "1")]
    record: Option<MemberRecord>,
    #[prost(uint64, tag = "2")]
    up_index: u64,
    #[prost(uint64, tag = "3")]
    taken_index: u64,
    #[prost(bool, tag = "4")]
    draining: bool,
    #[prost(bool, tag = "5")]
    dead: bool,
    #[prost(bool, tag = "6")]
    idle: bool,
}

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
    /// For each run of equal cells: length, owner slot + 1, destination slot + 1, epoch, change.
    #[prost(bytes = "bytes", tag = "12")]
    cells: Bytes,
    /// Boots of removed members, oldest first.
    #[prost(fixed64, repeated, tag = "13")]
    removed: Vec<u64>,
}

const VERSION: u32 = 1;
/// Owners that a snapshot may name: far more than ever hold a shard at once, and
/// few enough that new ones still get a slot of 16 bits.
const OWNERS_MAX: usize = 1 << 15;
/// A member that is dead has no boot to write; its record still needs one.
const NO_BOOT: BootId = BootId::new(1).expect("one is not zero");

pub(super) fn encode(state: &State) -> Bytes {
    let members = state.members.iter().map(|member| SavedMember {
        record: Some(member.record(Some(member.boot.unwrap_or(NO_BOOT)))),
        up_index: member.up_index.0,
        taken_index: member.taken_index.0,
        draining: member.draining,
        dead: member.boot.is_none(),
        idle: member.idle,
    });
    let saved = SavedState {
        version: VERSION,
        cluster: state.cluster.id.get(),
        name: state.cluster.name.clone(),
        created_ns: state.cluster.created_ns,
        lease_ns: u64::try_from(state.cluster.lease.as_nanos()).unwrap_or(u64::MAX),
        drift_ppm: state.cluster.drift_ppm,
        applied: state.applied.0,
        members: members.collect(),
        owners: state.map.owners.iter().map(|owner| BootName { id: owner.id.get(), boot: owner.boot.get() }).collect(),
        shards: state.map.shards(),
        epoch: state.map.epoch.0,
        cells: encode_cells(&state.map.cells),
        removed: state.removed.iter().map(|boot| boot.get()).collect(),
    };
    Bytes::from(saved.encode_to_vec())
}

fn encode_cells(cells: &[Cell]) -> Bytes {
    let mut out = BytesMut::new();
    for run in cells.chunk_by(|a, b| a == b) {
        let cell = run[0];
        varint::put(&mut out, run.len() as u64);
        varint::put(&mut out, u64::from(cell.owner.wrapping_add(1)));
        varint::put(&mut out, u64::from(cell.moving_to.wrapping_add(1)));
        varint::put(&mut out, cell.epoch);
        varint::put(&mut out, cell.change);
    }
    out.freeze()
}

fn decode_cells(mut bytes: &[u8], shards: u32) -> Option<Vec<Cell>> {
    let mut cells = Vec::new();
    let slot = |value: u64| Some(u16::try_from(value).ok()?.wrapping_sub(1));
    while !bytes.is_empty() {
        let run = varint::take(&mut bytes)?;
        let cell = Cell {
            owner: slot(varint::take(&mut bytes)?)?,
            moving_to: slot(varint::take(&mut bytes)?)?,
            epoch: varint::take(&mut bytes)?,
            change: varint::take(&mut bytes)?,
        };
        let room = u64::from(shards).checked_sub(cells.len() as u64)?;
        if run == 0 || run > room {
            return None;
        }
        cells.resize(cells.len() + usize::try_from(run).ok()?, cell);
    }
    (cells.len() == shards as usize).then_some(cells)
}

pub(super) fn decode(bytes: &[u8]) -> Option<State> {
    let saved = SavedState::decode(bytes).ok()?;
    if saved.version != VERSION || saved.shards > SHARDS_MAX || saved.members.len() > RAFT_MEMBERS_MAX {
        return None;
    }
    let mut members = Members::default();
    for saved in saved.members {
        let mut member = Member::parse(&saved.record?)?;
        member.up_index = LogIndex(saved.up_index);
        member.taken_index = LogIndex(saved.taken_index);
        member.draining = saved.draining;
        member.idle = saved.idle;
        if saved.dead {
            member.boot = None;
        }
        members.restore(member);
    }
    if saved.owners.len() > OWNERS_MAX {
        return None;
    }
    if saved.removed.len() > REMOVED_BOOTS_MAX {
        return None;
    }
    let removed = saved.removed.into_iter().map(BootId::new).collect::<Option<_>>()?;
    let owner = |name: BootName| Some(Owner { id: RaftId::new(name.id)?, boot: BootId::new(name.boot)? });
    let owners: Vec<Owner> = saved.owners.into_iter().map(owner).collect::<Option<_>>()?;
    let cells = decode_cells(&saved.cells, saved.shards)?;
    Some(State {
        cluster: ClusterValues {
            id: ClusterId::new(saved.cluster)?,
            name: saved.name,
            created_ns: saved.created_ns,
            lease: Duration::from_nanos(saved.lease_ns),
            drift_ppm: saved.drift_ppm.min(DRIFT_PPM_MAX),
        },
        members,
        map: ShardMap::restore(owners, cells, Epoch(saved.epoch))?,
        applied: LogIndex(saved.applied),
        removed,
    })
}

#[cfg(test)]
mod tests {
    use super::super::state::tests::{command, record, state, transfer};
    use super::*;
    use crate::wire::cluster::Op;

    #[test]
    fn a_state_survives_its_bytes_and_equal_states_have_equal_bytes() {
        let mut state = state(1000);
        state.apply(LogIndex(2), command([Op::Up(record(1)), Op::Up(record(2)), Op::Up(record(3))]));
        let all: Vec<u32> = (0..1000).collect();
        state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &all))]));
        state.apply(LogIndex(4), command([Op::Moving(transfer(3, 2, &all[300..600]))]));
        state.apply(LogIndex(5), command([Op::Dead(BootName { id: 3, boot: 103 })]));
        state.apply(LogIndex(6), command([Op::Drain(BootName { id: 2, boot: 102 })]));
        let bytes = state.encode();
        assert!(bytes.len() < 600, "{} bytes", bytes.len());
        assert_eq!(State::decode(&bytes).unwrap(), state);
        assert_eq!(State::decode(&bytes).unwrap().encode(), bytes);
    }

    #[test]
    fn more_owners_than_there_are_slots_are_refused() {
        let saved = |owners: usize| SavedState {
            version: VERSION,
            cluster: 7,
            owners: (1..=owners as u64).map(|n| BootName { id: n, boot: n }).collect(),
            shards: 65_535,
            cells: (0..65_535u64)
                .flat_map(|n| {
                    let mut cell = Vec::new();
                    for value in [1, n % owners as u64 + 1, 0, 1, 1] {
                        varint::put(&mut cell, value);
                    }
                    cell
                })
                .collect(),
            ..SavedState::default()
        };
        assert!(State::decode(&saved(65_535).encode_to_vec()).is_none());
        let mut full = State::decode(&saved(OWNERS_MAX).encode_to_vec()).unwrap();
        full.apply(LogIndex(2), command([Op::Up(record(1))]));
        assert_eq!(full.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &[0]))])).len(), 1);
    }

    #[test]
    fn cut_and_bent_bytes_are_refused_or_another_state_but_never_panic() {
        let mut state = state(64);
        state.apply(LogIndex(2), command([Op::Up(record(1))]));
        state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &[1, 2, 3]))]));
        let bytes = state.encode();
        for at in 0..bytes.len() {
            let _ = State::decode(&bytes[..at]);
            let mut bent = bytes.to_vec();
            bent[at] ^= 0xff;
            let _ = State::decode(&bent);
        }
    }
}
