//! Who a peer is: certificates of a run's one authority, over TLS 1.3.
//!
//! Responsible for: the files of an identity directory, roles, revoked certificates, configurations
//! of rustls for both sides, the words for handshakes that fail. Not responsible for: sockets.

mod error;
mod explain;
mod files;
mod identity;
mod name;
mod server;
mod tls;
mod watched;

pub use error::IdentityError;
pub use explain::explain;
pub use identity::Identity;
pub use name::{Name, Role};
pub use watched::Watched;
