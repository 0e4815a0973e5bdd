//! Memory for frames and tensors: 64-byte aligned, pooled, allocated as bytes arrive, bounded by a
//! budget.
//!
//! A buffer of 16 MiB that has received nothing costs address space only: pages are touched (and
//! the budget is charged) in windows, as bytes arrive. A returned buffer keeps its touched pages in
//! the pool for the next one.

use std::alloc::{alloc, dealloc, Layout};
use std::collections::BTreeMap;
use std::ops::{Deref, Range};
use std::ptr::NonNull;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::WireError;

/// Alignment of every buffer: a cache line, and what vector instructions prefer.
pub const ALIGNMENT: usize = 64;

/// How much fresh memory is touched at a time. Larger reads gain nothing on a socket.
const WINDOW: usize = 256 * 1024;

/// Smaller blocks are not worth a lock: the system's allocator is as fast.
const SMALLEST_POOLED: usize = 4 * 1024;

/// One allocation. The first `initialised` bytes have been written at least once.
struct Block {
    start: NonNull<u8>,
    capacity: usize,
    initialised: usize,
}

// SAFETY: a block owns its memory alone; the pointer is not tied to a thread.
unsafe impl Send for Block {}
// SAFETY: shared references only read (`AlignedBuffer::as_slice`); writing needs `&mut`.
unsafe impl Sync for Block {}

impl Block {
    fn allocate(capacity: usize) -> Result<Self, WireError> {
        let out_of_memory = WireError::OutOfMemory { bytes: capacity };
        let Ok(layout) = Layout::from_size_align(capacity, ALIGNMENT) else {
            return Err(out_of_memory);
        };
        // SAFETY: `capacity_for` never gives 0, so the layout is not zero-sized.
        let start = NonNull::new(unsafe { alloc(layout) }).ok_or(out_of_memory)?;
        Ok(Self {
            start,
            capacity,
            initialised: 0,
        })
    }
}

impl Drop for Block {
    fn drop(&mut self) {
        // SAFETY: allocated in `allocate` with this size and alignment, which were valid there, and
        // freed once.
        unsafe {
            dealloc(
                self.start.as_ptr(),
                Layout::from_size_align_unchecked(self.capacity, ALIGNMENT),
            );
        }
    }
}

/// Sizes are rounded up so that a block can be reused for buffers of similar size; at most 1/4 is
/// wasted.
fn capacity_for(len: usize) -> Option<usize> {
    let step = (len.checked_next_power_of_two()? / 8).max(ALIGNMENT);
    len.max(1).checked_next_multiple_of(step)
}

struct Idle {
    bytes: usize,
    blocks: BTreeMap<usize, Vec<Block>>,
}

struct PoolState {
    live_limit: usize,
    idle_limit: usize,
    live: AtomicUsize,
    idle: Mutex<Idle>,
}

impl PoolState {
    fn idle(&self) -> MutexGuard<'_, Idle> {
        // The state is whole between statements, so a panic elsewhere while the lock was held does
        // no harm.
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn charge(&self, bytes: usize) -> Result<(), WireError> {
        let update = |live: usize| {
            live.checked_add(bytes)
                .filter(|sum| *sum <= self.live_limit)
        };
        match self
            .live
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, update)
        {
            Ok(_) => Ok(()),
            Err(live) => Err(WireError::LimitExceeded {
                what: "bytes in flight over all connections",
                asked: live.saturating_add(bytes) as u64,
                limit: self.live_limit as u64,
            }),
        }
    }

    fn take_idle(&self, capacity: usize) -> Option<Block> {
        let mut idle = self.idle();
        let blocks = idle.blocks.get_mut(&capacity)?;
        let block = blocks.pop()?;
        if blocks.is_empty() {
            idle.blocks.remove(&capacity);
        }
        idle.bytes -= block.initialised;
        Some(block)
    }

    fn give_back(&self, block: Block) {
        self.live.fetch_sub(block.initialised, Ordering::Relaxed);
        if block.capacity < SMALLEST_POOLED || block.initialised == 0 {
            return;
        }
        let mut idle = self.idle();
        if idle.bytes + block.initialised <= self.idle_limit {
            idle.bytes += block.initialised;
            idle.blocks.entry(block.capacity).or_default().push(block);
        }
    }
}

/// Where buffers come from and go back to. Clones share one pool and one budget.
#[derive(Clone)]
pub struct Pool(Arc<PoolState>);

impl Pool {
    /// A pool that hands out at most `live_limit` touched bytes at a time and keeps at most
    /// `idle_limit` for reuse.
    pub fn new(live_limit: usize, idle_limit: usize) -> Self {
        Self(Arc::new(PoolState {
            live_limit,
            idle_limit,
            live: AtomicUsize::new(0),
            idle: Mutex::new(Idle {
                bytes: 0,
                blocks: BTreeMap::new(),
            }),
        }))
    }

    /// An empty buffer for exactly `len` bytes. It uses no memory until it is filled.
    pub fn buffer(&self, len: usize) -> Result<AlignedBuffer, WireError> {
        let capacity = capacity_for(len).ok_or(WireError::OutOfMemory { bytes: len })?;
        let mut block = None;
        if capacity >= SMALLEST_POOLED {
            block = self.0.take_idle(capacity);
        }
        let block = match block {
            // A recycled block is resident already, so all of it counts at once.
            Some(block) => {
                self.0.charge(block.initialised)?;
                block
            }
            None => Block::allocate(capacity)?,
        };
        Ok(AlignedBuffer {
            block: Some(block),
            len,
            filled: 0,
            pool: self.clone(),
        })
    }

    /// A full buffer of `len` zero bytes.
    pub fn zeroed(&self, len: usize) -> Result<AlignedBuffer, WireError> {
        let mut buffer = self.buffer(len)?;
        while !buffer.is_full() {
            let window = buffer.unfilled()?;
            window.fill(0);
            let filled = window.len();
            buffer.advance(filled);
        }
        Ok(buffer)
    }

    /// A full buffer of `len` bytes that the caller overwrites: they are zero, or what a buffer had
    /// before.
    pub fn to_overwrite(&self, len: usize) -> Result<AlignedBuffer, WireError> {
        let mut buffer = self.buffer(len)?;
        while !buffer.is_full() {
            let filled = buffer.unfilled()?.len();
            buffer.advance(filled);
        }
        Ok(buffer)
    }

    /// Counts `bytes` that lie elsewhere as touched, until the reservation is dropped.
    pub fn reserve(&self, bytes: usize) -> Result<Reservation, WireError> {
        self.0.charge(bytes)?;
        Ok(Reservation {
            pool: self.clone(),
            bytes,
        })
    }

    /// A full buffer with a copy of `bytes`.
    pub fn copy_of(&self, bytes: &[u8]) -> Result<AlignedBuffer, WireError> {
        let mut buffer = self.buffer(bytes.len())?;
        buffer.extend_from_slice(bytes)?;
        Ok(buffer)
    }

    /// Touched bytes in buffers that are in use.
    pub fn live_bytes(&self) -> usize {
        self.0.live.load(Ordering::Relaxed)
    }

    /// Touched bytes that are kept for reuse.
    pub fn idle_bytes(&self) -> usize {
        self.0.idle().bytes
    }
}

/// Memory outside of the pool that counts towards its limit.
pub struct Reservation {
    pool: Pool,
    bytes: usize,
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.pool.0.live.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

/// A fixed-size buffer, filled from its start. Derefs to the bytes that have been filled.
pub struct AlignedBuffer {
    /// Only `None` while dropping. `initialised` bytes of it are charged to the pool.
    block: Option<Block>,
    len: usize,
    filled: usize,
    pool: Pool,
}

impl AlignedBuffer {
    /// The number of bytes that it is made for.
    pub fn capacity(&self) -> usize {
        self.len
    }

    /// Whether all of its bytes have been filled.
    pub fn is_full(&self) -> bool {
        self.filled == self.len
    }

    /// Its first byte: 64-byte aligned, valid for `len()` bytes for as long as the buffer lives,
    /// wherever it is moved.
    pub fn as_ptr(&self) -> NonNull<u8> {
        match &self.block {
            Some(block) => block.start,
            None => NonNull::dangling(),
        }
    }

    /// The next bytes to fill, at least one unless the buffer is full. Report with
    /// [`advance`](Self::advance) how many were filled.
    pub fn unfilled(&mut self) -> Result<&mut [u8], WireError> {
        let Some(block) = &mut self.block else {
            return Ok(&mut []);
        };
        if self.filled == block.initialised && self.filled < self.len {
            let bytes = WINDOW.min(block.capacity - block.initialised);
            self.pool.0.charge(bytes)?;
            // SAFETY: [initialised, initialised + bytes) lies within the capacity of the block,
            // which `&mut self` owns.
            unsafe {
                block
                    .start
                    .as_ptr()
                    .add(block.initialised)
                    .write_bytes(0, bytes);
            }
            block.initialised += bytes;
        }
        let end = self.len.min(block.initialised);
        // SAFETY: [filled, end) is initialised and owned by `&mut self`; filled <= end, because
        // filled never exceeds either.
        let window = unsafe {
            std::slice::from_raw_parts_mut(block.start.as_ptr().add(self.filled), end - self.filled)
        };
        Ok(window)
    }

    /// Counts the first `bytes` of the last [`unfilled`](Self::unfilled) slice as filled (no more
    /// than it had).
    pub fn advance(&mut self, bytes: usize) {
        let initialised = self.block.as_ref().map_or(0, |block| block.initialised);
        self.filled = self
            .filled
            .saturating_add(bytes)
            .min(self.len)
            .min(initialised);
    }

    /// Fills the next bytes with a copy of `bytes`.
    pub fn extend_from_slice(&mut self, bytes: &[u8]) -> Result<(), WireError> {
        let room = self.len - self.filled;
        let Some(block) = self.block.as_mut().filter(|_| bytes.len() <= room) else {
            return Err(WireError::BufferOverrun {
                capacity: self.len,
                extra: bytes.len() - room.min(bytes.len()),
            });
        };
        let end = self.filled + bytes.len();
        if end > block.initialised {
            self.pool.0.charge(end - block.initialised)?;
        }
        // SAFETY: [filled, end) lies within the block; `bytes` cannot overlap it, because
        // `&mut self` owns the block.
        unsafe {
            std::ptr::copy_nonoverlapping(
                bytes.as_ptr(),
                block.start.as_ptr().add(self.filled),
                bytes.len(),
            );
        }
        block.initialised = block.initialised.max(end);
        self.filled = end;
        Ok(())
    }

    /// Keeps only the first `len` bytes.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
        self.filled = self.filled.min(len);
    }

    /// The bytes that have been filled.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: `filled` bytes are initialised, and nothing writes while `&self` lives.
        unsafe { std::slice::from_raw_parts(self.as_ptr().as_ptr(), self.filled) }
    }

    /// The bytes that have been filled, mutable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` is the only access.
        unsafe { std::slice::from_raw_parts_mut(self.as_ptr().as_ptr(), self.filled) }
    }

    /// Ends writing; the result can be cloned and sliced without copying.
    pub fn into_shared(self) -> SharedSlice {
        let range = 0..self.filled;
        SharedSlice {
            owner: Arc::new(self),
            range,
        }
    }
}

impl Drop for AlignedBuffer {
    fn drop(&mut self) {
        if let Some(block) = self.block.take() {
            self.pool.0.give_back(block);
        }
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.as_slice()
    }
}

impl AsRef<[u8]> for AlignedBuffer {
    fn as_ref(&self) -> &[u8] {
        self.as_slice()
    }
}

/// Part of an immutable buffer; clones share its memory, which returns to the pool with the last of
/// them.
#[derive(Clone)]
pub struct SharedSlice {
    owner: Arc<AlignedBuffer>,
    range: Range<usize>,
}

impl SharedSlice {
    /// A part of this part, or `None` if it reaches beyond it.
    pub fn slice(&self, range: Range<usize>) -> Option<Self> {
        if range.start > range.end || range.end > self.range.len() {
            return None;
        }
        Some(Self {
            owner: Arc::clone(&self.owner),
            range: self.range.start + range.start..self.range.start + range.end,
        })
    }
}

impl Deref for SharedSlice {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.owner.as_slice()[self.range.clone()]
    }
}

impl AsRef<[u8]> for SharedSlice {
    fn as_ref(&self) -> &[u8] {
        self
    }
}

#[cfg(test)]
#[path = "memory_test.rs"]
mod tests;
