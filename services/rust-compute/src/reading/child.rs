//! The child: opens the one file, gives up everything else, reads, and hands over.

use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;

use anyhow::{Context, Result};
use pangea_wire::available_memory;
use rust_compute_dataset::Prepared;
use rust_compute_sources::{open_file, read_file, Spec};
use rust_compute_storage::Storage;
use rustix::process::{set_parent_process_death_signal, Signal};

use crate::handover::{send, send_error};
use crate::sandbox::{bound, confine, Bounds};

/// Addresses that a thread takes besides its data: a stack and an arena of the allocator.
const THREAD_BYTES: u64 = 256 << 20;

/// Reads a dataset as the command line asks, and hands it over on the socket that is stdin.
pub fn run(arguments: &mut dyn Iterator<Item = String>) -> Result<()> {
    let stdin = std::io::stdin().as_fd().try_clone_to_owned();
    let socket = UnixStream::from(stdin.context("stdin is closed")?);
    let mut argument = || arguments.next().context("started by rust-compute only");
    let (spec, data_dir) = (argument()?, argument()?);
    let (max_bytes, seconds) = (argument()?.parse()?, argument()?.parse()?);
    // Nobody waits for the result when the service has ended.
    set_parent_process_death_signal(Some(Signal::KILL))?;
    match prepare(&spec, &data_dir, max_bytes, seconds) {
        Ok((prepared, confined)) => send(prepared, confined, &socket)?,
        Err(error) => send_error(&format!("{error:#}"), &socket)?,
    }
    Ok(())
}

fn prepare(
    spec: &str,
    data_dir: &str,
    max_bytes: u64,
    processor_seconds: u64,
) -> Result<(Prepared, bool)> {
    let spec = Spec::parse(spec, Path::new(data_dir))?;
    let file = open_file(&spec, &Storage { max_bytes })?;
    let threads = std::thread::available_parallelism().map_or(1, |threads| threads.get());
    bound(Bounds {
        memory_bytes: (available_memory() as u64)
            .saturating_mul(2)
            .saturating_add(THREAD_BYTES * threads as u64),
        processor_seconds,
    })
    .context("cannot bound the process that reads the data")?;
    // Before any other thread is started: it applies to this one and its children.
    let confined = confine().context("cannot confine the process that reads the data")?;
    let columns = read_file(&spec, file)?;
    let prepared = Prepared::new(columns, spec.held_out())
        .with_context(|| format!("{} is not usable", spec.file().display()))?;
    Ok((prepared, confined))
}
