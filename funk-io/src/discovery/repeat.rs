//! A question that is asked again and again, and what is told of its answers.

use std::net::SocketAddr;
use std::time::Duration;

use super::Found;
use super::feed::Sink;

/// How often a question is asked.
pub(super) struct Pace {
    /// First wait after a failure; it doubles with each.
    pub(super) retry_min: Duration,
    /// Longest wait after a failure.
    pub(super) retry_max: Duration,
    /// Wait after a success; `None` if the answer is known for good.
    pub(super) again: Option<Duration>,
    /// Whether a failure that goes on is told again, each time that their number doubles.
    pub(super) reminds: bool,
}

/// What a question brought.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Answer {
    /// In order, without repetition. None of them: the question failed.
    pub(super) addresses: Vec<SocketAddr>,
    /// What was wrong with it.
    pub(super) complaint: Option<String>,
}

/// Asks again and again until the source is dropped. Addresses are reported when they change.
pub(super) fn ask_again(instance: &str, pace: &Pace, sink: &Sink, mut ask: impl FnMut() -> Answer) {
    let (mut told, mut failures) = (Vec::new(), 0_u32);
    let mut complaints = Complaints::default();
    loop {
        let Answer { addresses, complaint } = ask();
        if complaints.are_told(complaint.as_deref(), pace.reminds) {
            let why = complaint.unwrap_or_default();
            if !sink.push(Found::Failed { why }) {
                return;
            }
        }
        let pause = if addresses.is_empty() {
            failures = failures.saturating_add(1);
            Some((pace.retry_min * (1 << (failures - 1).min(8))).min(pace.retry_max))
        } else {
            failures = 0;
            if addresses != told {
                told.clone_from(&addresses);
                if !sink.push(Found::Up { instance: instance.to_owned(), node: None, addresses }) {
                    return;
                }
            }
            pace.again
        };
        if !pause.is_some_and(|pause| sink.pause(pause)) {
            return;
        }
    }
}

/// What was wrong last, and how often in a row.
#[derive(Default)]
struct Complaints {
    last: Option<String>,
    times: u32,
}

impl Complaints {
    /// Notes the outcome of a question. True if its complaint should be reported.
    fn are_told(&mut self, complaint: Option<&str>, reminds: bool) -> bool {
        let is_new = self.last.as_deref() != complaint;
        self.last = complaint.map(str::to_owned);
        self.times = if is_new { 1 } else { self.times.saturating_add(1) };
        complaint.is_some() && (is_new || reminds && self.times.is_power_of_two())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(reminds: bool, complaints: &[Option<&str>]) -> Vec<bool> {
        let mut all = Complaints::default();
        complaints.iter().map(|&complaint| all.are_told(complaint, reminds)).collect()
    }

    #[test]
    fn a_complaint_is_told_once_and_again_when_it_comes_back() {
        let complaints = [Some("a"), Some("a"), Some("a"), Some("b"), None, None, Some("b")];
        assert_eq!(told(false, &complaints), [true, false, false, true, false, false, true]);
    }

    #[test]
    fn a_reminder_comes_each_time_that_their_number_doubles() {
        assert_eq!(told(true, &[Some("a"); 8]), [true, true, false, true, false, false, false, true]);
    }
}
