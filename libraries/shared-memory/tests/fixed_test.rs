//! Fixed memory cannot be changed by anybody, and what could be changed is not taken for it.

use std::os::fd::AsFd;

use pangea_shared_memory::{FixedMemory, OwnedRegion, Unfixed};
use rustix::fs::{ftruncate, memfd_create, MemfdFlags};
use rustix::io::{write, Errno};
use rustix::mm::{mmap, MapFlags, ProtFlags};

#[test]
fn what_was_written_is_read_and_can_no_longer_be_changed() {
    let mut memory = Unfixed::create(10_000).expect("memory");
    memory.as_mut_slice()[9_999] = 7;
    let descriptor = memory.fix().expect("sealed");
    let fixed = FixedMemory::map(descriptor.as_fd()).expect("fixed");
    assert_eq!(
        (fixed.as_slice().len(), fixed.as_slice()[9_999]),
        (10_000, 7)
    );
    assert_eq!(write(&descriptor, b"x"), Err(Errno::PERM));
    assert_eq!(ftruncate(&descriptor, 1), Err(Errno::PERM));
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses an address that is not in use.
    let mapped = unsafe {
        mmap(
            std::ptr::null_mut(),
            10_000,
            protection,
            MapFlags::SHARED,
            &descriptor,
            0,
        )
    };
    assert_eq!(mapped.err(), Some(Errno::PERM));
}

#[test]
fn no_memory_is_none() {
    let descriptor = Unfixed::create(0).expect("memory").fix().expect("sealed");
    let fixed = FixedMemory::map(descriptor.as_fd()).expect("fixed");
    assert!(fixed.as_slice().is_empty());
}

#[test]
fn memory_that_its_owner_can_still_write_to_is_refused() {
    let region = OwnedRegion::create(4096).expect("memory");
    let error = FixedMemory::map(region.descriptor()).expect_err("refused");
    assert!(error.to_string().contains("WRITE"), "{error}");
    let plain = memfd_create("plain", MemfdFlags::ALLOW_SEALING).expect("memory");
    let error = FixedMemory::map(plain.as_fd()).expect_err("refused");
    assert!(error.to_string().contains("SHRINK"), "{error}");
}
