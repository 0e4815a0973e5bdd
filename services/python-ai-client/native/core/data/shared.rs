//! The replicas of a data service as one: the book that their threads and the callers share, and who is woken when it changes.

use std::net::{Shutdown, TcpStream};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use super::dispatch::Book;
use super::BatchKey;
use crate::error::CoreError;
use crate::link::{Waiter, TICK};

pub(crate) struct Replicas {
    book: Mutex<Book>,
    /// Of the connection to each replica, for shutting it down.
    sockets: Mutex<Vec<Option<TcpStream>>>,
    /// There may be something for callers.
    answered: Condvar,
    /// There may be something to send.
    asked: Condvar,
}

impl Replicas {
    pub(crate) fn new(book: Book) -> Self {
        let sockets = book.replicas().iter().map(|_| None).collect();
        Self {
            book: Mutex::new(book),
            sockets: Mutex::new(sockets),
            answered: Condvar::new(),
            asked: Condvar::new(),
        }
    }

    /// For looking at the book.
    pub(crate) fn lock(&self) -> MutexGuard<'_, Book> {
        self.book.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// For changing the book: wakes everyone whom that may concern.
    pub(crate) fn change<T>(&self, change: impl FnOnce(&mut Book, Instant) -> T) -> T {
        let result = change(&mut self.lock(), Instant::now());
        self.answered.notify_all();
        self.asked.notify_all();
        result
    }

    /// Ends everything: waiting calls return with an error, the threads end.
    pub(crate) fn stop(&self) {
        self.change(|book, _| book.end("closed by this program; open a new connection".to_owned()));
        let sockets = self.sockets.lock();
        for socket in sockets.unwrap_or_else(PoisonError::into_inner).iter() {
            shut_down(socket.as_ref());
        }
    }

    /// Notes the socket of a new connection.
    pub(crate) fn enter(&self, seat: usize, socket: TcpStream) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        // Looked at inside the lock: either this sees the end, or the one who ends sees the socket.
        if self.lock().has_ended() {
            shut_down(Some(&socket));
        }
        sockets[seat] = Some(socket);
    }

    /// Ends the connection of a replica, whoever reads or writes on it.
    pub(crate) fn leave(&self, seat: usize) {
        let mut sockets = self.sockets.lock().unwrap_or_else(PoisonError::into_inner);
        shut_down(sockets[seat].take().as_ref());
    }

    /// Waits for the next request to send to a replica; None when its connection has ended.
    pub(crate) fn next(&self, seat: usize) -> Option<(u64, BatchKey)> {
        let mut book = self.lock();
        loop {
            if book.has_ended() || !book.is_connected(seat) {
                return None;
            }
            let now = Instant::now();
            if let Some(request) = book.next(seat, now) {
                return Some(request);
            }
            book = match book.next_late(seat) {
                Some(due) => {
                    let left = due.saturating_duration_since(now);
                    let woken = self.asked.wait_timeout(book, left);
                    woken.unwrap_or_else(PoisonError::into_inner).0
                }
                None => {
                    let woken = self.asked.wait(book);
                    woken.unwrap_or_else(PoisonError::into_inner)
                }
            };
        }
    }

    /// Waits until `look` finds something in the book.
    pub(crate) fn wait<T>(
        &self,
        waiter: &mut impl Waiter,
        mut look: impl FnMut(&mut Book, Instant) -> Option<T>,
    ) -> Result<T, CoreError> {
        let mut book = self.lock();
        loop {
            if let Some(found) = look(&mut book, Instant::now()) {
                return Ok(found);
            }
            let waited = self.answered.wait_timeout(book, TICK);
            let (guard, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            book = guard;
            if timeout.timed_out() {
                // The waiter may run foreign code: not while holding the lock.
                drop(book);
                waiter.tick()?;
                book = self.lock();
            }
        }
    }
}

/// It may be closed already; nothing else can go wrong.
fn shut_down(socket: Option<&TcpStream>) {
    if let Some(socket) = socket {
        let _ = socket.shutdown(Shutdown::Both);
    }
}
