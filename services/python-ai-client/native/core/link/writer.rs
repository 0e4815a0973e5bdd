//! The sending side of a connection: whole frames of the caller, and heartbeats between them.
//!
//! Whoever holds the lock writes one frame. A heartbeat of which the stream took only a part is finished by whoever writes next,
//! so the heartbeats' thread never waits for a slow peer. After a frame that was given up in the middle nothing is written any more.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pangea_wire::blocking::poll_write;
use pangea_wire::schema::{message, MessageType};
use pangea_wire::{Attachments, Frame, Limits, WireError};

use super::progress::Progress;
use super::Waiter;
use crate::error::CoreError;

struct State {
    /// When the last frame went out.
    sent: Instant,
    /// Longest silence; zero for no heartbeats.
    every: Duration,
    /// What the stream did not take yet of a heartbeat.
    rest: Vec<u8>,
    /// A frame is being written. Found true by another who takes the lock, it was given up in the middle.
    inside: bool,
}

struct Shared {
    stream: TcpStream,
    state: Mutex<State>,
    changed: Condvar,
    closed: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic inside a frame, `inside` says that the state is not to be used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes no lock: a signal handler may call it on the thread that is writing a frame.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // It may be closed already; nothing else can go wrong.
        let _ = self.stream.shutdown(Shutdown::Both);
        self.changed.notify_all();
    }
}

/// Ends a connection from another thread: whoever waits on it returns with an error.
pub struct Stopper(Arc<Shared>);

impl Stopper {
    pub fn stop(&self) {
        self.0.close();
    }
}

/// Owns the sending side, and the thread of its heartbeats. Dropping it closes the connection and ends the thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    beating: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn new(stream: TcpStream) -> Self {
        let state = State {
            sent: Instant::now(),
            every: Duration::ZERO,
            rest: Vec::new(),
            inside: false,
        };
        let shared = Shared {
            stream,
            state: Mutex::new(state),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            beating: None,
        }
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// Whether a frame was given up in the middle: the peer could not understand what follows.
    pub(crate) fn is_torn(&self) -> bool {
        self.shared.lock().inside
    }

    /// Sends a whole frame. `fail` makes an error of what went wrong.
    pub(crate) fn send<P: AsRef<[u8]>>(
        &self,
        frame: &Frame<P>,
        patience: Duration,
        waiter: &mut impl Waiter,
        fail: impl Fn(WireError) -> CoreError,
    ) -> Result<(), CoreError> {
        let mut state = self.shared.lock();
        state.inside = true;
        let mut stream = &self.shared.stream;
        let mut rest = mem::take(&mut state.rest);
        let mut cursor = frame.cursor();
        let mut progress = Progress::new(patience);
        loop {
            write_some(stream, &mut rest).map_err(&fail)?;
            if rest.is_empty() && poll_write(&mut stream, &mut cursor).map_err(&fail)? {
                break;
            }
            waiter.tick()?;
            let left = cursor.remaining().iter().map(|slice| slice.len());
            let left = rest.len() + left.sum::<usize>();
            if let Some(seconds) = progress.stalled(left as u64) {
                let doing = "sending a frame";
                return Err(fail(WireError::Stalled { doing, seconds }));
            }
        }
        state.inside = false;
        state.sent = Instant::now();
        Ok(())
    }

    /// From now on, sends a heartbeat whenever nothing was sent for that long; with zero, no more heartbeats.
    pub(crate) fn beat(&mut self, every: Duration) -> Result<(), WireError> {
        self.shared.lock().every = every;
        self.shared.changed.notify_all();
        if every.is_zero() || self.beating.is_some() {
            return Ok(());
        }
        let frame = heartbeat()?;
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name("pangea-beat".to_owned())
            .spawn(move || beat(&shared, &frame));
        self.beating = Some(started.map_err(|source| WireError::Io {
            doing: "starting the thread of the heartbeats",
            source,
        })?);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
        // Passing through the lock, so that the thread either sees `closed` or is woken by this.
        drop(self.shared.lock());
        self.shared.changed.notify_all();
        if let Some(thread) = self.beating.take() {
            // A panic of the thread has been printed by then; there is nothing to add.
            let _ = thread.join();
        }
    }
}

fn heartbeat() -> Result<Vec<u8>, WireError> {
    let mut builder = capnp::message::Builder::new_default();
    let mut root = builder.init_root::<message::Builder<'_>>();
    root.set_type(MessageType::Heartbeat);
    root.init_heartbeat();
    let frame = Frame::new(&builder, Attachments::<&[u8]>::new(), &Limits::default())?;
    Ok(frame.to_bytes())
}

/// The thread: ends with the connection. What broke is told by the side that reads.
fn beat(shared: &Shared, frame: &[u8]) {
    let mut state = shared.lock();
    while !shared.closed.load(Ordering::Acquire) && !state.inside {
        let silent = state.sent.elapsed();
        if state.every.is_zero() {
            let woken = shared.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        } else if silent < state.every {
            let left = state.every - silent;
            let woken = shared.changed.wait_timeout(state, left);
            state = woken.unwrap_or_else(PoisonError::into_inner).0;
        } else {
            if state.rest.is_empty() {
                state.rest = frame.to_vec();
            }
            if write_some(&shared.stream, &mut state.rest).is_err() {
                return;
            }
            if state.rest.len() == frame.len() {
                // The stream is full: the bytes that are on their way say as much.
                state.rest.clear();
            }
            state.sent = Instant::now();
        }
    }
}

/// Sends the start of `rest`, as much as the stream takes for now, and removes it.
fn write_some(mut stream: &TcpStream, rest: &mut Vec<u8>) -> Result<(), WireError> {
    while !rest.is_empty() {
        let source = match stream.write(rest) {
            Ok(0) => io::Error::from(ErrorKind::WriteZero),
            Ok(bytes) => {
                rest.drain(..bytes);
                continue;
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => continue,
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {
                return Ok(())
            }
            Err(error) => error,
        };
        let doing = "sending a heartbeat";
        return Err(WireError::Io { doing, source });
    }
    Ok(())
}

#[cfg(test)]
#[path = "writer_test.rs"]
mod tests;
