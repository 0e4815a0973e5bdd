//! The files of an identity directory.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};

use crate::error::IdentityError;

/// The certificate of the run's authority.
const AUTHORITY: &str = "authority.pem";
/// Of this process.
pub(crate) const CERTIFICATE: &str = "certificate.pem";
/// Its private key, PKCS#8.
const KEY: &str = "key.pem";
/// Optional: the certificates that the authority has revoked.
pub(crate) const REVOKED: &str = "revoked.pem";

const ALL: [&str; 4] = [AUTHORITY, CERTIFICATE, KEY, REVOKED];

pub(crate) struct Files {
    pub(crate) authority: Vec<CertificateDer<'static>>,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    pub(crate) revoked: Option<CertificateRevocationListDer<'static>>,
}

impl Files {
    pub(crate) fn read(dir: &Path) -> Result<Self, IdentityError> {
        let revoked = match content(&dir.join(REVOKED)) {
            Ok(text) => Some(decoded(
                dir.join(REVOKED),
                CertificateRevocationListDer::from_pem_slice(&text),
            )?),
            Err((ErrorKind::NotFound, _)) => None,
            Err((_, error)) => return Err(error),
        };
        let key = dir.join(KEY);
        let text = content(&key).map_err(|(_, error)| error)?;
        Ok(Self {
            authority: certificates(dir.join(AUTHORITY))?,
            chain: certificates(dir.join(CERTIFICATE))?,
            key: decoded(key, PrivateKeyDer::from_pem_slice(&text))?,
            revoked,
        })
    }
}

/// More than a list of many revoked certificates has.
const MAX_BYTES: u64 = 16 << 20;

/// A file of an identity directory, also through links, as Kubernetes puts them there. What has no
/// end, a pipe or a device, is not opened.
fn content(path: &Path) -> Result<Vec<u8>, (ErrorKind, IdentityError)> {
    let found = fs::metadata(path).and_then(|found| {
        if found.is_file() && found.len() <= MAX_BYTES {
            fs::read(path)
        } else {
            let reason = "it is not a regular file of at most 16 MiB";
            Err(io::Error::new(ErrorKind::InvalidInput, reason))
        }
    });
    found.map_err(|error| {
        let kind = error.kind();
        let path = path.to_owned();
        let reason = error.to_string();
        (kind, IdentityError::File { path, reason })
    })
}

fn certificates(path: PathBuf) -> Result<Vec<CertificateDer<'static>>, IdentityError> {
    let text = content(&path).map_err(|(_, error)| error)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&text).collect();
    let found = decoded(path.clone(), found)?;
    if found.is_empty() {
        let reason = "it has no certificate".to_owned();
        return Err(IdentityError::File { path, reason });
    }
    Ok(found)
}

fn decoded<T, E: std::fmt::Debug>(path: PathBuf, read: Result<T, E>) -> Result<T, IdentityError> {
    read.map_err(|error| {
        let reason = format!("it is not PEM ({error:?})");
        IdentityError::File { path, reason }
    })
}

/// What changes when the files do. Whoever renews them replaces them by renaming.
#[derive(PartialEq, Eq)]
pub(crate) struct Stamp([Option<(SystemTime, u64)>; 4]);

impl Stamp {
    pub(crate) fn of(dir: &Path) -> Self {
        Self(ALL.map(|name| {
            let found = fs::metadata(dir.join(name)).ok()?;
            Some((found.modified().ok()?, found.len()))
        }))
    }
}
