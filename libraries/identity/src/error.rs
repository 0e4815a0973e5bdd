//! Why an identity directory cannot be used.

use std::path::PathBuf;

use crate::name::{Name, Role};

#[derive(Debug, thiserror::Error)]
pub enum IdentityError {
    #[error("cannot read {path}: {reason}; make it with `pangea certs`")]
    File { path: PathBuf, reason: String },
    #[error("{path}: {reason}")]
    Certificate { path: PathBuf, reason: String },
    #[error("the certificate {name} has role {}; this process needs one of role {needed}", name.role)]
    Role { name: Name, needed: Role },
    #[error("the certificate cannot be used for TLS: {0}")]
    Tls(#[from] rustls::Error),
}
