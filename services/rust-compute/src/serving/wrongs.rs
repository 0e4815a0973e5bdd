//! Wrong requests of one connection: some are answered with what is wrong, and then it is closed.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Refusals at once, and a second after that. A worker whose request is wrong stops; whoever sends
/// the next one at once only costs time.
const AT_ONCE: f64 = 64.0;
const PER_SECOND: f64 = 4.0;

/// Counts the refusals of one connection.
#[derive(Debug, Default)]
pub struct Wrongs(Mutex<Spent>);

#[derive(Debug, Default)]
struct Spent {
    refusals: f64,
    at: Duration,
}

impl Wrongs {
    /// Whether one more refusal at `now` is answered; otherwise the connection is to be closed.
    pub fn admit(&self, now: Duration) -> bool {
        let mut spent = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let regained = now.saturating_sub(spent.at).as_secs_f64() * PER_SECOND;
        spent.refusals = (spent.refusals - regained).max(0.0) + 1.0;
        spent.at = now;
        spent.refusals <= AT_ONCE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_some_at_once_and_more_with_time() {
        let wrongs = Wrongs::default();
        let answered = |now| (0..1000).take_while(|_| wrongs.admit(now)).count();
        assert_eq!(answered(Duration::ZERO), 64);
        assert!(!wrongs.admit(Duration::ZERO));
        assert!(wrongs.admit(Duration::from_secs(1)));
    }
}
