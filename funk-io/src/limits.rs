//! The bounds of the driver, with unit and reason. Its queues have exactly these capacities.

use std::time::Duration;

use funk_proto::limits::{
    LOG_MIRROR_BYTES_MAX, RAFT_MEMBERS_MAX, SHARD_STATES_KEPT_BYTES_MAX, SNAPSHOT_AFTER_ENTRIES, SNAPSHOT_BYTES_MAX,
};

/// Gossip streams served at once (Serf tolerates 127 push/pulls).
pub const GOSSIP_STREAMS_MAX: usize = 128;
/// Handshakes of TLS at once with those who dial: a few for each member of a middling cluster that starts anew.
pub const HANDSHAKES_MAX: usize = 128;
/// Those of one address: some for each of a few nodes on one machine. Past it the oldest of them makes way.
pub const HANDSHAKES_OF_SOURCE_MAX: usize = 32;
/// Handshakes over QUIC with those who have not proven their address, all together; past it a dial costs one round trip
/// more. Without that, packets with forged addresses could fill the places.
pub const HANDSHAKES_UNPROVEN_MAX: usize = 16;
/// Dials by QUIC that the thread has not begun: two for each member of the largest cluster.
pub const DIALS_WAITING_MAX: usize = 2 * RAFT_MEMBERS_MAX;
/// Bytes on one of the streams of a QUIC connection that the other side has not read, or not confirmed: what a
/// gigabit carries in ten milliseconds.
pub const LANE_BYTES_MAX: usize = 1 << 20;
/// Time for the other side to confirm the last bytes of a QUIC connection.
pub const LINGER_MAX: Duration = Duration::from_secs(1);
/// Time for a handshake: two round trips at the longest distance that the timing `wan` allows, and the certificates.
pub const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(2);
/// Bytes that the other side of a handshake may send: some of the longest chains of certificates in use.
pub const HANDSHAKE_BYTES_MAX: usize = 64 << 10;
/// Bytes of a stream that are sealed before the socket takes them.
pub const SEALED_BYTES_MAX: usize = 64 << 10;
/// Addresses that are told apart in the log when they are refused; the others share one line a second.
pub const REFUSED_PEERS_MAX: usize = 64;
/// Time between two lines in the log about one address whose gossip is refused: a joiner calls every few seconds, for
/// as long as it is not let in.
pub const REFUSED_GOSSIP_PAUSE: Duration = Duration::from_secs(60);
/// Time for a message that was begun on a stream to end: a megabyte at a hundred kilobytes a second.
pub const MESSAGE_END_MAX: Duration = Duration::from_secs(10);
/// Bytes of cluster frames that are not here as a whole, all streams together: one frame of each of 32 members.
/// Past it the stream that holds the most is closed.
pub const CLUSTER_HELD_BYTES_MAX: usize = 32 << 20;
/// Bytes of gossip messages that are not here as a whole, likewise: three of the largest that Serf allows.
pub const GOSSIP_HELD_BYTES_MAX: usize = 60 << 20;
/// Commands of the application that wait for the driver's next pass.
pub const COMMANDS_QUEUED_MAX: usize = 1_024;
/// Requests that a service may have in hand at one time.
pub const SERVICE_REQUESTS_MAX: usize = 4_096;
/// Bytes of the requests that a service has in hand.
pub const SERVICE_REQUEST_BYTES_MAX: usize = 64 << 20;
/// What a node tells its service and the service has not taken: several logs
/// without a snapshot. Past it the service counts as stuck, and the node stops;
/// past a quarter of it no request comes in.
pub const SERVICE_TOLD_MAX: usize = 65_536;
/// Bytes of that: a snapshot, and the states of shards that came with it.
pub const SERVICE_TOLD_BYTES_MAX: usize = SNAPSHOT_BYTES_MAX + SHARD_STATES_KEPT_BYTES_MAX;
/// Findings of discovery that are remembered, so that each is told once.
pub const DISCOVERED_MAX: usize = 1_024;
/// Messages queued to one stream in the driver; past it the stream is closed and dialled anew.
pub const STREAM_QUEUE_MESSAGES_MAX: usize = 4_096;
/// Bytes queued to one stream in the driver.
pub const STREAM_QUEUE_BYTES_MAX: usize = 64 << 20;
/// Messages that one driver pass takes from one socket.
pub const PASS_MESSAGES_MAX: usize = 256;
/// Time after which a step of a driver pass takes in nothing more: messages differ in what they cost. Timers and
/// heartbeats wait meanwhile; a quarter of the default lease is three times as much.
pub const STEP_MAX: Duration = Duration::from_millis(10);
/// Events buffered for one subscriber; past it the subscriber sees `Lagged`.
pub const EVENTS_BUFFERED_MAX: usize = 1_024;
/// Time for the other side to confirm what a stream between nodes sent, or to take more of it, before the stream is
/// ended and another one dialled.
pub const STREAM_STALL_MAX: Duration = Duration::from_secs(5);
/// Time that a process which ends waits for requests inside before it goes without a goodbye.
pub const GOODBYE_WAIT_MAX: Duration = Duration::from_secs(1);
/// Time that a write may take; past it the disk counts as lost, and the node stops.
pub const STORE_STALL_MAX: Duration = Duration::from_secs(10);
/// Between two looks at whether a data directory that nothing is written to is still in its place.
pub const DATA_DIRECTORY_LOOK: Duration = Duration::from_secs(1);
/// Acquisitions of shards under way at one node, and as many releases: stores have about as many connections.
pub const SHARD_TASKS: usize = 64;
/// Time for the application to acquire a shard before the attempt is given up: a store that takes longer does not answer.
pub const ACQUIRE_TIMEOUT: Duration = Duration::from_secs(30);
/// Time in which a stopping node hands leadership over and says goodbye. It has the drain timeout before that, for the
/// requests in flight.
pub const LEAVE_MARGIN: Duration = Duration::from_secs(1);
/// Bytes of zeros written ahead in a log file: a few thousand small records without a new length.
pub const LOG_FILL_BYTES: usize = 512 << 10;
/// Bytes of records made stable by one sync: what a disk writes in some milliseconds.
pub const STORE_BATCH_BYTES_MAX: usize = 4 << 20;
/// Bytes that may wait for the disk: a whole log mirror and a snapshot. Past it the node stops.
pub const STORE_QUEUE_BYTES_MAX: usize = 2 * LOG_MIRROR_BYTES_MAX + SNAPSHOT_BYTES_MAX;

const _: () = assert!(SERVICE_TOLD_MAX as u64 >= 4 * SNAPSHOT_AFTER_ENTRIES);
