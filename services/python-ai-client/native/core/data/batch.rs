//! Batches: what identifies one, and how it is read into tensors over received or lent memory.

use pangea_content_hash::{content_hash, Method};
use pangea_wire::schema::{batch_request, message, training_batch, Split as WireSplit};
use pangea_wire::{
    AlignedBuffer, DataLocation, ReceivedFrame, SchemaName, TensorData, TensorSpec, WireError,
};

use super::lent::{Borrower, Memory};
use crate::link::Received;
use crate::values::hash;

/// Which part of a dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Split {
    Train,
    HeldOut,
}

impl Split {
    /// The name in the schema.
    pub fn name(self) -> &'static str {
        WireSplit::from(self).schema_name()
    }

    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Train, Self::HeldOut]
            .into_iter()
            .find(|split| split.name() == name)
    }
}

impl From<Split> for WireSplit {
    fn from(split: Split) -> Self {
        match split {
            Split::Train => Self::Train,
            Split::HeldOut => Self::HeldOut,
        }
    }
}

/// Everything that a batch depends on besides the dataset.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct BatchKey {
    pub split: Split,
    pub seed: u64,
    pub epoch: u32,
    pub step: u32,
    pub batch_size: u32,
    pub shard: u32,
    pub shards: u32,
    /// Shards of a step are merged until each has at least this many samples.
    pub min_shard_samples: u32,
    /// How the batch's hash is computed.
    pub content_hash: Method,
}

impl BatchKey {
    pub(crate) fn write(&self, builder: &mut batch_request::Builder<'_>) {
        builder.set_split(self.split.into());
        builder.set_seed(self.seed);
        builder.set_epoch(self.epoch);
        builder.set_step(self.step);
        builder.set_batch_size(self.batch_size);
        builder.set_shard(self.shard);
        builder.set_shards(self.shards);
        builder.set_min_shard_samples(self.min_shard_samples);
        builder.set_content_hash(self.content_hash.into());
    }
}

/// A tensor that owns its memory: the segment that it arrived in, or its part of a lent region.
pub struct Tensor {
    pub spec: TensorSpec,
    pub memory: Memory,
}

/// The samples of one shard of one step. The hash of what came through a socket has been verified.
/// Lent memory is the one that the data service hashed, and nobody else can write to it.
pub struct Batch {
    pub split: Split,
    pub epoch: u32,
    pub step: u32,
    pub shard: u32,
    pub epoch_steps: u32,
    pub sample_ids: Tensor,
    pub features: Tensor,
    pub labels: Tensor,
    pub hash: Vec<u8>,
}

/// Everything but memory that is still in the frame.
struct Parsed {
    epoch_steps: u32,
    specs: [TensorSpec; 3],
    tensors: Tensors,
    hash: Vec<u8>,
}

enum Tensors {
    InFrame([DataLocation; 3]),
    Lent([Memory; 3]),
}

impl Batch {
    /// Reads the batch that answers `key`. It verifies the hash of what is in the frame and takes
    /// its memory out of it, or borrows the region that the batch is in; either without a copy.
    pub(crate) fn read(
        received: Received,
        key: &BatchKey,
        borrower: &mut Borrower,
    ) -> Result<Self, WireError> {
        let parsed = {
            let root = received.reader.get_root::<message::Reader<'_>>()?;
            let Ok(message::TrainingBatch(batch)) = root.which() else {
                return Err(mismatch("is not what the union holds"));
            };
            parse(batch?, key, received.reader.get_segments(), borrower)?
        };
        let [ids, features, labels] = match parsed.tensors {
            Tensors::Lent(memory) => memory,
            Tensors::InFrame(places) => {
                let memory = received.reader.into_segments().take_data(&places)?;
                let memory: [AlignedBuffer; 3] = memory
                    .try_into()
                    .map_err(|_| mismatch("has a tensor outside of its frame"))?;
                memory.map(Memory::from)
            }
        };
        let [ids_spec, features_spec, labels_spec] = parsed.specs;
        let tensor = |spec, memory| Tensor { spec, memory };
        Ok(Self {
            split: key.split,
            epoch: key.epoch,
            step: key.step,
            shard: key.shard,
            epoch_steps: parsed.epoch_steps,
            sample_ids: tensor(ids_spec, ids),
            features: tensor(features_spec, features),
            labels: tensor(labels_spec, labels),
            hash: parsed.hash,
        })
    }
}

fn parse(
    batch: training_batch::Reader<'_>,
    key: &BatchKey,
    frame: &ReceivedFrame,
    borrower: &mut Borrower,
) -> Result<Parsed, WireError> {
    let same = batch.get_split() == Ok(key.split.into())
        && batch.get_epoch() == key.epoch
        && batch.get_step() == key.step
        && batch.get_shard() == key.shard;
    if !same {
        return Err(mismatch("is not the one that was requested"));
    }
    let hash = hash(batch.get_hash()?, "TrainingBatch.hash")?;
    let (specs, tensors) = if batch.has_place() {
        lent(batch, borrower)?
    } else {
        in_frame(batch, key.content_hash, &hash, frame)?
    };
    let [ids, features, labels] = &specs;
    let samples = ids.shape.first();
    if ids.shape.len() != 1 || features.shape.first() != samples || labels.shape.first() != samples
    {
        return Err(mismatch(
            "has tensors that differ in their number of samples",
        ));
    }
    Ok(Parsed {
        epoch_steps: batch.get_epoch_steps(),
        specs,
        tensors,
        hash,
    })
}

/// The specs and the places of tensors in the frame, whose bytes must have this hash.
fn in_frame(
    batch: training_batch::Reader<'_>,
    method: Method,
    expected: &[u8],
    frame: &ReceivedFrame,
) -> Result<([TensorSpec; 3], Tensors), WireError> {
    let read = |name: &'static str, tensor| {
        let tensor = TensorData::read_whole(tensor)?;
        let place = frame.locate(tensor.data);
        let place = place.ok_or_else(|| mismatch("has a tensor outside of its frame"))?;
        // The schema leaves the names of these tensors empty; errors need one.
        let spec = TensorSpec::new(name, tensor.dtype, tensor.shape)?;
        Ok::<_, WireError>((spec, place, tensor.data))
    };
    let (ids, ids_place, ids_data) = read("sampleIds", batch.get_sample_ids()?)?;
    let (features, features_place, features_data) = read("features", batch.get_features()?)?;
    let (labels, labels_place, labels_data) = read("labels", batch.get_labels()?)?;
    if content_hash(method, [ids_data, features_data, labels_data])[..] != *expected {
        return Err(mismatch(&format!(
            "has bytes that do not match its hash ({}); use the same release of the data service",
            method.name()
        )));
    }
    let places = [ids_place, features_place, labels_place];
    Ok(([ids, features, labels], Tensors::InFrame(places)))
}

/// The specs and the memory of tensors in a region.
fn lent(
    batch: training_batch::Reader<'_>,
    borrower: &mut Borrower,
) -> Result<([TensorSpec; 3], Tensors), WireError> {
    let mut borrowed = borrower.borrow(batch.get_place()?)?;
    let mut read = |name: &'static str, tensor| {
        let tensor = TensorData::read(tensor)?;
        if !tensor.data.is_empty() {
            return Err(mismatch("has a tensor in its frame and a place"));
        }
        let memory = borrowed.next(tensor.total_bytes)?;
        Ok((TensorSpec::new(name, tensor.dtype, tensor.shape)?, memory))
    };
    let (ids, ids_memory) = read("sampleIds", batch.get_sample_ids()?)?;
    let (features, features_memory) = read("features", batch.get_features()?)?;
    let (labels, labels_memory) = read("labels", batch.get_labels()?)?;
    let memory = [ids_memory, features_memory, labels_memory];
    Ok(([ids, features, labels], Tensors::Lent(memory)))
}

fn mismatch(reason: &str) -> WireError {
    WireError::Field {
        field: "trainingBatch",
        reason: reason.to_owned(),
    }
}
