//! The only place that asks the system for the time.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// The time since the first call.
#[expect(
    clippy::disallowed_methods,
    reason = "everything else is handed this function"
)]
pub fn monotonic() -> Duration {
    static START: OnceLock<Instant> = OnceLock::new();
    START.get_or_init(Instant::now).elapsed()
}
