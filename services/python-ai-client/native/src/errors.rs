//! Errors of the core as Python exceptions: `ValueError` for the caller's, `PeerError` for refusals, `WireError` for the rest.

use native_core::{action_name, CoreError};
use pyo3::create_exception;
use pyo3::exceptions::{PyException, PyRuntimeError, PyValueError};
use pyo3::prelude::*;

create_exception!(
    pangea._native,
    WireError,
    PyException,
    "A broken frame, a limit, a lost or refused connection. The message names the address."
);
create_exception!(
    pangea._native,
    PeerError,
    PyException,
    "An `ErrorReply`: `action` says what to do, `detail` what went wrong, `retry_after` when to try again, in seconds."
);

/// The Python exception for `error`. `interrupt` is what a signal handler raised, if one did.
pub(crate) fn to_python(py: Python<'_>, error: CoreError, interrupt: Option<PyErr>) -> PyErr {
    match error {
        CoreError::Interrupted => {
            interrupt.unwrap_or_else(|| PyRuntimeError::new_err("interrupted without a reason"))
        }
        CoreError::Argument(message) => PyValueError::new_err(message),
        CoreError::Peer {
            action,
            detail,
            retry_after_seconds,
            ..
        } => {
            let action = action_name(action);
            let raised = PeerError::new_err(format!("{action}: {detail}"));
            let value = raised.value(py);
            let set = value
                .setattr("action", action)
                .and_then(|()| value.setattr("detail", detail))
                .and_then(|()| value.setattr("retry_after", retry_after_seconds));
            set.err().unwrap_or(raised)
        }
        other => WireError::new_err(other.to_string()),
    }
}
