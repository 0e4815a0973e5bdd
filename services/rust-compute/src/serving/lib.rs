//! Serving batches: requests, checked and answered, on one connection per worker.
//!
//! Every answer is a pure function of the request and the dataset, so any replica gives the same
//! bytes. Not responsible for: how the dataset came about (sources, dataset), listening and
//! stopping (process).

mod activity;
mod announce;
mod answer;
mod batch;
mod connection;
mod error;
mod lending;
mod order_cache;
mod reply;
mod request;
mod sampled;
mod turns;
mod wrongs;

pub use activity::Activity;
pub use answer::Service;
pub use batch::Batches;
pub use connection::{serve, serve_local, serve_secured, Patience};
pub use error::RequestError;
pub use lending::LendingLimit;
pub use reply::Refusal;
pub use request::{Part, Request};
pub use sampled::Sampled;
pub use turns::Turns;
