//! One connection, whoever is at its other end: connecting with backoff over TCP or a Unix socket,
//! frames both ways, announced memory, heartbeats, interruptible waits.
//!
//! Not responsible for: what the messages mean, which replica to ask.

mod address;
mod connect;
mod connection;
mod progress;
mod regions;
mod secure;
mod stream;
mod waiting;
mod writer;

pub(crate) use address::{endpoints, Endpoint};
pub(crate) use connect::{attempt, sleep, Backoff};
pub use connect::{FIRST_PAUSE, LONGEST_PAUSE};
pub(crate) use connection::{Connection, Received};
pub(crate) use progress::Progress;
pub(crate) use regions::Regions;
pub(crate) use secure::{is_about_identity, Peer};
pub(crate) use stream::Stream;
pub use waiting::{Uninterrupted, Waiter, TICK};
pub(crate) use writer::Beside;
pub use writer::Stopper;
