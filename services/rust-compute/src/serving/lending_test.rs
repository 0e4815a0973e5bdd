use super::*;

fn limit(bytes: usize) -> Arc<LendingLimit> {
    Arc::new(LendingLimit::new(Pool::new(1 << 30, 0), bytes, 100))
}

fn lend(lending: &Lending, bytes: usize) -> u32 {
    let region = lending.take(bytes).expect("room");
    let id = region.id();
    lending.lend(region).expect("descriptors are left");
    id
}

#[test]
fn a_released_region_is_used_again_and_announced_once() {
    let lending = Lending::new(limit(1 << 20));
    let first = lending.take(100_000).expect("room");
    assert_eq!((first.id(), first.generation()), (1, 1));
    let new = lending.lend(first).expect("lent").expect("new");
    assert_eq!(new.announcement.id, 1);
    assert_eq!(lend(&lending, 100_000), 2);
    lending.release([1]).expect("lent");
    let again = lending.take(90_000).expect("free");
    assert_eq!((again.id(), again.generation()), (1, 2));
    assert!(lending.lend(again).expect("lent").is_none());
}

#[test]
fn what_is_not_lent_cannot_be_released() {
    let lending = Lending::new(limit(1 << 20));
    let id = lend(&lending, 1000);
    assert_eq!(lending.release([id, id]), Err(id));
    assert_eq!(lending.release([7]), Err(7));
}

#[test]
fn a_large_region_is_not_used_for_a_small_batch() {
    let lending = Lending::new(limit(8 << 20));
    let large = lend(&lending, 4 << 20);
    lending.release([large]).expect("lent");
    assert_ne!(lend(&lending, 70_000), large);
    assert_eq!(lend(&lending, 3 << 20), large);
}

#[test]
fn connections_share_one_limit_and_give_back_what_they_had() {
    let limit = limit(1 << 20);
    let (one, other) = (Lending::new(limit.clone()), Lending::new(limit.clone()));
    for _ in 0..8 {
        lend(&one, 128 << 10);
    }
    assert!(other.take(64 << 10).is_none());
    assert_eq!(limit.pool.live_bytes(), 1 << 20);
    drop(one);
    assert_eq!(limit.pool.live_bytes(), 0);
    assert!(other.take(64 << 10).is_some());
    // Nor does it take what frames need.
    let frames = Pool::new(1 << 20, 0);
    let _all = frames.zeroed(1 << 20).expect("room");
    let starved = Lending::new(Arc::new(LendingLimit::new(frames, 1 << 20, 100)));
    assert!(starved.take(1).is_none());
}

#[test]
fn a_worker_that_keeps_everything_gets_no_more_than_a_number_of_regions() {
    let lending = Lending::new(limit(1 << 30));
    for _ in 0..MAX_REGIONS {
        lend(&lending, 1);
    }
    assert!(lending.take(1).is_none());
    lending.release([5]).expect("lent");
    assert_eq!(lend(&lending, 1), 5);
}

#[test]
fn regions_are_bounded_as_descriptors_are() {
    let limit = Arc::new(LendingLimit::new(Pool::new(1 << 30, 0), 1 << 30, 2));
    let (one, two) = (Lending::new(limit.clone()), Lending::new(limit));
    lend(&one, 1000);
    lend(&two, 1000);
    assert!(one.take(1000).is_none());
    drop(two);
    assert!(one.take(1000).is_some());
}
