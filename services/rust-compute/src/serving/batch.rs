//! Batches: the tensors of one shard of one step, as a frame that is ready to send, or in shared
//! memory with a frame that says where.

use std::sync::Arc;

use pangea_content_hash::{content_hash, Method};
use pangea_wire::schema::{message, MessageType, Split as WireSplit};
use pangea_wire::{
    write_tensor_bytes, AlignedBuffer, Attachments, DType, Frame, Limits, Pool, TensorSpec,
    WireError, ALIGNMENT,
};
use rayon::prelude::*;
use rust_compute_dataset::{Column, Dataset};

use crate::lending::{Lending, NewRegion, Region};
use crate::order_cache::{order_of, Order, OrderCache, Usage};
use crate::request::{Part, Request};

/// Smaller tasks would cost more to distribute over threads than to do.
const SAMPLES_PER_TASK: usize = 256;

/// Smaller batches are sent in their frame: mapping memory would take longer than copying them.
const SMALLEST_LENT: usize = 64 << 10;

/// A batch, ready to send.
pub(crate) struct Answer {
    /// What the worker has to be told before the frame.
    pub new_region: Option<NewRegion>,
    pub frame: Frame<AlignedBuffer>,
}

/// Makes the batches of one dataset. Shared by all connections.
pub struct Batches {
    pub dataset: Arc<Dataset>,
    orders: OrderCache,
    pool: Pool,
}

impl Batches {
    /// Sample orders take at most `order_bytes` of the pool, besides those of two epochs.
    pub fn new(dataset: Dataset, pool: Pool, order_bytes: usize) -> Self {
        Self {
            dataset: Arc::new(dataset),
            orders: OrderCache::new(pool.clone(), order_bytes),
            pool,
        }
    }

    /// The batch as a frame: a pure function of the request and the dataset. The order is computed
    /// for this batch alone.
    pub fn frame(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
    ) -> Result<Frame<AlignedBuffer>, WireError> {
        let order = match request.part {
            Part::Train { seed, epoch } => order_of(&self.dataset, (seed, epoch)),
            Part::HeldOut => Vec::new(),
        };
        let answer = self.answer(request_id, request, limits, &order, None)?;
        Ok(answer.frame)
    }

    /// The order of the epoch that a batch of training samples is from.
    pub(crate) async fn order(
        &self,
        request: &Request,
        usage: &Usage,
    ) -> Result<Option<Arc<Order>>, WireError> {
        let Part::Train { seed, epoch } = request.part else {
            return Ok(None);
        };
        let order = self.orders.get(&self.dataset, (seed, epoch), usage).await?;
        Ok(Some(order))
    }

    /// The same batch, with the order of its epoch (none for the held-out split): as a frame, or,
    /// for a worker on this machine, in a region of `lending` if it is worth it and there is room.
    pub(crate) fn answer(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
        order: &[u32],
        lending: Option<&Lending>,
    ) -> Result<Answer, WireError> {
        let ids = match request.part {
            Part::Train { .. } => &order[request.start..request.end],
            Part::HeldOut => &self.dataset.split.held_out[request.start..request.end],
        };
        let bytes = self.bytes_of(ids.len());
        let region = lending
            .filter(|_| bytes.iter().sum::<usize>() >= SMALLEST_LENT)
            .and_then(|lending| Some((lending, lending.take(end_of(&bytes))?)));
        let Some((lending, mut region)) = region else {
            return self.in_frame(request_id, request, limits, ids, bytes);
        };
        let answer = self.in_region(request_id, request, limits, ids, &mut region);
        // Also after an error: the next batch finds a region that no worker knows of.
        match answer {
            Ok(frame) => Ok(Answer {
                new_region: lending.lend(region)?,
                frame,
            }),
            Err(error) => {
                lending.put_back(region);
                Err(error)
            }
        }
    }

    fn in_frame(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
        ids: &[u32],
        bytes: [usize; 3],
    ) -> Result<Answer, WireError> {
        let [ids_bytes, features_bytes, labels_bytes] = bytes;
        let mut sample_ids = self.pool.to_overwrite(ids_bytes)?;
        let mut features = self.pool.to_overwrite(features_bytes)?;
        let mut labels = self.pool.to_overwrite(labels_bytes)?;
        let hash = self.fill(
            ids,
            [
                sample_ids.as_mut_slice(),
                features.as_mut_slice(),
                labels.as_mut_slice(),
            ],
            request.content_hash,
        );
        let tensors = [sample_ids, features, labels];
        let frame = self.message(request_id, request, limits, &hash, tensors, None)?;
        Ok(Answer {
            new_region: None,
            frame,
        })
    }

    fn in_region(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
        ids: &[u32],
        region: &mut Region,
    ) -> Result<Frame<AlignedBuffer>, WireError> {
        let bytes = self.bytes_of(ids.len());
        let used = end_of(&bytes);
        let tensors = parts(&mut region.as_mut_slice()[..used], &bytes);
        let hash = self.fill(ids, tensors, request.content_hash);
        let nothing = || self.pool.buffer(0);
        let tensors = [nothing()?, nothing()?, nothing()?];
        let place = Some((&*region, used));
        self.message(request_id, request, limits, &hash, tensors, place)
    }

    /// Bytes of the sample ids, the features and the labels of `samples` samples.
    fn bytes_of(&self, samples: usize) -> [usize; 3] {
        let rows = |column: &Column| samples * column.row_bytes();
        [
            samples * size_of::<i64>(),
            rows(&self.dataset.features),
            rows(&self.dataset.labels),
        ]
    }

    /// Whether a batch is made in less time than another thread takes to wake up.
    pub(crate) fn is_small(&self, request: &Request) -> bool {
        let samples = request.end - request.start;
        let bytes: usize = self.bytes_of(samples).iter().sum();
        samples <= SAMPLES_PER_TASK && bytes < SMALLEST_LENT
    }

    /// Writes the samples of `ids`, and returns their hash, which is computed while they are in the
    /// cache.
    fn fill(
        &self,
        ids: &[u32],
        [sample_ids, features, labels]: [&mut [u8]; 3],
        method: Method,
    ) -> [u8; 32] {
        for (written, id) in sample_ids.chunks_exact_mut(size_of::<i64>()).zip(ids) {
            written.copy_from_slice(&i64::from(*id).to_le_bytes());
        }
        gather(&self.dataset.features, ids, features);
        gather(&self.dataset.labels, ids, labels);
        content_hash(method, [&*sample_ids, &*features, &*labels])
    }

    /// The frame around the tensors. Those that are in a region (with that many bytes of it in use)
    /// are empty here.
    fn message(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
        hash: &[u8],
        tensors: [AlignedBuffer; 3],
        place: Option<(&Region, usize)>,
    ) -> Result<Frame<AlignedBuffer>, WireError> {
        let mut message = capnp::message::Builder::new_default();
        let mut attachments = Attachments::new();
        let mut root = message.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::TrainingBatch);
        root.set_request_id(request_id);
        let mut batch = root.init_training_batch();
        batch.set_split(match request.part {
            Part::Train { .. } => WireSplit::Train,
            Part::HeldOut => WireSplit::HeldOut,
        });
        batch.set_epoch(request.epoch);
        batch.set_step(request.step);
        batch.set_shard(request.shard);
        batch.set_epoch_steps(request.epoch_steps);
        batch.set_hash(hash);
        if let Some((region, used)) = place {
            let mut place = batch.reborrow().init_place();
            place.set_region(region.id());
            place.set_generation(region.generation());
            place.set_bytes(used as u64);
        }
        let count = (request.end - request.start) as u64;
        let batched =
            |row: &TensorSpec| TensorSpec::new("", row.dtype, [&[count], &row.shape[..]].concat());
        let [sample_ids, features, labels] = tensors;
        // Not `write_tensor`, which refuses those that are in a region; `fill` wrote all of them.
        write_tensor_bytes(
            batch.reborrow().init_sample_ids(),
            &TensorSpec::new("", DType::Int64, vec![count])?,
            0,
            sample_ids,
            &mut attachments,
        )?;
        write_tensor_bytes(
            batch.reborrow().init_features(),
            &batched(&self.dataset.features.spec)?,
            0,
            features,
            &mut attachments,
        )?;
        write_tensor_bytes(
            batch.reborrow().init_labels(),
            &batched(&self.dataset.labels.spec)?,
            0,
            labels,
            &mut attachments,
        )?;
        Frame::new(&message, attachments, limits)
    }
}

/// Writes the rows of these samples one after the other.
fn gather(column: &Column, ids: &[u32], rows: &mut [u8]) {
    let copy = |(row, id): (&mut [u8], &u32)| row.copy_from_slice(column.row(*id));
    if ids.len() <= SAMPLES_PER_TASK {
        // In this thread, whichever it is.
        rows.chunks_exact_mut(column.row_bytes())
            .zip(ids)
            .for_each(copy);
        return;
    }
    rows.par_chunks_exact_mut(column.row_bytes())
        .with_min_len(SAMPLES_PER_TASK)
        .zip(ids)
        .for_each(copy);
}

/// Where tensors of these sizes end in a region: each starts at the next multiple of `ALIGNMENT`.
fn end_of(bytes: &[usize; 3]) -> usize {
    let append = |end: usize, bytes: &usize| end.next_multiple_of(ALIGNMENT) + bytes;
    bytes.iter().fold(0, append)
}

/// The parts of a region of `end_of(bytes)` bytes.
fn parts<'r>(region: &'r mut [u8], [a, b, _]: &[usize; 3]) -> [&'r mut [u8]; 3] {
    let (first, rest) = region.split_at_mut(a.next_multiple_of(ALIGNMENT).min(region.len()));
    let (second, third) = rest.split_at_mut(b.next_multiple_of(ALIGNMENT).min(rest.len()));
    let (first_end, second_end) = ((*a).min(first.len()), (*b).min(second.len()));
    [&mut first[..first_end], &mut second[..second_end], third]
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
