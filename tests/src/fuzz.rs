//! What is fuzzed: one function for each decoder, and one that drives a live
//! node. Each takes bytes from anywhere and panics if a promise is broken:
//! bytes from outside never panic, what decodes goes back to bytes that decode
//! to the same, and a node always comes to rest.
//!
//! `fuzz/` runs these functions under libFuzzer; `tests/tests/fuzz`
//! replays what it found worth keeping, with every `cargo test`.

mod cluster;
mod draw;
mod gossip;
mod http2;
mod journal;
mod live;
mod liveness;
mod management;
mod mdns;
mod node;
mod raft;
mod seeds;
mod shards;

pub(crate) use liveness::{KEY, authentic};
pub use seeds::write_seeds;

/// One fuzzed function.
#[derive(Clone, Copy, Debug)]
pub struct Target {
    /// Its name, and that of its corpus.
    pub name: &'static str,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// Bytes that may be allocated for each byte of input.
    pub growth: usize,
    /// Bytes that may be allocated for any input, however short.
    pub base: usize,
}

const KIB: usize = 1 << 10;
const MIB: usize = 1 << 20;

/// All fuzzed functions. A message of two bytes may stand for a struct of some
/// hundred, in a list that doubles as it grows: hence the growth.
pub const TARGETS: &[Target] = &[
    Target { name: "gossip_stream", run: gossip::stream, growth: 200, base: 256 * KIB },
    // Decompressed, a datagram may be larger, up to a limit of its own.
    Target { name: "gossip_packet", run: gossip::packet, growth: 400, base: 4 * MIB },
    // Decompression is bounded by a limit of its own, not by its input.
    Target { name: "gossip_compressed", run: gossip::compressed, growth: 200, base: 200 * MIB },
    Target { name: "liveness_datagram", run: liveness::datagram, growth: 8, base: 4 * KIB },
    Target { name: "cluster_frame", run: cluster::frame, growth: 600, base: 16 * KIB },
    Target { name: "raft_guard", run: raft::guard, growth: 800, base: MIB },
    Target { name: "shard_commands", run: shards::commands, growth: 1_200, base: 256 * KIB },
    // A few bytes stand for a run of shards, up to the most that a cluster may have.
    Target { name: "snapshot", run: shards::snapshot, growth: 1_200, base: 256 * MIB },
    Target { name: "journal_files", run: journal::files, growth: 2_000, base: 2 * MIB },
    // Names are expanded from pointers to them, in a packet of 9 KB at most.
    Target { name: "mdns_message", run: mdns::message, growth: 1_000, base: MIB },
    // A server's connection, with hyper's and h2's buffers; streams, headers and their tables are bounded.
    Target { name: "http2_connection", run: http2::connection, growth: 8_000, base: 8 * MIB },
    // A live node beside it, whose own work counts too.
    Target { name: "management_calls", run: management::calls, growth: 400, base: 32 * MIB },
    Target { name: "node_inputs", run: node::inputs, growth: 4_000, base: 4 * MIB },
];

/// The function of that name.
pub fn target(name: &str) -> Option<&'static Target> {
    TARGETS.iter().find(|target| target.name == name)
}
