//! A worker's state on its way to the orchestrator: a thread hashes and sends a copy of it, in
//! pieces between the frames of what the worker does next.

use std::io;
use std::sync::mpsc::{channel, Receiver, RecvTimeoutError};
use std::thread::{self, JoinHandle};

use pangea_wire::schema::{message, MessageType};
use pangea_wire::{data_slot, AlignedBuffer, Attachments, WireError};
use sha2::{Digest, Sha256};

use super::requests::{envelope, Builder};
use crate::error::CoreError;
use crate::link::{Beside, Waiter, TICK};

/// Of the state in one frame: no other frame waits for more than that.
const PIECE_BYTES: usize = 256 << 10;
/// Index of `Snapshot.data` among the pointer fields of `Snapshot`: parametersHash, data, hash.
const SNAPSHOT_DATA_POINTER: usize = 1;

/// What is sent.
pub(super) struct State {
    pub(super) request: u64,
    pub(super) step: u64,
    pub(super) parameters_hash: Vec<u8>,
    /// The bytes of a safetensors file.
    pub(super) file: AlignedBuffer,
}

/// The thread that sends a state; none for a worker that gives nothing. Dropping it waits for the
/// thread, which ends once the connection is closed.
#[derive(Default)]
pub(super) struct Donation(Option<(JoinHandle<()>, Receiver<()>)>);

impl Donation {
    pub(super) fn start(state: State, link: Beside) -> io::Result<Self> {
        let (ended, end) = channel();
        let thread = thread::Builder::new().name("pangea-state".to_owned());
        let thread = thread.spawn(move || {
            // The owner of the connection meets the same error.
            let _ = send(&state, &link);
            drop(ended);
        })?;
        Ok(Self(Some((thread, end))))
    }

    /// Waits until the state was sent, or cannot be.
    pub(super) fn wait(&mut self, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        if let Some((_, end)) = &self.0 {
            while end.recv_timeout(TICK) == Err(RecvTimeoutError::Timeout) {
                waiter.tick()?;
            }
        }
        self.0 = None;
        Ok(())
    }
}

impl Drop for Donation {
    fn drop(&mut self) {
        if let Some((thread, _)) = self.0.take() {
            // A panic of the thread has been printed already; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn send(state: &State, link: &Beside) -> Result<(), CoreError> {
    let file = state.file.as_slice();
    let mut digest = Sha256::new();
    let mut at = 0;
    for piece in file.chunks(PIECE_BYTES) {
        digest.update(piece);
        let mut builder = Builder::new_default();
        let root = envelope(&mut builder, state.request, MessageType::Snapshot);
        let slot = write_piece(root, state, at, piece, &digest);
        let mut attachments = Attachments::new();
        attachments.push(slot.map_err(|source| link.error(source))?, piece);
        link.send(&builder, attachments)?;
        at += piece.len();
    }
    Ok(())
}

/// Writes a frame without its data; returns where that belongs.
fn write_piece(
    root: message::Builder<'_>,
    state: &State,
    at: usize,
    piece: &[u8],
    digest: &Sha256,
) -> Result<pangea_wire::DataSlot, WireError> {
    let mut snapshot = root.init_snapshot();
    snapshot.set_step(state.step);
    snapshot.set_parameters_hash(&state.parameters_hash);
    snapshot.set_total_bytes(state.file.len() as u64);
    snapshot.set_byte_offset(at as u64);
    if at + piece.len() == state.file.len() {
        snapshot.set_hash(&digest.clone().finalize());
        snapshot.set_final(true);
    }
    data_slot(snapshot.reborrow_as_reader(), SNAPSHOT_DATA_POINTER).ok_or(
        WireError::MalformedHeader("a snapshot without a data pointer"),
    )
}
