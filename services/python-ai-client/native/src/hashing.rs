//! Content hashes of Python's tensors.

use pangea_content_hash::Method;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Held;

/// The method with this name, checked.
pub(crate) fn method(name: &str) -> PyResult<Method> {
    Method::from_name(name).ok_or_else(|| {
        let known = Method::ALL.map(Method::name).join("`, `");
        PyValueError::new_err(format!("content hash `{name}` is none of `{known}`"))
    })
}

/// Hashes tensors, in their order, without the GIL: another thread may compute meanwhile, as long
/// as it does not change them.
#[pyfunction]
#[pyo3(signature = (tensors, method = "xxh3Tree"))]
pub(crate) fn content_hash<'py>(
    py: Python<'py>,
    tensors: Vec<Bound<'py, PyAny>>,
    method: &str,
) -> PyResult<Bound<'py, PyBytes>> {
    let method = self::method(method)?;
    let held: Vec<Held> = tensors.iter().map(Held::bytes).collect::<PyResult<_>>()?;
    let slices: Vec<&[u8]> = held.iter().map(Held::as_slice).collect();
    let hash = py.detach(|| pangea_content_hash::content_hash(method, slices));
    Ok(PyBytes::new(py, &hash))
}
