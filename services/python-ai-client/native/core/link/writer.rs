//! The sending side of a connection: whole frames from the caller, and heartbeats between them.
//!
//! Whoever holds the lock writes whole frames: the caller, or a thread beside it ([`Beside`]). A
//! heartbeat that the stream accepted only in part is finished by whoever writes next, so the
//! heartbeat thread never waits for a slow peer. After a
//! frame that was interrupted in the middle nothing is written any more.

use std::io::{self, ErrorKind, Write};
use std::mem;
use std::os::fd::BorrowedFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use pangea_wire::blocking::poll_write;
use pangea_wire::schema::{message, MessageType};
use pangea_wire::{Attachments, Frame, FrameCursor, Limits, WireError};

use super::progress::Progress;
use super::stream::Stream;
use super::{Uninterrupted, Waiter};
use crate::clock;
use crate::error::CoreError;

struct State {
    /// When the last frame was sent.
    last_sent: Instant,
    /// Longest silence; zero for no heartbeats.
    interval: Duration,
    /// The part of a heartbeat that the stream has not accepted yet.
    rest: Vec<u8>,
    /// A frame is being written. Whoever takes the lock and finds it set knows that the frame was
    /// abandoned in the middle.
    inside_frame: bool,
}

struct Shared {
    stream: Stream,
    state: Mutex<State>,
    changed: Condvar,
    closed: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // After a panic inside a frame, `inside_frame` keeps the state from being used.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sends whole frames, small ones in one system call. `descriptor` comes with the first byte.
    /// `fail` gives errors their address.
    fn send<P: AsRef<[u8]>>(
        &self,
        frames: &[Frame<P>],
        mut descriptor: Option<BorrowedFd<'_>>,
        patience: Duration,
        waiter: &mut impl Waiter,
        fail: impl Fn(WireError) -> CoreError,
    ) -> Result<(), CoreError> {
        let mut state = self.lock();
        if state.inside_frame {
            return Err(fail(WireError::Io {
                doing: "sending after a frame that was abandoned",
                source: io::Error::from(ErrorKind::BrokenPipe),
            }));
        }
        state.inside_frame = true;
        let mut stream = &self.stream;
        let mut rest = mem::take(&mut state.rest);
        let mut cursor = FrameCursor::over(frames);
        let mut progress = Progress::new(patience);
        loop {
            write_some(stream, &mut rest).map_err(&fail)?;
            if let (true, Some(beside)) = (rest.is_empty(), descriptor) {
                if start_with(stream, &mut cursor, beside).map_err(&fail)? {
                    descriptor = None;
                }
            }
            if rest.is_empty()
                && descriptor.is_none()
                && poll_write(&mut stream, &mut cursor).map_err(&fail)?
                && flush(stream).map_err(&fail)?
            {
                break;
            }
            waiter.tick()?;
            let left = cursor.remaining().iter().map(|slice| slice.len());
            let left = rest.len() + left.sum::<usize>() + stream.unsent();
            if let Some(seconds) = progress.stalled(left as u64) {
                let doing = "sending a frame";
                return Err(fail(WireError::Stalled { doing, seconds }));
            }
        }
        state.inside_frame = false;
        state.last_sent = clock::now();
        Ok(())
    }

    /// Takes no lock: a signal handler may call this on the thread that is writing a frame.
    fn close(&self) {
        self.closed.store(true, Ordering::Release);
        // Fails only if the socket is closed already.
        let _ = self.stream.shut_down();
        self.changed.notify_all();
    }
}

/// Closes a connection from another thread: whoever waits on it returns with an error.
pub struct Stopper(Arc<Shared>);

impl Stopper {
    pub fn stop(&self) {
        self.0.close();
    }
}

/// Sends frames between those of the connection's owner. After an error, or once the connection is
/// closed, nothing is sent any more; the owner learns of it by itself.
pub(crate) struct Beside {
    shared: Arc<Shared>,
    address: String,
    limits: Limits,
}

impl Beside {
    pub(crate) fn send<P: AsRef<[u8]>>(
        &self,
        message: &capnp::message::Builder<capnp::message::HeapAllocator>,
        attachments: Attachments<P>,
    ) -> Result<(), CoreError> {
        let fail = |source| self.error(source);
        let frame = Frame::new(message, attachments, &self.limits).map_err(fail)?;
        let patience = self.limits.progress_timeout;
        let waiter = &mut Uninterrupted;
        self.shared.send(&[frame], None, patience, waiter, fail)
    }

    pub(crate) fn error(&self, source: WireError) -> CoreError {
        CoreError::Wire {
            address: self.address.clone(),
            source,
        }
    }
}

/// Owns the sending side and the heartbeat thread. Dropping it closes the connection and ends the
/// thread.
pub(crate) struct Writer {
    shared: Arc<Shared>,
    heartbeats: Option<JoinHandle<()>>,
}

impl Writer {
    pub(crate) fn new(stream: Stream) -> Self {
        let state = State {
            last_sent: clock::now(),
            interval: Duration::ZERO,
            rest: Vec::new(),
            inside_frame: false,
        };
        let shared = Shared {
            stream,
            state: Mutex::new(state),
            changed: Condvar::new(),
            closed: AtomicBool::new(false),
        };
        Self {
            shared: Arc::new(shared),
            heartbeats: None,
        }
    }

    pub(crate) fn stopper(&self) -> Stopper {
        Stopper(Arc::clone(&self.shared))
    }

    pub(crate) fn close(&self) {
        self.shared.close();
    }

    /// Whether a frame was abandoned in the middle: the peer could not understand what follows.
    pub(crate) fn is_torn(&self) -> bool {
        self.shared.lock().inside_frame
    }

    /// Sends whole frames; see [`Shared::send`].
    pub(crate) fn send<P: AsRef<[u8]>>(
        &self,
        frames: &[Frame<P>],
        descriptor: Option<BorrowedFd<'_>>,
        patience: Duration,
        waiter: &mut impl Waiter,
        fail: impl Fn(WireError) -> CoreError,
    ) -> Result<(), CoreError> {
        self.shared.send(frames, descriptor, patience, waiter, fail)
    }

    /// Another sender of frames over this stream, for a thread of its own.
    pub(crate) fn beside(&self, address: &str, limits: Limits) -> Beside {
        Beside {
            shared: Arc::clone(&self.shared),
            address: address.to_owned(),
            limits,
        }
    }

    /// From now on, sends a heartbeat whenever nothing was sent for `interval`; zero stops the
    /// heartbeats.
    pub(crate) fn start_heartbeats(&mut self, interval: Duration) -> Result<(), WireError> {
        self.shared.lock().interval = interval;
        self.shared.changed.notify_all();
        if interval.is_zero() || self.heartbeats.is_some() {
            return Ok(());
        }
        let frame = heartbeat()?;
        let shared = Arc::clone(&self.shared);
        let started = thread::Builder::new()
            .name("pangea-beat".to_owned())
            .spawn(move || send_heartbeats(&shared, &frame));
        self.heartbeats = Some(started.map_err(|source| WireError::Io {
            doing: "starting the heartbeat thread",
            source,
        })?);
        Ok(())
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.shared.close();
        // Taking the lock once: the thread then either has seen `closed` or waits, and this wakes
        // it.
        drop(self.shared.lock());
        self.shared.changed.notify_all();
        if let Some(thread) = self.heartbeats.take() {
            // A panic of the thread has been printed already; there is nothing to add.
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

/// The body of the heartbeat thread, which ends with the connection. The reading side reports why
/// it ended.
fn send_heartbeats(shared: &Shared, frame: &[u8]) {
    let mut state = shared.lock();
    while !shared.closed.load(Ordering::Acquire) && !state.inside_frame {
        let silent = clock::since(state.last_sent);
        if state.interval.is_zero() {
            let woken = shared.changed.wait(state);
            state = woken.unwrap_or_else(PoisonError::into_inner);
        } else if silent < state.interval {
            let left = state.interval - silent;
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
                // The stream is full: the bytes in transit already show that this side is alive.
                state.rest.clear();
            }
            state.last_sent = clock::now();
        }
    }
}

/// Sends the first bytes of a frame, with a descriptor. Returns false if the stream accepts none
/// for now.
fn start_with(
    stream: &Stream,
    cursor: &mut FrameCursor<'_>,
    descriptor: BorrowedFd<'_>,
) -> Result<bool, WireError> {
    match stream.send_with(cursor.remaining(), descriptor) {
        Ok(bytes) => {
            cursor.advance(bytes);
            Ok(true)
        }
        Err(error) if is_pause(&error) => Ok(false),
        Err(source) => {
            let doing = "announcing shared memory";
            Err(WireError::Io { doing, source })
        }
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// Sends what the stream has accepted. Returns false if it takes no more for now: call again.
fn flush(stream: &Stream) -> Result<bool, WireError> {
    let doing = "sending a frame";
    let flushed = stream.poll_flush();
    flushed.map_err(|source| WireError::Io { doing, source })
}

/// Sends as much of `rest` as the stream accepts now, and removes it.
fn write_some(mut stream: &Stream, rest: &mut Vec<u8>) -> Result<(), WireError> {
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
