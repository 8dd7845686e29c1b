//! How a node gets into its cluster, and out of it.
//!
//! | phase | what the node does |
//! |---|---|
//! | looking | a bootstrap with join addresses or discovery looks for a cluster of its name first |
//! | asking | not a member, or cut off from the leader: asks one known node after another |
//! | member | nothing, as long as a leader is heard |
//! | leaving | asks the leader to be drained and taken out, until it is told farewell |

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use crate::config::{NodeConfig, Participation};
use crate::error::Refusal;
use crate::id::{BootId, ClusterId, RaftId};
use crate::limits::{BOOTSTRAP_PROBE, BOOTSTRAP_PROBE_MAX, NAMESAKES_MAX, TWIN_CLUSTERS_MAX};
use crate::mutate::{Mutant, planted};
use crate::time::Timestamp;

/// Pause between two requests.
const ASK_AGAIN: Duration = Duration::from_millis(100);
/// Pause between two attempts at the configured addresses while this node is out: those that it met first may be gone.
const REJOIN: Duration = Duration::from_secs(2);
/// Pause between two reports that the member table is full.
const REPORT_FULL: Duration = Duration::from_secs(10);
/// Time in which a node that will be no member learns that its name is in use.
const NEW: Duration = Duration::from_secs(10);
/// Contacts that are tried at once when gossip shows many: each look goes through all members of gossip, and a peer
/// decides how many those are.
const DOORS_AT_ONCE: usize = 4;
/// A member that has heard no leader for this long asks whether it is still in.
pub(crate) const CUT_OFF: Duration = Duration::from_millis(500);

/// What joining and leaving want done, in this order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum JoiningOutput {
    /// It is time to begin a cluster: see whether a source has not answered yet, and call
    /// [`Joining::handle_look`] with the answer.
    CheckLook,
    /// No cluster of this name was found: begin one.
    Bootstrap,
    /// Call at the configured addresses again.
    Rejoin,
    /// Ask a node that may know the leader to be let in: the one after the node that was asked last, or the next
    /// after that which can be reached.
    AskToJoin,
    /// Tell gossip that this node is about to leave.
    AnnounceLeave,
    /// Ask the leader to be let go.
    AskToLeave,
    /// See whether this node is out, and call [`Joining::handle_standing`] with the answer before anything else.
    CheckStanding,
    /// This node is in: see whether its record in the table is up to date.
    CheckRecord,
    /// The cluster does not take this node, for this reason.
    Refused(Refusal),
    /// This node has left.
    Left,
}

/// Where the node is on its way in or out.
#[derive(Debug)]
pub(crate) struct Joining {
    look_until: Option<Timestamp>,
    /// Until then a look waits for an answer that is on its way.
    look_max: Timestamp,
    ask_at: Option<Timestamp>,
    asked: usize,
    rejoin_at: Timestamp,
    /// Until then a node that will be no member has just begun.
    new_until: Timestamp,
    is_leaving: bool,
    has_left: bool,
    is_refused: bool,
    /// A full table is not reported before.
    report_full_at: Timestamp,
    /// Nodes of a cluster whose names gossip shows at others' addresses, and their clusters.
    namesakes: BTreeMap<RaftId, String>,
    /// How often gossip showed a node in a cluster since this was last taken, up to [`DOORS_AT_ONCE`].
    sightings: usize,
    /// The process that asked to be let in with the identity of the leader, and since when.
    duplicate_of_leader: Option<(BootId, Timestamp)>,
    /// Other clusters of this one's name that were reported.
    duplicates: BTreeSet<String>,
    /// The cluster of the leader that this node answers before it has the state that names its own: a leader sends
    /// the state to those who answer.
    pub(crate) entering: Option<ClusterId>,
    /// The log of an earlier boot is being applied.
    pub(crate) is_restarting: bool,
    outputs: VecDeque<JoiningOutput>,
}

impl Joining {
    pub(crate) fn new(config: &NodeConfig, now: Timestamp) -> Self {
        let has_source = !config.join.is_empty() || config.discovery;
        let (pause, longest) = if has_source { (BOOTSTRAP_PROBE, BOOTSTRAP_PROBE_MAX) } else { Default::default() };
        let asks = !config.bootstrap && config.participation != Participation::NonMember;
        Self {
            look_until: config.bootstrap.then(|| now + pause),
            look_max: now + longest,
            ask_at: asks.then_some(now),
            asked: 0,
            rejoin_at: now + REJOIN,
            new_until: now + NEW,
            is_leaving: false,
            has_left: false,
            is_refused: false,
            report_full_at: now,
            namesakes: BTreeMap::new(),
            sightings: 0,
            duplicate_of_leader: None,
            duplicates: BTreeSet::new(),
            entering: None,
            is_restarting: false,
            outputs: VecDeque::new(),
        }
    }

    /// The node is in a cluster already: no new one is begun, and the way back in is asked for.
    pub(crate) fn resume(&mut self, ask_at: Option<Timestamp>) {
        (self.look_until, self.ask_at) = (None, ask_at);
    }

    /// A bootstrap looks for a cluster of its name.
    pub(crate) fn is_looking(&self) -> bool {
        self.look_until.is_some()
    }

    pub(crate) fn is_leaving(&self) -> bool {
        self.is_leaving
    }

    pub(crate) fn has_left(&self) -> bool {
        self.has_left
    }

    /// Whether this node waits for a leader's word, to be let in or to be let go.
    pub(crate) fn may_be_told(&self) -> bool {
        self.is_leaving || self.asks()
    }

    /// Whether this node has just begun.
    pub(crate) fn is_new(&self, now: Timestamp) -> bool {
        now < self.new_until
    }

    /// Whether this node asks to be let in when it is out.
    fn asks(&self) -> bool {
        self.ask_at.is_some() && !self.is_leaving && !self.is_looking()
    }

    /// A node that may know the leader has turned up, and this one `is_out`.
    pub(crate) fn handle_contact(&mut self, now: Timestamp, is_out: bool) {
        if self.asks() && !self.is_refused && is_out {
            self.ask_at = Some(now + ASK_AGAIN);
            self.outputs.push_back(JoiningOutput::AskToJoin);
        }
    }

    /// Whether a node whose stream has just been introduced must be asked at once.
    pub(crate) fn asks_through(&self, is_out: bool) -> bool {
        self.asks() && is_out
    }

    /// Gossip shows a node in a cluster.
    pub(crate) fn handle_cluster_seen(&mut self) {
        self.sightings = (self.sightings + 1).min(DOORS_AT_ONCE);
    }

    /// How many contacts are to be tried now for what gossip showed.
    pub(crate) fn take_sightings(&mut self) -> usize {
        std::mem::take(&mut self.sightings)
    }

    /// Which of so many contacts is asked next.
    pub(crate) fn next_contact(&mut self, contacts: usize) -> usize {
        self.asked = (self.asked + 1) % contacts.max(1);
        self.asked
    }

    /// A node of this cluster shows its name at another address than the member that gossip lists under it.
    pub(crate) fn handle_namesake(&mut self, id: RaftId, cluster: String) {
        if self.namesakes.len() >= NAMESAKES_MAX {
            self.namesakes.clear();
        }
        self.namesakes.insert(id, cluster);
    }

    /// The namesakes, and the clusters that they show.
    pub(crate) fn namesakes(&self) -> impl Iterator<Item = (RaftId, &String)> {
        self.namesakes.iter().map(|(&id, cluster)| (id, cluster))
    }

    /// Another cluster of this one's name is seen. True if it was not seen before.
    pub(crate) fn handle_duplicate(&mut self, cluster: &str) -> bool {
        self.duplicates.len() < TWIN_CLUSTERS_MAX && self.duplicates.insert(cluster.to_owned())
    }

    /// This process has the identity of the leader. Tells since when it asks to be let in.
    pub(crate) fn note_duplicate_of_leader(&mut self, now: Timestamp, boot: BootId) -> Timestamp {
        match self.duplicate_of_leader {
            Some((known, since)) if known == boot => since,
            _ => self.duplicate_of_leader.insert((boot, now)).1,
        }
    }

    /// The application wants this node to leave.
    pub(crate) fn begin_leave(&mut self, now: Timestamp, is_member: bool) {
        if std::mem::replace(&mut self.is_leaving, true) {
            return;
        }
        self.outputs.push_back(JoiningOutput::AnnounceLeave);
        if is_member {
            self.ask_to_leave(now);
        } else {
            self.handle_left();
        }
    }

    fn ask_to_leave(&mut self, now: Timestamp) {
        self.ask_at = Some(now + ASK_AGAIN);
        self.outputs.push_back(JoiningOutput::AskToLeave);
    }

    /// The cluster has let this node go.
    pub(crate) fn handle_left(&mut self) {
        if !std::mem::replace(&mut self.has_left, true) {
            self.outputs.push_back(JoiningOutput::Left);
        }
    }

    /// The cluster does not take this node, or no longer.
    pub(crate) fn handle_refused(&mut self, refusal: Refusal) {
        if !std::mem::replace(&mut self.is_refused, true) {
            self.outputs.push_back(JoiningOutput::Refused(refusal));
        }
    }

    /// Whether it is time to report that the member table is full.
    pub(crate) fn may_report_full(&mut self, now: Timestamp) -> bool {
        let is_time = now >= self.report_full_at;
        if is_time {
            self.report_full_at = now + REPORT_FULL;
        }
        is_time
    }

    /// Fires what is due.
    pub(crate) fn handle_timeout(&mut self, now: Timestamp) {
        if self.has_left || self.is_refused {
            return;
        }
        if let Some(until) = self.look_until {
            if now >= until {
                self.outputs.push_back(JoiningOutput::CheckLook);
            }
        } else if self.is_leaving {
            self.ask_to_leave(now);
        } else {
            self.outputs.push_back(JoiningOutput::CheckStanding);
        }
    }

    /// A look is over unless a source that was asked has not answered yet.
    pub(crate) fn handle_look(&mut self, now: Timestamp, waits: bool) {
        if waits && now < self.look_max && !planted(Mutant::BootstrapWaitsForNobody) {
            self.look_until = Some(self.look_max);
            return;
        }
        self.look_until = None;
        self.ask_at = Some(now + CUT_OFF);
        self.outputs.push_back(JoiningOutput::Bootstrap);
    }

    /// A source has answered, or does not. The last one ends a look that waited for it.
    pub(crate) fn handle_source(&mut self, now: Timestamp, waits: bool) {
        if self.look_until == Some(self.look_max) && !waits {
            self.look_until = Some(now);
        }
    }

    /// `is_out` says whether this node is no member, or cut off.
    pub(crate) fn handle_standing(&mut self, now: Timestamp, is_out: bool) {
        if is_out {
            if now >= self.rejoin_at {
                self.rejoin_at = now + REJOIN;
                self.outputs.push_back(JoiningOutput::Rejoin);
            }
            self.handle_contact(now, is_out);
        } else {
            self.ask_at = Some(now + CUT_OFF);
            self.namesakes.clear();
            self.outputs.push_back(JoiningOutput::CheckRecord);
        }
    }

    /// When something is due.
    pub(crate) fn poll_timeout(&self) -> Option<Timestamp> {
        if self.has_left || self.is_refused {
            return None;
        }
        self.look_until.or(self.ask_at)
    }

    /// The next thing to do.
    pub(crate) fn poll_output(&mut self) -> Option<JoiningOutput> {
        self.outputs.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn joining(bootstrap: bool) -> Joining {
        let address = |port| std::net::SocketAddr::from(([127, 0, 0, 1], port));
        let (name, cluster) = ("n1".parse().unwrap(), "c".parse().unwrap());
        let mut config = NodeConfig::new(name, cluster, address(1), address(2), address(3));
        config.bootstrap = bootstrap;
        config.discovery = true;
        Joining::new(&config, at(0))
    }

    #[test]
    fn a_look_goes_on_while_an_answer_is_on_its_way_and_no_longer_than_a_second() {
        let looks = |joining: &mut Joining, ms| {
            joining.handle_timeout(at(ms));
            joining.poll_output() == Some(JoiningOutput::CheckLook)
        };
        let mut joining = joining(true);
        assert!(!looks(&mut joining, 299) && looks(&mut joining, 300));
        joining.handle_look(at(300), true);
        joining.handle_source(at(400), true);
        assert!(!looks(&mut joining, 400) && joining.is_looking());
        joining.handle_source(at(450), false);
        assert!(looks(&mut joining, 450));
        joining.handle_look(at(450), false);
        assert_eq!(joining.poll_output(), Some(JoiningOutput::Bootstrap));
        let mut joining = self::joining(true);
        assert!(looks(&mut joining, 300));
        joining.handle_look(at(300), true);
        assert!(!looks(&mut joining, 999) && looks(&mut joining, 1000));
        joining.handle_look(at(1000), true);
        assert_eq!(joining.poll_output(), Some(JoiningOutput::Bootstrap));
    }

    fn outputs(joining: &mut Joining, now: Timestamp, is_out: bool) -> Vec<JoiningOutput> {
        let mut outputs = Vec::new();
        while let Some(output) = joining.poll_output() {
            match output {
                JoiningOutput::CheckStanding => joining.handle_standing(now, is_out),
                JoiningOutput::CheckLook => joining.handle_look(now, false),
                other => outputs.push(other),
            }
        }
        outputs
    }

    /// What is wanted when the next deadline comes, and when that is.
    fn next(joining: &mut Joining, is_out: bool) -> (Timestamp, Vec<JoiningOutput>) {
        let due = joining.poll_timeout().expect("something is due");
        joining.handle_timeout(due);
        (due, outputs(joining, due, is_out))
    }

    #[test]
    fn a_bootstrap_looks_first_then_begins_a_cluster() {
        let mut joining = joining(true);
        assert!(joining.is_looking());
        joining.handle_contact(at(1), true);
        assert_eq!(joining.poll_output(), None, "it asks nobody to be let in");
        assert_eq!(next(&mut joining, true), (at(0) + BOOTSTRAP_PROBE, vec![JoiningOutput::Bootstrap]));
        assert!(!joining.is_looking());
    }

    #[test]
    fn a_bootstrap_that_finds_a_cluster_is_refused_once_and_rests() {
        let mut joining = joining(true);
        for _ in 0..2 {
            joining.handle_refused(Refusal::TableFull);
        }
        assert_eq!(joining.poll_output(), Some(JoiningOutput::Refused(Refusal::TableFull)));
        assert_eq!((joining.poll_output(), joining.poll_timeout()), (None, None));
    }

    #[test]
    fn a_node_that_is_out_asks_again_and_again_and_calls_at_its_addresses() {
        let mut joining = joining(false);
        assert_eq!(next(&mut joining, true), (at(0), vec![JoiningOutput::AskToJoin]));
        assert_eq!(next(&mut joining, true), (at(0) + ASK_AGAIN, vec![JoiningOutput::AskToJoin]));
        joining.handle_timeout(at(0) + REJOIN);
        assert_eq!(outputs(&mut joining, at(0) + REJOIN, true), [JoiningOutput::Rejoin, JoiningOutput::AskToJoin]);
        assert_eq!([joining.next_contact(3), joining.next_contact(3), joining.next_contact(3)], [1, 2, 0]);
    }

    #[test]
    fn a_member_looks_after_its_record_and_asks_nobody() {
        let mut joining = joining(false);
        assert_eq!(next(&mut joining, false), (at(0), vec![JoiningOutput::CheckRecord]));
        joining.handle_contact(at(1), false);
        assert_eq!(joining.poll_output(), None);
        assert!(!joining.asks_through(false) && joining.asks_through(true));
    }

    #[test]
    fn a_leaver_asks_until_it_is_let_go_and_says_so_once() {
        let mut joining = joining(false);
        joining.begin_leave(at(10), true);
        joining.begin_leave(at(11), true);
        let said: Vec<_> = std::iter::from_fn(|| joining.poll_output()).collect();
        assert_eq!(said, [JoiningOutput::AnnounceLeave, JoiningOutput::AskToLeave]);
        assert_eq!(next(&mut joining, true), (at(10) + ASK_AGAIN, vec![JoiningOutput::AskToLeave]));
        joining.handle_left();
        joining.handle_left();
        assert_eq!(joining.poll_output(), Some(JoiningOutput::Left));
        assert_eq!((joining.poll_output(), joining.poll_timeout()), (None, None));
    }

    #[test]
    fn a_node_that_is_no_member_leaves_at_once() {
        let mut joining = joining(false);
        joining.begin_leave(at(0), false);
        let said: Vec<_> = std::iter::from_fn(|| joining.poll_output()).collect();
        assert_eq!(said, [JoiningOutput::AnnounceLeave, JoiningOutput::Left]);
    }

    #[test]
    fn a_duplicate_cluster_is_reported_once_and_not_without_bound() {
        let mut joining = joining(false);
        assert!(joining.handle_duplicate("a") && !joining.handle_duplicate("a"));
        let reported = (0..1000).filter(|n| joining.handle_duplicate(&n.to_string())).count();
        assert_eq!(reported, TWIN_CLUSTERS_MAX - 1);
    }
}
