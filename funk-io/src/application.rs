//! The application's end of the driver: what the node says of the application's own state goes there.

use std::collections::VecDeque;
use std::sync::Arc;

use bytes::Bytes;
use funk_proto::id::{LogIndex, ShardId};
use funk_proto::{Input, Output, RequestError, RequestId};

use crate::gate::Gate;
use crate::handover::HandoverThread;
use crate::service::link::Link;
use crate::service::mailbox::Stuck;
use crate::shard_state::Keeper;
use crate::state_machine::StateMachine;

/// Who keeps the application's state.
#[derive(Debug)]
pub(crate) enum Application {
    /// A service on a thread of its own: it hears everything, and answers in its own time.
    Service(Link),
    /// Up to two parts, each with one duty; what is missing is answered with nothing.
    Parts {
        /// Builds the state from the log, on the driver's thread.
        state_machine: Option<Box<dyn StateMachine>>,
        /// Gives a moving shard's state.
        giver: Option<Giver>,
    },
}

/// Who is asked for the state of a shard that moves.
#[derive(Debug)]
pub(crate) enum Giver {
    /// A handover, on a thread of its own.
    Thread(HandoverThread),
    /// A shard state, on the application's runtime.
    Keeper(Arc<Keeper>),
}

impl Giver {
    /// False if nobody is there to answer.
    fn ask(&self, change: LogIndex, shard: ShardId) -> bool {
        match self {
            Self::Thread(thread) => thread.ask(change, shard),
            Self::Keeper(keeper) => keeper.ask(change, shard),
        }
    }
}

impl Application {
    /// Passes on what must be known before the route table that follows from it is published.
    ///
    /// # Errors
    /// [`Stuck`]: the service takes nothing any more. The node must stop: what it was told is lost.
    pub(crate) fn before_publish(&mut self, output: &Output, gate: &Gate) -> Result<(), Stuck> {
        match (self, output) {
            (Self::Service(link), output) => link.tell(output),
            (Self::Parts { .. }, Output::StateReceived { shard, epoch, state }) => {
                gate.keep_state(*shard, *epoch, state.clone());
                Ok(())
            }
            (Self::Parts { .. }, _) => Ok(()),
        }
    }

    /// The next owner of these shards waits for their state.
    pub(crate) fn want_states(
        &self,
        change: LogIndex,
        shards: Vec<ShardId>,
        gate: &Gate,
        echoes: &mut VecDeque<Input>,
    ) {
        let Self::Parts { giver, .. } = self else { return };
        for shard in shards {
            // What nobody took since it came goes on as it is; else the application is asked.
            let state = gate.untaken_state(shard);
            let asked = state.is_none() && giver.as_ref().is_some_and(|giver| giver.ask(change, shard));
            if !asked {
                echoes.push_back(Input::StateGiven { change, shard, state });
            }
        }
    }

    /// The log is to be shortened: the state after `index`. All commits up to it were told before this.
    pub(crate) fn want_snapshot(&mut self, index: LogIndex) -> Option<Input> {
        let Self::Parts { state_machine, .. } = self else { return None };
        let state = state_machine.as_mut().map(|machine| machine.snapshot()).unwrap_or_default();
        Some(Input::SnapshotTaken { index, state })
    }

    /// The state was replaced as a whole.
    pub(crate) fn restore(&mut self, index: LogIndex, state: &Bytes) {
        if let Self::Parts { state_machine: Some(machine), .. } = self {
            machine.restore(index, state);
        }
    }

    /// A proposal is committed.
    pub(crate) fn apply(&mut self, index: LogIndex, bytes: &Bytes) {
        if let Self::Parts { state_machine: Some(machine), .. } = self {
            machine.apply(index, bytes);
        }
    }

    /// A proposal of the service went into the node, or was refused at once.
    ///
    /// # Errors
    /// [`Stuck`], as [`Application::before_publish`].
    pub(crate) fn proposed(&mut self, tag: u64, taken: Result<RequestId, RequestError>) -> Result<(), Stuck> {
        match self {
            Self::Service(link) => link.proposed(tag, taken),
            Self::Parts { .. } => Ok(()),
        }
    }
}
