//! Content hashes and checksums of Python's tensors.

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

/// The checksum of each piece of memory: its address and its bytes. Asking each of many tensors for
/// its buffer would take longer than reading it. Only `pangea.training.watch` calls this: it holds
/// the tensors meanwhile.
#[pyfunction]
pub(crate) fn checksums(py: Python<'_>, pieces: Vec<(usize, usize)>) -> PyResult<Vec<u64>> {
    if let Some((_, bytes)) = pieces
        .iter()
        .find(|(address, bytes)| *address == 0 && *bytes > 0)
    {
        return Err(PyValueError::new_err(format!(
            "a piece of {bytes} bytes has no address"
        )));
    }
    Ok(py.detach(|| {
        let sums = pieces.iter().map(|(address, bytes)| {
            if *bytes == 0 {
                return 0;
            }
            // SAFETY: the caller of the Python function holds memory of that size there. Whoever
            // writes to it meanwhile gets a checksum that differs, which is what it is for.
            let piece = unsafe { std::slice::from_raw_parts(*address as *const u8, *bytes) };
            native_core::checksum(piece)
        });
        sums.collect()
    }))
}
