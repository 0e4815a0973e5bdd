use super::*;

/// Computed by an independent implementation in Python (ChaCha20 after RFC 8439, with a counter of
/// 64 bits).
#[test]
fn the_order_of_this_version_never_changes() {
    assert_eq!(
        train_order(&[0; 32], 0, 0, 10),
        [0, 3, 2, 6, 9, 8, 7, 5, 1, 4]
    );
    assert_eq!(
        train_order(&[9; 32], 5, 3, 10),
        [2, 3, 5, 0, 1, 7, 6, 9, 8, 4]
    );
    let long = train_order(&[1; 32], 123, 1, 1438);
    assert_eq!(long[..6], [763, 537, 1260, 62, 1357, 1268]);
}

#[test]
fn an_order_is_a_permutation() {
    for samples in [0, 1, 2, 3, 1000] {
        let mut order = train_order(&[3; 32], 1, 2, samples);
        order.sort_unstable();
        assert_eq!(order, (0..samples).collect::<Vec<_>>());
    }
}

#[test]
fn dataset_seed_and_epoch_each_change_the_order() {
    let base = train_order(&[3; 32], 1, 2, 100);
    assert_eq!(base, train_order(&[3; 32], 1, 2, 100));
    assert_ne!(base, train_order(&[4; 32], 1, 2, 100));
    assert_ne!(base, train_order(&[3; 32], 2, 2, 100));
    assert_ne!(base, train_order(&[3; 32], 1, 3, 100));
}

/// A draw beyond the largest multiple would make small numbers more likely: it must be discarded.
#[test]
fn biased_draws_are_discarded() {
    struct Draws(Vec<u64>);
    impl RngCore for Draws {
        fn next_u32(&mut self) -> u32 {
            0
        }
        fn next_u64(&mut self) -> u64 {
            self.0.remove(0)
        }
        fn fill_bytes(&mut self, _: &mut [u8]) {}
    }
    let bound = 3 << 62;
    assert_eq!(
        bounded(&mut Draws(vec![u64::MAX, bound, bound - 1]), bound),
        bound - 1
    );
    assert_eq!(bounded(&mut Draws(vec![u64::MAX]), 1 << 32), (1 << 32) - 1);
}
