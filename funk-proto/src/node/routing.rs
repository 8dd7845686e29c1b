//! The wiring diagram: one machine's output is another's input. Every match
//! here is exhaustive, so a new output that nobody handles does not compile.

use std::net::SocketAddr;
use std::time::Duration;

use bytes::Bytes;
use prost::Message;

use super::Node;
use super::leading::warn_of_flapping;
use crate::consensus::{ConsensusOutput, RaftRole, Sender};
use crate::error::Misbehaviour;
use crate::event::Event;
use crate::gossip::GossipOutput;
use crate::id::{ConnId, Incarnation, RaftId, Term};
use crate::io::{DatagramSocket, Output, PeerIdentity, StreamKind};
use crate::joining::JoiningOutput;
use crate::leader::LeaderOutput;
use crate::liveness::{Ack, LivenessOutput, Word};
use crate::mutate::{Mutant, planted};
use crate::peers::{PeerNews, PeersOutput, Standing};
use crate::shards::moves::MovesOutput;
use crate::state::set;
use crate::time::Timestamp;
use crate::wire::cluster::{Carry, Command, FrameBody, Operation, Release};
use crate::wire::liveness::{self, Addressed, Body, Header, LAST_COUNTER};
use crate::wire::raft::RaftMessage;

impl Node {
    /// Carries outputs from machine to machine until none has any.
    pub(super) fn settle(&mut self, now: Timestamp) {
        loop {
            let mut quiet = true;
            self.settle_leader(now);
            self.settle_joining(now);
            if self.generations.poll_probe_is_over() {
                self.end_probe(now);
            }
            while let Some(output) = self.consensus.poll_output() {
                quiet = false;
                self.route_consensus(now, output);
            }
            while let Some(output) = self.liveness.poll_output() {
                quiet = false;
                self.route_liveness(now, output);
            }
            while let Some(output) = self.moves.poll_output(now) {
                quiet = false;
                self.route_moves(now, output);
            }
            while let Some(output) = self.gossip.poll_output() {
                quiet = false;
                self.route_gossip(now, output);
            }
            self.try_contacts(now);
            while let Some(news) = self.peers.poll_news() {
                quiet = false;
                self.route_peer_news(now, news);
            }
            if quiet && !self.lead_step(now) {
                break;
            }
        }
        while let Some(output) = self.peers.poll_output() {
            self.outputs.push_back(match output {
                PeersOutput::Dial { conn, to, channel } => Output::Dial { conn, to, channel },
                PeersOutput::Message { conn, bytes } => Output::Message { conn, bytes },
                PeersOutput::Reply { conn, bytes } => Output::Reply { conn, bytes },
                PeersOutput::Close { conn } => Output::Close { conn },
            });
        }
        self.refresh_view(now);
    }

    fn route_consensus(&mut self, now: Timestamp, output: ConsensusOutput) {
        match output {
            ConsensusOutput::Send { to, mut message } => {
                let pre_vote = message.is_granted_pre_vote();
                if pre_vote {
                    self.liveness.tell_promise(now, pre_vote);
                }
                if message.is_granted_vote() {
                    let hidden = planted(Mutant::VoteHidesPromise);
                    let told = self.liveness.tell_promise(now, pre_vote).as_nanos();
                    let remaining = if hidden { 0 } else { told };
                    message.promise_rem_nanos = Some(u64::try_from(remaining).unwrap_or(u64::MAX));
                }
                if !self.peers.send(now, to, FrameBody::Raft(message)) {
                    self.consensus.handle_unreachable(to);
                }
            }
            ConsensusOutput::LeaseKept => self.liveness.handle_lease_kept(),
            ConsensusOutput::Persist(persist) => self.outputs.push_back(Output::Persist(persist)),
            ConsensusOutput::Apply { index, data, .. } => self.apply_entry(now, index, &data),
            ConsensusOutput::ConfChanged { index } => self.apply_conf_change(now, index),
            ConsensusOutput::InstallSnapshot { index, state } => self.install_snapshot(now, index, &state),
            ConsensusOutput::SnapshotWanted => self.take_snapshot(now),
            ConsensusOutput::Role { role, term, leader } => self.change_role(now, role, term, leader),
        }
    }

    fn route_liveness(&mut self, now: Timestamp, output: LivenessOutput) {
        match output {
            LivenessOutput::Send { to, counter, word } => self.send_datagram(to, counter, word),
            LivenessOutput::LeaderSilent { leader } => self.give_up_leader(now, leader),
            LivenessOutput::KeepLease(lease) => self.consensus.keep_lease(now, lease),
            LivenessOutput::QuorumLost => self.resign(now),
            LivenessOutput::AnswerLate { .. } => self.leader.handle_late_answer(now),
            LivenessOutput::MemberDiffers { id, index, .. } => {
                let name = self.name_of(id).map_or_else(|| id.to_string(), |name| name.to_string());
                tracing::error!(node = name, %index, "a member has applied other entries than this leader: it gets no lease");
                self.leader.wake();
            }
            LivenessOutput::MemberSilent { id, .. } => {
                tracing::debug!(peer = %id, "member is silent");
                self.leader.wake();
            }
        }
    }

    fn send_datagram(&mut self, to: RaftId, counter: u64, word: Word) {
        let Some(cluster) = self.peers.identity.cluster.or(self.joining.entering) else { return };
        let Some((address, key)) = self.peers.datagram_route(to) else { return };
        let body = match word {
            Word::Beat { term, lease, drift_ppm, grant } => {
                let commit = self.consensus.heartbeat_commit(to);
                Body::Heartbeat { term, commit, lease, drift_ppm, grant }
            }
            Word::Ack { term, echo, applied, hash, promise } => Body::Ack { term, echo, applied, hash, promise },
            Word::Grant(grant) => Body::Grant(grant),
            Word::Resign { term } => Body::Resign { term },
            Word::Differs { term, index } => Body::Differs { term, index },
        };
        let header = Header { cluster, from: self.me.id, boot: self.me.boot, to, counter, at: self.now };
        let bytes = liveness::seal(&key, &header, &body);
        self.outputs.push_back(Output::Datagram { socket: DatagramSocket::Liveness, to: address, bytes });
    }

    fn route_moves(&mut self, now: Timestamp, output: MovesOutput) {
        match output {
            MovesOutput::CloseGates { change, shards } => self.outputs.push_back(Output::Drain { change, shards }),
            MovesOutput::FreezeGuards { change, shards } => self.outputs.push_back(Output::Freeze { change, shards }),
            MovesOutput::WantStates { change, shards } => {
                self.outputs.push_back(Output::StateWanted { change, shards })
            }
            // A piece that does not get away is sent again.
            MovesOutput::Carry { to, carry } => drop(self.peers.send(now, to, FrameBody::Carry(carry))),
            MovesOutput::Carried { to, carried } => drop(self.peers.send(now, to, FrameBody::Carried(carried))),
            MovesOutput::Release { change, shards } => {
                if self.leader.leads() {
                    self.leader.handle_release(self.me, change, &shards);
                } else if let Some(leader) = self.consensus.leader() {
                    let (id, boot) = (self.me.id.get(), self.me.boot.get());
                    let release = Release { id, boot, change: change.0, shards: set::encode(&shards) };
                    self.peers.send(now, leader, FrameBody::Release(release));
                }
            }
        }
    }

    /// Carries out what the leader wants until it wants nothing more.
    pub(super) fn settle_leader(&mut self, now: Timestamp) {
        while let Some(output) = self.leader.poll_output() {
            self.route_leader(now, output);
        }
    }

    fn route_leader(&mut self, now: Timestamp, output: LeaderOutput) {
        let refused = match output {
            LeaderOutput::Propose(operations) => {
                let operations = operations.into_iter().map(|op| Operation { op: Some(op) }).collect();
                let bytes = Command { operations }.encode_to_vec();
                self.consensus.propose(now, bytes.into()).map(|index| self.leader.handle_proposed(index)).err()
            }
            LeaderOutput::ChangeVoters { voters, learners } => {
                self.consensus.change_members(now, &voters, &learners).err()
            }
            LeaderOutput::LeaveJoint => self.consensus.leave_joint(now).err(),
            LeaderOutput::Transfer(heir) => {
                let result = self.consensus.transfer_leader(now, heir);
                tracing::debug!(%heir, ?result, "hand leadership over");
                None
            }
            LeaderOutput::RaiseFloor(id, index) => {
                self.liveness.raise_floor(id, index);
                None
            }
            LeaderOutput::GivenUp(id) => {
                self.liveness.note_given_up(now, id);
                None
            }
            LeaderOutput::DeclaredDead(members) => {
                self.view.counters.members_declared_dead += members as u64;
                None
            }
            LeaderOutput::Flaps { name, cause } => {
                warn_of_flapping(&name, cause);
                None
            }
            LeaderOutput::Call { to, raft } => {
                self.peers.call(now, to, raft);
                None
            }
            LeaderOutput::Tell(to, body) => {
                self.peers.send_to(now, to, *body);
                None
            }
            LeaderOutput::Done(id, outcome) => {
                self.event(Event::RequestDone { id, outcome });
                None
            }
            LeaderOutput::LastOut => {
                self.handle_left(now);
                None
            }
        };
        if let Some(why) = refused {
            tracing::debug!(?why, "consensus refused the leader's change");
            self.leader.handle_refused(now);
        }
    }

    /// Carries out what joining and leaving want until they want nothing more.
    pub(super) fn settle_joining(&mut self, now: Timestamp) {
        while let Some(output) = self.joining.poll_output() {
            self.route_joining(now, output);
        }
    }

    fn route_joining(&mut self, now: Timestamp, output: JoiningOutput) {
        match output {
            JoiningOutput::CheckLook => self.joining.handle_look(now, self.gossip.awaits_answer()),
            JoiningOutput::Bootstrap => {
                self.bootstrap(now);
                self.gossip.look_only(now, false);
            }
            JoiningOutput::Rejoin => {
                self.gossip.join(now, self.config.join.clone());
                // Members of this cluster may have moved, and in a large pool the repeated push/pull rarely meets one.
                self.gossip.sync_with(now, "meta.clusterName", self.config.cluster.as_str());
            }
            JoiningOutput::AskToJoin => self.ask_next_contact(now),
            JoiningOutput::AnnounceLeave => self.gossip.announce_leave(now),
            // A leader without the frame's detour; a follower through whom it follows.
            JoiningOutput::AskToLeave => drop(self.handle_leave(now, self.me.into())),
            JoiningOutput::CheckStanding => {
                let is_out = self.is_out(now);
                self.joining.handle_standing(now, is_out);
            }
            JoiningOutput::CheckRecord => self.refresh_own_record(now),
            JoiningOutput::Refused(refusal) => self.event(Event::Refused(refusal)),
            JoiningOutput::Left => {
                if !self.config.durable {
                    self.gossip.leave(now);
                }
                self.event(Event::Left);
            }
        }
    }

    fn route_gossip(&mut self, now: Timestamp, output: GossipOutput) {
        match output {
            GossipOutput::Datagram { to, bytes } => {
                self.outputs.push_back(Output::Datagram { socket: DatagramSocket::Gossip, to, bytes });
            }
            GossipOutput::Dial { conn, to } => {
                self.outputs.push_back(Output::Dial { conn, to, channel: StreamKind::Gossip });
            }
            GossipOutput::Message { conn, bytes } => self.outputs.push_back(Output::Message { conn, bytes }),
            GossipOutput::Reply { conn, bytes } => self.outputs.push_back(Output::Reply { conn, bytes }),
            GossipOutput::Close { conn } => self.outputs.push_back(Output::Close { conn }),
            GossipOutput::Refused { peer, why } => self.outputs.push_back(Output::GossipRefused { peer, why }),
            GossipOutput::RingChanged { ring, was_current } => self.handle_ring_changed(ring, was_current),
            GossipOutput::RingWanted { questions } => self.ask_for_ring(questions),
            GossipOutput::KeysAsked { number, report } => self.end_key_question(number, report),
            GossipOutput::Changed(member) => {
                self.handle_gossip_member(now, &member);
                self.view.endpoints.node_changed(member.name);
            }
            GossipOutput::Reaped(name) => self.view.endpoints.node_changed(name),
            GossipOutput::Namesake(tags) => self.handle_namesake(now, &tags),
            GossipOutput::NameHeld { address, tags } => self.handle_name_held(now, address, &tags),
            GossipOutput::JoinFailed { address, reason } => self.handle_source(now, Err((address, reason))),
            GossipOutput::Joined { .. } => self.handle_source(now, Ok(())),
            GossipOutput::TagsDropped(tags) => {
                tracing::warn!(?tags, "tags do not fit into gossip and are left out");
            }
        }
    }

    fn route_peer_news(&mut self, now: Timestamp, news: PeerNews) {
        match news {
            PeerNews::Introduced(id) => {
                self.evidence.forget_refusal(id);
                // It may be one that waits to be let in.
                self.leader.wake();
                self.ask_to_join_through(now, id);
            }
            PeerNews::Interrupted(id) if self.consensus.leader() == Some(id) => self.abandon_proposals(),
            PeerNews::Interrupted(_) => {}
            PeerNews::Gone(ended) => self.handle_gone(now, ended),
            PeerNews::Lost(id) => {
                // Proposals that waited for a stream to the leader are lost with it.
                if self.consensus.leader() == Some(id) {
                    self.abandon_proposals();
                }
                self.consensus.handle_unreachable(id);
            }
            PeerNews::Refused { address, refusal } => {
                let address = address.unwrap_or(self.config.raft);
                self.event(Event::JoinFailed { address, reason: refusal.to_string() });
            }
        }
    }

    pub(super) fn handle_opened(&mut self, now: Timestamp, conn: ConnId, peer: PeerIdentity) {
        if let Err(what) = self.peers.handle_opened(now, conn, peer) {
            self.note_misbehaviour(conn, what);
        }
    }

    pub(super) fn handle_message(&mut self, now: Timestamp, conn: ConnId, channel: StreamKind, bytes: Bytes) {
        if channel == StreamKind::Gossip {
            if let Err(what) = self.gossip.handle_message(now, conn, bytes) {
                self.event(Event::PeerMisbehaved { what });
            }
            return;
        }
        let result = match self.peers.handle_frame(now, conn, &bytes) {
            Ok(None) => Ok(()),
            Ok(Some((from, standing, body))) => {
                if standing > Standing::Claimed {
                    self.liveness.handle_frame(now, from.id);
                }
                let is_late = matches!(body, FrameBody::Raft(_)) && self.evidence.is_late_word(from);
                let certified = self.peers.certified_name(conn);
                let checked = self.check_sender(from, standing, certified, &body);
                checked.and_then(|()| if is_late { Ok(()) } else { self.handle_frame(now, (conn, from.id), body) })
            }
            Err(what) => Err(what),
        };
        if let Err(what) = result {
            self.note_misbehaviour(conn, what);
        }
    }

    fn handle_frame(
        &mut self,
        now: Timestamp,
        (conn, from): (ConnId, RaftId),
        body: FrameBody,
    ) -> Result<(), Misbehaviour> {
        match body {
            FrameBody::Hello(_) | FrameBody::Refused(_) => Ok(()),
            FrameBody::Raft(message) => self.handle_raft(now, from, message),
            FrameBody::Join(record) => self.handle_join(now, (conn, from), record),
            FrameBody::JoinRefused(refused) => self.handle_join_refused(now, &refused),
            FrameBody::Leave(name) => self.handle_leave(now, name),
            FrameBody::Farewell(name) => self.handle_farewell(now, name),
            FrameBody::Release(release) => self.handle_release(from, &release),
            FrameBody::Propose(entry) => self.handle_propose(now, (conn, from), entry),
            FrameBody::ProposeRefused(entry) => self.handle_propose_refused(from, &entry),
            FrameBody::Update(record) => self.handle_update(from, record),
            FrameBody::Carry(carry) => self.handle_carry(from, &carry),
            FrameBody::Gone(name) => self.handle_witness(now, from, name),
            FrameBody::LeaderAt(place) => self.handle_leader_at(now, &place),
            FrameBody::WantRing(_) => self.handle_want_ring(conn),
            FrameBody::Ring(given) => self.handle_ring(now, from, &given),
            FrameBody::Carried(carried) => {
                self.moves.handle_carried(now, from, &carried);
                Ok(())
            }
        }
    }

    fn handle_raft(&mut self, now: Timestamp, from: RaftId, message: RaftMessage) -> Result<(), Misbehaviour> {
        if message.is_granted_vote() && self.counts_vote(from, Term(message.term)) {
            // A vote that says nothing of its promise may hold the longest; no voter promises more.
            let longest = self.liveness.promise_max();
            let remaining = message.promise_rem_nanos.map_or(longest, Duration::from_nanos);
            let most = if planted(Mutant::AnyPromiseBelieved) { remaining } else { longest };
            self.liveness.handle_vote(now, Term(message.term), remaining.min(most));
        }
        let sender = self.sender(now, from);
        self.consensus.handle_message(now, sender, message)
    }

    fn counts_vote(&self, from: RaftId, term: Term) -> bool {
        let votes = self.consensus.voters().contains(&from) || self.consensus.outgoing_voters().contains(&from);
        votes && self.consensus.role() == RaftRole::Candidate && term == self.consensus.term()
    }

    /// A node that was away may know none of the present voters. While it is
    /// out, it follows whoever of its cluster introduced itself and leads; and
    /// it goes on following until its log has caught up.
    fn sender(&self, now: Timestamp, from: RaftId) -> Sender {
        let is_followed = self.consensus.leader() == Some(from);
        Sender { id: from, is_vouched: self.is_listed(from) || is_followed || self.is_out(now) }
    }

    fn handle_carry(&mut self, from: RaftId, carry: &Carry) -> Result<(), Misbehaviour> {
        let Some(state) = &self.state else { return Ok(()) };
        self.moves.handle_carry(self.me, from, carry, state)
    }

    pub(super) fn handle_datagram(&mut self, now: Timestamp, socket: DatagramSocket, from: SocketAddr, bytes: &Bytes) {
        if socket == DatagramSocket::Gossip {
            self.gossip.handle_datagram(now, from, bytes);
            return;
        }
        // What cannot be for this node costs no check of a seal.
        let ours = |addressed: &Addressed| {
            let is_boot = self.peers.boot(addressed.from) == Some(addressed.boot);
            addressed.is_for(self.me.id, self.peers.identity.cluster) && (is_boot || planted(Mutant::GoodbyeOfAnyBoot))
        };
        let keys_of =
            |to: Addressed| ours(&to).then(|| self.peers.incoming_keys(to.from, to.boot)).into_iter().flatten();
        let opened = liveness::open(bytes, keys_of);
        let result = opened.and_then(|(header, body)| self.handle_liveness(now, header, body));
        if let Err(what) = result {
            self.view.counters.datagrams_dropped += 1;
            tracing::trace!(%from, %what, "datagram dropped");
        }
    }

    fn handle_liveness(&mut self, now: Timestamp, header: Header, body: Body) -> Result<(), Misbehaviour> {
        if matches!(body, Body::Goodbye { .. }) && planted(Mutant::GoodbyeOfAnyBoot) {
            let boot = self.peers.boot(header.from).unwrap_or(header.boot);
            self.handle_goodbye(now, Incarnation { id: header.from, boot }, false);
            return Ok(());
        }
        if self.peers.boot(header.from) != Some(header.boot) {
            return Err(Misbehaviour::Unauthentic);
        }
        if matches!(body, Body::Goodbye { .. }) != (header.counter == LAST_COUNTER) {
            return Err(Misbehaviour::Malformed("counter of a datagram"));
        }
        if !self.liveness.admit(header.from, header.boot, header.counter) {
            return Err(Misbehaviour::Replayed);
        }
        let from = header.from;
        let answers = match body {
            Body::Heartbeat { grant: Some(grant), .. } | Body::Grant(grant) => Some(grant.echo),
            Body::Ack { echo, .. } => Some(echo),
            Body::Heartbeat { grant: None, .. } | Body::Goodbye { .. } | Body::Resign { .. } | Body::Differs { .. } => {
                None
            }
        };
        if let Some(lost) = self.liveness.compare_clocks(now, from, header.at, answers) {
            tracing::warn!(peer = %from, ?lost, "this machine's clock stood still, by that peer's");
            self.view.counters.clock_gaps += 1;
            // What is waited for has waited longer than this clock says: nothing need be added.
            self.liveness.handle_clock_gap(now, Duration::ZERO);
        }
        match body {
            Body::Heartbeat { term, commit, lease, drift_ppm, grant } => {
                if let Some(grant) = grant {
                    self.liveness.handle_grant(now, from, grant);
                }
                let sender = self.sender(now, from);
                if self.consensus.handle_heartbeat(now, sender, term, commit)? {
                    self.joining.entering = Some(header.cluster);
                    self.liveness.handle_heartbeat(now, from, header.counter, term, (lease, drift_ppm));
                } else if term < self.consensus.term() {
                    self.liveness.handle_stale_heartbeat(now, from, self.consensus.term());
                }
            }
            Body::Ack { term, echo, applied, hash, promise } => {
                self.consensus.handle_heartbeat_ack(now, from, term);
                if self.leader.leads_in(term) {
                    self.liveness.compare_applied(now, from, header.boot, (applied, hash));
                    let before = self.liveness.is_current(from);
                    if let Some(sent) = self.liveness.sent_at(from, echo) {
                        self.evidence.refute(Incarnation { id: from, boot: header.boot }, sent);
                    }
                    let ack = Ack { counter: header.counter, echo, applied, promise };
                    self.liveness.handle_ack(now, from, header.boot, ack);
                    if !before && self.liveness.is_current(from) {
                        self.leader.wake();
                    }
                }
            }
            Body::Grant(grant) => self.liveness.handle_grant(now, from, grant),
            Body::Resign { term } => self.handle_resign(now, from, term),
            Body::Differs { term, index } => self.handle_differs(now, from, term, index),
            Body::Goodbye { reaped } => self.handle_goodbye(now, Incarnation { id: from, boot: header.boot }, reaped),
        }
        Ok(())
    }
}
