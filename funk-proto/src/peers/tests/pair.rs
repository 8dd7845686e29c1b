use super::*;

/// Two nodes, and the streams between them.
pub(super) struct Pair {
    pub(super) nodes: [Peers; 2],
    /// The two ends of each stream: its number at the one, and at the other.
    pub(super) ends: Vec<[ConnId; 2]>,
    /// What the machines wanted that is no message to the other.
    others: [Vec<PeersOutput>; 2],
    /// Both show a certificate on each stream.
    pub(super) certified: bool,
}

impl Pair {
    pub(super) fn new(a: Peers, b: Peers) -> Self {
        Self { nodes: [a, b], ends: Vec::new(), others: [Vec::new(), Vec::new()], certified: false }
    }

    /// 1 and 2, each of which the other's table lists; 1 wants a stream.
    pub(super) fn listed(a: Peers, b: Peers) -> Self {
        let mut pair = Self::new(a, b);
        pair.nodes[0].learn_listed(at(0), id(2), address(2, 2));
        pair.nodes[1].learn_listed(at(0), id(1), address(1, 2));
        pair.nodes[0].set_wanted(at(0), [id(2)].into());
        pair
    }

    /// Carries frames to and fro until both sides are quiet.
    pub(super) fn talk(&mut self, now: Timestamp) {
        let mut quiet = false;
        while !quiet {
            quiet = true;
            for side in [0, 1] {
                while let Some(output) = self.nodes[side].poll_output() {
                    quiet = false;
                    self.carry(now, side, output);
                }
            }
        }
    }

    pub(super) fn carry(&mut self, now: Timestamp, side: usize, output: PeersOutput) {
        let other = 1 - side;
        let there = |ends: &Vec<[ConnId; 2]>, conn| ends.iter().find(|ends| ends[side] == conn).map(|ends| ends[other]);
        match output {
            PeersOutput::Dial { conn, to, .. } if to == self.nodes[other].identity.raft => {
                let accepted = ConnId::accepted(self.ends.len() as u64 + 1);
                self.ends.push(if side == 0 { [conn, accepted] } else { [accepted, conn] });
                if self.certified {
                    let exporter = u8::try_from(self.ends.len()).unwrap();
                    let [here, there] = [side, other].map(|side| self.nodes[side].identity.id.get());
                    self.nodes[side].handle_opened(now, conn, certificate(there, exporter)).unwrap();
                    self.nodes[other].handle_opened(now, accepted, certificate(here, exporter)).unwrap();
                }
            }
            PeersOutput::Message { conn, bytes } | PeersOutput::Reply { conn, bytes }
                if there(&self.ends, conn).is_some() =>
            {
                let conn = there(&self.ends, conn).unwrap();
                let _ = self.nodes[other].handle_frame(now, conn, &bytes);
            }
            PeersOutput::Close { conn } if there(&self.ends, conn).is_some() => {
                let there = there(&self.ends, conn).unwrap();
                self.ends.retain(|ends| ends[side] != conn);
                self.nodes[other].handle_closed(now, there, CloseReason::Ended);
            }
            output => self.others[side].push(output),
        }
    }

    pub(super) fn dialled(&self) -> ConnId {
        self.ends.iter().find(|ends| !ends[0].is_accepted()).unwrap()[0]
    }
}
