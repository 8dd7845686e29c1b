//! One run, drawn from its seed: how many nodes, which faults, when. A plan is
//! plain text, so that it can be shortened and kept.

use std::fmt;
use std::hash::Hasher;
use std::str::FromStr;

use funk_proto::Seed;
use funk_proto::rng::{Rng, Stream};
use siphasher::sip::SipHasher13;

use crate::fault::{Fault, Kind};

/// Length of a run, milliseconds.
pub const RUN_MS: u64 = 60_000;
/// Until then the cluster is left alone to form.
const CALM_MS: u64 = 3_000;
/// Kinds that are drawn before all else, so that a kind that is added leaves the rest of a seed's plan as it was.
const FIRST_KINDS: usize = 35;
/// Kinds that are drawn after all else, for the same reason.
const LAST_KINDS: usize = 3;
/// From then on only a core is healed, and it must converge.
pub const HEAL_MS: u64 = 40_000;

/// One run.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// Seed of all that the world draws.
    pub seed: u64,
    /// Hosts at the start.
    pub nodes: usize,
    /// Shards of the cluster.
    pub shards: u32,
    /// When the core is healed, milliseconds.
    pub heal_at: u64,
    /// When the run ends, milliseconds.
    pub end_at: u64,
    /// Whether disks outlive the processes.
    pub durable: bool,
    /// Whether owners hand over what they have of a moving shard.
    pub states: bool,
    /// Whether hosts differ in weight, capacity, zone and part.
    pub mixed: bool,
    /// Whether the store fences: shards of the dead are taken at once.
    pub fenced: bool,
    /// Whether streams show certificates. Strangers have one of their own then.
    pub certified: bool,
    /// What goes wrong, by its beginning.
    pub faults: Vec<Fault>,
}

/// A seed from any text: a number is itself, all else (a commit's hash) is hashed.
pub fn seed_of(text: &str) -> u64 {
    let hex = text.strip_prefix("0x").and_then(|digits| u64::from_str_radix(digits, 16).ok());
    if let Some(number) = text.parse().ok().or(hex) {
        return number;
    }
    let mut hasher = SipHasher13::new();
    hasher.write(text.as_bytes());
    hasher.finish()
}

impl Plan {
    /// A plan without faults.
    pub fn quiet(seed: u64, nodes: usize) -> Self {
        let faults = Vec::new();
        Self {
            seed,
            nodes,
            shards: 40,
            heal_at: HEAL_MS,
            end_at: RUN_MS,
            durable: false,
            states: false,
            mixed: false,
            fenced: false,
            certified: false,
            faults,
        }
    }

    /// The plan of a seed: each kind of fault is on or off, with a rate of its own.
    pub fn draw(seed: u64) -> Self {
        let mut rng = Rng::new(Seed::from_u64(seed), Stream::Gossip);
        let nodes = 3 + usize::try_from(rng.below(5)).expect("small");
        let mut plan = Plan::quiet(seed, nodes);
        plan.shards = [1, 7, 40, 64, 100][usize::try_from(rng.below(5)).expect("small")];
        // How much goes on at all: from nearly nothing to a storm.
        let share = 5 + rng.below(60);
        let (first, later) = Kind::ALL.split_at(FIRST_KINDS);
        let (later, last) = later.split_at(later.len() - LAST_KINDS);
        plan.draw_kinds(&mut rng, first, share);
        plan.durable = rng.below(2) == 0;
        plan.states = rng.below(2) == 0;
        plan.draw_kinds(&mut rng, later, share);
        plan.mixed = rng.below(3) == 0;
        plan.fenced = rng.below(6) == 0;
        plan.draw_kinds(&mut rng, last, share);
        plan.faults.sort_by_key(|fault| fault.at);
        plan
    }

    fn draw_kinds(&mut self, rng: &mut Rng, kinds: &[(Kind, &str)], share: u64) {
        for &(kind, _) in kinds {
            // Thousands of messages take as long to simulate as all the rest.
            let is_heavy = matches!(kind, Kind::Crowd | Kind::Pool);
            let (share, least) = if is_heavy { (share / 4, 10_000) } else { (share, 1_500) };
            if rng.below(100) < share {
                let gap = least + rng.below(20_000);
                self.draw_kind(rng, kind, gap);
            }
        }
    }

    fn draw_kind(&mut self, rng: &mut Rng, kind: Kind, gap: u64) {
        let mut at = CALM_MS + rng.below(gap);
        while at < self.heal_at {
            let fault = draw_fault(rng, kind, at, self.nodes);
            at += fault.length + rng.below(2 * gap) + 1;
            self.faults.push(fault);
        }
    }

    /// How large it is: faults, nodes, length.
    pub fn size(&self) -> (usize, usize, u64) {
        (self.faults.len(), self.nodes, self.end_at)
    }
}

fn draw_fault(rng: &mut Rng, kind: Kind, at: u64, nodes: usize) -> Fault {
    let hosts = nodes as u64;
    let one = 1 << rng.below(hosts);
    let some = 1 + rng.below((1 << hosts) - 2);
    let pair = |rng: &mut Rng| {
        let first = rng.below(hosts);
        1 << first | 1 << ((first + 1 + rng.below(hosts - 1)) % hosts)
    };
    let (nodes, length, amount) = match kind {
        Kind::Kill | Kind::PowerOff | Kind::Wipe | Kind::Move | Kind::Rot => (one, 1 + rng.below(4_000), 0),
        Kind::RestartStorm => (one, 500 + rng.below(4_000), 2 + rng.below(8)),
        Kind::MassKill => (some, 1 + rng.below(3_000), 0),
        Kind::Pause => (if rng.below(4) == 0 { some } else { one }, 10 + skewed(rng, 5_000), 0),
        Kind::Freeze => (one, 10 + skewed(rng, 3_000), 0),
        Kind::Stutter => (one, 500 + rng.below(5_000), 5 + rng.below(120)),
        Kind::Partition | Kind::Outbound | Kind::Inbound => {
            (if rng.below(2) == 0 { some } else { one }, 50 + skewed(rng, 8_000), 0)
        }
        Kind::Partial => (pair(rng), 100 + rng.below(8_000), 0),
        Kind::Ring => (some, 100 + rng.below(5_000), 0),
        Kind::SwizzleClog => (some, 200 + rng.below(4_000), 0),
        Kind::Flap => (one, 500 + rng.below(5_000), 50 + rng.below(900)),
        Kind::Loss => (0, 200 + rng.below(8_000), rng.below(300_000)),
        Kind::Duplicate | Kind::Replay => (0, 500 + rng.below(8_000), rng.below(500_000)),
        Kind::Reorder => (0, 500 + rng.below(8_000), rng.below(300_000)),
        Kind::Delay => (0, 200 + rng.below(6_000), skewed(rng, 60_000)),
        Kind::Corrupt => (0, 500 + rng.below(8_000), rng.below(100_000)),
        Kind::Drift => (some, 2_000 + rng.below(15_000), rng.below(10_000)),
        Kind::DriftPast => (one, 500 + rng.below(4_000), 10_001 + rng.below(150_000)),
        Kind::SlowDisk => (one, 200 + rng.below(6_000), 1 + skewed(rng, 2_000)),
        Kind::FullDisk => (some, 200 + rng.below(4_000), 0),
        Kind::Upgrade => (one, 1 + rng.below(2_000), 0),
        Kind::Exit => (one, 1 + rng.below(4_000), rng.below(2)),
        Kind::FalseGoodbye => (some, 100 + rng.below(4_000), 1 + rng.below(40)),
        Kind::Gray => (one, 1_000 + rng.below(8_000), 0),
        Kind::Deaf | Kind::Shut | Kind::Reject => (one, 200 + rng.below(6_000), 0),
        Kind::Forge => (some, 100 + rng.below(4_000), 1 + rng.below(20)),
        Kind::Impostor | Kind::Foreign => (one, 1_000 + rng.below(6_000), rng.below(2)),
        Kind::Malformed | Kind::Slander => (some, 100 + rng.below(3_000), 1 + rng.below(40)),
        Kind::Flood => (one, 50 + rng.below(800), 500 + rng.below(3_000)),
        Kind::Insider => (one, 100 + rng.below(3_000), 1 + rng.below(40)),
        Kind::Crowd => (some, 1, 100 + rng.below(1_400)),
        Kind::Pool => (some, 1, 2_000 + rng.below(1_000)),
        Kind::Join => (0, 1_000 + rng.below(12_000), 0),
        Kind::Leave => (one, 1_000 + rng.below(6_000), 0),
        Kind::StepDown => (0, 1, 0),
        Kind::Pin => (one, 500 + rng.below(10_000), rng.below(2_000)),
        Kind::Weigh => (one, 500 + rng.below(10_000), 1 + rng.below(9)),
        Kind::Drain | Kind::Evict => (one, 1_000 + rng.below(6_000), 0),
        Kind::Endpoint => (one, 500 + rng.below(5_000), 1_000 + rng.below(1_000)),
    };
    Fault { at, length, kind, nodes, amount }
}

/// Mostly small, sometimes near `bound`.
fn skewed(rng: &mut Rng, bound: u64) -> u64 {
    let cut = 1 + rng.below(bound);
    rng.below(cut)
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seed {}", self.seed)?;
        writeln!(f, "nodes {}", self.nodes)?;
        writeln!(f, "shards {}", self.shards)?;
        writeln!(f, "heal {}", self.heal_at)?;
        writeln!(f, "end {}", self.end_at)?;
        writeln!(f, "durable {}", self.durable)?;
        writeln!(f, "states {}", self.states)?;
        writeln!(f, "mixed {}", self.mixed)?;
        writeln!(f, "fenced {}", self.fenced)?;
        if self.certified {
            writeln!(f, "certified true")?;
        }
        for fault in &self.faults {
            writeln!(f, "fault {fault}")?;
        }
        Ok(())
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let mut plan = Plan::quiet(0, 3);
        for line in text.lines().map(|line| line.split('#').next().unwrap_or("").trim()) {
            let Some((word, rest)) = line.split_once(' ') else {
                if line.is_empty() {
                    continue;
                }
                return Err(format!("{line:?} has no value"));
            };
            let bad = |error: &dyn fmt::Display| format!("{line:?}: {error}");
            let number = || rest.parse::<u64>().map_err(|error| bad(&error));
            match word {
                "seed" => plan.seed = number()?,
                "nodes" => plan.nodes = rest.parse().map_err(|error| bad(&error))?,
                "shards" => plan.shards = rest.parse().map_err(|error| bad(&error))?,
                "heal" => plan.heal_at = number()?,
                "end" => plan.end_at = number()?,
                "states" => plan.states = rest.parse().map_err(|error| bad(&error))?,
                "mixed" => plan.mixed = rest.parse().map_err(|error| bad(&error))?,
                "fenced" => plan.fenced = rest.parse().map_err(|error| bad(&error))?,
                "certified" => plan.certified = rest.parse().map_err(|error| bad(&error))?,
                "durable" => plan.durable = rest.parse().map_err(|error| bad(&error))?,
                "fault" => plan.faults.push(rest.parse()?),
                _ => return Err(format!("{line:?} begins with no word of a plan")),
            }
        }
        Ok(plan)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_survives_its_text() {
        for seed in 0..50 {
            let plan = Plan::draw(seed);
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
    }

    #[test]
    fn every_kind_is_drawn_and_has_a_word() {
        let drawn: std::collections::BTreeSet<Kind> =
            (0..300).flat_map(|seed| Plan::draw(seed).faults).map(|fault| fault.kind).collect();
        assert_eq!(drawn.len(), Kind::ALL.len());
        assert!(Kind::ALL.iter().all(|(kind, word)| kind.word() == *word));
    }

    #[test]
    fn any_text_is_a_seed() {
        assert_eq!((seed_of("17"), seed_of("0x1f")), (17, 31));
        assert_ne!(seed_of("d2d4fea"), seed_of("9306cc0"));
    }
}
