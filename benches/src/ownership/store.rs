//! A store that keeps the highest epoch of each shard and refuses lower ones.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard};

use super::Plant;
use crate::lines;

/// A shard's writes in the order of their effect: epoch and number.
pub type Log = Vec<(u64, u64)>;

/// What the store holds.
#[derive(Debug, Default)]
pub struct State {
    /// The writes of each shard.
    pub logs: BTreeMap<u32, Log>,
    /// Writes that were refused since their epoch was stale.
    pub refused: u64,
    highest: BTreeMap<u32, u64>,
}

/// A store at the other end of a Unix socket; no partition of the network reaches it.
#[derive(Clone, Debug)]
pub struct Store {
    state: Arc<Mutex<State>>,
    plant: Plant,
}

impl Store {
    /// Listens at `path`, on threads that live as long as the process.
    ///
    /// # Errors
    /// When the socket cannot be made.
    pub fn start(path: &Path, plant: Plant) -> Result<Self, String> {
        let store = Self { state: Arc::default(), plant };
        let serving = store.clone();
        lines::serve(path, move || {
            let store = serving.clone();
            Some(move |question: &str| store.answer(question))
        })?;
        Ok(store)
    }

    /// What it holds.
    pub fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("no thread panics with it")
    }

    /// A question is `SHARD EPOCH NUMBER`; the answer is `ok` or `stale`.
    fn answer(&self, question: &str) -> Option<String> {
        let words: Vec<u64> = question.split(' ').filter_map(|word| word.parse().ok()).collect();
        let [shard, epoch, number] = words[..] else { return None };
        let taken = self.write(u32::try_from(shard).ok()?, epoch, number);
        Some(if taken { "ok" } else { "stale" }.to_owned())
    }

    /// Whether the write was taken.
    pub fn write(&self, shard: u32, epoch: u64, number: u64) -> bool {
        let mut state = self.state();
        let highest = state.highest.entry(shard).or_default();
        if epoch < *highest && self.plant != Plant::Store {
            state.refused += 1;
            return false;
        }
        *highest = epoch.max(*highest);
        if self.plant != Plant::Loss || !number.is_multiple_of(100) {
            state.logs.entry(shard).or_default().push((epoch, number));
        }
        true
    }
}

impl State {
    /// Writes that took effect after one of a higher epoch.
    pub fn stale_accepted(&self) -> u64 {
        let mut stale = 0;
        for log in self.logs.values() {
            let mut highest = 0;
            for &(epoch, _) in log {
                stale += u64::from(epoch < highest);
                highest = highest.max(epoch);
            }
        }
        stale
    }

    /// How often a shard's epoch grew between two writes.
    pub fn moves(&self) -> usize {
        let epochs = |log: &Log| log.iter().map(|&(epoch, _)| epoch).collect::<BTreeSet<_>>().len();
        self.logs.values().map(|log| epochs(log).saturating_sub(1)).sum()
    }

    /// The acknowledged writes, shard and number, that it does not hold.
    pub fn lost(&self, acknowledged: &[(u32, u64)]) -> Vec<(u32, u64)> {
        let entries = self.logs.iter().flat_map(|(&shard, log)| log.iter().map(move |&(_, number)| (shard, number)));
        let held: BTreeSet<(u32, u64)> = entries.collect();
        acknowledged.iter().filter(|write| !held.contains(write)).copied().collect()
    }
}
