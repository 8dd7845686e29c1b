//! The bounds of this crate, with unit and reason.

use std::time::Duration;

use funk_proto::limits::{OPERATION_TIMEOUT, RAFT_MEMBERS_MAX};

/// Addresses that one pool holds connections to; the one unused for longest makes way.
pub const POOL_CONNECTIONS_MAX: usize = 2 * RAFT_MEMBERS_MAX;
/// Requests under way on one connection to a node; for more of them another connection is opened.
pub const CONNECTION_STREAMS_MAX: usize = 64;
/// Connections that one pool has to one node at once: 8,192 requests under way.
pub const NODE_CONNECTIONS_MAX: usize = 128;
/// Bytes that may be on their way, unread, on one stream: HTTP/2's own default.
pub const STREAM_WINDOW_BYTES: u32 = 64 << 10;
/// Bytes that may be on their way, unread, on one connection: all its streams may stand still, and none of them
/// keeps bytes from another.
pub const CONNECTION_WINDOW_BYTES: u32 = 4 << 20;
/// Requests of one connection that may end before their answers. Past that it takes no new ones: servers count
/// them and end a connection with too many, and the requests of others with it.
pub const CONNECTION_CANCELS_MAX: usize = 256;
/// Bytes of a request's headers that the routing layer takes from a client.
pub const CLIENT_HEADER_BYTES_MAX: usize = 16 << 10;
/// Bytes of a request's headers that a listener takes: a client's, and what a node adds that passes it on.
pub const REQUEST_HEADER_BYTES_MAX: u32 = 20 << 10;
/// Time for the first message of a gRPC request to come, counted from when it is waited for.
pub const FIRST_MESSAGE_MAX: Duration = Duration::from_secs(10);
/// Requests of one listener whose first message is waited for.
pub const UNREADY_REQUESTS_MAX: usize = 1_024;
/// Bytes that are read of one connection before the requests in them may begin: a few hundred of the smallest.
pub const READ_RUN_BYTES: usize = 16 << 10;
/// Requests of one listener that were read and have not begun, at some 2 KiB each: past that no connection that has some is
/// read until they have.
pub const BACKLOG_REQUESTS_MAX: usize = 1_024;
/// The same, past which no connection is read.
pub const BACKLOG_REQUESTS_STOP: usize = 8_192;
/// Bytes of first messages that are not here as a whole, all requests of one listener together.
pub const UNREADY_BYTES_MAX: usize = 64 << 20;
/// Time for a client to take more of what is written to it.
pub const WRITE_STALL_MAX: Duration = Duration::from_secs(30);
/// Time for a TLS handshake on a listener, from the connection on: far more than the two ways through the slowest network.
pub const HANDSHAKE_MAX: Duration = Duration::from_secs(2);
/// Handshakes under way on one listener, at some 20 KiB each; past them the oldest of the largest source ends.
pub const HANDSHAKES_MAX: usize = 1_024;
/// The same of one source.
pub const HANDSHAKES_OF_SOURCE_MAX: usize = 256;
/// Handshakes that one source may begin a second on one listener, at some 0.3 ms each: an eighth of a core.
pub const HANDSHAKES_PER_SECOND: f64 = 400.0;
/// Handshakes that a source may begin at once after a pause: all clients of a large host after a failover.
pub const HANDSHAKES_BURST: f64 = 1_024.0;
/// Sources whose handshakes are counted, at some 100 bytes each.
pub const HANDSHAKE_SOURCES_MAX: usize = 8_192;
/// Time for what is under way on a connection whose certificate is not believed any more.
pub const UNBELIEVED_MAX: Duration = Duration::from_millis(500);
/// Bytes of the file with the page's token.
pub const TOKEN_BYTES_MAX: u64 = 4_096;
/// File descriptors that HTTP's listeners leave for the cluster's own streams and files, a quarter of all at most.
pub const DESCRIPTORS_RESERVED: u64 = 64;
/// Connections that each listener may have out of that reserve, so that the page and the metrics stay reachable when the
/// clients of another listener hold all other descriptors.
pub const LISTENER_CONNECTIONS_KEPT: usize = 4;
/// Bytes of the headers or trailers of an answer that are taken from a node: whatever a handler may send to a client.
pub const ANSWER_HEADER_BYTES_MAX: u32 = 1 << 20;
/// Requests waiting at the ingress for a moving shard.
pub const QUEUED_REQUESTS_MAX: usize = 4_096;
/// Bytes of requests waiting at the ingress.
pub const QUEUED_BYTES_MAX: usize = 64 << 20;
/// Extra capacity, as a fraction (1/N) of the two above, for requests that a peer passed on before this node applied
/// the map that makes it the owner.
pub const QUEUED_HOPS_SHARE: usize = 4;
/// Time that an answer waits for the node's lease, if that has lapsed: an election or two.
pub const LEASE_BACK_MAX: Duration = Duration::from_secs(1);
/// Time that a request waits at the ingress for its shard to have an owner, beyond the drain timeout: the previous owner
/// may take all of that.
pub const QUEUE_MARGIN: Duration = Duration::from_secs(1);
/// Times that the routing layer sends a request again which surely did not run.
pub const ROUTE_RETRIES_MAX: u32 = 3;
/// Times that a client outside of the cluster sends one request, all nodes together.
pub const CLIENT_TRIES_MAX: u32 = 16;
/// Retries that a client outside of the cluster may make at one moment, all its requests together.
pub const CLIENT_RETRY_BUDGET: u32 = 512;
/// Retries that such a client may make a second when nothing is answered.
pub const CLIENT_RETRIES_PER_SECOND: u32 = 64;
/// Bytes of a request's first message, which the routing layer reads for the
/// key: the usual limit of gRPC servers.
pub const ROUTED_MESSAGE_BYTES_MAX: usize = 4 << 20;
/// Bytes behind a request's first message that are kept, so that the request can
/// be sent to another node when the first one did not run it.
pub const REPLAY_BYTES_MAX: usize = 256 << 10;
/// Connections served at once on one HTTP listener; more are closed at once. Every watcher may come on one of its own.
pub const HTTP_CONNECTIONS_MAX: usize = CLUSTER_WATCHERS_MAX + 1_024;
/// Streams of one HTTP/2 connection served at once.
pub const HTTP_STREAMS_MAX: u32 = 4_096;
/// Series of the request counter: names from outside cannot grow the table past it.
pub const METRIC_SERIES_MAX: usize = 4_096;
/// Programs that follow one node's snapshot of the cluster at once, at some 36 KiB each with their connections;
/// more are refused.
pub const CLUSTER_WATCHERS_MAX: usize = 4_096;
/// Shard ranges in one message to a watcher, at some 60 bytes each: far below
/// the 4 MiB that gRPC clients take.
pub const CLUSTER_MESSAGE_RANGES_MAX: usize = 16_384;
/// Members in one message to a watcher, at up to 3 KiB of endpoints each.
pub const CLUSTER_MESSAGE_MEMBERS_MAX: usize = 256;
/// Time that a watcher may leave a message unread before it is cut.
pub const WATCH_SEND_MAX: Duration = Duration::from_secs(30);
/// Time that a watcher waits for a node that is behind the epoch it asks for.
pub const WATCH_BEHIND_MAX: Duration = Duration::from_secs(5);
/// Time for a call that another node has to carry out, where the caller gives none.
pub const FORWARD_WAIT_MAX: Duration = Duration::from_secs(10);
/// Time that a caller may give such a call: twice what an operation on members takes, so that the leader's own
/// word comes first.
pub const CALLER_WAIT_MAX: Duration = Duration::from_secs(60);
/// Clients of a status page's event stream at once; more are refused.
pub const EVENT_CLIENTS_MAX: usize = 64;
/// Events that a status page keeps for clients that come back; a client further behind is told that it missed some.
pub const EVENTS_KEPT_MAX: usize = 512;
/// Leader changes kept beyond those.
pub const LEADERS_KEPT_MAX: usize = 64;

const _: () = assert!(CALLER_WAIT_MAX.as_secs() >= 2 * OPERATION_TIMEOUT.as_secs());
const _: () = assert!(CONNECTION_WINDOW_BYTES as usize == CONNECTION_STREAMS_MAX * STREAM_WINDOW_BYTES as usize);
/// Time before the end of a call about gossip keys at which members are waited for no longer: the answer that names those
/// who are missing must still arrive.
pub const KEYS_ANSWER_SLACK: Duration = Duration::from_millis(500);
