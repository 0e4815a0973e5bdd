//! Waking up while waiting, so that signals are handled and nobody waits for a dead program.

use std::time::Duration;

use crate::error::CoreError;

/// How often a waiting call wakes up.
pub const TICK: Duration = Duration::from_millis(100);

/// Is asked at least once each [`TICK`] while a call waits.
pub trait Waiter {
    /// An error ends the call.
    fn tick(&mut self) -> Result<(), CoreError>;
}

/// Waits for as long as it takes.
pub struct Uninterrupted;

impl Waiter for Uninterrupted {
    fn tick(&mut self) -> Result<(), CoreError> {
        Ok(())
    }
}
