//! Why a region cannot be made or used.

use std::io;

use pangea_wire::WireError;

/// A region that is refused. The connection that announced it breaks the protocol.
#[derive(Debug, thiserror::Error)]
pub enum RegionError {
    /// The system refused.
    #[error("{doing}, {bytes} bytes: {source}")]
    System {
        bytes: usize,
        doing: &'static str,
        source: io::Error,
    },
    /// Its owner, or anybody, could take memory away from under a reader or write behind its back.
    #[error("lacks the seals {missing}; only sealed memory is read")]
    Unsealed { missing: String },
    #[error("has {found} bytes of memory, but announces {announced}")]
    Size { announced: u64, found: u64 },
}

impl RegionError {
    pub(crate) fn system(bytes: usize, doing: &'static str, error: rustix::io::Errno) -> Self {
        Self::System {
            bytes,
            doing,
            source: error.into(),
        }
    }
}

/// What is announced is part of the protocol; that the system refuses memory is not.
impl From<RegionError> for WireError {
    fn from(error: RegionError) -> Self {
        match error {
            RegionError::System { doing, source, .. } => Self::Io { doing, source },
            other => Self::Field {
                field: "sharedRegion",
                reason: other.to_string(),
            },
        }
    }
}
