//! The settings of the process's allocator, made once, when the module is imported.
//!
//! Gradients have the same sizes in every pass. By default glibc takes large blocks from the system
//! and returns them at once, and the next pass pays for new pages: 1,700 page faults a pass for 23
//! MB of gradients, which take a fifth of its time. With these settings freed memory stays with the
//! process, and the next pass gets it while it is still in a cache. The process is as large as it
//! was at its largest.

use pyo3::exceptions::PyValueError;
use pyo3::PyResult;

const VARIABLE: &str = "PANGEA_MALLOC";
const SYSTEM: &str = "system";
const TUNED: &str = "tuned";

/// Sets the allocator up unless PANGEA_MALLOC says otherwise. Returns what is in effect: "tuned" or
/// "system".
pub(crate) fn configure() -> PyResult<&'static str> {
    match std::env::var_os(VARIABLE) {
        Some(value) if value == SYSTEM => return Ok(SYSTEM),
        Some(value) if !value.is_empty() && value != TUNED => {
            let value = value.to_string_lossy();
            return Err(PyValueError::new_err(format!(
                "{VARIABLE} is {value:?}; it must be \"{SYSTEM}\" for the settings of the C library, or \
                 \"{TUNED}\", the default, for memory that stays with the process"
            )));
        }
        _ => (),
    }
    Ok(if tune() { TUNED } else { SYSTEM })
}

/// Returns whether the allocator took the settings. Another allocator than glibc's is left alone.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn tune() -> bool {
    use std::ffi::c_int;

    extern "C" {
        fn mallopt(parameter: c_int, value: c_int) -> c_int;
    }
    const M_TRIM_THRESHOLD: c_int = -1;
    const M_TOP_PAD: c_int = -2;
    const M_MMAP_THRESHOLD: c_int = -3;
    const MIB: c_int = 1 << 20;

    // SAFETY: mallopt takes two numbers, and the allocator's own lock.
    let set = |parameter, value| unsafe { mallopt(parameter, value) == 1 };
    // Older releases refuse more than 32 MiB.
    (set(M_MMAP_THRESHOLD, 1024 * MIB) || set(M_MMAP_THRESHOLD, 32 * MIB))
        && set(M_TRIM_THRESHOLD, c_int::MAX)
        && set(M_TOP_PAD, 64 * MIB)
}

#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn tune() -> bool {
    false
}
