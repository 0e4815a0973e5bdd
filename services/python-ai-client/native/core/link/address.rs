//! Addresses as people write them: `host:port`, `unix:/path`, or several of one service with `|`
//! between them.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::error::CoreError;

/// One way to reach a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    /// Of a host and a port, such as `localhost:8080`.
    Tcp(String),
    /// The absolute path of a socket on this machine.
    Unix(PathBuf),
}

impl Endpoint {
    fn parse(text: &str) -> Option<Self> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = Path::new(path);
            return path.is_absolute().then(|| Self::Unix(path.to_owned()));
        }
        let (_, port) = text.rsplit_once(':')?;
        port.parse::<u16>().ok()?;
        Some(Self::Tcp(text.to_owned()))
    }

    /// Whether it is a socket of this machine alone.
    pub(crate) fn is_local(&self) -> bool {
        matches!(self, Self::Unix(_))
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tcp(address) => f.write_str(address),
            Self::Unix(path) => write!(f, "unix:{}", path.display()),
        }
    }
}

/// The ways to reach one service, in the order in which they are tried; at least one.
pub(crate) fn endpoints(address: &str) -> Result<Vec<Endpoint>, CoreError> {
    let parse = |text: &str| {
        Endpoint::parse(text.trim()).ok_or_else(|| {
            CoreError::Argument(format!(
                "address `{text}` is not host:port, such as 127.0.0.1:8080, or unix:/path"
            ))
        })
    };
    address.split('|').map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_may_be_reached_in_several_ways() {
        let found = endpoints("unix:/run/data.sock | [::1]:80").expect("valid");
        let written: Vec<_> = found.iter().map(Endpoint::to_string).collect();
        assert_eq!(written, ["unix:/run/data.sock", "[::1]:80"]);
    }

    #[test]
    fn what_is_no_address_is_quoted() {
        for wrong in [
            "",
            "host",
            "host:many",
            "unix:relative",
            "host:1|",
            "unix:/a|x",
        ] {
            let error = endpoints(wrong).expect_err("refused").to_string();
            assert!(error.contains("is not host:port"), "{wrong}: {error}");
        }
    }
}
