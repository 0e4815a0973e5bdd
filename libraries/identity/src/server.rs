//! The side that is connected to.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{verify_tls13_signature, WebPkiSupportedAlgorithms};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::server::{NoServerSessionStorage, WantsServerCert};
use rustls::version::TLS13;
use rustls::{
    ConfigBuilder, DigitallySignedStruct, DistinguishedName, Error, ServerConfig, SignatureScheme,
    WantsVerifier,
};
use webpki::KeyUsage;

use crate::identity::Identity;
use crate::tls::{certificate_error, only_tls13, provider};

impl Identity {
    /// For connections of workers: who has no certificate of the authority is refused. Whether it
    /// is a worker's is for [`recognize`](Self::recognize).
    pub fn workers_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        let verifier = ClientVerifier {
            identity: Arc::clone(self),
            algorithms: provider().signature_verification_algorithms,
        };
        self.finish(builder()?.with_client_cert_verifier(Arc::new(verifier)))
    }

    /// For pages that everybody may read.
    pub fn pages_config(self: &Arc<Self>) -> Result<Arc<ServerConfig>, Error> {
        self.finish(builder()?.with_no_client_auth())
    }

    fn finish(
        &self,
        builder: ConfigBuilder<ServerConfig, WantsServerCert>,
    ) -> Result<Arc<ServerConfig>, Error> {
        let mut config = builder.with_single_cert(self.chain.clone(), self.key.clone_key())?;
        // A session that is resumed would outlive the certificate that it began with.
        config.send_tls13_tickets = 0;
        config.session_storage = Arc::new(NoServerSessionStorage {});
        Ok(Arc::new(config))
    }

    /// Whether the authority has revoked a client's certificate since it connected.
    pub fn is_revoked(&self, chain: &[CertificateDer<'_>]) -> bool {
        let Some((certificate, intermediates)) = chain.split_first() else {
            return true;
        };
        let now = UnixTime::now();
        let verified = self.verify(certificate, intermediates, now, KeyUsage::client_auth());
        matches!(verified, Err(webpki::Error::CertRevoked))
    }
}

fn builder() -> Result<ConfigBuilder<ServerConfig, WantsVerifier>, Error> {
    ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[&TLS13])
}

struct ClientVerifier {
    identity: Arc<Identity>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl fmt::Debug for ClientVerifier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientVerifier").finish_non_exhaustive()
    }
}

impl ClientCertVerifier for ClientVerifier {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        self.identity
            .verify(end_entity, intermediates, now, KeyUsage::client_auth())
            .map_err(certificate_error)?;
        Ok(ClientCertVerified::assertion())
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
