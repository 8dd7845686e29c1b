//! What is asked of a cluster that this node would begin. One that is there already has its own.

use funk_io::{Cluster, Event, EventsEnd};
use funk_proto::status::NodeState;
use funk_proto::{Event as NodeEvent, Ownership};

/// Settings that were made, not the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) shards: Option<u32>,
    pub(super) ownership: Option<Ownership>,
}

impl Asked {
    /// What has no effect in a cluster that has these.
    fn in_vain(self, shards: u32, ownership: Option<Ownership>) -> Self {
        Self {
            shards: self.shards.filter(|asked| *asked != shards),
            ownership: self.ownership.filter(|asked| ownership.is_some_and(|has| *asked != has)),
        }
    }

    /// Whether there is nothing to remark on, whatever the cluster has.
    pub(super) fn is_nothing(self) -> bool {
        self == Self::default()
    }

    /// Waits until the node serves in its cluster, and warns of what has no effect there.
    pub(super) async fn remark(self, cluster: Cluster) {
        let mut events = cluster.events();
        loop {
            let Ok(status) = cluster.status().await else { return };
            if status.state == NodeState::Operational {
                let in_vain = self.in_vain(status.shards_total, status.ownership);
                if let Some(asked) = in_vain.shards {
                    let has = status.shards_total;
                    tracing::warn!("this setting has no effect: shards {asked}, where the cluster has {has}");
                }
                if let (Some(asked), Some(has)) = (in_vain.ownership, status.ownership) {
                    let (asked, has) = (asked.word(), has.word());
                    tracing::warn!("this setting has no effect: ownership {asked}, where the cluster has {has}");
                }
                return;
            }
            loop {
                match events.next().await {
                    Ok(Event::Node(NodeEvent::State(_))) | Err(EventsEnd::Lagged(_)) => break,
                    Ok(_) => {}
                    Err(EventsEnd::Stopped) => return,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_set_and_is_otherwise_has_no_effect() {
        let (leased, fenced) = (Some(Ownership::Leased), Some(Ownership::Fenced));
        let nothing = Asked::default();
        for (shards, ownership, expected) in [
            (None, None, nothing),
            (Some(10), leased, nothing),
            (Some(77), None, Asked { shards: Some(77), ..nothing }),
            (Some(1), leased, Asked { shards: Some(1), ..nothing }),
            (Some(10), fenced, Asked { ownership: fenced, ..nothing }),
            (Some(11), fenced, Asked { shards: Some(11), ownership: fenced }),
        ] {
            assert_eq!(Asked { shards, ownership }.in_vain(10, leased), expected);
        }
        assert_eq!(Asked { shards: None, ownership: fenced }.in_vain(10, None), nothing, "it is in no cluster");
    }
}
