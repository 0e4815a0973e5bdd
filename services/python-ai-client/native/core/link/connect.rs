//! Connecting: repeated with a growing, jittered pause until the timeout, and interruptible all
//! along.

use std::collections::hash_map::RandomState;
use std::hash::{BuildHasher, Hasher};
use std::io;
use std::net::{TcpStream, ToSocketAddrs};
use std::sync::mpsc::{channel, RecvTimeoutError};
use std::thread;
use std::time::Duration;

use super::address::{endpoints, Endpoint};
use super::secure::{is_about_identity, unaccepted, Peer, Secure};
use super::stream::Stream;
use super::{Waiter, TICK};
use crate::clock;
use crate::error::CoreError;

/// First pause of a [`Backoff`]; Python reads it as `_native.FIRST_PAUSE_SECONDS`.
pub const FIRST_PAUSE: Duration = Duration::from_millis(20);
/// Longest pause of a [`Backoff`]; Python reads it as `_native.LONGEST_PAUSE_SECONDS`.
pub const LONGEST_PAUSE: Duration = Duration::from_secs(1);
/// Limit of one attempt to connect, so that a host that drops packets does not use up the whole
/// timeout.
const MAX_ATTEMPT: Duration = Duration::from_secs(5);
/// How long sent bytes may stay unacknowledged before the connection counts as lost.
const MAX_UNACKNOWLEDGED: Duration = Duration::from_secs(60);

/// Connects to `address` (see [`endpoints`]) within `timeout`. Socket reads and writes wake up each
/// [`TICK`].
pub(crate) fn connect(
    address: &str,
    peer: &Peer,
    timeout: Duration,
    waiter: &mut impl Waiter,
) -> Result<Stream, CoreError> {
    let endpoints = endpoints(address)?;
    let deadline = clock::now() + timeout;
    let mut backoff = Backoff::default();
    loop {
        let left = deadline.saturating_duration_since(clock::now());
        let error = match attempt(&endpoints, peer, left, waiter)? {
            Ok(stream) => return Ok(stream),
            Err(error) if is_about_identity(&error) => {
                return Err(CoreError::Identity {
                    address: address.to_owned(),
                    reason: error.to_string(),
                })
            }
            Err(error) => error,
        };
        let pause = backoff.next();
        if clock::now() + pause >= deadline {
            return Err(CoreError::Connect {
                address: address.to_owned(),
                seconds: timeout.as_secs_f64(),
                reason: error.to_string(),
            });
        }
        sleep(pause, waiter)?;
    }
}

/// The pauses between attempts: they double from [`FIRST_PAUSE`] to [`LONGEST_PAUSE`], each
/// shortened by up to half at random, so that workers that lost a service at the same time do not
/// all return at the same time.
pub(crate) struct Backoff {
    pause: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self { pause: FIRST_PAUSE }
    }
}

impl Backoff {
    /// The next pause.
    pub(crate) fn next(&mut self) -> Duration {
        let pause = jittered(self.pause);
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        pause
    }
}

/// Connects once, to the first endpoint that answers. Resolving and connecting block in the system,
/// so a helper thread does both; it ends by itself in bounded time.
pub(crate) fn attempt(
    endpoints: &[Endpoint],
    peer: &Peer,
    timeout: Duration,
    waiter: &mut impl Waiter,
) -> Result<io::Result<Stream>, CoreError> {
    let timeout = timeout.clamp(Duration::from_millis(1), MAX_ATTEMPT);
    let (sender, receiver) = channel();
    let (targets, peer) = (endpoints.to_owned(), peer.clone());
    let started = thread::Builder::new()
        .name("pangea-connect".to_owned())
        .spawn(move || {
            // Fails if the caller was interrupted and the receiver is gone: nobody needs the stream
            // then.
            let _ = sender.send(connect_to_first(&targets, &peer, timeout));
        });
    if let Err(error) = started {
        return Ok(Err(error));
    }
    loop {
        match receiver.recv_timeout(TICK) {
            Ok(result) => return Ok(result),
            Err(RecvTimeoutError::Timeout) => waiter.tick()?,
            Err(RecvTimeoutError::Disconnected) => {
                return Ok(Err(io::Error::other("the connecting thread panicked")))
            }
        }
    }
}

/// The first of the endpoints that answers. The errors of all of them, if none does.
fn connect_to_first(endpoints: &[Endpoint], peer: &Peer, timeout: Duration) -> io::Result<Stream> {
    let mut errors = Vec::new();
    let mut refused = false;
    for endpoint in endpoints {
        let error = match connect_once(endpoint, peer, timeout) {
            Ok(stream) => return Ok(stream),
            Err(error) if endpoints.len() == 1 => return Err(error),
            Err(error) => error,
        };
        refused |= is_about_identity(&error);
        errors.push(format!("{endpoint}: {error}"));
    }
    let errors = errors.join("; ");
    Err(if refused {
        unaccepted(errors)
    } else {
        io::Error::other(errors)
    })
}

fn connect_once(endpoint: &Endpoint, peer: &Peer, timeout: Duration) -> io::Result<Stream> {
    match endpoint {
        Endpoint::Unix(path) => Stream::unix(pangea_shared_memory::connect(path, timeout)?),
        Endpoint::Tcp(address) => connect_tcp(address, peer, timeout),
    }
}

fn connect_tcp(address: &str, peer: &Peer, timeout: Duration) -> io::Result<Stream> {
    let mut last = io::Error::new(io::ErrorKind::NotFound, "the name has no address");
    for resolved in address.to_socket_addrs()? {
        match TcpStream::connect_timeout(&resolved, timeout) {
            Ok(stream) => return prepare(stream, peer, timeout),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn prepare(stream: TcpStream, peer: &Peer, timeout: Duration) -> io::Result<Stream> {
    stream.set_nodelay(true)?;
    // Detects within about a minute a peer whose machine vanished without closing, however long a
    // reply may take: by probes while nothing is sent, otherwise (heartbeats) by bytes that are not
    // acknowledged.
    let socket = socket2::SockRef::from(&stream);
    let keepalive = socket2::TcpKeepalive::new()
        .with_time(Duration::from_secs(20))
        .with_interval(Duration::from_secs(10));
    socket.set_tcp_keepalive(&keepalive)?;
    socket.set_tcp_user_timeout(Some(MAX_UNACKNOWLEDGED))?;
    let Some(dir) = &peer.identity else {
        return Stream::tcp(stream);
    };
    stream.set_read_timeout(Some(TICK))?;
    stream.set_write_timeout(Some(TICK))?;
    Ok(Stream::secure(Secure::connect(stream, peer, dir, timeout)?))
}

/// Between half and all of `pause`.
fn jittered(pause: Duration) -> Duration {
    let random = RandomState::new().build_hasher().finish() as u32;
    pause / 2 + pause.mul_f64(f64::from(random) / f64::from(u32::MAX) / 2.0)
}

/// Sleeps, waking up each [`TICK`].
pub(crate) fn sleep(pause: Duration, waiter: &mut impl Waiter) -> Result<(), CoreError> {
    let end = clock::now() + pause;
    loop {
        waiter.tick()?;
        let left = end.saturating_duration_since(clock::now());
        if left.is_zero() {
            return Ok(());
        }
        clock::sleep(left.min(TICK));
    }
}
