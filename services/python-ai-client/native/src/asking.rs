//! Asking for work in a thread of its own, which first hashes the parameters. It takes the GIL only
//! to wait for a copy of them, which releases it, so Python computes meanwhile. Few parameters are
//! hashed in less time than a thread takes to start, so there the caller does it.

use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};

use native_core::{
    CoreError, Figure, OrchestratorClient, Timings, Uninterrupted, Waiter, Work, TICK,
};
use pangea_content_hash::{content_hash, Method};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::buffer::Held;
use crate::waiting::{Signals, Slot};

/// What such a thread asks with.
pub(crate) struct Question {
    pub(crate) step: u64,
    pub(crate) content_hash: Method,
    pub(crate) timings: Timings,
    pub(crate) figures: Vec<Figure>,
}

/// The parameters that are being hashed.
struct Memory(Vec<Held>);

/// Bytes of parameters that are hashed by the caller.
pub(crate) const HASHED_AT_ONCE: usize = 256 << 10;

/// The hash of parameters, which a thread computes. Nobody may write to them before it is known.
#[pyclass(module = "pangea._native", frozen)]
pub(crate) struct ParametersHash {
    hash: Mutex<Receiver<Vec<u8>>>,
    known: std::sync::OnceLock<Vec<u8>>,
    thread: Mutex<Option<JoinHandle<()>>>,
    /// Held until the thread has ended, which reads it.
    _memory: Memory,
}

impl ParametersHash {
    /// One that is known already.
    pub(crate) fn known(hash: Vec<u8>) -> Self {
        Self {
            hash: Mutex::new(channel().1),
            known: hash.into(),
            thread: Mutex::new(None),
            _memory: Memory(Vec::new()),
        }
    }

    fn wait(&self) -> Option<&Vec<u8>> {
        if self.known.get().is_none() {
            // Whoever waited before us for the lock has stored the hash.
            let receiver = self.hash.lock().ok()?;
            if let Ok(hash) = receiver.recv() {
                return Some(self.known.get_or_init(|| hash));
            }
        }
        self.known.get()
    }
}

#[pymethods]
impl ParametersHash {
    /// Waits for the hash; from then on the parameters may be changed.
    fn value<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyBytes>> {
        let hash = py.detach(|| self.wait());
        let hash = hash.ok_or_else(|| {
            PyRuntimeError::new_err(
                "the parameters were not hashed; the next call of the client says why",
            )
        })?;
        Ok(PyBytes::new(py, hash))
    }
}

impl Drop for ParametersHash {
    fn drop(&mut self) {
        // The memory is released after this. The thread may need the GIL, to wait for its content.
        if let Ok(thread) = self.thread.get_mut() {
            if let Some(thread) = thread.take() {
                let _ = Python::attach(|py| py.detach(|| thread.join()));
            }
        }
    }
}

/// A question that a thread is about to send.
pub(crate) struct Asking(Receiver<Result<(), CoreError>>);

impl Asking {
    /// Waits until the question was sent.
    pub(crate) fn wait(&mut self, signals: &mut Signals) -> Result<(), CoreError> {
        loop {
            match self.0.recv_timeout(TICK) {
                Ok(result) => return result,
                Err(RecvTimeoutError::Timeout) => signals.tick()?,
                // It panicked, or the client was closed meanwhile: the next use of the client says
                // so.
                Err(RecvTimeoutError::Disconnected) => return Ok(()),
            }
        }
    }
}

/// Waits until `arrived` has returned; it may be none.
fn wait_for(arrived: Option<Py<PyAny>>) -> Result<(), String> {
    let Some(arrived) = arrived else {
        return Ok(());
    };
    let called = Python::try_attach(|py| {
        let result = arrived.call0(py).map(drop);
        drop(arrived);
        result.map_err(|error| format!("copying the parameters, to hash them, failed: {error}"))
    });
    called.unwrap_or_else(|| Err("Python is ending".to_owned()))
}

/// Starts a thread that hashes `memory` and then asks for work. Its content is there when `arrived`
/// has returned.
pub(crate) fn ask_beside(
    slot: &Arc<Slot<OrchestratorClient>>,
    memory: Vec<Held>,
    arrived: Option<Py<PyAny>>,
    question: Question,
) -> std::io::Result<(ParametersHash, Asking)> {
    let memory = Memory(memory);
    let outlive = |held: &Held| {
        // SAFETY: the slice is used by the thread alone, and `ParametersHash` keeps the memory that
        // it is of until the thread has ended (`drop`).
        unsafe { std::mem::transmute::<&[u8], &'static [u8]>(held.as_slice()) }
    };
    let tensors: Vec<&'static [u8]> = memory.0.iter().map(outlive).collect();
    let (send_hash, hash) = channel();
    let (send_result, result) = channel();
    let slot = Arc::clone(slot);
    let thread = thread::Builder::new().name("pangea-ask".to_owned());
    let thread = thread.spawn(move || {
        if let Err(reason) = wait_for(arrived) {
            let _ = send_result.send(Err(CoreError::Argument(reason)));
            return; // Whoever asks for the hash is told that there is none.
        }
        let parameters_hash = content_hash(question.content_hash, tensors).to_vec();
        // Fails if nobody wants to know any more.
        let _ = send_hash.send(parameters_hash.clone());
        let asked = slot.with_client(|client| {
            let work = Work {
                step: question.step,
                parameters_hash: &parameters_hash,
                timings: question.timings,
                stop: "",
                figures: &question.figures,
            };
            client.ask(&work, &mut Uninterrupted)
        });
        if let Some(asked) = asked {
            let _ = send_result.send(asked);
        }
    })?;
    let hash = ParametersHash {
        hash: Mutex::new(hash),
        known: std::sync::OnceLock::new(),
        thread: Mutex::new(Some(thread)),
        _memory: memory,
    };
    Ok((hash, Asking(result)))
}
