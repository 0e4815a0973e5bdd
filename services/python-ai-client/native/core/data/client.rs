//! What a worker calls: batches are requested ahead, from any replica, and calls survive the loss
//! of all replicas for a while.

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use pangea_identity::Role;
use pangea_wire::{Pool, WireError};

use super::dispatch::Dispatcher;
use super::replica::Replica;
use super::shared::SharedDispatcher;
use super::{Batch, BatchKey};
use crate::clock;
use crate::error::CoreError;
use crate::link::{endpoints, Waiter};
use crate::options::Options;
use crate::values::DatasetInfo;

/// A handle to a client for other threads; it works while the client is in a call.
pub struct DataStopper(Arc<SharedDispatcher>);

impl DataStopper {
    /// Closes the client: its waiting calls return with an error.
    pub fn stop(&self) {
        self.0.close();
    }

    /// The address of each replica, and whether it is connected now.
    pub fn replicas(&self) -> Vec<(String, bool)> {
        self.0.lock().replicas()
    }
}

/// Connections to the replicas of a data service.
pub struct DataClient {
    shared: Arc<SharedDispatcher>,
    threads: Vec<JoinHandle<()>>,
}

impl DataClient {
    /// Connects to the replicas at `addresses`, which are separated by commas; one of them
    /// suffices. Each is host:port, unix:/path, or both with `|` between them. `options.timeout`
    /// bounds this wait, and later the silence of a replica that owes a reply. Once connected,
    /// calls wait for up to `patience` while no replica is connected.
    pub fn connect(
        addresses: &str,
        options: Options,
        patience: Duration,
        pool: &Pool,
        waiter: &mut impl Waiter,
    ) -> Result<Self, CoreError> {
        let addresses = split(addresses)?;
        let dispatcher = Dispatcher::new(&addresses, patience);
        let mut client = Self {
            shared: Arc::new(SharedDispatcher::new(dispatcher)),
            threads: Vec::new(),
        };
        for (slot, address) in addresses.into_iter().enumerate() {
            let replica = Replica {
                slot,
                endpoints: endpoints(&address)?,
                address: address.clone(),
                peer: options.peer(Role::Data),
                shared: Arc::clone(&client.shared),
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
        let started = clock::now();
        self.shared.wait(waiter, |dispatcher, now| {
            if dispatcher.dataset().is_some() {
                return Some(Ok(()));
            }
            if let Some(error) = dispatcher.fatal_error(now) {
                return Some(Err(error));
            }
            (now.saturating_duration_since(started) >= timeout).then(|| {
                Err(CoreError::Connect {
                    address: dispatcher.addresses(),
                    seconds: timeout.as_secs_f64(),
                    reason: dispatcher.last_errors(),
                })
            })
        })?
    }

    pub fn stopper(&self) -> DataStopper {
        DataStopper(Arc::clone(&self.shared))
    }

    /// What the service serves; the same for all replicas that are used.
    pub fn dataset(&mut self, waiter: &mut impl Waiter) -> Result<DatasetInfo, CoreError> {
        self.shared.wait(waiter, |dispatcher, now| {
            let known = dispatcher.dataset().cloned().map(Ok);
            match dispatcher.fatal_error(now) {
                Some(error) if known.is_none() || dispatcher.is_closed() => Some(Err(error)),
                _ => known,
            }
        })?
    }

    /// Requests batches that later calls of [`batch`](Self::batch) collect: in one write, as far
    /// as they go to one replica. Requesting the same one twice sends one request.
    pub fn prefetch(&mut self, keys: &[BatchKey]) -> Result<(), CoreError> {
        self.shared.request(keys)
    }

    /// Forgets requested batches that nobody will collect.
    pub fn discard(&mut self, keys: &[BatchKey]) {
        self.shared.update(|dispatcher, _| dispatcher.discard(keys));
    }

    /// Waits for the batch, which is requested now unless it was before.
    pub fn batch(&mut self, key: BatchKey, waiter: &mut impl Waiter) -> Result<Batch, CoreError> {
        self.prefetch(&[key])?;
        self.shared.wait(waiter, |dispatcher, now| {
            dispatcher
                .collect(&key)
                .or_else(|| dispatcher.fatal_error(now).map(Err))
        })?
    }
}

impl Drop for DataClient {
    fn drop(&mut self) {
        self.shared.close();
        for thread in self.threads.drain(..) {
            // A panic of the thread has been printed already; there is nothing to add.
            let _ = thread.join();
        }
    }
}

/// The addresses of a list with commas; each may appear once.
fn split(list: &str) -> Result<Vec<String>, CoreError> {
    let mut addresses = Vec::new();
    for address in list.split(',').map(str::trim) {
        endpoints(address)?;
        if addresses.iter().any(|known| known == address) {
            return Err(CoreError::Argument(format!(
                "address `{address}` appears twice in `{list}`; name each replica once"
            )));
        }
        addresses.push(address.to_owned());
    }
    Ok(addresses)
}
