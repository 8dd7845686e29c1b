//! Processes of a later version: their frames have fields that this version
//! does not know, and between them are frames of kinds that it does not know.
//! Both must be passed over, so that a cluster can be upgraded node by node.

use bytes::Bytes;
use funk_proto::id::ConnId;
use funk_proto::limits::FRAME_BYTES_MAX;

use super::World;

/// Field 1,000 of a message, a number.
const LATER_FIELD: [u8; 3] = [0xc0, 0x3e, 1];

impl World {
    /// What a later version would send instead of this frame.
    pub(super) fn as_later_version(&mut self, at: usize, conn: ConnId, frame: Bytes) -> Bytes {
        if !self.hosts[at].newer || frame.len() + LATER_FIELD.len() > FRAME_BYTES_MAX {
            return frame;
        }
        self.tally.later_frames += 1;
        // The first frame of a stream says who speaks, in every version.
        if self.tally.later_frames.is_multiple_of(16)
            && self.hosts[at].streams.get(&conn).is_some_and(|end| end.greeted)
        {
            self.send(at, conn, Bytes::from_static(&LATER_FIELD));
        }
        [&frame[..], &LATER_FIELD].concat().into()
    }
}
