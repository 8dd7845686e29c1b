//! Reading a long message piece by piece.

use std::ops::Range;

use bytes::Bytes;

use super::msgpack::Reader;
use super::scan::Scan;
use super::{BadMessage, Budget};

/// Bytes walked over between two looks at the budget.
const STEP_BYTES: usize = 4 << 10;

/// A message, and how far it was read.
#[derive(Clone, Debug)]
pub(super) struct Walk {
    bytes: Bytes,
    at: usize,
    /// The value that is being walked over, and where it begins.
    value: Option<(Scan, usize)>,
}

impl Walk {
    pub(super) fn new(bytes: Bytes) -> Self {
        Self { bytes, at: 0, value: None }
    }

    /// Reads something short with the usual reader.
    pub(super) fn read<T>(
        &mut self,
        read: impl FnOnce(&mut Reader<'_>) -> Result<T, BadMessage>,
    ) -> Result<T, BadMessage> {
        let mut reader = Reader::new(&self.bytes[self.at..]);
        let value = read(&mut reader)?;
        self.at = self.bytes.len() - reader.rest().len();
        Ok(value)
    }

    /// Walks over one value, however long; its bytes, or `None` if the budget was spent before its end.
    pub(super) fn value(&mut self, what: &'static str, budget: &mut Budget) -> Result<Option<Bytes>, BadMessage> {
        let (mut scan, start) = self.value.take().unwrap_or((Scan::new(1), self.at));
        loop {
            if budget.is_spent() {
                self.value = Some((scan, start));
                return Ok(None);
            }
            let end = self.bytes.len().min(self.at + STEP_BYTES);
            let (passed, ended) = scan.advance(&self.bytes[self.at..end])?;
            self.at += passed;
            budget.spend_bytes(passed);
            if ended {
                return Ok(Some(self.bytes.slice(start..self.at)));
            }
            if end == self.bytes.len() {
                return Err(BadMessage::Malformed(what));
            }
        }
    }

    /// The bytes that were not read yet.
    pub(super) fn rest(&self) -> Range<usize> {
        self.at..self.bytes.len()
    }

    pub(super) fn bytes(&self) -> &Bytes {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_is_found_whole_in_any_number_of_steps() {
        // A list of 100,000 nils, then a number.
        let mut bytes = vec![0xdd, 0, 1, 0x86, 0xa0];
        bytes.extend([0xc0; 100_000]);
        bytes.push(7);
        let mut walk = Walk::new(bytes.into());
        let mut steps = 0;
        let value = loop {
            steps += 1;
            if let Some(value) = walk.value("a list", &mut Budget::new(10)).unwrap() {
                break value;
            }
        };
        assert_eq!((value.len(), steps > 10), (100_005, true));
        assert_eq!(walk.read(|reader| reader.integer::<u8>("a number")), Ok(7));
    }

    #[test]
    fn a_value_that_ends_too_early_is_an_error_and_no_endless_wait() {
        for cut in [&[0x92, 1][..], &[0xda, 0xff], &[0xda, 0xff, 0xff, 1], &[]] {
            let mut walk = Walk::new(Bytes::copy_from_slice(cut));
            let found = walk.value("a list", &mut Budget::unlimited());
            assert_eq!(found, Err(BadMessage::Malformed("a list")));
        }
    }
}
