//! The errors of opening a data file.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// Why a file cannot be read as a stream of bytes. Errors of a stream that is already open are
/// `io::Error`s.
#[derive(Debug, Error)]
pub enum StorageError {
    #[error("cannot read {}", file.display())]
    Unreadable { file: PathBuf, source: io::Error },
    /// A service that restarts, or a second replica, has to read the same bytes; a pipe gives them
    /// once.
    #[error("{} is not a regular file; copy the data into one", file.display())]
    NotRegular { file: PathBuf },
    #[error("{} is not usable: {advice}", file.display())]
    Unsupported { file: PathBuf, advice: &'static str },
    #[error("{} is not usable: its name ends with .gz, but it is not gzip data; rename it, or compress \
        it again", file.display())]
    NotGzip { file: PathBuf },
}
