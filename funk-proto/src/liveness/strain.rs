//! How well the lease fits: the answers to this leader's heartbeats that came late, for whatever reason. A slow link,
//! lost datagrams and a process that runs late look the same here, and are helped by the same longer lease.

use std::collections::VecDeque;
use std::time::Duration;

use crate::id::RaftId;
use crate::time::Timestamp;

/// Late answers that are remembered, the newest.
const REMEMBERED: usize = 64;

/// An answer after a time without one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LateAnswer {
    /// When it came.
    pub at: Timestamp,
    /// Whose it was.
    pub member: RaftId,
    /// How old the newest answered heartbeat was just before: the part of the lease that was used up.
    pub age: Duration,
}

/// The late answers of all members.
#[derive(Clone, Debug, Default)]
pub(super) struct Strain(VecDeque<LateAnswer>);

impl Strain {
    /// A member answers; before that its newest answer was to a heartbeat of this age.
    pub(super) fn note(&mut self, now: Timestamp, member: RaftId, age: Duration) {
        // One delay is one, however many answers come after it.
        if self.0.iter().rev().any(|late| late.member == member && now < late.at + age) {
            return;
        }
        if self.0.len() == REMEMBERED {
            self.0.pop_front();
        }
        self.0.push_back(LateAnswer { at: now, member, age });
    }

    /// The late answers, oldest first.
    pub(super) fn iter(&self) -> impl DoubleEndedIterator<Item = &LateAnswer> {
        self.0.iter()
    }

    /// Forgets all.
    pub(super) fn clear(&mut self) {
        self.0.clear();
    }
}
