//! The sample orders of the epochs that are being served, so that an epoch is not shuffled again
//! for each of its shards.
//!
//! A request of 100 bytes may cost a shuffle of the whole dataset. So an order is computed once, on
//! a few threads of its own, and whoever has caused the fewest goes first; its memory is bounded;
//! and an order that a connection uses is not discarded for those of strangers.

use std::collections::VecDeque;
use std::ops::Deref;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};

use pangea_order::train_order;
use pangea_wire::{Pool, Reservation, WireError};
use rust_compute_dataset::Dataset;
use tokio::sync::{OnceCell, Semaphore};

use crate::turns::{Turn, Turns};

/// Orders that are part of the dataset's own memory: those of an epoch and the next. Further ones
/// are charged to the pool.
const FREE_ORDERS: usize = 2;
/// Orders that a connection is known to use: a worker is in one epoch or the next.
const IN_USE: usize = 2;
/// Most orders that one connection waits for at a time.
const WAITING: usize = 2;
/// As many answers from known orders make up for having caused one.
const ANSWERS_PER_ORDER: u64 = 64;

type Key = (u64, u32);

/// The training ids of an epoch, in its order.
pub struct Order {
    ids: Vec<u32>,
    _memory: Memory,
}

impl Deref for Order {
    type Target = [u32];

    fn deref(&self) -> &[u32] {
        &self.ids
    }
}

/// What one connection uses, and what it has cost.
pub struct Usage {
    orders: Mutex<VecDeque<(Key, Weak<Order>)>>,
    caused: AtomicU64,
    answers: AtomicU64,
    waiting: Semaphore,
}

impl Default for Usage {
    fn default() -> Self {
        Self {
            orders: Mutex::default(),
            caused: AtomicU64::new(0),
            answers: AtomicU64::new(0),
            waiting: Semaphore::new(WAITING),
        }
    }
}

impl Usage {
    fn lock(&self) -> MutexGuard<'_, VecDeque<(Key, Weak<Order>)>> {
        // The list is whole between statements.
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn find(&self, key: Key) -> Option<Arc<Order>> {
        let orders = self.lock();
        let (_, order) = orders.iter().find(|(known, _)| *known == key)?;
        order.upgrade()
    }

    /// Counts the use of an order, and forgets the one that was first used before `IN_USE` others.
    fn note(&self, key: Key, order: &Arc<Order>) {
        self.answers.fetch_add(1, Ordering::Relaxed);
        let mut orders = self.lock();
        orders.retain(|(known, order)| *known != key && order.strong_count() > 0);
        if orders.len() == IN_USE {
            orders.pop_front();
        }
        orders.push_back((key, Arc::downgrade(order)));
    }

    /// How far behind others it waits for its next order.
    fn cost(&self) -> u64 {
        let caused = self.caused.fetch_add(1, Ordering::Relaxed);
        caused.saturating_sub(self.answers.load(Ordering::Relaxed) / ANSWERS_PER_ORDER)
    }
}

struct Entry {
    key: Key,
    order: Arc<OnceCell<Arc<Order>>>,
    answers: u64,
    /// When it was last used, as a number that grows with every use.
    used: u64,
}

impl Entry {
    /// What is discarded first if memory is needed: what no connection uses, then what gave the
    /// fewest answers, then what was used longest ago. None while it is computed or read: that
    /// would free nothing.
    fn worth(&self) -> Option<(bool, u64, u64)> {
        let order = self.order.get()?;
        let read = Arc::strong_count(order) > 1;
        (!read).then_some((Arc::weak_count(order) > 0, self.answers, self.used))
    }
}

#[derive(Default)]
struct Entries {
    list: Vec<Entry>,
    uses: u64,
}

/// Sample ids of a dataset by (seed, epoch), in the order of the epoch.
pub struct OrderCache {
    entries: Mutex<Entries>,
    turns: Turns,
    budget: Arc<Budget>,
}

/// The memory of orders.
struct Budget {
    pool: Pool,
    /// Most bytes of orders, besides the free ones.
    limit_bytes: usize,
    charged: AtomicUsize,
    /// Free ones that are left.
    free: AtomicUsize,
}

/// The memory of one order, until dropped.
struct Memory {
    budget: Arc<Budget>,
    /// Bytes; none for a free one.
    charged: Option<usize>,
    _share: Option<Reservation>,
}

impl Budget {
    fn take(self: &Arc<Self>, bytes: usize) -> Result<Memory, WireError> {
        let mut memory = Memory {
            budget: self.clone(),
            charged: None,
            _share: None,
        };
        let (success, failure) = (Ordering::Relaxed, Ordering::Relaxed);
        let one = |free: usize| free.checked_sub(1);
        if self.free.fetch_update(success, failure, one).is_ok() {
            return Ok(memory);
        }
        memory.charged = Some(bytes);
        let charged = self.charged.fetch_add(bytes, Ordering::Relaxed);
        if charged.saturating_add(bytes) > self.limit_bytes {
            return Err(WireError::LimitExceeded {
                what: "bytes of sample orders",
                asked: charged.saturating_add(bytes) as u64,
                limit: self.limit_bytes as u64,
            });
        }
        memory._share = Some(self.pool.reserve(bytes)?);
        Ok(memory)
    }
}

impl Drop for Memory {
    fn drop(&mut self) {
        match self.charged {
            Some(bytes) => self.budget.charged.fetch_sub(bytes, Ordering::Relaxed),
            None => self.budget.free.fetch_add(1, Ordering::Relaxed),
        };
    }
}

impl OrderCache {
    /// Orders take at most `limit_bytes` of the pool, besides two of them.
    pub fn new(pool: Pool, limit_bytes: usize) -> Self {
        // Half of the processors: the others answer requests whose order is known.
        let threads = rayon::current_num_threads() / 2;
        Self {
            entries: Mutex::default(),
            turns: Turns::new(threads),
            budget: Arc::new(Budget {
                pool,
                limit_bytes,
                charged: AtomicUsize::new(0),
                free: AtomicUsize::new(FREE_ORDERS),
            }),
        }
    }

    /// The training ids in the order of an epoch. The dataset must be the same in every call.
    /// Whoever stops waiting leaves no work behind, unless it has begun.
    pub async fn get(
        &self,
        dataset: &Arc<Dataset>,
        key: Key,
        usage: &Usage,
    ) -> Result<Arc<Order>, WireError> {
        let known = usage.find(key);
        let order = match self.use_known(key, known) {
            Some(order) => order,
            None => {
                let _few = usage.waiting.acquire().await;
                let cell = self.cell(key);
                let make = || self.make(dataset, key, usage);
                cell.get_or_try_init(make).await?.clone()
            }
        };
        usage.note(key, &order);
        Ok(order)
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // The list is whole between statements.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// An order that the connection uses already, or that another one does.
    fn use_known(&self, key: Key, known: Option<Arc<Order>>) -> Option<Arc<Order>> {
        let mut entries = self.lock();
        entries.uses += 1;
        let used = entries.uses;
        let entry = entries.list.iter_mut().find(|entry| entry.key == key);
        let Some(entry) = entry else { return known };
        entry.answers += 1;
        entry.used = used;
        known.or_else(|| entry.order.get().cloned())
    }

    /// The place of an order that is computed by the first who asks, and awaited by the others.
    fn cell(&self, key: Key) -> Arc<OnceCell<Arc<Order>>> {
        let mut entries = self.lock();
        // Nobody waits for those that could not be computed.
        let computed =
            |entry: &Entry| entry.order.initialized() || Arc::strong_count(&entry.order) > 1;
        entries.list.retain(computed);
        let used = entries.uses;
        if let Some(entry) = entries.list.iter().find(|entry| entry.key == key) {
            return entry.order.clone();
        }
        let order = Arc::default();
        entries.list.push(Entry {
            key,
            order: Arc::clone(&order),
            answers: 0,
            used,
        });
        order
    }

    async fn make(
        &self,
        dataset: &Arc<Dataset>,
        key: Key,
        usage: &Usage,
    ) -> Result<Arc<Order>, WireError> {
        let turn = self.turns.take(usage.cost()).await;
        let memory = self.room(dataset.split.train.len() * size_of::<u32>())?;
        let dataset = dataset.clone();
        let work = move || compute(&dataset, key, memory, turn);
        tokio::task::spawn_blocking(work)
            .await
            .map(Arc::new)
            .map_err(|error| WireError::Io {
                doing: "computing the order of an epoch",
                source: error.into(),
            })
    }

    /// Memory for one more order, taken from the ones that are worth least.
    fn room(&self, bytes: usize) -> Result<Memory, WireError> {
        loop {
            let refused = match self.budget.take(bytes) {
                Ok(memory) => return Ok(memory),
                Err(error) => error,
            };
            let mut entries = self.lock();
            let places = 0..entries.list.len();
            let least = places
                .filter_map(|at| Some((entries.list[at].worth()?, at)))
                .min();
            let Some((_, at)) = least else {
                return Err(refused);
            };
            entries.list.swap_remove(at);
        }
    }
}

/// Holds its turn until the order is there, whether or not anybody still waits for it.
fn compute(dataset: &Dataset, key: Key, memory: Memory, turn: Turn) -> Order {
    let ids = order_of(dataset, key);
    drop(turn);
    Order {
        ids,
        _memory: memory,
    }
}

/// The training ids in the order of an epoch.
pub fn order_of(dataset: &Dataset, (seed, epoch): Key) -> Vec<u32> {
    let train = &dataset.split.train;
    let mut order = train_order(&dataset.hash, seed, epoch, train.len() as u32);
    for position in &mut order {
        *position = train[*position as usize];
    }
    order
}

#[cfg(test)]
#[path = "order_cache_test.rs"]
mod tests;
