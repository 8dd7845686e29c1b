//! Finding the end of a MessagePack value that arrives piece by piece.

use super::BadMessage;
use super::msgpack::Head;

/// Walks over whole values without decoding them. Remembers where it stopped,
/// so each byte is looked at once however small the pieces are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Scan {
    /// Values still to be passed, nested ones included.
    pending: u64,
    /// Payload bytes of the present value still to be passed.
    payload: usize,
}

impl Scan {
    /// A scan over this many values.
    pub(super) fn new(values: u64) -> Self {
        Self { pending: values, payload: 0 }
    }

    /// Passes over as much of `bytes` as is whole. Gives the number of bytes
    /// passed, and whether all values are.
    pub(super) fn advance(&mut self, bytes: &[u8]) -> Result<(usize, bool), BadMessage> {
        let mut passed = 0;
        loop {
            let step = self.payload.min(bytes.len() - passed);
            passed += step;
            self.payload -= step;
            if self.payload > 0 {
                return Ok((passed, false));
            }
            if self.pending == 0 {
                return Ok((passed, true));
            }
            let Some(head) = Head::read(&bytes[passed..])? else { return Ok((passed, false)) };
            passed += head.head_bytes;
            self.payload = head.payload_bytes;
            self.pending = (self.pending - 1).saturating_add(head.children);
        }
    }

    /// Bytes that are certain to come: lets the caller refuse what is too much before it came.
    pub(super) fn promised(&self) -> u64 {
        (self.payload as u64).saturating_add(self.pending)
    }
}
