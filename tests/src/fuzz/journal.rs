//! A data directory: files with records of a log, perhaps cut, bent or from
//! two nodes. It is refused, or a node starts from it and comes to rest.

use std::collections::BTreeMap;

use arbitrary::{Arbitrary, Result, Unstructured};
use bytes::Bytes;
use funk_proto::wire::journal::{self, FileKind};
use funk_proto::wire::raft::{RaftRecord, SnapshotMeta};
use funk_proto::{Input, Node, NodeConfig, Recovered, Seed, Timestamp, Token};
use prost::Message;

use super::draw::{self, Near};

const RECORDS_MAX: usize = 12;

pub(super) fn files(data: &[u8]) {
    let bytes = Bytes::copy_from_slice(data);
    let _ = journal::scan(&bytes, 1);
    let _ = journal::read_single(FileKind::Snapshot, 1, &bytes);
    // The end of the bytes is the end of the story.
    let _ = story(&mut Unstructured::new(data));
}

fn story(u: &mut Unstructured<'_>) -> Result<()> {
    let mut files = BTreeMap::new();
    let first = if u.ratio(3, 4)? { 1 } else { draw::number(u, 2)? };
    let fill = u32::try_from(u.int_in_range(0..=3)? * 64).expect("small");
    let mut log = journal::log_header(first, fill).to_vec();
    let (mut sequence, mut batch) = (first, first);
    let mut near = Near { term: 1, last: 1, commit: 1 };
    for count in 0..u.int_in_range(0..=RECORDS_MAX)? {
        let record = record(u, &mut near, count == 0)?.encode_to_vec();
        // No writer makes an empty record, and none counts beyond what a number holds.
        if !record.is_empty() && batch <= sequence {
            journal::put_record(&mut log, sequence, batch, &record);
        }
        sequence = sequence.wrapping_add(1);
        if u.ratio(1, 2)? {
            batch = sequence;
        }
    }
    for _ in 0..u.int_in_range(0..=2)? {
        let at = u.choose_index(log.len())?;
        log[at] ^= u8::arbitrary(u)?;
    }
    log.truncate(log.len() - u.int_in_range(0..=log.len().min(40))?);
    files.insert(journal::log_name(first), Bytes::from(log));
    if u.ratio(1, 4)? {
        let number = draw::number(u, first)?;
        let snapshot = record(u, &mut near, true)?.encode_to_vec();
        if !snapshot.is_empty() {
            let file = journal::single(FileKind::Snapshot, number, &snapshot);
            files.insert(journal::snapshot_name(number), Bytes::from(file));
        }
    }
    if let Ok(journal) = journal::open(&files) {
        start(journal.records);
    }
    Ok(())
}

fn record(u: &mut Unstructured<'_>, near: &mut Near, first: bool) -> Result<RaftRecord> {
    let message = draw::raft_message(u, *near, &Bytes::new())?;
    let snapshot = if first && u.ratio(7, 8)? || u.ratio(1, 8)? {
        let (index, term) = (draw::number(u, near.last)?, draw::number(u, near.term)?);
        let voters = if u.ratio(7, 8)? { vec![1, 2] } else { vec![3] };
        Some(SnapshotMeta { index, term, voters, ..SnapshotMeta::default() })
    } else {
        message.snapshot.and_then(|chunk| chunk.meta)
    };
    let state = if snapshot.is_some() { super::shards::saved(near.last) } else { Bytes::new() };
    if let Some(last) = message.entries.last() {
        (near.last, near.term) = (last.index, last.term);
    }
    let node = if u.ratio(7, 8)? { 1 } else { draw::number(u, 1)? };
    let (term, vote) = (message.term, draw::number(u, 1)?);
    Ok(RaftRecord {
        term,
        vote,
        commit: message.commit,
        entries: message.entries,
        snapshot,
        state,
        node,
        kept_lease_us: Some(0),
    })
}

fn start(records: Vec<Bytes>) {
    let address = |port: u16| std::net::SocketAddr::from(([10, 0, 0, 1], port));
    let (name, cluster) = ("n1".parse().expect("legal"), "fuzz".parse().expect("legal"));
    let mut config = NodeConfig::new(name, cluster, address(1), address(2), address(3));
    config.durable = true;
    let mut now = Timestamp::from_millis(1);
    let Ok(mut node) = Node::new(config, Recovered { records }, Seed::from_u64(3), now) else { return };
    let mut written = 0;
    for _ in 0..20 {
        while let Some(output) = node.poll_output() {
            if let funk_proto::Output::Persist(persist) = output {
                written = persist.token.0;
            }
        }
        if written > 0 {
            node.handle(now, Input::Persisted(Token(written)));
        }
        let Some(due) = node.poll_timeout() else { break };
        now = now.max(due);
        node.handle(now, Input::Timeout);
    }
    let _ = node.status();
}
