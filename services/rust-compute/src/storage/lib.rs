//! Where the bytes of a dataset come from: a regular file, decompressed, hashed and bounded as it
//! is read.
//!
//! Not responsible for: what the bytes mean.

mod data_file;
mod error;
mod gzip;
mod signature;

pub use data_file::{DataFile, Storage};
pub use error::StorageError;
