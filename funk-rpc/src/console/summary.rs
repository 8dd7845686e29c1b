//! The shard map, small enough to draw: neighbouring shards share a cell when
//! there are more shards than cells, and equal cells are told as a run.

use funk_proto::id::ShardId;
use funk_proto::shards::{Place, RouteTable};
use serde_json::{Value, json};

/// Cells of a summary at most.
pub(super) const CELLS_MAX: u32 = 16_384;

/// What a cell shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cell {
    /// Index in the table's nodes; `None`: nobody.
    owner: Option<usize>,
    /// Whether a shard of it waits for an owner that may serve.
    moving: bool,
}

/// The map in `cells` cells, one for each shard if there are fewer. Cell `c`
/// of `n` stands for the shards from `c * shards / n` up to, not including,
/// `(c + 1) * shards / n`, and shows who owns most of them.
///
/// `{"epoch", "shards", "cells", "nodes": [name...], "runs": [[node, cells]...]}`,
/// where `node` is an index in `nodes` or -1 for nobody; a run whose shards
/// wait for an owner that may serve has a third item, 1.
pub(super) fn summary(table: &RouteTable, cells: u32) -> Value {
    let shards = table.shards();
    let cells = cells.clamp(1, CELLS_MAX).min(shards);
    let mut counts = vec![0_u32; table.nodes().len()];
    let mut runs: Vec<(Cell, u32)> = Vec::new();
    for cell in 0..cells {
        let cell = look(table, first(cell, shards, cells)..first(cell + 1, shards, cells), &mut counts);
        match runs.last_mut() {
            Some((last, length)) if *last == cell => *length += 1,
            _ => runs.push((cell, 1)),
        }
    }
    let names: Vec<_> = table.nodes().iter().map(|node| node.name.as_str()).collect();
    let runs: Vec<_> = runs.into_iter().map(|(cell, length)| run(cell, length)).collect();
    json!({ "epoch": table.epoch().0, "shards": shards, "cells": cells, "nodes": names, "runs": runs })
}

/// First shard of a cell.
fn first(cell: u32, shards: u32, cells: u32) -> u32 {
    let shard = u64::from(cell) * u64::from(shards) / u64::from(cells);
    u32::try_from(shard).expect("no cell begins past the last shard")
}

/// `counts` is zero for every node, before and after.
fn look(table: &RouteTable, shards: std::ops::Range<u32>, counts: &mut [u32]) -> Cell {
    let mut cell = Cell { owner: None, moving: false };
    let mut most = 0;
    for shard in shards.clone() {
        cell.moving |= table.place(ShardId(shard)) == Place::Pending;
        if let Some(node) = owner(table, shard) {
            counts[node] += 1;
            if counts[node] > most {
                most = counts[node];
                cell.owner = Some(node);
            }
        }
    }
    for node in shards.filter_map(|shard| owner(table, shard)) {
        counts[node] = 0;
    }
    cell
}

fn owner(table: &RouteTable, shard: u32) -> Option<usize> {
    table.owner_index(ShardId(shard))
}

fn run(cell: Cell, length: u32) -> Value {
    let owner = cell.owner.map_or_else(|| json!(-1), |index| json!(index));
    if cell.moving { json!([owner, length, 1]) } else { json!([owner, length]) }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use funk_proto::id::{BootId, Epoch, RaftId};
    use funk_proto::shards::RouteNode;

    use super::*;

    fn table(owners: Vec<Option<usize>>, closed: &[u32]) -> RouteTable {
        let node = |id: u64| RouteNode {
            id: RaftId::new(id).unwrap(),
            boot: BootId::new(id).unwrap(),
            name: format!("n{id}").parse().unwrap(),
            endpoints: BTreeMap::new(),
            up: id != 3,
            leaving: false,
        };
        let epochs = vec![1; owners.len()];
        let closed: Vec<_> = closed.iter().copied().map(ShardId).collect();
        RouteTable::new(Epoch(5), vec![node(1), node(2), node(3)], Some(0), owners, epochs, closed)
    }

    #[test]
    fn every_shard_has_its_cell_while_there_are_few() {
        let table = table(vec![Some(0), Some(0), Some(1), None, Some(2)], &[2]);
        let json = summary(&table, CELLS_MAX);
        assert_eq!(json["cells"], 5);
        assert_eq!(json["nodes"], json!(["n1", "n2", "n3"]));
        let runs = json!([[0, 2], [1, 1, 1], [-1, 1, 1], [2, 1, 1]]);
        assert_eq!(json["runs"], runs, "moving, unowned and a dead owner's shards wait");
    }

    #[test]
    fn many_shards_share_cells_and_the_majority_gives_the_colour() {
        let owners = (0..1 << 20).map(|shard| Some(usize::from(shard % 8 > 2))).collect();
        let json = summary(&table(owners, &[]), u32::MAX);
        assert_eq!(json["cells"], CELLS_MAX);
        assert_eq!(json["runs"], json!([[1, CELLS_MAX]]));
    }

    #[test]
    fn uneven_cells_cover_every_shard_once() {
        let owners = vec![Some(1); 10];
        let json = summary(&table(owners, &[9]), 3);
        assert_eq!(json["runs"], json!([[1, 2], [1, 1, 1]]));
        assert_eq!((first(0, 10, 3), first(1, 10, 3), first(2, 10, 3), first(3, 10, 3)), (0, 3, 6, 10));
    }

    #[test]
    fn a_node_without_a_map_draws_nothing() {
        let json = summary(&RouteTable::default(), 100);
        assert_eq!((json["cells"].as_u64(), json["runs"].as_array().map(Vec::len)), (Some(0), Some(0)));
    }
}
