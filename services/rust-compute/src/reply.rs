//! The small replies: what the dataset is, and what was wrong.

use pangea_wire::schema::{message, ErrorAction, MessageType};
use pangea_wire::{AlignedBuffer, Attachments, Frame, Limits, WireError};

use crate::dataset::Dataset;

/// Any reply of this service.
pub type Reply = Frame<AlignedBuffer>;

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
    Frame::new(&message, Attachments::new(), limits)
}

/// What a request is refused with.
#[derive(Debug)]
pub struct Refusal {
    pub action: ErrorAction,
    pub detail: String,
    /// The type of the refused message; `unspecified` if it could not be read.
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
            error.set_retry_after(1.0);
        }
        Frame::new(&message, Attachments::new(), limits)
    }
}
