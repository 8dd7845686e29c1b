//! The replicated state: cluster values, member table and shard map. Every
//! node applies the same entries in the same order and holds the same bytes.

mod cluster;
mod map;
mod members;
pub mod owner_index;
mod pins;
mod ring;
pub mod set;
pub mod snapshot;
mod workers;

use std::collections::VecDeque;
use std::hash::Hasher;
use std::ops::Range;

use siphasher::sip::SipHasher24;

pub use cluster::{ClusterValues, LeaseReason};
pub use map::{Columns, ShardMap, ShardState};
pub use members::{Member, Members};
pub use pins::Pins;
pub use ring::RingMark;
pub use workers::Workers;
pub(crate) use workers::worker_record;

use crate::id::{BootId, ClusterId, Incarnation, LogIndex, NodeName, RaftId, ShardId, WorkerId};
use crate::limits::{REMOVED_BOOTS_MAX, WEIGHT_MAX};
use crate::mutate::{Mutant, planted};
use crate::wire::cluster::{
    BootName, Command, DownRecord, MemberRecord, Op, PinRecord, Transfer, UserEntry, Weight, WorkerRecord,
};

/// What applying an entry changed.
#[derive(Clone, Debug, PartialEq)]
pub enum Change {
    /// A boot of a member is up.
    Up(RaftId),
    /// A boot of a member is down.
    Down {
        /// The process.
        who: Incarnation,
        /// It stopped in order; else it is considered dead.
        stopped: bool,
    },
    /// A member is about to leave.
    Leaving(RaftId),
    /// A member must own nothing from now on.
    Cordoned(RaftId),
    /// A member has left the table in order.
    Left(Member),
    /// A member that was down is out of the table.
    Pruned(Member),
    /// An operator took a member out of the table.
    Removed(Member),
    /// A member's addresses or endpoints are new.
    Updated(RaftId),
    /// Shards started to move.
    Moving {
        /// From whom.
        from: Incarnation,
        /// To whom.
        to: Incarnation,
        /// Which, ascending.
        shards: Vec<ShardId>,
    },
    /// Shards have a new owner.
    Owned {
        /// To whom.
        to: Incarnation,
        /// Which, ascending, with their former owners.
        shards: Vec<(ShardId, Option<Incarnation>)>,
    },
    /// Pins or weights are others: shards may move.
    Shares,
    /// A worker id is free, or a member's that had none.
    Worker(WorkerId),
    /// The lease changed.
    Lease,
    /// The gossip keys are others.
    Ring,
    /// A user entry.
    User(UserEntry),
}

/// The replicated state.
#[derive(Clone, Debug, PartialEq)]
pub struct State {
    /// Values of the whole cluster.
    pub cluster: ClusterValues,
    /// The member table.
    pub members: Members,
    /// The shard map.
    pub map: ShardMap,
    /// The last applied index.
    pub applied: LogIndex,
    /// A hash of all entries that were applied, in their order.
    pub hash: u64,
    /// Boots that an operator took out, oldest first: they are not let in again.
    pub removed: VecDeque<BootId>,
    /// Shards that are to be on one node.
    pub pins: Pins,
    /// Worker ids.
    pub workers: Workers,
    /// The gossip keys.
    pub ring: RingMark,
}

impl State {
    /// The state of a new cluster: no member, no owner.
    pub fn new(cluster: ClusterValues, shards: u32) -> Self {
        Self {
            cluster,
            members: Members::default(),
            map: ShardMap::new(shards),
            applied: LogIndex(0),
            hash: 0,
            removed: VecDeque::new(),
            pins: Pins::default(),
            workers: Workers::default(),
            ring: RingMark::default(),
        }
    }

    /// The state of a new cluster whose bootstrap is its only member, at index 1.
    pub fn bootstrap(cluster: ClusterValues, shards: u32, member: Member) -> Self {
        let mut state = Self::new(cluster, shards);
        state.applied = LogIndex(1);
        let owner = member.boot.map(|boot| Incarnation { id: member.id, boot });
        let entered = state.members.enter(LogIndex(1), member);
        assert!(entered, "an empty table takes any member");
        owner.and_then(|owner| state.workers.give(owner));
        state
    }

    /// The state with which `member` alone begins the cluster's next generation, at `index`, under the id `id`.
    /// No shard has an owner: whatever was granted before is over, and who owns one next has a new epoch.
    #[must_use]
    pub fn recovered(self, id: ClusterId, index: LogIndex, member: Member) -> Self {
        let owner = member.boot.map(|boot| Incarnation { id: member.id, boot });
        let mut members = Members::default();
        assert!(members.enter(index, member), "an empty table takes any member");
        let map = ShardMap::vacated(self.map.shards(), index.into());
        let mut state = Self { cluster: self.cluster.recovered(id), members, map, applied: index, ..self };
        owner.and_then(|owner| state.workers.give(owner));
        state
    }

    /// Takes an entry into the hash of what was applied: two nodes with the same hash applied the same entries.
    pub fn note_entry(&mut self, index: LogIndex, data: &[u8]) {
        let mut hasher = SipHasher24::new_with_keys(self.hash, index.0);
        hasher.write(data);
        self.hash = hasher.finish();
    }

    /// Applies one entry. Operations that no longer fit the state do nothing,
    /// the same on every node.
    pub fn apply(&mut self, index: LogIndex, command: Command) -> Vec<Change> {
        self.applied = index;
        let mut changes = Vec::new();
        for operation in command.operations.into_iter().filter_map(|operation| operation.op) {
            match operation {
                Op::Up(record) => changes.extend(self.up(index, &record)),
                Op::Down(name) => changes.extend(self.down(name)),
                Op::Leave(name) => changes.extend(self.leave(name)),
                Op::Left(name) => changes.extend(self.left(name)),
                Op::Removed(name) => changes.extend(self.remove(name)),
                Op::Cordon(name) => changes.extend(self.cordon(name)),
                Op::Update(record) => changes.extend(self.update(&record)),
                Op::Moving(transfer) => self.moving(index, &transfer, &mut changes),
                Op::Owned(transfer) => changes.extend(self.owned(index, &transfer)),
                Op::Pin(pin) => changes.extend(self.pin(&pin)),
                Op::Weigh(weight) => changes.extend(self.weigh(weight)),
                Op::Lease(record) => changes.extend(self.cluster.change_lease(record)),
                Op::Ring(record) => changes.extend(self.ring.change(&record)),
                Op::FreeWorker(record) => changes.extend(self.free_worker(&record)),
                Op::User(entry) => changes.push(Change::User(entry)),
            }
        }
        changes
    }

    fn up(&mut self, index: LogIndex, record: &MemberRecord) -> Option<Change> {
        let member = Member::parse(record)?;
        let id = member.id;
        if member.boot.is_some_and(|boot| self.removed.contains(&boot)) {
            return None;
        }
        let owner = member.boot.map(|boot| Incarnation { id, boot });
        self.members.enter(index, member).then(|| {
            owner.and_then(|owner| self.workers.give(owner));
            Change::Up(id)
        })
    }

    fn boot_of(&mut self, name: BootName) -> Option<(&mut Member, BootId)> {
        let Incarnation { id, boot } = Incarnation::named(name)?;
        let same = |member: &&mut Member| member.boot == Some(boot) || planted(Mutant::BootNotCompared);
        Some((self.members.get_mut(id).filter(same)?, boot))
    }

    fn down(&mut self, record: DownRecord) -> Option<Change> {
        let (member, boot) = self.boot_of(BootName { id: record.id, boot: record.boot })?;
        member.boot = None;
        member.leaving = false;
        Some(Change::Down { who: Incarnation { id: member.id, boot }, stopped: record.stopped })
    }

    fn leave(&mut self, name: BootName) -> Option<Change> {
        let (member, _) = self.boot_of(name)?;
        let first = !std::mem::replace(&mut member.leaving, true);
        first.then_some(Change::Leaving(member.id))
    }

    fn left(&mut self, name: BootName) -> Option<Change> {
        let id = RaftId::new(name.id)?;
        let boot = BootId::new(name.boot);
        // With a boot: that boot leaves in order. Without: only a dead member goes.
        if self.members.get(id)?.boot != boot {
            return None;
        }
        let member = self.members.remove(id)?;
        Some(if boot.is_some() { Change::Left(member) } else { Change::Pruned(member) })
    }

    fn cordon(&mut self, name: BootName) -> Option<Change> {
        let (member, _) = self.boot_of(name)?;
        let first = !std::mem::replace(&mut member.cordoned, true);
        first.then_some(Change::Cordoned(member.id))
    }

    fn remove(&mut self, name: BootName) -> Option<Change> {
        let id = RaftId::new(name.id)?;
        let boot = BootId::new(name.boot);
        let listed = self.members.get(id)?.boot;
        if listed.is_some() && listed != boot {
            return None;
        }
        if let Some(boot) = boot.filter(|boot| !self.removed.contains(boot)) {
            if self.removed.len() >= REMOVED_BOOTS_MAX {
                self.removed.pop_front();
            }
            self.removed.push_back(boot);
        }
        let member = self.members.remove(id)?;
        Some(Change::Removed(member))
    }

    fn update(&mut self, record: &MemberRecord) -> Option<Change> {
        let new = Member::parse(record)?;
        let member = self.members.get_mut(new.id).filter(|member| member.boot == new.boot)?;
        if member.name != new.name {
            return None;
        }
        (member.serf, member.raft, member.liveness) = (new.serf, new.raft, new.liveness);
        member.endpoints = new.endpoints;
        Some(Change::Updated(new.id))
    }

    fn pin(&mut self, pin: &PinRecord) -> Option<Change> {
        let (shards, node) = pinned(pin, self.map.shards())?;
        self.pins.set(shards, node.as_ref()).then_some(Change::Shares)
    }

    fn weigh(&mut self, weight: Weight) -> Option<Change> {
        let (member, _) = self.boot_of(BootName { id: weight.id, boot: weight.boot })?;
        if !(1..=WEIGHT_MAX).contains(&weight.weight) {
            return None;
        }
        member.weight = weight.weight;
        Some(Change::Shares)
    }

    fn free_worker(&mut self, record: &WorkerRecord) -> Option<Change> {
        let owner = Incarnation { id: RaftId::new(record.id)?, boot: BootId::new(record.boot)? };
        let id = WorkerId(u16::try_from(record.worker).ok()?);
        // It may be back since: then it holds a lease, and keeps its id.
        if self.members.is_up(owner.id, owner.boot) || !self.workers.free(id, owner) {
            return None;
        }
        let up = self.members.iter().filter_map(|member| Some(Incarnation { id: member.id, boot: member.boot? }));
        let waiting = up.into_iter().find(|&owner| self.workers.of(owner).is_none());
        waiting.and_then(|owner| self.workers.give(owner));
        Some(Change::Worker(id))
    }

    fn transfer(&self, transfer: &Transfer) -> Option<(Incarnation, LogIndex, Vec<ShardId>)> {
        let to = Incarnation { id: RaftId::new(transfer.to)?, boot: BootId::new(transfer.boot)? };
        let shards = set::decode(&transfer.shards, self.map.shards())?;
        // A destination that died since is not taken: the next plan finds another.
        self.members.is_up(to.id, to.boot).then_some((to, LogIndex(transfer.seen), shards))
    }

    fn moving(&mut self, index: LogIndex, transfer: &Transfer, changes: &mut Vec<Change>) {
        let Some((to, seen, shards)) = self.transfer(transfer) else { return };
        let started = self.map.start_move(index, seen, to, &shards);
        let mut by_owner = std::collections::BTreeMap::<Incarnation, Vec<ShardId>>::new();
        for shard in started {
            let from = self.map.get(shard).and_then(|state| state.owner).expect("a shard that moves has an owner");
            by_owner.entry(from).or_default().push(shard);
        }
        changes.extend(by_owner.into_iter().map(|(from, shards)| Change::Moving { from, to, shards }));
    }

    fn owned(&mut self, index: LogIndex, transfer: &Transfer) -> Option<Change> {
        let (to, seen, shards) = self.transfer(transfer)?;
        let shards = self.map.set_owner(index, seen, to, &shards);
        for former in shards.iter().filter_map(|&(_, former)| former).filter(|former| *former != to) {
            if let Some(member) = self.members.get_mut(former.id) {
                member.taken_index = index;
            }
        }
        (!shards.is_empty()).then_some(Change::Owned { to, shards })
    }

    /// Shards beyond the capacity of all that may own; they are spread by weight.
    pub fn over_capacity(&self) -> u32 {
        let mut rooms = self.members.iter().filter(|member| member.may_own()).map(Member::room).peekable();
        if rooms.peek().is_none() {
            return 0;
        }
        self.map.shards().saturating_sub(rooms.fold(0, u32::saturating_add))
    }
}

/// A pin as it is written.
pub(crate) fn pin_record(shards: &Range<u32>, node: Option<&NodeName>) -> PinRecord {
    let node = node.map_or_else(String::new, ToString::to_string);
    PinRecord { first: shards.start, shards: shards.end.saturating_sub(shards.start), node }
}

/// A pin from its record; `None` if it names no shards of `total`, or no node that there could be.
pub(super) fn pinned(pin: &PinRecord, total: u32) -> Option<(Range<u32>, Option<NodeName>)> {
    let end = pin.first.checked_add(pin.shards).filter(|&end| end <= total && end > pin.first)?;
    let node = if pin.node.is_empty() { None } else { Some(pin.node.parse().ok()?) };
    Some((pin.first..end, node))
}

#[cfg(test)]
pub(super) mod tests {
    use std::time::Duration;

    use super::*;
    use crate::config::Ownership;
    use crate::wire::cluster::Operation;

    pub fn record(n: u64) -> MemberRecord {
        MemberRecord {
            id: n,
            boot: 100 + n,
            name: format!("n{n}"),
            serf: format!("127.0.0.1:{}", 1000 + n),
            raft: format!("127.0.0.1:{}", 2000 + n),
            liveness: format!("127.0.0.1:{}", 3000 + n),
            endpoints: [("ep.demo".to_owned(), format!("127.0.0.1:{}", 4000 + n))].into(),
            weight: 1,
            ..MemberRecord::default()
        }
    }

    pub fn state(shards: u32) -> State {
        let cluster = ClusterValues {
            id: ClusterId::new(7).unwrap(),
            name: "c".into(),
            created_ns: 5,
            lease: Duration::from_millis(150),
            lease_min: Duration::from_millis(150),
            lease_max: Duration::from_millis(600),
            lease_reason: LeaseReason::default(),
            drift_ppm: 10_000,
            ownership: Ownership::default(),
            generation: 1,
            former: Vec::new(),
        };
        State::new(cluster, shards)
    }

    pub fn command(ops: impl IntoIterator<Item = Op>) -> Command {
        Command { operations: ops.into_iter().map(|op| Operation { op: Some(op) }).collect() }
    }

    pub fn transfer(seen: u64, n: u64, shards: &[u32]) -> Transfer {
        let shards: Vec<ShardId> = shards.iter().copied().map(ShardId).collect();
        Transfer { seen, to: n, boot: 100 + n, shards: set::encode(&shards) }
    }

    #[test]
    fn one_live_member_per_name() {
        let mut state = state(4);
        assert_eq!(state.apply(LogIndex(2), command([Op::Up(record(1))])).len(), 1);
        let mut second = record(2);
        second.name = "n1".into();
        assert_eq!(state.apply(LogIndex(3), command([Op::Up(second.clone())])), []);
        let dead = Op::Down(DownRecord { id: 1, boot: 101, stopped: false });
        assert_eq!(state.apply(LogIndex(4), command([dead, Op::Up(second)])).len(), 2);
    }

    #[test]
    fn evidence_about_another_boot_does_nothing() {
        let mut state = state(4);
        state.apply(LogIndex(2), command([Op::Up(record(1))]));
        for op in [Op::Down(DownRecord { id: 1, boot: 9, stopped: false }), Op::Leave(BootName { id: 1, boot: 9 })] {
            assert_eq!(state.apply(LogIndex(3), command([op])), []);
        }
        let removed = Op::Left(BootName { id: 1, boot: 0 });
        assert_eq!(state.apply(LogIndex(4), command([removed])), [], "it is up");
    }

    #[test]
    fn what_is_taken_raises_the_losers_floor() {
        let mut state = state(4);
        state.apply(LogIndex(2), command([Op::Up(record(1)), Op::Up(record(2))]));
        state.apply(LogIndex(3), command([Op::Owned(transfer(2, 1, &[0, 1, 2, 3]))]));
        assert_eq!(state.members.get(RaftId::new(1).unwrap()).unwrap().taken_index, LogIndex(0));
        let changes = state.apply(LogIndex(4), command([Op::Moving(transfer(3, 2, &[1, 3]))]));
        let [Change::Moving { shards, .. }] = &changes[..] else { panic!("{changes:?}") };
        assert_eq!(shards[..], [ShardId(1), ShardId(3)]);
        state.apply(LogIndex(5), command([Op::Owned(transfer(4, 2, &[1, 3]))]));
        assert_eq!(state.members.get(RaftId::new(1).unwrap()).unwrap().taken_index, LogIndex(5));
    }

    #[test]
    fn shards_are_not_given_to_a_boot_that_is_not_up() {
        let mut state = state(4);
        state.apply(LogIndex(2), command([Op::Up(record(1))]));
        let mut wrong = transfer(2, 1, &[0]);
        wrong.boot = 9;
        assert_eq!(state.apply(LogIndex(3), command([Op::Owned(wrong), Op::Owned(transfer(2, 3, &[0]))])), []);
        let mut out_of_range = transfer(2, 1, &[9]);
        out_of_range.boot = 101;
        assert_eq!(state.apply(LogIndex(4), command([Op::Owned(out_of_range)])), []);
    }

    #[test]
    fn a_stop_in_order_is_told_from_a_death_and_has_the_old_bytes_for_the_latter() {
        use prost::Message;
        let who = Incarnation { id: RaftId::new(1).unwrap(), boot: BootId::new(101).unwrap() };
        for (down, stopped) in [(DownRecord::failed(who), false), (DownRecord::stopped(who), true)] {
            let mut state = state(4);
            state.apply(LogIndex(2), command([Op::Up(MemberRecord { durable: true, ..record(1) })]));
            assert_eq!(state.apply(LogIndex(3), command([Op::Down(down)])), [Change::Down { who, stopped }]);
            assert!(state.members.get(who.id).is_some_and(|member| member.boot.is_none()), "it keeps its place");
        }
        assert_eq!(DownRecord::failed(who).encode_to_vec(), BootName::from(who).encode_to_vec());
    }
}
