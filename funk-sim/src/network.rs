//! The network between hosts: one link for each direction of each pair.

use std::time::Duration;

use funk_proto::Timestamp;
use funk_proto::rng::Rng;

/// Out of a million.
pub type Ppm = u32;

/// What the whole network does to packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// Shortest time on the way.
    pub delay_min: Duration,
    /// Longest time on the way, for packets that are not held up.
    pub delay_max: Duration,
    /// Datagrams that vanish; as many stream segments are sent again.
    pub loss: Ppm,
    /// Datagrams that arrive twice.
    pub duplicate: Ppm,
    /// Datagrams that are held up, by up to `reorder_by`.
    pub reorder: Ppm,
    /// Longest hold-up of a reordered datagram.
    pub reorder_by: Duration,
    /// Datagrams of which a bit is flipped on the way.
    pub corrupt: Ppm,
    /// Datagrams upon which an old one comes again.
    pub replay: Ppm,
}

impl Default for Conditions {
    fn default() -> Self {
        Self {
            delay_min: Duration::from_micros(40),
            delay_max: Duration::from_micros(160),
            loss: 0,
            duplicate: 0,
            reorder: 0,
            reorder_by: Duration::from_millis(20),
            corrupt: 0,
            replay: 0,
        }
    }
}

impl Conditions {
    /// Nothing is lost, and every packet takes the same time.
    pub fn steady() -> Self {
        let delay = Duration::from_micros(100);
        Self { delay_min: delay, delay_max: delay, ..Self::default() }
    }

    /// Whether they do a packet no harm.
    pub(crate) fn are_calm(&self) -> bool {
        [Self::default(), Self::steady()].contains(self)
    }
}

/// One direction between two hosts.
#[derive(Clone, Copy, Debug, Default)]
pub struct Link {
    /// Faults that cut it at present; nothing gets through unless zero.
    pub cuts: u16,
    /// A firewall answers for the far side: dials are refused, datagrams reported unreachable.
    pub rejects: u16,
    /// What is sent before waits until then.
    pub clogged_until: Timestamp,
    /// Added to each packet's way.
    pub extra_delay: Duration,
    /// Added loss.
    pub loss: Ppm,
    /// Faults that lose all datagrams at present, and let streams through.
    pub datagram_cuts: u16,
}

/// All links.
#[derive(Debug, Default)]
pub struct Network {
    /// What it does to all packets.
    pub conditions: Conditions,
    links: Vec<Vec<Link>>,
}

/// Smallest time after which a lost stream segment is sent again.
const RETRANSMIT: Duration = Duration::from_millis(200);

impl Network {
    pub(crate) fn add_host(&mut self) {
        let hosts = self.links.len() + 1;
        self.links.push(Vec::new());
        for row in &mut self.links {
            row.resize(hosts, Link::default());
        }
    }

    /// One direction.
    pub fn link(&self, from: usize, to: usize) -> &Link {
        &self.links[from][to]
    }

    /// One direction, to be changed.
    pub fn link_mut(&mut self, from: usize, to: usize) -> &mut Link {
        &mut self.links[from][to]
    }

    /// Whether anything gets from one host to another.
    pub fn is_open(&self, from: usize, to: usize) -> bool {
        from == to || self.links[from][to].cuts == 0 && self.links[from][to].rejects == 0
    }

    /// Cuts one direction, once more.
    pub fn cut(&mut self, from: usize, to: usize) {
        self.links[from][to].cuts += 1;
    }

    /// Takes one cut back.
    pub fn mend(&mut self, from: usize, to: usize) {
        let cuts = &mut self.links[from][to].cuts;
        *cuts = cuts.saturating_sub(1);
    }

    /// Time on the way for one packet that is sent now.
    pub(crate) fn delay(&self, now: Timestamp, from: usize, to: usize, rng: &mut Rng) -> Duration {
        let link = &self.links[from][to];
        let way = between(rng, self.conditions.delay_min, self.conditions.delay_max) + link.extra_delay;
        link.clogged_until.since(now) + way
    }

    /// Whether a datagram vanishes.
    pub(crate) fn loses_datagram(&self, from: usize, to: usize, rng: &mut Rng) -> bool {
        self.links[from][to].datagram_cuts > 0 || self.loses(from, to, rng)
    }

    fn loses(&self, from: usize, to: usize, rng: &mut Rng) -> bool {
        chance(rng, self.conditions.loss + self.links[from][to].loss)
    }

    /// Time on the way for one stream segment: a lost one is sent again.
    pub(crate) fn stream_delay(&self, now: Timestamp, from: usize, to: usize, rng: &mut Rng) -> Duration {
        let mut delay = self.delay(now, from, to, rng);
        let mut pause = RETRANSMIT;
        while self.loses(from, to, rng) && pause < RETRANSMIT * 16 {
            delay += pause;
            pause *= 2;
        }
        delay
    }
}

/// Whether something of this likelihood happens. Draws nothing if it never does.
pub(crate) fn chance(rng: &mut Rng, ppm: Ppm) -> bool {
    ppm > 0 && rng.below(1_000_000) < u64::from(ppm)
}

/// A time between these. Draws nothing if they are the same.
pub(crate) fn between(rng: &mut Rng, low: Duration, high: Duration) -> Duration {
    if low == high { low } else { rng.between(low, high) }
}
