//! Batches: the tensors of one shard of one step, as a frame that is ready to send.

use std::sync::Arc;

use bytemuck::cast_slice;
use pangea_content_hash::content_hash;
use pangea_wire::schema::{message, MessageType, Split as WireSplit};
use pangea_wire::{
    write_tensor, AlignedBuffer, Attachments, DType, Frame, Limits, Pool, TensorSpec, WireError,
};
use rayon::prelude::*;
use rust_compute_dataset::{Column, Dataset};

use crate::order_cache::OrderCache;
use crate::request::{Part, Request};

/// Smaller tasks would cost more to distribute over threads than to do.
const SAMPLES_PER_TASK: usize = 256;

/// Makes the batches of one dataset. Shared by all connections.
pub struct Batches {
    pub dataset: Dataset,
    orders: OrderCache,
    pool: Pool,
}

impl Batches {
    pub fn new(dataset: Dataset, pool: Pool) -> Self {
        Self {
            dataset,
            orders: OrderCache::default(),
            pool,
        }
    }

    /// The batch as a frame: a pure function of the request and the dataset.
    pub fn frame(
        &self,
        request_id: u64,
        request: &Request,
        limits: &Limits,
    ) -> Result<Frame<AlignedBuffer>, WireError> {
        let order;
        let ids = match request.part {
            Part::Train { seed, epoch } => {
                order = self.order(seed, epoch);
                &order[request.start..request.end]
            }
            Part::HeldOut => &self.dataset.split.held_out[request.start..request.end],
        };
        let wide: Vec<i64> = ids.iter().map(|id| i64::from(*id)).collect();
        let sample_ids = self.pool.copy_of(cast_slice(&wide))?;
        let features = self.rows_of(&self.dataset.features, ids)?;
        let labels = self.rows_of(&self.dataset.labels, ids)?;
        let hash = content_hash(
            request.content_hash,
            [&sample_ids[..], &features[..], &labels[..]],
        );

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
        batch.set_hash(&hash);
        let count = ids.len() as u64;
        let batched =
            |row: &TensorSpec| TensorSpec::new("", row.dtype, [&[count], &row.shape[..]].concat());
        write_tensor(
            batch.reborrow().init_sample_ids(),
            &TensorSpec::new("", DType::Int64, vec![count])?,
            sample_ids,
            &mut attachments,
        )?;
        write_tensor(
            batch.reborrow().init_features(),
            &batched(&self.dataset.features.spec)?,
            features,
            &mut attachments,
        )?;
        write_tensor(
            batch.reborrow().init_labels(),
            &batched(&self.dataset.labels.spec)?,
            labels,
            &mut attachments,
        )?;
        Frame::new(&message, attachments, limits)
    }

    fn order(&self, seed: u64, epoch: u32) -> Arc<Vec<u32>> {
        let dataset = &self.dataset;
        self.orders
            .get(&dataset.hash, &dataset.split.train, seed, epoch)
    }

    /// The rows of these samples, concatenated.
    fn rows_of(&self, column: &Column, ids: &[u32]) -> Result<AlignedBuffer, WireError> {
        let row_bytes = column.row_bytes();
        let mut rows = self.pool.zeroed(ids.len() * row_bytes)?;
        rows.as_mut_slice()
            .par_chunks_exact_mut(row_bytes)
            .with_min_len(SAMPLES_PER_TASK)
            .zip(ids)
            .for_each(|(row, id)| row.copy_from_slice(column.row(*id)));
        Ok(rows)
    }
}

#[cfg(test)]
#[path = "batch_test.rs"]
mod tests;
