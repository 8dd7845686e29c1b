//! Bugs to be planted. Each drops one rule of the protocol at one place. A
//! build with `--cfg funk_mutate` can plant one at a time, in this thread, to
//! see whether the tests find it; in any other build none of this is there.

macro_rules! mutants {
    ($($(#[doc = $doc:literal])+ $name:ident,)+) => {
        /// A bug that can be planted.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
        pub enum Mutant {
            $($(#[doc = $doc])+ $name,)+
        }

        impl Mutant {
            /// All of them.
            #[cfg(funk_mutate)]
            pub const ALL: &'static [Mutant] = &[$(Mutant::$name,)+];

            /// The rule that it breaks, in words.
            #[cfg(funk_mutate)]
            pub fn rule(self) -> &'static str {
                match self {
                    $(Mutant::$name => concat!($($doc),+),)+
                }
            }
        }
    };
}

mutants! {
    /// A leader's authority counts from the arrival of an ack, not from the sending of the heartbeat.
    AuthorityFromReceipt,
    /// One ack less than a majority backs a leader.
    QuorumOffByOne,
    /// Only the newer half of a joint configuration backs a leader.
    OneHalfOfJointBacks,
    /// An ack is worth the lease that holds now, not the one that its heartbeat said.
    AckCountsPresentLease,
    /// A voter promises for the lease that it knows, not for the one that the heartbeat says.
    PromiseByOwnLease,
    /// A heartbeat with a shorter lease shortens a promise.
    ShorterLeaseEndsPromise,
    /// What a vote says of its promise is cut to the lease that the candidate knows.
    PromiseCutToKnownLease,
    /// A member counts the lease that it knows, not the one that it was granted.
    MemberTakesKnownLease,
    /// A restarted voter honours the lease of its log, not the longest that it promised for.
    KeptLeaseForgotten,
    /// A voter promises for a lease before its disk holds it.
    PromisedBeforeKept,
    /// The disk forgets a longer lease while a promise for it runs.
    KeptLeaseShrinksAtOnce,
    /// A change of voters waits for the present lease, not for the longest that a heartbeat asked for.
    VotersWaitForPresentLease,
    /// A new leader changes the voters before the promises of its own voters have run out.
    VotersWaitForNoPromise,
    /// The lease never grows, whatever comes late.
    LeaseNeverLonger,
    /// A candidate that fails tries again as soon as ever.
    ElectionsNotBackedOff,
    /// A bootstrap begins a cluster though a source that it asked has not answered yet.
    BootstrapWaitsForNobody,
    /// Of two candidates that ask at the same time neither lets the other go first.
    CandidatesNeverYield,
    /// A leader that has ended leads again when an entry arrives that it sent before.
    LateWordsBelieved,
    /// Nobody waits longer where answers take long.
    RoundTripsIgnored,
    /// A voter hides in its vote what it promised to the previous leader.
    VoteHidesPromise,
    /// A voter that voted has no promise left to report with the next vote.
    VoteClearsPromise,
    /// A vote reports the promise as of the pre-vote.
    PromiseReadAtPreVote,
    /// A restarted voter forgets what its previous boot promised.
    RestartForgetsPromise,
    /// A new leader forgets the promises of its voters.
    PromisesNotInherited,
    /// A new leader forgets its own promise.
    OwnPromiseLeftOut,
    /// Voters and leaders do not stretch their waits by the drift bound.
    WaitsNotStretched,
    /// A voter acks the heartbeat of a term that is over.
    StaleHeartbeatAcked,
    /// A grant may outlast the authority of its leader.
    GrantBeyondAuthority,
    /// The leader does not remember what it granted.
    GrantNotCharged,
    /// A lease counts from the newest ask, not from the one that is answered.
    LeaseFromNewestAsk,
    /// A lease once held is held forever.
    LeaseNeverEnds,
    /// A leader's own lease needs no acks.
    OwnLeaseWithoutAcks,
    /// A leader grants and takes before the first entry of its term is applied.
    ReadyBeforeOwnTerm,
    /// A member is granted a lease though it has not applied what was taken from it.
    GrantBelowFloor,
    /// A member from which a proposed entry takes a shard is granted a lease until the entry is committed.
    FloorNotRaised,
    /// What was granted to one boot of a node is waited for before the shards of another are taken.
    GrantsKeyedByNode,
    /// A dead owner's shards are taken before its last grant has run out.
    TakenBeforeGrantEnd,
    /// A release of any move is taken for one of this move.
    ReleaseOfAnyMove,
    /// An owner releases shards while requests are still inside.
    ReleasedBeforeDrained,
    /// When the drain timeout is over, shards are released though guards of them hold for the rest of the lease.
    FrozenLeaseForgotten,
    /// A drain waits for its last guard, however long that takes.
    DrainWithoutEnd,
    /// A release is sent once, whether or not it arrives.
    ReleaseSaidOnce,
    /// The owner of a shard that moves goes on serving it.
    GateStaysOpen,
    /// A shard that moves is its destination's at once.
    MovedAtOnce,
    /// A shard that moves to a member which died waits for it forever.
    MoveNotRetargeted,
    /// What is said about one boot of a node counts for another.
    BootNotCompared,
    /// A goodbye that comes again is taken for one of the boot that runs now.
    GoodbyeOfAnyBoot,
    /// An entry changes shards though it was planned on an older map.
    PlanOnOldMap,
    /// A new owner has the epoch of the old one.
    EpochStays,
    /// A node that did not run keeps its lease.
    GapKeepsLease,
    /// A node that did not run counts that time as waited.
    GapEndsWaits,
    /// A node whose clock stood still without a trace does not learn it from others' clocks.
    StoppedClockUnnoticed,
    /// Voters change although a promise of a previous set still runs.
    VotersChangeTooEarly,
    /// A joint configuration ends at once.
    JointLeftAtOnce,
    /// One voter that misses the leader makes all others vote, although they hear the leader.
    ForcedByOneWitness,
    /// A granted vote counts for another voter as well.
    VoteCountedTwice,
    /// A leader that hears nobody keeps sending heartbeats.
    DeafLeaderBeats,
    /// A leader that leaves removes its own vote and keeps leading.
    RemovedLeaderLeads,
    /// Evidence against one boot, from refused dials, counts against the next.
    EvidenceOfAnyBoot,
    /// Votes and acks leave before the writes that they speak of are stable.
    SentBeforeWritten,
    /// Two entries of one batch are applied in the wrong order.
    AppliedOutOfOrder,
    /// A dead member comes back by an old message that says it is alive.
    StaleAliveAccepted,
    /// An accusation counts although the accused has refuted it.
    OldAccusationAccepted,
    /// A node that is accused does not answer.
    RefutationLost,
    /// A grant makes a lease as long as it says, whatever the cluster's lease is.
    GrantNotCut,
    /// A grant counts from any peer that this node ever sent a datagram to.
    GrantOfAnyPeer,
    /// A datagram counts however far its counter is ahead.
    AnyCounterBelieved,
    /// A leader does not compare what its members have applied with what it has.
    DivergenceUnnoticed,
    /// A leader that does not know its own hash after a member's last entry compares it with an older one.
    OlderHashCompared,
    /// A member that is declared dead again and again is let in again at once.
    FlappingNotPaused,
    /// A new member becomes a voter at once.
    VoterAtOnce,
    /// A frame is believed regardless of its sender.
    AnySenderBelieved,
    /// A peer's claimed identity is believed without reaching it at the peer's address.
    ClaimBelieved,
    /// A peer that is found elsewhere than the member table says counts as one that was found there.
    ElsewhereBelieved,
    /// Of two nodes that lead in one term, a node follows both.
    SecondLeaderBelieved,
    /// A non-member appends entries.
    ProposalOfStranger,
    /// A non-member takes others out.
    LeaveOfStranger,
    /// A farewell from anyone ends a node.
    FarewellOfAnyMember,
    /// A refusal to join from anyone ends a node.
    JoinRefusedByAnyMember,
    /// A non-member gives shards away.
    ReleaseOfStranger,
    /// A member's record is changed by another.
    UpdateOfAnyMember,
    /// A non-member hands states over.
    StateOfStranger,
    /// A non-member counts as a witness.
    EvidenceOfStranger,
    /// A non-member answers for one.
    AnswerOfStranger,
    /// A proposal is taken for refused on the word of a node that it was not sent to.
    RefusalOfAnyMember,
    /// An entry that names this boot is taken for one of this node, whoever proposed it.
    CommitOfAnyName,
    /// A vote may promise for however long it says.
    AnyPromiseBelieved,
    /// Terms and indexes are believed however large they are.
    AnyNumberBelieved,
    /// A message moves a Lamport clock however far it says.
    AnyTimeBelieved,
    /// An incarnation is followed however high it is.
    AnyIncarnationFollowed,
    /// A node outbids a lie about itself however high it is.
    AnyIncarnationOutbid,
    /// A member sends its gossip keys to whoever lacks them, whether or not they are the cluster's.
    StaleRingSent,
    /// The worker id of a dead boot is another's at once.
    WorkerIdNotGuarded,
    /// A barrier returns what its node has applied, without asking the log.
    BarrierWithoutLog,
    /// A user's proposal is appended twice.
    ProposedTwice,
    /// A proposal in flight is forgotten when the leader changes, and its request never ends.
    RequestForgotten,
}

#[cfg(funk_mutate)]
mod planted {
    use super::Mutant;

    thread_local! {
        static PLANTED: std::cell::Cell<Option<Mutant>> = const { std::cell::Cell::new(None) };
    }

    /// Plants one bug in all that this thread does from now on, instead of the one before.
    pub fn plant(mutant: Option<Mutant>) {
        PLANTED.set(mutant);
    }

    pub(crate) fn planted(mutant: Mutant) -> bool {
        PLANTED.get() == Some(mutant)
    }
}

#[cfg(funk_mutate)]
pub use planted::plant;
#[cfg(funk_mutate)]
pub(crate) use planted::planted;

/// Whether this bug is planted: never.
#[cfg(not(funk_mutate))]
#[inline(always)]
pub(crate) const fn planted(_: Mutant) -> bool {
    false
}
