//! Answers to workers: what they ask for, and the bytes that they get.

pub mod batch;
pub mod connection;
mod order_cache;
mod reply;
pub mod request;
