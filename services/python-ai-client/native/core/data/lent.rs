//! Memory of a received batch: a buffer of its own, or a region that the data service lends.
//!
//! A region is lent for one batch. It is released when the last tensor of the batch is gone, and
//! the service is told with the next request. The worker's view is private, so a script may write
//! to a batch as to any other; what it wrote is forgotten before the region is released.

use std::collections::{HashMap, HashSet};
use std::ops::Range;
use std::ptr::NonNull;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pangea_shared_memory::PrivateRegion;
use pangea_wire::schema::{message, place};
use pangea_wire::{AlignedBuffer, WireError};

use crate::link::{Regions, Stream};

/// Where each tensor of a lent batch starts: at the next multiple of this.
const ALIGNMENT: u64 = 64;

/// The memory of a tensor.
pub enum Memory {
    Own(AlignedBuffer),
    Lent(LentMemory),
}

impl Memory {
    pub fn len(&self) -> usize {
        match self {
            Self::Own(buffer) => buffer.len(),
            Self::Lent(lent) => lent.range.len(),
        }
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first byte: 64-byte aligned, valid for `len()` bytes to read and to write for as long as
    /// this lives, wherever it is moved.
    pub fn as_ptr(&self) -> NonNull<u8> {
        match self {
            Self::Own(buffer) => buffer.as_ptr(),
            Self::Lent(lent) => lent.as_ptr(),
        }
    }

    /// From now on, [`own_lent_memory`] concerns this, too.
    pub fn keep_over_forks(&self) {
        if let Self::Lent(lent) = self {
            register(&lent.loan);
        }
    }

    /// Its bytes, before a script may write to them.
    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: valid for `len` bytes. The view is private, nothing in this crate writes to it,
        // and the service leaves a lent region as it is.
        unsafe { std::slice::from_raw_parts(self.as_ptr().as_ptr(), self.len()) }
    }
}

impl From<AlignedBuffer> for Memory {
    fn from(buffer: AlignedBuffer) -> Self {
        Self::Own(buffer)
    }
}

/// Part of a lent region.
pub struct LentMemory {
    loan: Arc<Loan>,
    /// Within the region.
    range: Range<usize>,
}

impl LentMemory {
    fn as_ptr(&self) -> NonNull<u8> {
        // SAFETY: `Borrowed::next` keeps the range within the region.
        unsafe { self.loan.view.start().add(self.range.start) }
    }
}

/// The loans that scripts have. Used by threads with the GIL alone, so that a fork never finds it
/// locked.
static LOANS: Mutex<Vec<Weak<Loan>>> = Mutex::new(Vec::new());

/// Gives this process pages of its own for all memory that is kept over forks: call it before one.
/// The service would write to a region again once this process has released it, and the child,
/// which still reads it, would see that.
pub fn own_lent_memory() -> Result<(), WireError> {
    let mut loans = LOANS.lock().unwrap_or_else(PoisonError::into_inner);
    loans.retain(|loan| loan.strong_count() > 0);
    for loan in loans.iter().filter_map(Weak::upgrade) {
        loan.view.own(loan.used)?;
    }
    Ok(())
}

/// One use of a region. The region is released with it.
struct Loan {
    view: Arc<PrivateRegion>,
    id: u32,
    /// Bytes in use, from the start of the region.
    used: usize,
    loans: Loans,
    /// The process that was lent it; a forked child has only a copy.
    process: u32,
}

impl Drop for Loan {
    fn drop(&mut self) {
        if self.process != std::process::id() {
            // The region is the parent's to release, and a lock may have been held when it forked.
            return;
        }
        // SAFETY: the memory of a loan is only reached through it, and this is its end.
        if unsafe { self.view.reset(self.used) }.is_ok() {
            let mut state = self.loans.lock();
            state.lent.remove(&self.id);
            state.released.push(self.id);
        }
        // A view that could not be reset stays as it is, and its region is not used again.
    }
}

fn register(loan: &Arc<Loan>) {
    let mut loans = LOANS.lock().unwrap_or_else(PoisonError::into_inner);
    if loans.len() == loans.capacity() {
        // Amortised: before the list grows, what has ended makes room.
        loans.retain(|loan| loan.strong_count() > 0);
    }
    loans.push(Arc::downgrade(loan));
}

/// What the service of one connection has lent, and what it has not been told is released.
#[derive(Clone, Default)]
pub(crate) struct Loans(Arc<Mutex<LoansState>>);

#[derive(Default)]
struct LoansState {
    lent: HashSet<u32>,
    released: Vec<u32>,
}

impl Loans {
    fn lock(&self) -> MutexGuard<'_, LoansState> {
        // The state is whole between statements.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The regions that were released since the last call.
    pub(crate) fn take_released(&self) -> Vec<u32> {
        std::mem::take(&mut self.lock().released)
    }
}

/// The borrowing side of one connection.
#[derive(Default)]
pub(crate) struct Borrower {
    regions: Regions<PrivateRegion>,
    /// Of the last use of each region.
    generations: HashMap<u32, u64>,
    loans: Loans,
}

impl Borrower {
    pub(crate) fn loans(&self) -> Loans {
        self.loans.clone()
    }

    /// Takes the region that was announced in the message that was read from `stream` just now.
    pub(crate) fn announced(
        &mut self,
        root: message::Reader<'_>,
        stream: &Stream,
    ) -> Result<(), WireError> {
        self.regions.take(root, stream)
    }

    /// Borrows what a batch was written to.
    pub(crate) fn borrow(&mut self, place: place::Reader<'_>) -> Result<Borrowed, WireError> {
        let (id, used, generation) = (
            place.get_region(),
            place.get_bytes(),
            place.get_generation(),
        );
        let view = self.regions.find(id)?;
        if used > view.len() as u64 {
            return Err(misplaced(format!(
                "has {used} bytes in region {id}, which has {}",
                view.len()
            )));
        }
        let last = self.generations.entry(id).or_default();
        if generation <= *last {
            return Err(misplaced(format!(
                "has generation {generation} of region {id}, after {last}"
            )));
        }
        *last = generation;
        if !self.loans.lock().lent.insert(id) {
            return Err(misplaced(format!(
                "is in region {id}, which an earlier batch is still in"
            )));
        }
        let used = used as usize;
        view.populate(used);
        let loan = Arc::new(Loan {
            view,
            id,
            used,
            loans: self.loans.clone(),
            process: std::process::id(),
        });
        Ok(Borrowed { loan, at: 0 })
    }
}

/// A borrowed region, cut into tensors from its start.
pub(crate) struct Borrowed {
    loan: Arc<Loan>,
    at: u64,
}

impl Borrowed {
    /// The memory of the next tensor, which has this many bytes.
    pub(crate) fn next(&mut self, bytes: u64) -> Result<Memory, WireError> {
        let start = self.at.next_multiple_of(ALIGNMENT);
        let end = start.checked_add(bytes);
        let end = end.filter(|end| *end <= self.loan.used as u64);
        let end = end.ok_or_else(|| misplaced("is larger than its place".to_owned()))?;
        self.at = end;
        Ok(Memory::Lent(LentMemory {
            loan: Arc::clone(&self.loan),
            range: start as usize..end as usize,
        }))
    }
}

fn misplaced(reason: String) -> WireError {
    WireError::Field {
        field: "trainingBatch",
        reason,
    }
}

#[cfg(test)]
#[path = "lent_test.rs"]
mod tests;
