//! What a quorum has reached.

use std::collections::BTreeSet;

use crate::id::RaftId;
use crate::time::Timestamp;

/// The newest time that `count` of these members reached; a member without a time reached none.
pub(super) fn nth_newest(
    members: &BTreeSet<RaftId>,
    count: usize,
    time: impl Fn(RaftId) -> Option<Timestamp>,
) -> Option<Timestamp> {
    let mut times: Vec<Timestamp> = members.iter().filter_map(|&id| time(id)).collect();
    times.sort_unstable_by(|a, b| b.cmp(a));
    times.get(count.checked_sub(1)?).copied()
}
