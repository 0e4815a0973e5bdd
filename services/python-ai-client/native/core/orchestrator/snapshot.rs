//! Snapshots: the bytes of one file, sent and received in pieces.

use pangea_wire::schema::{message, snapshot, MessageType, MAX_CHUNK_BYTES};
use pangea_wire::{data_slot, AlignedBuffer, Attachments, Pool, WireError};
use sha2::{Digest, Sha256};

use crate::error::CoreError;
use crate::link::{Connection, Received, Waiter};
use crate::values::hash;

/// Largest snapshot to accept. Memory is allocated as its bytes arrive, so this guards against a
/// wrong number, not against load.
const MAX_SNAPSHOT_BYTES: u64 = 1 << 40;
/// Index of `Snapshot.data` among the pointer fields of `Snapshot`: parametersHash, data, hash.
const SNAPSHOT_DATA_POINTER: usize = 1;

/// Sends `data` without copying it, as frames with one request id. There is no reply.
pub(crate) fn send_snapshot(
    connection: &mut Connection,
    step: u64,
    parameters_hash: &[u8],
    data: &[u8],
    waiter: &mut impl Waiter,
) -> Result<(), CoreError> {
    let request = connection.next_request_id();
    let mut digest = Sha256::new();
    let mut at = 0;
    loop {
        let end = data.len().min(at + MAX_CHUNK_BYTES as usize);
        let chunk = &data[at..end];
        digest.update(chunk);
        let mut builder = capnp::message::Builder::new_default();
        let mut root = builder.init_root::<message::Builder<'_>>();
        root.set_type(MessageType::Snapshot);
        root.set_request_id(request);
        let mut snapshot = root.init_snapshot();
        snapshot.set_step(step);
        snapshot.set_parameters_hash(parameters_hash);
        snapshot.set_total_bytes(data.len() as u64);
        snapshot.set_byte_offset(at as u64);
        let is_final = end == data.len();
        if is_final {
            snapshot.set_hash(&digest.clone().finalize());
            snapshot.set_final(true);
        }
        let slot = data_slot(snapshot.reborrow_as_reader(), SNAPSHOT_DATA_POINTER);
        let slot = slot.ok_or(WireError::MalformedHeader(
            "a snapshot without a data pointer",
        ));
        let mut attachments = Attachments::new();
        attachments.push(slot.map_err(|error| connection.wire_error(error))?, chunk);
        connection.send(&builder, attachments, waiter)?;
        if is_final {
            return Ok(());
        }
        at = end;
    }
}

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
