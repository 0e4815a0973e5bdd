//! Handshakes that fail, in words that say what to do.

use rustls::{AlertDescription, CertificateError, Error};

use crate::name::Role;

/// What is wrong between this process and a peer of a role, or `None` for an error that has nothing
/// to do with who they are.
pub fn explain(error: &Error, peer: Role) -> Option<String> {
    let peer = peer.process();
    Some(match error {
        Error::AlertReceived(alert) => refused(*alert, peer)?,
        Error::InvalidCertificate(error) => distrusted(error, peer),
        Error::InvalidMessage(_) => format!(
            "the {peer} does not speak TLS; start it with --identity, or leave out this process's \
            (PANGEA_IDENTITY)"
        ),
        Error::PeerIncompatible(_) => {
            format!("what answers does not speak TLS 1.3; is it a {peer} of this release?")
        }
        _ => return None,
    })
}

/// The peer refuses this process.
fn refused(alert: AlertDescription, peer: &str) -> Option<String> {
    Some(match alert {
        AlertDescription::UnknownCA => format!(
            "the {peer} does not know the authority of this process's certificate; use \
            certificates that were made for the same run"
        ),
        AlertDescription::CertificateExpired => format!(
            "the {peer} says that this process's certificate has expired; renew it with \
            `pangea certs`, and compare the clocks of both machines"
        ),
        AlertDescription::CertificateRevoked => format!(
            "the {peer} says that this process's certificate is revoked; ask whoever leads the \
            run for a new one"
        ),
        AlertDescription::CertificateRequired => format!(
            "the {peer} wants a certificate; name the directory of one with --identity \
            (PANGEA_IDENTITY)"
        ),
        AlertDescription::BadCertificate
        | AlertDescription::UnsupportedCertificate
        | AlertDescription::CertificateUnknown
        | AlertDescription::AccessDenied => {
            format!("the {peer} does not accept this process's certificate; its log says why")
        }
        AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure => {
            format!("what answers does not speak TLS 1.3; is it a {peer} of this release?")
        }
        _ => return None,
    })
}

/// This process refuses the peer.
fn distrusted(error: &CertificateError, peer: &str) -> String {
    match error {
        CertificateError::UnknownIssuer => format!(
            "the certificate of the {peer} is not of this run's authority; use certificates that \
            were made for the same run"
        ),
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => format!(
            "the certificate of the {peer} has expired; renew it with `pangea certs`, and compare \
            the clocks of both machines"
        ),
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => format!(
            "the certificate of the {peer} is not valid yet; compare the clocks of both machines"
        ),
        CertificateError::Revoked => format!("the certificate of the {peer} is revoked"),
        CertificateError::Other(other) => other.to_string(),
        other => format!("the certificate of the {peer} cannot be used: {other}"),
    }
}
