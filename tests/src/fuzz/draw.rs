//! Values drawn from the fuzzer's bytes: near to what the node holds, so that
//! they get past the first check, and now and then far from all reason.

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use funk_proto::wire::raft::{RaftEntry, RaftMessage, SnapshotChunk, SnapshotMeta};

/// Numbers that a message is drawn near to.
#[derive(Clone, Copy, Debug)]
pub(super) struct Near {
    pub(super) term: u64,
    pub(super) last: u64,
    pub(super) commit: u64,
}

pub(super) fn number(u: &mut Unstructured<'_>, near: u64) -> Result<u64> {
    Ok(match u.int_in_range(0..=15_u8)? {
        0 => u64::arbitrary(u)?,
        1 => u64::MAX,
        2 => 0,
        3 => 1,
        4 | 5 => near.saturating_add(1),
        6 => near.saturating_sub(1),
        7 => near.saturating_sub(u64::from(u8::arbitrary(u)?)),
        8 => near.saturating_add(u64::from(u8::arbitrary(u)?)),
        _ => near,
    })
}

fn ids(u: &mut Unstructured<'_>) -> Result<Vec<u64>> {
    let count = u.int_in_range(0..=4)?;
    (0..count).map(|_| u.int_in_range(0..=6)).collect()
}

fn entries(u: &mut Unstructured<'_>, near: Near, first: u64) -> Result<Vec<RaftEntry>> {
    let count = u.int_in_range(0..=4_u64)?;
    let entry = |u: &mut Unstructured<'_>, at: u64| {
        let kinds = if u.ratio(1, 16)? { 5 } else { 1 };
        Ok(RaftEntry {
            kind: u.int_in_range(0..=kinds)?,
            term: if u.ratio(3, 4)? { near.term } else { number(u, near.term)? },
            index: if u.ratio(7, 8)? { first.saturating_add(at) } else { number(u, first)? },
            data: small(u)?,
        })
    };
    (1..=count).map(|at| entry(u, at)).collect()
}

/// A few bytes.
pub(super) fn small(u: &mut Unstructured<'_>) -> Result<Bytes> {
    let length = u.int_in_range(0..=24_usize)?.min(u.len());
    Ok(Bytes::copy_from_slice(u.bytes(length)?))
}

fn chunk(u: &mut Unstructured<'_>, near: Near, state: &Bytes) -> Result<SnapshotChunk> {
    let meta = SnapshotMeta {
        index: number(u, near.last)?,
        term: number(u, near.term)?,
        voters: ids(u)?,
        learners: ids(u)?,
        voters_outgoing: if u.ratio(1, 4)? { ids(u)? } else { Vec::new() },
        learners_next: if u.ratio(1, 8)? { ids(u)? } else { Vec::new() },
        auto_leave: u.ratio(1, 8)?,
    };
    let offset = if u.ratio(3, 4)? { 0 } else { number(u, state.len() as u64)? };
    let data = if u.ratio(1, 2)? { state.clone() } else { small(u)? };
    Ok(SnapshotChunk { meta: u.ratio(15, 16)?.then_some(meta), offset, data, last: u.ratio(3, 4)? })
}

/// A message of any kind; snapshots carry `state`, or some bytes of their own.
pub(super) fn raft_message(u: &mut Unstructured<'_>, near: Near, state: &Bytes) -> Result<RaftMessage> {
    let kind = if u.ratio(1, 64)? { i32::arbitrary(u)? } else { u.int_in_range(0..=9)? };
    let index = number(u, near.last)?;
    let full = u.ratio(1, 32)?;
    let (append, snapshot) = (kind == 1 || full, matches!(kind, 7 | 8) || full);
    Ok(RaftMessage {
        kind,
        term: number(u, near.term)?,
        log_term: number(u, near.term)?,
        index,
        entries: if append { entries(u, near, index)? } else { Vec::new() },
        commit: number(u, near.commit)?,
        commit_term: number(u, near.term)?,
        reject: u.ratio(1, 4)?,
        reject_hint: number(u, near.last)?,
        transfer: u.ratio(1, 8)?,
        snapshot: if snapshot { Some(chunk(u, near, state)?) } else { None },
        promise_rem_nanos: if u.ratio(1, 2)? { Some(u64::arbitrary(u)?) } else { None },
    })
}
