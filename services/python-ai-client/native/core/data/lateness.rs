//! When an answer is late, judged by the times of the answers before it.

use std::collections::VecDeque;
use std::time::Duration;

/// Answers that are remembered: the latest ones, so that the judgement follows the load.
const REMEMBERED: usize = 64;
/// Fewer say too little about what is usual.
const ENOUGH: usize = 8;
/// How many median absolute deviations above the median an answer is late.
const DEVIATIONS: u32 = 5;
/// Nothing below this is late: asking twice costs the services more than such a wait costs the worker.
const LEAST: Duration = Duration::from_millis(50);

/// The times that the latest answers took.
#[derive(Default)]
pub(crate) struct Lateness {
    times: VecDeque<Duration>,
}

impl Lateness {
    pub(crate) fn observe(&mut self, time: Duration) {
        if self.times.len() == REMEMBERED {
            self.times.pop_front();
        }
        self.times.push_back(time);
    }

    /// After how long an answer is late; None while too few have been seen.
    pub(crate) fn patience(&self) -> Option<Duration> {
        if self.times.len() < ENOUGH {
            return None;
        }
        let mut times: Vec<_> = self.times.iter().copied().collect();
        let middle = median(&mut times);
        times
            .iter_mut()
            .for_each(|time| *time = time.abs_diff(middle));
        Some(LEAST.max(middle + DEVIATIONS * median(&mut times)))
    }
}

/// The median of at least one time; sorts them.
fn median(times: &mut [Duration]) -> Duration {
    times.sort_unstable();
    (times[(times.len() - 1) / 2] + times[times.len() / 2]) / 2
}

#[cfg(test)]
#[path = "lateness_test.rs"]
mod tests;
