//! How members behaved once they were let in: who is declared dead again and again waits before it is let in once
//! more, longer each time.
//!
//! Each return costs every voter a few entries of the log, so what goes on for hours must not return several times
//! a second: a link that carries one way only, or a process that ends as soon as it has begun.

use std::collections::BTreeMap;
use std::time::Duration;

use super::LeaderOutput;
use super::pending::PendingJoin;
use crate::id::{BootId, NodeName};
use crate::limits::RAFT_MEMBERS_MAX;
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

/// A stay that is shorter counts as one of a series: a few times the silence that a member is declared dead for.
const STAY: Duration = Duration::from_secs(3);
/// So many short stays in a row cost nothing: a switch that reboots, a process that is started once more.
const FREE_STAYS: u32 = 2;
/// The first pause; it doubles with each short stay.
const PAUSE_MIN: Duration = Duration::from_millis(500);
/// The longest pause. A link that was mended is used again after this time at the latest.
const PAUSE_MAX: Duration = Duration::from_secs(4);

/// A member that was let in becomes a voter when it has stayed for this long: newcomers that end at once must not take
/// the majority of those who stay along.
const VOTER_STAY: Duration = Duration::from_secs(2);
/// A leader whose process is younger makes newcomers voters at once: the cluster begins, and nobody has stayed for longer.
const YOUNG: Duration = Duration::from_secs(10);

/// What is known of why a member does not stay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Cause {
    /// It heard no heartbeat while it was in: datagrams from the leader to it do not arrive.
    DoesNotHear,
    /// It answered heartbeats while it was in: datagrams from it to the leader do not arrive.
    IsNotHeard,
    /// Another process of the same name comes each time.
    Restarts,
}

/// The last stays of a member.
#[derive(Debug)]
struct Stays {
    boot: BootId,
    let_in: Timestamp,
    /// Heartbeats that it had answered when it was let in, by its own word.
    answered: u64,
    is_out: bool,
    /// Short stays in a row.
    short: u32,
    not_before: Timestamp,
    is_told: bool,
}

impl Stays {
    fn pause(&self) -> Duration {
        let doublings = self.short.checked_sub(FREE_STAYS + 1);
        doublings.map_or(Duration::ZERO, |n| (PAUSE_MIN * (1 << n.min(8))).min(PAUSE_MAX))
    }
}

/// The last stays of the members that this leader let in, by name: a process without a disk has another id each time.
#[derive(Debug, Default)]
pub(super) struct Conduct(BTreeMap<NodeName, Stays>);

impl Conduct {
    /// This process is let in, or would be if consensus took it.
    pub(super) fn handle_admitted(&mut self, now: Timestamp, join: &PendingJoin, boot: BootId) {
        if self.0.len() >= RAFT_MEMBERS_MAX && !self.0.contains_key(&join.member.name) {
            let oldest = self.0.iter().min_by_key(|(_, stays)| stays.let_in).map(|(name, _)| name.clone());
            oldest.and_then(|name| self.0.remove(&name));
        }
        let new = || Stays {
            boot,
            let_in: now,
            answered: 0,
            is_out: false,
            short: 0,
            not_before: Timestamp::ZERO,
            is_told: false,
        };
        let stays = self.0.entry(join.member.name.clone()).or_insert_with(new);
        (stays.boot, stays.let_in, stays.answered, stays.is_out) = (boot, now, join.answered, false);
    }

    /// This member is declared dead.
    pub(super) fn handle_death(&mut self, now: Timestamp, name: &NodeName, boot: BootId) {
        let Some(stays) = self.0.get_mut(name).filter(|stays| stays.boot == boot && !stays.is_out) else { return };
        stays.is_out = true;
        if now.since(stays.let_in) >= STAY.max(stays.pause()) {
            (stays.short, stays.is_told) = (0, false);
        } else {
            stays.short = stays.short.saturating_add(1);
        }
        stays.not_before = now + stays.pause();
    }

    /// When this joiner may be let in at the earliest; `None`: now.
    pub(super) fn waits_until(&self, now: Timestamp, name: &NodeName) -> Option<Timestamp> {
        let until = self.0.get(name)?.not_before;
        (now < until && !planted(Mutant::FlappingNotPaused)).then_some(until)
    }

    /// When this process has stayed for long enough to vote; `None`: it has.
    pub(super) fn may_vote_at(&self, now: Timestamp, name: &NodeName, boot: BootId) -> Option<Timestamp> {
        let stays = self.0.get(name).filter(|stays| stays.boot == boot && !planted(Mutant::VoterAtOnce))?;
        let at = stays.let_in + VOTER_STAY;
        (now < at && now >= Timestamp::ZERO + YOUNG).then_some(at)
    }

    /// What is to be said of a joiner that waits, once for each series of short stays.
    pub(super) fn remark(&mut self, join: &PendingJoin) -> Option<LeaderOutput> {
        let stays = self.0.get_mut(&join.member.name).filter(|stays| !stays.is_told)?;
        stays.is_told = true;
        let cause = match join.member.boot {
            Some(boot) if boot != stays.boot => Cause::Restarts,
            _ if join.answered > stays.answered => Cause::IsNotHeard,
            _ => Cause::DoesNotHear,
        };
        Some(LeaderOutput::Flaps { name: join.member.name.clone(), cause })
    }
}
