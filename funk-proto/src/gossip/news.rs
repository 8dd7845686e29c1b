//! What follows from something heard: the rules change the table and say here
//! what is to be told to whom.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

use bytes::Bytes;

use super::broadcast::{Broadcast, Tier};
use crate::wire::gossip::{Packet, SerfMessage};

/// What follows from something heard.
#[derive(Debug, Default)]
pub(super) struct News {
    /// Members that are new or show something new, by name.
    pub changed: BTreeSet<Bytes>,
    /// To be told to everybody.
    pub broadcasts: Vec<Broadcast>,
    /// To be told to one node at once.
    pub answers: Vec<(SocketAddr, Packet)>,
    /// Members that are to be probed from now on.
    pub newcomers: Vec<Bytes>,
    /// Records of other members of this cluster.
    pub others: u64,
    /// Records skipped because they show another cluster's name.
    pub vetoed: u64,
    /// Records and intents skipped because they are unusable.
    pub unusable: u64,
    /// Members not taken in because the table is full.
    pub no_room: u64,
    /// Records of a live member's name at another address.
    pub conflicts: u64,
    /// What those nodes show: a few of them.
    pub namesakes: Vec<BTreeMap<String, String>>,
    /// Suspicions that began.
    pub suspected: u64,
    /// Members that were declared dead.
    pub died: u64,
    /// Accusations of this node that were answered by a new incarnation.
    pub refuted: u32,
    /// Another node is known by this node's name.
    pub name_taken: bool,
    /// Where it is, and what it shows.
    pub holder: Option<(SocketAddr, BTreeMap<String, String>)>,
}

impl News {
    /// Another node is presented by this node's name.
    pub(super) fn name_is_held(&mut self, at: SocketAddr, tags: BTreeMap<String, String>) {
        self.name_taken = true;
        self.conflicts += 1;
        self.holder = Some((at, tags));
    }

    /// To be told to everybody: what is said of a node's life.
    pub(super) fn tell(&mut self, about: &Bytes, packet: &Packet, urgent: bool) {
        let (about, bytes) = (about.clone(), packet.encode());
        self.broadcasts.push(Broadcast { tier: Tier::Life, about, bytes, urgent });
    }

    /// To be told to everybody: an intent of this node's own.
    pub(super) fn tell_intent(&mut self, intent: &SerfMessage) {
        let bytes = Packet::User(intent.encode()).encode();
        self.broadcasts.push(Broadcast { tier: Tier::Intent, about: Bytes::new(), bytes, urgent: true });
    }
}

/// Whom a push/pull spoke of.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub others: u64,
    pub vetoed: u64,
    pub name_taken: bool,
}

impl Found {
    pub(super) fn add(&mut self, news: &News) {
        self.others += news.others;
        self.vetoed += news.vetoed;
        self.name_taken |= news.name_taken;
    }
}
