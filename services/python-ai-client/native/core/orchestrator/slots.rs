//! Memory of this worker that the orchestrator reads gradients from, over a Unix socket.
//!
//! A slot is written, named by one message, and not written again before the orchestrator has
//! listed it as released. The message is what submits the gradients: what a slot holds before it
//! counts for nothing.

use std::ptr::{self, NonNull};
use std::sync::Arc;

use pangea_content_hash::{ContentHasher, Method};
use pangea_shared_memory::OwnedRegion;
use pangea_wire::schema::{message, place};
use pangea_wire::WireError;

use crate::error::CoreError;
use crate::failpoint::{self, Point};
use crate::link::Received;

/// Most slots of a worker. One that submits more sums at once sends the others in frames.
const MAX_SLOTS: usize = 8;

/// How much is copied at once: it is still in the processor's cache when it is hashed.
const PART_BYTES: usize = 64 << 10;

/// The memory of a slot, to be filled with gradients by whoever was given it.
#[derive(Clone)]
pub struct SlotMemory(Arc<OwnedRegion>);

impl SlotMemory {
    /// Its first byte, page-aligned; valid for [`len`](Self::len) bytes, to read and to write.
    pub fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

/// Where gradients are that one message submits.
pub(super) struct Placed {
    region: u32,
    generation: u64,
    bytes: u64,
    digest: [u8; 32],
}

impl Placed {
    pub(super) fn write(&self, mut to: place::Builder<'_>) {
        to.set_region(self.region);
        to.set_generation(self.generation);
        to.set_bytes(self.bytes);
        to.set_digest(&self.digest);
    }
}

#[derive(Clone, Copy, PartialEq)]
enum State {
    /// The orchestrator has not said yet that it uses it, or reads gradients from it.
    Busy,
    Free,
    /// Given out to be filled.
    Lent,
}

struct Slot {
    memory: SlotMemory,
    generation: u64,
    state: State,
}

impl Slot {
    /// Whether nobody else in this process has its memory.
    fn is_unused(&self) -> bool {
        Arc::strong_count(&self.memory.0) == 1
    }

    fn is_free(&self) -> bool {
        self.state == State::Free && self.is_unused()
    }
}

/// The slots of one connection.
#[derive(Default)]
pub(super) struct Slots {
    slots: Vec<Slot>,
    /// Of one slot.
    bytes: usize,
    /// There is no memory for more.
    exhausted: bool,
}

impl Slots {
    /// Offers slots for gradients of this size to the orchestrator until there are `count`. Where
    /// there is no memory for them, gradients travel in frames.
    pub(super) fn offer(
        &mut self,
        count: usize,
        bytes: usize,
        mut announce: impl FnMut(u32, &OwnedRegion) -> Result<(), CoreError>,
    ) -> Result<(), CoreError> {
        self.bytes = bytes;
        while self.slots.len() < count.min(MAX_SLOTS) && !self.exhausted && bytes > 0 {
            let Ok(region) = OwnedRegion::create(bytes) else {
                self.exhausted = true;
                return Ok(());
            };
            let id = self.slots.len() as u32;
            announce(id, &region)?;
            self.slots.push(Slot {
                memory: SlotMemory(Arc::new(region)),
                generation: 0,
                state: State::Busy,
            });
        }
        Ok(())
    }

    /// Takes the list of released slots from a reply.
    pub(super) fn read_released(&mut self, reply: &Received) -> Result<(), WireError> {
        let root = reply.reader.get_root::<message::Reader<'_>>()?;
        let released = match root.which() {
            Ok(message::GradientAck(ack)) => ack?.get_released()?,
            Ok(message::ShardLease(lease)) => lease?.get_released()?,
            Ok(message::Aggregate(aggregate)) => aggregate?.get_released()?,
            _ => return Ok(()),
        };
        self.release(released.iter())
    }

    fn release(&mut self, released: impl Iterator<Item = u32>) -> Result<(), WireError> {
        for id in released {
            match self.slots.get_mut(id as usize) {
                Some(slot) if slot.state == State::Busy => slot.state = State::Free,
                _ => {
                    return Err(WireError::Field {
                        field: "released",
                        reason: format!("has region {id}, which is not in use"),
                    })
                }
            }
        }
        Ok(())
    }

    /// Gives out a free slot to be filled; None where there is none. It is free again once its
    /// memory was dropped without having been submitted.
    pub(super) fn lend(&mut self) -> Option<SlotMemory> {
        self.reclaim();
        let slot = self.slots.iter_mut().find(|slot| slot.is_free())?;
        slot.state = State::Lent;
        Some(slot.memory.clone())
    }

    fn reclaim(&mut self) {
        for slot in &mut self.slots {
            if slot.state == State::Lent && slot.is_unused() {
                slot.state = State::Free;
            }
        }
    }

    /// Prepares gradients to be submitted: those in a lent slot where they are, others by a copy
    /// into a free one. None where there is none. `digest` is that of gradients in a slot, if they
    /// were hashed as they were written; then they are not read again.
    pub(super) fn place(&mut self, gradients: &[u8], digest: Option<[u8; 32]>) -> Option<Placed> {
        if gradients.len() != self.bytes || self.bytes == 0 {
            return None;
        }
        self.reclaim();
        let in_place = self.slots.iter().position(|slot| {
            slot.state == State::Lent && ptr::eq(slot.memory.start().as_ptr(), gradients.as_ptr())
        });
        let free = || self.slots.iter().position(Slot::is_free);
        let index = in_place.or_else(free)?;
        let slot = &mut self.slots[index];
        let digest = match digest.filter(|_| in_place.is_some()) {
            Some(digest) => digest,
            None => hash_into(in_place.is_none().then_some(&slot.memory), gradients),
        };
        failpoint::hit(Point::SharedBeforeSubmit);
        slot.generation += 1;
        slot.state = State::Busy;
        Some(Placed {
            region: index as u32,
            generation: slot.generation,
            bytes: gradients.len() as u64,
            digest,
        })
    }
}

/// The content hash of gradients, which are copied to `slot` meanwhile if they are not in it.
fn hash_into(slot: Option<&SlotMemory>, gradients: &[u8]) -> [u8; 32] {
    let mut hasher = ContentHasher::new(Method::Xxh3Tree, gradients.len() as u64);
    for (number, part) in gradients.chunks(PART_BYTES).enumerate() {
        if let Some(slot) = slot {
            // SAFETY: the slot has as many bytes as the gradients, which are not in it: it is free,
            // so nobody else in this process has its memory.
            unsafe {
                let to = slot.start().as_ptr().add(number * PART_BYTES);
                ptr::copy_nonoverlapping(part.as_ptr(), to, part.len());
            }
        }
        hasher.update(part);
        if number == gradients.len() / PART_BYTES / 2 {
            failpoint::hit(Point::SharedInsideWrite);
        }
    }
    hasher.finish()
}

#[cfg(test)]
#[path = "slots_test.rs"]
mod tests;
