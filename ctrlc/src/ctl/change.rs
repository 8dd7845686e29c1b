//! A change to shards as it is typed: `drain=n1`, `pin=0-99,n1`.

use std::ops::Range;
use std::str::FromStr;

use funk_proto::id::NodeName;
use funk_rpc::pb::managepb as pb;
use pb::plan_shards_request::Change as Message;

/// A range of shards: `7`, or `0-99` with the last one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shards(pub Range<u32>);

impl FromStr for Shards {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (first, last) = text.split_once('-').unwrap_or((text, text));
        let number = |text: &str| text.parse::<u32>().ok();
        let range = number(first).zip(number(last).and_then(|last| last.checked_add(1)));
        let range = range.map(|(first, end)| first..end).filter(|range| !range.is_empty());
        Ok(Self(range.ok_or_else(|| format!("{text:?} is no range of shards such as 7 or 0-99"))?))
    }
}

/// A range of shards and a node: `0-99,n1`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pin {
    /// Which.
    pub shards: Range<u32>,
    /// Where to.
    pub node: NodeName,
}

impl FromStr for Pin {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (shards, node) = text.split_once(',').ok_or_else(|| format!("{text:?} names no node: say 0-99,ID"))?;
        Ok(Self { shards: shards.parse::<Shards>()?.0, node: id(node)? })
    }
}

/// A change that is asked about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// None: what is still to move.
    Nothing,
    /// A node goes.
    Remove(NodeName),
    /// A node gives its shards up.
    Drain(NodeName),
    /// A node comes, with this weight.
    Add(NodeName, u32),
    /// A node has another weight.
    Weight(NodeName, u32),
    /// Shards are pinned.
    Pin(Pin),
    /// Shards are free.
    Unpin(Shards),
}

fn id(text: &str) -> Result<NodeName, String> {
    text.parse().map_err(|_| format!("{text:?} is no node id"))
}

fn weighed(text: &str) -> Result<(NodeName, Option<u32>), String> {
    let Some((node, weight)) = text.split_once(',') else { return Ok((id(text)?, None)) };
    let weight = weight.parse().map_err(|_| format!("{weight:?} is no weight"))?;
    Ok((id(node)?, Some(weight)))
}

impl FromStr for Change {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, value) = text.split_once('=').unwrap_or((text, ""));
        Ok(match kind {
            "none" if value.is_empty() => Self::Nothing,
            "remove" => Self::Remove(id(value)?),
            "drain" => Self::Drain(id(value)?),
            "add" => {
                let (node, weight) = weighed(value)?;
                Self::Add(node, weight.unwrap_or(1))
            }
            "weight" => match weighed(value)? {
                (node, Some(weight)) => Self::Weight(node, weight),
                (node, None) => return Err(format!("say which weight: weight={node},2")),
            },
            "pin" => Self::Pin(value.parse()?),
            "unpin" => Self::Unpin(value.parse()?),
            _ => {
                return Err(
                    "say drain=ID, remove=ID, add=ID[,WEIGHT], weight=ID,N, pin=0-99,ID, unpin=0-99 or none".into()
                );
            }
        })
    }
}

impl Change {
    /// The change as it is asked about.
    pub(super) fn message(&self) -> Option<Message> {
        let added = |node: &NodeName, weight: u32| pb::AddedNode { node_id: node.to_string(), weight, capacity: 0 };
        Some(match self {
            Self::Nothing => return None,
            Self::Remove(node) => Message::Remove(node.to_string()),
            Self::Drain(node) => Message::Drain(node.to_string()),
            Self::Add(node, weight) => Message::Add(added(node, *weight)),
            Self::Weight(node, weight) => Message::Weight(added(node, *weight)),
            Self::Pin(pin) => Message::Pin(pb::PinShardsRequest::of(&pin.shards, Some(&pin.node))),
            Self::Unpin(range) => Message::Pin(pb::PinShardsRequest::of(&range.0, None)),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_read_as_they_are_typed() {
        let node: NodeName = "n1".parse().unwrap();
        for (text, change) in [
            ("none", Change::Nothing),
            ("drain=n1", Change::Drain(node.clone())),
            ("remove=n1", Change::Remove(node.clone())),
            ("add=n1", Change::Add(node.clone(), 1)),
            ("add=n1,3", Change::Add(node.clone(), 3)),
            ("weight=n1,2", Change::Weight(node.clone(), 2)),
            ("pin=0-99,n1", Change::Pin(Pin { shards: 0..100, node: node.clone() })),
            ("unpin=7", Change::Unpin(Shards(7..8))),
        ] {
            assert_eq!(text.parse(), Ok(change), "{text}");
        }
        for text in
            ["", "drain", "drain=", "drain=a_b", "weight=n1", "weight=n1,x", "pin=0-99", "pin=9-3,n1", "unpin=x"]
        {
            assert!(text.parse::<Change>().is_err(), "{text}");
        }
    }
}
