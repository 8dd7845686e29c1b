//! What a picture of the run shows of each host.

use funk_proto::consensus::RaftRole;
use funk_proto::status::NodeState;

use super::World;
use crate::host::Host;
use crate::picture::{Look, Mark, Picture, Show};

impl World {
    /// Collects a picture of what happens, for [`World::take_picture`].
    pub fn with_picture(mut self) -> Self {
        self.picture = Some(Picture::default());
        self
    }

    /// Takes the picture up to now; `None` if none is collected.
    pub fn take_picture(&mut self) -> Option<Picture> {
        let mut picture = self.picture.take()?;
        picture.finish(self.now);
        Some(picture)
    }

    /// What is drawn beside the hosts, if anything is.
    pub(crate) fn picture_mut(&mut self) -> Option<&mut Picture> {
        self.picture.as_mut()
    }

    pub(crate) fn draw(&mut self, at: usize) {
        let Some(picture) = &mut self.picture else { return };
        picture.look(self.now, at, look(&self.hosts[at], self.now));
    }

    pub(crate) fn mark(&mut self, at: usize, mark: Mark) {
        self.draw(at);
        let now = self.now;
        if let Some(picture) = &mut self.picture {
            picture.mark(now, at, mark);
        }
    }
}

fn look(host: &Host, now: funk_proto::Timestamp) -> Look<'_> {
    let facts = host.facts();
    let then = match (host.state, facts) {
        _ if !host.exists() => Show::Down,
        _ if host.is_paused() => Show::Stands,
        _ if host.has_left() => Show::Gone,
        (None | Some(NodeState::Joining | NodeState::Starting | NodeState::Invalid), _) => Show::Joins,
        (Some(NodeState::Stopping), _) => Show::Gone,
        (_, Some(facts)) if facts.leader.is_none() => Show::Leaderless,
        (Some(NodeState::Voting), _) => Show::Lapsed,
        _ => Show::Waits,
    };
    let shards = host.shown_here().iter().map(|word| word.count_ones()).sum();
    let until = host.lease_ends();
    let serves = host.runs() && shards > 0 && now < until;
    let show = if serves { Show::Serves(shards) } else { then };
    let then = if shards > 0 && then == Show::Waits { Show::Lapsed } else { then };
    let leads = facts.filter(|facts| facts.role == RaftRole::Leader && host.exists()).map(|facts| facts.term.0);
    Look { show, until, then, leads, here: (!host.foreign).then(|| host.shown_here()) }
}
