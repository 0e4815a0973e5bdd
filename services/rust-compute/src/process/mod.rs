//! The process: options, addresses, probes, metrics, and its life from start to stop.

mod address;
pub mod health;
mod http;
mod port_file;
pub mod serve;
pub mod settings;
mod telemetry;
