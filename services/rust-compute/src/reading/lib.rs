//! Reading a file of unknown origin where it can do no harm: in a child process that may open
//! nothing, is bounded in memory and time, and hands over memory that it can no longer change.
//!
//! Not responsible for: what the bytes mean (sources), what is made of them (dataset).

mod child;
mod error;
mod handover;
mod parent;
mod sandbox;

pub use child::run as run_child;
pub use error::ReadingError;
pub use parent::{read, Task, COMMAND};
