//! Configurations of rustls for both sides: TLS 1.3 alone, no session that would outlive its
//! certificates.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::Resumption;
use rustls::crypto::{ring, verify_tls13_signature, CryptoProvider, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, OtherError, PeerIncompatible,
    SignatureScheme,
};
use webpki::KeyUsage;

use crate::identity::Identity;
use crate::name::Role;

/// The algorithms. AES-128-GCM first, which is the fastest one with instructions for it.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(CryptoProvider {
        cipher_suites: vec![
            ring::cipher_suite::TLS13_AES_128_GCM_SHA256,
            ring::cipher_suite::TLS13_AES_256_GCM_SHA384,
            ring::cipher_suite::TLS13_CHACHA20_POLY1305_SHA256,
        ],
        ..ring::default_provider()
    })
}

impl Identity {
    /// For connecting to a process of a role. The role in its certificate counts, not the name of
    /// its host: processes move.
    pub fn client_config(self: &Arc<Self>, peer: Role) -> Result<Arc<ClientConfig>, Error> {
        let provider = provider();
        let verifier = ServerVerifier {
            identity: Arc::clone(self),
            algorithms: provider.signature_verification_algorithms,
            role: peer,
        };
        let mut config = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&[&TLS13])?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(verifier))
            .with_client_auth_cert(self.chain.clone(), self.key.clone_key())?;
        config.resumption = Resumption::disabled();
        Ok(Arc::new(config))
    }
}

/// What is wrong with a certificate, as the alert to its owner says it.
pub(crate) fn certificate_error(error: webpki::Error) -> Error {
    Error::InvalidCertificate(match error {
        webpki::Error::CertExpired { .. } => CertificateError::Expired,
        webpki::Error::CertNotValidYet { .. } => CertificateError::NotValidYet,
        webpki::Error::CertRevoked => CertificateError::Revoked,
        // Two authorities may have the same name.
        webpki::Error::UnknownIssuer | webpki::Error::InvalidSignatureForPublicKey => {
            CertificateError::UnknownIssuer
        }
        webpki::Error::BadDer => CertificateError::BadEncoding,
        other => CertificateError::Other(OtherError(Arc::new(other))),
    })
}

/// TLS 1.2 is not offered.
pub(crate) fn only_tls13() -> Error {
    Error::PeerIncompatible(PeerIncompatible::Tls12NotOfferedOrEnabled)
}

/// A certificate that may not be used for what it is used for.
#[derive(Debug)]
struct Misused(String);

impl fmt::Display for Misused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Misused {}

struct ServerVerifier {
    identity: Arc<Identity>,
    algorithms: WebPkiSupportedAlgorithms,
    role: Role,
}

impl fmt::Debug for ServerVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServerVerifier")
            .field("role", &self.role)
            .finish_non_exhaustive()
    }
}

impl ServerVerifier {
    fn check_role(&self, certificate: &CertificateDer<'_>) -> Result<(), String> {
        let name = self.identity.recognize(certificate)?;
        if name.role == self.role {
            return Ok(());
        }
        Err(format!(
            "the certificate {name} of the other side has role {}, but this is the address of the {}",
            name.role,
            self.role.process()
        ))
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        self.identity
            .verify(end_entity, intermediates, now, KeyUsage::server_auth())
            .map_err(certificate_error)?;
        self.check_role(end_entity).map_err(|reason| {
            let other = OtherError(Arc::new(Misused(reason)));
            Error::InvalidCertificate(CertificateError::Other(other))
        })?;
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(only_tls13())
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
