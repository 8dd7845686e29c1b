//! Serf's view of the members: joins and leaves, ordered by Lamport time, and
//! the cluster's verdicts.
//!
//! | heard | unknown member | known member |
//! |---|---|---|
//! | join, newer | kept until it shows up | leaving becomes alive |
//! | leave, newer | kept until it shows up | alive becomes leaving, failed becomes left |
//! | leave of this node | | answered by a newer join, unless it leaves |
//!
//! A leave is newer only once: its time is kept in every status, or two nodes
//! would tell each other of it for ever.

use std::time::Duration;

use bytes::Bytes;

use super::intents::Wish;
use super::member::Life;
use super::news::News;
use super::table::Table;
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::Accusation;

impl Table {
    /// A join came by gossip. True if it is to be passed on.
    pub(super) fn hear_join(&mut self, now: Timestamp, name: &Bytes, time: u64, news: &mut News) -> bool {
        if !self.member_clock.witness(time) {
            news.unusable += 1;
            return false;
        }
        let Some(mut known) = self.members.get_mut(name) else { return self.keep(now, name, time, Wish::Join, news) };
        if time <= known.status_time {
            return false;
        }
        known.status_time = time;
        if known.status == GossipStatus::Leaving && *name != self.own {
            known.set_status(now, GossipStatus::Alive);
            news.changed.insert(name.clone());
        }
        true
    }

    /// A leave came by gossip. True if it is to be passed on.
    pub(super) fn hear_leave(&mut self, now: Timestamp, name: &Bytes, time: u64, prune: bool, news: &mut News) -> bool {
        if !self.member_clock.witness(time) {
            news.unusable += 1;
            return false;
        }
        let Some(known) = self.members.get(name) else { return self.keep(now, name, time, Wish::Leave, news) };
        if time <= known.status_time {
            return false;
        }
        if *name == self.own && !self.leaving {
            self.issue_join(news);
            return false;
        }
        self.take_leave(now, name, time, prune, news);
        true
    }

    fn keep(&mut self, now: Timestamp, name: &Bytes, time: u64, wish: Wish, news: &mut News) -> bool {
        let kept = self.intents.keep(now, name, time, wish);
        news.no_room += u64::from(kept.is_none());
        kept.unwrap_or(false)
    }

    fn take_leave(&mut self, now: Timestamp, name: &Bytes, time: u64, prune: bool, news: &mut News) {
        let Some(mut known) = self.members.get_mut(name) else { return };
        known.status_time = time;
        known.prune |= prune;
        match known.status {
            GossipStatus::Alive => known.set_status(now, GossipStatus::Leaving),
            GossipStatus::Failed => known.set_status(now, GossipStatus::Left),
            GossipStatus::None | GossipStatus::Leaving | GossipStatus::Left => return,
        }
        news.changed.insert(name.clone());
    }

    /// A push/pull says that a member left.
    pub(super) fn merge_leave(&mut self, now: Timestamp, name: &Bytes, time: u64, news: &mut News) {
        let (own, leaving) = (*name == self.own, self.leaving);
        // A leave counts a little later than the member's last join. Where both
        // sides know it, adding to it would raise it with every exchange.
        let left = self.members.get(name).is_some_and(|known| known.status == GossipStatus::Left);
        let time = if left { time } else { time.saturating_add(1) };
        if !self.member_clock.witness(time) {
            news.unusable += 1;
            return;
        }
        let Some(known) = self.members.get(name) else {
            self.keep(now, name, time, Wish::Leave, news);
            return;
        };
        if time <= known.status_time || own && leaving {
            // Known already, or older than what is known.
        } else if own {
            self.issue_join(news);
        } else {
            self.take_leave(now, name, time, false, news);
        }
    }

    /// A push/pull says that a member joined, or is about to leave.
    pub(super) fn merge_join(&mut self, now: Timestamp, name: &Bytes, time: u64, news: &mut News) {
        if !self.member_clock.witness(time) {
            news.unusable += 1;
            return;
        }
        if !self.members.contains(name) {
            self.keep(now, name, time, Wish::Join, news);
            return;
        }
        if *name == self.own {
            // Only this node issues its joins: this time is a leave that somebody
            // took for this node's, or one of its former life.
            if time > self.myself().status_time && !self.leaving {
                self.issue_join(news);
            }
            return;
        }
        // What is not newer is known already, or older than what is known.
        let Some(mut known) = self.members.get_mut(name).filter(|known| time > known.status_time) else { return };
        known.status_time = time;
        if known.status == GossipStatus::Leaving {
            known.set_status(now, GossipStatus::Alive);
            news.changed.insert(name.clone());
        }
    }

    /// The cluster decided on a member. What it shows follows at once; its
    /// life goes on by the rules of gossip: a failed one is suspected, so that
    /// it can still answer for itself, and one that is up is told if it is
    /// held for dead.
    pub(super) fn verdict(&mut self, now: Timestamp, name: &Bytes, status: GossipStatus, news: &mut News) {
        let own = self.own.clone();
        let Some(mut known) = self.members.get_mut(name).filter(|_| *name != own) else { return };
        // Who said that it leaves and is gone has left, whoever noticed it first.
        let leaves = status == GossipStatus::Failed && known.status == GossipStatus::Leaving;
        let status = if leaves { GossipStatus::Left } else { status };
        if known.status == status {
            return;
        }
        match status {
            GossipStatus::None => return,
            GossipStatus::Alive if known.gone() => {
                let address = known.addr;
                news.answers.extend(known.accusation(name, &own).map(|accusation| (address, accusation)));
                return;
            }
            GossipStatus::Failed if known.status == GossipStatus::Left => return,
            GossipStatus::Alive | GossipStatus::Leaving | GossipStatus::Left | GossipStatus::Failed => {
                known.set_status(now, status);
                news.changed.insert(name.clone());
            }
        }
        if status == GossipStatus::Failed && known.life == Life::Alive {
            let (incarnation, node, from) = (known.incarnation, name.clone(), own);
            drop(known);
            self.hear_suspect(now, &Accusation { incarnation, node, from }, news);
        }
    }

    /// This process did not run for `gap`.
    pub(super) fn prolong(&mut self, gap: Duration) {
        self.suspicions.prolong(gap);
    }
}
