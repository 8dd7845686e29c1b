//! What an operator measures of a driver. Whoever measures only adds to
//! atomics; whoever reads gets a snapshot that may be torn between two of them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use funk_proto::{Event, Timestamp};

/// A number that only grows.
#[derive(Debug, Default)]
pub struct Counter(AtomicU64);

impl Counter {
    /// Adds one.
    pub fn add_one(&self) {
        self.add(1);
    }

    /// Adds `count`.
    pub fn add(&self, count: u64) {
        self.0.fetch_add(count, Ordering::Relaxed);
    }

    /// How much was added so far.
    pub fn read(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

/// Upper bounds of the buckets of every histogram, in microseconds: about
/// three for each power of ten, from what a look-up on another processor takes to what nobody waits for.
const BOUNDS_MICROS: [u64; 18] = [
    50, 100, 250, 500, 1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 150_000, 250_000, 500_000,
    1_000_000, 2_500_000, 10_000_000,
];

/// Durations, counted by their size.
#[derive(Debug, Default)]
pub struct Histogram {
    /// The last one counts what is over every bound.
    buckets: [AtomicU64; BOUNDS_MICROS.len() + 1],
    sum_nanos: AtomicU64,
}

impl Histogram {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        let micros = u64::try_from(duration.as_nanos().div_ceil(1_000)).unwrap_or(u64::MAX);
        let bucket = BOUNDS_MICROS.partition_point(|bound| *bound < micros);
        self.buckets[bucket].fetch_add(1, Ordering::Relaxed);
        self.sum_nanos.fetch_add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// What was counted so far.
    pub fn read(&self) -> Reading {
        let mut count = 0;
        let mut buckets = Vec::with_capacity(BOUNDS_MICROS.len());
        for (bound, bucket) in BOUNDS_MICROS.iter().zip(&self.buckets) {
            count += bucket.load(Ordering::Relaxed);
            buckets.push((Duration::from_micros(*bound), count));
        }
        count += self.buckets[BOUNDS_MICROS.len()].load(Ordering::Relaxed);
        Reading { buckets, count, sum: Duration::from_nanos(self.sum_nanos.load(Ordering::Relaxed)) }
    }
}

/// What a [`Histogram`] had counted when it was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Reading {
    /// Upper bounds, ascending, each with how many durations are not above it.
    pub buckets: Vec<(Duration, u64)>,
    /// All durations.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
}

/// What the driver and the store of one node measure.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct Meters {
    /// Time that was left of a lease when it was renewed.
    pub lease_margin: Histogram,
    /// Leases that ended before they were renewed.
    pub lease_lapses: Counter,
    /// How long a batch of records took to become stable.
    pub persist: Histogram,
    /// Records handed to the store.
    pub records: Counter,
    /// Bytes of these records.
    pub record_bytes: Counter,
    /// Snapshots among them.
    pub snapshots: Counter,
    /// Bytes of the records since the latest snapshot, of this boot.
    pub log_bytes: AtomicU64,
    /// Shards that began to move.
    pub moves_started: Counter,
    /// Shards that got an owner.
    pub shards_assigned: Counter,
    /// The parts of failovers, in the order of [`PHASES`].
    pub failover: [Histogram; PHASES.len()],
    /// The steps of the driver's passes, in the order of [`STEPS`].
    pub steps: [Longest; STEPS.len()],
    /// TLS on the streams between nodes.
    pub tls: TlsMeters,
}

/// What TLS on the streams between nodes brought.
#[derive(Debug, Default)]
#[non_exhaustive]
pub struct TlsMeters {
    /// Handshakes that ended well.
    pub handshakes: Counter,
    /// Streams used without TLS, where that is permitted.
    pub plaintext: Counter,
    /// Streams that did not come about, or were ended, by reason, in the order of [`TLS_REASONS`].
    pub refused: [Counter; TLS_REASONS.len()],
}

/// Why a stream between nodes is refused.
pub const TLS_REASONS: [&str; 20] = [
    "tls",
    "alert",
    "authority",
    "cluster",
    "crowded",
    "denied",
    "ended",
    "expired",
    "impersonation",
    "malformed",
    "no_certificate",
    "no_identity",
    "not_tls",
    "not_yet_valid",
    "oversized",
    "plaintext",
    "role",
    "timed_out",
    "transport",
    "trust_domain",
];

/// The steps of a pass of the driver. While one lasts, no timer fires and no heartbeat leaves.
pub const STEPS: [&str; 6] = ["datagrams", "streams", "drains", "commands", "timers", "outputs"];

/// A step, by its place in [`STEPS`].
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Datagrams,
    Streams,
    Drains,
    Commands,
    Timers,
    Outputs,
}

/// Durations, and the longest of them.
#[derive(Debug, Default)]
pub struct Longest {
    /// All of them.
    pub durations: Histogram,
    nanos: AtomicU64,
}

impl Longest {
    /// Counts one duration.
    pub fn observe(&self, duration: Duration) {
        self.durations.observe(duration);
        self.nanos.fetch_max(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// The longest so far.
    pub fn longest(&self) -> Duration {
        Duration::from_nanos(self.nanos.load(Ordering::Relaxed))
    }
}

/// Measures one step of a pass after the other.
#[derive(Debug)]
pub(crate) struct StepWatch(Timestamp);

impl StepWatch {
    /// The first step begins.
    pub(crate) fn begin(now: Timestamp) -> Self {
        Self(now)
    }

    /// A step ends, and the next one begins.
    pub(crate) fn end(&mut self, step: Step, now: Timestamp, meters: &Meters) {
        meters.steps[step as usize].observe(now.since(self.0));
        self.0 = now;
    }
}

/// The parts of a failover as one node sees it.
pub const PHASES: [&str; 4] = ["detect", "elect", "map", "serve"];

const DETECT: usize = 0;
const ELECT: usize = 1;
const MAP: usize = 2;
const SERVE: usize = 3;

impl Meters {
    /// A record went to the store.
    pub(crate) fn record(&self, bytes: usize, replaces: bool) {
        let bytes = bytes as u64;
        self.records.add_one();
        self.record_bytes.add(bytes);
        if replaces {
            self.snapshots.add_one();
            self.log_bytes.store(0, Ordering::Relaxed);
        } else {
            self.log_bytes.fetch_add(bytes, Ordering::Relaxed);
        }
    }
}

/// Follows a lease from one renewal to the next.
#[derive(Debug, Default)]
pub(crate) struct LeaseWatch {
    until: Timestamp,
    lapsed: bool,
}

impl LeaseWatch {
    /// Looks at the lease as it is published at `now`.
    pub(crate) fn look(&mut self, now: Timestamp, until: Timestamp, meters: &Meters) {
        let had_one = self.until > Timestamp::ZERO;
        let over = now >= self.until;
        if had_one && over && !self.lapsed {
            self.lapsed = true;
            meters.lease_lapses.add_one();
        }
        if until > self.until {
            if had_one && !over {
                meters.lease_margin.observe(self.until.since(now));
            }
            self.lapsed = false;
        }
        self.until = until;
    }
}

/// After this the parts of a failover no longer belong together.
const FAILOVER_MAX: Duration = Duration::from_secs(10);

/// Follows failovers by the events that the node tells.
#[derive(Debug, Default)]
pub(crate) struct FailoverWatch {
    /// Since when there is no leader.
    leaderless: Option<Timestamp>,
    /// Since when there is a leader that can strike the silent one from the map.
    able: Option<Timestamp>,
    /// When the failure was decided.
    failed: Option<Timestamp>,
}

impl FailoverWatch {
    /// This node gives the leader or a member up, after so long a silence.
    pub(crate) fn detected(&mut self, now: Timestamp, silence: Duration, meters: &Meters) {
        meters.failover[DETECT].observe(silence);
        self.able = Some(now);
    }

    /// Takes the next event in; `me` is the name of this node.
    pub(crate) fn tell(&mut self, now: Timestamp, me: &str, event: &Event, meters: &Meters) {
        let recent = |at: &Timestamp| now.since(*at) < FAILOVER_MAX;
        match event {
            Event::Leader { leader: None, .. } => self.leaderless = Some(now),
            Event::Leader { leader: Some(_), .. } => {
                if let Some(since) = self.leaderless.take() {
                    meters.failover[ELECT].observe(now.since(since));
                    self.able = Some(now);
                }
            }
            Event::MemberFailed { .. } => {
                if let Some(since) = self.able.take().filter(recent) {
                    meters.failover[MAP].observe(now.since(since));
                }
                self.failed = Some(now);
            }
            Event::Moving { shards, .. } => meters.moves_started.add(u64::from(*shards)),
            Event::Owned { owner, shards, .. } => {
                meters.shards_assigned.add(shards.len() as u64);
                if owner.as_str() == me
                    && let Some(since) = self.failed.take().filter(recent)
                {
                    meters.failover[SERVE].observe(now.since(since));
                }
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use funk_proto::id::{Epoch, RaftId, ShardId, Term};

    use super::*;

    fn at(millis: u64) -> Timestamp {
        Timestamp::ZERO + Duration::from_millis(millis)
    }

    #[test]
    fn durations_count_in_the_first_bucket_that_holds_them() {
        let histogram = Histogram::default();
        for micros in [50, 51, 20_000_000] {
            histogram.observe(Duration::from_micros(micros));
        }
        let reading = histogram.read();
        assert_eq!(reading.buckets[0], (Duration::from_micros(50), 1));
        assert_eq!(reading.buckets[1], (Duration::from_micros(100), 2));
        assert_eq!(reading.buckets.last().map(|bucket| bucket.1), Some(2), "one is over every bound");
        assert_eq!((reading.count, reading.sum), (3, Duration::from_micros(20_000_101)));
    }

    #[test]
    fn each_step_counts_from_the_end_of_the_one_before_and_the_longest_is_kept() {
        let meters = Meters::default();
        let mut watch = StepWatch::begin(at(1));
        for (step, millis) in [(Step::Datagrams, 3), (Step::Outputs, 13), (Step::Datagrams, 14)] {
            watch.end(step, at(millis), &meters);
        }
        let read =
            |step: Step| (meters.steps[step as usize].durations.read().count, meters.steps[step as usize].longest());
        assert_eq!(read(Step::Datagrams), (2, Duration::from_millis(2)));
        assert_eq!(read(Step::Outputs), (1, Duration::from_millis(10)));
        assert_eq!((STEPS[Step::Datagrams as usize], STEPS[Step::Outputs as usize]), ("datagrams", "outputs"));
    }

    #[test]
    fn a_lease_tells_its_margin_when_renewed_and_lapses_once() {
        let meters = Meters::default();
        let mut watch = LeaseWatch::default();
        watch.look(at(1), at(150), &meters);
        assert_eq!(meters.lease_margin.read().count, 0, "the first is no renewal");
        watch.look(at(20), at(170), &meters);
        assert_eq!(meters.lease_margin.read().sum, Duration::from_millis(130));
        watch.look(at(170), at(170), &meters);
        watch.look(at(180), at(170), &meters);
        assert_eq!(meters.lease_lapses.read(), 1, "each once");
        watch.look(at(190), at(340), &meters);
        assert_eq!((meters.lease_lapses.read(), meters.lease_margin.read().count), (1, 1), "no margin was left");
    }

    #[test]
    fn a_failover_is_split_by_the_events_that_end_its_parts() {
        let meters = Meters::default();
        let mut watch = FailoverWatch::default();
        let name: funk_proto::id::NodeName = "a".parse().unwrap();
        let id = RaftId::new(7).unwrap();
        let owned = Event::Owned { epoch: Epoch(9), owner: name.clone(), shards: vec![ShardId(1), ShardId(2)] };
        watch.detected(at(79), Duration::from_millis(81), &meters);
        let events = [
            (1, Event::Leader { leader: Some(name.clone()), term: Term(1) }),
            (80, Event::Leader { leader: None, term: Term(2) }),
            (100, Event::Leader { leader: Some(name.clone()), term: Term(2) }),
            (103, Event::MemberFailed { name: name.clone(), id }),
            (150, owned.clone()),
            (160, owned),
        ];
        for (millis, event) in events {
            watch.tell(at(millis), "a", &event, &meters);
        }
        let sums = [DETECT, ELECT, MAP, SERVE].map(|phase| meters.failover[phase].read().sum.as_millis());
        assert_eq!(sums, [81, 20, 3, 47]);
        assert_eq!(meters.failover[SERVE].read().count, 1, "what comes later is no part of it");
        assert_eq!(meters.shards_assigned.read(), 4);
    }

    #[test]
    fn the_time_before_the_first_leader_is_part_of_no_failover() {
        let meters = Meters::default();
        let mut watch = FailoverWatch::default();
        let leader = |name: &str| Some(name.parse().unwrap());
        let events = [
            (10, Event::Leader { leader: leader("a"), term: Term(2) }),
            (5_000, Event::Leader { leader: None, term: Term(2) }),
            (5_030, Event::Leader { leader: leader("b"), term: Term(4) }),
            (6_000, Event::Leader { leader: leader("c"), term: Term(5) }),
        ];
        for (millis, event) in events {
            watch.tell(at(millis), "a", &event, &meters);
        }
        let elect = meters.failover[ELECT].read();
        assert_eq!((elect.count, elect.sum), (1, Duration::from_millis(30)));
    }
}
