//! The dispatcher behind a lock: replicas' threads and callers share it, and each change wakes
//! whoever waits for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::dispatch::Dispatcher;
use super::BatchKey;
use crate::clock;
use crate::error::CoreError;
use crate::link::{Stream, Waiter, TICK};

pub(crate) struct SharedDispatcher {
    dispatcher: Mutex<Dispatcher>,
    /// The socket of each connected replica, for closing it from any thread.
    sockets: Mutex<Vec<Option<Stream>>>,
    /// Wakes callers: there may be a reply.
    replied: Condvar,
    /// Wakes sending threads: there may be a request.
    requested: Condvar,
}

impl SharedDispatcher {
    pub(crate) fn new(dispatcher: Dispatcher) -> Self {
        let sockets = dispatcher.replicas().iter().map(|_| None).collect();
        Self {
            dispatcher: Mutex::new(dispatcher),
            sockets: Mutex::new(sockets),
            replied: Condvar::new(),
            requested: Condvar::new(),
        }
    }

    /// For reading. Changes go through [`update`](Self::update), which wakes those who wait for
    /// them.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Dispatcher> {
        let locked = self.dispatcher.lock();
        locked.unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the dispatcher and wakes everyone who may be concerned.
    pub(crate) fn update<T>(&self, change: impl FnOnce(&mut Dispatcher, Instant) -> T) -> T {
        let result = change(&mut self.lock(), clock::now());
        self.replied.notify_all();
        self.requested.notify_all();
        result
    }

    /// Closes the client: waiting calls return with an error, and the threads end.
    pub(crate) fn close(&self) {
        self.update(|dispatcher, _| {
            dispatcher.close("closed by this program; open a new connection");
        });
        let sockets = self.sockets.lock();
        for socket in sockets.unwrap_or_else(PoisonError::into_inner).iter() {
            shut_down(socket.as_ref());
        }
    }

    /// Registers the socket of a new connection.
    pub(crate) fn register(&self, slot: usize, socket: Stream) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // Checked while holding the lock: either this sees that the client is closed, or `close`
        // sees the socket.
        if self.lock().is_closed() {
            shut_down(Some(&socket));
        }
        sockets[slot] = Some(socket);
    }

    /// Closes the connection of a replica, whichever thread is reading or writing on it.
    pub(crate) fn disconnect(&self, slot: usize) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        shut_down(sockets[slot].take().as_ref());
    }

    /// Waits for the next request to send to a replica; `None` once its connection has ended.
    pub(crate) fn next_to_send(&self, slot: usize) -> Option<(u64, BatchKey)> {
        let mut dispatcher = self.lock();
        loop {
            if dispatcher.is_closed() || !dispatcher.is_connected(slot) {
                return None;
            }
            let now = clock::now();
            if let Some(request) = dispatcher.next_to_send(slot, now) {
                return Some(request);
            }
            dispatcher = match dispatcher.next_hedge_at(slot) {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    let woken = self.requested.wait_timeout(dispatcher, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.requested.wait(dispatcher);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Waits until `look` finds something in the dispatcher.
    pub(crate) fn wait<T>(
        &self,
        waiter: &mut impl Waiter,
        mut look: impl FnMut(&mut Dispatcher, Instant) -> Option<T>,
    ) -> Result<T, CoreError> {
        let mut dispatcher = self.lock();
        loop {
            if let Some(found) = look(&mut dispatcher, clock::now()) {
                return Ok(found);
            }
            let waited = self.replied.wait_timeout(dispatcher, TICK);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            dispatcher = guard;
            if timeout.timed_out() {
                // The waiter may run foreign code, such as a signal handler: never while the lock
                // is held.
                drop(dispatcher);
                waiter.tick()?;
                dispatcher = self.lock();
            }
        }
    }
}

fn shut_down(socket: Option<&Stream>) {
    if let Some(socket) = socket {
        // Fails only if the socket is closed already.
        let _ = socket.shut_down();
    }
}
