//! The replies of the orchestrator as Python values.

use native_core::{Gradients, WorkReply};
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Buffer;
use crate::shared::SharedBuffer;

/// What a worker learns when it joins.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct JoinReply {
    run_id: String,
    worker_id: u32,
    seed: u64,
    shards: u32,
    batch_size: u32,
    epochs: u32,
    min_shard_samples: u32,
    drop_last: bool,
    content_hash: &'static str,
    step: u64,
    total_steps: u64,
}

impl From<native_core::JoinReply> for JoinReply {
    fn from(reply: native_core::JoinReply) -> Self {
        Self {
            run_id: reply.run_id,
            worker_id: reply.worker_id,
            seed: reply.seed,
            shards: reply.shards,
            batch_size: reply.batch_size,
            epochs: reply.epochs,
            min_shard_samples: reply.min_shard_samples,
            drop_last: reply.drop_last,
            content_hash: reply.content_hash.name(),
            step: reply.step,
            total_steps: reply.total_steps,
        }
    }
}

/// Compute these shards of the open step and submit their gradient sums.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct ShardLease {
    step: u64,
    epoch: u32,
    epoch_step: u32,
    shards: Vec<u32>,
    separate: Vec<u32>,
}

/// The gradient sum of a closed step, one flat float32 vector: a `Buffer` whose hash has been
/// verified, or a `SharedBuffer` of the orchestrator, to be read until the next request for work.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct Aggregate {
    step: u64,
    samples: u64,
    loss_sum: f64,
    divisor: f64,
    gradients: Py<PyAny>,
    hash: Py<PyBytes>,
}

/// Send the state after `step` steps: another worker needs it.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct SnapshotRequest {
    step: u64,
}

/// The whole state of a worker after `step` steps. The hash of the bytes has been verified.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct Snapshot {
    step: u64,
    parameters_hash: Py<PyBytes>,
    data: Py<Buffer>,
}

/// All steps are committed, or the run was stopped before its last one.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct RunFinished {
    steps: u64,
    parameters_hash: Py<PyBytes>,
    incidents: u64,
    stopped: String,
}

/// The Python value of a reply.
pub(crate) fn to_python(py: Python<'_>, reply: WorkReply) -> PyResult<Py<PyAny>> {
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes).unbind();
    match reply {
        WorkReply::ShardLease {
            step,
            epoch,
            epoch_step,
            shards,
            separate,
        } => {
            let lease = ShardLease {
                step,
                epoch,
                epoch_step,
                shards,
                separate,
            };
            Ok(Py::new(py, lease)?.into_any())
        }
        WorkReply::Aggregate {
            step,
            samples,
            loss_sum,
            divisor,
            gradients,
            hash,
        } => {
            let aggregate = Aggregate {
                step,
                samples,
                loss_sum,
                divisor,
                gradients: match gradients {
                    Gradients::Received(memory) => Py::new(py, Buffer::new(memory))?.into_any(),
                    Gradients::Shared(shared) => {
                        Py::new(py, SharedBuffer::from(shared))?.into_any()
                    }
                },
                hash: bytes(&hash),
            };
            Ok(Py::new(py, aggregate)?.into_any())
        }
        WorkReply::SnapshotRequest { step } => {
            Ok(Py::new(py, SnapshotRequest { step })?.into_any())
        }
        WorkReply::Snapshot(snapshot) => {
            let snapshot = Snapshot {
                step: snapshot.step,
                parameters_hash: bytes(&snapshot.parameters_hash),
                data: Py::new(py, Buffer::new(snapshot.data))?,
            };
            Ok(Py::new(py, snapshot)?.into_any())
        }
        WorkReply::RunFinished {
            steps,
            parameters_hash,
            incidents,
            stopped,
        } => {
            let parameters_hash = bytes(&parameters_hash);
            let finished = RunFinished {
                steps,
                parameters_hash,
                incidents,
                stopped,
            };
            Ok(Py::new(py, finished)?.into_any())
        }
    }
}
