//! Where the bytes of a dataset come from: a regular file, unpacked, hashed and bounded as it is
//! read. Not responsible for: what the bytes mean.

mod data_file;
mod gzip;
mod magic;

pub use data_file::Source;
