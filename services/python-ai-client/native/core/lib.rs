//! The worker's side of the wire, in plain Rust: connections to the orchestrator and the data
//! service.
//!
//! Responsible for: connecting with backoff, requests and replies, heartbeats, pipelined batches
//! from any replica of a data service, gradients and snapshots in pieces, verifying hashes, waking
//! up while it waits, adding up gradients, checksums. Not responsible for: Python, the rest of
//! training, joining an orchestrator again after a loss.
//!
//! [`link`] is one connection; [`data`] and [`orchestrator`] are built on it and do not know each
//! other. [`fold`] knows none of them.

mod checksum;
mod clock;
mod data;
mod error;
mod failpoint;
mod float_mode;
mod fold;
mod link;
mod options;
mod orchestrator;
mod values;

pub use checksum::checksum;
pub use data::{
    own_lent_memory, Batch, BatchKey, DataClient, DataStopper, LentMemory, Memory, Split, Tensor,
};
pub use error::{CoreError, ErrorKind};
pub use failpoint::inside_slot_write;
pub use float_mode::flushes_denormals;
pub use fold::{fold, fold_seen, Operand};
pub use link::{Stopper, Uninterrupted, Waiter, FIRST_PAUSE, LONGEST_PAUSE, TICK};
pub use options::Options;
pub use orchestrator::{
    Gradients, Join, OrchestratorClient, SharedGradients, SlotMemory, Snapshot, Update, Work,
    WorkReply,
};
pub use values::{Column, DatasetInfo, Figure, JoinReply, ShardReport, Timings};
