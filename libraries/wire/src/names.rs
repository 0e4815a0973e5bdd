//! The names of enum members, as the schema spells them. tests/conformance compares them with the
//! schema and the other languages.

use crate::schema::{ContentHash, DataType, ErrorAction, MessageType, Split, Verdict};

/// An enum of the schema whose members have names.
pub trait SchemaName: Copy {
    /// The name in the schema, which is also the one in logs, metrics and Python.
    fn schema_name(self) -> &'static str;
}

impl SchemaName for DataType {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Float32 => "float32",
            Self::Float64 => "float64",
            Self::Bfloat16 => "bfloat16",
            Self::Float16 => "float16",
            Self::Int32 => "int32",
            Self::Int64 => "int64",
            Self::Uint8 => "uint8",
            Self::Bool => "bool",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
        }
    }
}

impl SchemaName for Split {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::HeldOut => "heldOut",
        }
    }
}

impl SchemaName for ContentHash {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Sha256 => "sha256",
            Self::Xxh3Tree => "xxh3Tree",
        }
    }
}

impl SchemaName for Verdict {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Conflict => "conflict",
            Self::Stale => "stale",
            Self::TooEarly => "tooEarly",
            Self::Refused => "refused",
        }
    }
}

impl SchemaName for ErrorAction {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::FixRequest => "fixRequest",
            Self::RetryLater => "retryLater",
            Self::Reconnect => "reconnect",
            Self::Resync => "resync",
            Self::Stop => "stop",
        }
    }
}

impl SchemaName for MessageType {
    fn schema_name(self) -> &'static str {
        match self {
            Self::Unspecified => "unspecified",
            Self::DatasetRequest => "datasetRequest",
            Self::DatasetInfo => "datasetInfo",
            Self::BatchRequest => "batchRequest",
            Self::TrainingBatch => "trainingBatch",
            Self::JoinRequest => "joinRequest",
            Self::JoinReply => "joinReply",
            Self::WorkRequest => "workRequest",
            Self::ShardLease => "shardLease",
            Self::GradientUpdate => "gradientUpdate",
            Self::GradientAck => "gradientAck",
            Self::Aggregate => "aggregate",
            Self::SnapshotRequest => "snapshotRequest",
            Self::Snapshot => "snapshot",
            Self::RunFinished => "runFinished",
            Self::Leave => "leave",
            Self::ErrorReply => "errorReply",
            Self::Heartbeat => "heartbeat",
            Self::SharedRegion => "sharedRegion",
        }
    }
}
