//! The first inputs of each corpus: what nodes really say to each other on the
//! virtual network, and captured messages of real gossip agents.

mod requests;

use std::collections::BTreeSet;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io;
use std::path::Path;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use funk_proto::wire::cluster::{Frame, FrameBody};
use funk_proto::wire::frame;
use funk_proto::wire::raft::RaftKind;
use funk_proto::{DatagramSocket, Output, Request, StreamKind};
use prost::Message;

use funk_sim::{Said, World};

use crate::world::TestWorld;

/// Seeds kept for each target: enough to show every kind of message.
const KEPT: usize = 36;

/// Writes the seeds of every target below `corpus`.
///
/// # Errors
/// When a file cannot be written.
pub fn write_seeds(corpus: &Path) -> io::Result<()> {
    let traffic = traffic();
    let mut seen = BTreeSet::new();
    for said in &traffic {
        match (&said.output, said.channel) {
            (Output::Message { bytes, .. }, Some(StreamKind::Cluster)) => cluster(corpus, bytes, &mut seen)?,
            (Output::Message { bytes, .. } | Output::Reply { bytes, .. }, Some(StreamKind::Gossip)) => {
                keep(corpus, "gossip_stream", bytes.len() as u64 / 64, &with_piece(bytes), &mut seen)?;
            }
            (Output::Datagram { socket: DatagramSocket::Liveness, bytes, .. }, _) => {
                let signed = &bytes[..bytes.len() - 8];
                keep(corpus, "liveness_datagram", u64::from(bytes[0]) << 8 | bytes.len() as u64, signed, &mut seen)?;
            }
            _ => {}
        }
    }
    commands(corpus, &traffic, &mut seen)?;
    captured(corpus, &mut seen)?;
    for (at, bytes) in requests::connections().into_iter().enumerate() {
        keep(corpus, "http2_connection", at as u64, &bytes, &mut seen)?;
    }
    for (at, bytes) in requests::calls().into_iter().enumerate() {
        keep(corpus, "management_calls", at as u64, &bytes, &mut seen)?;
    }
    for (name, bytes) in [("raft_guard", 64), ("node_inputs", 256), ("journal_files", 256)] {
        for seed in 0..12_u64 {
            keep(corpus, name, seed, &noise(seed, bytes), &mut seen)?;
        }
    }
    Ok(())
}

/// A story with joins, proposals, moves, an election and a leave.
fn traffic() -> Vec<Said> {
    let mut world = TestWorld::from(World::new(1).with_record());
    for _ in 0..3 {
        world.start(40);
    }
    world.run(Duration::from_secs(2));
    for host in 0..3 {
        world.propose(host, format!("proposed {host}"));
    }
    world.start(40);
    world.run(Duration::from_secs(1));
    world.kill(0);
    world.run(Duration::from_secs(1));
    world.request(1, Request::Leave);
    world.run(Duration::from_secs(1));
    world.take_record()
}

type Seen = BTreeSet<(&'static str, u64)>;

fn keep(corpus: &Path, target: &'static str, shape: u64, bytes: &[u8], seen: &mut Seen) -> io::Result<()> {
    let kept = seen.iter().filter(|(of, _)| *of == target).count();
    if kept >= KEPT || bytes.is_empty() || bytes.len() > 4096 || !seen.insert((target, shape)) {
        return Ok(());
    }
    let mut hasher = DefaultHasher::new();
    bytes.hash(&mut hasher);
    let folder = corpus.join(target);
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join(format!("{:016x}", hasher.finish())), bytes)
}

/// A byte in front says in which pieces the stream comes.
fn with_piece(bytes: &[u8]) -> Vec<u8> {
    [&[6], bytes].concat()
}

fn cluster(corpus: &Path, bytes: &Bytes, seen: &mut Seen) -> io::Result<()> {
    let Ok(body) = Frame::parse(bytes) else { return Ok(()) };
    let mut wire = BytesMut::new();
    frame::encode(bytes, &mut wire);
    // The tag of the field that is set is the kind of the message.
    let raft = if let FrameBody::Raft(message) = &body { message.kind } else { 0 };
    let shape = u64::from(bytes[0]) << 8 | u64::try_from(raft).unwrap_or(0);
    keep(corpus, "cluster_frame", shape, &with_piece(&wire), seen)?;
    if let FrameBody::Raft(message) = &body
        && message.kind() == RaftKind::Snapshot
        && let Some(chunk) = &message.snapshot
    {
        // A snapshot holds the cluster's state as its first field.
        #[derive(Clone, PartialEq, Message)]
        struct Body {
            #[prost(bytes = "bytes", tag = "1")]
            state: Bytes,
        }
        if let Ok(snapshot) = Body::decode(chunk.data.clone()) {
            keep(corpus, "snapshot", snapshot.state.len() as u64, &snapshot.state, seen)?;
        }
    }
    Ok(())
}

/// Runs of log entries, each entry behind its length.
fn commands(corpus: &Path, traffic: &[Said], seen: &mut Seen) -> io::Result<()> {
    let mut run = Vec::new();
    for said in traffic {
        let (Output::Message { bytes, .. }, Some(StreamKind::Cluster)) = (&said.output, said.channel) else { continue };
        let Ok(FrameBody::Raft(message)) = Frame::parse(bytes) else { continue };
        for entry in message.entries.iter().filter(|entry| entry.kind == 0 && !entry.data.is_empty()) {
            let Ok(length) = u16::try_from(entry.data.len()) else { continue };
            run.extend_from_slice(&length.to_le_bytes());
            run.extend_from_slice(&entry.data);
            if run.len() > 600 {
                keep(corpus, "shard_commands", run.len() as u64, &run, seen)?;
                run.clear();
            }
        }
    }
    keep(corpus, "shard_commands", 0, &run, seen)
}

/// Messages of real agents.
fn captured(corpus: &Path, seen: &mut Seen) -> io::Result<()> {
    let messages = |name: &str| -> io::Result<Vec<Vec<u8>>> {
        let file = crate::blackbox::workspace().join("funk-proto/tests/data").join(name);
        let file: serde_json::Value = serde_json::from_str(&std::fs::read_to_string(file)?)?;
        let messages = file["messages"].as_array().into_iter().flatten();
        Ok(messages.map(|message| unhex(message["hex"].as_str().unwrap_or_default())).collect())
    };
    for (at, bytes) in messages("gossip_packets.json")?.into_iter().enumerate() {
        keep(corpus, "gossip_packet", at as u64, &bytes, seen)?;
    }
    for (at, bytes) in messages("gossip_streams.json")?.into_iter().enumerate() {
        let target = if bytes.first() == Some(&9) { "gossip_compressed" } else { "gossip_stream" };
        let stored = if target == "gossip_stream" { with_piece(&bytes) } else { bytes };
        keep(corpus, target, 1 << 32 | at as u64, &stored, seen)?;
    }
    Ok(())
}

fn unhex(text: &str) -> Vec<u8> {
    let digit = |at: usize| u8::from_str_radix(text.get(at..at + 2)?, 16).ok();
    (0..text.len()).step_by(2).map_while(digit).collect()
}

fn noise(seed: u64, bytes: usize) -> Vec<u8> {
    let mut rng = funk_proto::rng::Rng::new(funk_proto::Seed::from_u64(seed), funk_proto::rng::Stream::Peers);
    (0..bytes / 8).flat_map(|_| rng.next_u64().to_le_bytes()).collect()
}
