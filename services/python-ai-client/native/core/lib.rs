//! The worker's side of the wire, in plain Rust: connections to the orchestrator and the data service.
//!
//! Responsible for: connecting with backoff, requests and replies, pipelined batches, gradients and snapshots in pieces,
//! verifying hashes, waking up while it waits. Not responsible for: Python, training, reconnecting after a loss.

mod batch;
mod connect;
mod connection;
mod data;
mod error;
mod orchestrator;
mod reply;
mod snapshot;
mod values;
mod waiting;

pub use batch::{Batch, BatchKey, Split, Tensor};
pub use data::{DataClient, DataStopper};
pub use error::CoreError;
pub use orchestrator::{OrchestratorClient, Stopper};
pub use reply::WorkReply;
pub use values::{action_name, DatasetInfo, JoinReply, Seconds, ShardReport};
pub use waiting::{Uninterrupted, Waiter, TICK};

/// Settings of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bounds connecting, and the time without progress inside a frame.
    pub timeout: std::time::Duration,
    /// Largest frame to accept, in bytes.
    pub max_frame_bytes: u64,
}

impl Options {
    pub(crate) fn limits(&self) -> pangea_wire::Limits {
        pangea_wire::Limits {
            progress_timeout: self.timeout,
            ..pangea_wire::Limits::with_frame_bytes(self.max_frame_bytes)
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: std::time::Duration::from_secs(30),
            max_frame_bytes: pangea_wire::Limits::default().frame_bytes,
        }
    }
}
