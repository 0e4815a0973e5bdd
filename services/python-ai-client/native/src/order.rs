//! Which samples a shard of a script's own dataset holds, as a data service would serve them.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use pangea_order::{train_order, StepPlan};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;

/// Batches are loaded ahead over the end of an epoch, so two orders are in use at a time.
const KEPT_EPOCHS: usize = 2;

/// The order of one dataset in one run.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct Order {
    dataset_hash: [u8; 32],
    seed: u64,
    samples: u32,
    plan: StepPlan,
    epochs: Mutex<VecDeque<(u32, Arc<Vec<u32>>)>>,
}

impl Order {
    fn epoch(&self, epoch: u32) -> Arc<Vec<u32>> {
        let mut kept = self.epochs.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, order)) = kept.iter().find(|(number, _)| *number == epoch) {
            return Arc::clone(order);
        }
        let order = Arc::new(train_order(
            &self.dataset_hash,
            self.seed,
            epoch,
            self.samples,
        ));
        kept.truncate(KEPT_EPOCHS - 1);
        kept.push_front((epoch, Arc::clone(&order)));
        order
    }

    fn range(&self, epoch_step: u64, shard: u64) -> PyResult<std::ops::Range<usize>> {
        let range = self.plan.shard(epoch_step, shard).ok_or_else(|| {
            PyValueError::new_err(format!(
                "step {epoch_step} of an epoch has no shard {shard}, or does not exist: the epoch has {} steps",
                self.plan.steps()
            ))
        })?;
        // Both ends are at most `samples`, a u32.
        Ok(range.start as usize..range.end as usize)
    }
}

#[pymethods]
impl Order {
    #[new]
    #[pyo3(signature = (dataset_hash, seed, samples, batch_size, shards, min_shard_samples = 0))]
    fn new(
        dataset_hash: &[u8],
        seed: u64,
        samples: u32,
        batch_size: u32,
        shards: u32,
        min_shard_samples: u32,
    ) -> PyResult<Self> {
        let dataset_hash = dataset_hash.try_into().map_err(|_| {
            PyValueError::new_err(format!(
                "the hash of a dataset has 32 bytes, not {}",
                dataset_hash.len()
            ))
        })?;
        let plan = StepPlan::new(u64::from(samples), batch_size, shards, min_shard_samples)
            .ok_or_else(|| {
                PyValueError::new_err(format!(
                    "{shards} shards of a step of {batch_size} samples: a step has at least one sample, and its shards \
                     are a power of two"
                ))
            })?;
        Ok(Self {
            dataset_hash,
            seed,
            samples,
            plan,
            epochs: Mutex::new(VecDeque::new()),
        })
    }

    /// The number of samples of a shard; 0 for an empty one. Needs no order.
    fn size(&self, epoch_step: u64, shard: u64) -> PyResult<usize> {
        self.range(epoch_step, shard).map(|range| range.len())
    }

    /// The indices of a shard's samples, in their order.
    fn samples(
        &self,
        py: Python<'_>,
        epoch: u32,
        epoch_step: u64,
        shard: u64,
    ) -> PyResult<Vec<u32>> {
        let range = self.range(epoch_step, shard)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let order = py.detach(|| self.epoch(epoch));
        Ok(order[range].to_vec())
    }
}
