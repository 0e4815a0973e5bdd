//! The client of an orchestrator: join, request work, submit gradients, exchange snapshots, leave.

mod client;
mod donation;
mod join;
mod requests;
mod shared_gradients;
mod slots;
mod snapshot;
mod work_reply;

pub use client::OrchestratorClient;
pub use join::Join;
pub use requests::{Update, Work};
pub use shared_gradients::SharedGradients;
pub use slots::SlotMemory;
pub use snapshot::Snapshot;
pub use work_reply::{Gradients, WorkReply};
