//! The worker's side of the wire, in plain Rust: connections to the orchestrator and the data service.
//!
//! Responsible for: connecting with backoff, requests and replies, heartbeats, pipelined batches from any replica of a data
//! service, gradients and snapshots in pieces, verifying hashes, waking up while it waits. Not responsible for: Python,
//! training, joining an orchestrator again after a loss.

mod batch;
mod book;
mod connect;
mod connection;
mod data;
mod error;
mod join;
mod lateness;
mod orchestrator;
mod replica;
mod replicas;
mod reply;
mod snapshot;
mod values;
mod waiting;
mod writer;

pub use batch::{Batch, BatchKey, Split, Tensor};
pub use data::{DataClient, DataStopper};
pub use error::CoreError;
pub use join::Join;
pub use orchestrator::OrchestratorClient;
pub use reply::WorkReply;
pub use values::{action_name, Column, DatasetInfo, JoinReply, Seconds, ShardReport};
pub use waiting::{Uninterrupted, Waiter, TICK};
pub use writer::Stopper;

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
