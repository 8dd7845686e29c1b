//! What a shard's owner has in memory goes along when the shard moves as planned.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::mpsc::{Sender, channel};

use bytes::Bytes;
use funk_proto::id::{LogIndex, ShardId};

use crate::shared::{Command, Shared};

/// Gives what this process has of a shard to the shard's next owner.
///
/// It is called on a thread of its own when a shard moves away as planned,
/// after its gate was closed and its last guard was dropped (or could serve no
/// more), so what it gives is final. Meanwhile nobody serves the shard: be
/// quick. At most [`SHARD_STATE_BYTES_MAX`](funk_proto::limits::SHARD_STATE_BYTES_MAX)
/// bytes go along; more, or what makes no progress for the ack timeout, is left
/// out. A state that was received and never taken goes on by itself.
///
/// The next owner has it from [`ShardGuard::take_state`](crate::ShardGuard::take_state). The shards of a process that
/// died come without: what must not be lost belongs into a store or the log.
pub trait Handover: Send {
    /// What the next owner of `shard` is to have; `None`: nothing.
    fn give(&mut self, shard: ShardId) -> Option<Bytes>;
}

impl<F: FnMut(ShardId) -> Option<Bytes> + Send> Handover for F {
    fn give(&mut self, shard: ShardId) -> Option<Bytes> {
        self(shard)
    }
}

impl fmt::Debug for dyn Handover {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Handover")
    }
}

/// The driver's end of the thread that asks the application. Dropping it ends the thread.
#[derive(Debug)]
pub(crate) struct HandoverThread(Sender<(LogIndex, ShardId)>);

impl HandoverThread {
    /// Starts the thread.
    pub(crate) fn start(mut from: Box<dyn Handover>, shared: Arc<Shared>) -> io::Result<Self> {
        let (sender, wanted) = channel();
        let thread = std::thread::Builder::new().name(format!("funk-{}-handover", shared.name));
        thread.spawn(move || {
            while let Ok((change, shard)) = wanted.recv() {
                let state = from.give(shard);
                if shared.inbox.send_blocking(Command::StateGiven { change, shard, state }).is_err() {
                    return;
                }
                shared.wake.wake_by_ref();
            }
        })?;
        Ok(Self(sender))
    }

    /// Asks for one shard's state. False if nobody is there to answer: the application's code has panicked.
    pub(crate) fn ask(&self, change: LogIndex, shard: ShardId) -> bool {
        self.0.send((change, shard)).is_ok()
    }
}
