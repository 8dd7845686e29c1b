//! How a node ended.

use std::fmt;
use std::process::{ExitCode, Termination};

use funk_io::StopReason;
use funk_proto::Refusal;

/// How a node ended, and with which exit code its process should.
///
/// It can be what `main` returns: a bad end is then told on standard error.
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it says how the process should end"]
#[non_exhaustive]
pub enum Ended {
    /// It was told to. `left`: it gave its shards away and left in the time for that; otherwise the others miss it.
    Told {
        /// Whether it left in time.
        left: bool,
    },
    /// It stopped by itself: it was removed, its disk failed, or the cluster refuses it.
    Stopped(StopReason),
}

impl Ended {
    /// Whether this is an end that somebody asked for, by a signal or by removing the node.
    pub fn is_orderly(&self) -> bool {
        match self {
            Self::Told { .. } => true,
            Self::Stopped(why) => matches!(why, StopReason::Left | StopReason::Refused(Refusal::Removed)),
        }
    }

    /// 0 for an end that somebody asked for, so that no supervisor brings the node back; else 1.
    pub fn exit_code(&self) -> ExitCode {
        if self.is_orderly() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Told { left: true } => f.write_str("the node left"),
            Self::Told { left: false } => f.write_str("the node could not leave in time"),
            Self::Stopped(why) => why.fmt(f),
        }
    }
}

impl Termination for Ended {
    fn report(self) -> ExitCode {
        if let Self::Stopped(why) = &self {
            eprintln!("{why}");
        }
        self.exit_code()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_ends_that_nobody_asked_for_are_failures() {
        let removed = StopReason::Refused(Refusal::Removed);
        for end in [Ended::Told { left: true }, Ended::Told { left: false }, Ended::Stopped(StopReason::Left)] {
            assert!(end.is_orderly(), "{end}");
        }
        assert!(Ended::Stopped(removed).is_orderly());
        let failed = StopReason::Failed("a bug".into());
        for why in [failed, StopReason::ServiceStuck, StopReason::Dropped] {
            assert!(!Ended::Stopped(why.clone()).is_orderly(), "{why}");
        }
    }
}
