//! What is heard of a node's life, and what follows.
//!
//! | heard | of an unknown node | of a known one |
//! |---|---|---|
//! | alive | taken in | newer incarnation: updated. At another address: taken over if the known one is gone, else a conflict |
//! | suspect | nothing | not older, alive: suspected; suspected already: may confirm it |
//! | dead | nothing | not older: dead, or left if it says so itself |
//!
//! What changes the table is passed on; what is old or known is not, and so
//! gossip ends. A node that is told of its own death answers with a higher
//! incarnation. Somebody who still believes in a dead incarnation is told of
//! its death, or it would never learn that it must answer.

use std::collections::BTreeMap;
use std::time::Duration;

use bytes::Bytes;

use super::claim::{Claim, follow, may_be_behind, outbid};
use super::member::{Life, Member};
use super::news::News;
use super::table::Table;
use crate::limits::NAMESAKES_MAX;
use crate::mutate::{Mutant, planted};
use crate::status::GossipStatus;
use crate::time::Timestamp;
use crate::wire::gossip::{Accusation, Packet};

/// The tag by which clusters stay apart.
pub(super) const CLUSTER_TAG: &str = "meta.clusterName";
/// Dead nodes that are told of their death at once, of all that one message
/// presents: it is the peer who decides how many that are.
const ANSWERS_MAX: usize = 8;
/// A node that shows itself anew so long after it said that it leaves has stayed.
const LEAVING_MAX: Duration = Duration::from_secs(10);

impl Table {
    /// A node lives, and this is how it presents itself.
    pub(super) fn hear_alive(&mut self, now: Timestamp, claim: Claim, news: &mut News) {
        if claim.name == self.own {
            return self.hear_of_me(claim, news);
        }
        if self.is_foreign(&claim.tags) {
            news.vetoed += 1;
            return;
        }
        let name = claim.name.clone();
        let Some(mut known) = self.members.get_mut(&name) else {
            if self.make_room() {
                let (status, status_time) = self.first_status(&name);
                let member = Member { status, status_time, ..claim.into_member(now) };
                self.members.insert(name.clone(), member);
                news.newcomers.push(name.clone());
                self.accepted(&name, news);
            } else {
                news.no_room += 1;
            }
            return;
        };
        let forgotten = known.life == Life::Forgotten;
        let moved = !forgotten && known.addr != claim.addr;
        if moved && !may_be_replaced(now, &known, self.timing.reclaim) {
            news.conflicts += 1;
            if news.namesakes.len() < NAMESAKES_MAX {
                news.namesakes.push(claim.tags);
            }
            return;
        }
        let stale = claim.incarnation <= known.incarnation && !planted(Mutant::StaleAliveAccepted);
        if !forgotten && !moved && stale {
            let answer = known.accusation(&name, &self.own).filter(|_| news.answers.len() < ANSWERS_MAX);
            news.answers.extend(answer.map(|accusation| (known.addr, accusation)));
            return;
        }
        let back = known.gone() || moved;
        let shown_gone = matches!(known.status, GossipStatus::Failed | GossipStatus::Left);
        let stayed = known.status == GossipStatus::Leaving && now.since(known.status_since) > LEAVING_MAX;
        known.set_life(now, Life::Alive);
        if back || shown_gone || stayed {
            known.set_status(now, GossipStatus::Alive);
            known.prune = false;
        }
        known.incarnation =
            if moved { follow(0, claim.incarnation) } else { follow(known.incarnation, claim.incarnation) };
        (known.addr, known.versions) = (claim.addr, claim.versions);
        (known.meta, known.tags) = (claim.meta, claim.tags);
        drop(known);
        self.suspicions.cancel(&name);
        if back {
            news.newcomers.push(name.clone());
        }
        self.accepted(&name, news);
    }

    /// Whether these tags name a cluster that is not welcome here.
    pub(super) fn is_foreign(&self, tags: &BTreeMap<String, String>) -> bool {
        let Some(ours) = &self.cluster else { return false };
        tags.get(CLUSTER_TAG).is_some_and(|theirs| theirs != ours)
    }

    fn accepted(&self, name: &Bytes, news: &mut News) {
        news.tell(name, &self.members[name].alive(name), false);
        news.changed.insert(name.clone());
    }

    /// A node is suspected by somebody.
    pub(super) fn hear_suspect(&mut self, now: Timestamp, accusation: &Accusation, news: &mut News) {
        let Some(accusation) = self.news_of(accusation) else { return };
        let Accusation { incarnation, node, from } = &accusation;
        if self.suspicions.contains(node) {
            if self.suspicions.confirm(node, from) {
                news.tell(node, &Packet::Suspect(accusation.clone()), false);
            }
            return;
        }
        if *node == self.own {
            return self.refute(*incarnation, news);
        }
        let nodes = self.nodes();
        let Some(mut known) = self.members.get_mut(node).filter(|known| known.life == Life::Alive) else { return };
        known.incarnation = *incarnation;
        known.set_life(now, Life::Suspect);
        self.suspicions.begin(now, node, from, nodes, &self.timing);
        news.suspected += 1;
        tracing::debug!(node = %name(node), from = %name(from), incarnation, "member suspected");
        news.tell(node, &Packet::Suspect(accusation.clone()), false);
    }

    /// A node is dead, or left, if it says so itself.
    pub(super) fn hear_dead(&mut self, now: Timestamp, accusation: &Accusation, news: &mut News) {
        let Some(accusation) = self.news_of(accusation) else { return };
        let Accusation { incarnation, node, from } = &accusation;
        if *node == self.own {
            return self.refute(*incarnation, news);
        }
        let Some(mut known) = self.members.get_mut(node).filter(|known| !known.gone()) else { return };
        known.incarnation = *incarnation;
        known.set_life(now, if from == node { Life::Left } else { Life::Dead });
        match known.status {
            GossipStatus::Leaving => known.set_status(now, GossipStatus::Left),
            GossipStatus::Alive => known.set_status(now, GossipStatus::Failed),
            GossipStatus::None | GossipStatus::Left | GossipStatus::Failed => {}
        }
        self.suspicions.cancel(node);
        news.died += u64::from(from != node);
        tracing::debug!(node = %name(node), from = %name(from), incarnation, "member dead, or left if it says so itself");
        news.tell(node, &Packet::Dead(accusation.clone()), false);
        news.changed.insert(node.clone());
    }

    /// The accusation as it is believed, if the accused is known and it is not older than what is known.
    fn news_of(&self, accusation: &Accusation) -> Option<Accusation> {
        let known = self.members.get(&accusation.node).filter(|known| known.life != Life::Forgotten)?;
        let newer = accusation.incarnation >= known.incarnation || planted(Mutant::OldAccusationAccepted);
        if accusation.node == self.own {
            return (newer || may_be_behind(known.incarnation)).then(|| accusation.clone());
        }
        let incarnation = follow(known.incarnation, accusation.incarnation);
        newer.then(|| Accusation { incarnation, ..accusation.clone() })
    }

    /// A suspect answers neither this node nor a helper, and where it listened nobody does any more.
    pub(super) fn suspect_is_refused(&mut self, node: &Bytes) {
        self.suspicions.hasten(node);
    }

    /// Suspicions that nobody refuted end in death.
    pub(super) fn end_suspicions(&mut self, now: Timestamp, news: &mut News) {
        while let Some(node) = self.suspicions.pop_due(now) {
            let Some(incarnation) = self.members.get(&node).map(|member| member.incarnation) else { continue };
            let from = self.own.clone();
            self.hear_dead(now, &Accusation { incarnation, node, from }, news);
        }
    }

    /// Somebody presents this node.
    fn hear_of_me(&mut self, claim: Claim, news: &mut News) {
        let me = self.myself();
        if claim.addr != me.addr {
            news.name_is_held(claim.addr, claim.tags);
            return;
        }
        let same = claim.meta == me.meta && claim.versions == me.versions;
        let older = claim.incarnation < me.incarnation && !may_be_behind(me.incarnation);
        if me.gone() || older || claim.incarnation <= me.incarnation && same {
            return;
        }
        self.refute(claim.incarnation, news);
    }

    /// Answers a wrong view of this node with a newer one.
    fn refute(&mut self, incarnation: u32, news: &mut News) {
        if self.myself().gone() || planted(Mutant::RefutationLost) {
            return;
        }
        let own = self.myself().incarnation;
        let believed = outbid(own, incarnation);
        let incarnation = own.max(believed).saturating_add(1);
        self.me().incarnation = incarnation;
        tracing::debug!(incarnation, "answered an accusation of this node");
        news.refuted += 1;
        let own = self.own.clone();
        news.tell(&own, &self.own_alive(), true);
    }
}

fn name(bytes: &Bytes) -> std::borrow::Cow<'_, str> {
    String::from_utf8_lossy(bytes)
}

/// Whether somebody at another address may have this member's name.
fn may_be_replaced(now: Timestamp, known: &Member, reclaim: Duration) -> bool {
    match known.life {
        Life::Left => true,
        Life::Dead => now.since(known.since) >= reclaim,
        // The cluster's verdict is quicker than probing.
        Life::Alive | Life::Suspect => matches!(known.status, GossipStatus::Failed | GossipStatus::Left),
        Life::Forgotten => true,
    }
}
