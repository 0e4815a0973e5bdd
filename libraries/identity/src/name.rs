//! Names in certificates: `pangea://RUN/ROLE/NAME`.

use std::fmt;

use rustls::pki_types::CertificateDer;
use webpki::EndEntityCert;

/// What the holder of a certificate is to a run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    Orchestrator,
    Data,
    Worker,
    Admin,
    Viewer,
}

impl Role {
    const ALL: [Self; 5] = [
        Self::Orchestrator,
        Self::Data,
        Self::Worker,
        Self::Admin,
        Self::Viewer,
    ];

    /// As it is written in a certificate.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Orchestrator => "orchestrator",
            Self::Data => "data",
            Self::Worker => "worker",
            Self::Admin => "admin",
            Self::Viewer => "viewer",
        }
    }

    /// The process, for people.
    pub fn process(self) -> &'static str {
        match self {
            Self::Data => "data service",
            other => other.as_str(),
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Who holds a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Name {
    /// The label of the run that the authority was made for.
    pub run: String,
    pub role: Role,
    pub name: String,
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "pangea://{}/{}/{}", self.run, self.role, self.name)
    }
}

impl Name {
    /// Reads the name out of a certificate: its one URI. The error says what is wrong with it.
    pub fn of(certificate: &CertificateDer<'_>) -> Result<Self, String> {
        let parsed = EndEntityCert::try_from(certificate);
        let parsed = parsed.map_err(|error| format!("it is not a certificate ({error})"))?;
        let uris: Vec<_> = parsed.valid_uri_names().collect();
        match uris[..] {
            [uri] => Self::parse(uri).ok_or_else(|| {
                let start: String = uri.chars().take(100).collect();
                format!(
                    "the certificate's URI is {start:?}; Pangea's are pangea://RUN/ROLE/NAME, where \
                    names have letters, digits, - _ and .; make certificates with `pangea certs`"
                )
            }),
            _ => Err(format!(
                "the certificate has {} URIs; Pangea's have one, pangea://RUN/ROLE/NAME; \
                make certificates with `pangea certs`",
                uris.len()
            )),
        }
    }

    fn parse(uri: &str) -> Option<Self> {
        let mut parts = uri.strip_prefix("pangea://")?.split('/');
        let (run, role, name) = (parts.next()?, parts.next()?, parts.next()?);
        let role = Role::ALL.into_iter().find(|known| known.as_str() == role)?;
        let named = is_name(name, 128) || (name == "*" && role == Role::Worker);
        let of_run = is_name(run, 63) && run.ends_with(|end: char| end.is_ascii_alphanumeric());
        (parts.next().is_none() && named && of_run).then(|| Self {
            run: run.to_owned(),
            role,
            name: name.to_owned(),
        })
    }
}

/// What a run or a holder may be called: what has one form in a URI, whoever reads it.
fn is_name(text: &str, bytes: usize) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    text.len() <= bytes
        && text.bytes().all(allowed)
        && text.starts_with(|first: char| first.is_ascii_alphanumeric())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        let name = Name::parse("pangea://run-1/worker/w-1").expect("valid");
        assert_eq!((name.role, name.name.as_str()), (Role::Worker, "w-1"));
        assert_eq!(name.to_string(), "pangea://run-1/worker/w-1");
        for wrong in [
            "https://r/worker/w",
            "pangea://r/worker",
            "pangea://r/worker/",
            "pangea:///worker/w",
            "pangea://r/king/w",
            "pangea://r/worker/w/x",
            // Others might read a different name in these.
            "pangea://r/worker/%77",
            "pangea://r/worker/w?x",
            "pangea://r/worker/w#x",
            "pangea://r/worker/w ",
            "pangea://u@r/worker/w",
            "pangea://r:1/worker/w",
            "pangea://r./worker/w",
            "Pangea://r/worker/w",
            "pangea://r/data/*",
        ] {
            assert!(Name::parse(wrong).is_none(), "{wrong}");
        }
    }
}
