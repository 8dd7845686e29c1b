//! Events as JSON and as frames of the event stream.

use funk_proto::Event;
use funk_proto::id::{NodeName, ShardId};
use serde_json::{Value, json};

/// Ranges of shards that one event lists; a reader of more asks for the map.
const RANGES_MAX: usize = 64;

/// The JSON object of `event`, which `me` saw at `at_ns` (Unix time);
/// `None` for events that are no business of the stream's readers.
pub(super) fn event(me: &NodeName, event: &Event, at_ns: u64) -> Option<String> {
    let mut value = match event {
        Event::State(state) => json!({ "kind": "state", "node": me.as_str(), "state": state.to_string() }),
        Event::Leader { leader, term } => {
            let leader = leader.as_ref().map_or("", |name| name.as_str());
            json!({ "kind": "leader", "leader": leader, "term": term.0 })
        }
        Event::MemberJoined { name, .. } => json!({ "kind": "member_joined", "node": name.as_str() }),
        Event::MemberLeft { name, .. } => json!({ "kind": "member_left", "node": name.as_str() }),
        Event::MemberFailed { name, .. } => json!({ "kind": "member_failed", "node": name.as_str() }),
        Event::Map { epoch } => json!({ "kind": "map", "epoch": epoch.0 }),
        Event::Moving { epoch, from, to, shards } => {
            json!({ "kind": "moving", "epoch": epoch.0, "from": from.as_str(), "to": to.as_str(), "shards": shards })
        }
        Event::Owned { epoch, owner, shards } => {
            let mut value =
                json!({ "kind": "owned", "epoch": epoch.0, "owner": owner.as_str(), "shards": shards.len() });
            if let Some(ranges) = ranges(shards) {
                value["ranges"] = ranges;
            }
            value
        }
        _ => return None,
    };
    value["at_ns"] = at_ns.into();
    Some(value.to_string())
}

/// The frame that tells a client to fetch everything anew. `missed`: how many
/// events it will never see; unknown when they were another run's.
pub(super) fn resync(missed: Option<u64>) -> String {
    format!("event: resync\ndata: {}\n\n", json!({ "missed": missed }))
}

/// Ascending shards as `[[first, last], ...]`, unless there are too many.
fn ranges(shards: &[ShardId]) -> Option<Value> {
    let mut ranges: Vec<[u32; 2]> = Vec::new();
    for shard in shards {
        if let Some(last) = ranges.last_mut()
            && last[1].checked_add(1) == Some(shard.0)
        {
            last[1] = shard.0;
        } else if ranges.len() == RANGES_MAX {
            return None;
        } else {
            ranges.push([shard.0, shard.0]);
        }
    }
    Some(json!(ranges))
}

#[cfg(test)]
mod tests {
    use funk_proto::id::{Epoch, RaftId, Term};
    use funk_proto::status::NodeState;

    use super::*;

    fn name(text: &str) -> NodeName {
        text.parse().unwrap()
    }

    fn told(what: &Event) -> Value {
        serde_json::from_str(&event(&name("n0"), what, 1_700_000_000_000_000_000).unwrap()).unwrap()
    }

    #[test]
    fn every_kind_carries_its_time_and_its_fields() {
        let id = RaftId::new(7).unwrap();
        let at = 1_700_000_000_000_000_000_u64;
        let cases = [
            (Event::State(NodeState::Voting), json!({"at_ns": at, "kind": "state", "node": "n0", "state": "Voting"})),
            (
                Event::Leader { leader: Some(name("n1")), term: Term(3) },
                json!({"at_ns": at, "kind": "leader", "leader": "n1", "term": 3}),
            ),
            (
                Event::Leader { leader: None, term: Term(4) },
                json!({"at_ns": at, "kind": "leader", "leader": "", "term": 4}),
            ),
            (Event::MemberJoined { name: name("n2"), id }, json!({"at_ns": at, "kind": "member_joined", "node": "n2"})),
            (Event::MemberLeft { name: name("n2"), id }, json!({"at_ns": at, "kind": "member_left", "node": "n2"})),
            (Event::MemberFailed { name: name("n2"), id }, json!({"at_ns": at, "kind": "member_failed", "node": "n2"})),
            (Event::Map { epoch: Epoch(9) }, json!({"at_ns": at, "kind": "map", "epoch": 9})),
            (
                Event::Moving { epoch: Epoch(9), from: name("n0"), to: name("n1"), shards: 5 },
                json!({"at_ns": at, "kind": "moving", "epoch": 9, "from": "n0", "to": "n1", "shards": 5}),
            ),
            (
                Event::Owned { epoch: Epoch(9), owner: name("n1"), shards: [0, 1, 2, 7].map(ShardId).to_vec() },
                json!({"at_ns": at, "kind": "owned", "epoch": 9, "owner": "n1", "shards": 4, "ranges": [[0, 2], [7, 7]]}),
            ),
        ];
        for (event, json) in cases {
            assert_eq!(told(&event), json);
        }
        assert_eq!(event(&name("n0"), &Event::Left, at), None);
    }

    #[test]
    fn scattered_shards_are_counted_but_not_listed() {
        let shards = (0..1_000).map(|n| ShardId(n * 2)).collect();
        let json = told(&Event::Owned { epoch: Epoch(1), owner: name("n1"), shards });
        assert_eq!(json["shards"], 1_000);
        assert!(json.get("ranges").is_none());
    }

    #[test]
    fn frames_are_one_line_of_data_and_a_blank_line() {
        assert_eq!(resync(Some(3)), "event: resync\ndata: {\"missed\":3}\n\n");
        assert_eq!(resync(None), "event: resync\ndata: {\"missed\":null}\n\n");
    }
}
