//! What is asked of a cluster that this node would begin. One that is there already has its own.

use std::time::Duration;

use funk_io::{Cluster, Event, EventsEnd};
use funk_proto::status::NodeState;
use funk_proto::{Event as NodeEvent, Ownership, Timing};

/// Settings that were made, not the defaults.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) shards: Option<u32>,
    pub(super) ownership: Option<Ownership>,
    /// The shortest and the longest lease.
    pub(super) lease: Option<(Duration, Duration)>,
}

/// What a cluster has.
#[derive(Clone, Copy, Debug)]
struct Has {
    shards: u32,
    ownership: Option<Ownership>,
    lease: Option<(Duration, Duration)>,
}

/// The bounds of the lease that this timing gives a cluster which begins, unless they are the default.
pub(super) fn lease_of(timing: &Timing) -> Option<(Duration, Duration)> {
    let bounds = |timing: &Timing| (timing.lease, timing.lease_max.max(timing.lease));
    Some(bounds(timing)).filter(|asked| *asked != bounds(&Timing::default()))
}

impl Asked {
    /// What has no effect in a cluster that has these.
    fn in_vain(self, has: Has) -> Self {
        Self {
            shards: self.shards.filter(|asked| *asked != has.shards),
            ownership: self.ownership.filter(|asked| has.ownership.is_some_and(|has| *asked != has)),
            lease: self.lease.filter(|asked| has.lease.is_some_and(|has| *asked != has)),
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
                let lease = status.timing.as_ref().map(|timing| (timing.lease_min, timing.lease_max));
                let has = Has { shards: status.shards_total, ownership: status.ownership, lease };
                let in_vain = self.in_vain(has);
                if let Some(asked) = in_vain.shards {
                    let has = has.shards;
                    tracing::warn!("this setting has no effect: shards {asked}, where the cluster has {has}");
                }
                if let (Some(asked), Some(has)) = (in_vain.ownership, has.ownership) {
                    let (asked, has) = (asked.word(), has.word());
                    tracing::warn!("this setting has no effect: ownership {asked}, where the cluster has {has}");
                }
                if let (Some(asked), Some(has)) = (in_vain.lease, has.lease) {
                    let (asked, has) = (bounds(asked), bounds(has));
                    tracing::warn!("this setting has no effect: lease {asked}, where the cluster has {has}");
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

fn bounds((shortest, longest): (Duration, Duration)) -> String {
    if shortest == longest { format!("{shortest:?}") } else { format!("{shortest:?} to {longest:?}") }
}

#[cfg(test)]
mod tests {
    use funk_proto::TimingProfile;

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
            (Some(11), fenced, Asked { shards: Some(11), ownership: fenced, ..nothing }),
        ] {
            let has = Has { shards: 10, ownership: leased, lease: None };
            assert_eq!(Asked { shards, ownership, ..nothing }.in_vain(has), expected);
        }
        let has = Has { shards: 10, ownership: None, lease: None };
        assert_eq!(Asked { ownership: fenced, ..nothing }.in_vain(has), nothing, "it is in no cluster");
    }

    #[test]
    fn a_lease_of_ones_own_has_no_effect_in_a_cluster_that_has_another() {
        let asked = |profile| Asked { lease: lease_of(&Timing::of(profile)), ..Asked::default() };
        let has = |profile| {
            let timing = Timing::of(profile);
            Has { shards: 1, ownership: None, lease: Some((timing.lease, timing.lease_max.max(timing.lease))) }
        };
        let (auto, wan) = (TimingProfile::Auto, TimingProfile::Wan);
        assert!(asked(auto).is_nothing(), "the default asks for nothing");
        assert!(asked(wan).in_vain(has(wan)).is_nothing());
        assert_eq!(asked(wan).in_vain(has(auto)), asked(wan));
        assert!(!asked(wan).is_nothing());
    }
}
