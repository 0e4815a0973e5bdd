//! Memory that Python accesses through the buffer protocol, without a copy.

use std::ffi::c_int;

use native_core::Memory;
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;

/// Writable memory, 64-byte aligned. It lives as long as any view of it (a memoryview, a torch
/// tensor, an array).
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct Buffer {
    memory: Memory,
}

impl Buffer {
    pub(crate) fn new(memory: impl Into<Memory>) -> Self {
        let memory = memory.into();
        Self { memory }
    }
}

#[pymethods]
impl Buffer {
    fn __len__(&self) -> usize {
        self.memory.len()
    }

    fn __repr__(&self) -> String {
        format!("<Buffer of {} bytes>", self.memory.len())
    }

    /// Fills `view` with a writable view of bytes that holds a reference to this object.
    ///
    /// # Safety
    /// Called by the interpreter only, with a valid `view`.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let memory = &slf.get().memory;
        let len = ffi::Py_ssize_t::try_from(memory.len())
            .map_err(|_| PyValueError::new_err("the buffer is larger than Python can index"))?;
        let start = memory.as_ptr().as_ptr().cast();
        // SAFETY: `start` is valid for `len` bytes while the buffer object lives, and the filled
        // view owns a reference to it. Rust makes no slice of this memory once Python has it, so
        // Python is free to write to it.
        let filled = unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, 0, flags) };
        if filled == 0 {
            Ok(())
        } else {
            Err(PyErr::fetch(slf.py()))
        }
    }

    /// Releases nothing: the interpreter drops the view's reference to this object, which is all
    /// that it holds.
    ///
    /// # Safety
    /// Called by the interpreter only.
    unsafe fn __releasebuffer__(&self, _view: *mut ffi::Py_buffer) {}
}

/// The buffer of a Python object, held for as long as this lives.
pub(crate) enum Held {
    Floats(pyo3::buffer::PyBuffer<f32>),
    Bytes(pyo3::buffer::PyBuffer<u8>),
}

impl Held {
    /// Memory of float32 elements, or plain bytes that are taken as such (a `Buffer`).
    pub(crate) fn floats(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        let held = match pyo3::buffer::PyBuffer::<f32>::get(object) {
            Ok(floats) => Self::Floats(floats),
            Err(_) => Self::Bytes(Self::plain(object, "float32 elements")?),
        };
        held.checked()
    }

    /// Memory of plain bytes.
    pub(crate) fn bytes(object: &Bound<'_, PyAny>) -> PyResult<Self> {
        Self::Bytes(Self::plain(object, "bytes")?).checked()
    }

    fn plain(object: &Bound<'_, PyAny>, what: &str) -> PyResult<pyo3::buffer::PyBuffer<u8>> {
        pyo3::buffer::PyBuffer::get(object).map_err(|error| {
            let kind = object.get_type();
            let message = format!(
                "{kind} gives no buffer of {what} ({error}); for a torch tensor, pass `tensor.numpy()`"
            );
            PyTypeError::new_err(message)
        })
    }

    fn checked(self) -> PyResult<Self> {
        let contiguous = match &self {
            Self::Floats(buffer) => buffer.is_c_contiguous(),
            Self::Bytes(buffer) => buffer.is_c_contiguous(),
        };
        if contiguous {
            Ok(self)
        } else {
            Err(PyValueError::new_err("the buffer is not C-contiguous"))
        }
    }

    /// The bytes. The caller of the Python function must not change them until it returns, as with
    /// any other writer.
    pub(crate) fn as_slice(&self) -> &[u8] {
        let (start, len) = match self {
            Self::Floats(buffer) => (buffer.buf_ptr(), buffer.len_bytes()),
            Self::Bytes(buffer) => (buffer.buf_ptr(), buffer.len_bytes()),
        };
        if len == 0 {
            return &[];
        }
        // SAFETY: the exporter keeps `len` contiguous bytes at `start` alive and in place while
        // `self` holds the buffer, which is longer than the returned borrow. That nobody writes
        // meanwhile is the caller's duty; the bytes are only sent and hashed, so a violation gives
        // a hash mismatch at the other end and no more.
        unsafe { std::slice::from_raw_parts(start.cast::<u8>(), len) }
    }
}
