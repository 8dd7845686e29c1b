//! What a quorum has reached.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::id::RaftId;
use crate::time::Timestamp;

/// The newest time that `count` of these members reached; a member without a time reached none.
pub(super) fn nth_newest(
    members: &BTreeSet<RaftId>,
    count: usize,
    time: impl Fn(RaftId) -> Option<Timestamp>,
) -> Option<Timestamp> {
    nth_smallest(members, count, |id| time(id).map(Reverse)).map(|Reverse(time)| time)
}

/// The smallest value that `count` of these members do not exceed; a member without a value exceeds all.
pub(super) fn nth_smallest<T: Ord>(
    members: &BTreeSet<RaftId>,
    count: usize,
    value: impl Fn(RaftId) -> Option<T>,
) -> Option<T> {
    let mut values: Vec<T> = members.iter().filter_map(|&id| value(id)).collect();
    values.sort_unstable();
    values.into_iter().nth(count.checked_sub(1)?)
}
