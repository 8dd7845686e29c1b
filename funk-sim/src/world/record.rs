//! All that the nodes say, kept for those who want to read it.

use funk_proto::{Output, StreamKind, Timestamp};

use super::World;

/// One thing that a node said.
#[derive(Clone, Debug)]
pub struct Said {
    /// When, in true time.
    pub at: Timestamp,
    /// The host.
    pub from: usize,
    /// The host that a message goes to, if one is at its address.
    pub to: Option<usize>,
    /// What the stream carries, for a message on one.
    pub channel: Option<StreamKind>,
    /// The thing.
    pub output: Output,
}

impl World {
    /// Keeps what the nodes say, for [`World::record`].
    pub fn with_record(mut self) -> Self {
        self.record = Some(Vec::new());
        self
    }

    /// What was said since the record was taken last; nothing if none is kept.
    pub fn record(&self) -> &[Said] {
        self.record.as_deref().unwrap_or_default()
    }

    /// Takes the record so far.
    pub fn take_record(&mut self) -> Vec<Said> {
        self.record.as_mut().map(std::mem::take).unwrap_or_default()
    }

    pub(super) fn keep(&mut self, from: usize, output: &Output) {
        if self.record.is_none() {
            return;
        }
        let (to, channel) = match output {
            Output::Message { conn, .. } | Output::Reply { conn, .. } => {
                let end = self.hosts[from].streams.get(conn);
                (end.map(|end| end.peer), end.map(|end| end.channel))
            }
            Output::Datagram { to, .. } => (self.host_at(*to), None),
            _ => (None, None),
        };
        let said = Said { at: self.now, from, to, channel, output: output.clone() };
        self.record.get_or_insert_default().push(said);
    }
}
