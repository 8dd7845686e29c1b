//! Who owns how many shards, what a change would move, and pins.

use std::collections::BTreeMap;
use std::ops::Range;

use funk_proto::id::NodeName;
use funk_rpc::pb::managepb::{self as pb, plan_shards_request};
use serde_json::{Value, json};

use super::answer::{good, marked, no_error};
use super::asked::Asked;
use super::change::Change;
use super::screen::Tone;
use super::table::{Table, Text, number};
use super::{Answer, Failure};

pub(super) async fn owned(asked: &Asked<'_>) -> Result<Answer, Failure> {
    let (_, list) = asked.call(pb::ListShardsRequest {}, async |node, request| node.list_shards(request).await).await?;
    no_error("shards", list.error.as_ref())?;
    let owned: BTreeMap<_, _> =
        list.shards.iter().map(|info| (info.node_id.clone(), (info.shard_count, info.drained))).collect();
    let entry = |(node, &(count, drained)): (&String, &(i32, bool))| json!({ "node": node, "shards": count, "drained": drained });
    let json = json!({ "total": list.total_shards, "nodes": owned.iter().map(entry).collect::<Vec<_>>() });
    let share = |count: i32| format!("{:.1} %", 100.0 * f64::from(count) / f64::from(list.total_shards.max(1)));
    let row = |(node, &(count, _)): (&String, &(i32, bool))| vec![node.clone(), number(count), share(count)];
    let mut rows: Vec<_> = owned.iter().map(row).collect();
    rows.push(vec!["all".into(), number(list.total_shards), String::new()]);
    let drained = owned.values().map(|(_, drained)| *drained);
    Ok(good(json, Text::default().table(marked(&["NODE", ">SHARDS", ">SHARE"], rows, drained))))
}

/// What a change would move; nothing is changed.
pub(super) async fn plan(asked: &Asked<'_>, change: &Change) -> Result<Answer, Failure> {
    let request = pb::PlanShardsRequest { change: change.message() };
    let (_, told) = asked.call(request, async |node, request| node.plan_shards(request).await).await?;
    no_error("shards --plan", told.error.as_ref())?;
    let moved: u32 = told.moves.iter().map(|part| part.shards).sum();
    let part = |part: &pb::ShardMoves| json!({ "from": part.from, "to": part.to, "shards": part.shards });
    let node = |node: &pb::ShardInfo| json!({ "node": node.node_id, "shards": node.shard_count });
    let owner = |owned: &pb::OwnedRange| -> Value {
        let shards = owned.shards.unwrap_or_default();
        json!({ "first": shards.first, "count": shards.count, "node": owned.node_id })
    };
    let json = json!({
        "node": told.node_id,
        "moved": moved,
        "moves": told.moves.iter().map(part).collect::<Vec<_>>(),
        "nodes": told.nodes.iter().map(node).collect::<Vec<_>>(),
        "owners": told.owners.iter().map(owner).collect::<Vec<_>>(),
        "over_capacity": told.over_capacity,
    });
    let or_nobody = |node: &str| if node.is_empty() { "(nobody)".to_owned() } else { node.to_owned() };
    let mut rows: Vec<_> =
        told.moves.iter().map(|part| vec![or_nobody(&part.from), or_nobody(&part.to), number(part.shards)]).collect();
    rows.push(vec!["all".into(), String::new(), number(moved)]);
    let after = told.nodes.iter().map(|it| vec![it.node_id.clone(), number(it.shard_count)]);
    let mut text = Text::default().table(Table::new(&["FROM", "TO", ">SHARDS"]).rows(rows));
    text = text.line("").table(Table::new(&["NODE", ">THEN OWNS"]).rows(after));
    if told.over_capacity > 0 {
        let over = format!("{} shards are over the capacity of all nodes", number(told.over_capacity));
        text = text.line("").toned(Tone::Warn, over);
    }
    let target = match change.message() {
        Some(plan_shards_request::Change::Pin(pin)) => pin.pinned_to,
        _ => String::new(),
    };
    Ok(Answer { note: idle_target(asked, &target).await, ..good(json, text) })
}

/// A remark, if shards are pinned to a node that can own none now.
async fn idle_target(asked: &Asked<'_>, node: &str) -> Option<String> {
    if node.is_empty() {
        return None;
    }
    let (_, list) = asked.call(pb::ListNodesRequest {}, async |at, request| at.list_nodes(request).await).await.ok()?;
    let listed = list.nodes.iter().find(|it| it.node_id == node)?;
    let why = match listed {
        it if it.drained => "drained",
        it if it.serf_state != "alive" => "not up",
        _ => return None,
    };
    Some(format!("{node} is {why}: its pins move nothing until it is started again"))
}

/// Pins shards to a node, or frees them.
pub(super) async fn pin(asked: &Asked<'_>, shards: &Range<u32>, node: Option<&NodeName>) -> Result<Answer, Failure> {
    let (first, count) = (shards.start, shards.end - shards.start);
    let request = pb::PinShardsRequest::of(shards, node);
    let pinned_to = request.pinned_to.clone();
    let done =
        asked.change(request, "shards --plan none", async |node, request| node.pin_shards(request).await).await?;
    let (what, last) = (if node.is_some() { "pinned" } else { "free" }, first + count - 1);
    no_error(if node.is_some() { "shards --pin" } else { "shards --unpin" }, done.error.as_ref())?;
    let place = node.map_or_else(String::new, |node| format!(" to {node}"));
    let json = json!({ "done": what, "first": first, "count": count, "node": &pinned_to });
    let note = idle_target(asked, &pinned_to).await;
    Ok(Answer { note, ..good(json, Text::default().line(format!("shards {first} to {last} {what}{place}"))) })
}
