//! The small replies: the description of the dataset, and refusals.

use pangea_wire::schema::{dataset_info, message, ErrorAction, MessageType};
use pangea_wire::{AlignedBuffer, Attachments, Frame, Limits, WireError};
use rust_compute_dataset::{Dataset, Meaning};

/// How long a worker waits after a refusal because there is not enough memory.
const RETRY_AFTER_SECONDS: f64 = 1.0;

/// Any reply of this service.
pub type Reply = Frame<AlignedBuffer>;

/// The reply to a dataset request.
pub fn dataset_info(
    request_id: u64,
    dataset: &Dataset,
    limits: &Limits,
) -> Result<Reply, WireError> {
    let mut message = capnp::message::Builder::new_default();
    let mut root = message.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::DatasetInfo);
    root.set_request_id(request_id);
    let mut info = root.init_dataset_info();
    info.set_name(dataset.name.as_str());
    info.set_hash(&dataset.hash);
    info.set_train_samples(dataset.split.train.len() as u64);
    info.set_held_out_samples(dataset.split.held_out.len() as u64);
    info.set_classes(dataset.classes);
    let (features, labels) = (&dataset.features.spec, &dataset.labels.spec);
    features.write(info.reborrow().init_features())?;
    labels.write(info.reborrow().init_labels())?;
    describe(info, &dataset.meaning);
    Frame::new(&message, Attachments::new(), limits)
}

fn describe(mut info: dataset_info::Builder<'_>, meaning: &Meaning) {
    // `dataset` and `sources` ensure that there are at most `MAX_COLUMNS` and `MAX_CLASS_NAMES`.
    let mut columns = info.reborrow().init_columns(meaning.columns.len() as u32);
    for (at, column) in (0..).zip(&meaning.columns) {
        let mut entry = columns.reborrow().get(at);
        entry.set_name(column.name.as_str());
        entry.set_mean(column.scale.mean);
        entry.set_deviation(column.scale.deviation);
    }
    let names = &meaning.class_names;
    let mut class_names = info.reborrow().init_class_names(names.len() as u32);
    for (at, name) in (0..).zip(names) {
        class_names.set(at, name.as_str());
    }
    info.set_vocabulary(&meaning.vocabulary);
}

/// The refusal of one request.
#[derive(Debug)]
pub struct Refusal {
    pub action: ErrorAction,
    pub detail: String,
    /// Type of the refused message; `unspecified` if it could not be read.
    pub refused: MessageType,
}

impl Refusal {
    pub fn new(action: ErrorAction, refused: MessageType, detail: impl Into<String>) -> Self {
        Self {
            action,
            detail: detail.into(),
            refused,
        }
    }

    pub fn frame(&self, request_id: u64, limits: &Limits) -> Result<Reply, WireError> {
        let mut message = capnp::message::Builder::new_default();
        let mut root = message.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::ErrorReply);
        root.set_request_id(request_id);
        let mut error = root.init_error_reply();
        error.set_action(self.action);
        error.set_detail(self.detail.as_str());
        error.set_refused(self.refused);
        if self.action == ErrorAction::RetryLater {
            error.set_retry_after(RETRY_AFTER_SECONDS);
        }
        Frame::new(&message, Attachments::new(), limits)
    }
}

#[cfg(test)]
#[path = "reply_test.rs"]
mod tests;
