//! When a reply is late, judged by how long the replies before it took.
//!
//! The rule is the orchestrator's (its `internal/run/lateness.go` is the definition,
//! //libraries/lateness holds the cases that both must agree on). Only the constants differ,
//! because what being late costs differs.

use std::collections::VecDeque;
use std::time::Duration;

/// How many observations are kept: the latest ones, so that the judgement follows the load.
const WINDOW: usize = 64;
/// With fewer observations nothing is known to be usual, so nothing is late.
const MIN_OBSERVATIONS: usize = 8;
/// How many median absolute deviations above the median a reply is late.
const DEVIATIONS: u32 = 5;
/// Nothing is late before this: a second request costs the services more than the wait costs the
/// worker.
const MIN_LATENESS: Duration = Duration::from_millis(50);

/// The times that the latest replies took.
#[derive(Default)]
pub(crate) struct Lateness {
    times: VecDeque<Duration>,
}

impl Lateness {
    /// Adds an observation. It counts as at most twice the longest known one: a reply that hung for
    /// minutes must not make the next one wait as long.
    pub(crate) fn observe(&mut self, took: Duration) {
        self.observe_above(took, MIN_LATENESS);
    }

    fn observe_above(&mut self, mut took: Duration, min_lateness: Duration) {
        if self.times.len() >= MIN_OBSERVATIONS {
            let longest = self.times.iter().max().copied().unwrap_or_default();
            took = took.min(min_lateness.max(2 * longest));
        }
        if self.times.len() == WINDOW {
            self.times.pop_front();
        }
        self.times.push_back(took);
    }

    /// After how long a reply is late; `None` while too few have been observed.
    pub(crate) fn patience(&self) -> Option<Duration> {
        self.limit(DEVIATIONS, MIN_LATENESS)
    }

    fn limit(&self, deviations: u32, min_lateness: Duration) -> Option<Duration> {
        if self.times.len() < MIN_OBSERVATIONS {
            return None;
        }
        let mut times: Vec<_> = self.times.iter().copied().collect();
        let median = median(&mut times);
        for time in &mut times {
            *time = time.abs_diff(median);
        }
        Some(min_lateness.max(median + deviations * self::median(&mut times)))
    }
}

/// The median of at least one time: of an even count, the upper of the two in the middle. Sorts
/// them.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    times[times.len() / 2]
}

#[cfg(test)]
#[path = "lateness_test.rs"]
mod tests;
