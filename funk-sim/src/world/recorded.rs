//! What went into the nodes, as real nodes record it.

use funk_proto::{NodeConfig, Recovered, Seed, Timestamp};
use funk_record::limits::RECORDER_BYTES;
use funk_record::{Dump, Recorder};

use super::World;

/// A recorder of a process that starts now. Its time zero is the world's time, so that the recordings of several hosts
/// have one clock.
pub(super) fn begin(now: Timestamp, config: &NodeConfig, recovered: &Recovered, seed: Seed) -> Recorder {
    let zero_ns = now.as_nanos().cast_signed();
    Recorder::new(config, recovered, seed, Timestamp::ZERO, zero_ns, RECORDER_BYTES)
}

impl World {
    /// Records what goes into each node, for [`World::take_recordings`].
    pub fn with_recorders(mut self) -> Self {
        self.recordings = Some(Vec::new());
        self
    }

    /// The recordings so far, each with its host: of processes that have ended, in that order, then of those that exist.
    pub fn take_recordings(&mut self) -> Vec<(usize, Dump)> {
        let mut recordings = self.recordings.as_mut().map(std::mem::take).unwrap_or_default();
        let live = self.hosts.iter().enumerate();
        recordings.extend(live.filter_map(|(at, host)| Some((at, host.recorder.as_ref()?.dump()))));
        recordings
    }

    pub(super) fn end_recording(&mut self, at: usize) {
        let recorder = self.hosts[at].recorder.take();
        if let Some((recordings, recorder)) = self.recordings.as_mut().zip(recorder) {
            recordings.push((at, recorder.dump()));
        }
    }
}
