//! The process: its command line, its addresses, probes and metrics, and its life from start to
//! stop.
//!
//! Not responsible for: what is served (serving), and where it comes from (sources).

mod accept;
mod address;
mod clock;
mod describe;
mod descriptors;
mod health;
mod http;
mod load;
mod local;
mod places;
mod port_file;
mod pulse;
mod secure;
mod serve;
mod service_manager;
mod settings;
mod telemetry;

#[cfg(test)]
mod golden_test;

pub use describe::describe;
pub use health::health;
pub use rust_compute_reading::{run_child, COMMAND};
pub use serve::serve;
pub use settings::Settings;
