//! How a call of the worker can fail.

use pangea_wire::schema::{ErrorAction, MessageType};
use pangea_wire::{SchemaName, WireError};

use crate::link::is_about_identity;

#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The caller passed something that cannot be sent.
    #[error("{0}")]
    Argument(String),
    /// Nobody answered at the address in time.
    #[error(
        "cannot connect to {address} within {seconds} s: {reason}; is the service running there?"
    )]
    Connect {
        address: String,
        seconds: f64,
        reason: String,
    },
    /// This process and the peer do not accept each other. A person has to act.
    #[error("connection to {address}: {reason}")]
    Identity { address: String, reason: String },
    /// No replica of a service could be reached for that long. Reconnecting continues; a later call
    /// may succeed.
    #[error(
        "no data service was reachable for {seconds} s at {addresses} ({errors}); is one running there?"
    )]
    Unreachable {
        addresses: String,
        seconds: f64,
        errors: String,
    },
    /// The replicas answer, but none of them can be used: they serve different data, or something
    /// else altogether. A person has to act.
    #[error("connection to {addresses}: {reason}")]
    Unusable { addresses: String, reason: String },
    /// This program closed the connection.
    #[error("connection to {address}: {reason}")]
    Closed { address: String, reason: String },
    /// The connection failed and cannot be used any more; open a new one.
    #[error("connection to {address}: {source}")]
    Wire { address: String, source: WireError },
    /// The same, where the cause is not in the frames. For example: the peer closed it.
    #[error("connection to {address}: {reason}")]
    Lost { address: String, reason: String },
    /// The peer's reply breaks the protocol.
    #[error("{address} broke the protocol: {reason}")]
    Protocol { address: String, reason: String },
    /// The peer refused the request and says what to do.
    #[error("{}: {detail}", action.schema_name())]
    Peer {
        action: ErrorAction,
        detail: String,
        refused: MessageType,
        retry_after_seconds: f64,
    },
    /// The waiter ended the wait.
    #[error("interrupted")]
    Interrupted,
}

/// What went wrong, for a caller that decides what to do next.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorKind {
    /// Nobody answered at the address in time.
    Connect,
    /// No replica has been reachable for the whole patience.
    Unreachable,
    /// Replicas answer, but serve different data or something else.
    Unusable,
    /// This program closed the connection.
    Closed,
    /// The connection was lost: the peer closed it, or the system reported an error.
    Lost,
    /// The peer made no progress within the time-out.
    Stalled,
    /// The peer sent something that breaks the schema's rules.
    Protocol,
    /// A limit was exceeded.
    Limit,
    /// The peer is newer and used a value that this program does not know.
    Unsupported,
    /// The system refused memory.
    Memory,
    /// The peer refused the request.
    Refused,
    /// This process and the peer do not accept each other: another authority or role, a certificate
    /// that has expired or is revoked, TLS on one side alone.
    Identity,
}

impl ErrorKind {
    pub const ALL: [Self; 12] = [
        Self::Connect,
        Self::Unreachable,
        Self::Unusable,
        Self::Closed,
        Self::Lost,
        Self::Stalled,
        Self::Protocol,
        Self::Limit,
        Self::Unsupported,
        Self::Memory,
        Self::Refused,
        Self::Identity,
    ];

    /// The name in Python: `WireError.kind`, `PeerError.kind`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Connect => "connect",
            Self::Unreachable => "unreachable",
            Self::Unusable => "unusable",
            Self::Closed => "closed",
            Self::Lost => "lost",
            Self::Stalled => "stalled",
            Self::Protocol => "protocol",
            Self::Limit => "limit",
            Self::Unsupported => "unsupported",
            Self::Memory => "memory",
            Self::Refused => "refused",
            Self::Identity => "identity",
        }
    }
}

impl CoreError {
    /// `None` for errors that are not about a peer: wrong arguments and interrupted waits.
    pub fn kind(&self) -> Option<ErrorKind> {
        Some(match self {
            Self::Argument(_) | Self::Interrupted => return None,
            Self::Connect { .. } => ErrorKind::Connect,
            Self::Identity { .. } => ErrorKind::Identity,
            Self::Unreachable { .. } => ErrorKind::Unreachable,
            Self::Unusable { .. } => ErrorKind::Unusable,
            Self::Closed { .. } => ErrorKind::Closed,
            Self::Lost { .. } => ErrorKind::Lost,
            Self::Protocol { .. } => ErrorKind::Protocol,
            Self::Peer { .. } => ErrorKind::Refused,
            Self::Wire { source, .. } => match source {
                WireError::Io { source, .. } if is_about_identity(source) => ErrorKind::Identity,
                WireError::Io { .. } | WireError::Truncated { .. } => ErrorKind::Lost,
                WireError::Stalled { .. } => ErrorKind::Stalled,
                WireError::LimitExceeded { .. } => ErrorKind::Limit,
                WireError::Unsupported { .. } => ErrorKind::Unsupported,
                WireError::OutOfMemory { .. } => ErrorKind::Memory,
                WireError::MalformedHeader(_)
                | WireError::BufferOverrun { .. }
                | WireError::Message(_)
                | WireError::NotUtf8 { .. }
                | WireError::Field { .. }
                | WireError::TypeMismatch { .. }
                | WireError::Tensor { .. }
                | WireError::Attachment { .. } => ErrorKind::Protocol,
            },
        })
    }

    /// Whether the connection may be used after this error. The late reply to an interrupted
    /// request is skipped when it arrives.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        matches!(
            self,
            Self::Argument(_) | Self::Peer { .. } | Self::Interrupted
        )
    }
}
