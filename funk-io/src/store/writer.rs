//! The thread that writes. The driver never waits for a disk: it hands records
//! over, and is woken when they are stable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;

use bytes::Bytes;
use funk_proto::limits::{STORE_BATCH_BYTES_MAX, STORE_QUEUE_BYTES_MAX};
use funk_proto::{Persist, Token};

use super::StoreError;
use super::data_dir::Claimed;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Persist>,
    waiting_bytes: usize,
    stable: VecDeque<Token>,
    failed: Option<StoreError>,
    closed: bool,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    bell: Condvar,
}

impl Shared {
    fn queue(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The driver's end of the writing thread. Dropping it waits until all that
/// was handed over is written, and lets the directory go.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: std::path::PathBuf,
}

impl Writer {
    /// Starts the thread; `waker` is woken when something became stable, or failed.
    pub(crate) fn start(claimed: Claimed, waker: Waker) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        let path = claimed.files.directory().to_owned();
        let thread =
            std::thread::Builder::new().name("funk-store".into()).spawn(move || run(claimed, &here, &waker))?;
        Ok(Self { shared, thread: Some(thread), path })
    }

    pub(super) fn write(&mut self, persist: Persist) -> Result<(), StoreError> {
        let mut queue = self.shared.queue();
        queue.waiting_bytes += persist.record.len();
        let full = queue.waiting.len() > 1 && queue.waiting_bytes > STORE_QUEUE_BYTES_MAX;
        queue.waiting.push_back(persist);
        drop(queue);
        self.shared.bell.notify_one();
        if full {
            let why = format!("the disk is too slow: {STORE_QUEUE_BYTES_MAX} bytes wait to be written");
            return Err(StoreError::new(&self.path, why));
        }
        Ok(())
    }

    pub(super) fn poll_stable(&mut self) -> Result<Option<Token>, StoreError> {
        let mut queue = self.shared.queue();
        match queue.stable.pop_front() {
            Some(token) => Ok(Some(token)),
            None => queue.failed.clone().map_or(Ok(None), Err),
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.bell.notify_one();
        if let Some(thread) = self.thread.take() {
            // A panic of the writer was reported by its hook; nothing of it is used any more.
            let _ = thread.join();
        }
    }
}

/// The next records that can be made stable together; empty when the driver has gone.
fn next_batch(shared: &Shared) -> Vec<Persist> {
    let mut queue = shared.queue();
    while queue.waiting.is_empty() && !queue.closed {
        queue = shared.bell.wait(queue).unwrap_or_else(PoisonError::into_inner);
    }
    let mut batch = Vec::new();
    let mut bytes = 0;
    while let Some(persist) = queue.waiting.front() {
        bytes += persist.record.len();
        let alone = persist.replaces || batch.last().is_some_and(|last: &Persist| last.replaces);
        if !batch.is_empty() && (alone || bytes > STORE_BATCH_BYTES_MAX) {
            break;
        }
        let persist = queue.waiting.pop_front().expect("it was just seen");
        queue.waiting_bytes -= persist.record.len();
        batch.push(persist);
    }
    batch
}

fn run(claimed: Claimed, shared: &Shared, waker: &Waker) {
    let Claimed { lock, mut files, .. } = claimed;
    loop {
        let batch = next_batch(shared);
        let Some(last) = batch.last() else { break };
        let written = if last.replaces {
            files.replace(&last.record)
        } else {
            let records: Vec<Bytes> = batch.iter().map(|persist| persist.record.clone()).collect();
            files.append(&records)
        };
        let mut queue = shared.queue();
        match written {
            Ok(()) => queue.stable.extend(batch.iter().map(|persist| persist.token)),
            Err(error) => {
                // After a failed sync the kernel may have dropped the pages: trying again would lie.
                tracing::error!(%error, "the data directory failed");
                queue.failed = Some(error);
            }
        }
        let failed = queue.failed.is_some();
        drop(queue);
        waker.wake_by_ref();
        if failed {
            break;
        }
    }
    // Only now may another process open the directory.
    drop(lock);
}
