use super::*;

/// Capacities waste at most a quarter and are multiples of the alignment.
#[test]
fn capacities_are_tight() {
    for len in [
        0,
        1,
        63,
        64,
        65,
        1000,
        4096,
        100_000,
        (1 << 20) + 1,
        5 << 20,
    ] {
        let capacity = capacity_for(len).expect("small");
        assert!(
            capacity >= len.max(1) && capacity % ALIGNMENT == 0,
            "{len} -> {capacity}"
        );
        assert!(
            capacity <= (len + len / 4).max(1).next_multiple_of(ALIGNMENT),
            "{len} -> {capacity}"
        );
    }
    assert_eq!(capacity_for(usize::MAX), None);
}

/// A large buffer costs nothing until bytes arrive, and then a window at a time.
#[test]
fn memory_is_charged_as_bytes_arrive() {
    let pool = Pool::new(1 << 20, 0);
    let mut buffer = pool.buffer(1 << 30).expect("address space only");
    assert_eq!(pool.live_bytes(), 0);
    let window = buffer.unfilled().expect("in budget");
    assert_eq!(window.len(), WINDOW);
    window[0] = 7;
    buffer.advance(1);
    assert_eq!(pool.live_bytes(), WINDOW);
    assert_eq!(buffer.as_slice(), [7]);
    assert_eq!(buffer.as_ptr().as_ptr() as usize % ALIGNMENT, 0);
    drop(buffer);
    assert_eq!(pool.live_bytes(), 0);
}

/// The budget holds over all buffers, and an error leaves the accounting right.
#[test]
fn the_budget_is_never_exceeded() {
    let pool = Pool::new(WINDOW + 100, 0);
    let first = pool.copy_of(&[1; WINDOW]).expect("fits");
    let error = pool.copy_of(&[2; 101]).err().expect("over budget");
    assert!(error.to_string().contains("bytes in flight"), "{error}");
    assert_eq!(pool.live_bytes(), WINDOW);
    drop(first);
    pool.copy_of(&[2; 101]).expect("room again");
}

/// Returned memory is reused for buffers of similar size, up to the bound; old bytes never show.
#[test]
fn idle_memory_is_reused_and_bounded() {
    let pool = Pool::new(usize::MAX, 20_000);
    let buffer = pool.copy_of(&[9; 10_000]).expect("fits");
    let address = buffer.as_ptr();
    drop(buffer);
    assert_eq!((pool.live_bytes(), pool.idle_bytes()), (0, 10_000));
    let again = pool.buffer(9_999).expect("fits");
    assert_eq!(again.as_ptr(), address);
    assert!(again.is_empty());
    assert_eq!((pool.live_bytes(), pool.idle_bytes()), (10_000, 0));
    let others = [pool.zeroed(16_000), pool.zeroed(16_000)];
    drop((again, others));
    assert!(pool.idle_bytes() <= 20_000);
    assert_eq!(pool.live_bytes(), 0);
}

/// A zeroed buffer is zero even where memory is reused.
#[test]
fn zeroed_clears_recycled_memory() {
    let pool = Pool::new(usize::MAX, usize::MAX);
    drop(pool.copy_of(&[255; 8_000]));
    let buffer = pool.zeroed(8_000).expect("fits");
    assert!(buffer.iter().all(|byte| *byte == 0) && buffer.len() == 8_000);
}

/// More bytes than a buffer was made for are refused, not written.
#[test]
fn overrun_is_an_error() {
    let pool = Pool::new(usize::MAX, 0);
    let mut buffer = pool.buffer(3).expect("fits");
    assert!(buffer.extend_from_slice(&[1; 4]).is_err());
    buffer.extend_from_slice(&[1, 2, 3]).expect("fits");
    buffer.advance(100);
    assert_eq!(buffer.as_slice(), [1, 2, 3]);
    assert!(pool.buffer(usize::MAX / 2).is_err());
}

/// Slices share memory and outlive each other.
#[test]
fn shared_slices_need_no_copy() {
    let pool = Pool::new(usize::MAX, 0);
    let whole = pool.copy_of(b"hello world").expect("fits").into_shared();
    let part = whole.slice(6..11).expect("inside");
    assert_eq!(part.as_ptr(), whole[6..].as_ptr());
    assert!(part.slice(0..6).is_none());
    drop(whole);
    assert_eq!(&part[..], b"world");
    assert_eq!(&part.slice(1..3).expect("inside")[..], b"or");
    drop(part);
    assert_eq!(pool.live_bytes(), 0);
}

#[test]
fn what_lies_elsewhere_counts_until_it_is_dropped() {
    let pool = Pool::new(1000, 0);
    let reserved = pool.reserve(600).expect("room");
    assert_eq!(pool.live_bytes(), 600);
    assert!(pool.reserve(600).is_err());
    assert!(pool.copy_of(&[0; 600]).is_err());
    drop(reserved);
    assert_eq!(pool.live_bytes(), 0);
    assert!(pool.copy_of(&[0; 600]).is_ok());
}

#[test]
fn a_buffer_to_overwrite_is_full_and_its_fresh_bytes_are_zero() {
    let pool = Pool::new(1 << 20, 1 << 20);
    let mut first = pool.to_overwrite(8192).expect("room");
    assert!(first.is_full() && first.iter().all(|byte| *byte == 0));
    first.as_mut_slice().fill(7);
    drop(first);
    // The block of the first one, without the time to clear it.
    assert_eq!(pool.to_overwrite(8192).expect("room").len(), 8192);
}
