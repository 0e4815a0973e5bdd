//! Memory that is written once and then fixed: nobody can write to it any more, not even the
//! process that made it. So bytes of a process that is not trusted can be read as any other memory.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{
    fallocate, fcntl_add_seals, fcntl_get_seals, fstat, ftruncate, memfd_create, FallocateFlags,
    MemfdFlags, SealFlags,
};
use rustix::mm::{MapFlags, ProtFlags};

use crate::mapping::Mapping;
use crate::RegionError;

/// The system grants `WRITE` only if no mapping of the memory that could write is left.
const SEALS: SealFlags = SealFlags::SHRINK
    .union(SealFlags::GROW)
    .union(SealFlags::WRITE)
    .union(SealFlags::SEAL);

/// Memory that is being written.
pub struct Unfixed {
    mapping: Mapping,
    descriptor: OwnedFd,
}

impl Unfixed {
    /// Zeroed memory of this size, all of it allocated, so that writing to it never fails.
    pub fn create(bytes: usize) -> Result<Self, RegionError> {
        let refused = |doing| move |error| RegionError::system(bytes, doing, error);
        let flags = MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING;
        let descriptor =
            memfd_create("pangea-data", flags).map_err(refused("creating shared memory"))?;
        ftruncate(&descriptor, bytes as u64)
            .map_err(refused("setting the size of shared memory"))?;
        if bytes > 0 {
            fallocate(&descriptor, FallocateFlags::empty(), 0, bytes as u64)
                .map_err(refused("allocating shared memory"))?;
        }
        let protection = ProtFlags::READ | ProtFlags::WRITE;
        let mapping = Mapping::new(descriptor.as_fd(), bytes, protection, MapFlags::SHARED)?;
        Ok(Self {
            mapping,
            descriptor,
        })
    }

    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        // SAFETY: the mapping has `len` initialised bytes, `&mut self` is the only access of this
        // process, and nobody else has the descriptor yet.
        unsafe { std::slice::from_raw_parts_mut(self.mapping.start().as_ptr(), self.mapping.len()) }
    }

    /// Ends writing. What is returned is sent to the reader.
    pub fn fix(self) -> Result<OwnedFd, RegionError> {
        let bytes = self.mapping.len();
        drop(self.mapping);
        fcntl_add_seals(&self.descriptor, SEALS)
            .map_err(|error| RegionError::system(bytes, "sealing shared memory", error))?;
        Ok(self.descriptor)
    }
}

/// Memory that nobody can change.
pub struct FixedMemory(Mapping);

impl FixedMemory {
    /// Maps what another process has fixed, after checking that it did.
    pub fn map(descriptor: BorrowedFd<'_>) -> Result<Self, RegionError> {
        let refused = |doing| move |error| RegionError::system(0, doing, error);
        let seals = fcntl_get_seals(descriptor)
            .map_err(refused("asking for the seals of shared memory"))?;
        if !seals.contains(SEALS) {
            let missing = SEALS.difference(seals);
            let names: Vec<_> = missing.iter_names().map(|(name, _)| name).collect();
            return Err(RegionError::Unsealed {
                missing: names.join(", "),
            });
        }
        let found = fstat(descriptor).map_err(refused("asking for the size of shared memory"))?;
        let found = found.st_size as u64;
        let len = usize::try_from(found).map_err(|_| RegionError::Size {
            announced: 0,
            found,
        })?;
        Mapping::new(descriptor, len, ProtFlags::READ, MapFlags::SHARED).map(Self)
    }

    pub fn as_slice(&self) -> &[u8] {
        // SAFETY: the mapping has `len` initialised bytes for as long as `self` lives. The seals
        // were checked: no process can write to them or take them away.
        unsafe { std::slice::from_raw_parts(self.0.start().as_ptr(), self.0.len()) }
    }
}

impl std::fmt::Debug for FixedMemory {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "FixedMemory of {} bytes", self.0.len())
    }
}
