//! The data service: reads a dataset once, preprocesses it in parallel, and serves training batches.
//!
//! Responsible for: reading, normalising, the held-out split, batches, their hashes. Not responsible for: who asks, and what a run is;
//! every answer is a pure function of the request and the dataset, so any replica gives the same bytes.

mod address;
mod batch;
mod column;
mod connection;
mod dataset;
mod health;
mod http;
mod orders;
mod ports;
mod reply;
mod request;
mod serve;
mod settings;
mod sources;
mod storage;
mod telemetry;

#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod golden_test;

pub use health::health;
pub use serve::serve;
pub use settings::Settings;
