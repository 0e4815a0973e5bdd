//! The only place of this crate that reads the clock or sleeps, so that everything else can be
//! given its time.
#![expect(
    clippy::disallowed_methods,
    reason = "this module is what the ban leaves for the rest of the crate"
)]

use std::thread;
use std::time::{Duration, Instant};

pub(crate) fn now() -> Instant {
    Instant::now()
}

/// Time since `start`; zero if it lies ahead.
pub(crate) fn since(start: Instant) -> Duration {
    now().saturating_duration_since(start)
}

pub(crate) fn sleep(pause: Duration) {
    thread::sleep(pause);
}
