//! What the seals promise to a reader, and what a private view promises to its owner.
#![expect(
    clippy::expect_used,
    reason = "a test fails where something unexpected happens"
)]

use std::io::ErrorKind;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::ptr::null_mut;

use pangea_shared_memory::{OwnedRegion, PrivateRegion, ReadOnlyRegion, RegionError};
use rustix::fs::{
    fcntl_add_seals, ftruncate, memfd_create, open, MemfdFlags, Mode, OFlags, SealFlags,
};
use rustix::io::{pwrite, Errno};
use rustix::mm::{mmap, MapFlags, ProtFlags};

const BYTES: usize = 3 * 4096;

fn region() -> OwnedRegion {
    OwnedRegion::create(BYTES).expect("memory")
}

fn bytes(view: &PrivateRegion) -> &[u8] {
    // SAFETY: the tests write to it only between the uses of this slice.
    unsafe { std::slice::from_raw_parts(view.start().as_ptr(), view.len()) }
}

fn map_writable(descriptor: BorrowedFd<'_>) -> Result<(), Errno> {
    let protection = ProtFlags::READ | ProtFlags::WRITE;
    // SAFETY: the kernel chooses the address, and the mapping is expected to be refused.
    unsafe {
        mmap(
            null_mut(),
            BYTES,
            protection,
            MapFlags::SHARED,
            descriptor,
            0,
        )
    }
    .map(|_| ())
}

#[test]
fn a_receiver_can_neither_resize_nor_write() {
    let region = region();
    let descriptor = region.descriptor();
    assert_eq!(ftruncate(descriptor, 0), Err(Errno::PERM));
    assert_eq!(ftruncate(descriptor, 2 * BYTES as u64), Err(Errno::PERM));
    assert_eq!(pwrite(descriptor, b"x", 0), Err(Errno::PERM));
    assert_eq!(map_writable(descriptor), Err(Errno::PERM));
    assert_eq!(
        fcntl_add_seals(descriptor, SealFlags::WRITE),
        Err(Errno::PERM)
    );
    let path = format!(
        "/proc/self/fd/{}",
        std::os::fd::AsRawFd::as_raw_fd(&descriptor)
    );
    if let Ok(again) = open(path, OFlags::RDWR | OFlags::CLOEXEC, Mode::empty()) {
        assert_eq!(map_writable(again.as_fd()), Err(Errno::PERM));
    }
}

#[test]
fn readers_see_what_the_owner_writes() {
    let mut region = region();
    let reader = ReadOnlyRegion::map(region.descriptor(), BYTES as u64).expect("sealed");
    region.as_mut_slice()[4096] = 7;
    // SAFETY: nothing writes while the slice is used.
    let seen = unsafe { std::slice::from_raw_parts(reader.start().as_ptr(), reader.len()) };
    assert_eq!((seen[4096], seen.len()), (7, BYTES));
    // The memory outlives its owner.
    drop(region);
    assert_eq!(seen[4096], 7);
}

#[test]
fn what_is_written_to_a_private_view_stays_there_until_it_is_reset() {
    let mut region = region();
    region.as_mut_slice().fill(1);
    let (one, other) = (
        PrivateRegion::map(region.descriptor(), BYTES as u64).expect("sealed"),
        PrivateRegion::map(region.descriptor(), BYTES as u64).expect("sealed"),
    );
    one.populate(BYTES);
    // SAFETY: inside the mapping, and no slice of it is in use.
    unsafe { one.start().as_ptr().add(5000).write(9) };
    assert_eq!(bytes(&one)[5000], 9);
    assert_eq!((bytes(&other)[5000], region.as_slice()[5000]), (1, 1));

    // The owner uses the region again: a page that was written shows its copy, until it is reset.
    region.as_mut_slice().fill(2);
    assert_eq!((bytes(&one)[0], bytes(&one)[5000]), (2, 9));
    // SAFETY: no slice of it is in use.
    unsafe { one.reset(BYTES) }.expect("mapped");
    assert!(bytes(&one).iter().all(|byte| *byte == 2));
    assert!(bytes(&other).iter().all(|byte| *byte == 2));
}

#[test]
fn a_view_that_is_owned_keeps_its_bytes() {
    let mut region = region();
    region.as_mut_slice().fill(1);
    let view = PrivateRegion::map(region.descriptor(), BYTES as u64).expect("sealed");
    // SAFETY: inside the mapping, and no slice of it is in use.
    unsafe { view.start().as_ptr().write(9) };
    view.own(4097).expect("memory");
    region.as_mut_slice().fill(2);
    let seen = bytes(&view);
    // Two whole pages are its own.
    assert_eq!((seen[0], seen[1], seen[8191], seen[8192]), (9, 1, 1, 2));
}

#[test]
fn memory_that_could_change_under_a_reader_is_refused() {
    let unsealed = |seals: SealFlags| -> OwnedFd {
        let memory =
            memfd_create("test", MemfdFlags::ALLOW_SEALING | MemfdFlags::CLOEXEC).expect("memory");
        ftruncate(&memory, BYTES as u64).expect("room");
        fcntl_add_seals(&memory, seals).expect("allowed");
        memory
    };
    let all = SealFlags::SHRINK | SealFlags::GROW | SealFlags::FUTURE_WRITE | SealFlags::SEAL;
    assert!(ReadOnlyRegion::map(unsealed(all).as_fd(), BYTES as u64).is_ok());
    for seal in all.iter() {
        let memory = unsealed(all.difference(seal));
        let refused = PrivateRegion::map(memory.as_fd(), BYTES as u64).map(|_| ());
        assert!(
            matches!(refused, Err(RegionError::Unsealed { .. })),
            "{seal:?}: {refused:?}"
        );
    }
    let file = std::fs::File::open("/proc/self/exe").expect("Linux");
    assert!(ReadOnlyRegion::map(file.as_fd(), 1).is_err());
}

#[test]
fn the_announced_size_must_be_that_of_the_memory() {
    let region = region();
    for wrong in [0, BYTES as u64 - 1, BYTES as u64 + 4096, u64::MAX] {
        let refused = ReadOnlyRegion::map(region.descriptor(), wrong).map(|_| ());
        assert!(
            matches!(refused, Err(RegionError::Size { found, .. }) if found == BYTES as u64),
            "{wrong}: {refused:?}"
        );
    }
}

#[test]
fn a_size_that_no_memory_has_is_an_error() {
    // Refused before anything is allocated: a size that only the memory of the machine limits would
    // take all of it.
    let Err(RegionError::System { source, .. }) = OwnedRegion::create(usize::MAX) else {
        panic!("created");
    };
    assert_eq!(source.kind(), ErrorKind::InvalidInput);
    assert!(OwnedRegion::create(0).expect("nothing").is_empty());
}
