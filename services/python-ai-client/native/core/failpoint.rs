//! Kills this process at a named point, so that a test can look at what a crash leaves behind.

use std::env;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::OnceLock;

/// Variable of the environment that names the point as POINT:N, like the orchestrator's.
const VARIABLE: &str = "PANGEA_CRASH_AT";

/// A place in the code where a crash is of interest.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Point {
    /// Gradients are half in a slot.
    SharedInsideWrite,
    /// They are in the slot, and no message names it.
    SharedBeforeSubmit,
}

impl Point {
    fn name(self) -> &'static str {
        match self {
            Self::SharedInsideWrite => "shared.inside-write",
            Self::SharedBeforeSubmit => "shared.before-submit",
        }
    }
}

/// Where a slot is written by others than this crate: its gradients are half in it.
pub fn inside_slot_write() {
    hit(Point::SharedInsideWrite);
}

/// Returns, unless this is the N-th time at the point where the process has to die.
pub(crate) fn hit(point: Point) {
    static CHOSEN: OnceLock<Option<(String, u32)>> = OnceLock::new();
    static HITS: AtomicU32 = AtomicU32::new(0);
    let chosen = CHOSEN.get_or_init(|| {
        let text = env::var(VARIABLE).ok()?;
        let (name, count) = text.split_once(':')?;
        Some((name.to_owned(), count.parse().ok()?))
    });
    let Some((name, count)) = chosen else { return };
    if name == point.name() && HITS.fetch_add(1, Ordering::Relaxed) + 1 == *count {
        // As kill -9 does: nothing is cleaned up.
        let _ =
            rustix::process::kill_process(rustix::process::getpid(), rustix::process::Signal::KILL);
        loop {
            std::thread::park();
        }
    }
}
