//! The client of a data service: batches are requested ahead, from any replica, and verified.
//!
//! `dispatch` decides what is requested from whom, without clock or sockets; `shared` puts it
//! behind a lock and wakes who waits; `replica` is the connection to one replica; `lent` is the
//! memory that batches are in; `client` is what the worker calls.

mod batch;
mod client;
mod dispatch;
mod lateness;
mod lent;
mod replica;
mod shared;

pub use batch::{Batch, BatchKey, Split, Tensor};
pub use client::{DataClient, DataStopper};
pub use lent::{own_lent_memory, LentMemory, Memory};
