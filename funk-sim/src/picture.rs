//! A run as a picture: a lane for each node over time, faults below them, the story beside it, all in one HTML file
//! that loads nothing from anywhere.
//!
//! | part | what |
//! |---|---|
//! | this file | what a picture is made of |
//! | `lanes` | collects it, step by step |
//! | `page` | the HTML file |
//! | `data` | what the page's script reads |

mod data;
mod lanes;
mod page;

use std::collections::BTreeMap;

use funk_proto::Timestamp;

use lanes::Holders;
pub use lanes::Look;
pub use page::{Page, Verdict};

/// What a lane shows for a time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Show {
    /// There is no process.
    #[default]
    Down,
    /// The process looks for a cluster, or waits to be let in.
    Joins,
    /// It is a member, knows a leader, and owns nothing.
    Waits,
    /// It may serve so many shards.
    Serves(u32),
    /// It knows no leader, and may serve nothing.
    Leaderless,
    /// It knows a leader, and its lease is over.
    Lapsed,
    /// The process stands still.
    Stands,
    /// It has left.
    Gone,
}

/// What a lane shows from one time to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Span {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends.
    pub to: Timestamp,
    /// What is shown.
    pub show: Show,
}

/// A node leads.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lead {
    /// Since when.
    pub from: Timestamp,
    /// Until when.
    pub to: Timestamp,
    /// In which term.
    pub term: u64,
}

/// What happened to a process at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mark {
    /// It started.
    Started,
    /// It was killed, or its power went.
    Killed,
    /// It ended in order, or has left.
    Ended,
    /// It did not start, since its disk is damaged.
    Refused,
}

/// One node over time.
#[derive(Clone, Debug, Default)]
pub struct Lane {
    /// Its name in the picture.
    pub name: String,
    /// What it shows, in order, without gaps since its first look.
    pub spans: Vec<Span>,
    /// When it leads.
    pub leads: Vec<Lead>,
    /// What happened to its process.
    pub marks: Vec<(Timestamp, Mark)>,
    /// When the right of the last span ends, if it may serve.
    until: Timestamp,
    /// What it shows when that has ended.
    after: Show,
    leading: bool,
}

/// Shards went from one node to another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Move {
    /// When the one let go of them.
    pub left: Timestamp,
    /// When the other got them.
    pub came: Timestamp,
    /// The lane that had them.
    pub from: usize,
    /// The lane that got them.
    pub to: usize,
}

/// A fault and whom it hits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Trouble {
    /// When it begins.
    pub from: Timestamp,
    /// When it ends; `None` while it lasts.
    pub to: Option<Timestamp>,
    /// Its kind in a word.
    pub kind: &'static str,
    /// The lanes that it hits; empty for all.
    pub lanes: Vec<usize>,
    /// How much of it, in the unit of its kind.
    pub amount: u64,
}

/// A run as a picture.
#[derive(Clone, Debug, Default)]
pub struct Picture {
    lanes: Vec<Lane>,
    moves: BTreeMap<Move, u32>,
    troubles: Vec<Trouble>,
    /// When the core was healed, and who it is.
    healed: Option<(Timestamp, Vec<usize>)>,
    holders: Holders,
    end: Timestamp,
}

impl Picture {
    /// All lanes.
    pub fn lanes(&self) -> &[Lane] {
        &self.lanes
    }

    /// Which shards went where, with how many.
    pub fn moves(&self) -> &BTreeMap<Move, u32> {
        &self.moves
    }

    /// All faults, by their beginning.
    pub fn troubles(&self) -> &[Trouble] {
        &self.troubles
    }

    /// When the picture ends.
    pub fn end(&self) -> Timestamp {
        self.end
    }
}
