//! Regions: a sealed memfd of one owner, and the mappings of those that it was announced to.
//!
//! The seals are what makes a reader safe: nobody can shrink the memory under its mapping (a read
//! would be SIGBUS), and no mapping but the owner's first one can write to it. The memory lives
//! until the last mapping and descriptor are gone, also when its owner was killed, and leaves
//! nothing behind in a file system.

use std::ops::Range;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::NonNull;

use rustix::fs::{
    fallocate, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, FallocateFlags,
    MemfdFlags, SealFlags,
};
use rustix::mm::{madvise, Advice, MapFlags, ProtFlags};

use crate::mapping::Mapping;
use crate::RegionError;

/// What a reader asks for. `SEAL` keeps the set as it is.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::FUTURE_WRITE)
    .union(SealFlags::SEAL);

/// Memory of this process that others may read.
pub struct OwnedRegion {
    mapping: Mapping,
    descriptor: OwnedFd,
}

impl OwnedRegion {
    /// Zeroed memory of this size. All of it is allocated here, so that writing to it never fails.
    /// The caller bounds the size: the system would give all the memory that it has.
    pub fn create(bytes: usize) -> Result<Self, RegionError> {
        let refused = |doing| move |error| RegionError::system(bytes, doing, error);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor =
            memfd_create("pangea", flags).map_err(refused("creating shared memory"))?;
        ftruncate(&descriptor, bytes as u64)
            .map_err(refused("setting the size of shared memory"))?;
        if bytes > 0 {
            fallocate(&descriptor, FallocateFlags::empty(), 0, bytes as u64)
                .map_err(refused("allocating shared memory"))?;
        }
        // Before the seals: they forbid mappings that write from then on.
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let mapping = Mapping::new(descriptor.as_fd(), bytes, protection, MapFlags::SHARED)?;
        fcntl_add_seals(&descriptor, SEALS).map_err(refused("sealing shared memory"))?;
        Ok(Self {
            mapping,
            descriptor,
        })
    }

    pub fn len(&self) -> usize {
        self.mapping.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first byte, page-aligned, for those that share the region and know who may write to it.
    /// Valid for `len()` bytes for as long as the region lives.
    pub fn start(&self) -> NonNull<u8> {
        self.mapping.start()
    }

    /// What is sent with its announcement.
    pub fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping has `len` initialised bytes, and only `&mut self` writes to them.
        unsafe { std::slice::from_raw_parts(self.mapping.start().as_ptr(), self.len()) }
    }

    /// To write. Whoever was told to read the region must have released it.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: as in `as_slice`, and `&mut self` is the only access of this process; others
        // cannot write.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start().as_ptr(), self.len()) }
    }
}

/// Another process's region, to read.
pub struct ReadOnlyRegion(Mapping);

impl ReadOnlyRegion {
    /// Maps what a `SharedRegion` of `bytes` bytes announced, after checking its seals and size.
    pub fn map(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<Self, RegionError> {
        let len = checked_len(descriptor, bytes)?;
        Mapping::new(descriptor, len, ProtFlags::READ, MapFlags::SHARED).map(Self)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first byte, page-aligned. Valid for `len()` bytes for as long as the region lives; the
    /// owner may write to them whenever the protocol says that they are not in use.
    pub fn start(&self) -> NonNull<u8> {
        self.0.start()
    }
}

/// Another process's region, in a private view that this process may write to: a page that is
/// written becomes a copy of its own, which nobody else sees.
pub struct PrivateRegion(Mapping);

impl PrivateRegion {
    /// Maps what a `SharedRegion` of `bytes` bytes announced, after checking its seals and size.
    pub fn map(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<Self, RegionError> {
        let len = checked_len(descriptor, bytes)?;
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        Mapping::new(descriptor, len, protection, MapFlags::PRIVATE).map(Self)
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Its first byte, page-aligned. Valid for `len()` bytes for as long as the region lives, to
    /// read and to write.
    pub fn start(&self) -> NonNull<u8> {
        self.0.start()
    }

    /// Maps the pages of `used` (from the start of the region) now, in one call, instead of at the
    /// first access to each.
    pub fn populate(&self, used: usize) {
        // Older systems refuse; then the first access maps a page.
        let _ = self.advise(0..used.min(self.len()), Advice::LinuxPopulateRead);
    }

    /// Gives this process pages of its own for the first `used` bytes, with what it sees in them
    /// now: whatever the owner does, they stay. A forked child gets them as any other memory.
    pub fn own(&self, used: usize) -> Result<(), RegionError> {
        self.advise(0..used.min(self.len()), Advice::LinuxPopulateWrite)
    }

    /// Forgets what this process wrote to the first `used` bytes: the view shows the owner's bytes
    /// again, also those of a later use of the region.
    ///
    /// # Safety
    /// Nobody reads or writes these bytes during the call, and no reference to them exists.
    pub unsafe fn reset(&self, used: usize) -> Result<(), RegionError> {
        self.advise(0..used.min(self.len()), Advice::LinuxDontNeed)
    }

    fn advise(&self, range: Range<usize>, advice: Advice) -> Result<(), RegionError> {
        if range.is_empty() {
            return Ok(());
        }
        // SAFETY: the range is within the mapping. The advices that are given leave it mapped, and
        // the caller of `reset` vouches that nobody relies on its content.
        let advised = unsafe {
            let start = self.0.start().as_ptr().add(range.start);
            madvise(start.cast(), range.len(), advice)
        };
        advised.map_err(|error| {
            RegionError::system(range.len(), "changing a view of shared memory", error)
        })
    }
}

/// The size of announced memory, once it is known to be as announced and to remain so.
fn checked_len(descriptor: BorrowedFd<'_>, bytes: u64) -> Result<usize, RegionError> {
    let refused = |doing| move |error| RegionError::system(bytes as usize, doing, error);
    let seals =
        fcntl_get_seals(descriptor).map_err(refused("asking for the seals of shared memory"))?;
    if !seals.contains(SEALS) {
        let missing = SEALS.difference(seals);
        let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
        return Err(RegionError::Unsealed {
            missing: names.join(", "),
        });
    }
    let found = fstat(descriptor).map_err(refused("asking for the size of shared memory"))?;
    let found = found.st_size as u64;
    match usize::try_from(bytes) {
        Ok(len) if bytes == found => Ok(len),
        _ => Err(RegionError::Size {
            announced: bytes,
            found,
        }),
    }
}
