//! Whether the cluster serves, in one sentence.

use std::time::{Duration, Instant};

use funk_rpc::pb::managepb as pb;

use super::Failure;
use super::asked::Asked;
use super::screen::Tone;
use super::table::number;
use super::views::{Voters, views};

/// Time for a leader that is just being elected.
const ELECTION_MAX: Duration = Duration::from_secs(1);
/// Between two looks for it.
const AGAIN: Duration = Duration::from_millis(50);

/// Whether the cluster serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Verdict {
    pub(super) tone: Tone,
    pub(super) text: String,
}

impl Verdict {
    /// The exit code of commands that show the cluster.
    pub(super) fn code(&self) -> u8 {
        u8::from(self.tone == Tone::Bad)
    }
}

/// The node's status. One that knows no leader gets the time that an election takes.
pub(super) async fn status(asked: &Asked<'_>) -> Result<pb::GetStatusResponse, Failure> {
    let until = Instant::now() + ELECTION_MAX;
    loop {
        let call = async |node: &mut super::node::Management, request| node.get_status(request).await;
        let (_, status) = asked.call(pb::GetStatusRequest {}, call).await?;
        let settled = !status.leader_node_id.is_empty() || status.raft_node_count == 0;
        if settled || Instant::now() >= until {
            return Ok(status);
        }
        tokio::time::sleep(AGAIN).await;
    }
}

/// What to say first. Nothing of a node that is in no cluster: it speaks for none.
pub(super) async fn of(asked: &Asked<'_>, status: &pb::GetStatusResponse) -> Result<Option<Verdict>, Failure> {
    if status.raft_node_count == 0 {
        return Ok(None);
    }
    let views = views(asked).await?;
    let owned = views.shards.shards.iter().map(|info| i64::from(info.shard_count)).sum();
    Ok(Some(judge(&views.voters(), !status.leader_node_id.is_empty(), owned, views.shards.total_shards.into())))
}

/// Only what is wrong with the majority, for commands that show something else.
pub(super) async fn lost(asked: &Asked<'_>) -> Result<Option<Verdict>, Failure> {
    let status = status(asked).await?;
    if status.raft_node_count == 0 || !status.leader_node_id.is_empty() {
        return Ok(None);
    }
    of(asked, &status).await
}

fn judge(voters: &Voters, led: bool, owned: i64, shards: i64) -> Verdict {
    let &Voters { all, answer, up, members } = voters;
    if !led && answer * 2 <= all {
        let text = format!("NO MAJORITY: {answer} of {all} voters answer; no shard is served");
        return Verdict { tone: Tone::Bad, text };
    }
    if !led {
        let text = format!("NO LEADER: {answer} of {all} voters answer; no shard is served until one is elected");
        return Verdict { tone: Tone::Bad, text };
    }
    // As many as may still be lost while more than half of all voters is there.
    let spare = (2 * answer).saturating_sub(all + 1) / 2;
    let survives = match spare {
        0 => "does not survive the loss of one more voter".into(),
        1 => "survives the loss of 1 more voter".to_owned(),
        more => format!("survives the loss of {more} more voters"),
    };
    let served = format!("{} of {} shards have an owner", number(owned), number(shards));
    let good = up == members && answer == all && owned == shards;
    let word = if good { "Healthy" } else { "Degraded" };
    let nodes = if members == 1 { "1 member up".to_owned() } else { format!("{up} of {members} members up") };
    let text = format!("{word}: {nodes}, {served}, {survives}");
    Verdict { tone: if good { Tone::Good } else { Tone::Warn }, text }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn voters(all: usize, answer: usize) -> Voters {
        Voters { all, answer, up: answer, members: all }
    }

    #[test]
    fn a_healthy_cluster_says_what_it_survives() {
        for (all, said) in [
            (
                1,
                "Healthy: 1 member up, 10,000 of 10,000 shards have an owner, does not survive the loss of one more voter",
            ),
            (2, "does not survive"),
            (3, "survives the loss of 1 more voter"),
            (4, "survives the loss of 1 more voter"),
            (5, "survives the loss of 2 more voters"),
            (7, "survives the loss of 3 more voters"),
        ] {
            let verdict = judge(&voters(all, all), true, 10_000, 10_000);
            assert!(verdict.text.contains(said) && verdict.tone == Tone::Good, "{verdict:?}");
            assert_eq!(verdict.code(), 0);
        }
    }

    #[test]
    fn what_is_missing_degrades_and_without_a_leader_nothing_is_served() {
        let degraded = judge(&voters(5, 4), true, 10, 10);
        assert!(degraded.text.starts_with("Degraded: 4 of 5 members up"), "{degraded:?}");
        assert!(degraded.text.ends_with("survives the loss of 1 more voter"), "{degraded:?}");
        assert_eq!((degraded.tone, degraded.code()), (Tone::Warn, 0));
        assert_eq!(judge(&voters(3, 3), true, 9, 10).tone, Tone::Warn);
        let lost = judge(&voters(3, 1), false, 10, 10);
        assert_eq!(lost.text, "NO MAJORITY: 1 of 3 voters answer; no shard is served");
        let electing = judge(&voters(3, 2), false, 10, 10);
        assert!(electing.text.starts_with("NO LEADER: 2 of 3 voters answer"), "{electing:?}");
        assert_eq!((lost.code(), electing.code()), (1, 1));
    }
}
