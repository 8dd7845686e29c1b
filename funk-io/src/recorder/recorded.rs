//! A node that is recorded.

use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use funk_proto::{Event, Input, Node, Output, Refusal, Request, RequestError, RequestId, Timestamp};

use super::Tape;

/// A node, and the tape that keeps what goes into it, if there is one. All that is read of a node is read through it.
#[derive(Debug)]
pub(crate) struct RecordedNode {
    node: Node,
    tape: Option<Arc<Tape>>,
    /// When it was handed something last.
    now: Timestamp,
}

impl Deref for RecordedNode {
    type Target = Node;

    fn deref(&self) -> &Node {
        &self.node
    }
}

impl RecordedNode {
    pub(crate) fn new(node: Node, tape: Option<Arc<Tape>>) -> Self {
        Self { node, tape, now: Timestamp::ZERO }
    }

    pub(crate) fn handle(&mut self, now: Timestamp, input: Input) {
        self.now = now;
        let Some(tape) = &self.tape else { return self.node.handle(now, input) };
        tape.input(now, &self.node, &input);
        self.node.handle(now, input);
        tape.handled(now, &self.node);
    }

    pub(crate) fn request(&mut self, now: Timestamp, request: Request) -> Result<RequestId, RequestError> {
        self.now = now;
        if let Some(tape) = &self.tape {
            tape.request(now, &self.node, &request);
        }
        self.node.request(now, request)
    }

    pub(crate) fn poll_output(&mut self) -> Option<Output> {
        let output = self.node.poll_output()?;
        if let Some(tape) = &self.tape {
            tape.output(&output);
            match &output {
                Output::Event(Event::MemberFailed { .. }) => tape.note(self.now, "failover"),
                Output::Event(Event::Refused(Refusal::Diverged { .. })) => tape.write_at_end("divergence"),
                _ => {}
            }
        }
        Some(output)
    }

    pub(crate) fn take_silence(&mut self) -> Option<Duration> {
        let silence = self.node.take_silence()?;
        if let Some(tape) = &self.tape {
            tape.note(self.now, "failover");
        }
        Some(silence)
    }
}
