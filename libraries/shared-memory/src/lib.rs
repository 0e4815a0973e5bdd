//! Memory that processes of one machine share, and the Unix sockets that it is announced on.
//!
//! Responsible for: regions that only their owner can write to and nobody can resize, descriptors
//! beside the bytes of a stream, sockets that only processes of the same user connect to. Not
//! responsible for: which message says what is in a region, and when it may be written again.

mod announcement;
mod descriptors;
mod error;
mod fixed;
mod mapping;
mod region;
mod socket;

pub use announcement::Announcement;
pub use descriptors::{receive, send_with, Descriptors};
pub use error::RegionError;
pub use fixed::{FixedMemory, Unfixed};
pub use region::{OwnedRegion, PrivateRegion, ReadOnlyRegion};
pub use socket::{connect, listen, peer_is_same_user, SocketFile};

#[cfg(not(target_os = "linux"))]
compile_error!("sealed memory needs Linux");
