//! The thread that writes. The driver never waits for a disk: it hands records
//! over, and is woken when they are stable.

use std::collections::VecDeque;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::Waker;
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::limits::{DATA_DIRECTORY_LOOK, STORE_BATCH_BYTES_MAX, STORE_QUEUE_BYTES_MAX, STORE_STALL_MAX};
use bytes::Bytes;
use funk_proto::{Persist, Token};

use super::StoreError;
use super::data_dir::Claimed;
use super::files::Files;
use crate::meters::Meters;

#[derive(Debug, Default)]
struct Queue {
    waiting: VecDeque<Persist>,
    waiting_bytes: usize,
    stable: VecDeque<Token>,
    failed: Option<StoreError>,
    /// Since when the thread has been writing what it took last.
    writing_since: Option<Instant>,
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

/// For how long one write has been seen to hang. Time in which nobody looked
/// does not count: a process that was stopped has not seen its disk hang.
#[derive(Debug, Default)]
struct Stall {
    write: Option<Instant>,
    looked: Option<Instant>,
    seen: Duration,
}

impl Stall {
    /// The longest time between two looks that counts.
    const LOOK_MAX: Duration = Duration::from_millis(100);

    fn look(&mut self, write: Option<Instant>, now: Instant) {
        if write.is_none() || write != self.write {
            *self = Self { write, looked: Some(now), seen: Duration::ZERO };
            return;
        }
        let since = self.looked.replace(now).map_or(Duration::ZERO, |looked| now.saturating_duration_since(looked));
        self.seen += since.min(Self::LOOK_MAX);
    }

    fn is_over(&self) -> bool {
        self.seen >= STORE_STALL_MAX
    }
}

/// The driver's end of the writing thread. Dropping it waits until all that
/// was handed over is written.
#[derive(Debug)]
pub(crate) struct Writer {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    path: std::path::PathBuf,
    stall: Stall,
}

impl Writer {
    /// Starts the thread; `waker` is woken when something became stable, or failed.
    pub(crate) fn start(claimed: Claimed, waker: Waker, meters: Arc<Meters>) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let here = Arc::clone(&shared);
        let path = claimed.files.directory().to_owned();
        let thread = std::thread::Builder::new()
            .name("funk-store".into())
            .spawn(move || run(claimed, &here, &waker, &meters))?;
        Ok(Self { shared, thread: Some(thread), path, stall: Stall::default() })
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
            None if queue.failed.is_some() => queue.failed.clone().map_or(Ok(None), Err),
            None => {
                let since = queue.writing_since;
                drop(queue);
                self.check_stall(since)
            }
        }
    }

    /// A disk that neither writes nor fails is as good as one that failed.
    fn check_stall(&mut self, since: Option<Instant>) -> Result<Option<Token>, StoreError> {
        self.stall.look(since, Instant::now());
        if !self.stall.is_over() {
            return Ok(None);
        }
        let why = format!("the disk does not answer: a write has taken {} s", STORE_STALL_MAX.as_secs());
        Err(StoreError::new(&self.path, why))
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.queue().closed = true;
        self.shared.bell.notify_one();
        // One that hangs is left to the end of the process, and the directory's lock with it.
        if let Some(thread) = self.thread.take().filter(|_| !self.stall.is_over()) {
            // A panic of the writer was reported by its hook; nothing of it is used any more.
            let _ = thread.join();
        }
    }
}

/// The next records that can be made stable together; empty when the driver has gone. `None`: nothing came for a while.
fn next_batch(shared: &Shared) -> Option<Vec<Persist>> {
    let mut queue = shared.queue();
    while queue.waiting.is_empty() && !queue.closed {
        let waited = shared.bell.wait_timeout(queue, DATA_DIRECTORY_LOOK);
        let (woken, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        queue = woken;
        if timeout.timed_out() && queue.waiting.is_empty() && !queue.closed {
            return None;
        }
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
    queue.writing_since = (!batch.is_empty()).then(Instant::now);
    Some(batch)
}

fn write(files: &mut Files, batch: &[Persist]) -> Result<(), StoreError> {
    match batch {
        [alone] if alone.replaces => files.replace(&alone.record),
        _ => {
            let records: Vec<Bytes> = batch.iter().map(|persist| persist.record.clone()).collect();
            files.append(&records)
        }
    }
}

fn run(claimed: Claimed, shared: &Shared, waker: &Waker, meters: &Meters) {
    let Claimed { lock, mut files, .. } = claimed;
    loop {
        let batch = next_batch(shared);
        let written = match batch.as_deref() {
            None => files.check_places(),
            Some([]) => break,
            // What has no name any more is not stable, though it is synced.
            Some(batch) => write(&mut files, batch).and_then(|()| files.check_places()),
        };
        let mut queue = shared.queue();
        if let Some(since) = queue.writing_since.take() {
            meters.persist.observe(since.elapsed());
        }
        match written {
            Ok(()) => queue.stable.extend(batch.iter().flatten().map(|persist| persist.token)),
            Err(error) => {
                // After a failed sync the kernel may have dropped the pages: trying again would lie.
                tracing::debug!(%error, "the data directory failed");
                queue.failed = Some(error);
            }
        }
        let failed = queue.failed.is_some();
        drop(queue);
        if failed || batch.is_some() {
            waker.wake_by_ref();
        }
        if failed {
            break;
        }
    }
    // From now on nothing here keeps another process from the directory.
    drop(lock);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_write_that_hangs_is_over_but_not_for_a_process_that_was_stopped() {
        let start = Instant::now();
        let mut stall = Stall::default();
        stall.look(Some(start), start);
        stall.look(Some(start), start + STORE_STALL_MAX * 3);
        assert!(!stall.is_over(), "nobody looked meanwhile");
        let mut now = start + STORE_STALL_MAX * 3;
        let looks = STORE_STALL_MAX.as_millis() / 50;
        for _ in 0..looks {
            now += Duration::from_millis(50);
            stall.look(Some(start), now);
        }
        assert!(stall.is_over());
        stall.look(Some(now), now);
        assert!(!stall.is_over(), "another write");
    }
}
