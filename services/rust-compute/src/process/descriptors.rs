//! File descriptors: as many as the limits promise, or a refusal at the start.

use anyhow::{bail, Result};
use rustix::process::{getrlimit, setrlimit, Resource, Rlimit};

/// Connections of the pages at a time; a probe takes a millisecond.
pub const PAGES: usize = 64;
/// For everything that is not a connection: listeners, the log, the runtime, files.
const OTHERS: usize = 64;
/// Shared memory: each region that is lent to a worker on this machine keeps one. Where fewer are
/// left, fewer batches are lent.
const REGIONS: usize = 4096;

/// Raises the limit of open files to what is needed for that many workers. Returns how many regions
/// may be lent.
pub fn reserve(max_connections: usize) -> Result<usize> {
    let needed = max_connections + PAGES + OTHERS;
    let limit = getrlimit(Resource::Nofile);
    let hard = limit.maximum.unwrap_or(u64::MAX);
    if hard < needed as u64 {
        bail!(
            "--max-connections {max_connections} needs {needed} open files, and this process may open \
            {hard}; lower it, or raise the limit (ulimit -Hn, LimitNOFILE= of a unit)"
        );
    }
    let wanted = hard.min((needed + REGIONS) as u64);
    if limit.current.is_some_and(|current| current < wanted) {
        let raised = Rlimit {
            current: Some(wanted),
            maximum: limit.maximum,
        };
        setrlimit(Resource::Nofile, raised)?;
    }
    Ok((wanted as usize - needed).min(REGIONS))
}
