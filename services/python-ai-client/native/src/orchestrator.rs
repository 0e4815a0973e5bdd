//! The orchestrator for Python: `OrchestratorClient`.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, OnceLock};

use native_core::{CoreError, Figure, Join, Options, ShardReport, Stopper, Timings, Update, Work};
use pangea_content_hash::Method;
use pangea_wire::SchemaName;
use pyo3::exceptions::{PyOSError, PyRuntimeError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedBytes;

use crate::asking::{ask_beside, Asking, ParametersHash, Question, HASHED_AT_ONCE};
use crate::buffer::Held;
use crate::data::{spec, DatasetInfo};
use crate::replies::{to_python, JoinReply};
use crate::shared::SharedBuffer;
use crate::waiting::{options, pool, seconds, without_gil, Signals, Slot};

/// What a script has logged: a name and a value.
type Logged = (String, f64);

/// Of a shard: its number, samples, loss sum, batch hash and weight, whether the loss is a sum, why
/// the run is to end, and its figures.
type Report = (u32, u32, f64, PyBackedBytes, f64, bool, String, Vec<Logged>);

/// A gradient sum: its step, its first shard, its number of shards, the vector, the reports, and
/// the content hash of a vector in a slot.
type Sum<'py> = (
    u64,
    u32,
    u32,
    Bound<'py, PyAny>,
    Vec<Report>,
    Option<[u8; 32]>,
);

fn timings(data: f64, compute: f64, exchange: f64) -> Timings {
    Timings {
        data,
        compute,
        exchange,
    }
}

fn shard_report(report: Report) -> ShardReport {
    let (shard, samples, loss_sum, batch_hash, weight, summed, stop, logged) = report;
    ShardReport {
        shard,
        samples,
        loss_sum,
        batch_hash: batch_hash.to_vec(),
        weight,
        summed,
        stop,
        figures: figures(logged),
    }
}

fn figures(logged: Vec<Logged>) -> Vec<Figure> {
    let figure = |(name, value)| Figure { name, value };
    logged.into_iter().map(figure).collect()
}

/// One connection to an orchestrator.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct OrchestratorClient {
    slot: Arc<Slot<native_core::OrchestratorClient>>,
    stopper: Stopper,
    /// A thread that uses the client before any call does.
    asking: Mutex<Option<Asking>>,
    /// How the run hashes; known once joined.
    content_hash: OnceLock<Method>,
}

impl OrchestratorClient {
    /// Runs `work` on the client, once a thread that is asking for work has done so.
    fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut native_core::OrchestratorClient, &mut Signals) -> Result<T, CoreError>
            + Send,
    ) -> PyResult<T> {
        self.settle(py)?;
        self.slot.with(py, work)
    }

    /// Waits until a thread that is asking for work has done so, and raises its error.
    fn settle(&self, py: Python<'_>) -> PyResult<()> {
        // Never waits for the lock; see `Slot::with`.
        let Ok(mut asking) = self.asking.try_lock() else {
            return Err(PyRuntimeError::new_err(
                "the connection is in use by another call; make one call at a time",
            ));
        };
        let Some(current) = asking.as_mut() else {
            return Ok(());
        };
        let mut interrupted = false;
        let waited = without_gil(py, |signals| {
            let waited = current.wait(signals);
            interrupted = matches!(waited, Err(CoreError::Interrupted));
            waited
        });
        if !interrupted {
            *asking = None;
        }
        waited
    }
}

#[pymethods]
impl OrchestratorClient {
    #[new]
    #[pyo3(signature = (
        address, timeout = 30.0, *, max_frame_bytes = Options::default().max_frame_bytes, identity = None
    ))]
    fn new(
        py: Python<'_>,
        address: &str,
        timeout: f64,
        max_frame_bytes: u64,
        identity: Option<PathBuf>,
    ) -> PyResult<Self> {
        let options = options(timeout, max_frame_bytes, identity)?;
        let client = without_gil(py, |signals| {
            native_core::OrchestratorClient::connect(address, options, pool(), signals)
        })?;
        Ok(Self {
            stopper: client.stopper(),
            slot: Arc::new(Slot::new(address.to_owned(), client)),
            asking: Mutex::new(None),
            content_hash: OnceLock::new(),
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
        let reply = self.with(py, |client, signals| client.join(&join, signals))?;
        // The first reply counts: a connection is for one run.
        let _ = self.content_hash.set(reply.content_hash);
        Ok(reply.into())
    }

    /// Asks for work, holding parameters after `step` steps; `answer` waits for the reply.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a work request, each of them needed"
    )]
    #[pyo3(signature = (
        step, parameters_hash, data_seconds, compute_seconds, exchange_seconds, stop = "", logged = Vec::new()
    ))]
    fn ask(
        &self,
        py: Python<'_>,
        step: u64,
        parameters_hash: &[u8],
        data_seconds: f64,
        compute_seconds: f64,
        exchange_seconds: f64,
        stop: &str,
        logged: Vec<Logged>,
    ) -> PyResult<()> {
        let figures = figures(logged);
        let work = Work {
            step,
            parameters_hash,
            timings: timings(data_seconds, compute_seconds, exchange_seconds),
            stop,
            figures: &figures,
        };
        self.with(py, |client, signals| client.ask(&work, signals))
    }

    /// The same in a thread, which first hashes the parameters; at once if there are few of them.
    /// Their content is complete when `arrived` has returned.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a work request, each of them needed"
    )]
    #[pyo3(signature = (
        step, parameters, data_seconds, compute_seconds, exchange_seconds, logged = Vec::new(),
        arrived = None
    ))]
    fn ask_beside(
        &self,
        py: Python<'_>,
        step: u64,
        parameters: Vec<Bound<'_, PyAny>>,
        data_seconds: f64,
        compute_seconds: f64,
        exchange_seconds: f64,
        logged: Vec<Logged>,
        arrived: Option<Py<PyAny>>,
    ) -> PyResult<ParametersHash> {
        self.settle(py)?;
        let memory = parameters.iter().map(Held::bytes);
        let memory = memory.collect::<PyResult<Vec<_>>>()?;
        let timings = timings(data_seconds, compute_seconds, exchange_seconds);
        let content_hash = self.content_hash.get().copied().unwrap_or_default();
        let figures = figures(logged);
        let tensors: Vec<&[u8]> = memory.iter().map(Held::as_slice).collect();
        let bytes: usize = tensors.iter().map(|bytes| bytes.len()).sum();
        if arrived.is_none() && bytes <= HASHED_AT_ONCE {
            let hash = self.slot.with(py, |client, signals| {
                let parameters_hash = pangea_content_hash::content_hash(content_hash, tensors);
                let work = Work {
                    step,
                    parameters_hash: &parameters_hash,
                    timings,
                    stop: "",
                    figures: &figures,
                };
                client.ask(&work, signals).map(|()| parameters_hash)
            })?;
            return Ok(ParametersHash::known(hash.to_vec()));
        }
        let question = Question {
            step,
            content_hash,
            timings,
            figures,
        };
        let started = ask_beside(&self.slot, memory, arrived, question);
        let (hash, asking) = started.map_err(|error| {
            PyOSError::new_err(format!("starting the thread that asks for work: {error}"))
        })?;
        if let Ok(mut slot) = self.asking.try_lock() {
            *slot = Some(asking);
        }
        Ok(hash)
    }

    /// Waits for the answer to the last question, as long as the connection lives.
    fn answer(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let reply = self.with(py, |client, signals| client.answer(signals))?;
        to_python(py, reply)
    }

    /// Asks for work and waits for the answer.
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
        self.ask(
            py,
            step,
            parameters_hash,
            data_seconds,
            compute_seconds,
            exchange_seconds,
            stop,
            Vec::new(),
        )?;
        self.answer(py)
    }

    /// Sends gradient sums straight from their memory, which must not change until this returns,
    /// and then asks for work, in one write. Returns the verdicts.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a work request, each of them needed"
    )]
    #[pyo3(signature = (
        sums, step, parameters_hash, data_seconds, compute_seconds, exchange_seconds, logged = Vec::new()
    ))]
    fn submit_and_ask(
        &self,
        py: Python<'_>,
        sums: Vec<Sum<'_>>,
        step: u64,
        parameters_hash: &[u8],
        data_seconds: f64,
        compute_seconds: f64,
        exchange_seconds: f64,
        logged: Vec<Logged>,
    ) -> PyResult<Vec<(&'static str, String)>> {
        self.send_and_ask(
            py,
            sums,
            step,
            parameters_hash,
            data_seconds,
            compute_seconds,
            exchange_seconds,
            logged,
        )?;
        self.verdicts(py)
    }

    /// The same without waiting for the verdicts.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a work request, each of them needed"
    )]
    #[pyo3(signature = (
        sums, step, parameters_hash, data_seconds, compute_seconds, exchange_seconds, logged = Vec::new()
    ))]
    fn send_and_ask(
        &self,
        py: Python<'_>,
        sums: Vec<Sum<'_>>,
        step: u64,
        parameters_hash: &[u8],
        data_seconds: f64,
        compute_seconds: f64,
        exchange_seconds: f64,
        logged: Vec<Logged>,
    ) -> PyResult<()> {
        let figures = figures(logged);
        let work = Work {
            step,
            parameters_hash,
            timings: timings(data_seconds, compute_seconds, exchange_seconds),
            stop: "",
            figures: &figures,
        };
        self.send_sums(py, sums, Some(work))
    }

    /// Waits for the verdicts on the sums that were sent last; `answer` has received them.
    fn verdicts(&self, py: Python<'_>) -> PyResult<Vec<(&'static str, String)>> {
        let verdicts = self.with(py, |client, signals| client.verdicts(signals))?;
        let verdicts = verdicts.into_iter();
        Ok(verdicts
            .map(|(verdict, detail)| (verdict.schema_name(), detail))
            .collect())
    }

    /// Sends a gradient sum straight from the memory of `gradients`, which must not change until
    /// this returns.
    fn submit(
        &self,
        py: Python<'_>,
        step: u64,
        first_shard: u32,
        shard_count: u32,
        gradients: Bound<'_, PyAny>,
        reports: Vec<Report>,
    ) -> PyResult<(&'static str, String)> {
        let sum = (step, first_shard, shard_count, gradients, reports, None);
        self.send_sums(py, vec![sum], None)?;
        self.verdicts(py)?.pop().ok_or_else(|| {
            PyRuntimeError::new_err("the orchestrator gave no verdict on a gradient sum")
        })
    }

    /// Memory to put gradients into that are then submitted from there, without a copy: it is
    /// submitted at most once, and not written to after that. None where none is free, or the
    /// orchestrator is reached over TCP.
    fn slot(&self, py: Python<'_>) -> PyResult<Option<SharedBuffer>> {
        let slot = self.with(py, |client, _| Ok(client.slot()))?;
        Ok(slot.map(SharedBuffer::from))
    }

    /// Whether memory is shared with the orchestrator: it is reached through a Unix socket.
    fn shares_memory(&self, py: Python<'_>) -> PyResult<bool> {
        self.with(py, |client, _| Ok(client.shares_memory()))
    }

    /// Gives the whole state: the bytes of a safetensors file, in parts. They are copied before
    /// this returns; a thread sends the copy. It is not answered.
    fn give_state(
        &self,
        py: Python<'_>,
        step: u64,
        parameters_hash: &[u8],
        parts: Vec<Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        let held = parts.iter().map(Held::bytes);
        let held = held.collect::<PyResult<Vec<_>>>()?;
        let parts: Vec<_> = held.iter().map(Held::as_slice).collect();
        self.with(py, |client, signals| {
            client.give_state(step, parameters_hash, &parts, signals)
        })
    }

    /// Leaves the run and closes the connection; the shards of this worker go to others at once.
    /// `broken` says what broke the promise; `cannot_load` that the state cannot be loaded that was
    /// received.
    #[pyo3(signature = (reason, broken = "", *, cannot_load = false))]
    fn leave(&self, py: Python<'_>, reason: &str, broken: &str, cannot_load: bool) -> PyResult<()> {
        self.with(py, |client, signals| {
            client.leave(reason, broken, cannot_load, signals)
        })
    }

    /// Closes the connection; a call that waits in another thread raises `WireError`.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.stopper.stop();
            self.slot.clear();
        });
    }
}

impl OrchestratorClient {
    fn send_sums(
        &self,
        py: Python<'_>,
        sums: Vec<Sum<'_>>,
        work: Option<Work<'_>>,
    ) -> PyResult<()> {
        let mut held = Vec::with_capacity(sums.len());
        for (step, first_shard, shard_count, gradients, reports, digest) in sums {
            let reports: Vec<_> = reports.into_iter().map(shard_report).collect();
            let gradients = Held::floats(&gradients)?;
            held.push((step, first_shard, shard_count, gradients, reports, digest));
        }
        let updates = held.iter().map(
            |(step, first_shard, shard_count, gradients, reports, digest)| Update {
                step: *step,
                first_shard: *first_shard,
                shard_count: *shard_count,
                gradients: gradients.as_slice(),
                reports,
                digest: *digest,
            },
        );
        let updates: Vec<_> = updates.collect();
        self.with(py, |client, signals| {
            client.send_and_ask(&updates, work.as_ref(), signals)
        })
    }
}
