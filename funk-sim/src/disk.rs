//! A host's disk: writes become stable late, together, and in order. Of what
//! is not stable when the process or the power goes, any part may be there.
//! The files have the format of a real data directory, and its decoder reads them.

mod files;

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::rng::Rng;
use funk_proto::wire::journal::Damaged;
use funk_proto::{Persist, Timestamp, Token};

use files::Files;

use crate::network::between;

/// What a disk does to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConditions {
    /// Shortest time of one flush.
    pub flush_min: Duration,
    /// Longest time of one flush.
    pub flush_max: Duration,
    /// No room: the next flush fails.
    pub full: bool,
}

impl Default for DiskConditions {
    fn default() -> Self {
        Self { flush_min: Duration::from_micros(50), flush_max: Duration::from_micros(400), full: false }
    }
}

impl DiskConditions {
    /// Every flush takes the same time.
    pub fn steady() -> Self {
        let flush = Duration::from_micros(100);
        Self { flush_min: flush, flush_max: flush, full: false }
    }

    /// Whether they hold no write up.
    pub(crate) fn are_calm(&self) -> bool {
        [Self::default(), Self::steady()].contains(&Self { full: false, ..*self })
    }
}

/// How a flush ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Flush {
    /// All up to this write is stable; when the next flush ends, if there is one.
    Stable(Token, Option<Timestamp>),
    /// There was no room: nothing may be written any more.
    Failed,
}

/// One disk. A flush covers what was written before it began; the next begins
/// when it ends. A write that replaces those before it has a flush of its own.
#[derive(Clone, Debug, Default)]
pub struct Disk {
    /// What it does to writes.
    pub conditions: DiskConditions,
    files: Files,
    /// What a process was told is stable, or found, since the last write that replaces those before it.
    stable: Vec<Bytes>,
    written: VecDeque<Persist>,
    /// How many of `written` the flush under way covers.
    flushing: usize,
    /// When that one ends.
    ends: Timestamp,
    keep: bool,
    /// A bit flipped since the files were written.
    rotten: bool,
}

impl Disk {
    /// A disk; with `keep`, its content outlives the process.
    pub fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// What a process was told is stable, oldest first, from the last write that
    /// replaces those before it. Empty for a disk that keeps nothing.
    pub fn stable(&self) -> &[Bytes] {
        &self.stable
    }

    /// Whether a bit of what was stable has flipped.
    pub fn is_rotten(&self) -> bool {
        self.rotten
    }

    /// What a new process reads, through the decoder of real data directories.
    ///
    /// # Errors
    /// The file that cannot be used, and where it is damaged.
    pub(crate) fn open(&mut self) -> Result<Vec<Bytes>, Damaged> {
        self.files.open()
    }

    /// A process goes on with what it found.
    pub(crate) fn found(&mut self, records: Vec<Bytes>) {
        self.stable = records;
    }

    /// Takes a write; returns when the flush ends that it began, if it began one.
    pub(crate) fn write(&mut self, now: Timestamp, persist: Persist, rng: &mut Rng) -> Option<Timestamp> {
        self.written.push_back(persist);
        (self.flushing == 0).then(|| self.flush(now, rng))
    }

    fn flush(&mut self, now: Timestamp, rng: &mut Rng) -> Timestamp {
        let replacing = self.written.iter().position(|persist| persist.replaces);
        self.flushing = replacing.map_or(self.written.len(), |at| at.max(1));
        self.ends = now + between(rng, self.conditions.flush_min, self.conditions.flush_max);
        self.ends
    }

    /// The flush under way has ended.
    pub(crate) fn flushed(&mut self, now: Timestamp, rng: &mut Rng) -> Option<Flush> {
        if now < self.ends || self.flushing == 0 {
            return None;
        }
        if self.conditions.full && self.keep {
            return Some(Flush::Failed);
        }
        let batch: Vec<Persist> = self.written.drain(..self.flushing).collect();
        self.flushing = 0;
        if self.keep {
            self.files.append(&batch.iter().collect::<Vec<_>>());
            if batch.last().is_some_and(|last| last.replaces) {
                self.stable.clear();
            }
            self.stable.extend(batch.iter().map(|persist| persist.record.clone()));
        }
        let newest = batch.last()?.token;
        let next = (!self.written.is_empty()).then(|| self.flush(now, rng));
        Some(Flush::Stable(newest, next))
    }

    /// The disk is as good as new: a flush under way, however slow it was to be, ends now. Whether there is one.
    pub(crate) fn heal(&mut self, now: Timestamp) -> bool {
        self.conditions = DiskConditions::default();
        self.ends = self.ends.min(now);
        self.flushing > 0
    }

    /// The process or the power went: of the flush under way any part may have
    /// got through, and nothing of what came after it.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        if self.keep {
            let batch: Vec<&Persist> = self.written.iter().take(self.flushing).collect();
            self.files.tear(&batch, rng);
        }
        self.written.clear();
        self.flushing = 0;
    }

    /// Flips a bit of what was stable. Says where, or `None` if all there is
    /// was written last: nothing would tell that from a write that was under way.
    pub fn rot(&mut self, rng: &mut Rng) -> Option<(String, usize)> {
        let place = self.files.rot(rng)?;
        self.rotten = true;
        Some(place)
    }

    /// Another, empty disk is put in.
    pub fn replace(&mut self) {
        *self = Self { conditions: self.conditions, keep: self.keep, ..Self::default() };
    }
}

/// Lies, to see that they are found.
#[cfg(test)]
impl Disk {
    /// All files are gone, and nobody says so.
    pub(crate) fn forget(&mut self) {
        self.files = Files::default();
    }

    /// A rotten disk is taken for a sound one.
    pub(crate) fn believe_sound(&mut self) {
        self.rotten = false;
    }
}

#[cfg(test)]
mod tests;
