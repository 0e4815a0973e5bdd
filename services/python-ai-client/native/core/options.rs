//! Settings that every connection takes.

use std::path::PathBuf;
use std::time::Duration;

use pangea_identity::Role;
use pangea_wire::Limits;

use crate::link::Peer;

/// Settings of a connection.
#[derive(Clone, Debug)]
pub struct Options {
    /// Bounds connecting, and the time without progress inside a frame.
    pub timeout: Duration,
    /// Largest frame to accept, in bytes.
    pub max_frame_bytes: u64,
    /// Directory with the identity of this worker, for TLS over TCP; `None` for no encryption.
    pub identity: Option<PathBuf>,
}

impl Options {
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            progress_timeout: self.timeout,
            ..Limits::with_frame_bytes(self.max_frame_bytes)
        }
    }

    pub(crate) fn peer(&self, role: Role) -> Peer {
        Peer {
            role,
            identity: self.identity.clone(),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            timeout: Duration::from_secs(30),
            max_frame_bytes: Limits::default().frame_bytes,
            identity: None,
        }
    }
}
