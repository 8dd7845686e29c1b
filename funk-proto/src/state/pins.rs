//! Pins: ranges of shards that an operator wants on one node, by its name.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::id::NodeName;
use crate::limits::PINS_MAX;

/// The pins of a cluster: ascending ranges that do not overlap, at most
/// [`PINS_MAX`]. Neighbours that are pinned to one node are one range.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Pins(BTreeMap<u32, (u32, NodeName)>);

impl Pins {
    /// Pins `shards` to `node`, whatever they were pinned to, or with `None`
    /// frees them. False, and nothing is changed, if the range is empty or
    /// there would be too many.
    pub fn set(&mut self, shards: Range<u32>, node: Option<&NodeName>) -> bool {
        if shards.is_empty() {
            return false;
        }
        let mut next = BTreeMap::new();
        let mut new = node.map(|node| (shards.clone(), node.clone()));
        let kept = self.iter().flat_map(|(old, node)| {
            let before = old.start..old.end.min(shards.start);
            let after = old.start.max(shards.end)..old.end;
            [(before, node.clone()), (after, node.clone())]
        });
        let mut pieces: Vec<(Range<u32>, NodeName)> = kept.filter(|(piece, _)| !piece.is_empty()).collect();
        pieces.extend(new.take());
        pieces.sort_by_key(|(piece, _)| piece.start);
        let mut last: Option<(Range<u32>, NodeName)> = None;
        for (piece, node) in pieces {
            match &mut last {
                Some((run, owner)) if run.end == piece.start && *owner == node => run.end = piece.end,
                _ => {
                    next.extend(last.replace((piece, node)).map(|(run, node)| (run.start, (run.end, node))));
                }
            }
        }
        next.extend(last.map(|(run, node)| (run.start, (run.end, node))));
        if next.len() > PINS_MAX {
            return false;
        }
        self.0 = next;
        true
    }

    /// The ranges in order.
    pub fn iter(&self) -> impl Iterator<Item = (Range<u32>, &NodeName)> {
        self.0.iter().map(|(&start, (end, node))| (start..*end, node))
    }

    /// Whether all of `shards` are pinned to `node`, or with `None` none of them to any.
    pub fn holds(&self, shards: &Range<u32>, node: Option<&NodeName>) -> bool {
        let touches = |pin: &Range<u32>| pin.start < shards.end && shards.start < pin.end;
        let covers = |pin: &Range<u32>| pin.start <= shards.start && shards.end <= pin.end;
        match node {
            // Neighbours of one node are one range.
            Some(node) => self.iter().any(|(pin, to)| covers(&pin) && to == node),
            None => !self.iter().any(|(pin, _)| touches(&pin)),
        }
    }

    /// How many shards are pinned to `node`.
    pub fn count(&self, node: &NodeName) -> u32 {
        self.iter().filter(|(_, to)| *to == node).map(|(shards, _)| shards.end - shards.start).sum()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn name(n: usize) -> NodeName {
        format!("n{n}").parse().unwrap()
    }

    #[test]
    fn a_pin_in_the_middle_of_another_cuts_it_in_two_and_back() {
        let mut pins = Pins::default();
        assert!(pins.set(0..10, Some(&name(1))));
        assert!(pins.set(4..6, Some(&name(2))));
        let ranges: Vec<_> = pins.iter().map(|(shards, node)| (shards, node.to_string())).collect();
        assert_eq!(ranges, [(0..4, "n1".into()), (4..6, "n2".into()), (6..10, "n1".into())]);
        assert!(pins.holds(&(4..5), Some(&name(2))) && !pins.holds(&(3..5), Some(&name(2))));
        assert!(pins.set(4..6, Some(&name(1))));
        assert_eq!(pins.iter().collect::<Vec<_>>(), [(0..10, &name(1))]);
        assert!(pins.set(0..20, None) && pins.holds(&(0..20), None));
    }

    #[test]
    fn one_pin_too_many_is_refused_and_changes_nothing() {
        let mut pins = Pins::default();
        for n in 0..u32::try_from(PINS_MAX).unwrap() {
            assert!(pins.set(2 * n..2 * n + 1, Some(&name(1))));
        }
        let before = pins.clone();
        assert!(!pins.set(99_999..100_000, Some(&name(1))));
        assert!(!pins.set(5..5, Some(&name(1))));
        assert_eq!(pins, before);
    }

    proptest! {
        #[test]
        fn pins_are_what_each_shard_was_pinned_to_last(
            steps in proptest::collection::vec((0u32..30, 0u32..10, proptest::option::of(0usize..3)), 0..30),
        ) {
            let mut pins = Pins::default();
            let mut model = vec![None; 40];
            for (start, length, node) in steps {
                let node = node.map(name);
                if pins.set(start..start + length, node.as_ref()) {
                    model[start as usize..(start + length) as usize].fill(node);
                }
                let mut flat = vec![None; 40];
                for (shards, node) in pins.iter() {
                    prop_assert!(flat[shards.start as usize..shards.end as usize].iter().all(Option::is_none));
                    flat[shards.start as usize..shards.end as usize].fill(Some(node.clone()));
                }
                prop_assert_eq!(&flat, &model);
                for n in 0..3 {
                    let count = model.iter().filter(|at| at.as_ref() == Some(&name(n))).count();
                    prop_assert_eq!(pins.count(&name(n)) as usize, count);
                }
            }
        }
    }
}
