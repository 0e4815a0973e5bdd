//! `pangea._native`: the worker's side of the wire for Python.
//!
//! A thin binding over `native_core`. Responsible for: Python types, the buffer protocol, releasing
//! the GIL while waiting, running signal handlers, the settings of the process's allocator. Not
//! responsible for: anything else that can be tested without Python.

mod allocator;
mod asking;
mod buffer;
mod data;
mod errors;
mod fold;
mod hashing;
mod orchestrator;
mod order;
mod replies;
mod shared;
mod waiting;

use native_core::{ErrorKind, FIRST_PAUSE, LONGEST_PAUSE};
use pangea_content_hash::Method;
use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    errors::add_to(module)?;
    module.add("ALLOCATOR", allocator::configure()?)?;
    module.add("CONTENT_HASHES", Method::ALL.map(Method::name))?;
    module.add("ERROR_KINDS", ErrorKind::ALL.map(ErrorKind::name))?;
    module.add("FIRST_PAUSE_SECONDS", FIRST_PAUSE.as_secs_f64())?;
    module.add("LONGEST_PAUSE_SECONDS", LONGEST_PAUSE.as_secs_f64())?;
    module.add_function(wrap_pyfunction!(hashing::content_hash, module)?)?;
    module.add_function(wrap_pyfunction!(hashing::checksums, module)?)?;
    module.add_class::<buffer::Buffer>()?;
    module.add_class::<shared::SharedBuffer>()?;
    module.add_class::<data::TensorView>()?;
    module.add_class::<data::DatasetInfo>()?;
    module.add_class::<data::Batch>()?;
    module.add_class::<data::DataClient>()?;
    module.add_class::<replies::JoinReply>()?;
    module.add_class::<replies::ShardLease>()?;
    module.add_class::<replies::Aggregate>()?;
    module.add_class::<replies::SnapshotRequest>()?;
    module.add_class::<replies::Snapshot>()?;
    module.add_class::<replies::RunFinished>()?;
    module.add_class::<asking::ParametersHash>()?;
    module.add_class::<orchestrator::OrchestratorClient>()?;
    module.add_class::<order::Order>()?;
    module.add_class::<fold::Fold>()?;
    module.add_function(wrap_pyfunction!(fold::flushes_denormals, module)?)?;
    Ok(())
}
