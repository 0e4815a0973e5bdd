//! The errors of reading in a child process.

use std::io;

use pangea_shared_memory::RegionError;
use rust_compute_dataset::ColumnError;
use thiserror::Error;

/// Why there is no dataset.
#[derive(Debug, Error)]
pub enum ReadingError {
    /// What the child says about the file.
    #[error("{0}")]
    Unusable(String),
    #[error("cannot start the process that reads the data")]
    Start(#[source] io::Error),
    #[error("the process that reads the data is not heard")]
    Lost(#[from] io::Error),
    #[error("the process that reads the data ran out of memory; make the file smaller, or give the data \
        service more")]
    Memory,
    #[error(
        "the process that reads the data took more than {seconds} s of processor time; make \
        the file smaller"
    )]
    Time { seconds: u64 },
    #[error("the process that reads the data ended with {0}; please report the file if you may")]
    Ended(String),
    /// It was taken over by what it read.
    #[error("the process that reads the data handed over what it should not: {0}")]
    Foreign(String),
}

impl From<RegionError> for ReadingError {
    fn from(error: RegionError) -> Self {
        Self::Foreign(error.to_string())
    }
}

impl From<ColumnError> for ReadingError {
    fn from(error: ColumnError) -> Self {
        Self::Foreign(error.to_string())
    }
}
