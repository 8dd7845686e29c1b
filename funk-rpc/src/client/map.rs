//! The view as the messages of one watch draw it.

use std::collections::BTreeMap;
use std::fmt;

use funk_proto::limits::{RAFT_MEMBERS_MAX, SHARDS_MAX};

use super::view::{ClusterView, NodeView};
use crate::pb::cluster::{Member, ShardRange, WatchResponse};

/// Index that stands for nobody.
const NOBODY: u16 = u16::MAX;
/// Names that owners may have had since the last whole view.
const NAMES_MAX: usize = 16 * RAFT_MEMBERS_MAX;

/// Why a watch cannot be gone on with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    /// The node belongs to another cluster than the one that is followed.
    OtherCluster(String),
    /// The node knows less than is known already.
    Stale,
    /// Messages that do not fit together.
    Broken(&'static str),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OtherCluster(why) => f.write_str(why),
            Self::Stale => f.write_str("it is behind what is known already"),
            Self::Broken(why) => write!(f, "its messages do not fit together: {why}"),
        }
    }
}

/// What a watch has told so far.
#[derive(Debug)]
pub(super) struct Map {
    /// Name of the cluster that is followed.
    cluster: String,
    /// Id of the cluster; empty while it is unknown.
    id: String,
    /// The first view has to be of this epoch or a later one.
    floor: u64,
    epoch: u64,
    /// The message that is to be gone on with: whole or not, and its epoch.
    open: Option<(bool, u64)>,
    begun: bool,
    members: BTreeMap<String, (bool, NodeView)>,
    names: Vec<String>,
    /// By shard: its owner, an index into `names`.
    owners: Vec<u16>,
}

impl Map {
    /// Nothing yet of the cluster `cluster`, which has the id `id` if that is not empty.
    pub(super) fn new(cluster: &str, id: &str, floor: u64) -> Self {
        Self {
            cluster: cluster.into(),
            id: id.into(),
            floor,
            epoch: 0,
            open: None,
            begun: false,
            members: BTreeMap::new(),
            names: Vec::new(),
            owners: Vec::new(),
        }
    }

    /// Id of the cluster; empty while it is unknown.
    pub(super) fn id(&self) -> &str {
        &self.id
    }

    /// Takes in a message; gives the view that it completes.
    pub(super) fn take(&mut self, message: WatchResponse) -> Result<Option<ClusterView>, Refused> {
        let goes_on = self.open == Some((message.full, message.epoch));
        if self.open.is_some() && !goes_on {
            return Err(Refused::Broken("a view was not completed"));
        }
        if message.full && !goes_on {
            self.begin(&message)?;
        } else if !message.full && !goes_on {
            let follows = self.begun && message.previous_epoch == self.epoch && message.epoch >= self.epoch;
            if !follows {
                return Err(Refused::Broken("a change is not based on what came before"));
            }
        }
        self.open = message.more.then_some((message.full, message.epoch));
        self.fill(&message.shards)?;
        for member in message.members {
            self.members.insert(member.node_id.clone(), node(member));
        }
        for name in &message.removed {
            self.members.remove(name);
        }
        if self.members.len() > 2 * RAFT_MEMBERS_MAX {
            return Err(Refused::Broken("too many members"));
        }
        if message.more {
            return Ok(None);
        }
        (self.epoch, self.begun) = (message.epoch, true);
        Ok(Some(self.view()))
    }

    fn begin(&mut self, message: &WatchResponse) -> Result<(), Refused> {
        if message.cluster_name != self.cluster {
            let why = format!("it is of the cluster {:?}, not {:?}", message.cluster_name, self.cluster);
            return Err(Refused::OtherCluster(why));
        }
        if !self.id.is_empty() && message.cluster_id != self.id {
            let why = format!(
                "it is of another cluster of the name {}: its id is {:?}, not {}",
                self.cluster, message.cluster_id, self.id
            );
            return Err(Refused::OtherCluster(why));
        }
        if message.epoch < self.floor {
            return Err(Refused::Stale);
        }
        if message.shard_count > SHARDS_MAX {
            return Err(Refused::Broken("too many shards"));
        }
        self.id.clone_from(&message.cluster_id);
        self.members.clear();
        self.names.clear();
        self.owners = vec![NOBODY; usize::try_from(message.shard_count).unwrap_or(0)];
        Ok(())
    }

    fn fill(&mut self, ranges: &[ShardRange]) -> Result<(), Refused> {
        for range in ranges {
            if range.first > range.last {
                return Err(Refused::Broken("shards that end before they begin"));
            }
            let at = |shard: u32| usize::try_from(shard).unwrap_or(usize::MAX);
            let owner = if range.owner.is_empty() || range.moving { NOBODY } else { self.number(&range.owner)? };
            let shards = self.owners.get_mut(at(range.first)..=at(range.last));
            shards.ok_or(Refused::Broken("shards out of range"))?.fill(owner);
        }
        Ok(())
    }

    fn number(&mut self, name: &str) -> Result<u16, Refused> {
        let place = self.names.iter().position(|known| known == name).unwrap_or(self.names.len());
        if place >= NAMES_MAX {
            return Err(Refused::Broken("too many owners"));
        }
        if place == self.names.len() {
            self.names.push(name.to_owned());
        }
        Ok(u16::try_from(place).unwrap_or(NOBODY))
    }

    fn view(&self) -> ClusterView {
        let up = self.members.values().filter(|(up, _)| *up).map(|(_, node)| node.clone());
        let nodes: Vec<NodeView> = up.collect();
        let place = |name: &String| nodes.iter().position(|node| node.name == *name).unwrap_or(usize::MAX);
        let places: Vec<usize> = self.names.iter().map(place).collect();
        let owners = self.owners.iter().map(|owner| places.get(usize::from(*owner)).copied().unwrap_or(usize::MAX));
        ClusterView::new(self.epoch, nodes.clone(), owners)
    }
}

fn node(member: Member) -> (bool, NodeView) {
    let endpoints = member.endpoints.into_iter().filter_map(|(name, at)| Some((name, at.parse().ok()?)));
    let boot = u64::from_str_radix(&member.boot, 16).unwrap_or(0);
    (member.up, NodeView { name: member.node_id, boot, endpoints: endpoints.collect(), leaving: member.leaving })
}

#[cfg(test)]
mod tests {
    use funk_proto::Seed;
    use funk_proto::id::ShardId;
    use funk_proto::rng::{Rng, Stream};

    use super::*;

    fn range(first: u32, last: u32, owner: &str) -> ShardRange {
        ShardRange { first, last, owner: owner.into(), epoch: 1, moving: false }
    }

    fn member(name: &str, up: bool) -> Member {
        let endpoints = [("ep.x".to_owned(), "127.0.0.1:7".to_owned()), ("ep.bad".to_owned(), "nowhere".to_owned())];
        Member { node_id: name.into(), up, endpoints: endpoints.into(), boot: "1f".into(), leaving: false }
    }

    fn whole() -> WatchResponse {
        WatchResponse {
            full: true,
            epoch: 5,
            cluster_name: "c".into(),
            cluster_id: "00000000000000aa".into(),
            shard_count: 4,
            shards: vec![range(0, 2, "a"), range(3, 3, "b")],
            members: vec![member("a", true), member("b", true)],
            ..WatchResponse::default()
        }
    }

    fn change(previous: u64, epoch: u64) -> WatchResponse {
        WatchResponse { previous_epoch: previous, epoch, ..WatchResponse::default() }
    }

    fn owners(view: &ClusterView) -> Vec<&str> {
        (0..view.shards()).map(|shard| view.owner(ShardId(shard)).map_or("-", |node| &node.name)).collect()
    }

    fn begun() -> Map {
        let mut map = Map::new("c", "", 0);
        map.take(whole()).unwrap().unwrap();
        map
    }

    #[test]
    fn a_picture_is_followed_change_by_change() {
        let mut map = Map::new("c", "", 0);
        let view = map.take(whole()).unwrap().unwrap();
        assert_eq!((view.epoch(), owners(&view)), (5, vec!["a", "a", "a", "b"]));
        assert_eq!(view.nodes()[0].endpoints.len(), 1);
        assert!(view.node("a", 0x1f).is_some());
        assert_eq!(map.id(), "00000000000000aa");
        let moving = ShardRange { moving: true, ..range(1, 1, "a") };
        let moved = WatchResponse { shards: vec![range(0, 0, "b"), moving], ..change(5, 7) };
        let view = map.take(moved).unwrap().unwrap();
        assert_eq!((view.epoch(), owners(&view)), (7, vec!["b", "-", "a", "b"]));
        let dead = WatchResponse { members: vec![member("b", false)], ..change(7, 7) };
        let view = map.take(dead).unwrap().unwrap();
        assert_eq!((view.nodes().len(), owners(&view)), (1, vec!["-", "-", "a", "-"]));
        let gone = WatchResponse { removed: vec!["a".into()], members: vec![member("b", true)], ..change(7, 8) };
        assert_eq!(owners(&map.take(gone).unwrap().unwrap()), ["b", "-", "-", "b"]);
    }

    #[test]
    fn a_picture_in_parts_shows_when_it_is_complete() {
        let mut map = begun();
        let part = WatchResponse { more: true, shards: vec![range(0, 0, "b")], ..change(5, 6) };
        assert_eq!(map.take(part), Ok(None));
        let rest = WatchResponse { shards: vec![range(1, 1, "b")], ..change(5, 6) };
        assert_eq!(owners(&map.take(rest).unwrap().unwrap()), ["b", "b", "a", "b"]);
        let part = WatchResponse { more: true, ..change(6, 9) };
        assert_eq!(map.take(part), Ok(None));
        assert!(matches!(map.take(change(6, 10)), Err(Refused::Broken(_))), "the part of epoch 9 has no end");
    }

    #[test]
    fn a_gap_is_found() {
        assert!(matches!(Map::new("c", "", 0).take(change(0, 1)), Err(Refused::Broken(_))), "no whole view");
        assert!(matches!(begun().take(change(6, 7)), Err(Refused::Broken(_))));
        assert!(matches!(begun().take(change(5, 4)), Err(Refused::Broken(_))));
    }

    #[test]
    fn another_cluster_and_an_older_picture_are_refused() {
        let refused = |name, id, floor| Map::new(name, id, floor).take(whole()).unwrap_err();
        let Refused::OtherCluster(why) = refused("c", "00000000000000bb", 0) else { panic!("it has another id") };
        assert!(why.contains("00000000000000aa") && why.contains("00000000000000bb"), "{why}");
        assert!(matches!(refused("d", "", 0), Refused::OtherCluster(_)));
        assert_eq!(refused("c", "00000000000000aa", 6), Refused::Stale);
        assert!(Map::new("c", "00000000000000aa", 5).take(whole()).is_ok());
    }

    #[test]
    fn numbers_out_of_range_are_refused() {
        for shards in [range(3, 4, "a"), range(2, 1, "a"), range(4, 4, "a"), range(u32::MAX, u32::MAX, "a")] {
            let message = WatchResponse { shards: vec![shards.clone()], ..change(5, 6) };
            assert!(begun().take(message).is_err(), "{shards:?}");
        }
        let message = WatchResponse { shard_count: u32::MAX, ..whole() };
        assert!(Map::new("c", "", 0).take(message).is_err());
    }

    /// Mostly small, sometimes at a border.
    fn near(rng: &mut Rng) -> u32 {
        let small = u32::try_from(rng.below(6)).expect("small");
        match rng.below(60) {
            0 => u32::MAX - small,
            1 => SHARDS_MAX - small,
            2 => SHARDS_MAX + small,
            _ => small,
        }
    }

    fn any_message(rng: &mut Rng) -> WatchResponse {
        let few = |rng: &mut Rng| 0..rng.below(4);
        let name = |rng: &mut Rng| ["", "a", "b", "c"][usize::try_from(rng.below(4)).expect("small")].to_owned();
        let shards =
            few(rng).map(|_| ShardRange { moving: rng.below(5) == 0, ..range(near(rng), near(rng), &name(rng)) });
        let shards = shards.collect();
        let members = few(rng).map(|_| Member { boot: name(rng), ..member(&name(rng), rng.below(2) == 0) }).collect();
        let removed = few(rng).map(|_| name(rng)).collect();
        let (previous_epoch, epoch) = (rng.below(4), rng.below(4));
        let (full, more) = (rng.below(2) == 0, rng.below(3) == 0);
        let cluster_name = if rng.below(20) == 0 { name(rng) } else { "c".into() };
        WatchResponse {
            previous_epoch,
            epoch,
            full,
            more,
            shards,
            members,
            removed,
            shard_count: near(rng),
            cluster_name,
            ..WatchResponse::default()
        }
    }

    #[test]
    fn whatever_a_node_says_the_picture_stays_within_its_bounds() {
        let (mut whole, mut refused) = (0, 0);
        for seed in 0..3_000 {
            let mut rng = Rng::new(Seed::from_u64(seed), Stream::Peers);
            let mut map = Map::new("c", "", 0);
            for _ in 0..12 {
                match map.take(any_message(&mut rng)) {
                    Ok(Some(_)) => whole += 1,
                    Ok(None) => {}
                    Err(_) => {
                        refused += 1;
                        break;
                    }
                }
                assert!(map.owners.len() <= SHARDS_MAX as usize && map.names.len() <= NAMES_MAX);
            }
        }
        assert!(whole > 300 && refused > 300, "{whole} views, {refused} refusals");
    }
}
