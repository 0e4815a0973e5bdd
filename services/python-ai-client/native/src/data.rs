//! The data service for Python: `DataClient` and the values that it returns.

use std::path::PathBuf;

use native_core::{BatchKey, DataStopper, Options, Split};
use pangea_wire::{DType, TensorSpec};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::pybacked::PyBackedStr;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBytes, PyDict, PyTuple};

use crate::buffer::Buffer;
use crate::hashing::method;
use crate::waiting::{options, pool, seconds, without_gil, Slot};

/// A dtype by name, or an error that lists the names.
pub(crate) fn dtype(name: &str) -> PyResult<DType> {
    DType::from_name(name).ok_or_else(|| {
        let names = DType::ALL.map(DType::name).join(", ");
        PyValueError::new_err(format!("dtype `{name}` is not one of {names}"))
    })
}

pub(crate) fn spec(name: String, dtype_name: &str, shape: Vec<u64>) -> PyResult<TensorSpec> {
    let spec = TensorSpec::new(name, dtype(dtype_name)?, shape);
    spec.map_err(|error| PyValueError::new_err(error.to_string()))
}

/// A tensor over received memory: `torch.frombuffer(view.buffer, dtype=...).reshape(view.shape)`.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct TensorView {
    spec: TensorSpec,
    #[pyo3(get)]
    buffer: Py<Buffer>,
}

impl TensorView {
    fn new(py: Python<'_>, tensor: native_core::Tensor) -> PyResult<Py<Self>> {
        let buffer = Py::new(py, Buffer::new(tensor.memory))?;
        let spec = tensor.spec;
        Py::new(py, Self { spec, buffer })
    }
}

#[pymethods]
impl TensorView {
    #[getter]
    fn name(&self) -> &str {
        &self.spec.name
    }

    #[getter]
    fn dtype(&self) -> &'static str {
        self.spec.dtype.name()
    }

    #[getter]
    fn shape<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        PyTuple::new(py, &self.spec.shape)
    }

    fn __repr__(&self) -> String {
        let TensorSpec { name, dtype, shape } = &self.spec;
        format!("<TensorView {name}: {} {shape:?}>", dtype.name())
    }
}

/// What a data service serves.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct DatasetInfo {
    pub(crate) info: native_core::DatasetInfo,
}

type DTypeAndShape<'py> = (&'static str, Bound<'py, PyTuple>);

fn dtype_and_shape<'py>(py: Python<'py>, spec: &TensorSpec) -> PyResult<DTypeAndShape<'py>> {
    Ok((spec.dtype.name(), PyTuple::new(py, &spec.shape)?))
}

#[pymethods]
impl DatasetInfo {
    #[new]
    #[pyo3(signature = (*, name, hash, train_samples, held_out_samples, classes, features, labels))]
    fn new(
        name: String,
        hash: &[u8],
        train_samples: u64,
        held_out_samples: u64,
        classes: u32,
        features: (String, Vec<u64>),
        labels: (String, Vec<u64>),
    ) -> PyResult<Self> {
        let info = native_core::DatasetInfo {
            name,
            hash: hash.to_vec(),
            train_samples,
            held_out_samples,
            classes,
            features: spec("features".to_owned(), &features.0, features.1)?,
            labels: spec("labels".to_owned(), &labels.0, labels.1)?,
            columns: Vec::new(),
            class_names: Vec::new(),
            vocabulary: Vec::new(),
        };
        Ok(Self { info })
    }

    #[getter]
    fn name(&self) -> &str {
        &self.info.name
    }

    #[getter]
    fn hash<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.info.hash)
    }

    #[getter]
    fn train_samples(&self) -> u64 {
        self.info.train_samples
    }

    #[getter]
    fn held_out_samples(&self) -> u64 {
        self.info.held_out_samples
    }

    #[getter]
    fn classes(&self) -> u32 {
        self.info.classes
    }

    #[getter]
    fn features<'py>(&self, py: Python<'py>) -> PyResult<DTypeAndShape<'py>> {
        dtype_and_shape(py, &self.info.features)
    }

    #[getter]
    fn labels<'py>(&self, py: Python<'py>) -> PyResult<DTypeAndShape<'py>> {
        dtype_and_shape(py, &self.info.labels)
    }

    #[getter]
    fn columns(&self) -> Vec<(String, f64, f64)> {
        let columns = self.info.columns.iter();
        columns
            .map(|column| (column.name.clone(), column.mean, column.deviation))
            .collect()
    }

    #[getter]
    fn class_names(&self) -> Vec<String> {
        self.info.class_names.clone()
    }

    #[getter]
    fn vocabulary<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, &self.info.vocabulary)
    }

    fn __repr__(&self) -> String {
        let info = &self.info;
        let (name, train, held_out) = (&info.name, info.train_samples, info.held_out_samples);
        format!("<DatasetInfo {name}: {train} to train on, {held_out} held out>")
    }
}

/// The samples of one shard of one step. The hash has been verified.
#[pyclass(module = "pangea._native", frozen, get_all)]
pub(crate) struct Batch {
    split: &'static str,
    epoch: u32,
    step: u32,
    shard: u32,
    epoch_steps: u32,
    sample_ids: Py<TensorView>,
    features: Py<TensorView>,
    labels: Py<TensorView>,
    hash: Py<PyBytes>,
}

impl Batch {
    fn new(py: Python<'_>, batch: native_core::Batch) -> PyResult<Self> {
        // All of a batch is one loan.
        batch.sample_ids.memory.keep_over_forks();
        Ok(Self {
            split: batch.split.name(),
            epoch: batch.epoch,
            step: batch.step,
            shard: batch.shard,
            epoch_steps: batch.epoch_steps,
            sample_ids: TensorView::new(py, batch.sample_ids)?,
            features: TensorView::new(py, batch.features)?,
            labels: TensorView::new(py, batch.labels)?,
            hash: PyBytes::new(py, &batch.hash).unbind(),
        })
    }
}

/// Connections to the replicas of a data service.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct DataClient {
    slot: Slot<native_core::DataClient>,
    stopper: DataStopper,
}

/// The arguments of `batch`.
type Request = (PyBackedStr, u64, u32, u32, u32, u32, u32, u32, PyBackedStr);

#[expect(
    clippy::too_many_arguments,
    reason = "the fields of a batch request, each of them needed"
)]
fn key(
    split: &str,
    seed: u64,
    epoch: u32,
    step: u32,
    batch_size: u32,
    shard: u32,
    shards: u32,
    min_shard_samples: u32,
    content_hash: &str,
) -> PyResult<BatchKey> {
    let split = Split::from_name(split).ok_or_else(|| {
        PyValueError::new_err(format!("split `{split}` is neither `train` nor `heldOut`"))
    })?;
    Ok(BatchKey {
        split,
        seed,
        epoch,
        step,
        batch_size,
        shard,
        shards,
        min_shard_samples,
        content_hash: method(content_hash)?,
    })
}

/// Before a fork: what was lent becomes this process's own, so that its child keeps it.
#[pyfunction]
fn own_lent_memory() -> PyResult<()> {
    native_core::own_lent_memory().map_err(|error| PyRuntimeError::new_err(error.to_string()))
}

/// Lets Python call [`own_lent_memory`] before each fork from now on.
fn prepare_for_forks(py: Python<'_>) -> PyResult<()> {
    static PREPARED: PyOnceLock<()> = PyOnceLock::new();
    PREPARED.get_or_try_init(py, || {
        let before = PyDict::new(py);
        before.set_item("before", wrap_pyfunction!(own_lent_memory, py)?)?;
        py.import("os")?
            .call_method("register_at_fork", (), Some(&before))?;
        Ok::<_, PyErr>(())
    })?;
    Ok(())
}

#[pymethods]
impl DataClient {
    #[new]
    #[pyo3(signature = (
        addresses, timeout = 30.0, *, max_frame_bytes = Options::default().max_frame_bytes, reconnect_seconds = 600.0,
        identity = None
    ))]
    fn new(
        py: Python<'_>,
        addresses: &str,
        timeout: f64,
        max_frame_bytes: u64,
        reconnect_seconds: f64,
        identity: Option<PathBuf>,
    ) -> PyResult<Self> {
        prepare_for_forks(py)?;
        let options = options(timeout, max_frame_bytes, identity)?;
        let patience = seconds("reconnect_seconds", reconnect_seconds)?;
        let client = without_gil(py, |signals| {
            native_core::DataClient::connect(addresses, options, patience, pool(), signals)
        })?;
        Ok(Self {
            stopper: client.stopper(),
            slot: Slot::new(addresses.to_owned(), client),
        })
    }

    /// The address of each replica, and whether it is connected now.
    fn replicas(&self) -> Vec<(String, bool)> {
        self.stopper.replicas()
    }

    /// What the service serves.
    fn dataset(&self, py: Python<'_>) -> PyResult<DatasetInfo> {
        let info = self
            .slot
            .with(py, |client, signals| client.dataset(signals))?;
        Ok(DatasetInfo { info })
    }

    /// Requests a batch that a later `batch` collects.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a batch request, each of them needed"
    )]
    #[pyo3(signature = (split, seed, epoch, step, batch_size, shard, shards, min_shard_samples = 0, content_hash = "xxh3Tree"))]
    fn prefetch(
        &self,
        py: Python<'_>,
        split: &str,
        seed: u64,
        epoch: u32,
        step: u32,
        batch_size: u32,
        shard: u32,
        shards: u32,
        min_shard_samples: u32,
        content_hash: &str,
    ) -> PyResult<()> {
        let key = key(
            split,
            seed,
            epoch,
            step,
            batch_size,
            shard,
            shards,
            min_shard_samples,
            content_hash,
        )?;
        self.slot
            .with(py, |client, _signals| client.prefetch(&[key]))
    }

    /// Requests several batches, each by the arguments of `batch`, in one write.
    fn prefetch_all(&self, py: Python<'_>, requests: Vec<Request>) -> PyResult<()> {
        let keys = requests.iter().map(
            |(split, seed, epoch, step, batch_size, shard, shards, least, content_hash)| {
                key(
                    split,
                    *seed,
                    *epoch,
                    *step,
                    *batch_size,
                    *shard,
                    *shards,
                    *least,
                    content_hash,
                )
            },
        );
        let keys = keys.collect::<PyResult<Vec<_>>>()?;
        self.slot
            .with(py, |client, _signals| client.prefetch(&keys))
    }

    /// Waits for the batch, which is requested now unless it was before.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a batch request, each of them needed"
    )]
    #[pyo3(signature = (split, seed, epoch, step, batch_size, shard, shards, min_shard_samples = 0, content_hash = "xxh3Tree"))]
    fn batch(
        &self,
        py: Python<'_>,
        split: &str,
        seed: u64,
        epoch: u32,
        step: u32,
        batch_size: u32,
        shard: u32,
        shards: u32,
        min_shard_samples: u32,
        content_hash: &str,
    ) -> PyResult<Batch> {
        let key = key(
            split,
            seed,
            epoch,
            step,
            batch_size,
            shard,
            shards,
            min_shard_samples,
            content_hash,
        )?;
        let batch = self
            .slot
            .with(py, |client, signals| client.batch(key, signals))?;
        Batch::new(py, batch)
    }

    /// Forgets a batch that was requested and that nobody will collect.
    #[expect(
        clippy::too_many_arguments,
        reason = "the fields of a batch request, each of them needed"
    )]
    #[pyo3(signature = (split, seed, epoch, step, batch_size, shard, shards, min_shard_samples = 0, content_hash = "xxh3Tree"))]
    fn discard(
        &self,
        py: Python<'_>,
        split: &str,
        seed: u64,
        epoch: u32,
        step: u32,
        batch_size: u32,
        shard: u32,
        shards: u32,
        min_shard_samples: u32,
        content_hash: &str,
    ) -> PyResult<()> {
        let key = key(
            split,
            seed,
            epoch,
            step,
            batch_size,
            shard,
            shards,
            min_shard_samples,
            content_hash,
        )?;
        self.slot.with(py, |client, _signals| {
            client.discard(&[key]);
            Ok(())
        })
    }

    /// Closes the connections; a call that waits in another thread raises `WireError`. Batches stay
    /// valid.
    fn close(&self, py: Python<'_>) {
        py.detach(|| {
            self.stopper.stop();
            self.slot.clear();
        });
    }
}
