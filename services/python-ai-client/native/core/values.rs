//! Small values of the protocol, and how they are read from and written to messages.

use pangea_content_hash::Method;
use pangea_wire::schema::{
    dataset_info, figure, join_reply, message, ContentHash, ErrorAction, MessageType,
    MAX_BATCH_SIZE, MAX_CLASS_NAMES, MAX_COLUMNS, MAX_DETAIL_BYTES, MAX_SHARDS, MAX_VOCABULARY,
};
use pangea_wire::{TensorSpec, WireError};

use crate::error::CoreError;

/// Length of a SHA-256 and of a content hash.
pub(crate) const HASH_BYTES: usize = 32;
/// Longest name or identifier of any kind that a service may send: no field's own limit is larger.
const MAX_TEXT_BYTES: u32 = 4096;
/// Longest pause that a service may ask for.
const MAX_RETRY_AFTER_SECONDS: f64 = 600.0;

/// One feature column of a table, as it was before preprocessing.
#[derive(Clone, Debug, PartialEq)]
pub struct Column {
    /// Empty where the table has no header.
    pub name: String,
    pub mean: f64,
    pub deviation: f64,
}

/// What a data service serves.
#[derive(Clone, Debug, PartialEq)]
pub struct DatasetInfo {
    pub name: String,
    pub hash: Vec<u8>,
    pub train_samples: u64,
    pub held_out_samples: u64,
    pub classes: u32,
    /// Of one sample, without the batch dimension.
    pub features: TensorSpec,
    pub labels: TensorSpec,
    /// Of a table; empty otherwise.
    pub columns: Vec<Column>,
    /// What each class is called in the raw data; empty where the labels are numbers already.
    pub class_names: Vec<String>,
    /// The byte that each token of a text stands for; empty otherwise.
    pub vocabulary: Vec<u8>,
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
            columns: read_columns(reader)?,
            class_names: read_class_names(reader)?,
            vocabulary: read_vocabulary(reader)?,
        })
    }

    /// Writes what identifies the data: the orchestrator does not need the meaning of columns,
    /// classes and tokens.
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

fn read_columns(info: dataset_info::Reader<'_>) -> Result<Vec<Column>, WireError> {
    let columns = info.get_columns()?;
    at_most("DatasetInfo.columns", columns.len() as usize, MAX_COLUMNS)?;
    columns
        .iter()
        .map(|column| {
            Ok(Column {
                name: text(column.get_name()?, "the name of a column")?,
                mean: column.get_mean(),
                deviation: column.get_deviation(),
            })
        })
        .collect()
}

fn read_class_names(info: dataset_info::Reader<'_>) -> Result<Vec<String>, WireError> {
    let names = info.get_class_names()?;
    at_most(
        "DatasetInfo.classNames",
        names.len() as usize,
        MAX_CLASS_NAMES,
    )?;
    names
        .iter()
        .map(|name| text(name?, "the name of a class"))
        .collect()
}

fn read_vocabulary(info: dataset_info::Reader<'_>) -> Result<Vec<u8>, WireError> {
    let vocabulary = info.get_vocabulary()?;
    at_most("DatasetInfo.vocabulary", vocabulary.len(), MAX_VOCABULARY)?;
    Ok(vocabulary.to_vec())
}

/// Refuses a list or text that is longer than the schema allows.
pub(crate) fn at_most(field: &'static str, found: usize, limit: u32) -> Result<(), WireError> {
    if found > limit as usize {
        let reason = format!("has the length {found}, the limit is {limit}");
        return Err(WireError::Field { field, reason });
    }
    Ok(())
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
    /// Shards of a step are merged until each has at least this many samples.
    pub min_shard_samples: u32,
    /// Whether an epoch leaves out the samples that do not fill a batch.
    pub drop_last: bool,
    /// Of parameters, aggregates and batches.
    pub content_hash: Method,
    pub step: u64,
    pub total_steps: u64,
}

impl JoinReply {
    pub(crate) fn read(reader: join_reply::Reader<'_>) -> Result<Self, WireError> {
        let settings = reader.get_settings()?;
        let (shards, batch_size) = (settings.get_shards(), settings.get_batch_size());
        if !shards.is_power_of_two() || shards > MAX_SHARDS {
            return Err(WireError::Field {
                field: "RunSettings.shards",
                reason: format!("is {shards}; it must be a power of two from 1 to {MAX_SHARDS}"),
            });
        }
        if !(1..=MAX_BATCH_SIZE).contains(&batch_size) {
            return Err(WireError::Field {
                field: "RunSettings.batchSize",
                reason: format!("is {batch_size}; it must be from 1 to {MAX_BATCH_SIZE}"),
            });
        }
        Ok(Self {
            run_id: text(reader.get_run_id()?, "the run id")?,
            worker_id: reader.get_worker_id(),
            seed: settings.get_seed(),
            shards,
            batch_size,
            epochs: settings.get_epochs(),
            min_shard_samples: settings.get_min_shard_samples(),
            drop_last: settings.get_drop_last(),
            content_hash: content_hash(settings.get_content_hash())?,
            step: reader.get_step(),
            total_steps: reader.get_total_steps(),
        })
    }
}

fn content_hash(method: Result<ContentHash, capnp::NotInSchema>) -> Result<Method, WireError> {
    let method = method.map_err(|unknown| WireError::Unsupported {
        what: "content hash",
        value: unknown.0,
    })?;
    Ok(method.into())
}

/// What went into the gradient sum of one shard.
#[derive(Clone, Debug, PartialEq)]
pub struct ShardReport {
    pub shard: u32,
    pub samples: u32,
    /// The loss times `weight`; with `summed`, the loss.
    pub loss_sum: f64,
    pub batch_hash: Vec<u8>,
    /// What the gradient was multiplied by: finite, at least 0.
    pub weight: f64,
    /// Whether the loss is a sum, not a mean.
    pub summed: bool,
    /// Why the run is to end after this step; empty if it is not.
    pub stop: String,
    pub figures: Vec<Figure>,
}

/// A number that a script logs.
#[derive(Clone, Debug, PartialEq)]
pub struct Figure {
    pub name: String,
    pub value: f64,
}

pub(crate) fn write_figures(
    mut list: capnp::struct_list::Builder<'_, figure::Owned>,
    figures: &[Figure],
) {
    for (figure, index) in figures.iter().zip(0..) {
        let mut to = list.reborrow().get(index);
        to.set_name(figure.name.as_str());
        to.set_value(figure.value);
    }
}

/// Where a worker's time went since its last work request, in seconds.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Timings {
    pub data: f64,
    pub compute: f64,
    pub exchange: f64,
}

/// The error in an `ErrorReply`. An action of a newer schema becomes the safest one, `stop`.
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
        detail: detail(error.get_detail()?, "the detail of an error")?,
        refused: error.get_refused().unwrap_or(MessageType::Unspecified),
        retry_after_seconds: pause(error.get_retry_after()),
    })
}

/// A pause that a caller can sleep: no service keeps a worker longer, whatever it sends.
fn pause(seconds: f64) -> f64 {
    if seconds.is_nan() {
        return 0.0;
    }
    seconds.clamp(0.0, MAX_RETRY_AFTER_SECONDS)
}

/// A name or an identifier.
pub(crate) fn text(
    text: capnp::text::Reader<'_>,
    field: &'static str,
) -> Result<String, WireError> {
    at_most(field, text.len(), MAX_TEXT_BYTES)?;
    match text.to_str() {
        Ok(text) => Ok(text.to_owned()),
        Err(_) => Err(WireError::NotUtf8 { field }),
    }
}

/// An explanation for people, cut where it is too long to be read.
pub(crate) fn detail(
    text: capnp::text::Reader<'_>,
    field: &'static str,
) -> Result<String, WireError> {
    let text = text.to_str().map_err(|_| WireError::NotUtf8 { field })?;
    let end = (0..=text.len().min(MAX_DETAIL_BYTES as usize))
        .rev()
        .find(|end| text.is_char_boundary(*end));
    let cut = &text[..end.unwrap_or(0)];
    let rest = if cut.len() < text.len() { "..." } else { "" };
    Ok(format!("{cut}{rest}"))
}

pub(crate) fn hash(bytes: &[u8], what: &'static str) -> Result<Vec<u8>, WireError> {
    if bytes.len() != HASH_BYTES {
        return Err(WireError::Field {
            field: what,
            reason: format!("has {} bytes, a hash has {HASH_BYTES}", bytes.len()),
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
        "{what} has {} bytes, a hash has {HASH_BYTES}",
        bytes.len()
    )))
}

#[cfg(test)]
#[path = "values_test.rs"]
mod tests;
