//! Runs a recording again.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;

use funk_proto::error::{ConfigError, RequestError};
use funk_proto::id::LogIndex;
use funk_proto::{Node, Output, RequestId, Timestamp};

use crate::digest::{Facts, Outputs, of_output};
use crate::entry::{Entry, Record};
use crate::file::Recording;

/// Why a recording cannot be run.
#[derive(Debug)]
#[non_exhaustive]
pub enum Unplayable {
    /// It begins in the middle: what the node was started with is forgotten.
    BeginsInTheMiddle {
        /// Number of the first record that is there.
        first: u64,
        /// Its time on the node's clock.
        at: Timestamp,
    },
    /// No node can be started so, which the node that was recorded was.
    Start(ConfigError),
}

impl fmt::Display for Unplayable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BeginsInTheMiddle { first, at } => write!(
                f,
                "the recording begins in the middle, with record {first} at {at}: the recorder was full and has forgotten \
                 how the process began. Its inputs can be told, and not be replayed"
            ),
            Self::Start(error) => write!(f, "the recorded node does not start: {error}"),
        }
    }
}

impl std::error::Error for Unplayable {}

/// The first thing that is not as it was recorded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Number of the record that says so.
    pub record: u64,
    /// Number of the last record at which all was the same.
    pub same_until: u64,
    /// The node's time.
    pub at: Timestamp,
    /// What differs, in words.
    pub what: String,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { record, same_until, at, what } = self;
        write!(f, "the replay differs between records {same_until} and {record}, at {at}: {what}")
    }
}

/// What one record brought about.
#[derive(Debug)]
pub struct Step<'a> {
    /// The record.
    pub record: &'a Record,
    /// What the node said.
    pub outputs: Vec<Output>,
    /// What the node answered, for a request.
    pub answer: Option<Result<RequestId, RequestError>>,
}

/// A node that is handed again what it was handed when it was recorded.
#[derive(Debug)]
pub struct Replay<'a> {
    node: Node,
    records: std::slice::Iter<'a, Record>,
    /// Hashes of outputs that no record has confirmed yet.
    waiting: VecDeque<u64>,
    confirmed: Outputs,
    same_until: u64,
    checks: u64,
    inputs: u64,
}

impl<'a> Replay<'a> {
    /// Starts the recorded node; gives also what it says at once.
    ///
    /// # Errors
    /// [`Unplayable`]: the recording has no beginning.
    pub fn begin(recording: &'a Recording) -> Result<(Self, Vec<Output>), Unplayable> {
        let middle = || {
            let first = recording.records.first();
            let (first, at) = first.map_or((0, Timestamp::ZERO), |record| (record.number, record.at));
            Unplayable::BeginsInTheMiddle { first, at }
        };
        let start = recording.head.start.as_ref().filter(|_| recording.is_whole()).ok_or_else(middle)?;
        let hashes = if recording.head.hashed { applied_hashes(&recording.records) } else { BTreeMap::new() };
        let (config, recovered) = (recording.head.config.clone(), start.recovered.clone());
        let node = Node::replayed(config, recovered, start.seed, start.at, hashes).map_err(Unplayable::Start)?;
        let mut replay = Self {
            node,
            records: recording.sound().iter(),
            waiting: VecDeque::new(),
            confirmed: Outputs::default(),
            same_until: 0,
            checks: 0,
            inputs: 0,
        };
        let outputs = replay.take_outputs();
        Ok((replay, outputs))
    }

    /// The node as it is now.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Facts that were compared so far, and found the same.
    pub fn checks(&self) -> u64 {
        self.checks
    }

    /// Inputs and requests that were handed in so far.
    pub fn inputs(&self) -> u64 {
        self.inputs
    }

    /// Handles the next record; `None` at the end, or where records are missing.
    ///
    /// # Errors
    /// The first [`Difference`]; what follows it says nothing.
    pub fn step(&mut self) -> Result<Option<Step<'a>>, Difference> {
        let Some(record) = self.records.next() else { return Ok(None) };
        let mut answer = None;
        match &record.entry {
            Entry::Input(input) => self.node.handle(record.at, input.clone()),
            Entry::Request(request) => answer = Some(self.node.request(record.at, request.clone())),
            Entry::Outputs { count, digest } => self.confirm(record, *count, *digest)?,
            Entry::Applied { index, hash } => {
                let ours = self.node.inspect().applied_hashes(LogIndex(index.0.saturating_sub(1))).next();
                if ours != Some((*index, *hash)) {
                    return Err(self.difference(
                        record,
                        format!("entry {index} was applied with hash {hash:016x}, and is {ours:?}"),
                    ));
                }
                self.same_until = record.number;
            }
            Entry::Check(facts) => {
                if let Some(what) = facts.difference(&Facts::of(&self.node)) {
                    return Err(self.difference(record, what));
                }
                (self.checks, self.same_until) = (self.checks + 1, record.number);
            }
        }
        self.inputs += u64::from(matches!(record.entry, Entry::Input(_) | Entry::Request(_)));
        Ok(Some(Step { record, outputs: self.take_outputs(), answer }))
    }

    fn take_outputs(&mut self) -> Vec<Output> {
        let outputs: Vec<Output> = std::iter::from_fn(|| self.node.poll_output()).collect();
        self.waiting.extend(outputs.iter().map(of_output));
        outputs
    }

    fn confirm(&mut self, record: &Record, count: u64, digest: u32) -> Result<(), Difference> {
        for said in 0..count {
            let Some(output) = self.waiting.pop_front() else {
                return Err(self.difference(record, format!("the node said {count} things, and says {said}")));
            };
            self.confirmed.take(output);
        }
        if self.confirmed.digest() != digest {
            return Err(self.difference(record, "the node says something else".into()));
        }
        self.same_until = record.number;
        Ok(())
    }

    fn difference(&self, record: &Record, what: String) -> Difference {
        Difference { record: record.number, same_until: self.same_until, at: record.at, what }
    }
}

fn applied_hashes(records: &[Record]) -> BTreeMap<LogIndex, u64> {
    let applied = records.iter().filter_map(|record| match record.entry {
        Entry::Applied { index, hash } => Some((index, hash)),
        _ => None,
    });
    applied.collect()
}
