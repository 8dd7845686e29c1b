//! What an application has of a shard, from the moment the node owns it until it is gone.

mod keeper;

use std::error::Error;
use std::fmt;
use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use funk_proto::id::{Epoch, ShardId};

pub(crate) use keeper::Keeper;

/// Why a shard could not be acquired.
pub type AcquireError = Box<dyn Error + Send + Sync>;

/// The life of each shard at one node. All calls run on the runtime that the node was started in, for many shards
/// simultaneously; for one shard and epoch they come in this order:
///
/// | call | when | until it returns |
/// |---|---|---|
/// | [`acquire`](Self::acquire) | the log names this node as the owner | no guard is given; requests wait |
/// | [`release`](Self::release) | a planned move: the gate is closed and the last guard is gone | nobody serves the shard |
/// | [`lost`](Self::lost) | instead of `release`: the shard has another owner, or the node has stopped | |
///
/// ```
/// use bytes::Bytes;
/// use funk_io::{AcquireError, ShardState};
/// use funk_proto::id::{Epoch, ShardId};
///
/// struct Sessions;
///
/// impl ShardState for Sessions {
///     async fn acquire(&self, shard: ShardId, epoch: Epoch, handed: Option<Bytes>) -> Result<(), AcquireError> {
///         match handed {
///             Some(state) => println!("{shard} comes with {} bytes", state.len()),
///             None => println!("load {shard} from the store, and raise its fence to {epoch}"),
///         }
///         Ok(())
///     }
/// }
/// ```
pub trait ShardState: Send + Sync + 'static {
    /// Makes the shard ready: takes over what its previous owner gave in [`ShardState::release`], if it gave anything,
    /// or loads it. With a store, raise the fence to `epoch` before reading.
    ///
    /// After an error, or [`ACQUIRE_TIMEOUT`](crate::limits::ACQUIRE_TIMEOUT), it is called again, with the same state,
    /// for as long as the node owns the shard. If the node loses the shard first, the future is dropped and
    /// [`ShardState::lost`] is called.
    fn acquire(
        &self,
        shard: ShardId,
        epoch: Epoch,
        handed: Option<Bytes>,
    ) -> impl Future<Output = Result<(), AcquireError>> + Send;

    /// Gives the shard up; what it returns goes to the next owner. Be quick: nobody serves the shard meanwhile, and after
    /// the ack timeout it moves without a state. What must not be lost belongs in a store before this.
    fn release(&self, shard: ShardId, epoch: Epoch) -> impl Future<Output = Option<Bytes>> + Send {
        let _ = (shard, epoch);
        async { None }
    }

    /// The node lost the shard without a release. What is left of it in memory is stale.
    fn lost(&self, shard: ShardId, epoch: Epoch) {
        let _ = (shard, epoch);
    }
}

type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// Any [`ShardState`].
pub(crate) trait AnyShardState: Send + Sync {
    fn acquire(&self, shard: ShardId, epoch: Epoch, handed: Option<Bytes>) -> BoxFuture<'_, Result<(), AcquireError>>;
    fn release(&self, shard: ShardId, epoch: Epoch) -> BoxFuture<'_, Option<Bytes>>;
    fn lost(&self, shard: ShardId, epoch: Epoch);
}

impl<S: ShardState> AnyShardState for S {
    fn acquire(&self, shard: ShardId, epoch: Epoch, handed: Option<Bytes>) -> BoxFuture<'_, Result<(), AcquireError>> {
        Box::pin(ShardState::acquire(self, shard, epoch, handed))
    }

    fn release(&self, shard: ShardId, epoch: Epoch) -> BoxFuture<'_, Option<Bytes>> {
        Box::pin(ShardState::release(self, shard, epoch))
    }

    fn lost(&self, shard: ShardId, epoch: Epoch) {
        ShardState::lost(self, shard, epoch);
    }
}

/// A [`ShardState`] of whatever type.
pub struct BoxShardState(pub(crate) Box<dyn AnyShardState>);

impl BoxShardState {
    /// Puts it into a box.
    pub fn new(state: impl ShardState) -> Self {
        Self(Box::new(state))
    }
}

impl fmt::Debug for BoxShardState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("BoxShardState")
    }
}
