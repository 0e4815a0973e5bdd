//! Whether the compute threads work: a task that does nothing goes through them all the time.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::Arc;
use std::time::Duration;

/// Between two tasks.
const PERIOD: Duration = Duration::from_secs(1);
/// A task waits for the few batches that are computed before it. One that is not done after this
/// long never will be.
const STUCK: Duration = Duration::from_secs(20);

/// When the last task was done.
#[derive(Clone)]
pub struct Pulse {
    last_ms: Arc<AtomicU64>,
    now: fn() -> Duration,
}

impl Pulse {
    pub fn new(now: fn() -> Duration) -> Self {
        let pulse = Self {
            last_ms: Arc::default(),
            now,
        };
        pulse.beat();
        pulse
    }

    /// Beats for as long as the process lives, through the threads that compute.
    pub async fn run(self) {
        loop {
            let (done, waiting) = tokio::sync::oneshot::channel();
            let pulse = self.clone();
            rayon::spawn(move || {
                pulse.beat();
                let _ = done.send(());
            });
            // One task at a time: a stuck thread does not gather them.
            let _ = waiting.await;
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn beat(&self) {
        let now_ms = (self.now)().as_millis() as u64;
        self.last_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Whether a task was done a short time ago.
    pub fn is_alive(&self) -> bool {
        let last = Duration::from_millis(self.last_ms.load(Ordering::Relaxed));
        (self.now)().saturating_sub(last) < STUCK
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn threads_that_do_nothing_for_long_are_stuck() {
        static NOW_SECONDS: AtomicU64 = AtomicU64::new(0);
        let set = |seconds| NOW_SECONDS.store(seconds, Ordering::Relaxed);
        let pulse = Pulse::new(|| Duration::from_secs(NOW_SECONDS.load(Ordering::Relaxed)));
        set(STUCK.as_secs() - 1);
        assert!(pulse.is_alive());
        set(STUCK.as_secs());
        assert!(!pulse.is_alive());
        pulse.beat();
        assert!(pulse.is_alive());
    }
}
