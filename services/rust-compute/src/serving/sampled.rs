//! Log lines that peers cause, as many as a person can read: the rest is counted.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Lines of one window; further ones are counted.
const LINES: u64 = 20;
const WINDOW: Duration = Duration::from_secs(10);

/// Decides which lines of one kind are written.
#[derive(Debug, Default)]
pub struct Sampled(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    window: u128,
    lines: u64,
    left_out: u64,
}

impl Sampled {
    /// Whether a line may be written at `now`: then how many were left out since the last one.
    pub fn admit(&self, now: Duration) -> Option<u64> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let window = now.as_nanos() / WINDOW.as_nanos();
        if window != state.window {
            (state.window, state.lines) = (window, 0);
        }
        if state.lines == LINES {
            state.left_out += 1;
            return None;
        }
        state.lines += 1;
        Some(std::mem::take(&mut state.left_out))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_is_a_few_lines_and_a_number() {
        let sampled = Sampled::default();
        let written = (0..1_000_000).filter(|_| sampled.admit(Duration::ZERO).is_some());
        assert_eq!(written.count() as u64, LINES);
        assert_eq!(sampled.admit(WINDOW), Some(1_000_000 - LINES));
        assert_eq!(sampled.admit(WINDOW), Some(0));
    }
}
