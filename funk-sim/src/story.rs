//! What happened, in words.

use std::fmt;

use funk_proto::Timestamp;

/// What a line of the story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Topic {
    /// A fault begins or ends.
    Fault,
    /// A process starts, ends, stands still.
    Process,
    /// A node told its application something.
    Event,
    /// A step changed what a node is.
    State,
    /// Datagrams.
    Datagram,
    /// Streams.
    Stream,
    /// Writes.
    Disk,
    /// Clients and services.
    Client,
    /// A property was broken.
    Check,
}

impl Topic {
    /// All topics with their words.
    pub const ALL: [(Topic, &'static str); 9] = [
        (Topic::Fault, "fault"),
        (Topic::Process, "process"),
        (Topic::Event, "event"),
        (Topic::State, "state"),
        (Topic::Datagram, "datagram"),
        (Topic::Stream, "stream"),
        (Topic::Disk, "disk"),
        (Topic::Client, "client"),
        (Topic::Check, "check"),
    ];

    /// Its word.
    pub fn word(self) -> &'static str {
        Self::ALL.iter().find(|(topic, _)| *topic == self).map_or("?", |(_, word)| word)
    }
}

/// One line.
#[derive(Clone, Debug)]
pub struct Line {
    /// True time.
    pub at: Timestamp,
    /// The node that it is about; `None` for all of the world.
    pub node: Option<String>,
    /// What it is about.
    pub topic: Topic,
    /// What happened.
    pub text: String,
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let node = self.node.as_deref().unwrap_or("*");
        write!(f, "{}  {node:<5} {:<8} {}", self.at, self.topic.word(), self.text)
    }
}

/// The story so far.
#[derive(Clone, Debug, Default)]
pub struct Story {
    /// Its lines, oldest first.
    pub lines: Vec<Line>,
}

impl Story {
    /// The lines about these nodes and topics; an empty list stands for all.
    pub fn filtered<'a>(&'a self, nodes: &'a [String], topics: &'a [Topic]) -> impl Iterator<Item = &'a Line> {
        self.lines.iter().filter(move |line| {
            let of_node = nodes.is_empty() || line.node.as_ref().is_none_or(|node| nodes.contains(node));
            of_node && (topics.is_empty() || topics.contains(&line.topic))
        })
    }
}
