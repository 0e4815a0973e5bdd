//! A dataset in memory: its columns, its split, and how its features are standardised.

pub mod column;
mod dataset;
mod standardise;

pub use dataset::{Dataset, Meaning};
pub use standardise::Normalise;
