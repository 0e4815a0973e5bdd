//! The envelope of every message: the announced type must match the member of the union that is
//! set.

use crate::schema::{message, MessageType};
use crate::{SchemaName, WireError};

/// The type of a message, after checking that the announced type and the set union member agree.
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
        message::SharedRegion(_) => MessageType::SharedRegion,
    };
    if announced != present {
        return Err(WireError::TypeMismatch {
            announced: announced.schema_name(),
            present: present.schema_name(),
        });
    }
    Ok(present)
}
