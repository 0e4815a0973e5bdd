//! The envelope of every message: its announced type must be what it holds.

use crate::schema::{message, MessageType};
use crate::WireError;

/// The type of a message, after checking that the member of the union is the announced one.
pub fn message_type(root: message::Reader<'_>) -> Result<MessageType, WireError> {
    let announced = root.get_type().map_err(|error| WireError::Unsupported {
        what: "message type",
        value: error.0,
    })?;
    let present = match root.which().map_err(|error| WireError::Unsupported {
        what: "message member",
        value: error.0,
    })? {
        message::Unspecified(()) => MessageType::Unspecified,
        message::DatasetRequest(_) => MessageType::DatasetRequest,
        message::DatasetInfo(_) => MessageType::DatasetInfo,
        message::BatchRequest(_) => MessageType::BatchRequest,
        message::TrainingBatch(_) => MessageType::TrainingBatch,
        message::JoinRequest(_) => MessageType::JoinRequest,
        message::JoinReply(_) => MessageType::JoinReply,
        message::WorkRequest(_) => MessageType::WorkRequest,
        message::ShardLease(_) => MessageType::ShardLease,
        message::GradientUpdate(_) => MessageType::GradientUpdate,
        message::GradientAck(_) => MessageType::GradientAck,
        message::Aggregate(_) => MessageType::Aggregate,
        message::SnapshotRequest(_) => MessageType::SnapshotRequest,
        message::Snapshot(_) => MessageType::Snapshot,
        message::RunFinished(_) => MessageType::RunFinished,
        message::Leave(_) => MessageType::Leave,
        message::ErrorReply(_) => MessageType::ErrorReply,
        message::Heartbeat(_) => MessageType::Heartbeat,
    };
    if announced != present {
        return Err(WireError::TypeMismatch {
            announced: name(announced),
            present: name(present),
        });
    }
    Ok(present)
}

/// The name of a message type as the schema spells it.
fn name(kind: MessageType) -> &'static str {
    match kind {
        MessageType::Unspecified => "unspecified",
        MessageType::DatasetRequest => "datasetRequest",
        MessageType::DatasetInfo => "datasetInfo",
        MessageType::BatchRequest => "batchRequest",
        MessageType::TrainingBatch => "trainingBatch",
        MessageType::JoinRequest => "joinRequest",
        MessageType::JoinReply => "joinReply",
        MessageType::WorkRequest => "workRequest",
        MessageType::ShardLease => "shardLease",
        MessageType::GradientUpdate => "gradientUpdate",
        MessageType::GradientAck => "gradientAck",
        MessageType::Aggregate => "aggregate",
        MessageType::SnapshotRequest => "snapshotRequest",
        MessageType::Snapshot => "snapshot",
        MessageType::RunFinished => "runFinished",
        MessageType::Leave => "leave",
        MessageType::ErrorReply => "errorReply",
        MessageType::Heartbeat => "heartbeat",
    }
}
