//! Collects what a picture shows, step by step.

use std::collections::BTreeMap;

use funk_proto::Timestamp;

use super::{Lane, Lead, Mark, Move, Picture, Show, Span, Trouble};

/// One node at one moment.
#[derive(Clone, Copy, Debug)]
pub struct Look<'a> {
    /// What it is doing.
    pub show: Show,
    /// When its lease ends; counts only with [`Show::Serves`].
    pub until: Timestamp,
    /// What it shows from then on, unless it is looked at again before.
    pub then: Show,
    /// The term in which it leads.
    pub leads: Option<u64>,
    /// A bit for each shard that its table shows here, 64 in a word; `None` for a node whose shards do not count.
    pub here: Option<&'a [u64]>,
}

/// Who holds which shard, and who held it last.
#[derive(Clone, Debug, Default)]
pub(super) struct Holders {
    /// By lane: the words of its last look.
    here: Vec<Vec<u64>>,
    /// By shard: the lane that let go of it last, and when.
    left: BTreeMap<u32, (usize, Timestamp)>,
}

impl Picture {
    /// A lane more; gives its number.
    pub fn add_lane(&mut self, name: String) -> usize {
        self.lanes.push(Lane { name, ..Lane::default() });
        self.holders.here.push(Vec::new());
        self.lanes.len() - 1
    }

    /// Looks at one node. Lanes that are missing up to this one are added, by number.
    pub fn look(&mut self, now: Timestamp, at: usize, look: Look<'_>) {
        while self.lanes.len() <= at {
            self.add_lane(format!("n{}", self.lanes.len()));
        }
        self.end = self.end.max(now);
        self.move_shards(now, at, look.here.unwrap_or_default());
        let lane = &mut self.lanes[at];
        lane.reach(now);
        lane.show(now, look);
        lane.lead(now, look.leads);
    }

    /// Something happened to a process.
    pub fn mark(&mut self, now: Timestamp, at: usize, mark: Mark) {
        self.end = self.end.max(now);
        if let Some(lane) = self.lanes.get_mut(at) {
            lane.marks.push((now, mark));
        }
    }

    /// A fault begins; gives its number.
    pub fn trouble_begins(&mut self, now: Timestamp, kind: &'static str, lanes: Vec<usize>, amount: u64) -> usize {
        self.troubles.push(Trouble { from: now, to: None, kind, lanes, amount });
        self.troubles.len() - 1
    }

    /// A fault ends.
    pub fn trouble_ends(&mut self, now: Timestamp, trouble: usize) {
        if let Some(trouble) = self.troubles.get_mut(trouble) {
            trouble.to.get_or_insert(now);
        }
    }

    /// From now on this core is left alone.
    pub fn heal(&mut self, now: Timestamp, core: Vec<usize>) {
        self.troubles.iter_mut().for_each(|trouble| trouble.to = trouble.to.or(Some(now)));
        self.healed.get_or_insert((now, core));
    }

    /// Nothing more comes: what lasts is drawn up to here.
    pub fn finish(&mut self, now: Timestamp) {
        self.end = self.end.max(now);
        let end = self.end;
        for lane in &mut self.lanes {
            lane.reach(end);
            if let Some(lead) = lane.leads.last_mut().filter(|_| lane.leading) {
                lead.to = end;
            }
        }
    }

    /// Who let go of a shard, or had it until now without knowing better, and who has it now.
    fn move_shards(&mut self, now: Timestamp, at: usize, here: &[u64]) {
        if self.holders.here[at] == here {
            return;
        }
        let before = std::mem::replace(&mut self.holders.here[at], here.to_vec());
        for (shard, held) in changes(&before, here) {
            if held {
                if let Some((from, left)) = self.last_holder(now, at, shard) {
                    *self.moves.entry(Move { left, came: now, from, to: at }).or_default() += 1;
                }
                self.holders.left.remove(&shard);
            } else {
                self.holders.left.insert(shard, (at, now));
            }
        }
    }

    fn last_holder(&self, now: Timestamp, at: usize, shard: u32) -> Option<(usize, Timestamp)> {
        let holds = |words: &Vec<u64>| has(words, shard);
        let still = (0..self.lanes.len()).find(|&lane| lane != at && holds(&self.holders.here[lane]));
        let still = still.map(|lane| (lane, self.lanes[lane].until.min(now)));
        still.or_else(|| self.holders.left.get(&shard).copied().filter(|(lane, _)| *lane != at))
    }
}

impl Lane {
    /// Draws what it shows up to now.
    fn reach(&mut self, now: Timestamp) {
        let Some(last) = self.spans.last_mut() else { return };
        last.to = last.to.max(now);
        let until = self.until.max(last.from);
        if matches!(last.show, Show::Serves(_)) && until < now {
            last.to = until;
            self.spans.push(Span { from: until, to: now, show: self.after });
        }
    }

    fn show(&mut self, now: Timestamp, look: Look<'_>) {
        (self.until, self.after) = (look.until, look.then);
        match self.spans.last_mut() {
            Some(last) if last.show == look.show => {}
            // Nothing lasted for no time at all.
            Some(last) if last.from == now => last.show = look.show,
            _ => self.spans.push(Span { from: now, to: now, show: look.show }),
        }
    }

    fn lead(&mut self, now: Timestamp, leads: Option<u64>) {
        let same = |lead: &&mut Lead| Some(lead.term) == leads;
        let last = self.leads.last_mut().filter(|_| self.leading);
        self.leading = leads.is_some();
        match (last, leads) {
            (Some(last), _) => {
                last.to = now;
                if same(&last) {
                    return;
                }
            }
            (None, None) => return,
            (None, Some(_)) => {}
        }
        if let Some(term) = leads {
            self.leads.push(Lead { from: now, to: now, term });
        }
    }
}

fn has(words: &[u64], shard: u32) -> bool {
    words.get(shard as usize / 64).is_some_and(|word| word >> (shard % 64) & 1 == 1)
}

/// The shards whose bit differs, with what it is now.
fn changes<'a>(before: &'a [u64], now: &'a [u64]) -> impl Iterator<Item = (u32, bool)> + 'a {
    let words = u32::try_from(before.len().max(now.len())).unwrap_or(u32::MAX / 64);
    let word = |words: &[u64], at: u32| words.get(at as usize).copied().unwrap_or_default();
    let differs = move |at: &u32| word(before, *at) != word(now, *at);
    let shards = (0..words).filter(differs).flat_map(|at| at * 64..(at + 1) * 64);
    shards.filter(|&shard| has(before, shard) != has(now, shard)).map(|shard| (shard, has(now, shard)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(ms: u64) -> Timestamp {
        Timestamp::from_millis(ms)
    }

    fn serves(here: &[u64], until: u64) -> Look<'_> {
        let count = here.iter().map(|word| word.count_ones()).sum();
        Look { show: Show::Serves(count), until: at(until), then: Show::Leaderless, leads: None, here: Some(here) }
    }

    #[test]
    fn a_right_ends_with_its_lease_though_nobody_looks() {
        let mut picture = Picture::default();
        picture.look(at(0), 0, serves(&[1], 100));
        picture.look(at(50), 0, serves(&[1], 150));
        picture.finish(at(400));
        let spans: Vec<_> = picture.lanes()[0].spans.iter().map(|span| (span.from, span.to, span.show)).collect();
        assert_eq!(spans, [(at(0), at(150), Show::Serves(1)), (at(150), at(400), Show::Leaderless)]);
    }

    #[test]
    fn shards_move_from_who_let_go_of_them_or_whose_lease_ended() {
        let mut picture = Picture::default();
        picture.look(at(0), 0, serves(&[0b11], 100));
        picture.look(at(0), 1, serves(&[], 100));
        picture.look(at(10), 0, serves(&[0b01], 100));
        picture.look(at(12), 1, serves(&[0b10], 100));
        picture.look(at(300), 1, serves(&[0b11], 400));
        let moves: Vec<_> = picture.moves().iter().map(|(of, count)| (of.left, of.came, *count)).collect();
        assert_eq!(moves, [(at(10), at(12), 1), (at(100), at(300), 1)]);
    }

    #[test]
    fn a_node_leads_from_its_election_to_the_end_of_its_term() {
        let mut picture = Picture::default();
        for (ms, leads) in [(0, None), (5, Some(2)), (9, Some(2)), (20, None), (30, Some(4))] {
            picture.look(at(ms), 0, Look { leads, ..serves(&[1], 1_000) });
        }
        picture.finish(at(40));
        let leads: Vec<_> = picture.lanes()[0].leads.iter().map(|lead| (lead.from, lead.to, lead.term)).collect();
        assert_eq!(leads, [(at(5), at(20), 2), (at(30), at(40), 4)]);
    }

    #[test]
    fn a_fault_that_nothing_ended_ends_when_the_core_is_healed() {
        let mut picture = Picture::default();
        let [first, second] = [at(1), at(2)].map(|from| picture.trouble_begins(from, "kill", vec![0], 0));
        picture.trouble_ends(at(5), first);
        picture.heal(at(9), vec![1]);
        picture.trouble_ends(at(20), second);
        assert_eq!(picture.troubles().iter().map(|it| it.to).collect::<Vec<_>>(), [Some(at(5)), Some(at(9))]);
    }
}
