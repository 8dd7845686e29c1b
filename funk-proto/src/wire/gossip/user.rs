//! The header of a user message on a stream: only its length, so that the
//! stream's end is found. Its content has no reader yet.

use super::BadMessage;
use super::msgpack::Reader;

/// Bytes that follow the header.
pub(super) fn length(header: &[u8]) -> Result<u64, BadMessage> {
    let mut length = 0;
    Reader::new(header).structure("a user message", &["UserMsgLen"], |_, reader| {
        length = reader.integer("a user message's length")?;
        Ok(())
    })?;
    Ok(length)
}
