//! The data service: reads a dataset once, preprocesses it in parallel, and serves training batches.
//!
//! Responsible for: reading, normalising, the held-out split, batches, their hashes. Not responsible for: who asks, and what a run is;
//! every answer is a pure function of the request and the dataset, so any replica gives the same bytes.

mod dataset;
mod process;
mod serving;
mod sources;
mod storage;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod golden_test;

pub use process::health::health;
pub use process::serve::serve;
pub use process::settings::Settings;
