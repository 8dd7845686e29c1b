//! What Raft wants done, in the order in which it may be done: messages leave
//! when the writes that they speak of are stable.

use std::time::Duration;

use bytes::Bytes;
use prost::Message as _;
use raft::Ready;
use raft::eraftpb::{Entry, EntryType, Message, MessageType, Snapshot};

use super::{Consensus, ConsensusOutput, convert};
use crate::id::{LogIndex, RaftId, Term};
use crate::io::{Persist, Token};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;
use crate::wire::raft::RaftRecord;

/// A write in flight, and what waits for it.
pub(super) struct Outstanding {
    token: Token,
    /// When it was handed out.
    pub(super) since: Timestamp,
    /// Raft's number of the newest ready that is stable with this write.
    number: u64,
    pub(super) snapshot: Option<Snapshot>,
    messages: Vec<Departure>,
}

impl Outstanding {
    /// The snapshot with which a log begins: Raft has no number for it.
    pub(super) fn is_bootstrap(&self) -> bool {
        self.number == 0
    }
}

/// A message that may wait.
enum Departure {
    Raft(Message),
    Own(RaftId, crate::wire::raft::RaftMessage),
}

impl Consensus {
    /// Turns what Raft holds ready into outputs.
    pub(super) fn pump(&mut self) {
        loop {
            self.campaign_alone();
            self.announce();
            let replies = std::mem::take(&mut self.replies);
            let quiet = replies.is_empty() && !self.raw.has_ready();
            self.depart(true, replies.into_iter().map(|(to, message)| Departure::Own(to, message)).collect());
            if quiet {
                break;
            }
            if self.raw.has_ready() {
                self.take_ready();
            }
        }
        self.want_snapshot();
    }

    fn take_ready(&mut self) {
        let mut ready = self.raw.ready();
        let (number, must_write) = (ready.number(), ready.must_sync());
        let now = ordered(ready.take_messages());
        let later = ordered(ready.take_persisted_messages());
        let committed = ready.take_committed_entries();
        if must_write {
            self.write(&ready);
        }
        self.raw.advance_append_async(ready);
        match self.outstanding.back_mut() {
            Some(write) => write.number = number,
            None => self.raw.on_persist_ready(number),
        }
        self.depart(false, now);
        self.depart(true, later);
        self.apply(committed);
    }

    fn write(&mut self, ready: &Ready) {
        let raft = &self.raw.raft;
        let hard = (raft.term, raft.vote);
        let token = self.take_token();
        if hard != self.hard {
            self.hard = hard;
            self.vote_token = Some(token);
        }
        let snapshot = Some(ready.snapshot()).filter(|snapshot| !snapshot.is_empty());
        let replaces = snapshot.is_some();
        let record = self.record(ready.entries(), snapshot);
        let store = self.raw.mut_store();
        if let Some(snapshot) = snapshot {
            store.restore(snapshot.clone());
            self.configurations.clear();
            let meta = snapshot.get_metadata();
            self.configurations.push_back((meta.index, convert::sorted(meta.get_conf_state().clone())));
        }
        self.raw.mut_store().append(ready.entries());
        let write = Outstanding {
            token,
            since: self.now,
            number: ready.number(),
            snapshot: snapshot.cloned(),
            messages: Vec::new(),
        };
        self.outstanding.push_back(write);
        self.outputs.push_back(ConsensusOutput::Persist(Persist { token, record, replaces }));
    }

    /// A bootstrap's first write: nothing happens before it is stable.
    pub(super) fn persist_bootstrap(&mut self, snapshot: &Snapshot) {
        let token = self.take_token();
        self.hard = (self.raw.raft.term, self.raw.raft.vote);
        self.vote_token = Some(token);
        let record = self.record(&[], Some(snapshot));
        self.outstanding.push_back(Outstanding {
            token,
            since: self.now,
            number: 0,
            snapshot: None,
            messages: Vec::new(),
        });
        self.outputs.push_back(ConsensusOutput::Persist(Persist { token, record, replaces: true }));
    }

    /// This node's own snapshot, with all that the log holds after it: what
    /// was written before may go.
    pub(super) fn persist_snapshot(&mut self) {
        if !self.durable {
            return;
        }
        let store = self.raw.store();
        let snapshot = store.last_snapshot().clone();
        let entries: Vec<Entry> = store.entries_after(snapshot.get_metadata().index).cloned().collect();
        let record = self.record(&entries, Some(&snapshot));
        self.persist_beside(record, true);
    }

    /// A change of members counts from its commit on. A node that forgot that it
    /// is committed would, after a restart, wait for the votes of members that
    /// the cluster may have lost since.
    pub(super) fn persist_commit(&mut self, index: u64) {
        if self.durable && index > self.commit_written {
            let record = self.record(&[], None);
            self.persist_beside(record, false);
        }
    }

    /// Writes that this node may promise for this lease; [`ConsensusOutput::LeaseKept`] says when that is stable.
    pub fn keep_lease(&mut self, now: Timestamp, lease: Duration) {
        self.advance_clock(now);
        self.kept_lease = lease;
        let record = self.record(&[], None);
        self.leases_in_flight.push_back(Token(self.next_token));
        self.persist_beside(record, false);
    }

    /// A write outside Raft's `Ready`; its token must not advance `on_persist_ready`.
    fn persist_beside(&mut self, record: Bytes, replaces: bool) {
        let token = self.take_token();
        let number = self.outstanding.back().map_or(0, |write| write.number);
        self.outstanding.push_back(Outstanding {
            token,
            since: self.now,
            number,
            snapshot: None,
            messages: Vec::new(),
        });
        self.outputs.push_back(ConsensusOutput::Persist(Persist { token, record, replaces }));
    }

    fn take_token(&mut self) -> Token {
        let token = Token(self.next_token);
        self.next_token += 1;
        token
    }

    fn record(&mut self, entries: &[Entry], snapshot: Option<&Snapshot>) -> Bytes {
        let raft = &self.raw.raft;
        self.commit_written = raft.raft_log.committed;
        let record = RaftRecord {
            term: raft.term,
            vote: raft.vote,
            commit: raft.raft_log.committed,
            entries: entries.iter().map(convert::from_entry).collect(),
            snapshot: snapshot.map(convert::to_meta),
            state: snapshot.map(|snapshot| snapshot.data.clone()).unwrap_or_default(),
            node: self.id.get(),
            kept_lease_us: Some(u64::try_from(self.kept_lease.as_micros()).unwrap_or(u64::MAX)),
        };
        record.encode_to_vec().into()
    }

    /// Sends, or keeps until the writes before are stable. A leader's messages
    /// need not wait for its entries, but always for its term and vote.
    fn depart(&mut self, after_writes: bool, messages: Vec<Departure>) {
        if messages.is_empty() {
            return;
        }
        let waits = (after_writes || self.vote_token.is_some()) && !planted(Mutant::SentBeforeWritten);
        match self.outstanding.back_mut().filter(|_| waits) {
            Some(write) => write.messages.extend(messages),
            None => messages.into_iter().for_each(|message| self.send(message)),
        }
    }

    fn send(&mut self, departure: Departure) {
        let message = match departure {
            Departure::Own(to, message) => {
                self.outputs.push_back(ConsensusOutput::Send { to, message });
                return;
            }
            Departure::Raft(message) => message,
        };
        let Some(to) = RaftId::new(message.to) else { return };
        if message.get_msg_type() == MessageType::MsgSnapshot {
            // One that waited may be of a term that is over.
            if message.term == self.raw.raft.term {
                self.send_snapshot(to, message.get_snapshot());
            }
        } else if let Some(message) = convert::from_raft(&message) {
            self.outputs.push_back(ConsensusOutput::Send { to, message });
        }
    }

    pub(super) fn settle_writes(&mut self, token: Token) {
        while self.outstanding.front().is_some_and(|write| write.token <= token) {
            let Some(write) = self.outstanding.pop_front() else { return };
            if self.vote_token.is_some_and(|waits| waits <= write.token) {
                self.vote_token = None;
            }
            self.raw.on_persist_ready(write.number);
            while self.leases_in_flight.front().is_some_and(|token| *token <= write.token) {
                self.leases_in_flight.pop_front();
                self.outputs.push_back(ConsensusOutput::LeaseKept);
            }
            if let Some(snapshot) = write.snapshot {
                let index = snapshot.get_metadata().index;
                self.raw.advance_apply_to(index);
                let state = snapshot.data;
                self.outputs.push_back(ConsensusOutput::InstallSnapshot { index: LogIndex(index), state });
            }
            write.messages.into_iter().for_each(|message| self.send(message));
            self.after_step();
        }
    }

    fn apply(&mut self, mut committed: Vec<Entry>) {
        let Some(last) = committed.last().map(|entry| entry.index) else { return };
        if planted(Mutant::AppliedOutOfOrder) && committed.len() > 1 {
            committed.swap(0, 1);
        }
        for entry in committed {
            if entry.get_entry_type() == EntryType::EntryNormal {
                let (index, term) = (LogIndex(entry.index), Term(entry.term));
                self.outputs.push_back(ConsensusOutput::Apply { index, term, data: entry.data });
            } else {
                self.apply_change(&entry);
            }
        }
        self.raw.advance_apply_to(last);
        self.after_step();
    }

    fn announce(&mut self) {
        let present = (self.role(), self.term(), self.leader());
        if present != self.announced {
            self.announced = present;
            let (role, term, leader) = present;
            self.outputs.push_back(ConsensusOutput::Role { role, term, leader });
        }
    }

    fn want_snapshot(&mut self) {
        let store = self.raw.store();
        let wanted = store.is_long() || store.has_waiting();
        let due = !self.snapshot_asked && self.raw.raft.raft_log.applied >= self.snapshot_again.0;
        if wanted && due && self.outstanding.iter().all(|write| write.snapshot.is_none()) {
            self.snapshot_asked = true;
            self.outputs.push_back(ConsensusOutput::SnapshotWanted);
        }
    }
}

/// Raft walks its peers in hash order; by receiver, the order is everyone's.
fn ordered(mut messages: Vec<Message>) -> Vec<Departure> {
    messages.sort_by_key(|message| message.to);
    messages.into_iter().map(Departure::Raft).collect()
}
