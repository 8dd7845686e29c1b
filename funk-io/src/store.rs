//! Where the core's writes go.

use std::collections::VecDeque;

use funk_proto::{Persist, Token};

/// Stable storage, written in order. The driver hands records over and
/// collects the tokens of those that are stable.
pub(crate) trait Store {
    /// Takes a record; it, and all before it, are to become stable.
    fn write(&mut self, persist: Persist);

    /// The token of the next record that became stable, in the order of the writes.
    fn poll_stable(&mut self) -> Option<Token>;
}

/// Keeps nothing: every write is stable at once, for as long as the process lives.
#[derive(Debug, Default)]
pub(crate) struct MemoryStore {
    stable: VecDeque<Token>,
}

impl Store for MemoryStore {
    fn write(&mut self, persist: Persist) {
        self.stable.push_back(persist.token);
    }

    fn poll_stable(&mut self) -> Option<Token> {
        self.stable.pop_front()
    }
}
