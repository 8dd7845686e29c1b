//! Every bound of the protocol, with its unit and reason. What bounds the driver or the
//! services around it stands in the `limits` of those crates.

use std::time::Duration;

/// Bytes of a node or cluster name: `<cluster>_<kind>_<node id>` must fit one
/// 63-byte DNS label.
pub const NAME_BYTES_MAX: usize = 28;
/// Bytes of one cluster frame's payload on `ep.raft`.
pub const FRAME_BYTES_MAX: usize = 1 << 20;
/// Bytes of one proposal: four of them, and their headers, fit a frame.
pub const PROPOSAL_BYTES_MAX: usize = 256 << 10;
/// Bytes of one chunk of a snapshot in transit: other frames get their turn between two.
pub const SNAPSHOT_CHUNK_BYTES: usize = 256 << 10;
/// Bytes of a snapshot that a node accepts from a leader.
pub const SNAPSHOT_BYTES_MAX: usize = 256 << 20;
/// Bytes of one append message: below a frame with room for headers.
pub const APPEND_BYTES_MAX: u64 = 512 << 10;
/// Append messages in flight to one follower.
pub const APPENDS_INFLIGHT_MAX: usize = 64;
/// Bytes of the in-memory log mirror.
pub const LOG_MIRROR_BYTES_MAX: usize = 64 << 20;
/// Bytes of log after which a snapshot is taken: half of the mirror.
pub const SNAPSHOT_AFTER_BYTES: usize = LOG_MIRROR_BYTES_MAX / 2;
/// Entries of log after which a snapshot is taken.
pub const SNAPSHOT_AFTER_ENTRIES: u64 = 8_192;
/// Entries kept behind a snapshot, so that a slow follower still catches up from the log.
pub const ENTRIES_KEPT_BEHIND_SNAPSHOT: u64 = 1_024;
/// Default time for which a planned move waits for requests in flight: most handlers end within it.
pub const DRAIN_TIMEOUT: Duration = Duration::from_secs(2);
/// Longest such time: callers of a shard that moves wait as long.
pub const DRAIN_TIMEOUT_MAX: Duration = Duration::from_secs(60);
/// Bytes of one liveness datagram: below every path's MTU.
pub const LIVENESS_DATAGRAM_BYTES_MAX: usize = 512;
/// Bytes of one gossip stream message (Serf's own push/pull limit).
pub const GOSSIP_STREAM_BYTES_MAX: usize = 20 << 20;
/// Gossip members held.
pub const GOSSIP_MEMBERS_MAX: usize = 16_384;
/// Of these, members that are dead or left: more than a cluster of the largest size loses in a day, and no more than
/// some megabytes. A newcomer takes the place of the one gone longest.
pub const GOSSIP_GONE_MAX: usize = 4_096;
/// Node records announced by one push/pull (Serf's own limit); those beyond the members held are dropped.
pub const GOSSIP_RECORDS_MAX: u64 = 1 << 20;
/// Bytes of a gossip stream message after decompression (Serf's own limit).
pub const GOSSIP_DECOMPRESSED_BYTES_MAX: usize = 40 << 20;
/// Units of work on push/pulls between two looks at the timers. Measured in a debug build, a slice takes 4 to 10 ms,
/// below a tenth of a lease of 150 ms, and in an optimized one less than 1 ms. A push/pull of a hundred members is
/// done in one.
pub const GOSSIP_SLICE_UNITS: u32 = 2_048;
/// Time from one such slice to the next: others that wait for the driver get as much of it.
pub const GOSSIP_SLICE_PAUSE: Duration = Duration::from_millis(5);
/// Push/pulls that wait to be merged; more are turned away. A cluster's own come seldom, and each takes milliseconds.
pub const GOSSIP_MERGES_MAX: usize = 32;
/// Bytes of those push/pulls.
pub const GOSSIP_MERGE_BYTES_MAX: usize = 2 * GOSSIP_STREAM_BYTES_MAX;
/// Compressed messages inside each other: Serf makes one, more only cost time.
pub const GOSSIP_NESTING_MAX: usize = 3;
/// Bytes of a gossip member's name: DNS-like, and foreign agents may use longer ones than ours.
pub const GOSSIP_NAME_BYTES_MAX: usize = 255;
/// Nodes whose names others have in gossip that a joiner keeps as ways in, and that one message tells of.
pub const NAMESAKES_MAX: usize = 8;
/// Bytes to which a gossip datagram is filled (memberlist's own): below every
/// path's MTU. A single message may be longer.
pub const GOSSIP_DATAGRAM_BYTES: usize = 1_400;
/// Bytes that the compressed parts of one gossip datagram decompress to, together.
pub const GOSSIP_DATAGRAM_DECOMPRESSED_BYTES_MAX: usize = 64 << 10;
/// Messages of one gossip datagram that are looked at, compounds and
/// compressed ones counted: four full compounds; no agent sends more than one.
pub const GOSSIP_DATAGRAM_MESSAGES_MAX: usize = 1_024;
/// Parts of a compound that is sent: agents before memberlist 0.2.4 lose those of 128 and more.
pub const GOSSIP_COMPOUND_PARTS_MAX: usize = 127;
/// Filters of one query: an agent has a flag for each of two kinds, and nobody needs many.
pub const GOSSIP_QUERY_FILTERS_MAX: usize = 16;
/// Bytes of a node's encoded Serf tags.
pub const TAG_BYTES_MAX: usize = 512;
/// Members of the replicated table.
pub const RAFT_MEMBERS_MAX: usize = 256;
/// Shards of one cluster.
pub const SHARDS_MAX: u32 = 1 << 20;
/// Shards named by one log operation: it stays below a proposal at two bytes a shard.
pub const SHARDS_PER_OPERATION_MAX: usize = 65_536;
/// Bytes of one shard's state that goes along when the shard moves.
pub const SHARD_STATE_BYTES_MAX: usize = 16 << 20;
/// Bytes of such a state in one message.
pub const SHARD_STATE_CHUNK_BYTES: usize = 64 << 10;
/// Shards whose states one node has asked its application for and not yet handed over.
pub const SHARD_STATES_AT_ONCE: usize = 8;
/// Bytes of states that came for shards which are not this node's yet.
pub const SHARD_STATES_KEPT_BYTES_MAX: usize = 256 << 20;
/// Weight of one member in the assignment.
pub const WEIGHT_MAX: u32 = 1_000_000;
/// Boots of former processes that a data directory remembers, the newest of them. One would do, but for
/// processes that end before anybody takes them in.
pub const FORMER_BOOTS_MAX: usize = 8;
/// Worker ids: what the usual ten bits hold. Four times as many as members, since those of dead boots are not free at once.
pub const WORKER_IDS_MAX: u16 = 1_024;
/// Time after the end of a boot's last lease in which its worker id is not
/// given to another: wall clocks that differ by less make no id twice.
pub const WORKER_ID_GUARD: Duration = Duration::from_secs(1);
/// Ranges of shards that are pinned to nodes.
pub const PINS_MAX: usize = 1_024;
/// Service endpoints that one node publishes.
pub const ENDPOINTS_MAX: usize = 32;
/// Bytes of an endpoint's or tag's name.
pub const ENDPOINT_NAME_BYTES_MAX: usize = 64;
/// Proposals of this node that wait for their commit.
pub const PROPOSALS_INFLIGHT_MAX: usize = 1_024;
/// Operations on members that one leader has under way.
pub const OPERATIONS_MAX: usize = 16;
/// Time that an operation on members may take: shards move within seconds, and a voter goes within one.
pub const OPERATION_TIMEOUT: Duration = Duration::from_secs(30);
/// Boots of removed members that are kept out; the oldest is forgotten first.
pub const REMOVED_BOOTS_MAX: usize = 256;
/// Join addresses of one node.
pub const JOIN_ADDRESSES_MAX: usize = 64;
/// Other clusters of this one's name that a node tells of: one is a mishap, more are noise.
pub const TWIN_CLUSTERS_MAX: usize = 16;
/// Streams accepted on `ep.raft` at once: every member of the table, twice over for reconnects.
pub const CLUSTER_STREAMS_MAX: usize = 2 * RAFT_MEMBERS_MAX;
/// How far the counter of a peer's datagram may be ahead of the last that was heard. At a thousand a second it takes 49
/// days of silence to fall behind so far.
pub const COUNTER_WINDOW: u64 = 1 << 32;
/// Entries of the log of which the hash is kept: an ack speaks of one that was applied a few heartbeats ago.
pub const HASHES_KEPT: usize = 4_096;
/// Nodes whose addresses are kept, members or not: all that a member table holds, and three times as many that gossip
/// shows.
pub const PEERS_KNOWN_MAX: usize = 4 * RAFT_MEMBERS_MAX;
/// Streams kept whose other sides claim to be one and the same peer, and as many that have proven it: the latest count.
pub const CLAIMS_MAX: usize = 8;
/// Keys for datagrams that are good though the stream ended on which they were handed out: one of each direction.
pub const ENDED_KEYS_MAX: usize = 2;
/// Tokens kept of those who claim to be one peer, and shown to it: the latest count.
pub const TOKENS_SHOWN: usize = 4;
/// Frames kept for one peer until a stream to it stands.
pub const FRAMES_WAITING_MAX: usize = 64;
/// Bytes of the same: two of the largest messages.
pub const FRAMES_WAITING_BYTES_MAX: usize = 2 * FRAME_BYTES_MAX;
/// Bound on the drift bound itself, parts per million: a fifth is what no clock reaches.
pub const DRIFT_PPM_MAX: u32 = 200_000;
/// Longest lease, and longest of the silences that are measured against it.
pub const LEASE_MAX: Duration = Duration::from_secs(60);
/// Time to wait for a dialled connection.
pub const DIAL_TIMEOUT: Duration = Duration::from_millis(1_000);
/// Keys of a gossip keyring: a rotation needs two, and each is tried on what none opens.
pub const GOSSIP_KEYS_MAX: usize = 16;
/// Time for which members are asked about their keys: longer than any that is up needs, and than an operator waits.
pub const KEY_ANSWERS_WAIT_MAX: Duration = Duration::from_secs(60);
/// Questions about keys that one node has open: each step of a rotation is one.
pub const GOSSIP_KEY_ASKS_MAX: usize = 4;
/// Members that are asked at once: their answers come within a few milliseconds, and each costs a decryption.
pub const GOSSIP_ASKED_AT_ONCE_MAX: usize = 128;
/// Changes of the ring that are being kept and wait to be answered: operators make one at a time, and wait for it.
pub const GOSSIP_RINGS_KEPT_MAX: usize = 16;
/// Time for a whole gossip stream exchange (Serf's TCPTimeout).
pub const GOSSIP_STREAM_TIMEOUT: Duration = Duration::from_secs(10);
/// Time that a bootstrap looks round for a cluster of its name.
pub const BOOTSTRAP_PROBE: Duration = Duration::from_millis(300);
/// The same, while a source has not answered yet: twice the way there and back between the two ends of the world.
pub const BOOTSTRAP_PROBE_MAX: Duration = Duration::from_millis(1_000);
/// Time that a survivor looks for a majority before it goes on without: twice the longest pause between two
/// dials, and one dial's time.
pub const RECOVERY_PROBE: Duration = Duration::from_secs(3);
/// Log indexes between the beginnings of two generations: epochs are log indexes, and those of a later generation
/// are above all that an earlier one can reach.
pub const GENERATION_INDEXES: u64 = 1 << 40;
/// Former generations whose nodes are told so; older ones are strangers.
pub const FORMER_CLUSTERS_MAX: usize = 16;
/// Former generations that a node shows in gossip, whose tags have few bytes: the latest ones.
pub const FORMER_CLUSTERS_SHOWN: usize = 3;
/// Time that a leader's write may take before it hands leadership over.
pub const LEADER_STALL_MAX: Duration = Duration::from_secs(1);

/// Messages that wait in one queue of gossip (Serf's own limit).
pub const GOSSIP_QUEUE_MAX: usize = 4_096;
/// Intents kept for members that are not known yet; each is a name and a number.
pub const GOSSIP_INTENTS_MAX: usize = 4_096;
/// Probes carried out for others at once: each sends one datagram and waits half a second.
pub const GOSSIP_RELAYS_MAX: usize = 256;
/// Lamport times for which user events and queries are remembered (Serf's own limit).
pub const GOSSIP_RECENT_TIMES: usize = 512;
/// User events, or queries, remembered of one Lamport time.
pub const GOSSIP_RECENT_PER_TIME: usize = 64;
/// Bytes of a user event's name and payload that is passed on (Serf's hard limit).
pub const GOSSIP_EVENT_BYTES_MAX: usize = 9 << 10;
/// Bytes of an answer that is sent through others as well (Serf's own limit).
pub const GOSSIP_RELAYED_BYTES_MAX: usize = 1_024;
/// Bytes of user events that a push/pull repeats, the latest of them: 512 of the size that agents allow.
pub const GOSSIP_EVENTS_TOLD_BYTES_MAX: usize = 256 << 10;
/// Bytes of all user events that are remembered.
pub const GOSSIP_RECENT_BYTES_MAX: usize = 4 << 20;

/// Bytes of a log file after which another is begun.
pub const LOG_FILE_BYTES_MAX: usize = 16 << 20;

const _: () = assert!(PROPOSAL_BYTES_MAX * 2 < FRAME_BYTES_MAX);
const _: () = assert!(SNAPSHOT_CHUNK_BYTES * 2 < FRAME_BYTES_MAX);
const _: () = assert!(SHARD_STATE_CHUNK_BYTES * 2 < FRAME_BYTES_MAX);
const _: () = assert!(APPEND_BYTES_MAX + (PROPOSAL_BYTES_MAX as u64) < FRAME_BYTES_MAX as u64);
const _: () = assert!(SHARDS_PER_OPERATION_MAX * 3 < PROPOSAL_BYTES_MAX);
const _: () = assert!(ENTRIES_KEPT_BEHIND_SNAPSHOT < SNAPSHOT_AFTER_ENTRIES);
