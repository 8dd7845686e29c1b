//! The lines that a node logs: members that join, leave and die, the leader, its shards, and what it waits for.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use funk_io::{Cluster, Discovery, Event, Runtime};
use funk_proto::Event as NodeEvent;
use funk_proto::id::{Epoch, NodeName, Term};
use funk_proto::status::{GossipStatus, MemberStatus, NodeState, RaftStatus, Role, Status};
use futures_lite::future;

/// Between two lines about a leader that is missing.
const NO_LEADER_AGAIN: Duration = Duration::from_secs(10);
/// From the start to the first line that says what is looked for, and between the later ones.
const NOT_FOUND_FIRST: Duration = Duration::from_secs(3);
const NOT_FOUND_AGAIN: Duration = Duration::from_secs(60);
/// A change of owners is told when the map has been the same for the one, or after the other: it comes in many entries.
const MAP_CALM: Duration = Duration::from_millis(300);
const MAP_PATIENCE: Duration = Duration::from_secs(5);
/// Addresses whose failed joins are counted.
const FAILURES_COUNTED_MAX: usize = 256;

/// A line of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Line {
    State(NodeState),
    Leader { leader: NodeName, term: Term, gap: Option<Duration> },
    LeaderLost { leader: NodeName, term: Term },
    Joined(NodeName),
    Left(NodeName),
    Died(NodeName),
    Shards { gained: u64, lost: u64, owned: u32, epoch: Epoch, from: String, to: String },
    NoLeader { since: Duration, term: Term, voters: usize, missing: String },
    NotFound { since: Duration, known: usize },
    JoinFailed { address: SocketAddr, reason: String, times: u32 },
}

/// What was logged, and what is due.
#[derive(Debug)]
struct Log {
    own: NodeName,
    began: Instant,
    state: Option<NodeState>,
    leader: Option<(NodeName, Term)>,
    /// Since when there is none, who was the last one, and when that is said again.
    leaderless: Option<(Instant, Instant)>,
    /// Until the node is in a cluster: when it says what it looks for.
    search_at: Option<Instant>,
    /// When owners began to change, and changed last.
    moving: Option<(Instant, Instant)>,
    /// Shards that were gained and lost when that was told last.
    moved: (u64, u64),
    from: BTreeSet<NodeName>,
    to: BTreeSet<NodeName>,
    failures: BTreeMap<SocketAddr, (String, u32)>,
}

/// Takes all names out of the set, for a line.
fn take_names(names: &mut BTreeSet<NodeName>) -> String {
    std::mem::take(names).iter().map(NodeName::as_str).collect::<Vec<_>>().join(", ")
}

impl Log {
    fn new(own: NodeName, now: Instant) -> Self {
        Self {
            own,
            began: now,
            state: None,
            leader: None,
            leaderless: None,
            search_at: Some(now + NOT_FOUND_FIRST),
            moving: None,
            moved: (0, 0),
            from: BTreeSet::new(),
            to: BTreeSet::new(),
            failures: BTreeMap::new(),
        }
    }

    /// What an event is worth.
    fn handle(&mut self, now: Instant, event: &NodeEvent) -> Option<Line> {
        match event {
            NodeEvent::State(state) => self.handle_state(now, *state),
            NodeEvent::Leader { leader, term } => self.handle_leader(now, leader.as_ref(), *term),
            NodeEvent::MemberJoined { name, .. } => Some(Line::Joined(name.clone())),
            NodeEvent::MemberLeft { name, .. } => Some(Line::Left(name.clone())),
            NodeEvent::MemberFailed { name, .. } => Some(Line::Died(name.clone())),
            NodeEvent::Moving { from, to, .. } => {
                if *to == self.own {
                    self.from.insert(from.clone());
                } else if *from == self.own {
                    self.to.insert(to.clone());
                }
                None
            }
            NodeEvent::Map { .. } => {
                let began = self.moving.map_or(now, |(began, _)| began);
                self.moving = Some((began, now));
                None
            }
            NodeEvent::JoinFailed { address, reason } => self.count_failure(*address, reason),
            _ => None,
        }
    }

    /// States between which a node goes back and forth with each move of shards are no news.
    fn handle_state(&mut self, now: Instant, state: NodeState) -> Option<Line> {
        let state = if state == NodeState::Resharding { NodeState::Operational } else { state };
        match state {
            NodeState::Starting | NodeState::Joining => {}
            _ => self.search_at = None,
        }
        if state == NodeState::Voting && self.leader.is_none() && self.leaderless.is_none() {
            self.leaderless = Some((now, now + NO_LEADER_AGAIN));
        }
        (self.state.replace(state) != Some(state)).then_some(Line::State(state))
    }

    fn handle_leader(&mut self, now: Instant, leader: Option<&NodeName>, term: Term) -> Option<Line> {
        let Some(leader) = leader else {
            let (leader, term) = self.leader.take()?;
            self.leaderless = Some((now, now + NO_LEADER_AGAIN));
            return Some(Line::LeaderLost { leader, term });
        };
        let gap = self.leaderless.take().map(|(since, _)| now - since);
        let next = (leader.clone(), term);
        let is_news = self.leader.as_ref() != Some(&next);
        self.leader = Some(next);
        is_news.then(|| Line::Leader { leader: leader.clone(), term, gap })
    }

    /// The first failure for each reason, then each time that the count doubles.
    fn count_failure(&mut self, address: SocketAddr, reason: &str) -> Option<Line> {
        if self.failures.len() >= FAILURES_COUNTED_MAX && !self.failures.contains_key(&address) {
            self.failures.pop_first();
        }
        let (last, times) = self.failures.entry(address).or_default();
        if last != reason {
            (*last, *times) = (reason.to_owned(), 0);
        }
        *times += 1;
        let line = || Line::JoinFailed { address, reason: reason.to_owned(), times: *times };
        times.is_power_of_two().then(line)
    }

    /// When a change of owners is told.
    fn moves_due(&self) -> Option<Instant> {
        self.moving.map(|(began, last)| (last + MAP_CALM).min(began + MAP_PATIENCE))
    }

    /// When [`Log::handle_timeout`] has something to log next.
    fn poll_timeout(&self) -> Option<Instant> {
        let leader = self.leaderless.map(|(_, again)| again);
        [self.search_at, leader, self.moves_due()].into_iter().flatten().min()
    }

    /// What its time has come for, as the node is now.
    fn handle_timeout(&mut self, now: Instant, seen: &Seen) -> Vec<Line> {
        let mut lines = Vec::new();
        if self.search_at.is_some_and(|at| now >= at) {
            self.search_at = Some(now + NOT_FOUND_AGAIN);
            // An observer asks nobody to let it in.
            if !seen.observes {
                lines.push(Line::NotFound { since: now - self.began, known: seen.known });
            }
        }
        // The event that told it was missed.
        if let Some(leader) = seen.leader.as_ref().filter(|_| self.leader.is_none()) {
            lines.extend(self.handle_leader(now, Some(leader), seen.term));
        }
        if let Some((since, _)) = self.leaderless.filter(|(_, again)| now >= *again) {
            self.leaderless = Some((since, now + NO_LEADER_AGAIN));
            let Seen { term, voters, ref missing, .. } = *seen;
            lines.push(Line::NoLeader { since: now - since, term, voters, missing: missing.clone() });
        }
        if self.moves_due().is_some_and(|due| now >= due) {
            self.moving = None;
            lines.extend(self.shards(seen));
        }
        lines
    }

    /// What became of this node's shards since that was told last.
    fn shards(&mut self, seen: &Seen) -> Option<Line> {
        let (gained, lost) = (seen.moved.0 - self.moved.0, seen.moved.1 - self.moved.1);
        self.moved = seen.moved;
        let (from, to) = (take_names(&mut self.from), take_names(&mut self.to));
        (gained + lost > 0).then_some(Line::Shards { gained, lost, owned: seen.owned, epoch: seen.epoch, from, to })
    }
}

/// What the lines need of a node's status.
#[derive(Clone, Debug)]
struct Seen {
    observes: bool,
    /// Others that are alive in gossip.
    known: usize,
    leader: Option<NodeName>,
    term: Term,
    epoch: Epoch,
    owned: u32,
    /// Shards gained and lost since the start.
    moved: (u64, u64),
    voters: usize,
    /// The voters that this node does not reach, which may be why there is no leader.
    missing: String,
}

impl Seen {
    fn of(status: &Status) -> Self {
        let is_other = |member: &&MemberStatus| member.name != status.name.as_str();
        let is_alive = |member: &&MemberStatus| member.gossip == GossipStatus::Alive;
        let voters = || status.members.iter().filter(|member| member.raft == RaftStatus::Voter);
        let missing = voters().filter(|member| !member.reached);
        Self {
            observes: status.role == Role::NonMember,
            known: status.members.iter().filter(is_other).filter(is_alive).count(),
            leader: status.leader.clone(),
            term: status.term,
            epoch: status.epoch,
            owned: status.shards_owned,
            moved: (status.counters.shards_gained, status.counters.shards_lost),
            voters: voters().count(),
            missing: missing.map(|member| member.name.as_str()).collect::<Vec<_>>().join(", "),
        }
    }
}

impl Line {
    /// Writes it. `sought` is where the node looks for others.
    fn write(&self, node: &NodeName, sought: &str) {
        match self {
            Self::State(state) => tracing::info!(%node, %state, "state"),
            Self::Leader { leader, term, gap } => {
                let gap = gap.map(tracing::field::debug);
                tracing::info!(%node, peer = %leader, term = term.0, gap, "a node leads");
            }
            Self::LeaderLost { leader, term } => {
                tracing::info!(%node, peer = %leader, term = term.0, "the leader is lost");
            }
            Self::Joined(peer) => tracing::info!(%node, %peer, "a member joined"),
            Self::Left(peer) => tracing::info!(%node, %peer, "a member left"),
            Self::Died(peer) => tracing::info!(%node, %peer, "a member was declared dead"),
            Self::Shards { gained, lost, owned, epoch, from, to } => {
                let [from, to] = [from, to].map(|names| (!names.is_empty()).then_some(names.as_str()));
                tracing::info!(%node, gained, lost, owned, epoch = epoch.0, from, to, "shards changed hands");
            }
            Self::NoLeader { since, term, voters, missing } => {
                tracing::warn!(%node, ?since, term = term.0, voters, missing, "there is no leader: no shard is served");
            }
            Self::NotFound { since, known } => {
                tracing::warn!(%node, ?since, sought, known, "this node is in no cluster yet");
            }
            Self::JoinFailed { address, reason, times } => {
                tracing::warn!(%node, %address, reason, times, "cannot join there, retrying");
            }
        }
    }
}

/// Writes the log of a node until the node has stopped. `sought` is where it looks for others.
pub(super) async fn write<R: Runtime>(cluster: Cluster, sought: String) {
    let node = cluster.name().clone();
    let (mut events, mut log) = (cluster.events(), Log::new(node.clone(), Instant::now()));
    loop {
        let due = log.poll_timeout();
        let timeout = async {
            match due {
                Some(due) => R::sleep(due.saturating_duration_since(Instant::now())).await,
                None => future::pending().await,
            }
            None
        };
        match future::or(async { Some(events.next().await) }, timeout).await {
            Some(Ok(Event::Node(event))) => {
                log.handle(Instant::now(), &event).into_iter().for_each(|line| line.write(&node, &sought));
            }
            // What was missed is not told; what follows from it is.
            Some(Ok(_) | Err(funk_io::EventsEnd::Lagged(_))) => {}
            Some(Err(funk_io::EventsEnd::Stopped)) => return,
            None => {
                let Ok(status) = cluster.status().await else { return };
                log.handle_timeout(Instant::now(), &Seen::of(&status))
                    .iter()
                    .for_each(|line| line.write(&node, &sought));
            }
        }
    }
}

/// Where a node looks for others, for its log.
pub(super) fn sought(discovery: &Discovery) -> String {
    let mdns = discovery.mdns.then(|| "mDNS".to_owned());
    let given = discovery.join.iter().map(ToString::to_string);
    let own = discovery.sources.iter().map(|source| source.name());
    let places: Vec<String> = mdns.into_iter().chain(given).chain(own).collect();
    if places.is_empty() {
        "nowhere: neither mDNS nor an address to join through was given".into()
    } else {
        places.join(", ")
    }
}

#[cfg(test)]
mod tests {
    use funk_proto::id::RaftId;

    use super::*;

    fn name(name: &str) -> NodeName {
        name.parse().expect("a name")
    }

    fn seen() -> Seen {
        Seen {
            observes: false,
            known: 0,
            leader: None,
            term: Term(3),
            epoch: Epoch(9),
            owned: 20,
            moved: (0, 0),
            voters: 3,
            missing: "n2, n3".into(),
        }
    }

    /// A log that began at the instant, and a clock in milliseconds after it.
    fn log() -> (Log, impl Fn(u64) -> Instant) {
        let began = Instant::now();
        (Log::new(name("n1"), began), move |ms| began + Duration::from_millis(ms))
    }

    fn leader(leader: Option<&str>, term: u64) -> NodeEvent {
        NodeEvent::Leader { leader: leader.map(name), term: Term(term) }
    }

    #[test]
    fn a_leader_whose_event_was_missed_is_told_once_and_is_not_missing() {
        let (mut log, at) = log();
        log.handle(at(0), &NodeEvent::State(NodeState::Voting));
        let known = Seen { leader: Some(name("n2")), ..seen() };
        let told = log.handle_timeout(at(10_000), &known);
        assert!(
            matches!(told[..], [Line::Leader { ref leader, term: Term(3), .. }] if *leader == name("n2")),
            "{told:?}"
        );
        assert_eq!(log.handle_timeout(at(20_000), &known), []);
    }

    #[test]
    fn a_new_leader_is_told_with_the_time_without_one() {
        let (mut log, at) = log();
        let first = Line::Leader { leader: name("n2"), term: Term(2), gap: None };
        assert_eq!(log.handle(at(0), &leader(Some("n2"), 2)), Some(first));
        assert_eq!(log.handle(at(5), &leader(Some("n2"), 2)), None, "that is known");
        let lost = Line::LeaderLost { leader: name("n2"), term: Term(2) };
        assert_eq!(log.handle(at(10), &leader(None, 2)), Some(lost));
        assert_eq!(log.handle(at(20), &leader(None, 3)), None, "it is lost once");
        let next = Line::Leader { leader: name("n3"), term: Term(4), gap: Some(Duration::from_millis(150)) };
        assert_eq!(log.handle(at(160), &leader(Some("n3"), 4)), Some(next));
    }

    #[test]
    fn while_no_leader_is_there_a_line_every_ten_seconds_says_who_is_missing() {
        let (mut log, at) = log();
        log.handle(at(0), &NodeEvent::State(NodeState::Operational));
        log.handle(at(0), &leader(Some("n2"), 2));
        log.handle(at(1000), &leader(None, 2));
        for since in [10, 20, 30] {
            let due = log.poll_timeout().expect("it says so");
            assert_eq!(due, at(1000 + 1000 * since));
            let since = Duration::from_secs(since);
            let line = Line::NoLeader { since, term: Term(3), voters: 3, missing: "n2, n3".into() };
            assert_eq!(log.handle_timeout(due, &seen()), [line]);
        }
        log.handle(at(31_500), &leader(Some("n1"), 5));
        assert_eq!(log.poll_timeout(), None);
    }

    #[test]
    fn a_cluster_that_never_had_a_leader_is_missed_too() {
        let (mut log, at) = log();
        log.handle(at(0), &NodeEvent::State(NodeState::Voting));
        assert_eq!(log.poll_timeout(), Some(at(10_000)));
    }

    #[test]
    fn a_node_in_no_cluster_says_what_it_looks_for_after_three_seconds_and_then_each_minute() {
        let (mut log, at) = log();
        log.handle(at(0), &NodeEvent::State(NodeState::Joining));
        for (due, known) in [(3_000, 0), (63_000, 2)] {
            assert_eq!(log.poll_timeout(), Some(at(due)));
            let line = Line::NotFound { since: Duration::from_millis(due), known };
            assert_eq!(log.handle_timeout(at(due), &Seen { known, ..seen() }), [line]);
        }
        assert_eq!(log.handle_timeout(at(123_000), &Seen { observes: true, ..seen() }), [], "it asks nobody");
        log.handle(at(130_000), &NodeEvent::State(NodeState::Operational));
        assert_eq!(log.poll_timeout(), None);
    }

    #[test]
    fn moves_of_shards_are_one_line_when_they_are_over() {
        let (mut log, at) = log();
        log.handle(at(0), &NodeEvent::State(NodeState::Operational));
        let moving = |from, to| NodeEvent::Moving { epoch: Epoch(5), from: name(from), to: name(to), shards: 3 };
        for (ms, from, to) in [(0, "n2", "n1"), (10, "n3", "n1"), (20, "n1", "n4"), (30, "n2", "n3")] {
            assert_eq!(log.handle(at(ms), &moving(from, to)), None);
            assert_eq!(log.handle(at(ms), &NodeEvent::Map { epoch: Epoch(5) }), None);
        }
        assert_eq!(log.handle(at(30), &NodeEvent::State(NodeState::Resharding)), None, "no news");
        assert_eq!(log.poll_timeout(), Some(at(330)));
        let line = |gained, lost, from: &str, to: &str| Line::Shards {
            gained,
            lost,
            owned: 20,
            epoch: Epoch(9),
            from: from.into(),
            to: to.into(),
        };
        assert_eq!(log.handle_timeout(at(330), &Seen { moved: (6, 3), ..seen() }), [line(6, 3, "n2, n3", "n4")]);
        assert_eq!(log.poll_timeout(), None);
        log.handle(at(400), &NodeEvent::Map { epoch: Epoch(8) });
        assert_eq!(log.handle_timeout(at(700), &Seen { moved: (6, 3), ..seen() }), [], "others' shards");
        for ms in (800..9_000).step_by(100) {
            log.handle(at(ms), &NodeEvent::Map { epoch: Epoch(8) });
        }
        assert_eq!(log.poll_timeout(), Some(at(5_800)), "moves that do not end are told all the same");
        assert_eq!(log.handle_timeout(at(5_800), &Seen { moved: (7, 3), ..seen() }), [line(1, 0, "", "")]);
    }

    #[test]
    fn members_that_come_and_go_are_told_by_name() {
        let (mut log, at) = log();
        let id = RaftId::new(2).expect("not zero");
        let lines = [
            NodeEvent::MemberJoined { name: name("n2"), id },
            NodeEvent::MemberLeft { name: name("n2"), id },
            NodeEvent::MemberFailed { name: name("n2"), id },
        ]
        .map(|event| log.handle(at(0), &event));
        assert_eq!(lines, [Line::Joined(name("n2")), Line::Left(name("n2")), Line::Died(name("n2"))].map(Some));
    }

    #[test]
    fn failures_to_join_are_told_for_each_reason_and_when_their_number_doubles() {
        let (mut log, at) = log();
        let address: SocketAddr = "127.0.0.1:9".parse().expect("an address");
        let mut told = |reason: &str| {
            let line = log.handle(at(0), &NodeEvent::JoinFailed { address, reason: reason.into() })?;
            let Line::JoinFailed { times, .. } = line else { panic!("{line:?}") };
            Some(times)
        };
        assert_eq!([(); 5].map(|()| told("refused")), [Some(1), Some(2), None, Some(4), None]);
        assert_eq!([(); 2].map(|()| told("no answer")), [Some(1), Some(2)]);
    }
}
