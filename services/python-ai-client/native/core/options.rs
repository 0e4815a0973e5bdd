//! Settings that every connection takes.

use std::time::Duration;

use pangea_wire::Limits;

/// Settings of a connection.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Bounds connecting, and the time without progress inside a frame.
    pub timeout: Duration,
    /// Largest frame to accept, in bytes.
    pub max_frame_bytes: u64,
}

impl Options {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            progress_timeout: self.timeout,
            ..Limits::with_frame_bytes(self.max_frame_bytes)
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            max_frame_bytes: Limits::default().frame_bytes,
        }
    }
}
