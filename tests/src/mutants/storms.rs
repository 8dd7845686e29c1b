//! Storms over clusters that give up on a member sooner than its lease can
//! run out: what a leader must wait for decides, not how long silence takes to
//! be noticed.

use std::time::Duration;

use bytes::Bytes;
use funk_proto::id::ShardId;
use funk_proto::rng::{Rng, Stream};
use funk_proto::status::Role;
use funk_proto::{Request, Seed};
use funk_sim::{Violation, World};

const SHARDS: u32 = 12;
/// Storms of one kind.
const STORMS: u64 = 30;
const ROUNDS: u64 = 12;

/// What a storm does in each round.
type Blow = fn(&mut Storm) -> Result<(), Violation>;

struct Storm {
    world: World,
    rng: Rng,
    hosts: usize,
}

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

/// Storms of this kind until a property is broken.
fn storms(blow: Blow) -> Option<String> {
    (0..STORMS).find_map(|seed| storm(seed, blow).err().map(|violation| violation.property.to_owned()))
}

fn storm(seed: u64, blow: Blow) -> Result<(), Violation> {
    let mut rng = Rng::new(Seed::from_u64(seed), Stream::Consensus);
    let hosts = 3 + usize::try_from(rng.below(4)).expect("small");
    let mut world = World::new(seed);
    for _ in 0..hosts {
        let at = world.start_with(|config| {
            config.shards = SHARDS;
            // Dead after 70 ms of silence, while a lease is 150 ms long.
            config.timing.liveness_retries = 3;
        });
        let drift = [-9_900, 0, 9_900][usize::try_from(rng.below(3)).expect("small")];
        world.set_drift(at, drift);
    }
    let mut storm = Storm { world, rng, hosts };
    storm.world.run(millis(3_000))?;
    for _ in 0..ROUNDS {
        storm.ask();
        blow(&mut storm)?;
        storm.heal();
        storm.wait(200, 900)?;
    }
    Ok(())
}

impl Storm {
    fn wait(&mut self, low: u64, high: u64) -> Result<(), Violation> {
        let length = self.rng.between(millis(low), millis(high));
        self.world.run(length)
    }

    fn any(&mut self) -> usize {
        usize::try_from(self.rng.below(self.hosts as u64)).expect("small")
    }

    fn leader(&mut self) -> usize {
        let leads = |at: &usize| self.world.status(*at).role == Role::Leader;
        let leader = self.world.running().into_iter().find(leads);
        leader.unwrap_or_else(|| self.any())
    }

    /// Some host that is not this one.
    fn other(&mut self, than: usize) -> usize {
        loop {
            let at = self.any();
            if at != than {
                return at;
            }
        }
    }

    fn isolate(&mut self, at: usize) {
        for other in (0..self.hosts).filter(|&other| other != at) {
            self.world.network.cut(at, other);
            self.world.network.cut(other, at);
        }
    }

    fn heal(&mut self) {
        for from in 0..self.hosts {
            for to in 0..self.hosts {
                let link = self.world.network.link_mut(from, to);
                (link.cuts, link.extra_delay, link.loss) = (0, Duration::ZERO, 0);
            }
        }
    }

    /// Requests to every shard, and a proposal through some node.
    fn ask(&mut self) {
        for shard in 0..SHARDS {
            self.world.ask(ShardId(shard), Bytes::from_static(b"ask"));
        }
    }
}

/// The leader is cut off, with its lease.
pub(super) fn lost_leaders() -> Option<String> {
    storms(|storm| {
        let leader = storm.leader();
        storm.isolate(leader);
        storm.wait(100, 600)
    })
}

/// The leader steps down, and a member is cut off before the next leader has heard of it.
pub(super) fn step_down_and_lose() -> Option<String> {
    storms(|storm| {
        let leader = storm.leader();
        let _ = storm.world.request(leader, Request::StepDown);
        storm.wait(0, 3)?;
        let lost = storm.any();
        storm.isolate(lost);
        storm.wait(100, 500)
    })
}

/// Some followers do not hear the leader for a while; then nobody does.
pub(super) fn half_heard_leaders() -> Option<String> {
    storms(|storm| {
        let leader = storm.leader();
        for other in (0..storm.hosts).filter(|&other| other != leader) {
            if storm.rng.below(2) == 0 {
                storm.world.network.cut(leader, other);
            }
        }
        storm.wait(30, 250)?;
        storm.isolate(leader);
        storm.wait(100, 500)
    })
}

/// Some links are slow, each direction by itself, for longer than a lease.
pub(super) fn slow_links() -> Option<String> {
    storms(|storm| {
        for from in 0..storm.hosts {
            for to in 0..storm.hosts {
                if storm.rng.below(3) == 0 {
                    let delay = storm.rng.between(millis(0), millis(140));
                    storm.world.network.link_mut(from, to).extra_delay = delay;
                }
            }
        }
        storm.wait(100, 500)?;
        let leader = storm.leader();
        if storm.rng.below(2) == 0 {
            storm.isolate(leader);
        }
        storm.wait(100, 400)
    })
}

/// Voters come and go while leaders are cut off.
pub(super) fn voters_change() -> Option<String> {
    storms(|storm| {
        let leaver = storm.any();
        let _ = storm.world.request(leaver, Request::Leave);
        storm.wait(0, 260)?;
        let leader = storm.leader();
        storm.isolate(leader);
        storm.wait(50, 400)?;
        storm.heal();
        storm.wait(200, 400)?;
        if storm.world.running().contains(&leaver) {
            storm.world.kill(leaver);
        }
        storm.world.restart(leaver);
        storm.wait(0, 500)?;
        let lost = storm.leader();
        let other = storm.other(lost);
        storm.isolate(lost);
        storm.wait(0, 200)?;
        storm.isolate(other);
        storm.wait(100, 300)
    })
}

/// Processes are killed and started at once, so that a name has many boots.
pub(super) fn many_boots() -> Option<String> {
    storms(|storm| {
        for _ in 0..2 {
            let at = storm.any();
            if storm.world.running().contains(&at) && storm.world.running().len() == storm.hosts {
                storm.world.kill(at);
                storm.wait(0, 40)?;
                storm.world.restart(at);
            }
            storm.wait(0, 300)?;
        }
        Ok(())
    })
}
