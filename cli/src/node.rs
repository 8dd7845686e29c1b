//! What programs that run a node do at its start and its end.

use std::time::{Duration, Instant};

use funk_io::{Cluster, Runtime};
use funk_rpc::Server;
use futures_lite::future;

/// Time for leaving, beside the drain timeout; with the servers' end it stays below a second.
const LEAVE_MARGIN: Duration = Duration::from_millis(500);
/// Time for the servers to end open requests after that.
const CLOSE_MAX: Duration = Duration::from_millis(400);

/// Why a node did not run, or did not end in order: the cluster or the machine said no. A line for stderr.
#[derive(Debug)]
pub struct Failure(pub String);

/// Leaves the cluster, as far as that can be done in time.
pub async fn leave<R: Runtime>(cluster: &Cluster) {
    let began = Instant::now();
    let left = future::or(async { cluster.leave().await.is_ok() }, async {
        R::sleep(cluster.drain_timeout() + LEAVE_MARGIN).await;
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
