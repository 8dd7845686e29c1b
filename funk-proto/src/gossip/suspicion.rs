//! Suspicions and when they end. A suspicion that others confirm ends sooner:
//! a node that alone misses answers is more likely slow itself. So does one
//! of a node whose host refuses streams, too.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use bytes::Bytes;

use super::timing::GossipTiming;
use crate::time::Timestamp;

/// One node's suspicion.
#[derive(Debug)]
struct Suspicion {
    start: Timestamp,
    min: Duration,
    max: Duration,
    /// Confirmations after which it lasts `min`.
    wanted: u32,
    confirmations: u32,
    /// Who accused, the first accuser among them: each counts once.
    accusers: BTreeSet<Bytes>,
    due: Timestamp,
}

impl Suspicion {
    fn length(&self) -> Duration {
        if self.wanted == 0 {
            return self.min;
        }
        let share = f64::from(self.confirmations + 1).ln() / f64::from(self.wanted + 1).ln();
        let seconds = self.max.as_secs_f64() - share * (self.max - self.min).as_secs_f64();
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "positive, and below an hour")]
        let millis = (seconds * 1_000.0).floor().max(0.0) as u64;
        Duration::from_millis(millis).max(self.min)
    }
}

/// All suspicions, by the name of who is suspected. One for each suspected
/// member, so it is as bounded as the members are.
#[derive(Debug, Default)]
pub(super) struct Suspicions {
    by_name: BTreeMap<Bytes, Suspicion>,
    due: BTreeSet<(Timestamp, Bytes)>,
}

impl Suspicions {
    /// Begins a suspicion among `nodes`.
    pub(super) fn begin(&mut self, now: Timestamp, name: &Bytes, from: &Bytes, nodes: usize, timing: &GossipTiming) {
        self.cancel(name);
        let min = timing.suspicion_min(nodes);
        let mut suspicion = Suspicion {
            start: now,
            min,
            max: timing.suspicion_max(min).max(min),
            wanted: timing.confirmations(nodes),
            confirmations: 0,
            accusers: BTreeSet::from([from.clone()]),
            due: now,
        };
        suspicion.due = now + suspicion.length();
        self.due.insert((suspicion.due, name.clone()));
        self.by_name.insert(name.clone(), suspicion);
    }

    pub(super) fn contains(&self, name: &Bytes) -> bool {
        self.by_name.contains_key(name)
    }

    /// Takes a further accuser in. True if that is news which others should hear.
    pub(super) fn confirm(&mut self, name: &Bytes, from: &Bytes) -> bool {
        let Some(suspicion) = self.by_name.get_mut(name) else { return false };
        if suspicion.confirmations >= suspicion.wanted || !suspicion.accusers.insert(from.clone()) {
            return false;
        }
        suspicion.confirmations += 1;
        self.set_due(name);
        true
    }

    /// Shortens a suspicion as much as confirmations can: this node has better evidence than silence.
    pub(super) fn hasten(&mut self, name: &Bytes) {
        if let Some(suspicion) = self.by_name.get_mut(name) {
            suspicion.confirmations = suspicion.wanted;
            self.set_due(name);
        }
    }

    fn set_due(&mut self, name: &Bytes) {
        let Some(suspicion) = self.by_name.get_mut(name) else { return };
        self.due.remove(&(suspicion.due, name.clone()));
        suspicion.due = suspicion.start + suspicion.length();
        self.due.insert((suspicion.due, name.clone()));
    }

    pub(super) fn cancel(&mut self, name: &Bytes) {
        if let Some(suspicion) = self.by_name.remove(name) {
            self.due.remove(&(suspicion.due, name.clone()));
        }
    }

    /// When the first one ends.
    pub(super) fn next_due(&self) -> Option<Timestamp> {
        self.due.first().map(|(due, _)| *due)
    }

    /// Takes out one that has ended.
    pub(super) fn pop_due(&mut self, now: Timestamp) -> Option<Bytes> {
        let (due, name) = self.due.first().cloned()?;
        if due > now {
            return None;
        }
        self.cancel(&name);
        Some(name)
    }

    /// This process did not run for `gap`: nobody could defend itself before it.
    pub(super) fn prolong(&mut self, gap: Duration) {
        self.due.clear();
        for (name, suspicion) in &mut self.by_name {
            suspicion.start = suspicion.start + gap;
            suspicion.due = suspicion.due + gap;
            self.due.insert((suspicion.due, name.clone()));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &'static str) -> Bytes {
        Bytes::from_static(text.as_bytes())
    }

    fn millis(suspicions: &Suspicions) -> u64 {
        suspicions.next_due().unwrap().as_nanos() / 1_000_000
    }

    #[test]
    fn confirmations_by_others_shorten_a_suspicion() {
        let (mut suspicions, timing) = (Suspicions::default(), GossipTiming::default());
        let x = name("x");
        suspicions.begin(Timestamp::ZERO, &x, &name("a"), 5, &timing);
        assert_eq!(millis(&suspicions), 24_000);
        assert!(!suspicions.confirm(&x, &name("a")), "the first accuser is no confirmation");
        assert!(suspicions.confirm(&x, &name("b")));
        assert_eq!(millis(&suspicions), 11_381);
        assert!(!suspicions.confirm(&x, &name("b")), "each counts once");
        assert!(suspicions.confirm(&x, &name("c")));
        assert_eq!(millis(&suspicions), 4_000);
        assert!(!suspicions.confirm(&x, &name("d")), "no more are wanted");
    }

    #[test]
    fn few_nodes_wait_for_no_confirmation() {
        let (mut suspicions, timing) = (Suspicions::default(), GossipTiming::default());
        suspicions.begin(Timestamp::ZERO, &name("x"), &name("a"), 3, &timing);
        assert_eq!(millis(&suspicions), 4_000);
        assert_eq!(suspicions.pop_due(Timestamp::from_millis(3_999)), None);
        suspicions.prolong(Duration::from_secs(1));
        assert_eq!(suspicions.pop_due(Timestamp::from_millis(4_999)), None);
        assert_eq!(suspicions.pop_due(Timestamp::from_millis(5_000)), Some(name("x")));
        assert_eq!(suspicions.next_due(), None);
    }

    #[test]
    fn better_evidence_shortens_a_suspicion_as_far_as_confirmations_can() {
        let (mut suspicions, timing) = (Suspicions::default(), GossipTiming::default());
        suspicions.begin(Timestamp::ZERO, &name("x"), &name("a"), 5, &timing);
        suspicions.hasten(&name("x"));
        assert_eq!(millis(&suspicions), 4_000);
        suspicions.hasten(&name("x"));
        suspicions.hasten(&name("y"));
        assert_eq!((millis(&suspicions), suspicions.due.len()), (4_000, 1));
    }

    #[test]
    fn a_cancelled_suspicion_never_ends() {
        let (mut suspicions, timing) = (Suspicions::default(), GossipTiming::default());
        suspicions.begin(Timestamp::ZERO, &name("x"), &name("a"), 3, &timing);
        suspicions.cancel(&name("x"));
        assert_eq!(suspicions.pop_due(Timestamp::MAX), None);
        assert!(!suspicions.contains(&name("x")));
    }
}
