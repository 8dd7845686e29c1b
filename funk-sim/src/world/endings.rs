//! Processes that end and say so, and goodbyes that mean nobody.

use funk_proto::{DatagramSocket, LastWord, Node};

use super::World;
use super::processes::draw;
use crate::picture::Mark;
use crate::story::Topic;

/// Times that a goodbye is sent, since any datagram may be lost.
const COPIES: usize = 3;
/// Goodbyes kept, to be sent again when their boot is long gone.
const KEPT_MAX: usize = 64;

impl World {
    /// Ends a host's process and tells its peers, as it does itself when it
    /// ends in order, panics or cannot write, or as a process does that waited for its end.
    pub fn end_with_words(&mut self, at: usize, reaped: bool) {
        let Some(node) = &self.hosts[at].node else { return };
        let words = node.last_words();
        let how = if reaped { "the process is gone, and another tells" } else { "the process says goodbye and ends" };
        self.tell(Some(at), Topic::Process, || how.into());
        self.mark(at, Mark::Ended);
        self.end(at);
        for word in words {
            let bytes = if reaped { word.reaped.clone() } else { word.goodbye.clone() };
            for _ in 0..COPIES {
                self.send_datagram(at, DatagramSocket::Liveness, word.to, bytes.clone());
            }
            self.tally.goodbyes += 1;
            self.keep_word(at, word);
        }
        self.reset_all(at, true);
    }

    /// The disk failed a process: it closes its gate, says goodbye and is gone.
    pub(super) fn fail_disk(&mut self, at: usize) {
        self.tell(Some(at), Topic::Disk, || "a write fails, there is no room".into());
        self.tally.disks_failed += 1;
        self.end_with_words(at, false);
    }

    fn keep_word(&mut self, at: usize, word: LastWord) {
        if self.old_words.len() < KEPT_MAX {
            self.old_words.push((at, word));
        } else {
            let slot = draw(&mut self.rng, KEPT_MAX);
            self.old_words[slot] = (at, word);
        }
    }

    /// Sends a goodbye that must change nothing: of a boot that is gone, or of
    /// this live host, to a peer that it is not for or with a bit changed.
    pub fn false_goodbye(&mut self, at: usize) {
        let words = self.hosts[at].node.as_ref().map(Node::last_words).unwrap_or_default();
        let (from, to, bytes) = if self.rng.below(2) == 0 && !self.old_words.is_empty() {
            let (from, word) = &self.old_words[draw(&mut self.rng, self.old_words.len())];
            (*from, word.to, word.goodbye.clone())
        } else if words.is_empty() {
            return;
        } else {
            let word = &words[draw(&mut self.rng, words.len())];
            let other = &words[draw(&mut self.rng, words.len())];
            let mut bytes = word.reaped.to_vec();
            if word.to == other.to {
                let bit = draw(&mut self.rng, bytes.len() * 8);
                bytes[bit / 8] ^= 1 << (bit % 8);
            }
            (at, other.to, bytes.into())
        };
        if let Some(to) = self.host_at(to) {
            let address = self.hosts[from].address(3);
            self.inject_datagram(to, DatagramSocket::Liveness, address, bytes);
        }
    }
}
