//! Leases over clocks that drift: real liveness machines talk over a network
//! that delays, loses, doubles and reorders, each on a clock of its own rate.
//! In true time, no holder may believe for longer than its waiter waits. The
//! lease changes all the time, and nobody knows who has applied which.

use funk_proto::id::{BootId, LogIndex, RaftId, Term};
use std::collections::BTreeSet;
use std::time::Duration;

use funk_proto::liveness::{Ack, Liveness, LivenessOutput, MemberView, Word};
use funk_proto::{ClusterTiming, Timestamp, Timing};

/// Node 1 leads; the last one does not vote.
pub const NODES: u64 = 4;
const VOTERS: u64 = 3;
/// The shortest and the longest lease.
pub const LEASES: (Duration, Duration) = (Duration::from_millis(150), Duration::from_millis(600));
/// Parts per million by which clocks may be off.
pub const DRIFT: i32 = 10_000;

fn id(n: u64) -> RaftId {
    RaftId::new(n).expect("small numbers")
}

fn boot(n: u64) -> BootId {
    BootId::new(100 + n).expect("small numbers")
}

/// A clock whose rate is `ppm` millionths of true time. It started long ago,
/// at another time than the others.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    ppm: u128,
    ahead: u64,
}

impl Clock {
    /// A clock that is off by so much, and that reads `ahead` nanoseconds at true time zero.
    pub fn new(drift_ppm: i32, ahead: u64) -> Self {
        Self { ppm: u128::try_from(1_000_000 + drift_ppm).expect("small numbers"), ahead }
    }

    /// What the clock shows, rounded down.
    pub fn show(self, truth: u64) -> Timestamp {
        let shown = u128::from(truth) * self.ppm / 1_000_000;
        Timestamp::from_nanos(u64::try_from(shown).expect("small numbers") + self.ahead)
    }

    /// The true time from which on the clock shows at least this.
    pub fn truth(self, shown: Timestamp) -> u64 {
        let shown = u128::from(shown.as_nanos().saturating_sub(self.ahead));
        u64::try_from((shown * 1_000_000).div_ceil(self.ppm)).expect("small numbers")
    }
}

#[derive(Clone, Debug)]
struct Packet {
    at: u64,
    from: u64,
    to: u64,
    counter: u64,
    word: Word,
}

/// What becomes of the next packet.
#[derive(Clone, Copy, Debug)]
pub struct Fate {
    /// How long it is on the way, microseconds.
    pub delay_us: u32,
    /// It never arrives.
    pub lost: bool,
    /// It arrives a second time.
    pub doubled: bool,
    /// Whoever sends it next has applied this lease by then, in milliseconds; 0: none.
    pub lease_ms: u16,
}

/// One leader, its followers, and what is on the way between them.
#[derive(Debug)]
pub struct World {
    truth: u64,
    clocks: Vec<Clock>,
    nodes: Vec<Liveness>,
    wires: Vec<Packet>,
    /// Leases on their way to the disk of a node: when, whose, which.
    writes: Vec<(u64, u64, Duration)>,
    /// The longest lease on the disk of each voter.
    kept: Vec<Duration>,
    fates: Vec<Fate>,
    sent: usize,
}

impl World {
    /// Node 1 leads. Packet after packet meets the next of these fates, over and over.
    pub fn new(clocks: Vec<Clock>, fates: Vec<Fate>, timing: Timing) -> Self {
        let truth = 1_000_000;
        let mut nodes: Vec<_> = (1..=NODES).map(|n| Liveness::new(id(n), boot(n), timing)).collect();
        let now = clocks[0].show(truth);
        let views: Vec<_> =
            (1..=NODES).map(|n| MemberView { id: id(n), boot: Some(boot(n)), floor: LogIndex(1) }).collect();
        nodes[0].lead(now, Term(1), Duration::ZERO);
        nodes[0].set_members(now, &views, (1..=VOTERS).map(id).collect(), BTreeSet::new());
        for node in &mut nodes {
            node.set_applied(LogIndex(1), 0);
            node.set_kept_lease(Duration::ZERO);
        }
        nodes[0].set_ready(now);
        let kept = vec![Duration::ZERO; nodes.len()];
        let mut world = Self { truth, clocks, nodes, wires: Vec::new(), writes: Vec::new(), kept, fates, sent: 0 };
        world.drain(1);
        world
    }

    fn drain(&mut self, n: u64) {
        let at = usize::try_from(n - 1).expect("small numbers");
        while let Some(output) = self.nodes[at].poll_output() {
            let fate = self.fates[self.sent % self.fates.len()];
            if let LivenessOutput::KeepLease(lease) = output {
                // The disk writes in order.
                let when = self.truth + u64::from(fate.delay_us) * 1_000;
                let before = self.writes.iter().filter(|write| write.1 == n).map(|write| write.0).max();
                self.writes.push((before.unwrap_or(0).max(when), n, lease));
            }
            let LivenessOutput::Send { to, counter, word } = output else { continue };
            self.sent += 1;
            let when = self.truth + u64::from(fate.delay_us) * 1_000;
            let packet = Packet { at: when, from: n, to: to.get(), counter, word };
            if fate.doubled {
                self.wires.push(Packet { at: when * 2 - self.truth, ..packet.clone() });
            }
            if !fate.lost {
                self.wires.push(packet);
            }
        }
    }

    /// The next packet arrives, or the leader's next timer fires.
    ///
    /// # Errors
    /// Who believes for longer than somebody waits.
    pub fn step(&mut self) -> Result<(), String> {
        let timer = self.nodes[0].poll_timeout().map_or(u64::MAX, |due| self.clocks[0].truth(due));
        self.write_what_is_due(timer);
        let next =
            self.wires.iter().enumerate().min_by_key(|(_, packet)| packet.at).map(|(at, packet)| (at, packet.at));
        match next {
            Some((place, at)) if at <= timer => {
                self.truth = self.truth.max(at);
                let packet = self.wires.swap_remove(place);
                self.arrive(&packet);
            }
            _ => {
                self.truth = self.truth.max(timer);
                let now = self.clocks[0].show(self.truth);
                self.learn_lease(0);
                self.nodes[0].handle_timeout(now);
                self.drain(1);
            }
        }
        self.check()
    }

    fn arrive(&mut self, packet: &Packet) {
        let at = usize::try_from(packet.to - 1).expect("small numbers");
        let (now, from) = (self.clocks[at].show(self.truth), id(packet.from));
        let node = &mut self.nodes[at];
        if !node.admit(from, boot(packet.from), packet.counter) {
            return;
        }
        match packet.word {
            Word::Beat { term, lease, drift_ppm, grant } => {
                if let Some(grant) = grant {
                    node.handle_grant(now, from, grant);
                }
                node.handle_heartbeat(now, from, packet.counter, term, (lease, drift_ppm));
            }
            Word::Ack { echo, applied, promise, .. } => {
                let ack = Ack { counter: packet.counter, echo, applied, promise };
                node.handle_ack(now, from, boot(packet.from), ack);
            }
            Word::Grant(grant) => node.handle_grant(now, from, grant),
            Word::Resign { .. } | Word::Differs { .. } => {}
        }
        self.learn_lease(at);
        self.drain(packet.to);
    }

    /// This node applies a lease, old or new.
    fn learn_lease(&mut self, at: usize) {
        let millis = self.fates[self.sent % self.fates.len()].lease_ms;
        if millis > 0 {
            let (lease, timing) = (Duration::from_millis(millis.into()), Timing::default());
            let (lease_min, lease_max, drift_ppm) = (LEASES.0, LEASES.1, timing.drift_ppm);
            self.nodes[at].set_cluster_timing(ClusterTiming { lease, lease_min, lease_max, drift_ppm });
        }
    }

    /// What reaches the disks before the next packet or the leader's timer.
    fn write_what_is_due(&mut self, timer: u64) {
        let next = self.wires.iter().map(|packet| packet.at).min().unwrap_or(u64::MAX).min(timer);
        self.writes.sort_by_key(|write| write.0);
        while let Some(&(_, n, lease)) = self.writes.first().filter(|write| write.0 <= next) {
            self.writes.remove(0);
            let at = usize::try_from(n - 1).expect("small numbers");
            self.kept[at] = lease;
            self.nodes[at].handle_lease_kept();
            self.drain(n);
        }
    }

    fn check(&self) -> Result<(), String> {
        let leader = &self.nodes[0];
        for n in 2..=NODES {
            let at = usize::try_from(n - 1).expect("small numbers");
            let believes = self.clocks[at].truth(self.nodes[at].lease_until());
            let waits = self.clocks[0].truth(leader.grant_end(id(n), boot(n)));
            let never = self.nodes[at].lease_until() == Timestamp::ZERO;
            if !never && believes > waits {
                return Err(format!("node {n} believes until {believes}, the leader waits until {waits}"));
            }
        }
        for n in 1..=NODES {
            let at = usize::try_from(n - 1).expect("small numbers");
            let promise = self.nodes[at].promise_remaining(self.clocks[at].show(self.truth));
            let honoured = Timing::default().waiter(self.kept[at]);
            if promise > honoured {
                return Err(format!(
                    "node {n} promises for {promise:?}, and would honour {honoured:?} after a restart"
                ));
            }
        }
        let authority = leader.authority_until();
        if authority == Timestamp::ZERO {
            return Ok(());
        }
        let ends = self.clocks[0].truth(authority);
        let backing = (1..=VOTERS).filter(|&n| {
            let at = usize::try_from(n - 1).expect("small numbers");
            let now = self.clocks[at].show(self.truth);
            // A promise that is over may have covered the authority; it is long past then, too.
            let remaining = self.nodes[at].promise_remaining(now);
            ends <= self.truth || self.clocks[at].truth(now + remaining) >= ends
        });
        if backing.count() as u64 <= VOTERS / 2 {
            return Err(format!("the authority until {ends} outlives the promises behind it"));
        }
        Ok(())
    }
}
