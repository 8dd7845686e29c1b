//! The driver's end of a service.

use std::collections::BTreeMap;
use std::sync::Arc;

use funk_proto::service::ServiceInput;
use funk_proto::{Event, Outcome, Output, RequestError, RequestId};

use super::mailbox::{Mailbox, Stuck};

/// Tells the service what the node says. Dropping it ends the service.
#[derive(Debug)]
pub(crate) struct Link {
    mailbox: Arc<Mailbox>,
    /// The service's own proposals under way, with its numbers.
    tags: BTreeMap<RequestId, u64>,
}

impl Link {
    pub(super) fn new(mailbox: Arc<Mailbox>) -> Self {
        Self { mailbox, tags: BTreeMap::new() }
    }

    /// A proposal of the service went into the node, or was refused at once.
    ///
    /// # Errors
    /// [`Stuck`], as [`Link::tell`].
    pub(crate) fn proposed(&mut self, tag: u64, taken: Result<RequestId, RequestError>) -> Result<(), Stuck> {
        match taken {
            Ok(id) => {
                self.tags.insert(id, tag);
                Ok(())
            }
            Err(error) => self.mailbox.tell(ServiceInput::Proposed { tag, outcome: Outcome::Rejected(error) }),
        }
    }

    /// Passes on what concerns the service; call it before the table that
    /// follows from the output is published.
    ///
    /// # Errors
    /// [`Stuck`] if the service has taken too little of what it was told: the
    /// node must stop, since this is lost.
    pub(crate) fn tell(&mut self, output: &Output) -> Result<(), Stuck> {
        let input = match output {
            Output::StateWanted { change, shards } => {
                ServiceInput::StateWanted { change: *change, shards: shards.clone() }
            }
            Output::StateReceived { shard, epoch, state } => {
                ServiceInput::StateReceived { shard: *shard, epoch: *epoch, state: state.clone() }
            }
            Output::SnapshotWanted { index } => ServiceInput::SnapshotWanted { index: *index },
            Output::SnapshotInstalled { index, state } => {
                ServiceInput::SnapshotInstalled { index: *index, state: state.clone() }
            }
            Output::Event(event) => self.event(event),
            _ => return Ok(()),
        };
        self.mailbox.tell(input)
    }

    fn event(&mut self, event: &Event) -> ServiceInput {
        if let Event::RequestDone { id, outcome } = event
            && let Some(tag) = self.tags.remove(id)
        {
            return ServiceInput::Proposed { tag, outcome: outcome.clone() };
        }
        ServiceInput::Node(event.clone())
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.mailbox.close();
    }
}
