//! The errors of the wire: each says what went wrong, and where.

use std::io;

/// A frame or message that cannot be read or written. The connection it came from is no longer
/// usable, except after [`WireError::Tensor`] and [`WireError::Unsupported`], which concern one
/// well-framed message.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// The peer, or our own caller, asks for more than a limit allows. Nothing was allocated for
    /// it.
    #[error("{what}: {asked} asked for, the limit is {limit}")]
    LimitExceeded {
        /// What is limited, with its unit.
        what: &'static str,
        asked: u64,
        limit: u64,
    },
    /// The segment table does not describe a message.
    #[error("malformed frame header: {0}")]
    MalformedHeader(&'static str),
    /// The stream ended inside a frame.
    #[error("connection closed inside a frame, {received} of {expected} bytes after its start")]
    Truncated { received: u64, expected: u64 },
    /// The system refused memory.
    #[error("no memory for a buffer of {bytes} bytes")]
    OutOfMemory { bytes: usize },
    /// More bytes were put into a buffer than it was made for.
    #[error("buffer overrun: {extra} bytes more than the {capacity} bytes it was made for")]
    BufferOverrun { capacity: usize, extra: usize },
    /// The bytes in the frame are not a valid Cap'n Proto message.
    #[error("malformed message: {0}")]
    Message(#[from] capnp::Error),
    /// A text in the message is not UTF-8.
    #[error("malformed message: {field} is not UTF-8")]
    NotUtf8 { field: &'static str },
    /// A field breaks the rules of the schema.
    #[error("malformed message: {field} {reason}")]
    Field { field: &'static str, reason: String },
    /// An enum value or union member of a newer schema.
    #[error(
        "unsupported: {what} has the unknown value {value}; the peer is newer than this program"
    )]
    Unsupported { what: &'static str, value: u16 },
    /// `Message.type` and the set member of the union do not agree.
    #[error("malformed message: type {announced} does not agree with the union member {present}")]
    TypeMismatch {
        announced: &'static str,
        present: &'static str,
    },
    /// A tensor breaks the rules of the schema or differs from what was agreed.
    #[error("tensor `{name}`: {reason}")]
    Tensor { name: String, reason: String },
    /// A slot for external data is not a null pointer of the message it is used with.
    #[error("attachment {index}: {reason}")]
    Attachment { index: usize, reason: &'static str },
    /// Reading or writing failed.
    #[error("{doing}: {source}")]
    Io {
        doing: &'static str,
        source: io::Error,
    },
    /// A peer stopped in the middle of a frame.
    #[error("no progress for {seconds} s while {doing}")]
    Stalled { doing: &'static str, seconds: f64 },
}

impl WireError {
    pub(crate) fn tensor(name: &str, reason: impl Into<String>) -> Self {
        Self::Tensor {
            name: name.to_owned(),
            reason: reason.into(),
        }
    }
}
