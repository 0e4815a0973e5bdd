//! One connection, whoever is at its other end: connecting with backoff, frames both ways,
//! heartbeats, interruptible waits.
//!
//! Not responsible for: what the messages mean, which replica to ask.

mod connect;
mod connection;
mod progress;
mod waiting;
mod writer;

pub(crate) use connect::{attempt, check_address, sleep, Backoff};
pub use connect::{FIRST_PAUSE, LONGEST_PAUSE};
pub(crate) use connection::{Connection, Received};
pub(crate) use progress::Progress;
pub use waiting::{Uninterrupted, Waiter, TICK};
pub use writer::Stopper;
