//! What a call of the worker can come to, other than its result.

use pangea_wire::schema::{ErrorAction, MessageType};
use pangea_wire::WireError;

#[derive(Debug, thiserror::Error)]
pub enum CoreError {
    /// The caller gave something that cannot be sent.
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
    /// No replica of a service could be reached for that long. They are still tried; a later call may succeed.
    #[error(
        "no data service was reachable for {seconds} s at {addresses} ({troubles}); is one running there?"
    )]
    Unreachable {
        addresses: String,
        seconds: f64,
        troubles: String,
    },
    /// The connection is of no more use; open a new one.
    #[error("connection to {address}: {source}")]
    Wire { address: String, source: WireError },
    /// The same, where the cause is not in the frames. For example: the peer closed it.
    #[error("connection to {address}: {reason}")]
    Lost { address: String, reason: String },
    /// The peer answered against the protocol.
    #[error("{address} broke the protocol: {reason}")]
    Protocol { address: String, reason: String },
    /// The peer refused the request and says what to do.
    #[error("{}: {detail}", crate::values::action_name(*action))]
    Peer {
        action: ErrorAction,
        detail: String,
        refused: MessageType,
        retry_after_seconds: f64,
    },
    /// The waiter wanted to stop.
    #[error("interrupted")]
    Interrupted,
}

impl CoreError {
    /// Whether the connection may be used after this error. A reply whose wait was interrupted is skipped when it comes.
    pub(crate) fn leaves_connection_usable(&self) -> bool {
        matches!(
            self,
            Self::Argument(_) | Self::Peer { .. } | Self::Interrupted
        )
    }
}
