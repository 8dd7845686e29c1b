//! The gate, with one and with many threads.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use funk_proto::id::{BootId, Epoch, LogIndex, RaftId, ShardId};
use funk_proto::shards::{RouteNode, RouteTable};
use funk_proto::{Input, Timestamp};
use futures_lite::future::{block_on, poll_once};

use super::Gate;
use super::guard::NotOwnerReason;
use super::publisher::Publisher;
use crate::clock::Clock;
use crate::watch::Watch;

const SHARD: ShardId = ShardId(0);
const HOUR: Duration = Duration::from_secs(3600);

#[derive(Debug, Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A driver without a driver.
struct Rig {
    gate: Arc<Gate>,
    publisher: Publisher,
    woken: Arc<Woken>,
    version: u64,
}

impl Rig {
    fn new() -> Self {
        let woken = Arc::new(Woken::default());
        let gate = Arc::new(Gate::new(Clock::start(), Waker::from(Arc::clone(&woken)), false));
        Self { publisher: Publisher::new(Arc::clone(&gate)), gate, woken, version: 0 }
    }

    fn publish(&mut self, table: RouteTable, lease_until: Timestamp, closing: &[LogIndex]) {
        self.version += 1;
        let closing: Vec<_> = closing.iter().map(|change| (*change, &[SHARD][..])).collect();
        self.publisher.publish(self.gate.now(), self.version, || Arc::new(table), lease_until, &closing, &[]);
    }

    fn renew(&mut self, lease_until: Timestamp) {
        let unchanged = || unreachable!("the version is the same");
        self.publisher.publish(self.gate.now(), self.version, unchanged, lease_until, &[], &[]);
    }

    fn close(&mut self, table: RouteTable, lease_until: Timestamp, closing: (LogIndex, &[ShardId])) {
        self.version += 1;
        self.publisher.publish(self.gate.now(), self.version, || Arc::new(table), lease_until, &[closing], &[]);
        self.publisher.drain(closing.0, closing.1);
    }

    /// Returns the end that the core is told.
    fn freeze(&mut self, change: LogIndex, lease_until: Timestamp) -> Timestamp {
        let unchanged = || unreachable!("the version is the same");
        self.publisher.publish(self.gate.now(), self.version, unchanged, lease_until, &[], &[change]);
        self.publisher.frozen_until(change)
    }

    fn drain(&mut self, change: LogIndex) -> Option<Input> {
        self.publisher.drain(change, &[SHARD])
    }

    fn sweep(&mut self) -> Vec<Input> {
        let mut inputs = Vec::new();
        self.publisher.sweep(|input| inputs.push(input));
        inputs
    }

    fn lease(&self) -> Timestamp {
        self.gate.now() + HOUR
    }
}

/// One shard; node 0 is this one.
fn table(owner: usize, epoch: u64, moving: bool) -> RouteTable {
    let node = |id| RouteNode {
        id: RaftId::new(id).unwrap(),
        boot: BootId::new(id).unwrap(),
        name: format!("n{id}").parse().unwrap(),
        endpoints: BTreeMap::new(),
        up: true,
        leaving: false,
    };
    RouteTable::new(Epoch(epoch), vec![node(1), node(2)], Some(0), [Some(owner)], vec![epoch], moving.then_some(SHARD))
}

fn drained(change: LogIndex) -> Input {
    Input::Drained { change, shards: vec![SHARD] }
}

#[test]
fn only_an_owner_with_a_lease_gets_a_guard() {
    let mut rig = Rig::new();
    let why = |rig: &Rig| rig.gate.guard(SHARD).unwrap_err().why;
    assert_eq!(why(&rig), NotOwnerReason::OutOfRange);
    rig.publish(table(0, 1, false), Timestamp::ZERO, &[]);
    assert_eq!(why(&rig), NotOwnerReason::NoLease);
    rig.renew(rig.lease());
    let guard = rig.gate.guard(SHARD).unwrap();
    assert!(guard.is_valid() && guard.epoch() == Epoch(1));
    rig.publish(table(1, 2, false), rig.lease(), &[]);
    let refused = rig.gate.guard(SHARD).unwrap_err();
    assert_eq!((refused.why, refused.owner.unwrap().as_str()), (NotOwnerReason::Elsewhere, "n2"));
    assert!(!guard.is_valid(), "it was taken without a drain");
    rig.publish(table(1, 2, true), rig.lease(), &[]);
    assert_eq!(why(&rig), NotOwnerReason::Pending);
}

#[test]
fn a_refused_guard_is_not_counted() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), Timestamp::ZERO, &[]);
    rig.gate.guard(SHARD).unwrap_err();
    rig.publish(table(0, 1, true), Timestamp::ZERO, &[LogIndex(5)]);
    assert_eq!(rig.drain(LogIndex(5)), Some(drained(LogIndex(5))));
}

#[test]
fn a_closed_shards_guards_follow_the_lease_until_they_freeze() {
    let mut rig = Rig::new();
    let first = rig.lease();
    rig.publish(table(0, 1, false), first, &[]);
    let guard = rig.gate.guard(SHARD).unwrap();
    rig.publish(table(0, 1, true), first + HOUR, &[LogIndex(5)]);
    assert_eq!(rig.drain(LogIndex(5)), None);
    assert_eq!(rig.gate.guard(SHARD).unwrap_err().why, NotOwnerReason::Pending);
    assert_eq!(guard.valid_until(), first + HOUR);
    rig.renew(first + HOUR * 2);
    assert_eq!(guard.valid_until(), first + HOUR * 2);
    // Other moves freeze without it.
    assert_eq!(rig.freeze(LogIndex(4), first + HOUR * 3), Timestamp::ZERO);
    assert_eq!(guard.valid_until(), first + HOUR * 3);
    // The lease is renewed in the very pass that freezes them, and after it.
    assert_eq!(rig.freeze(LogIndex(5), first + HOUR * 4), first + HOUR * 3);
    assert_eq!(guard.valid_until(), first + HOUR * 3);
    rig.renew(first + HOUR * 5);
    assert_eq!(guard.valid_until(), first + HOUR * 3);
    assert!(guard.is_valid());
    // The same move, announced and frozen again.
    rig.publish(table(0, 1, true), first + HOUR * 5, &[LogIndex(5)]);
    rig.drain(LogIndex(5));
    assert_eq!(rig.freeze(LogIndex(5), first + HOUR * 5), first + HOUR * 3);
    assert_eq!(guard.valid_until(), first + HOUR * 3);
    rig.publish(table(1, 6, false), first + HOUR * 5, &[]);
    assert!(!guard.is_valid());
}

#[test]
fn shards_that_join_a_frozen_move_are_frozen_with_the_lease_of_that_moment() {
    let mut rig = Rig::new();
    let (first, change) = (rig.lease(), LogIndex(5));
    rig.publish(four(&[]), first, &[]);
    let (one, two) = (rig.gate.guard(ShardId(1)).unwrap(), rig.gate.guard(ShardId(2)).unwrap());
    rig.close(four(&[1]), first, (change, &[ShardId(1)]));
    assert_eq!(rig.freeze(change, first), first);
    rig.renew(first + HOUR);
    rig.close(four(&[1, 2]), first + HOUR, (change, &[ShardId(2)]));
    assert_eq!((one.valid_until(), two.valid_until()), (first, first + HOUR));
    assert_eq!(rig.freeze(change, first + HOUR * 2), first + HOUR, "all of its guards have ended then");
    assert_eq!((one.valid_until(), two.valid_until()), (first, first + HOUR));
}

/// Four shards of node 0, or of whom they are on their way from.
fn four(moving: &[u32]) -> RouteTable {
    let of_one = table(0, 1, false);
    let nodes = vec![of_one.owner(SHARD).unwrap().0.clone()];
    let moving: Vec<ShardId> = moving.iter().map(|&shard| ShardId(shard)).collect();
    RouteTable::new(Epoch(1), nodes, Some(0), [Some(0); 4], vec![1; 4], moving)
}

#[test]
fn the_drains_of_a_move_to_several_nodes_end_one_by_one_and_are_forgotten() {
    let mut rig = Rig::new();
    rig.publish(four(&[]), rig.lease(), &[]);
    let guards: Vec<_> = (0..4).map(|shard| rig.gate.guard(ShardId(shard)).unwrap()).collect();
    let change = LogIndex(5);
    let (one, two) = ([ShardId(1), ShardId(3)], [ShardId(0), ShardId(2)]);
    rig.version += 1;
    let lease_until = rig.lease();
    let closing: [(LogIndex, &[ShardId]); 2] = [(change, &one), (change, &two)];
    rig.publisher.publish(rig.gate.now(), rig.version, || Arc::new(four(&[0, 1, 2, 3])), lease_until, &closing, &[]);
    assert_eq!((rig.publisher.drain(change, &one), rig.publisher.drain(change, &two)), (None, None));
    let mut told = Vec::new();
    for guard in guards {
        drop(guard);
        told.extend(rig.sweep());
        assert_eq!(rig.sweep(), [], "nothing is told twice");
    }
    let each = |shard| Input::Drained { change, shards: vec![ShardId(shard)] };
    assert_eq!(told, [0, 1, 2, 3].map(each));
    // Nobody waits for these shards any more: a guard that is dropped when they are back wakes nobody.
    rig.publish(four(&[]), rig.lease(), &[]);
    rig.woken.0.store(false, Ordering::SeqCst);
    (0..4).for_each(|shard| drop(rig.gate.guard(ShardId(shard)).unwrap()));
    assert!(!rig.woken.0.load(Ordering::SeqCst));
}

#[test]
fn a_lost_lease_ends_the_guards_of_closed_shards_too() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), rig.lease(), &[]);
    let guard = rig.gate.guard(SHARD).unwrap();
    rig.publish(table(0, 1, true), rig.lease(), &[LogIndex(5)]);
    rig.drain(LogIndex(5));
    assert!(guard.is_valid());
    rig.renew(Timestamp::ZERO);
    assert!(!guard.is_valid());
    rig.renew(rig.lease());
    assert!(guard.is_valid(), "nobody else got the shard meanwhile");
    rig.freeze(LogIndex(5), rig.lease());
    rig.renew(Timestamp::ZERO);
    rig.renew(rig.lease());
    assert!(!guard.is_valid(), "a new lease does not revive a frozen one");
}

#[test]
fn a_guard_of_a_former_ownership_is_not_revived_by_the_next() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), rig.lease(), &[]);
    let old = rig.gate.guard(SHARD).unwrap();
    rig.publish(table(1, 2, false), rig.lease(), &[]);
    rig.publish(table(0, 3, false), rig.lease(), &[]);
    assert!(!old.is_valid());
    let new = rig.gate.guard(SHARD).unwrap();
    rig.publish(table(0, 3, true), rig.lease(), &[LogIndex(5)]);
    rig.drain(LogIndex(5));
    assert!(new.is_valid() && !old.is_valid());
}

#[test]
fn the_last_dropped_guard_wakes_the_driver() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), rig.lease(), &[]);
    let (one, two) = (rig.gate.guard(SHARD).unwrap(), rig.gate.guard(SHARD).unwrap());
    rig.publish(table(0, 1, true), rig.lease(), &[LogIndex(5)]);
    assert_eq!(rig.drain(LogIndex(5)), None);
    drop(one);
    assert!(!rig.woken.0.load(Ordering::SeqCst));
    assert_eq!(rig.sweep(), []);
    drop(two);
    assert!(rig.woken.0.load(Ordering::SeqCst));
    assert_eq!(rig.sweep(), [drained(LogIndex(5))]);
    assert_eq!(rig.sweep(), [], "told once");
}

#[test]
fn a_guard_is_cancelled_when_its_shard_moves_or_the_lease_is_over() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), rig.lease(), &[]);
    let guard = rig.gate.guard(SHARD).unwrap();
    block_on(async {
        assert!(poll_once(guard.cancelled()).await.is_none());
        rig.renew(Timestamp::ZERO);
        guard.cancelled().await;
        rig.renew(rig.lease());
        assert!(poll_once(guard.cancelled()).await.is_none());
        rig.publish(table(0, 1, true), rig.lease(), &[LogIndex(5)]);
        guard.cancelled().await;
    });
}

#[test]
fn a_guard_whose_lease_lapsed_holds_again_when_that_is_back_and_not_when_the_shard_is_gone() {
    let mut rig = Rig::new();
    rig.publish(table(0, 1, false), rig.lease(), &[]);
    let guard = rig.gate.guard(SHARD).unwrap();
    block_on(async {
        assert!(guard.holds().await);
        rig.renew(Timestamp::ZERO);
        let mut holds = Box::pin(guard.holds());
        assert!(poll_once(&mut holds).await.is_none());
        rig.renew(rig.lease());
        assert!(holds.await);
        rig.publish(table(0, 1, true), rig.lease(), &[LogIndex(5)]);
        rig.drain(LogIndex(5));
        rig.renew(Timestamp::ZERO);
        let mut holds = Box::pin(guard.holds());
        assert!(poll_once(&mut holds).await.is_none(), "it may come back while it is not frozen");
        rig.freeze(LogIndex(5), rig.lease());
        rig.renew(rig.lease());
        assert!(!holds.await, "it froze without a lease");
        rig.publish(table(1, 6, false), rig.lease(), &[]);
        assert!(!guard.holds().await);
    });
}

#[test]
fn a_watch_wakes_for_tables_and_for_the_lease_that_comes_back() {
    let mut rig = Rig::new();
    let mut watch = Watch::new(Arc::clone(&rig.gate));
    block_on(async {
        rig.publish(table(0, 1, false), rig.lease(), &[]);
        watch.changed().await;
        assert!(poll_once(watch.changed()).await.is_none());
        rig.renew(rig.lease());
        assert!(poll_once(watch.changed()).await.is_none(), "a renewal is no news");
        rig.renew(Timestamp::ZERO);
        assert!(poll_once(watch.changed()).await.is_none(), "there is nothing to try again");
        rig.renew(rig.lease());
        watch.changed().await;
        rig.publisher.close();
        assert!(!rig.gate.guard(SHARD).is_ok_and(|guard| guard.is_valid()));
    });
}

#[test]
fn no_guard_slips_through_a_closing_gate() {
    const ROUNDS: u64 = 200;
    let Rig { gate, publisher, .. } = Rig::new();
    let (serving, done) = (AtomicUsize::new(0), AtomicBool::new(false));
    std::thread::scope(|scope| {
        for _ in 0..3 {
            scope.spawn(|| {
                while !done.load(Ordering::Relaxed) {
                    if let Ok(guard) = gate.guard(SHARD) {
                        serving.fetch_add(1, Ordering::SeqCst);
                        std::hint::spin_loop();
                        serving.fetch_sub(1, Ordering::SeqCst);
                        drop(guard);
                    }
                }
            });
        }
        let mut mover = Mover { publisher, gate: Arc::clone(&gate), version: 0 };
        for round in 1..=ROUNDS {
            mover.open(round);
            std::thread::yield_now();
            mover.close_and_drain(round);
            assert_eq!(serving.load(Ordering::SeqCst), 0, "a guard was served past its drain");
        }
        done.store(true, Ordering::Relaxed);
    });
}

/// Opens and closes the shard, over and over.
struct Mover {
    publisher: Publisher,
    gate: Arc<Gate>,
    version: u64,
}

impl Mover {
    fn publish(&mut self, table: RouteTable, closing: &[(LogIndex, &[ShardId])]) {
        self.version += 1;
        let now = self.gate.now();
        self.publisher.publish(now, self.version, || Arc::new(table), now + HOUR, closing, &[]);
    }

    fn open(&mut self, epoch: u64) {
        self.publish(table(0, epoch, false), &[]);
    }

    fn close_and_drain(&mut self, epoch: u64) {
        let change = LogIndex(epoch);
        self.publish(table(0, epoch, true), &[(change, &[SHARD])]);
        let mut free = self.publisher.drain(change, &[SHARD]).is_some();
        while !free {
            std::thread::yield_now();
            self.publisher.sweep(|input| free |= input == drained(change));
        }
    }
}
