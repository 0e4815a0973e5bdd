//! What one connection is doing: so that the place of an idle one can go to a worker that waits.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

/// Not waiting for a request.
const BUSY: u64 = u64::MAX;

/// Written by the connection, read by whoever gives out places.
#[derive(Debug)]
pub struct Activity {
    idle_since_ms: AtomicU64,
    requests: AtomicU64,
    displaced: Notify,
}

impl Activity {
    /// Of a connection that was accepted at `now`.
    pub fn new(now: Duration) -> Self {
        Self {
            idle_since_ms: AtomicU64::new(now.as_millis() as u64),
            requests: AtomicU64::new(0),
            displaced: Notify::new(),
        }
    }

    /// A request has arrived.
    pub fn begin(&self) {
        self.requests.fetch_add(1, Ordering::Relaxed);
        self.idle_since_ms.store(BUSY, Ordering::Relaxed);
    }

    /// Every request is answered.
    pub fn rest(&self, now: Duration) {
        let now_ms = now.as_millis() as u64;
        self.idle_since_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Since when nothing was asked; None while there is something to answer.
    pub fn idle_since(&self) -> Option<Duration> {
        match self.idle_since_ms.load(Ordering::Relaxed) {
            BUSY => None,
            since_ms => Some(Duration::from_millis(since_ms)),
        }
    }

    /// Whether it has never asked for anything.
    pub fn is_silent(&self) -> bool {
        self.requests.load(Ordering::Relaxed) == 0
    }

    /// Ends the connection: its place is needed.
    pub fn displace(&self) {
        self.displaced.notify_one();
    }

    /// Waits until the place is needed by another.
    pub async fn displaced(&self) {
        self.displaced.notified().await;
    }
}
