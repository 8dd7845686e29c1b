//! Whole messages from what a stream gave so far.

use bytes::{Bytes, BytesMut};
use funk_proto::wire::frame;
use funk_proto::wire::gossip::StreamDecoder;
use funk_proto::{CloseReason, Timestamp};

pub(super) enum Decoder {
    Frames(BytesMut),
    Gossip(Box<StreamDecoder>),
}

/// Since when a message is here in part.
#[derive(Debug, Default)]
pub(super) struct Begun(Option<Timestamp>);

impl Begun {
    /// After a read: whether a message was whole, and what is here of the next.
    pub(super) fn note(&mut self, now: Timestamp, cut: bool, held: usize) {
        if cut || held == 0 {
            self.0 = None;
        }
        if held > 0 {
            self.0.get_or_insert(now);
        }
    }

    /// When it has to be whole.
    pub(super) fn ends(&self) -> Option<Timestamp> {
        self.0.map(|begun| begun + crate::limits::MESSAGE_END_MAX)
    }
}

impl Decoder {
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match self {
            Self::Frames(buffer) => buffer.extend_from_slice(bytes),
            Self::Gossip(decoder) => decoder.push(bytes),
        }
    }

    pub(super) fn held(&self) -> usize {
        match self {
            Self::Frames(buffer) => buffer.len(),
            Self::Gossip(decoder) => decoder.held(),
        }
    }

    pub(super) fn next(&mut self) -> Result<Option<Bytes>, CloseReason> {
        match self {
            Self::Frames(buffer) => frame::decode(buffer).map_err(|_| CloseReason::Malformed),
            Self::Gossip(decoder) => decoder.next().map_err(|_| CloseReason::Malformed),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// Bytes come, and are cut into messages: how many, and when what is left of the last one has to be whole.
    fn receive(decoder: &mut Decoder, begun: &mut Begun, now: Timestamp, bytes: &[u8]) -> (usize, Option<Timestamp>) {
        decoder.push(bytes);
        let count = std::iter::from_fn(|| decoder.next().unwrap()).count();
        begun.note(now, count > 0, decoder.held());
        (count, begun.ends())
    }

    fn frames() -> (Decoder, Vec<u8>) {
        let mut bytes = BytesMut::new();
        frame::encode(&[7; 40], &mut bytes);
        (Decoder::Frames(BytesMut::new()), bytes.to_vec())
    }

    /// A user message of Serf, of 40 bytes.
    fn gossip() -> (Decoder, Vec<u8>) {
        let head = [&[8, 0x81, 0xaa], &b"UserMsgLen"[..], &[40]].concat();
        (Decoder::Gossip(Box::default()), [&head[..], &[7; 40]].concat())
    }

    #[test]
    fn a_message_has_its_time_from_its_first_byte_however_slowly_the_others_come() {
        for (mut decoder, message) in [frames(), gossip()] {
            let (mut begun, first) = (Begun::default(), Timestamp::from_millis(5));
            let ends = Some(first + crate::limits::MESSAGE_END_MAX);
            let mut now = first;
            let (last, rest) = message.split_last().unwrap();
            for byte in rest {
                assert_eq!(receive(&mut decoder, &mut begun, now, &[*byte]), (0, ends));
                now = now + Duration::from_millis(200);
            }
            assert_eq!(receive(&mut decoder, &mut begun, now, &[]), (0, ends), "nor does silence give it more");
            assert_eq!(receive(&mut decoder, &mut begun, now, &[*last]), (1, None));
        }
    }

    #[test]
    fn what_is_begun_behind_whole_messages_has_a_time_of_its_own() {
        let ((mut decoder, message), mut begun) = (frames(), Begun::default());
        let at = Timestamp::from_millis;
        let ends = |ms| Some(at(ms) + crate::limits::MESSAGE_END_MAX);
        assert_eq!(receive(&mut decoder, &mut begun, at(1), &message[..9]), (0, ends(1)));
        let more = [&message[9..], &message[..], &message[..3]].concat();
        assert_eq!(receive(&mut decoder, &mut begun, at(900), &more), (2, ends(900)));
        assert_eq!(receive(&mut decoder, &mut begun, at(1_000), &message[3..]), (1, None));
        assert_eq!(receive(&mut decoder, &mut begun, at(2_000), &message), (1, None));
    }
}
