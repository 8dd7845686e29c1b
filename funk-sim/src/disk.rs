//! A host's disk: writes become stable late, together, and in order; what is
//! not stable when the power goes is lost.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use funk_proto::rng::Rng;
use funk_proto::{Persist, Timestamp, Token};

/// What a disk does to writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskConditions {
    /// Shortest time of one flush.
    pub flush_min: Duration,
    /// Longest time of one flush.
    pub flush_max: Duration,
}

impl Default for DiskConditions {
    fn default() -> Self {
        Self { flush_min: Duration::from_micros(50), flush_max: Duration::from_micros(400) }
    }
}

/// One disk. A flush covers what was written before it began; the next begins
/// when it ends.
#[derive(Debug, Default)]
pub struct Disk {
    /// What it does to writes.
    pub conditions: DiskConditions,
    stable: Vec<Bytes>,
    written: VecDeque<(Token, Bytes)>,
    /// How many of `written` the flush under way covers.
    flushing: usize,
    /// When that one ends.
    ends: Timestamp,
    keep: bool,
}

impl Disk {
    /// A disk; with `keep`, its content outlives the process.
    pub fn new(keep: bool) -> Self {
        Self { keep, ..Self::default() }
    }

    /// What is stable, oldest first. Empty for a disk that keeps nothing.
    pub fn stable(&self) -> &[Bytes] {
        &self.stable
    }

    /// Takes a write; returns when the flush ends that it began, if it began one.
    pub(crate) fn write(&mut self, now: Timestamp, persist: Persist, rng: &mut Rng) -> Option<Timestamp> {
        self.written.push_back((persist.token, persist.record));
        (self.flushing == 0).then(|| self.flush(now, rng))
    }

    fn flush(&mut self, now: Timestamp, rng: &mut Rng) -> Timestamp {
        self.flushing = self.written.len();
        self.ends = now + rng.between(self.conditions.flush_min, self.conditions.flush_max);
        self.ends
    }

    /// The flush under way has ended: the newest token that is stable, and when the next flush ends.
    pub(crate) fn flushed(&mut self, now: Timestamp, rng: &mut Rng) -> Option<(Token, Option<Timestamp>)> {
        if now < self.ends {
            return None;
        }
        let mut newest = None;
        for (token, record) in self.written.drain(..self.flushing) {
            newest = Some(token);
            if self.keep {
                self.stable.push(record);
            }
        }
        self.flushing = 0;
        let next = (!self.written.is_empty()).then(|| self.flush(now, rng));
        newest.map(|token| (token, next))
    }

    /// The disk is as good as new: a flush under way, however slow it was to be, ends now. Whether there is one.
    pub(crate) fn heal(&mut self, now: Timestamp) -> bool {
        self.conditions = DiskConditions::default();
        self.ends = self.ends.min(now);
        self.flushing > 0
    }

    /// The process or the power went: of what was not stable, a random first part may have got through.
    pub(crate) fn crash(&mut self, rng: &mut Rng) {
        let survive = rng.below(self.written.len() as u64 + 1);
        let written = std::mem::take(&mut self.written);
        if self.keep {
            let survive = usize::try_from(survive).expect("below a usize");
            self.stable.extend(written.into_iter().take(survive).map(|(_, record)| record));
        }
        self.flushing = 0;
    }

    /// Another, empty disk is put in.
    pub fn replace(&mut self) {
        self.stable.clear();
        self.written.clear();
        self.flushing = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use funk_proto::Seed;
    use funk_proto::rng::Stream;

    fn write(disk: &mut Disk, n: u64, rng: &mut Rng) -> Option<Timestamp> {
        disk.write(Timestamp::ZERO, Persist { token: Token(n), record: Bytes::from(vec![0]), replaces: false }, rng)
    }

    #[test]
    fn a_flush_covers_what_was_written_before_it_began() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Peers);
        let mut disk = Disk::new(true);
        assert!(write(&mut disk, 1, &mut rng).is_some());
        assert_eq!(write(&mut disk, 2, &mut rng), None);
        assert_eq!(write(&mut disk, 3, &mut rng), None);
        let (token, next) = disk.flushed(Timestamp::from_millis(1), &mut rng).unwrap();
        assert_eq!(token, Token(1));
        assert!(next.is_some());
        let (token, next) = disk.flushed(Timestamp::from_millis(2), &mut rng).unwrap();
        assert_eq!((token, next, disk.stable().len()), (Token(3), None, 3));
    }

    #[test]
    fn a_crash_loses_some_of_what_was_not_stable() {
        let left = |seed| {
            let mut rng = Rng::new(Seed::from_u64(seed), Stream::Peers);
            let mut disk = Disk::new(true);
            for n in 1..=4 {
                write(&mut disk, n, &mut rng);
            }
            disk.flushed(Timestamp::from_millis(1), &mut rng);
            disk.crash(&mut rng);
            disk.stable().len()
        };
        let seen: std::collections::BTreeSet<usize> = (0..100).map(left).collect();
        assert_eq!(seen, [1, 2, 3, 4].into());
    }

    #[test]
    fn a_healed_disk_ends_its_slow_flush_at_once() {
        let mut rng = Rng::new(Seed::from_u64(1), Stream::Peers);
        let mut disk = Disk::new(true);
        disk.conditions = DiskConditions { flush_min: Duration::from_secs(2), flush_max: Duration::from_secs(4) };
        write(&mut disk, 1, &mut rng);
        let soon = Timestamp::from_millis(1);
        assert_eq!(disk.flushed(soon, &mut rng), None);
        assert!(disk.heal(soon));
        assert_eq!(disk.flushed(soon, &mut rng), Some((Token(1), None)));
    }
}
