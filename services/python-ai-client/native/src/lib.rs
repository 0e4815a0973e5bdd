//! `pangea._native`: the worker's side of the wire for Python.
//!
//! A thin binding over `native_core`. Responsible for: Python types, the buffer protocol, releasing the GIL while waiting,
//! running signal handlers. Not responsible for: anything that can be tested without Python.

mod buffer;
mod data;
mod errors;
mod orchestrator;
mod replies;
mod waiting;

use pyo3::prelude::*;

#[pymodule]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    module.add("WireError", py.get_type::<errors::WireError>())?;
    module.add("PeerError", py.get_type::<errors::PeerError>())?;
    module.add_class::<buffer::Buffer>()?;
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
    module.add_class::<orchestrator::OrchestratorClient>()?;
    Ok(())
}
