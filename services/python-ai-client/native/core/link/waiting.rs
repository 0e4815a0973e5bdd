//! Waking up while waiting, so that signals are handled and no caller waits for a program that is
//! ending.

use std::time::Duration;

use crate::error::CoreError;

/// How often a waiting call wakes up.
pub const TICK: Duration = Duration::from_millis(100);

/// Called at least once each [`TICK`] while a call waits.
pub trait Waiter {
    /// An error ends the waiting call.
    fn tick(&mut self) -> Result<(), CoreError>;
}

/// Waits as long as it takes.
pub struct Uninterrupted;

impl Waiter for Uninterrupted {
    fn tick(&mut self) -> Result<(), CoreError> {
        Ok(())
    }
}
