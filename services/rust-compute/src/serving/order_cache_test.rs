use rust_compute_fixtures::small;

use super::*;

/// Bytes of an order of 16 samples.
const BYTES: usize = 16 * 4;

fn cache(further: usize) -> (OrderCache, Pool) {
    let pool = Pool::new(1 << 20, 0);
    (OrderCache::new(pool.clone(), further * BYTES), pool)
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread()
        .build()
        .expect("a runtime")
}

fn get(orders: &OrderCache, usage: &Usage, key: Key) -> Arc<Order> {
    let order = runtime().block_on(orders.get(&Arc::new(small()), key, usage));
    order.unwrap_or_else(|error| panic!("{error}"))
}

#[test]
fn an_order_is_the_same_whether_cached_or_not() {
    let (orders, _) = cache(1);
    let usage = Usage::default();
    let first = get(&orders, &usage, (3, 0));
    assert!(Arc::ptr_eq(&first, &get(&orders, &usage, (3, 0))));
    let expected = order_of(&small(), (3, 0));
    assert_eq!(first.to_vec(), expected);
    drop(first);
    for epoch in 1..20 {
        assert_ne!(get(&orders, &usage, (3, epoch)).to_vec(), expected);
    }
    assert_eq!(get(&orders, &usage, (3, 0)).to_vec(), expected);
    let mut sorted = expected;
    sorted.sort_unstable();
    assert_eq!(&sorted, &small().split.train);
}

#[test]
fn memory_of_orders_is_bounded_and_charged() {
    let (orders, pool) = cache(3);
    let usage = Usage::default();
    for epoch in 0..100 {
        get(&orders, &usage, (7, epoch));
        assert!(pool.live_bytes() <= 3 * BYTES);
    }
    assert_eq!(pool.live_bytes(), 3 * BYTES);
    let held: Vec<_> = (0..5)
        .map(|epoch| get(&orders, &usage, (8, epoch)))
        .collect();
    let dataset = Arc::new(small());
    let refused = runtime().block_on(orders.get(&dataset, (9, 0), &usage));
    let refused = refused.err().expect("no room while all are read");
    assert!(refused.to_string().contains("sample orders"), "{refused}");
    drop(held);
    get(&orders, &usage, (9, 0));
}

#[test]
fn strangers_do_not_discard_the_orders_of_a_run() {
    let (orders, _) = cache(2);
    let (honest, stranger) = (Usage::default(), Usage::default());
    let now = Arc::downgrade(&get(&orders, &honest, (1, 0)));
    let next = Arc::downgrade(&get(&orders, &honest, (1, 1)));
    for _ in 0..3 {
        get(&orders, &honest, (1, 0));
        get(&orders, &honest, (1, 1));
    }
    for seed in 2..200 {
        get(&orders, &stranger, (seed, 0));
    }
    assert!(now.upgrade().is_some() && next.upgrade().is_some());
}

#[test]
fn one_computation_serves_all_who_wait_for_it() {
    let (orders, _) = cache(1);
    let (one, two) = (Usage::default(), Usage::default());
    let dataset = Arc::new(small());
    let both = runtime().block_on(async {
        tokio::join!(
            orders.get(&dataset, (5, 0), &one),
            orders.get(&dataset, (5, 0), &two),
        )
    });
    let (first, second) = (both.0.expect("computed"), both.1.expect("computed"));
    assert!(Arc::ptr_eq(&first, &second));
}

#[test]
fn who_has_caused_orders_waits_longer_and_who_used_them_does_not() {
    let usage = Usage::default();
    assert_eq!((usage.cost(), usage.cost(), usage.cost()), (0, 1, 2));
    usage
        .answers
        .store(3 * ANSWERS_PER_ORDER, Ordering::Relaxed);
    assert_eq!(usage.cost(), 0);
}
