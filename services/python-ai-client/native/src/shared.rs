//! Memory that this worker and the orchestrator share, for the buffer protocol.

use std::ffi::c_int;
use std::ptr::NonNull;

use native_core::{SharedGradients, SlotMemory};
use pyo3::exceptions::PyValueError;
use pyo3::ffi;
use pyo3::prelude::*;

enum Memory {
    /// To be filled with gradients; see `OrchestratorClient.slot`.
    Slot(SlotMemory),
    /// An aggregate, to be read until the next request for work. Writing to it ends the process.
    Aggregate(SharedGradients),
}

/// Memory that this worker and the orchestrator share: a slot, which is writable, or an aggregate.
/// It is mapped for as long as any view of it lives.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct SharedBuffer {
    memory: Memory,
}

impl From<SlotMemory> for SharedBuffer {
    fn from(slot: SlotMemory) -> Self {
        let memory = Memory::Slot(slot);
        Self { memory }
    }
}

impl From<SharedGradients> for SharedBuffer {
    fn from(gradients: SharedGradients) -> Self {
        let memory = Memory::Aggregate(gradients);
        Self { memory }
    }
}

impl SharedBuffer {
    fn start(&self) -> NonNull<u8> {
        match &self.memory {
            Memory::Slot(slot) => slot.start(),
            Memory::Aggregate(gradients) => gradients.start(),
        }
    }

    fn is_read_only(&self) -> bool {
        matches!(self.memory, Memory::Aggregate(_))
    }
}

#[pymethods]
impl SharedBuffer {
    fn __len__(&self) -> usize {
        match &self.memory {
            Memory::Slot(slot) => slot.len(),
            Memory::Aggregate(gradients) => gradients.len(),
        }
    }

    fn __repr__(&self) -> String {
        format!("<SharedBuffer of {} bytes>", self.__len__())
    }

    /// Fills `view` with a view of bytes that holds a reference to this object.
    ///
    /// # Safety
    /// Called by the interpreter only, with a valid `view`.
    unsafe fn __getbuffer__(
        slf: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let this = slf.get();
        let len = ffi::Py_ssize_t::try_from(this.__len__())
            .map_err(|_| PyValueError::new_err("the buffer is larger than Python can index"))?;
        let start = this.start().as_ptr().cast();
        let read_only = c_int::from(this.is_read_only());
        // SAFETY: `start` is valid for `len` bytes while the object lives, and the filled view owns
        // a reference to it. A slot that was lent is written by Python alone until it is submitted;
        // an aggregate is not written while this worker may read it, which is until its next
        // request for work.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, slf.as_ptr(), start, len, read_only, flags) };
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
