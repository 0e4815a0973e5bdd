//! Small values of the protocol, read from and written to messages.

use pangea_wire::schema::{dataset_info, join_reply, message, ErrorAction, MessageType};
use pangea_wire::{TensorSpec, WireError};

use crate::CoreError;

/// Bytes of a SHA-256.
pub(crate) const HASH_BYTES: usize = 32;

/// What a data service serves.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DatasetInfo {
    pub name: String,
    pub hash: Vec<u8>,
    pub train_samples: u64,
    pub held_out_samples: u64,
    pub classes: u32,
    /// Of one sample, without the batch dimension.
    pub features: TensorSpec,
    pub labels: TensorSpec,
}

impl DatasetInfo {
    pub(crate) fn read(reader: dataset_info::Reader<'_>) -> Result<Self, WireError> {
        Ok(Self {
            name: text(reader.get_name()?, "the name of the dataset")?,
            hash: hash(reader.get_hash()?, "DatasetInfo.hash")?,
            train_samples: reader.get_train_samples(),
            held_out_samples: reader.get_held_out_samples(),
            classes: reader.get_classes(),
            features: TensorSpec::read(reader.get_features()?)?,
            labels: TensorSpec::read(reader.get_labels()?)?,
        })
    }

    pub(crate) fn write(&self, mut builder: dataset_info::Builder<'_>) -> Result<(), WireError> {
        builder.set_name(self.name.as_str());
        builder.set_hash(&self.hash);
        builder.set_train_samples(self.train_samples);
        builder.set_held_out_samples(self.held_out_samples);
        builder.set_classes(self.classes);
        self.features.write(builder.reborrow().init_features())?;
        self.labels.write(builder.init_labels())
    }
}

/// What a worker learns when it joins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct JoinReply {
    pub run_id: String,
    pub worker_id: u32,
    pub seed: u64,
    pub shards: u32,
    pub batch_size: u32,
    pub epochs: u32,
    pub step: u64,
    pub total_steps: u64,
}

impl JoinReply {
    pub(crate) fn read(reader: join_reply::Reader<'_>) -> Result<Self, WireError> {
        let settings = reader.get_settings()?;
        Ok(Self {
            run_id: text(reader.get_run_id()?, "the run id")?,
            worker_id: reader.get_worker_id(),
            seed: settings.get_seed(),
            shards: settings.get_shards(),
            batch_size: settings.get_batch_size(),
            epochs: settings.get_epochs(),
            step: reader.get_step(),
            total_steps: reader.get_total_steps(),
        })
    }
}

/// What went into the gradient sum of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardReport {
    pub shard: u32,
    pub samples: u32,
    pub loss_sum: f64,
    pub batch_hash: Vec<u8>,
}

/// Where a worker's time went since its last request for work.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Seconds {
    pub data: f64,
    pub compute: f64,
    pub exchange: f64,
}

/// The name of an action in the schema.
pub fn action_name(action: ErrorAction) -> &'static str {
    match action {
        ErrorAction::Unspecified => "unspecified",
        ErrorAction::FixRequest => "fixRequest",
        ErrorAction::RetryLater => "retryLater",
        ErrorAction::Reconnect => "reconnect",
        ErrorAction::Resync => "resync",
        ErrorAction::Stop => "stop",
    }
}

/// The error that an `ErrorReply` stands for. An action of a newer schema is taken as the safest one, `stop`.
pub(crate) fn read_error(root: message::Reader<'_>) -> Result<CoreError, WireError> {
    let Ok(message::ErrorReply(error)) = root.which() else {
        return Err(WireError::MalformedHeader(
            "an error reply without an error",
        ));
    };
    let error = error?;
    Ok(CoreError::Peer {
        action: match error.get_action() {
            Ok(ErrorAction::Unspecified) | Err(_) => ErrorAction::Stop,
            Ok(action) => action,
        },
        detail: text(error.get_detail()?, "the detail of an error")?,
        refused: error.get_refused().unwrap_or(MessageType::Unspecified),
        retry_after_seconds: error.get_retry_after(),
    })
}

pub(crate) fn text(
    text: capnp::text::Reader<'_>,
    field: &'static str,
) -> Result<String, WireError> {
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(WireError::NotUtf8 { field }),
    }
}

pub(crate) fn hash(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, WireError> {
    if bytes.len() != HASH_BYTES {
        return Err(WireError::Field {
            field: what,
            reason: format!("has {} bytes, a SHA-256 has {HASH_BYTES}", bytes.len()),
        });
    }
    Ok(bytes.to_vec())
}

/// Checks a hash that is to be sent.
pub(crate) fn check_hash(bytes: &[u8], what: &str) -> Result<(), CoreError> {
    if bytes.len() == HASH_BYTES {
        return Ok(());
    }
    Err(CoreError::Argument(format!(
        "{what} has {} bytes, a SHA-256 has {HASH_BYTES}",
        bytes.len()
    )))
}
