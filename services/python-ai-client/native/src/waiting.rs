//! Waiting without the GIL, while Python's signal handlers run at least each tenth of a second.

use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, TryLockError};
use std::time::Duration;

use native_core::{CoreError, ErrorKind, Options, Waiter};
use pangea_wire::{available_memory, Pool};
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::errors::{to_python, wire_error};

/// Runs signal handlers and keeps what one of them raises.
pub(crate) struct Signals {
    raised: Option<PyErr>,
}

impl Waiter for Signals {
    fn tick(&mut self) -> Result<(), CoreError> {
        Python::attach(|py| py.check_signals()).map_err(|error| {
            self.raised = Some(error);
            CoreError::Interrupted
        })
    }
}

/// Runs `work` without the GIL.
pub(crate) fn without_gil<T: Send>(
    py: Python<'_>,
    work: impl FnOnce(&mut Signals) -> Result<T, CoreError> + Send,
) -> PyResult<T> {
    let mut signals = Signals { raised: None };
    let result = py.detach(|| work(&mut signals));
    result.map_err(|error| to_python(py, error, signals.raised))
}

/// Holds a client for one call at a time, until `close`.
pub(crate) struct Slot<C> {
    address: String,
    client: Mutex<Option<C>>,
}

impl<C: Send> Slot<C> {
    pub(crate) fn new(address: String, client: C) -> Self {
        Self {
            address,
            client: Mutex::new(Some(client)),
        }
    }

    /// Runs `work` on the client, without the GIL.
    pub(crate) fn with<T: Send>(
        &self,
        py: Python<'_>,
        work: impl FnOnce(&mut C, &mut Signals) -> Result<T, CoreError> + Send,
    ) -> PyResult<T> {
        // Never waits for the lock: a signal handler that runs inside a call on the same thread
        // would wait forever.
        let Some(mut guard) = self.try_lock() else {
            let address = &self.address;
            return Err(PyRuntimeError::new_err(format!(
                "the connection to {address} is in use by another call; make one call at a time"
            )));
        };
        let Some(client) = guard.as_mut() else {
            let address = &self.address;
            let message = format!("the connection to {address} was closed by `close`");
            return Err(wire_error(py, message, ErrorKind::Closed));
        };
        without_gil(py, |signals| work(client, signals))
    }

    /// Runs `work` on the client in a thread without the GIL, once no other call uses it. None once
    /// it is closed.
    pub(crate) fn with_client<T>(&self, work: impl FnOnce(&mut C) -> T) -> Option<T> {
        let locked = self.client.lock();
        let mut guard = locked.unwrap_or_else(std::sync::PoisonError::into_inner);
        guard.as_mut().map(work)
    }

    /// Drops the client; while a call is using it, it is dropped with this slot instead.
    pub(crate) fn clear(&self) {
        if let Some(mut guard) = self.try_lock() {
            guard.take();
        }
    }

    fn try_lock(&self) -> Option<MutexGuard<'_, Option<C>>> {
        match self.client.try_lock() {
            Ok(guard) => Some(guard),
            // A panic in an earlier call became a Python exception; the connection refuses further
            // use by itself.
            Err(TryLockError::Poisoned(poisoned)) => Some(poisoned.into_inner()),
            Err(TryLockError::WouldBlock) => None,
        }
    }
}

/// The options of a connection, checked.
pub(crate) fn options(
    timeout: f64,
    max_frame_bytes: u64,
    identity: Option<PathBuf>,
) -> PyResult<Options> {
    let timeout = Duration::try_from_secs_f64(timeout).ok();
    let timeout = timeout.filter(|timeout| !timeout.is_zero() && timeout.as_secs() < 1 << 32);
    let timeout = timeout
        .ok_or_else(|| PyValueError::new_err("timeout must be a number of seconds above 0"))?;
    Ok(Options {
        timeout,
        max_frame_bytes,
        identity,
    })
}

/// A duration that may be zero, checked.
pub(crate) fn seconds(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds).map_err(|_| {
        PyValueError::new_err(format!("{name} must be a number of seconds, at least 0"))
    })
}

/// Memory that is kept for reuse, so that steady training allocates none.
const IDLE_BYTES: usize = 512 << 20;

/// The memory pool of this process. What a worker requests is bounded by the number of its batches
/// and the size of its model; the limit is for peers that send what nobody requested.
pub(crate) fn pool() -> &'static Pool {
    static POOL: std::sync::OnceLock<Pool> = std::sync::OnceLock::new();
    POOL.get_or_init(|| Pool::new(available_memory(), IDLE_BYTES))
}
