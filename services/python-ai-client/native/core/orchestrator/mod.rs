//! The client of an orchestrator: join, request work, submit gradients, exchange snapshots, leave.

mod client;
mod join;
mod requests;
mod snapshot;
mod work_reply;

pub use client::OrchestratorClient;
pub use join::Join;
pub use requests::{Update, Work};
pub use snapshot::Snapshot;
pub use work_reply::WorkReply;
