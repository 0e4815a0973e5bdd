//! The dispatcher behind a lock: replicas' threads and callers share it, and each change wakes
//! whoever waits for it.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::dispatch::Dispatcher;
use super::{Batch, BatchKey};
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

    /// Takes requests, and wakes the sending threads if one of them is new. After an error, those
    /// before it were taken.
    pub(crate) fn request(&self, keys: &[BatchKey]) -> Result<(), CoreError> {
        let (mut dispatcher, now) = (self.lock(), clock::now());
        if let (true, Some(error)) = (dispatcher.is_closed(), dispatcher.fatal_error(now)) {
            return Err(error);
        }
        let mut news = false;
        let mut requested = keys.iter().map(|key| dispatcher.request(*key, now));
        let result = requested.try_for_each(|taken| taken.map(|is_new| news |= is_new));
        drop(dispatcher);
        if news {
            self.requested.notify_all();
        }
        result
    }

    /// Records the reply to the oldest request of a replica, and wakes callers. A sending thread
    /// waits for a reply only where it asks a second replica when the first one is late.
    pub(crate) fn record_reply(&self, slot: usize, reply: Result<Batch, CoreError>) {
        let mut dispatcher = self.lock();
        dispatcher.record_reply(slot, reply, clock::now());
        let hedges = dispatcher.has_several();
        drop(dispatcher);
        self.replied.notify_all();
        if hedges {
            self.requested.notify_all();
        }
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

    /// Waits for requests to send to a replica, and returns all that there are, with their ids;
    /// `None` once its connection has ended.
    pub(crate) fn next_to_send(&self, slot: usize) -> Option<Vec<(u64, BatchKey)>> {
        let mut dispatcher = self.lock();
        loop {
            if dispatcher.is_closed() || !dispatcher.is_connected(slot) {
                return None;
            }
            let now = clock::now();
            let ready: Vec<_> = std::iter::from_fn(|| dispatcher.next_to_send(slot, now)).collect();
            if !ready.is_empty() {
                return Some(ready);
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
