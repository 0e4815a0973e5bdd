//! The client of a data service: batches are asked for ahead, from any replica, and survive the loss of all of them for a while.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pangea_wire::{Pool, WireError};

use super::dispatch::Book;
use super::replica::Replica;
use super::shared::Replicas;
use super::{Batch, BatchKey};
use crate::error::CoreError;
use crate::link::{check_address, Waiter};
use crate::options::Options;
use crate::values::DatasetInfo;

/// A handle to a client for other threads, whatever the client is doing.
pub struct DataStopper(Arc<Replicas>);

impl DataStopper {
    /// Ends the client: its waiting calls return with an error.
    pub fn stop(&self) {
        self.0.stop();
    }

    /// The addresses of the replicas, each with whether it is connected now.
    pub fn replicas(&self) -> Vec<(String, bool)> {
        self.0.lock().replicas()
    }
}

/// Connections to the replicas of a data service.
pub struct DataClient {
    replicas: Arc<Replicas>,
    threads: Vec<JoinHandle<()>>,
}

impl DataClient {
    /// Connects to the replicas at `addresses`, which commas separate; one of them suffices. `options.timeout` bounds that, and
    /// later the silence of a replica that was asked. Once connected, calls wait for up to `patience` without any replica.
    pub fn connect(
        addresses: &str,
        options: Options,
        patience: Duration,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        let addresses = split(addresses)?;
        let book = Book::new(&addresses, patience);
        let mut client = Self {
            replicas: Arc::new(Replicas::new(book)),
            threads: Vec::new(),
        };
        for (seat, address) in addresses.into_iter().enumerate() {
            let replica = Replica {
                seat,
                address: address.clone(),
                replicas: Arc::clone(&client.replicas),
                limits: options.limits(),
                pool: pool.clone(),
            };
            let thread = thread::Builder::new().name("pangea-data".to_owned());
            let started = thread.spawn(move || replica.run());
            client.threads.push(started.map_err(|source| {
                let doing = "starting the receiving thread";
                let source = WireError::Io { doing, source };
                CoreError::Wire { address, source }
            })?);
        }
        client.wait_for_first(options.timeout, waiter)?;
        Ok(client)
    }

    fn wait_for_first(&self, timeout: Duration, waiter: &mut impl Waiter) -> Result<(), CoreError> {
        let started = Instant::now();
        self.replicas.wait(waiter, |book, now| {
            if book.dataset().is_some() {
                return Some(Ok(()));
            }
            if let Some(error) = book.hopeless(now) {
                return Some(Err(error));
            }
            (now.saturating_duration_since(started) >= timeout).then(|| {
                Err(CoreError::Connect {
                    address: book.addresses(),
                    seconds: timeout.as_secs_f64(),
                    reason: book.troubles(),
                })
            })
        })?
    }

    pub fn stopper(&self) -> DataStopper {
        DataStopper(Arc::clone(&self.replicas))
    }

    /// What the service serves. All replicas that are used serve the same.
    pub fn dataset(&mut self, waiter: &mut impl Waiter) -> Result<DatasetInfo, CoreError> {
        self.replicas.wait(waiter, |book, now| {
            let known = book.dataset().cloned().map(Ok);
            match book.hopeless(now) {
                Some(error) if known.is_none() || book.has_ended() => Some(Err(error)),
                _ => known,
            }
        })?
    }

    /// Asks for a batch that [`batch`](Self::batch) will collect. Asking twice for the same one is one request.
    pub fn prefetch(&mut self, key: BatchKey) -> Result<(), CoreError> {
        self.replicas.change(|book, now| {
            if let (true, Some(error)) = (book.has_ended(), book.hopeless(now)) {
                return Err(error);
            }
            book.ask(key, now)
        })
    }

    /// The batch, asked for now if it was not before.
    pub fn batch(&mut self, key: BatchKey, waiter: &mut impl Waiter) -> Result<Batch, CoreError> {
        self.prefetch(key)?;
        self.replicas.wait(waiter, |book, now| {
            book.collect(&key).or_else(|| book.hopeless(now).map(Err))
        })?
    }
}

impl Drop for DataClient {
    fn drop(&mut self) {
        self.replicas.stop();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed by then; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// The addresses of a list with commas, each once.
fn split(list: &str) -> Result<Vec<String>, CoreError> {
    let mut addresses = Vec::new();
    for address in list.split(',').map(str::trim) {
        check_address(address)?;
        if addresses.iter().any(|known| known == address) {
            return Err(CoreError::Argument(format!(
                "address `{address}` stands twice in `{list}`; name each replica once"
            )));
        }
        addresses.push(address.to_owned());
    }
    Ok(addresses)
}
