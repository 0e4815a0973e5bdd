//! The parent: starts this program again to read a file, and takes over what it hands over.

use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::PathBuf;
use std::process::{Command, ExitStatus, Stdio};

use rust_compute_dataset::Prepared;
use rustix::process::Signal;

use crate::error::ReadingError;
use crate::handover::receive;

/// The command of this program that reads a file for the process that started it.
pub const COMMAND: &str = "read";

/// Least processor time, and bytes that are read in a second of it even by a slow processor.
const BASE_SECONDS: u64 = 600;
const BYTES_PER_SECOND: u64 = 1 << 20;

/// What is read.
#[derive(Clone, Debug)]
pub struct Task {
    /// The dataset spec, as it was given.
    pub spec: String,
    pub data_dir: PathBuf,
    /// Most bytes of the file, decompressed.
    pub max_bytes: u64,
}

/// Reads a file in a child process. Also whether the child could open other files: false where the
/// system cannot prevent it.
pub fn read(task: &Task) -> Result<(Prepared, bool), ReadingError> {
    let seconds = BASE_SECONDS.saturating_add(task.max_bytes / BYTES_PER_SECOND);
    let (ours, theirs) = UnixStream::pair()?;
    let mut child = Command::new("/proc/self/exe")
        .args([COMMAND, &task.spec])
        .arg(&task.data_dir)
        .args([task.max_bytes.to_string(), seconds.to_string()])
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::null())
        // A signal to the service's group is for the service, with which the child ends.
        .process_group(0)
        .spawn()
        .map_err(ReadingError::Start)?;
    let received = receive(&ours);
    if received.is_err() {
        // Whatever it is still doing, nobody wants it.
        drop(ours);
    }
    let status = child.wait()?;
    match received {
        Err(ReadingError::Ended(_)) => Err(ended(status, seconds)),
        received => received,
    }
}

/// Why a child says nothing.
fn ended(status: ExitStatus, seconds: u64) -> ReadingError {
    let signal = status.signal().and_then(Signal::from_named_raw);
    match signal {
        // How a Rust program ends when it gets no memory, and how the system ends one.
        Some(Signal::ABORT | Signal::KILL) => ReadingError::Memory,
        Some(Signal::XCPU) => ReadingError::Time { seconds },
        _ => ReadingError::Ended(status.to_string()),
    }
}
