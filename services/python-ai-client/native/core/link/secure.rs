//! TLS between a TCP socket and the frames, for a worker that has an identity.
//!
//! One thread may read while others write: records are encrypted and decrypted under a lock, and
//! the socket is waited for outside of it.

use std::fmt;
use std::io::{self, ErrorKind, IoSlice, Read, Write};
use std::mem;
use std::net::{Shutdown, TcpStream};
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use pangea_identity::{explain, Identity, Role};
use rustls::client::UnbufferedClientConnection;
use rustls::pki_types::ServerName;
use rustls::unbuffered::{
    ConnectionState, EncodeError, EncodeTlsData, EncryptError, InsufficientSizeError, ReadTraffic,
    UnbufferedStatus,
};
use rustls::Error;

use crate::clock;

/// Ciphertext that is read in one system call.
const READ_BYTES: usize = 128 << 10;
/// Plaintext that is encrypted before it is sent.
const WRITE_BYTES: usize = 128 << 10;
/// Slices below this are put together, because each record costs some bytes and time.
const SMALL_BYTES: usize = 16 << 10;
/// Records of at most 16 KiB, and what each of them adds.
const RECORD_BYTES: usize = 16 << 10;
const RECORD_OVERHEAD: usize = 32;

/// What a worker connects to, and who it is itself.
#[derive(Clone)]
pub(crate) struct Peer {
    pub(crate) role: Role,
    /// The directory with this worker's identity; without one, nothing is encrypted.
    pub(crate) identity: Option<PathBuf>,
}

/// Two processes do not accept each other: a new connection would not change that.
#[derive(Debug)]
struct Unaccepted(String);

impl fmt::Display for Unaccepted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Unaccepted {}

/// An error that says that this process and the peer do not accept each other.
pub(crate) fn unaccepted(reason: String) -> io::Error {
    io::Error::new(ErrorKind::PermissionDenied, Unaccepted(reason))
}

/// Whether an error is about who this process or the peer is.
pub(crate) fn is_about_identity(error: &io::Error) -> bool {
    error
        .get_ref()
        .is_some_and(|inner| inner.is::<Unaccepted>())
}

/// Ciphertext that has arrived, and plaintext for which the reader had no room.
struct Incoming {
    buffer: Vec<u8>,
    start: usize,
    end: usize,
    plain: Vec<u8>,
}

impl Incoming {
    fn new() -> Self {
        Self {
            buffer: vec![0; READ_BYTES],
            start: 0,
            end: 0,
            plain: Vec::new(),
        }
    }

    /// Reads what the socket has; 0 at the end of the stream.
    fn fill(&mut self, mut socket: &TcpStream) -> io::Result<usize> {
        self.buffer.copy_within(self.start..self.end, 0);
        (self.start, self.end) = (0, self.end - self.start);
        if self.end == self.buffer.len() {
            // A handshake message may be longer than the records of data.
            self.buffer.resize(2 * self.end, 0);
        }
        let bytes = socket.read(&mut self.buffer[self.end..])?;
        self.end += bytes;
        Ok(bytes)
    }

    fn take_plain(&mut self, window: &mut [u8]) -> usize {
        let bytes = window.len().min(self.plain.len());
        window[..bytes].copy_from_slice(&self.plain[..bytes]);
        self.plain.drain(..bytes);
        bytes
    }
}

struct Session {
    connection: UnbufferedClientConnection,
    /// Ciphertext in the order of its encryption, which is also the order to send it in.
    outgoing: Vec<u8>,
    closed: bool,
}

/// How far records have been processed.
#[derive(PartialEq, Eq)]
enum Step {
    /// Another record may be complete already.
    Again,
    Handshaking,
    Ready,
}

impl Session {
    /// Processes the next record of what has arrived. Plaintext goes to `window`, and what does not
    /// fit is kept; returns its bytes in `window`.
    fn process(
        &mut self,
        incoming: &mut Incoming,
        window: &mut [u8],
    ) -> Result<(Step, usize), Error> {
        let arrived = &mut incoming.buffer[incoming.start..incoming.end];
        let UnbufferedStatus { discard, state } = self.connection.process_tls_records(arrived);
        let mut filled = 0;
        let step = match state {
            Ok(ConnectionState::ReadTraffic(data)) => {
                filled = take(data, window, &mut incoming.plain)?;
                Step::Again
            }
            Ok(ConnectionState::EncodeTlsData(data)) => {
                encode(data, &mut self.outgoing)?;
                Step::Again
            }
            Ok(ConnectionState::TransmitTlsData(data)) => {
                data.done(); // Whoever writes next sends it first.
                Step::Again
            }
            Ok(ConnectionState::BlockedHandshake) => Step::Handshaking,
            Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => {
                self.closed = true;
                Step::Ready
            }
            Ok(_) => Step::Ready,
            Err(error) => return Err(error),
        };
        incoming.start += discard;
        Ok((step, filled))
    }

    fn encrypt(&mut self, plain: &[u8]) -> io::Result<()> {
        let UnbufferedStatus { state, .. } = self.connection.process_tls_records(&mut []);
        let mut traffic = match state {
            Ok(ConnectionState::WriteTraffic(traffic)) => traffic,
            Ok(_) => return Err(io::Error::from(ErrorKind::BrokenPipe)),
            Err(error) => return Err(io::Error::new(ErrorKind::BrokenPipe, error)),
        };
        let at = self.outgoing.len();
        let records = plain.len().div_ceil(RECORD_BYTES);
        // A change of keys is sent with the data.
        let mut room = plain.len() + (records + 2) * RECORD_OVERHEAD;
        loop {
            self.outgoing.resize(at + room, 0);
            match traffic.encrypt(plain, &mut self.outgoing[at..]) {
                Ok(bytes) => {
                    self.outgoing.truncate(at + bytes);
                    return Ok(());
                }
                Err(EncryptError::InsufficientSize(InsufficientSizeError { required_size })) => {
                    room = required_size;
                }
                Err(error) => return Err(io::Error::other(error)),
            }
        }
    }
}

fn take<D>(
    mut data: ReadTraffic<'_, '_, D>,
    window: &mut [u8],
    plain: &mut Vec<u8>,
) -> Result<usize, Error> {
    let mut filled = 0;
    while let Some(record) = data.next_record() {
        let payload = record?.payload;
        let bytes = payload.len().min(window.len() - filled);
        window[filled..filled + bytes].copy_from_slice(&payload[..bytes]);
        filled += bytes;
        plain.extend_from_slice(&payload[bytes..]);
    }
    Ok(filled)
}

fn encode<D>(mut data: EncodeTlsData<'_, D>, outgoing: &mut Vec<u8>) -> Result<(), Error> {
    let at = outgoing.len();
    let mut room = 4 << 10;
    loop {
        outgoing.resize(at + room, 0);
        match data.encode(&mut outgoing[at..]) {
            Ok(bytes) => {
                outgoing.truncate(at + bytes);
                return Ok(());
            }
            Err(EncodeError::InsufficientSize(InsufficientSizeError { required_size })) => {
                room = required_size;
            }
            Err(error) => return Err(Error::General(error.to_string())),
        }
    }
}

/// Ciphertext that is on its way into the socket.
#[derive(Default)]
struct Sending {
    bytes: Vec<u8>,
    sent: usize,
}

/// A socket and its TLS connection.
pub(crate) struct Secure {
    socket: TcpStream,
    role: Role,
    session: Mutex<Session>,
    incoming: Mutex<Incoming>,
    sending: Mutex<Sending>,
}

impl Secure {
    /// Shakes hands within `timeout`. The socket's reads and writes wake up now and then.
    pub(crate) fn connect(
        socket: TcpStream,
        peer: &Peer,
        dir: &std::path::Path,
        timeout: Duration,
    ) -> io::Result<Arc<Self>> {
        let own = Identity::load(dir, Role::Worker);
        let own = own.map_err(|error| {
            unaccepted(format!(
                "the identity in {} cannot be used: {error}",
                dir.display()
            ))
        })?;
        let config = own.client_config(peer.role).map_err(|error| {
            unaccepted(format!(
                "the identity in {} cannot be used: {error}",
                dir.display()
            ))
        })?;
        let name = ServerName::try_from(peer.role.as_str()).map_err(io::Error::other)?;
        let connection = UnbufferedClientConnection::new(config, name).map_err(io::Error::other)?;
        let secure = Self {
            socket,
            role: peer.role,
            session: Mutex::new(Session {
                connection,
                outgoing: Vec::new(),
                closed: false,
            }),
            incoming: Mutex::new(Incoming::new()),
            sending: Mutex::default(),
        };
        secure.shake_hands(timeout)?;
        Ok(Arc::new(secure))
    }

    fn shake_hands(&self, timeout: Duration) -> io::Result<()> {
        let deadline = clock::now() + timeout;
        let mut incoming = lock(&self.incoming);
        loop {
            let step = lock(&self.session).process(&mut incoming, &mut []);
            let outcome = step.map_err(|error| self.error(error));
            while !self.flush()? {
                before(deadline)?;
            }
            match outcome {
                Ok((Step::Ready, _)) => return Ok(()),
                Ok((Step::Again, _)) => {}
                Ok((Step::Handshaking, _)) => match incoming.fill(&self.socket) {
                    Ok(0) => {
                        return Err(io::Error::new(
                            ErrorKind::UnexpectedEof,
                            "the other side closed the connection during the handshake of TLS",
                        ))
                    }
                    Ok(_) => {}
                    Err(error) if is_pause(&error) => before(deadline)?,
                    Err(error) => return Err(error),
                },
                Err(error) => {
                    self.send_alert(&mut incoming);
                    return Err(error);
                }
            }
        }
    }

    /// Tells the peer what is wrong with it; it may have left.
    fn send_alert(&self, incoming: &mut Incoming) {
        while let Ok((Step::Again, _)) = lock(&self.session).process(incoming, &mut []) {}
        let _ = self.flush();
    }

    fn error(&self, error: Error) -> io::Error {
        match explain(&error, self.role) {
            Some(reason) => unaccepted(reason),
            None => io::Error::new(ErrorKind::InvalidData, error),
        }
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        self.socket.shutdown(Shutdown::Both)
    }

    /// Reads decrypted bytes; 0 at the end of the stream.
    pub(crate) fn read(&self, window: &mut [u8]) -> io::Result<usize> {
        let mut incoming = lock(&self.incoming);
        loop {
            if !incoming.plain.is_empty() {
                return Ok(incoming.take_plain(window));
            }
            let filled = {
                let mut session = lock(&self.session);
                let mut filled = 0;
                while filled < window.len() && incoming.plain.is_empty() {
                    let step = session.process(&mut incoming, &mut window[filled..]);
                    let (step, bytes) = step.map_err(|error| self.error(error))?;
                    filled += bytes;
                    if step != Step::Again {
                        break;
                    }
                }
                if filled == 0 && session.closed {
                    return Ok(0);
                }
                filled
            };
            if filled > 0 {
                return Ok(filled);
            }
            if incoming.fill(&self.socket)? == 0 {
                return Ok(0);
            }
        }
    }

    /// Encrypts some bytes and sends what the socket accepts of them. The rest is sent by
    /// [`flush`](Self::flush), or before what is written next.
    pub(crate) fn write(&self, bytes: &[u8]) -> io::Result<usize> {
        let accepted = bytes.len().min(WRITE_BYTES);
        let mut sending = lock(&self.sending);
        if !self.push(&mut sending)? {
            return Err(ErrorKind::WouldBlock.into());
        }
        lock(&self.session).encrypt(&bytes[..accepted])?;
        self.push(&mut sending)?;
        Ok(accepted)
    }

    pub(crate) fn write_vectored(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let mut slices = slices.iter().filter(|slice| !slice.is_empty());
        let Some(first) = slices.next() else {
            return Ok(0);
        };
        if first.len() >= SMALL_BYTES {
            return self.write(first);
        }
        let mut together = first.to_vec();
        for slice in slices {
            let room = SMALL_BYTES - together.len();
            together.extend_from_slice(&slice[..slice.len().min(room)]);
            if together.len() == SMALL_BYTES {
                break;
            }
        }
        self.write(&together)
    }

    /// Sends what was accepted; false if the socket takes no more for now.
    pub(crate) fn flush(&self) -> io::Result<bool> {
        self.push(&mut lock(&self.sending))
    }

    /// Ciphertext that the socket has not accepted yet.
    pub(crate) fn unsent(&self) -> usize {
        let sending = lock(&self.sending);
        sending.bytes.len() - sending.sent
    }

    /// Writes to the socket without the session's lock, so that a slow peer does not keep the
    /// reader from decrypting.
    fn push(&self, sending: &mut Sending) -> io::Result<bool> {
        loop {
            while sending.sent < sending.bytes.len() {
                match (&self.socket).write(&sending.bytes[sending.sent..]) {
                    Ok(0) => return Err(ErrorKind::WriteZero.into()),
                    Ok(bytes) => sending.sent += bytes,
                    Err(error) if is_pause(&error) => return Ok(false),
                    Err(error) => return Err(error),
                }
            }
            sending.bytes.clear();
            sending.sent = 0;
            mem::swap(&mut sending.bytes, &mut lock(&self.session).outgoing);
            if sending.bytes.is_empty() {
                return Ok(true);
            }
        }
    }
}

fn before(deadline: std::time::Instant) -> io::Result<()> {
    if clock::now() < deadline {
        return Ok(());
    }
    Err(io::Error::new(
        ErrorKind::TimedOut,
        "the handshake of TLS was not finished in time",
    ))
}

fn is_pause(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted
    )
}

/// A panic inside leaves nothing half done that the next use would not find out.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
#[path = "secure_test.rs"]
mod tests;
