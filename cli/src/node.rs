//! What programs that run a node do at its start and its end.

use std::io;
use std::time::{Duration, Instant};

use funk_io::{Cluster, Runtime};
use funk_proto::id::NodeName;
use funk_rpc::Server;
use futures_lite::future;

/// Time for leaving; with the servers' end it stays below three seconds.
const LEAVE_MAX: Duration = Duration::from_millis(2_500);
/// Time for the servers to end open requests after that.
const CLOSE_MAX: Duration = Duration::from_millis(400);

/// Why a node did not run, or did not end in order: the cluster or the machine said no. A line for stderr.
#[derive(Debug)]
pub struct Failure(pub String);

/// A name for a node that was given none.
///
/// # Errors
/// The operating system has no randomness.
pub fn random_name() -> io::Result<NodeName> {
    let mut bytes = [0; 8];
    getrandom::fill(&mut bytes).map_err(|error| io::Error::other(format!("no randomness: {error}")))?;
    Ok(format!("{:016x}", u64::from_le_bytes(bytes)).parse().expect("hex digits make a name"))
}

/// Leaves the cluster, as far as that can be done in time.
pub async fn leave<R: Runtime>(cluster: &Cluster) {
    let began = Instant::now();
    let left = future::or(async { cluster.leave().await.is_ok() }, async {
        R::sleep(LEAVE_MAX).await;
        false
    })
    .await;
    tracing::info!(left, after = ?began.elapsed(), "stopping");
}

/// Lets the servers end their open requests, for a moment.
pub async fn close<'a, R: Runtime>(servers: impl IntoIterator<Item = &'a Server>) {
    let closing = async {
        for server in servers {
            server.shutdown().await;
        }
    };
    future::or(closing, R::sleep(CLOSE_MAX)).await;
}
