//! The numbers that were proposed, as a state machine.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard};

use bytes::{Bytes, BytesMut};
use funk_io::StateMachine;
use funk_proto::id::LogIndex;

/// A node's numbers; clones see the same.
#[derive(Clone, Debug, Default)]
pub struct Ledger {
    numbers: Arc<Mutex<BTreeSet<u64>>>,
    forgets: bool,
}

impl Ledger {
    /// An empty one. If it `forgets`, one number in a hundred is missing from its snapshots and its log,
    /// to show that the check sees it.
    pub fn new(forgets: bool) -> Self {
        Self { numbers: Arc::default(), forgets }
    }

    /// The numbers so far.
    pub fn numbers(&self) -> MutexGuard<'_, BTreeSet<u64>> {
        self.numbers.lock().expect("no thread panics with it")
    }

    /// What is proposed for a number.
    pub fn proposal(number: u64) -> Bytes {
        Bytes::copy_from_slice(&number.to_be_bytes())
    }
}

impl StateMachine for Ledger {
    fn apply(&mut self, _: LogIndex, bytes: &Bytes) {
        let number = bytes.as_ref().try_into().map(u64::from_be_bytes).expect("only numbers are proposed");
        if !self.forgets || !number.is_multiple_of(100) {
            self.numbers().insert(number);
        }
    }

    fn snapshot(&mut self) -> Bytes {
        let numbers = self.numbers();
        let mut bytes = BytesMut::with_capacity(numbers.len() * 8);
        for number in numbers.iter() {
            bytes.extend_from_slice(&number.to_be_bytes());
        }
        bytes.freeze()
    }

    fn restore(&mut self, _: LogIndex, state: &Bytes) {
        let (numbers, rest) = state.as_chunks::<8>();
        assert!(rest.is_empty(), "a snapshot of {} bytes", state.len());
        *self.numbers() = numbers.iter().map(|&number| u64::from_be_bytes(number)).collect();
    }
}
