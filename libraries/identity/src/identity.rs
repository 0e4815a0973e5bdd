//! The identity of this process, and who others are to it.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, TrustAnchor, UnixTime};
use webpki::{
    anchor_from_trusted_cert, CertRevocationList, EndEntityCert, ExtendedKeyUsageValidator,
    OwnedCertRevocationList, RevocationCheckDepth, RevocationOptionsBuilder, ALL_VERIFICATION_ALGS,
};

use crate::error::IdentityError;
use crate::files::{Files, CERTIFICATE, REVOKED};
use crate::name::{Name, Role};

/// Certificates that a peer may show beside its own. Each is tried as the issuer of another one,
/// before anything is known of the peer.
const MAX_INTERMEDIATES: usize = 3;

/// The files of an identity directory as they were when it was loaded.
pub struct Identity {
    name: Name,
    pub(crate) chain: Vec<CertificateDer<'static>>,
    pub(crate) key: PrivateKeyDer<'static>,
    authority: Vec<TrustAnchor<'static>>,
    revoked: Option<CertRevocationList<'static>>,
}

impl Identity {
    /// Reads a directory, whose certificate must have this role.
    pub fn load(dir: &Path, role: Role) -> Result<Arc<Self>, IdentityError> {
        let files = Files::read(dir)?;
        let path = dir.join(CERTIFICATE);
        let name = Name::of(&files.chain[0])
            .map_err(|reason| IdentityError::Certificate { path, reason })?;
        if name.role != role {
            return Err(IdentityError::Role { name, needed: role });
        }
        let authority = files.authority.iter().map(|certificate| {
            anchor_from_trusted_cert(certificate)
                .map(|anchor| anchor.to_owned())
                .map_err(|error| wrong(dir.join("authority.pem"), &error))
        });
        let revoked = files.revoked.map(|list| {
            OwnedCertRevocationList::from_der(&list)
                .map(CertRevocationList::Owned)
                .map_err(|error| wrong(dir.join(REVOKED), &error))
        });
        Ok(Arc::new(Self {
            name,
            authority: authority.collect::<Result<_, _>>()?,
            revoked: revoked.transpose()?,
            chain: files.chain,
            key: files.key,
        }))
    }

    pub fn name(&self) -> &Name {
        &self.name
    }

    /// The certificate of this process, and those between it and the authority.
    pub fn chain(&self) -> &[CertificateDer<'static>] {
        &self.chain
    }

    /// Verifies that a certificate is of this run's authority, valid now, and not revoked.
    pub(crate) fn verify(
        &self,
        certificate: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
        usage: impl ExtendedKeyUsageValidator,
    ) -> Result<(), webpki::Error> {
        if intermediates.len() > MAX_INTERMEDIATES {
            return Err(webpki::Error::MaximumPathDepthExceeded);
        }
        let lists: Vec<_> = self.revoked.iter().collect();
        let revocation = RevocationOptionsBuilder::new(&lists).ok();
        EndEntityCert::try_from(certificate)?.verify_for_usage(
            ALL_VERIFICATION_ALGS,
            &self.authority,
            intermediates,
            now,
            usage,
            revocation.map(|options| options.with_depth(RevocationCheckDepth::EndEntity).build()),
            None,
        )?;
        Ok(())
    }

    /// Who holds a certificate, which the handshake found to be of the authority. The error says
    /// why it may not be used in this run.
    pub fn recognize(&self, certificate: &CertificateDer<'_>) -> Result<Name, String> {
        let name = Name::of(certificate)?;
        if name.run != self.name.run {
            return Err(format!(
                "the certificate {name} is not of the run {}",
                self.name.run
            ));
        }
        Ok(name)
    }
}

fn wrong(path: PathBuf, error: &webpki::Error) -> IdentityError {
    let reason = format!("it cannot be used ({error})");
    IdentityError::File { path, reason }
}
