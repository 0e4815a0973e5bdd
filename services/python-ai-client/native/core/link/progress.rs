//! A stopwatch for transfers that have stopped.

use std::time::{Duration, Instant};

/// Notices when a count has stopped changing.
pub(crate) struct Progress {
    timeout: Duration,
    last: Option<u64>,
    since: Instant,
}

impl Progress {
    pub(crate) fn new(timeout: Duration) -> Self {
        Self {
            timeout,
            last: None,
            since: Instant::now(),
        }
    }

    /// The time-out in seconds, if the count has not changed for that long.
    pub(crate) fn stalled(&mut self, count: u64) -> Option<f64> {
        if self.last != Some(count) {
            self.last = Some(count);
            self.since = Instant::now();
            return None;
        }
        (self.since.elapsed() >= self.timeout).then_some(self.timeout.as_secs_f64())
    }
}
