#![allow(clippy::unwrap_used, reason = "a failed step fails the test")]

use funk_proto::id::{BootId, Epoch, RaftId};

use super::*;

fn node(id: u64, boot: u64, up: bool) -> RouteNode {
    RouteNode {
        id: RaftId::new(id).unwrap(),
        boot: BootId::new(boot).unwrap(),
        name: format!("n{id}").parse().unwrap(),
        endpoints: [("ep.demo".to_owned(), SocketAddr::from(([127, 0, 0, 1], 1)))].into(),
        up,
        leaving: false,
    }
}

fn table(epoch: u64, nodes: Vec<RouteNode>, owners: &[usize], moving: &[u32]) -> RouteTable {
    let epochs = owners.iter().map(|owner| 10 + *owner as u64).collect();
    let moving: Vec<_> = moving.iter().copied().map(ShardId).collect();
    RouteTable::new(Epoch(epoch), nodes, None, owners.iter().copied().map(Some), epochs, moving)
}

/// What a watcher makes of the messages: owner, epoch and movement of each
/// shard, and the members.
#[derive(Debug, Default, PartialEq)]
struct Watcher {
    epoch: u64,
    shards: BTreeMap<u32, (String, u64, bool)>,
    members: BTreeMap<String, pb::Member>,
}

impl Watcher {
    fn hear(&mut self, messages: Vec<pb::WatchResponse>) {
        let last = messages.len().saturating_sub(1);
        let before = self.epoch;
        for (at, message) in messages.into_iter().enumerate() {
            assert_eq!(message.more, at < last);
            match message.full {
                true if at == 0 => *self = Self::default(),
                true => {}
                false => assert_eq!(message.previous_epoch, before),
            }
            self.epoch = message.epoch;
            for range in message.shards {
                for shard in range.first..=range.last {
                    self.shards.insert(shard, (range.owner.clone(), range.epoch, range.moving));
                }
            }
            self.members.extend(message.members.into_iter().map(|member| (member.node_id.clone(), member)));
            self.members.retain(|name, _| !message.removed.contains(name));
        }
    }
}

fn whole_of(table: &RouteTable) -> Vec<pb::WatchResponse> {
    whole(table, &"c".parse().unwrap(), ClusterId::new(7))
}

#[test]
fn rows_of_equal_shards_are_one_range() {
    let table = table(9, vec![node(1, 1, true), node(2, 2, true)], &[0, 0, 1, 1, 1, 0], &[4]);
    let messages = whole_of(&table);
    let ranges: Vec<_> = messages[0].shards.iter().map(|range| (range.first, range.last, range.moving)).collect();
    assert_eq!(ranges, [(0, 1, false), (2, 3, false), (4, 4, true), (5, 5, false)]);
    assert_eq!((messages[0].cluster_id.as_str(), messages[0].shard_count), ("0000000000000007", 6));
}

#[test]
fn a_change_leads_a_watcher_to_what_a_new_watcher_sees() {
    let tables = [
        table(1, vec![node(1, 1, true)], &[0, 0, 0], &[]),
        table(2, vec![node(1, 1, true), node(2, 2, true)], &[0, 0, 0], &[1]),
        table(3, vec![node(1, 1, true), node(2, 2, true)], &[0, 1, 0], &[]),
        table(3, vec![RouteNode { leaving: true, ..node(1, 1, true) }, node(2, 2, true)], &[0, 1, 0], &[]),
        table(3, vec![node(1, 1, false), node(2, 2, true)], &[0, 1, 0], &[]),
        table(4, vec![node(1, 1, false), node(2, 2, true), node(1, 9, true)], &[0, 1, 2], &[]),
        table(5, vec![node(2, 2, true)], &[0, 0, 0], &[]),
    ];
    let mut watcher = Watcher::default();
    watcher.hear(whole_of(&tables[0]));
    for pair in tables.windows(2) {
        watcher.hear(change(&pair[0], &pair[1]));
        let mut new = Watcher::default();
        new.hear(whole_of(&pair[1]));
        assert_eq!(watcher, new);
    }
    assert_eq!(change(&tables[5], &tables[5]), []);
}

#[test]
fn a_large_picture_comes_in_messages_that_clients_take() {
    let owners: Vec<usize> = (0..3 * CLUSTER_MESSAGE_RANGES_MAX).map(|shard| shard % 2).collect();
    let table = table(1, vec![node(1, 1, true), node(2, 2, true)], &owners, &[]);
    let messages = whole_of(&table);
    assert_eq!(messages.len(), 3);
    assert!(messages.iter().all(|message| prost::Message::encoded_len(message) < 2 << 20));
    let mut watcher = Watcher::default();
    watcher.hear(messages);
    assert_eq!(watcher.shards.len(), owners.len());
}
