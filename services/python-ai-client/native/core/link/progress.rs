//! A stopwatch that notices a transfer without progress.

use std::time::{Duration, Instant};

use crate::clock;

/// Notices when a count has not changed for the whole timeout.
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
            since: clock::now(),
        }
    }

    /// The timeout in seconds, if the count has not changed for that long.
    pub(crate) fn stalled(&mut self, count: u64) -> Option<f64> {
        if self.last != Some(count) {
            self.last = Some(count);
            self.since = clock::now();
            return None;
        }
        (clock::since(self.since) >= self.timeout).then_some(self.timeout.as_secs_f64())
    }
}
