//! Snapshots that arrive: the bytes of one file, in pieces.

use pangea_wire::schema::{message, snapshot};
use pangea_wire::{AlignedBuffer, Pool, WireError};
use sha2::{Digest, Sha256};

use crate::link::Received;
use crate::values::hash;

/// Largest snapshot to accept. Memory is allocated as its bytes arrive, so this guards against a
/// wrong number, not against load.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 40;

/// The whole state of a worker after `step` steps: the bytes of a safetensors file. Their hash has
/// been verified.
pub struct Snapshot {
    pub step: u64,
    pub parameters_hash: Vec<u8>,
    pub data: AlignedBuffer,
}

/// A snapshot of which some frames have arrived.
#[derive(Default)]
pub(crate) struct SnapshotAssembler {
    started: Option<Started>,
}

struct Started {
    data: AlignedBuffer,
    digest: Sha256,
    step: u64,
    parameters_hash: Vec<u8>,
}

impl SnapshotAssembler {
    /// Takes the next frame; returns the snapshot after the last one.
    pub(crate) fn add(
        &mut self,
        received: Received,
        pool: &Pool,
    ) -> Result<Option<Snapshot>, WireError> {
        let root = received.reader.get_root::<message::Reader<'_>>()?;
        let Ok(message::Snapshot(frame)) = root.which() else {
            return Err(malformed("is not what the union holds"));
        };
        let frame = frame?;
        let mut current = match self.started.take() {
            Some(started) => started,
            None => start(frame, pool)?,
        };
        let same = current.step == frame.get_step()
            && current.parameters_hash == frame.get_parameters_hash()?
            && current.data.capacity() as u64 == frame.get_total_bytes();
        if !same {
            return Err(malformed(
                "has frames that differ in step, parametersHash or totalBytes",
            ));
        }
        if frame.get_byte_offset() != current.data.len() as u64 {
            return Err(malformed("has a gap or an overlap between its pieces"));
        }
        let piece = frame.get_data()?;
        current.digest.update(piece);
        current.data.extend_from_slice(piece)?;
        if !frame.get_final() {
            self.started = Some(current);
            return Ok(None);
        }
        if !current.data.is_full() {
            return Err(malformed("is incomplete after its last frame"));
        }
        if current.digest.finalize().as_slice() != hash(frame.get_hash()?, "Snapshot.hash")? {
            return Err(malformed("has bytes that do not match its hash"));
        }
        Ok(Some(Snapshot {
            step: current.step,
            parameters_hash: current.parameters_hash,
            data: current.data,
        }))
    }
}

fn start(frame: snapshot::Reader<'_>, pool: &Pool) -> Result<Started, WireError> {
    let total = frame.get_total_bytes();
    let limit = MAX_SNAPSHOT_BYTES;
    let bytes = usize::try_from(total).ok().filter(|_| total <= limit);
    let bytes = bytes.ok_or(WireError::LimitExceeded {
        what: "bytes of a snapshot",
        asked: total,
        limit,
    })?;
    Ok(Started {
        data: pool.buffer(bytes)?,
        digest: Sha256::new(),
        step: frame.get_step(),
        parameters_hash: hash(frame.get_parameters_hash()?, "Snapshot.parametersHash")?,
    })
}

fn malformed(reason: &str) -> WireError {
    WireError::Field {
        field: "snapshot",
        reason: reason.to_owned(),
    }
}
