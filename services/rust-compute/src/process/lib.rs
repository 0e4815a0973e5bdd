//! The process: its command line, its addresses, probes and metrics, and its life from start to
//! stop.
//!
//! Not responsible for: what is served (serving), and where it comes from (sources).

mod address;
mod clock;
mod describe;
mod health;
mod http;
mod load;
mod local;
mod port_file;
mod secure;
mod secure_pages;
mod serve;
mod settings;
mod telemetry;

#[cfg(test)]
mod golden_test;

pub use describe::describe;
pub use health::health;
pub use serve::serve;
pub use settings::Settings;
