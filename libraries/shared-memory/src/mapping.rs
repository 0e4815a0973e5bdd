//! A mapping of a whole descriptor, which ends with its value.

use std::os::fd::BorrowedFd;
use std::ptr::{self, NonNull};

use rustix::io::Errno;
use rustix::mm::{mmap, munmap, MapFlags, ProtFlags};

use crate::RegionError;

pub(crate) struct Mapping {
    start: NonNull<u8>,
    len: usize,
}

// SAFETY: the mapping is owned alone; the pointer is not tied to a thread.
unsafe impl Send for Mapping {}
// SAFETY: shared references only give the address and slices that are read.
unsafe impl Sync for Mapping {}

impl Mapping {
    /// Maps the `len` bytes of a descriptor that cannot shrink.
    pub(crate) fn new(
        descriptor: BorrowedFd<'_>,
        len: usize,
        protection: ProtFlags,
        flags: MapFlags,
    ) -> Result<Self, RegionError> {
        if len == 0 {
            return Ok(Self {
                start: NonNull::dangling(),
                len,
            });
        }
        // SAFETY: the kernel chooses an address that is not in use.
        let mapped = unsafe { mmap(ptr::null_mut(), len, protection, flags, descriptor, 0) };
        let start =
            mapped.map_err(|error| RegionError::system(len, "mapping shared memory", error))?;
        let start = NonNull::new(start.cast());
        // The system keeps address 0 free unless it is asked for.
        let start = start.ok_or(RegionError::system(
            len,
            "mapping shared memory",
            Errno::NOMEM,
        ))?;
        Ok(Self { start, len })
    }

    /// Its first byte, valid for `len` bytes for as long as this lives.
    pub(crate) fn start(&self) -> NonNull<u8> {
        self.start
    }

    pub(crate) fn len(&self) -> usize {
        self.len
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        if self.len > 0 {
            // SAFETY: mapped in `new` with this length, and unmapped once. It cannot fail for a
            // whole mapping.
            let _ = unsafe { munmap(self.start.as_ptr().cast(), self.len) };
        }
    }
}
