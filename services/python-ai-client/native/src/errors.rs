//! Errors of the core as Python exceptions: `ValueError` for wrong arguments, `PeerError` for
//! refusals, `WireError` for the rest.

use native_core::{CoreError, ErrorKind};
use pangea_wire::SchemaName;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;
use pyo3::{create_exception, import_exception};

import_exception!(pangea.errors, PangeaError);

create_exception!(
    pangea._native,
    WireError,
    PangeaError,
    "A connection that was lost, cannot be made, or broke the protocol. `kind` says which; the message names the address."
);
create_exception!(
    pangea._native,
    PeerError,
    PangeaError,
    "An `ErrorReply`: `action` says what to do, `detail` what went wrong, `retry_after` when to try again, in seconds."
);

/// Adds the exceptions to the module. Their class has a `kind` as well: an exception that Python
/// code raises is about a lost connection.
pub(crate) fn add_to(module: &Bound<'_, PyModule>) -> PyResult<()> {
    let py = module.py();
    let (wire, peer) = (py.get_type::<WireError>(), py.get_type::<PeerError>());
    wire.setattr("kind", ErrorKind::Lost.name())?;
    peer.setattr("kind", ErrorKind::Refused.name())?;
    module.add("WireError", wire)?;
    module.add("PeerError", peer)
}

/// A `WireError`.
pub(crate) fn wire_error(py: Python<'_>, message: String, kind: ErrorKind) -> PyErr {
    let raised = WireError::new_err(message);
    let set = raised.value(py).setattr("kind", kind.name());
    set.err().unwrap_or(raised)
}

/// The Python exception for `error`. `interrupt` is what a signal handler raised, if one did.
pub(crate) fn to_python(py: Python<'_>, error: CoreError, interrupt: Option<PyErr>) -> PyErr {
    let kind = error.kind().unwrap_or(ErrorKind::Lost);
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
            let action = action.schema_name();
            let raised = PeerError::new_err(format!("{action}: {detail}"));
            let value = raised.value(py);
            let set = value
                .setattr("action", action)
                .and_then(|()| value.setattr("detail", detail))
                .and_then(|()| value.setattr("retry_after", retry_after_seconds));
            set.err().unwrap_or(raised)
        }
        other => wire_error(py, other.to_string(), kind),
    }
}
