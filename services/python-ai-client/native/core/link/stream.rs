//! The socket under a connection: TCP, with or without TLS, or a Unix socket that may bring
//! descriptors.

use std::io::{self, IoSlice, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::fd::{BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, Mutex, PoisonError};

use pangea_shared_memory::{receive, send_with, Descriptors};

use super::secure::Secure;
use super::TICK;

/// A connected socket. Reads and writes wake up each [`TICK`].
pub(crate) enum Stream {
    Tcp(TcpStream),
    Secure(Arc<Secure>),
    Unix {
        socket: UnixStream,
        /// What arrived, for whoever reads the announcements. Clones share it.
        descriptors: Arc<Mutex<Descriptors>>,
    },
}

impl Stream {
    pub(crate) fn tcp(socket: TcpStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        Ok(Self::Tcp(socket))
    }

    pub(crate) fn secure(connected: Arc<Secure>) -> Self {
        Self::Secure(connected)
    }

    pub(crate) fn unix(socket: UnixStream) -> io::Result<Self> {
        socket.set_read_timeout(Some(TICK))?;
        socket.set_write_timeout(Some(TICK))?;
        Ok(Self::Unix {
            socket,
            descriptors: Arc::default(),
        })
    }

    /// Whether memory can be shared with the other side.
    pub(crate) fn shares_memory(&self) -> bool {
        matches!(self, Self::Unix { .. })
    }

    /// Another handle of the same socket.
    pub(crate) fn try_clone(&self) -> io::Result<Self> {
        Ok(match self {
            Self::Tcp(socket) => Self::Tcp(socket.try_clone()?),
            Self::Secure(secure) => Self::Secure(Arc::clone(secure)),
            Self::Unix {
                socket,
                descriptors,
            } => Self::Unix {
                socket: socket.try_clone()?,
                descriptors: Arc::clone(descriptors),
            },
        })
    }

    pub(crate) fn shut_down(&self) -> io::Result<()> {
        match self {
            Self::Tcp(socket) => socket.shutdown(Shutdown::Both),
            Self::Secure(secure) => secure.shut_down(),
            Self::Unix { socket, .. } => socket.shutdown(Shutdown::Both),
        }
    }

    /// Bytes that were accepted by a write, and are not in the socket yet.
    pub(crate) fn unsent(&self) -> usize {
        match self {
            Self::Secure(secure) => secure.unsent(),
            Self::Tcp(_) | Self::Unix { .. } => 0,
        }
    }

    /// Sends what writes have accepted. Returns false if the socket takes no more for now: call
    /// again.
    pub(crate) fn poll_flush(&self) -> io::Result<bool> {
        match self {
            Self::Secure(secure) => secure.flush(),
            Self::Tcp(_) | Self::Unix { .. } => Ok(true),
        }
    }

    /// The descriptor of the announcement that was read last.
    pub(crate) fn take_descriptor(&self) -> Option<OwnedFd> {
        let Self::Unix { descriptors, .. } = self else {
            return None;
        };
        let mut arrived = descriptors.lock().unwrap_or_else(PoisonError::into_inner);
        arrived.take()
    }

    /// Sends a part of `slices` with a descriptor; see [`send_with`].
    pub(crate) fn send_with(
        &self,
        slices: &[IoSlice<'_>],
        descriptor: BorrowedFd<'_>,
    ) -> io::Result<usize> {
        match self {
            Self::Unix { socket, .. } => send_with(socket, slices, descriptor),
            Self::Tcp(_) | Self::Secure(_) => Err(io::Error::new(
                io::ErrorKind::Unsupported,
                "memory cannot be shared over TCP",
            )),
        }
    }
}

impl Read for &Stream {
    fn read(&mut self, window: &mut [u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).read(window),
            Stream::Secure(secure) => secure.read(window),
            Stream::Unix {
                socket,
                descriptors,
            } => {
                let mut arrived = descriptors.lock().unwrap_or_else(PoisonError::into_inner);
                receive(socket, window, &mut arrived)
            }
        }
    }
}

impl Read for Stream {
    fn read(&mut self, window: &mut [u8]) -> io::Result<usize> {
        (&*self).read(window)
    }
}

impl Write for &Stream {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).write(bytes),
            Stream::Secure(secure) => secure.write(bytes),
            Stream::Unix { socket, .. } => (&mut &*socket).write(bytes),
        }
    }

    fn write_vectored(&mut self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        match self {
            Stream::Tcp(socket) => (&mut &*socket).write_vectored(slices),
            Stream::Secure(secure) => secure.write_vectored(slices),
            Stream::Unix { socket, .. } => (&mut &*socket).write_vectored(slices),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
