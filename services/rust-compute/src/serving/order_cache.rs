//! The sample orders of the most recent epochs, so that an epoch is not shuffled again for each of
//! its shards.

use std::sync::{Arc, Mutex, PoisonError};

use pangea_order::train_order;

/// All workers of a run are in one epoch or the next, and a few runs may share a service.
const CAPACITY: usize = 8;

type Key = (u64, u32);

/// Sample ids of a dataset by (seed, epoch), in the order of the epoch.
#[derive(Default)]
pub struct OrderCache {
    /// In order of use: the most recently used one is last.
    entries: Mutex<Vec<(Key, Arc<Vec<u32>>)>>,
}

impl OrderCache {
    /// The training ids in the order of an epoch. `dataset_hash` and `train` must be the same in
    /// every call.
    pub fn get(
        &self,
        dataset_hash: &[u8; 32],
        train: &[u32],
        seed: u64,
        epoch: u32,
    ) -> Arc<Vec<u32>> {
        let key = (seed, epoch);
        // Computed under the lock: whoever waits for it mostly wants the same order. A panic
        // elsewhere leaves the list intact.
        let mut entries = self.entries.lock().unwrap_or_else(PoisonError::into_inner);
        let order = match entries.iter().position(|(known, _)| *known == key) {
            Some(index) => entries.remove(index).1,
            None => {
                let positions = train_order(dataset_hash, seed, epoch, train.len() as u32);
                Arc::new(
                    positions
                        .into_iter()
                        .map(|position| train[position as usize])
                        .collect(),
                )
            }
        };
        if entries.len() == CAPACITY {
            entries.remove(0);
        }
        entries.push((key, order.clone()));
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_the_same_whether_cached_or_not() {
        let orders = OrderCache::default();
        let train: Vec<u32> = (0..50).map(|i| i * 2).collect();
        let first = orders.get(&[1; 32], &train, 3, 0);
        assert!(Arc::ptr_eq(&first, &orders.get(&[1; 32], &train, 3, 0)));
        for epoch in 1..20 {
            assert_ne!(first, orders.get(&[1; 32], &train, 3, epoch));
        }
        let again = orders.get(&[1; 32], &train, 3, 0);
        assert!(!Arc::ptr_eq(&first, &again));
        assert_eq!(first, again);
        let mut sorted = again.to_vec();
        sorted.sort_unstable();
        assert_eq!(sorted, train);
    }
}
