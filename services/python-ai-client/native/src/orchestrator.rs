//! The orchestrator for Python: `OrchestratorClient`.

use native_core::{Join, Options, ShardReport, Stopper, Timings};
use pangea_wire::SchemaName;
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::buffer::Held;
use crate::data::{spec, DatasetInfo};
use crate::replies::{to_python, JoinReply};
use crate::waiting::{options, pool, seconds, without_gil, Slot};

/// Of a shard: its number, samples, loss sum, batch hash and weight, whether the loss is a sum, and
/// why the run is to end.
type Report = (u32, u32, f64, PyBackedBytes, f64, bool, String);

fn shard_report(report: Report) -> ShardReport {
    let (shard, samples, loss_sum, batch_hash, weight, summed, stop) = report;
    ShardReport {
        shard,
        samples,
        loss_sum,
        batch_hash: batch_hash.to_vec(),
        weight,
        summed,
        stop,
    }
}

/// One connection to an orchestrator.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct OrchestratorClient {
    slot: Slot<native_core::OrchestratorClient>,
    stopper: Stopper,
}

#[pymethods]
impl OrchestratorClient {
    #[new]
    #[pyo3(signature = (address, timeout = 30.0, *, max_frame_bytes = Options::default().max_frame_bytes))]
    fn new(py: Python<'_>, address: &str, timeout: f64, max_frame_bytes: u64) -> PyResult<Self> {
        let options = options(timeout, max_frame_bytes)?;
        let client = without_gil(py, |signals| {
            native_core::OrchestratorClient::connect(address, options, pool(), signals)
        })?;
        Ok(Self {
            stopper: client.stopper(),
            slot: Slot::new(address.to_owned(), client),
        })
    }

    /// Introduces the worker; the first call of a connection. From then on, heartbeats fill the
    /// silences.
    #[pyo3(signature = (
        worker_name, software, parameters, parameters_hash, step, dataset, run_id = "", heartbeat_seconds = 0.1,
        training = "", arithmetic = "", fingerprints = Vec::new(), *, parameters_content_hash = None
    ))]
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a join request, each of them needed"
    )]
    fn join(
        &self,
        py: Python<'_>,
        worker_name: &str,
        software: &str,
        parameters: Vec<(String, String, Vec<u64>)>,
        parameters_hash: &[u8],
        step: u64,
        dataset: &DatasetInfo,
        run_id: &str,
        heartbeat_seconds: f64,
        training: &str,
        arithmetic: &str,
        fingerprints: Vec<(String, Vec<u8>)>,
        parameters_content_hash: Option<&[u8]>,
    ) -> PyResult<JoinReply> {
        let parameters = parameters
            .into_iter()
            .map(|(name, dtype, shape)| spec(name, &dtype, shape))
            .collect::<PyResult<Vec<_>>>()?;
        let join = Join {
            worker_name,
            software,
            parameters: &parameters,
            parameters_hash,
            parameters_content_hash: parameters_content_hash.unwrap_or_default(),
            step,
            dataset: &dataset.info,
            run_id,
            heartbeat: seconds("heartbeat_seconds", heartbeat_seconds)?,
            training,
            arithmetic,
            fingerprints: &fingerprints,
        };
        let reply = self
            .slot
            .with(py, |client, signals| client.join(&join, signals))?;
        Ok(reply.into())
    }

    /// Requests work, holding parameters after `step` steps. Waits as long as the connection lives.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a work request, each of them needed"
    )]
    #[pyo3(signature = (step, parameters_hash, data_seconds, compute_seconds, exchange_seconds, stop = ""))]
    fn request_work(
        &self,
        py: Python<'_>,
        step: u64,
        parameters_hash: &[u8],
        data_seconds: f64,
        compute_seconds: f64,
        exchange_seconds: f64,
        stop: &str,
    ) -> PyResult<Py<PyAny>> {
        let timings = Timings {
            data: data_seconds,
            compute: compute_seconds,
            exchange: exchange_seconds,
        };
        let reply = self.slot.with(py, |client, signals| {
            client.request_work(step, parameters_hash, timings, stop, signals)
        })?;
        to_python(py, reply)
    }

    /// Sends a gradient sum straight from the memory of `gradients`, which must not change until
    /// this returns.
    fn submit(
        &self,
        py: Python<'_>,
        step: u64,
        first_shard: u32,
        shard_count: u32,
        gradients: &Bound<'_, PyAny>,
        reports: Vec<Report>,
    ) -> PyResult<(&'static str, String)> {
        let gradients = Held::floats(gradients)?;
        let bytes = gradients.as_slice();
        let reports: Vec<_> = reports.into_iter().map(shard_report).collect();
        let (verdict, detail) = self.slot.with(py, |client, signals| {
            client.submit(step, first_shard, shard_count, bytes, &reports, signals)
        })?;
        Ok((verdict.schema_name(), detail))
    }

    /// Sends the whole state straight from the memory of `data`. It is not answered.
    fn send_snapshot(
        &self,
        py: Python<'_>,
        step: u64,
        parameters_hash: &[u8],
        data: &Bound<'_, PyAny>,
    ) -> PyResult<()> {
        let data = Held::bytes(data)?;
        let bytes = data.as_slice();
        self.slot.with(py, |client, signals| {
            client.send_snapshot(step, parameters_hash, bytes, signals)
        })
    }

    /// Leaves the run and closes the connection; the shards of this worker go to others at once.
    /// `broken` says what broke the promise.
    #[pyo3(signature = (reason, broken = ""))]
    fn leave(&self, py: Python<'_>, reason: &str, broken: &str) -> PyResult<()> {
        self.slot
            .with(py, |client, signals| client.leave(reason, broken, signals))
    }

    /// Closes the connection; a call that waits in another thread raises `WireError`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.stopper.stop();
            self.slot.clear();
        });
    }
}
