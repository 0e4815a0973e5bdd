//! The shared memory of one connection: regions that batches are written into and lent in, until
//! the worker releases them.

use std::collections::HashMap;
use std::os::fd::OwnedFd;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use pangea_shared_memory::{Announcement, OwnedRegion, RegionError};
use pangea_wire::{Pool, Reservation};

/// Most regions of one connection: what a worker requests ahead, and as much again that its script
/// keeps.
const MAX_REGIONS: usize = 64;
/// Regions have sizes of whole steps, so that batches of similar size can use the same ones.
const SMALLEST_REGION: usize = 64 << 10;
/// A free region is used for a batch of at least this part of its size; smaller ones are sent
/// beside it, or get a region of their own.
const LEAST_USED: usize = 4;

/// What all connections together may lend: a part of the memory that the service may take.
pub struct LendingLimit {
    pool: Pool,
    bytes: usize,
    lent: AtomicUsize,
    /// Regions that may still be made: each has a file descriptor.
    regions: AtomicUsize,
}

impl LendingLimit {
    /// At most `bytes` of the budget of `pool`, in at most `regions` regions.
    pub fn new(pool: Pool, bytes: usize, regions: usize) -> Self {
        Self {
            pool,
            bytes,
            lent: AtomicUsize::new(0),
            regions: AtomicUsize::new(regions),
        }
    }

    fn reserve(self: &Arc<Self>, bytes: usize) -> Option<Share> {
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let one = |regions: usize| regions.checked_sub(1);
        self.regions.fetch_update(success, failure, one).ok()?;
        // Whatever is counted is given back by dropping it, from here on.
        let mut share = Share {
            limit: Arc::clone(self),
            bytes: 0,
            _budget: None,
        };
        let added = |lent: usize| lent.checked_add(bytes).filter(|sum| *sum <= self.bytes);
        self.lent.fetch_update(success, failure, added).ok()?;
        share.bytes = bytes;
        share._budget = Some(self.pool.reserve(bytes).ok()?);
        Some(share)
    }
}

/// A part of the limit, until dropped.
struct Share {
    limit: Arc<LendingLimit>,
    bytes: usize,
    _budget: Option<Reservation>,
}

impl Drop for Share {
    fn drop(&mut self) {
        self.limit.lent.fetch_sub(self.bytes, Ordering::Relaxed);
        self.limit.regions.fetch_add(1, Ordering::Relaxed);
    }
}

/// A region that nobody reads, for the next batch.
pub struct Region {
    id: u32,
    /// Uses of it, counting this one.
    generation: u64,
    memory: OwnedRegion,
    announced: bool,
    _share: Share,
}

impl Region {
    pub fn id(&self) -> u32 {
        self.id
    }

    pub fn generation(&self) -> u64 {
        self.generation
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        self.memory.as_mut_slice()
    }
}

/// What the worker must be told before the first use of a region.
pub struct NewRegion {
    pub announcement: Announcement,
    pub descriptor: OwnedFd,
}

#[derive(Default)]
struct State {
    free: Vec<Region>,
    lent: HashMap<u32, Region>,
    last_id: u32,
}

/// The regions of one connection. They end with it; the worker's own mappings keep what it still
/// reads.
pub struct Lending {
    limit: Arc<LendingLimit>,
    state: Mutex<State>,
}

impl Lending {
    pub fn new(limit: Arc<LendingLimit>) -> Self {
        Self {
            limit,
            state: Mutex::default(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // The state is whole between statements.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A region for `bytes` bytes; none if all are lent and no more may be made.
    pub fn take(&self, bytes: usize) -> Option<Region> {
        let mut state = self.lock();
        let largest = bytes.saturating_mul(LEAST_USED).max(SMALLEST_REGION);
        let fitting = |region: &&Region| (bytes..=largest).contains(&region.memory.len());
        let best = state
            .free
            .iter()
            .filter(fitting)
            .min_by_key(|region| region.memory.len())
            .map(Region::id);
        if let Some(at) = best.and_then(|id| state.free.iter().position(|free| free.id == id)) {
            let mut region = state.free.swap_remove(at);
            region.generation += 1;
            return Some(region);
        }
        if state.last_id as usize == MAX_REGIONS {
            return None;
        }
        let size = bytes.next_multiple_of(SMALLEST_REGION.max(bytes.next_power_of_two() / 8));
        let share = self.limit.reserve(size)?;
        let memory = OwnedRegion::create(size).inspect_err(|error| {
            tracing::warn!(%error, "batches are sent through the socket; they cannot be lent");
        });
        state.last_id += 1;
        Some(Region {
            id: state.last_id,
            generation: 1,
            memory: memory.ok()?,
            announced: false,
            _share: share,
        })
    }

    /// Lends a region that holds a batch now. A new one has to be announced first.
    pub fn lend(&self, mut region: Region) -> Result<Option<NewRegion>, RegionError> {
        let mut new = None;
        if !region.announced {
            let descriptor = region.memory.descriptor().try_clone_to_owned();
            let bytes = region.memory.len();
            let descriptor = descriptor.map_err(|source| RegionError::System {
                bytes,
                doing: "sharing memory",
                source,
            })?;
            let (id, bytes) = (region.id, bytes as u64);
            new = Some(NewRegion {
                announcement: Announcement { id, bytes },
                descriptor,
            });
            region.announced = true;
        }
        self.lock().lent.insert(region.id, region);
        Ok(new)
    }

    /// Keeps a region that was taken and not lent.
    pub fn put_back(&self, region: Region) {
        self.lock().free.push(region);
    }

    /// The worker no longer reads these regions. Fails with the first one that it was not lent.
    pub fn release(&self, released: impl IntoIterator<Item = u32>) -> Result<(), u32> {
        let mut state = self.lock();
        for id in released {
            let region = state.lent.remove(&id).ok_or(id)?;
            state.free.push(region);
        }
        Ok(())
    }
}

#[cfg(test)]
#[path = "lending_test.rs"]
mod tests;
